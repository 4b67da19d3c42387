/// Who may read a store: what root saved is for root alone. A folder that its owner opened for a group lets that in.
import Posix

extension Store {
  /// Whether a group is let in beside the owner.
  var isShared: Bool { directory.drive?.access?.group != nil }

  /// Closes the store's own folder to others where nothing but the store is in it, it is no file system's root, and it is
  /// ours. One that was opened for a group alone stays so.
  func closeTop() {
    guard let status = try? directory.status(), status.mode & 0o007 != 0, status.uid == Host.userID,
      let above = try? directory.open(Bytes(".."), [.pathOnly, .directory]).status(), above.device == status.device,
      let names = try? directory.sortedNames(), names.allSatisfy(isOwn)
    else { return }
    try? directory.setMode(0o700)
    if let now = try? directory.status() { directory.drive?.access = Access(of: now) }
  }

  /// Whether the name is that of something which this program made.
  private func isOwn(_ name: Bytes) -> Bool {
    let known = [Self.marker, Self.readme, Self.script]
    if known.contains(name) || LockHolder.isLock(name) { return true }
    if known.contains(where: { name.starts(with: $0) }) { return true }
    guard Series.isName(name), let folder = try? directory.open(name, [.read, .directory, .noFollow]) else {
      return false
    }
    return (try? folder.sortedNames())?.contains { SetName.parse($0) != nil } == true
  }

  /// Takes away what others than those whom the store's folder lets in may do with a series, and gives these what is
  /// theirs. True: others could read it until now. Only under the series' lock.
  func mendAccess(of series: Series) -> Bool {
    closeTop()
    guard let access = directory.drive?.access, let before = try? series.directory.status(),
      before.mode & 0o777 != access.directoryMode
    else { return false }
    series.directory.give(access, access.directoryMode)
    // FAT and its like know no modes.
    guard let now = try? series.directory.status(), now.mode != before.mode,
      let names = try? series.directory.sortedNames()
    else { return false }
    for name in names {
      guard let status = try? series.directory.status(of: name), status.kind == .file,
        status.mode & 0o777 != access.fileMode,
        let file = try? series.directory.open(name, [.read, .noFollow, .nonBlocking])
      else { continue }
      file.give(access, access.fileMode, in: series.directory)
    }
    for name in [Self.marker, Self.readme, Self.script] {
      guard let file = try? directory.open(name, [.read, .noFollow, .nonBlocking]),
        (try? file.status().kind) == .file
      else { continue }
      let mode = access.fileMode
      file.give(access, name == Self.script ? mode | (mode & 0o444) >> 2 : mode)
    }
    return before.mode & 0o005 != 0 && now.mode & 0o005 == 0
  }
}
