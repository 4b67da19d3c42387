/// Second names of restored files: joined only to what holds what was saved.
import Posix
import Tar

/// Fed by one thread, but for `wrote`.
final class HardLinks: Sendable {
  private let target: Descriptor
  private let placer: Placer
  private let progress: Progress

  private struct State {
    /// First names that this run wrote, as called in the target, and what they hold. Grows with the number of inodes
    /// that have several.
    var written: [Bytes: Digest?] = [:]
    /// Where the first name of an inode is not restored: the first of its other names, as called in the target.
    var standIns: [Bytes: Bytes] = [:]
  }
  private let state = Monitor(State())

  init(_ target: Descriptor, _ placer: Placer, _ progress: Progress) {
    self.target = target
    self.placer = placer
    self.progress = progress
  }

  /// A file that has other names was written, with the contents of `digest`.
  func wrote(_ path: Bytes, _ digest: Digest?) { state.look { $0.written[path] = .some(digest) } }

  func standIn(for first: Bytes) -> Bytes? { state.look { $0.standIns[first] } }
  func add(standIn path: Bytes, for first: Bytes) { state.look { $0.standIns[first] = path } }

  enum Outcome { case done, missing, impossible }

  /// `missing`: what it should be another name of is not there. `impossible`: the target knows no such thing.
  func join(
    _ entry: Entry, _ name: Bytes, _ directory: TargetDirectory, to path: Bytes
  ) throws(SystemError) -> Outcome {
    let (parent, firstName) = path.splitAtName
    guard let from = try? target.openBeneath(parent, [.pathOnly, .directory]),
      let there = try? from.status(of: firstName), holds(there, entry, firstName, path, TargetDirectory(from))
    else { return .missing }
    do throws(SystemError) {
      try placer.placeHardLink(of: firstName, in: from, as: name, in: directory)
      return .done
    } catch {
      guard error.isNoLink || directory.isForeign && error.isUnsupported else { throw error }
      placer.metadata.shortfalls.add("hard link")
      return .impossible
    }
  }

  /// Whether a first name in the target is what the link to it is to be: it may be a file that was left alone, one that
  /// could not be replaced, or one that is newer than the link's last good copy.
  private func holds(
    _ there: Status, _ entry: Entry, _ name: Bytes, _ path: Bytes, _ directory: TargetDirectory
  ) -> Bool {
    guard Placer.isWhole(there, entry, name, in: directory) else { return false }
    if entry.kind != .file { return true }
    if let written = state.look({ $0.written[path] }) { return written == entry.digest }
    guard let wanted = entry.digest,
      let file = try? directory.descriptor.open(name, [.read, .noFollow, .nonBlocking]),
      let status = try? file.status(), status.inode == there.inode, status.device == there.device
    else { return false }
    return (try? digest(of: file, size: entry.size)) == wanted
  }

  private func digest(of file: Descriptor, size: Int64) throws(SystemError) -> Digest? {
    let hasher = SHA256()
    let buffer = Buffer(capacity: 1 << 20)
    var offset: Int64 = 0
    while offset < size {
      guard progress.goesOn else { return nil }
      let count = try file.read(into: buffer.start, count: Int(min(size - offset, 1 << 20)), at: offset)
      if count == 0 { return nil }
      hasher.update(UnsafeRawPointer(buffer.start), count)
      offset += Int64(count)
    }
    return hasher.finish()
  }
}
