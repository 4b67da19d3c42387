/// Files that begin in one gzip member, to be unpacked and placed by one worker.
import Posix
import Storage
import Tar

final class PlaceJob: @unchecked Sendable {
  struct File {
    var entry: Entry
    var name: Bytes
    var directory: TargetDirectory
    /// The entry's number in the order of the tree. What is put off until then waits for it.
    var sequence: Int
  }
  let archive: ArchiveReader
  let offset: Int64
  private(set) var files: [File] = []
  /// The lowest of its files' sequences.
  private(set) var oldest = Int.max

  init(_ archive: ArchiveReader, _ offset: Int64) {
    self.archive = archive
    self.offset = offset
  }

  func add(_ file: File) {
    files.append(file)
    oldest = min(oldest, file.sequence)
  }
}

/// Does the work of jobs. Each runs on a thread of its own.
final class Unpacker {
  private let placer: Placer
  private let shelf: ArchiveShelf
  private let reporter: any Reporter
  private let progress: Progress
  private let ended: @Sendable () -> StoreError?
  private let damage: @Sendable () -> Void
  private let failed: @Sendable (Entry) -> Void
  private let kept: @Sendable (Entry) -> Void
  private let links: HardLinks
  private let options: RestoreOptions
  private let content = ContentReader(salvages: true)
  private let hasher = SHA256()

  init(
    _ placer: Placer, _ shelf: ArchiveShelf, ended: @escaping @Sendable () -> StoreError?, reporter: any Reporter,
    progress: Progress,
    damage: @escaping @Sendable () -> Void,
    failed: @escaping @Sendable (Entry) -> Void, kept: @escaping @Sendable (Entry) -> Void, links: HardLinks,
    _ options: RestoreOptions
  ) {
    self.placer = placer
    self.shelf = shelf
    self.ended = ended
    self.reporter = reporter
    self.progress = progress
    self.damage = damage
    self.failed = failed
    self.kept = kept
    self.links = links
    self.options = options
  }

  func run(_ job: PlaceJob) {
    for file in job.files {
      if progress.isCancelled.load(ordering: .relaxed) || ended() != nil { return }
      do throws(Failure) { try place(file, job.archive) } catch {
        // Then it is told once.
        if ended() != nil { return }
        if error.kind == .damaged { damage() }
        failed(file.entry)
        if error.kind == .interrupted { return }
        reporter.problem(error.message, path: file.entry.path)
      }
      if let damage = content.takeSalvaged() {
        self.damage()
        reporter.problem("\(damage.message): what is whole in it is restored", path: nil)
      }
    }
  }

  private func place(_ file: PlaceJob.File, _ archive: ArchiveReader?) throws(Failure) {
    let entry = file.entry
    var failure: Failure?
    do throws(SystemError) {
      guard try placer.mayPlace(entry, file.name, in: file.directory) else { return kept(entry) }
      try placer.placeFile(file.name, in: file.directory) { target throws(SystemError) in
        do throws(Failure) { try fill(target, entry, archive) } catch { failure = error }
        // A file that is not what it was is no file restored, and takes no other's place.
        if failure != nil { throw SystemError.unfit("restore", file.name) }
        try placer.metadata.finish(entry, target, in: file.directory)
      }
      if entry.links > 1, let path = options.stripped(entry.path) { links.wrote(path, entry.digest) }
    } catch {
      if let failure {
        if failure.kind == .failed { placer.refusesWrites(file.directory) }
        throw failure
      }
      throw Failure(.failed, placer.reason(error, file.name, in: file.directory))
    }
    progress.add(files: 1)
    if reporter.wantsItems { reporter.item(.restored, entry.path, .file) }
  }

  /// Writes the contents, leaving holes, and compares their digest.
  private func fill(_ target: Descriptor, _ entry: Entry, _ archive: ArchiveReader?) throws(Failure) {
    var writer = HoleWriter(target, entry, hasher, progress)
    for extent in entry.extents {
      let source: ArchiveReader
      if let archive, archive.id == extent.set { source = archive } else { source = try shelf.archive(extent.set) }
      try content.read(extent, of: source) { bytes throws(Failure) in
        try writer.write(bytes)
        progress.add(bytes: bytes.count)
      }
    }
    try writer.finish()
    try progress.checkCancelled()
    if hasher.finish() != entry.digest, writer.isHashed { throw .damaged("its contents are not what was saved") }
  }
}

/// Writes a file's stored bytes where they belong, and hashes the whole file as it will be, holes as zeros.
private struct HoleWriter {
  private let target: Descriptor
  private let entry: Entry
  private let hasher: SHA256
  private let progress: Progress
  private var position: Int64 = 0
  private var nextHole = 0
  /// False: its holes are more than can be hashed.
  let isHashed: Bool

  init(_ target: Descriptor, _ entry: Entry, _ hasher: SHA256, _ progress: Progress) {
    self.target = target
    self.entry = entry
    self.hasher = hasher
    self.progress = progress
    isHashed = !entry.isStoredSparse || progress.mayHash(zeros: entry.size - entry.storedSize)
    hasher.restart()
  }

  mutating func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    var rest = bytes
    progress.add(stored: rest.count)
    while !rest.isEmpty {
      while entry.isStoredSparse, nextHole < entry.holes.count, position == entry.holes[nextHole].lowerBound {
        addZeros(entry.holes[nextHole].count)
        position = entry.holes[nextHole].upperBound
        nextHole += 1
      }
      let hole = nextHole < entry.holes.count ? entry.holes[nextHole] : nil
      let isInHole = hole.map { position >= $0.lowerBound } ?? false
      let stop = hole.map { isInHole ? $0.upperBound : $0.lowerBound } ?? .max
      let part = UnsafeRawBufferPointer(rebasing: rest[..<Int(min(Int64(rest.count), stop - position))])
      if isInHole {
        // The zeros that stand for the hole are passed over.
        addZeros(part.count)
        position += Int64(part.count)
        if position == stop { nextHole += 1 }
      } else {
        if isHashed { hasher.update(part.baseAddress!, part.count) }
        if entry.holes.count < Entry.manyHoles { try put(part) } else { try putData(of: part) }
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[part.count...])
    }
  }

  /// Leaves out what is nothing but zeros, by blocks as most file systems have them.
  private mutating func putData(of bytes: UnsafeRawBufferPointer) throws(Failure) {
    let block = 4096
    var data = 0
    var at = 0
    while at < bytes.count {
      let length = min(bytes.count - at, block - Int(position + Int64(at - data)) % block)
      let isZero = UnsafeRawBufferPointer(rebasing: bytes[at..<(at + length)]).isZero
      if isZero {
        if at > data { try put(UnsafeRawBufferPointer(rebasing: bytes[data..<at])) }
        position += Int64(length)
        data = at + length
      }
      at += length
    }
    if at > data { try put(UnsafeRawBufferPointer(rebasing: bytes[data..<at])) }
  }

  private mutating func put(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    let position = position
    try system { () throws(SystemError) in try target.write(bytes, at: position) }
    self.position += Int64(bytes.count)
  }

  mutating func finish() throws(Failure) {
    // First, since a size that the file system does not take need not be hashed.
    if !entry.holes.isEmpty { try system { () throws(SystemError) in try target.truncate(to: entry.size) } }
    if entry.isStoredSparse, nextHole < entry.holes.count { addZeros(Int(entry.size - position)) }
  }

  private func addZeros(_ count: Int) {
    if isHashed { hasher.updateZeros(Int64(count)) { progress.goesOn } }
  }
}
