/// Reads a whole archive and makes its manifest's lines again from the tar entries and the notes in it.
import Posix
import Tar

/// Takes the members of one archive in order.
final class ArchiveScan {
  private let id: SetID
  private let sorter: LineSorter
  private let progress: Progress
  private let report: (Bytes?, String) -> Void
  /// Hard links, whose first name tells the rest of their line.
  private(set) var links: [(path: Bytes, first: Bytes, header: TarHeader)] = []
  /// What the set's archive says was moved.
  private(set) var moves: [Move] = []
  private var knownMoves: Set<Move> = []
  private(set) var files: Int64 = 0
  private(set) var members: [(length: Int, checksum: UInt32)] = []
  private(set) var tarBytes: Int64 = 0
  private(set) var sawEnd = false

  /// A file that goes on in the members that follow.
  private var long: (entry: Entry, hash: LogicalHash)?
  private let scratch = Buffer()

  /// The last path that the run reached, where it was interrupted.
  private(set) var incompleteAfter: Bytes?
  /// Directories that an interrupted run had not listed to the end, as the run that took it over notes.
  private(set) var untold: Set<Bytes> = []

  init(_ id: SetID, to sorter: LineSorter, progress: Progress, report: @escaping (Bytes?, String) -> Void) {
    self.id = id
    self.sorter = sorter
    self.progress = progress
    self.report = report
  }

  func take(_ job: MemberJob) throws(Failure) {
    members.append((job.compressed.count, GzipMember.storedChecksum(job.compressed.bytes)))
    tarBytes += Int64(job.inflated.count)
    if let failure = job.failure {
      report(nil, "\(Show.member(at: job.offset)) \(failure); what lies in it is lost")
      if let file = long { report(file.entry.path, Show.inDamagedMember) }
      long = nil
      return
    }
    if !job.isFirstHeader {
      guard long != nil else { return }
      return try goOn(job.inflated.bytes)
    }
    if job.sawEnd { sawEnd = true }
    for (tar, digest) in job.entries { try add(tar, digest, job) }
  }

  private func add(_ tar: TarEntry, _ digest: Digest?, _ job: MemberJob) throws(Failure) {
    let header = tar.header
    if header.type == .hardLink {
      links.append((header.path, header.linkTarget, header))
      files += 1
      return
    }
    guard var entry = Entry(header) else { return report(header.path, "cannot be used") }
    if entry.kind == .directory {
      try addNotes(header.comment)
      if entry.isUnlisted, header.comment.starts(with: TarHeader.keptMark) { untold.insert(entry.path) }
      if header.comment == LargePurge.mark { return }
      return try put(entry)
    }
    files += 1
    guard entry.kind == .file else { return try put(entry) }
    let stored = entry.storedSize
    if stored > 0 || entry.isStoredSparse {
      entry.extents = [Extent(set: id, offset: job.offset, member: job.number, inner: Int64(tar.data), length: stored)]
    }
    if let digest {
      entry.digest = digest
      if !entry.holes.isEmpty {
        var holes = HoleCheck(entry.holes)
        holes.take(UnsafeRawBufferPointer(rebasing: job.inflated.bytes[tar.data..<(tar.data + Int(entry.size))]))
        entry.holes = holes.empty
      }
      return try put(entry)
    }
    let hash = LogicalHash(entry, progress)
    guard hash.isHashed else { return report(entry.path, "has more holes than can be hashed") }
    long = (entry, hash)
    try goOn(UnsafeRawBufferPointer(rebasing: job.inflated.bytes[tar.data...]))
  }

  private func goOn(_ data: UnsafeRawBufferPointer) throws(Failure) {
    guard let (unfinished, hash) = long else { return }
    hash.take(data)
    guard hash.isComplete else { return }
    long = nil
    var entry = unfinished
    entry.digest = hash.finish()
    entry.holes = hash.emptyHoles
    try put(entry)
  }

  private func put(_ entry: Entry) throws(Failure) {
    scratch.count = 0
    entry.appendLine(to: scratch)
    let bytes = scratch.bytes
    try system { () throws(SystemError) in try sorter.add(path: entry.path, bytes) }
  }

  /// Lines that no tar entry tells of.
  private func addNotes(_ comment: Bytes) throws(Failure) {
    guard comment.starts(with: TarHeader.notesMark) else { return }
    for line in comment.dropFirst(TarHeader.notesMark.count).split(separator: 10) {
      if let move = line.withUnsafeBufferPointer({ ManifestSyntax.move($0) }) {
        // A run that was taken over tells it once more.
        guard knownMoves.insert(move).inserted else { continue }
        moves.append(move)
        guard moves.count <= MoveFinder.moveLimit else {
          throw .damaged("it tells of more renames than any run writes")
        }
        continue
      }
      if line.starts(with: Bytes(ManifestSyntax.incomplete)) {
        incompleteAfter = line.withUnsafeBufferPointer { text in
          Escape.decoded(UnsafeBufferPointer(rebasing: text[ManifestSyntax.incomplete.utf8CodeUnitCount...]))
        }
        continue
      }
      let path = line.withUnsafeBufferPointer { ManifestSyntax.path(of: $0).flatMap(Escape.decoded) }
      guard let path else { continue }
      let text = Bytes(line) + [10]
      try system { () throws(SystemError) in try sorter.add(path: path, text) }
    }
  }
}

extension Entry {
  /// What a tar header tells: all but inode and change time. nil: its path is not plain, or its size, holes or attributes
  /// are beyond what an entry may have.
  init?(_ header: TarHeader) {
    var path = header.path
    if header.type == .directory, path.last == 47 { path.removeLast() }
    guard path.withUnsafeBufferPointer({ Line.isPlain($0) }) else { return nil }
    let kind: FileKind
    switch header.type {
    case .file, .gnuSparse, .hardLink: kind = .file
    case .directory: kind = .directory
    case .symlink: kind = .symlink
    case .fifo: kind = .fifo
    case .characterDevice: kind = .characterDevice
    case .blockDevice: kind = .blockDevice
    }
    self.init(path: path, kind: kind, mode: header.mode, uid: header.uid, gid: header.gid, modified: header.modified)
    userName = header.userName
    groupName = header.groupName
    attributes = header.attributes
    linkTarget = kind == .symlink ? header.linkTarget : []
    major = header.major
    minor = header.minor
    if kind == .directory {
      for (key, value) in header.directoryTags {
        if key == UInt8(ascii: "o") { isUnlisted = true }
        if key == UInt8(ascii: "b") { fileSystem = value.withUnsafeBufferPointer { FileSystemMark(tag: $0) } }
      }
    }
    guard kind == .file else { return }
    size = header.type == .gnuSparse ? header.realSize : header.size
    guard size <= Self.sizeLimit else { return nil }
    if header.type == .gnuSparse {
      isStoredSparse = true
      holes = Self.gaps(between: header.segments, size: size)
    } else {
      holes = Self.holes(comment: header.comment, size: size)
    }
    guard attributes.count <= Self.attributeLimit, size - storedSize <= Self.holeLimit else { return nil }
  }

  private static func holes(comment: Bytes, size: Int64) -> [Range<Int64>] {
    let prefix = Bytes("sheaf holes ")
    guard comment.starts(with: prefix) else { return [] }
    var holes: [Range<Int64>] = []
    for word in comment.dropFirst(prefix.count).split(separator: 32) {
      let numbers = word.split(separator: UInt8(ascii: ":")).compactMap { Int64(String(decoding: $0, as: UTF8.self)) }
      guard numbers.count == 2, numbers[0] >= holes.last?.upperBound ?? 0, numbers[1] > 0, numbers[0] <= size,
        numbers[1] <= size - numbers[0]
      else { return [] }
      holes.append(numbers[0]..<(numbers[0] + numbers[1]))
    }
    return holes
  }
}
