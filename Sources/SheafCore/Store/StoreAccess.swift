/// Who may read a store: what root saved is for root alone. A folder that its owner opened for a group lets that in.
import Posix
import Storage

extension Store {
  /// Whether a group is let in beside the owner.
  var isShared: Bool { folder.access?.group != nil }

  /// Closes the store's own folder to others where nothing but the store is in it, it is no file system's root, and it is
  /// ours. One that was opened for a group alone stays so.
  func closeTop() {
    folder.closeToOthers { (try? folder.names())?.allSatisfy(isOwn) == true }
  }

  /// Whether the name is that of something which this program made.
  private func isOwn(_ name: Bytes) -> Bool {
    let known = [Layout.marker, Layout.readme, Layout.script]
    if known.contains(name) || LockHolder.isLock(name) { return true }
    if known.contains(where: { name.starts(with: $0) }) { return true }
    guard Series.isName(name), let series = try? folder.folder(name) else { return false }
    return (try? series.names())?.contains { SetName.parse($0) != nil } == true
  }

  /// Takes away what others than those whom the store's folder lets in may do with a series, and gives these what is
  /// theirs. True: others could read it until now. Only under the series' lock.
  func mendAccess(of series: Series) -> Bool {
    closeTop()
    // FAT and its like know no modes.
    guard let (before, after) = series.folder.mendAccess(of: nil, isProgram: false), before != after else {
      return false
    }
    for name in (try? series.folder.names()) ?? [] { _ = series.folder.mendAccess(of: name, isProgram: false) }
    for name in [Layout.marker, Layout.readme, Layout.script] {
      _ = folder.mendAccess(of: name, isProgram: name == Layout.script)
    }
    return before & 0o005 != 0 && after & 0o005 == 0
  }
}
