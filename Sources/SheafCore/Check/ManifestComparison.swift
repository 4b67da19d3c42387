/// Whether an archive and its manifest tell the same.
import Posix
import Tar

/// Follows a set's own manifest beside its archive: both are in the order of the tree.
final class ManifestComparison {
  private let manifest: ManifestReader
  private let set: SetName
  private let id: SetID
  private let report: (Bytes?, String) -> Void
  private let progress: Progress
  private var hasLine = false
  private var atEnd = false
  /// Directories of the manifest whose tar entry comes at the head of their own names.
  private var directories: [Bytes: Entry] = [:]
  /// A file that goes on in the members that follow.
  private var long: (entry: Entry, hash: LogicalHash, isDamaged: Bool)?
  private var sawEnd = false
  private var first = true
  /// From here on to the next header, data belongs to nothing that is known.
  private var lost = false
  private(set) var files: Int64 = 0
  private(set) var bytes: Int64 = 0

  init(
    _ manifest: ManifestReader, set: SetName, id: SetID, progress: Progress,
    report: @escaping (Bytes?, String) -> Void
  ) {
    self.manifest = manifest
    self.set = set
    self.id = id
    self.progress = progress
    self.report = report
  }

  func take(_ job: MemberJob) throws(Failure) {
    if let failure = job.failure {
      first = false
      report(nil, "\(set.archive): \(Show.member(at: job.offset)) \(failure)")
      long?.isDamaged = true
      if job.isFirstHeader { endLong() } else if long != nil { skipLong(job) }
      try reportFiles(in: job)
      return
    }
    if first {
      first = false
      let prefix = Bytes("sheaf set\n")
      if !job.comment.starts(with: prefix) || !isOwn(Bytes(job.comment.dropFirst(prefix.count))) {
        report(nil, "\(set.archive): belongs to another set than its manifest")
      }
    }
    if !job.isFirstHeader { return continueLong(job) }
    endLong()
    lost = false
    for (entry, digest) in job.entries { try compare(entry, digest, job) }
    if job.sawEnd { sawEnd = true }
  }

  /// Whether an archive's head is the manifest's, but for lines that only a newer version knows.
  private func isOwn(_ head: Bytes) -> Bool {
    if head == manifest.head.text() { return true }
    return (try? SetHead(fields: Fields(text: head), manifest: set.archive)) == manifest.head
  }

  /// A damaged member's files have not been compared: they are named.
  private func reportFiles(in job: MemberJob) throws(Failure) {
    while try line() {
      if let extent = ownExtent() {
        guard extent.offset <= job.offset else { return }
        if extent.offset == job.offset { report(Bytes(manifest.line.path), Show.inDamagedMember) }
      }
      hasLine = false
    }
  }

  /// Where the line's file lies in this archive; nil: nowhere. A directory is noted for when its tar entry comes.
  private func ownExtent() -> Extent? {
    guard manifest.line.what == .entry, let entry = manifest.line.entry() else { return nil }
    if entry.kind == .directory {
      directories[entry.path] = entry
      return nil
    }
    return entry.extents.first { $0.set == id }
  }

  /// Has a line at hand; false at the manifest's end.
  private func line() throws(Failure) -> Bool {
    if hasLine { return true }
    if atEnd { return false }
    hasLine = try manifest.next()
    atEnd = !hasLine
    return hasLine
  }

  private func compare(_ tar: TarEntry, _ digest: Digest?, _ job: MemberJob) throws(Failure) {
    var path = tar.header.path
    if tar.header.type == .directory {
      if path.last == 47 { path.removeLast() }
      try passDirectories(before: path)
      // Those that only serve deletions and renames are no part of the tree.
      if tar.header.comment == LargePurge.mark { return }
      // An incremental set also has directories that only hold something new.
      if let entry = directories.removeValue(forKey: path) { compare(entry, tar.header, path) }
      return
    }
    while try line() {
      if manifest.line.what != .entry {
        hasLine = false
        continue
      }
      if manifest.line.kind == .directory {
        if let entry = manifest.line.entry() { directories[entry.path] = entry }
        hasLine = false
        continue
      }
      let order = PathOrder.compare(Bytes(manifest.line.path), path)
      if order > 0 { break }
      guard let entry = manifest.line.entry() else {
        report(path, "its line in the manifest cannot be read")
        hasLine = false
        continue
      }
      hasLine = false
      if order < 0 {
        if entry.extents.contains(where: { $0.set == id }), entry.hardLink == nil {
          report(entry.path, "is in the manifest but not in the archive")
        }
        continue
      }
      files += 1
      let isSame = compare(entry, tar.header, path)
      if entry.kind == .file, tar.header.type != .hardLink {
        if isSame { compareData(entry, tar, digest, job) } else { lost = true }
      }
      return
    }
    report(path, "is in the archive but not in the manifest")
    // Its data, where it goes on, belongs to nothing.
    lost = true
  }

  /// Lines up to a directory's own: it is told of among the names of the directory above.
  private func passDirectories(before path: Bytes) throws(Failure) {
    while try line() {
      if manifest.line.what != .entry {
        hasLine = false
        continue
      }
      guard manifest.line.kind == .directory else { return }
      guard let entry = manifest.line.entry() else { return }
      directories[entry.path] = entry
      hasLine = false
    }
  }

  /// Reports what differs; false where they do not even tell of the same data.
  @discardableResult
  private func compare(_ entry: Entry, _ header: TarHeader, _ path: Bytes) -> Bool {
    // A last good copy may be another name of what is something newer by now: it is stored as a file of its own.
    let isLink = entry.hardLink != nil && header.type == .hardLink
    let wanted = isLink ? TarHeader(entry, linkTo: entry.hardLink!) : TarHeader(stored: entry)
    let differs =
      wanted.type != header.type
      ? "type"
      : wanted.mode != header.mode
        ? "mode"
        : wanted.uid != header.uid || wanted.gid != header.gid
          ? "owner"
          : wanted.modified != header.modified
            ? "time"
            : wanted.size != header.size
              ? "size"
              : wanted.linkTarget != header.linkTarget
                ? "link target"
                : wanted.major != header.major || wanted.minor != header.minor
                  ? "device" : wanted.attributes != header.attributes ? "attributes" : nil
    if let differs { report(path, "archive and manifest do not agree on its \(differs)") }
    return wanted.type == header.type && wanted.size == header.size
  }

  private func compareData(_ entry: Entry, _ tar: TarEntry, _ digest: Digest?, _ job: MemberJob) {
    bytes.add(saturating: entry.size)
    if let extent = entry.extents.first {
      if extent.set != id || extent.offset != job.offset || extent.inner != Int64(tar.data)
        || extent.member != job.number
      {
        report(entry.path, "lies elsewhere in the archive than the manifest says")
      }
    }
    if let digest {
      var holes = HoleCheck(entry.holes)
      if !entry.holes.isEmpty {
        holes.take(UnsafeRawBufferPointer(rebasing: job.inflated.bytes[tar.data..<(tar.data + Int(entry.size))]))
      }
      return check(entry, isSame: digest == entry.digest, emptyHoles: holes.empty)
    }
    long = (entry, LogicalHash(entry, progress), false)
    takeLong(UnsafeRawBufferPointer(rebasing: job.inflated.bytes[tar.data...]))
  }

  private func check(_ entry: Entry, isSame: Bool, emptyHoles: [Range<Int64>]) {
    guard progress.goesOn else { return }
    if !isSame {
      report(entry.path, "its contents are not what was saved")
    } else if emptyHoles != entry.holes {
      report(entry.path, "has data where the manifest tells of a hole")
    }
  }

  private func continueLong(_ job: MemberJob) {
    guard long != nil else {
      if !lost { report(nil, "\(set.archive): \(Show.member(at: job.offset)) belongs to no file") }
      return
    }
    takeLong(job.inflated.bytes)
  }

  private func takeLong(_ data: UnsafeRawBufferPointer) {
    guard let file = long else { return }
    file.hash.take(data)
    if file.hash.isComplete { endLong() }
  }

  /// A damaged member in the middle of a file: its other members still belong to it.
  private func skipLong(_ job: MemberJob) { long!.hash.skip(LargeFile.pieceSize) }

  private func endLong() {
    guard let file = long else { return }
    long = nil
    if file.isDamaged { return report(file.entry.path, Show.inDamagedMember) }
    if !file.hash.isComplete { return report(file.entry.path, "is cut short in the archive") }
    check(file.entry, isSame: file.hash.matches(file.entry.digest), emptyHoles: file.hash.emptyHoles)
  }

  /// After the last member: what is left of the manifest must not lie in this archive.
  func finish() throws(Failure) {
    endLong()
    while try line() {
      hasLine = false
      guard manifest.line.what == .entry, manifest.line.kind != .directory, let entry = manifest.line.entry() else {
        continue
      }
      if entry.hardLink == nil, entry.extents.contains(where: { $0.set == id }) {
        report(entry.path, "is in the manifest but not in the archive")
      }
    }
    if !sawEnd { report(nil, "\(set.archive): its end is missing: it may be cut short") }
  }
}
