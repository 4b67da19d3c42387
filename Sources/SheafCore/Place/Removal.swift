/// Removes from a target what the point does not have. It never leaves the file system it began on, and spares stores
/// and what is to be spared.
import Posix

/// What is told of a removal, from one thread.
protocol RemovalListener: AnyObject {
  /// It goes, or would. The path is that in the target.
  func removed(_ path: Bytes, _ status: Status)
  /// A file system is mounted there, so it stays, with all below it.
  func keptMount(_ path: Bytes)
  /// It is a store, so it stays.
  func keptStore(_ path: Bytes)
  func notRemoved(_ path: Bytes, _ error: SystemError)
}

struct Removal: Sendable {
  /// It is never removed.
  let store: Status?
  let sparing: SparingRules
  var isDryRun = false
  /// Stores in it stay.
  var sparesStores = true

  /// Removes all of `directory` but what is kept, `path` being its own in the target; one entry that cannot be removed
  /// ends nothing.
  func removeAll(
    in directory: Descriptor, _ path: Bytes, keeping names: Set<Bytes>, telling listener: any RemovalListener
  ) {
    if sparing.sparesAll(of: path) { return }
    do throws(SystemError) {
      let mount = try directory.mount()
      let listed = try directory.sortedNames()
      // What the file system takes for something of the point is in its place, and stays.
      let alike = Set(names.subtracting(listed).filter { (try? directory.status(of: $0)) != nil }.map(foldedName))
      let kept = sparing.savedAlone(of: listed, in: directory)
      for name in listed where !names.contains(name) && (alike.isEmpty || !alike.contains(foldedName(name))) {
        if let kept, !kept.contains(name) { continue }
        _ = remove(name, path, in: directory, on: mount, telling: listener)
      }
    } catch { listener.notRemoved(path, error) }
  }

  /// Whether nothing of it is left.
  private func remove(
    _ name: Bytes, _ parent: Bytes, in directory: Descriptor, on mount: Mount, telling listener: any RemovalListener
  ) -> Bool {
    let path = parent.joined(name)
    do throws(SystemError) {
      let status = try directory.status(of: name)
      if sparing.spares(name, status, of: parent) { return false }
      if status.kind == .directory {
        if let store, store.inode == status.inode, store.device == status.device { return false }
        guard try directory.mount(of: name) == mount else {
          listener.keptMount(path)
          return false
        }
        if sparesStores, Self.isStore(name, in: directory) {
          listener.keptStore(path)
          return false
        }
        guard try removeContents(name, path, in: directory, on: mount, status, telling: listener) else { return false }
        if !isDryRun { try directory.removeDirectory(name) }
      } else if !isDryRun {
        try directory.removeFile(name)
      }
      listener.removed(path, status)
      return true
    } catch {
      // A file may be mounted on a file.
      if error.isInUse { listener.keptMount(path) } else { listener.notRemoved(path, error) }
      return false
    }
  }

  /// Backups are nothing that a restore takes away.
  private static func isStore(_ name: Bytes, in directory: Descriptor) -> Bool {
    guard let below = try? directory.open(name, [.pathOnly, .directory, .noFollow]) else { return false }
    return (try? below.status(of: Layout.marker))?.kind == .file
  }

  private func removeContents(
    _ name: Bytes, _ path: Bytes, in parent: Descriptor, on mount: Mount, _ status: Status,
    telling listener: any RemovalListener
  ) throws(SystemError) -> Bool {
    if !isDryRun, OpenedDirectories.isNeeded(for: status) { try parent.setMode(name, status.mode | 0o700) }
    let directory = try parent.open(name, [.read, .directory, .noFollow])
    let listed = try directory.sortedNames()
    let kept = sparing.savedAlone(of: listed, in: directory)
    var isEmpty = true
    for child in listed {
      if let kept, !kept.contains(child) {
        isEmpty = false
      } else if !remove(child, path, in: directory, on: mount, telling: listener) {
        isEmpty = false
      }
    }
    if !isDryRun, !isEmpty, OpenedDirectories.isNeeded(for: status) { try directory.setMode(status.mode) }
    return isEmpty
  }

  /// Removes a directory for a file that takes its place: all of it or, where the store or another file system is in it,
  /// nothing.
  func replace(_ name: Bytes, in directory: Descriptor) throws(SystemError) {
    let mount = try directory.mount()
    try walk(name, in: directory, on: mount, isRemoving: false)
    try walk(name, in: directory, on: mount, isRemoving: true)
  }

  /// Goes through what is to be replaced: first to see whether anything must stay, then to remove it.
  private func walk(
    _ name: Bytes, in parent: Descriptor, on mount: Mount, isRemoving: Bool
  ) throws(SystemError) {
    let status = try parent.status(of: name)
    guard status.kind == .directory else {
      if isRemoving { try parent.removeFile(name) }
      return
    }
    if let store, store.inode == status.inode, store.device == status.device {
      throw SystemError.inUse("replace", parent.path.joined(name))
    }
    guard try parent.mount(of: name) == mount, !Self.isStore(name, in: parent) else {
      throw SystemError.inUse("replace", parent.path.joined(name))
    }
    if isRemoving, OpenedDirectories.isNeeded(for: status) { try parent.setMode(name, status.mode | 0o700) }
    guard let directory = try open(name, in: parent, isNeeded: isRemoving) else { return }
    for child in try directory.sortedNames() { try walk(child, in: directory, on: mount, isRemoving: isRemoving) }
    if isRemoving { try parent.removeDirectory(name) }
  }

  /// nil: not yet, as its owner has shut it.
  private func open(_ name: Bytes, in parent: Descriptor, isNeeded: Bool) throws(SystemError) -> Descriptor? {
    do throws(SystemError) { return try parent.open(name, [.read, .directory, .noFollow]) } catch {
      guard !isNeeded, error.isForbidden else { throw error }
      return nil
    }
  }
}
