/// `restore --delete`, one directory after another: what goes, what is counted and named.
import Posix

/// Not for use from several threads.
final class TargetCleaner: RemovalListener {
  private let target: Descriptor
  private let removal: Removal
  private let reporter: any Reporter
  /// Entries, those in removed directories included.
  private(set) var deleted: Int64 = 0
  /// Bytes that removing gave back, by the identity of their file system.
  private(set) var freed: [UInt64: Int64] = [:]
  private var fileSystem: UInt64 = 0
  /// Of what was to be restored: the mounts on which deleting goes on.
  private var mounts: [Bytes: Mount] = [:]

  init(_ target: Descriptor, _ removal: Removal, _ reporter: any Reporter) {
    self.target = target
    self.removal = removal
    self.reporter = reporter
  }

  /// Removes what is in the directory and not among `names`, as the path is called in the target. `root`: the path that
  /// was to be restored, which the directory is or lies below.
  func clean(_ path: Bytes, keeping names: Set<Bytes>, below root: Bytes) {
    do throws(SystemError) {
      let directory = try target.openBeneath(path, [.read, .directory, .noFollow])
      guard try isWithin(root, directory, path, isEmpty: names.isEmpty) else {
        if try directory.sortedNames().contains(where: { !names.contains($0) }) { keptMount(path) }
        return
      }
      fileSystem = directory.fileSystem()?.identity ?? 0
      removal.removeAll(in: directory, path, keeping: names, telling: self)
    } catch { reporter.problem(error.asProblem, path: path) }
  }

  /// Whether no other file system begins between the root and the directory. One that is mounted on the root itself is
  /// what was asked for, but where the point has nothing in it: then it was not mounted when the point was made.
  private func isWithin(
    _ root: Bytes, _ directory: Descriptor, _ path: Bytes, isEmpty: Bool
  ) throws(SystemError) -> Bool {
    let mount = try directory.mount()
    if path == root, isEmpty, !root.isEmpty {
      return try target.openBeneath(root.splitAtName.parent, [.pathOnly, .directory]).mount() == mount
    }
    if let known = mounts[root] { return known == mount }
    let own = try path == root ? mount : target.openBeneath(root, [.pathOnly, .directory]).mount()
    mounts[root] = own
    return own == mount
  }

  func removed(_ path: Bytes, _ status: Status) {
    deleted += 1
    if status.links == 1, status.kind == .file { freed[fileSystem, default: 0].add(saturating: status.blocks * 512) }
    if reporter.wantsDeletions { reporter.item(.deleted, path, status.kind) }
  }

  func keptMount(_ path: Bytes) {
    reporter.note("\(Show.path([47] + path)): another file system is mounted there, so it is left as it is")
  }

  func keptStore(_ path: Bytes) { reporter.note("\(Show.path([47] + path)): it is a store, so it is left as it is") }

  func notRemoved(_ path: Bytes, _ error: SystemError) { reporter.problem(error.asProblem, path: path) }
}
