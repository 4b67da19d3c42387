/// Reads a set's whole archive: the volumes' digests, each gzip member, each entry and each file's digest, and whether
/// the set's manifest tells the same.
import Posix
import Tar

/// What a check found wrong.
public struct Damage: Sendable {
  public var set: SetName
  /// The file it touches, where it is one file's.
  public var path: Bytes?
  public var message: String
}

/// One member on its way: read, inflated and parsed by a worker, then compared in order.
private final class CheckJob: @unchecked Sendable {
  let offset: Int64
  let number: Int64
  let isFirstHeader: Bool
  let compressed: Buffer
  let inflated = Buffer(capacity: 1 << 20)
  var entries: [(entry: TarEntry, digest: Digest?)] = []
  var comment = Bytes()
  var sawEnd = false
  var failure: String?
  private let finished = Monitor(false)

  init(offset: Int64, number: Int64, member: GzipMember, bytes: UnsafeRawBufferPointer) {
    self.offset = offset
    self.number = number
    isFirstHeader = member.firstHeader != nil
    firstHeader = member.firstHeader ?? 0
    compressed = Buffer(capacity: bytes.count)
    compressed.append(bytes.baseAddress!, bytes.count)
  }
  private let firstHeader: Int

  func run(_ inflater: Decompressor, _ hasher: SHA256) {
    defer { finished.change { $0 = true } }
    do throws(Decompressor.Failure) { try inflater.inflate(compressed.bytes, into: inflated) } catch {
      failure = "is damaged"
      return
    }
    guard isFirstHeader else { return }
    guard firstHeader == 0 else {
      failure = "does not begin with an entry"
      return
    }
    var reader = TarReader(inflated.bytes)
    do throws(TarReader.Failure) {
      while let entry = try reader.next() {
        var digest: Digest?
        if entry.header.size > 0, entry.data + Int(entry.header.size) <= inflated.count, entry.header.type == .file {
          hasher.update(inflated.start + entry.data, Int(entry.header.size))
          digest = hasher.finish()
        }
        entries.append((entry, digest))
      }
      comment = reader.globalComment
      sawEnd = reader.sawEnd
    } catch {
      switch error {
      case .malformed(_, let what): failure = "holds \(what)"
      case .cutShort: failure = "ends within headers"
      }
    }
  }

  func waitUntilFinished() { _ = finished.wait { $0 ? true : nil as Bool? } }
}

struct ArchiveCheck {
  let series: Series
  let set: SetName
  let progress: Progress
  let report: (Damage) -> Void

  /// Gives how many entries and bytes of files were read. Throws only where nothing can be read at all.
  func run() throws(Failure) -> (files: Int64, bytes: Int64) {
    let archive = try ArchiveReader(set, in: series)
    let manifest = try series.manifest(set, checked: true)
    let comparison = ManifestComparison(manifest, set: set, id: archive.id) { path, message in
      report(Damage(set: set, path: path, message: message))
    }
    let toWork = BoundedQueue<CheckJob>(limit: 8)
    let toCompare = BoundedQueue<CheckJob>(limit: 16)
    var threads: [Thread] = []
    for _ in 0..<processorCount() {
      threads.append(
        Thread {
          let inflater = Decompressor()
          let hasher = SHA256()
          while let job = toWork.take() { job.run(inflater, hasher) }
        })
    }
    nonisolated(unsafe) let comparing = comparison
    let outcome = Monitor<Failure?>(nil)
    let comparer = Thread { [progress] in
      while let job = toCompare.take() {
        job.waitUntilFinished()
        guard outcome.look({ $0 == nil }) else { continue }
        progress.add(bytes: job.compressed.count)
        do throws(Failure) { try comparing.take(job) } catch { outcome.change { $0 = error } }
      }
    }
    readMembers(archive, toWork, toCompare)
    toWork.close()
    toCompare.close()
    for thread in threads { thread.join() }
    comparer.join()
    try progress.checkCancelled()
    if let failure = outcome.look({ $0 }) { throw failure }
    try comparison.finish()
    return (comparison.files, comparison.bytes)
  }

  private func readMembers(
    _ archive: ArchiveReader, _ toWork: BoundedQueue<CheckJob>, _ toCompare: BoundedQueue<CheckJob>
  ) {
    let source = DigestingSource(archive)
    let reader = MemberReader(source)
    var number: Int64 = 0
    while !progress.isCancelled.load(ordering: .relaxed) {
      let offset = reader.offset
      do throws(MemberReader.Failure) {
        guard let (member, bytes) = try reader.next() else { break }
        let job = CheckJob(offset: offset, number: number, member: member, bytes: bytes)
        toCompare.put(job)
        toWork.put(job)
        number += 1
      } catch {
        switch error {
        case .system(let error):
          report(Damage(set: set, path: nil, message: "\(set.archive): cannot read it: \(error.cause)"))
          return
        case .cutShort(let offset), .notAMember(let offset):
          report(
            Damage(set: set, path: nil, message: "\(set.archive): the gzip member at byte \(offset) cannot be read"))
          // On at the next member that the table of lengths would give: the files' places tell where it is.
          guard let next = nextMember(after: offset) else { return source.finishUnread(report, set) }
          reader.seek(to: next.offset)
          number = next.number
        }
      }
    }
    guard !progress.isCancelled.load(ordering: .relaxed) else { return }
    source.finish(report, set)
  }

  /// The first member after `offset` that a file of the manifest lies in.
  private func nextMember(after offset: Int64) -> (offset: Int64, number: Int64)? {
    guard let manifest = try? series.manifest(set), let id = try? series.head(set).id else { return nil }
    while (try? manifest.next()) == true {
      guard manifest.line.what == .entry, manifest.line.kind == .file, let entry = manifest.line.entry() else {
        continue
      }
      for extent in entry.extents where extent.set == id && extent.offset > offset {
        return (extent.offset, extent.member)
      }
    }
    return nil
  }
}

/// Hashes each volume as it is read, front to back.
private final class DigestingSource: ByteSource, @unchecked Sendable {
  private let archive: ArchiveReader
  private let hasher = SHA256()
  private var position: Int64 = 0
  private var volume = 0
  private var left: Int64
  private var bad: [String] = []
  private var isBroken = false

  init(_ archive: ArchiveReader) {
    self.archive = archive
    left = archive.volumes.first?.size ?? 0
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(SystemError) -> Int {
    let read = try archive.read(into: buffer, count: count, at: offset)
    // Only what comes for the first time, and in order: a reader that starts anew after damage leaves gaps.
    if offset > position { isBroken = true }
    guard !isBroken, offset + Int64(read) > position else { return read }
    var from = Int(position - offset)
    while from < read, volume < archive.volumes.count {
      let length = Int(min(Int64(read - from), left))
      hasher.update(buffer + from, length)
      from += length
      position += Int64(length)
      left -= Int64(length)
      if left == 0 {
        if hasher.finish() != archive.volumes[volume].digest { bad.append(archive.volumes[volume].name) }
        volume += 1
        left = volume < archive.volumes.count ? archive.volumes[volume].size : 0
      }
    }
    return read
  }

  func finish(_ report: (Damage) -> Void, _ set: SetName) {
    for name in bad {
      report(Damage(set: set, path: nil, message: "\(name): its digest is not what its manifest says"))
    }
  }

  func finishUnread(_ report: (Damage) -> Void, _ set: SetName) { finish(report, set) }
}

/// Follows a set's own manifest beside its archive: both are in the order of the tree.
private final class ManifestComparison {
  private let manifest: ManifestReader
  private let set: SetName
  private let id: SetID
  private let report: (Bytes?, String) -> Void
  private var hasLine = false
  private var atEnd = false
  /// Directories of the manifest whose tar entry comes at the head of their own names.
  private var directories: [Bytes: Entry] = [:]
  /// A file that goes on in the members that follow.
  private var long: (entry: Entry, left: Int64, position: Int64, isDamaged: Bool)?
  private var segments: [Range<Int64>] = []
  private let hasher = SHA256()
  private var sawEnd = false
  private var first = true
  /// From here on to the next header, data belongs to nothing that is known.
  private var lost = false
  private(set) var files: Int64 = 0
  private(set) var bytes: Int64 = 0

  init(_ manifest: ManifestReader, set: SetName, id: SetID, report: @escaping (Bytes?, String) -> Void) {
    self.manifest = manifest
    self.set = set
    self.id = id
    self.report = report
  }

  func take(_ job: CheckJob) throws(Failure) {
    if let failure = job.failure {
      report(nil, "\(set.archive): the gzip member at byte \(job.offset) \(failure)")
      long?.isDamaged = true
      if job.isFirstHeader { endLong() } else if long != nil { skipLong(job) }
      try reportFiles(in: job)
      return
    }
    if first {
      first = false
      let prefix = Bytes("sheaf set\n")
      if !job.comment.starts(with: prefix) || Bytes(job.comment.dropFirst(prefix.count)) != manifest.head.text() {
        report(nil, "\(set.archive): belongs to another set than its manifest")
      }
    }
    if !job.isFirstHeader { return continueLong(job) }
    endLong()
    lost = false
    for (entry, digest) in job.entries { try compare(entry, digest, job) }
    if job.sawEnd { sawEnd = true }
  }

  /// A damaged member's files have not been compared: they are named.
  private func reportFiles(in job: CheckJob) throws(Failure) {
    while try line() {
      guard let extent = ownExtent(), extent.offset <= job.offset else { return }
      if extent.offset == job.offset { report(Bytes(manifest.line.path), "lies in a damaged gzip member") }
      hasLine = false
    }
  }

  private func ownExtent() -> Extent? {
    guard manifest.line.what == .entry else { return Extent(set: id, offset: -1, member: 0, inner: 0, length: 0) }
    if manifest.line.kind == .directory {
      if let entry = manifest.line.entry() { directories[entry.path] = entry }
      return Extent(set: id, offset: -1, member: 0, inner: 0, length: 0)
    }
    return manifest.line.entry()?.extents.first { $0.set == id }
      ?? Extent(set: id, offset: -1, member: 0, inner: 0, length: 0)
  }

  /// Has a line at hand; false at the manifest's end.
  private func line() throws(Failure) -> Bool {
    if hasLine { return true }
    if atEnd { return false }
    hasLine = try manifest.next()
    atEnd = !hasLine
    return hasLine
  }

  private func compare(_ tar: TarEntry, _ digest: Digest?, _ job: CheckJob) throws(Failure) {
    var path = tar.header.path
    if tar.header.type == .directory {
      if path.last == 47 { path.removeLast() }
      try passDirectories(before: path)
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
      compare(entry, tar.header, path)
      if entry.kind == .file, tar.header.type != .hardLink { compareData(entry, tar, digest, job) }
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

  private func compare(_ entry: Entry, _ header: TarHeader, _ path: Bytes) {
    var wanted = entry.hardLink.map { TarHeader(entry, linkTo: $0) } ?? TarHeader(entry, attributes: entry.attributes)
    if entry.isStoredSparse, entry.hardLink == nil {
      wanted.type = .gnuSparse
      wanted.size = entry.storedSize
    }
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
                ? "link"
                : wanted.major != header.major || wanted.minor != header.minor
                  ? "device" : wanted.attributes != header.attributes ? "attributes" : nil
    if let differs { report(path, "archive and manifest tell of another \(differs)") }
  }

  private func compareData(_ entry: Entry, _ tar: TarEntry, _ digest: Digest?, _ job: CheckJob) {
    bytes += entry.size
    if let extent = entry.extents.first {
      if extent.set != id || extent.offset != job.offset || extent.inner != Int64(tar.data)
        || extent.member != job.number
      {
        report(entry.path, "lies elsewhere in the archive than the manifest says")
      }
    }
    if entry.storedSize == 0 {
      hasher.restart()
      hashZeros(entry.size)
      return check(entry, hasher.finish())
    }
    if let digest { return check(entry, digest) }
    long = (entry, entry.storedSize, 0, false)
    segments = entry.isStoredSparse ? entry.segments.reversed() : [0..<entry.size]
    hasher.restart()
    takeLong(UnsafeRawBufferPointer(rebasing: job.inflated.bytes[tar.data...]))
  }

  private func check(_ entry: Entry, _ digest: Digest) {
    if digest != entry.digest { report(entry.path, "its contents are not what was saved") }
  }

  private func continueLong(_ job: CheckJob) {
    guard long != nil else {
      if !lost { report(nil, "\(set.archive): the gzip member at byte \(job.offset) belongs to no file") }
      return
    }
    takeLong(job.inflated.bytes)
  }

  private func takeLong(_ data: UnsafeRawBufferPointer) {
    guard var file = long else { return }
    var rest = UnsafeRawBufferPointer(rebasing: data[..<Int(min(Int64(data.count), file.left))])
    file.left -= Int64(rest.count)
    while !rest.isEmpty, let segment = segments.last {
      if file.position < segment.lowerBound {
        hashZeros(segment.lowerBound - file.position)
        file.position = segment.lowerBound
      }
      let count = min(rest.count, Int(segment.upperBound - file.position))
      hasher.update(rest.baseAddress!, count)
      file.position += Int64(count)
      if file.position == segment.upperBound { segments.removeLast() }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    long = file
    if file.left == 0 { endLong() }
  }

  /// A damaged member in the middle of a file: its other members still belong to it.
  private func skipLong(_ job: CheckJob) { long!.left = max(0, long!.left - LargeFile.pieceSize) }

  private func endLong() {
    guard let file = long else { return }
    long = nil
    if file.isDamaged { return report(file.entry.path, "lies in a damaged gzip member") }
    if file.left > 0 { return report(file.entry.path, "is cut short in the archive") }
    hashZeros(file.entry.size - file.position)
    check(file.entry, hasher.finish())
  }

  private static let zeros = Bytes(repeating: 0, count: 65536)
  private func hashZeros(_ count: Int64) {
    var left = count
    while left > 0 {
      let length = Int(min(left, Int64(Self.zeros.count)))
      Self.zeros.withUnsafeBytes { hasher.update($0.baseAddress!, length) }
      left -= Int64(length)
    }
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
    if !sawEnd { report(nil, "\(set.archive): has no end") }
  }
}
