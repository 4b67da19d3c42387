/// Does the work of jobs: reads, hashes, makes tar entries, deflates. Each runs on a thread of its own.
import Posix
import Tar

final class Packer {
  private let root: SourceRoot
  private let look: SourceLook
  private let compressor: Compressor
  /// For files that are not to be compressed.
  private let storer = Compressor(level: 0)
  private let options: PackOptions
  /// The member at hand is not compressed.
  private var isStored = false
  private let reporter: any Reporter
  private let progress: Progress
  private let set: SetID
  private let isFull: Bool
  private let untold: UntoldContents

  private let hasher = SHA256()
  private let tar = Buffer(capacity: 2 << 20)
  private let scratch = Buffer(capacity: 4096)
  /// The directory whose entries are being packed.
  private var directory: (path: Bytes, descriptor: Descriptor)?

  init(
    root: SourceRoot, owners: OwnerNames, options: PackOptions, set: SetID, isFull: Bool, untold: UntoldContents,
    reporter: any Reporter, progress: Progress, clock: @escaping @Sendable () -> Timestamp
  ) {
    self.root = root
    look = SourceLook(owners: owners, reporter: reporter, clock: clock)
    compressor = Compressor(level: options.level)
    self.options = options
    self.set = set
    self.isFull = isFull
    self.untold = untold
    self.reporter = reporter
    self.progress = progress
  }

  /// Files above this many bytes are packed in pieces.
  static let smallLimit: Int64 = 1 << 20

  /// What a gzip member may inflate to before the next entry goes into another one: the job's estimate was too low then.
  private static let memberLimit = 4 << 20

  func run(_ job: PackJob) {
    tar.count = 0
    isStored = false
    for item in job.items {
      switch item {
      case .kept(let range): job.canonical.append(job.kept.start + range.lowerBound, range.count)
      case .line(let text, let canonical, let isNote):
        job.text.append(text)
        if isNote { job.notes.append(text) }
        if canonical > 0 { appendCanonical(text, canonical, job) }
      case .directory(let path, let status, let attributes, let dumpdir, let comment):
        packDirectory(path, status, attributes, dumpdir, comment, job)
      case .entry(let entry): pack(entry, job)
      case .chunk(let file, let index): pack(file, index, job)
      }
      if tar.count > Self.memberLimit { endMember(job) }
    }
    endMember(job)
    job.finish()
  }

  private func endMember(_ job: PackJob, startsEntry: Bool = true) {
    guard tar.count > 0 else { return }
    deflater.append(tar.bytes, firstHeader: startsEntry ? 0 : nil, to: job.member)
    job.endMember(tarBytes: tar.count)
    tar.count = 0
  }

  private var deflater: Compressor { isStored ? storer : compressor }

  /// What comes next is a file of this size. Files that are compressed and others do not share a member.
  private func beginFile(ofSize size: Int64, _ job: PackJob) {
    if (size <= options.compressAbove) == isStored { return }
    endMember(job)
    isStored.toggle()
  }

  // MARK: - Pieces of large files

  private func pack(_ file: LargeFile, _ index: Int, _ job: PackJob) {
    endMember(job)
    beginFile(ofSize: file.storedSize, job)
    if let stream = file.stream, stream.isDeflated(index) {
      file.appendMember(index, of: stream, to: job.member)
      job.endMember(tarBytes: Int(LargeFile.pieceSize))
      job.bytesRead += LargeFile.pieceSize
      return
    }
    if index == 0 { file.appendHeader(to: tar) }
    let start = tar.count
    file.readPiece(index, into: tar)
    let length = tar.count - start
    job.bytesRead += Int64(length)
    if file.stream == nil { progress.add(bytes: length) }
    // A stream was hashed when it was read.
    let isTurn = file.stream != nil || file.isTurn(index)
    if isTurn, file.stream == nil { file.hash(index, UnsafeRawBufferPointer(rebasing: tar.bytes[start...])) }
    let isLast = index == file.pieces - 1
    if isLast { tar.appendZeros(TarHeader.padded(Int(file.storedSize % 512)) - Int(file.storedSize % 512)) }
    endMember(job, startsEntry: index == 0)
    // What was packed lies there still.
    if !isTurn { file.hash(index, UnsafeRawBufferPointer(start: tar.start + start, count: length)) }
    if isLast { finish(file, job) }
  }

  private func finish(_ file: LargeFile, _ job: PackJob) {
    let (entry, failure) = file.finish()
    progress.add(files: 1)
    if let failure {
      file.group?.settle(failure: failure, turn: file.turn)
      return unseen(entry.path, .file, file.before, job, failure)
    }
    if entry.isTorn { reporter.problem("changed while it was read; it is read again next time", path: entry.path) }
    file.group?.settle(entry, turn: file.turn)
    append(entry, job, as: file.change, part: job.parts.count) { extent in
      .firstMember(file, file.group, extent)
    }
  }

  /// Appends the line, with a gap for the place where the file has contents.
  private func append(
    _ entry: Entry, _ job: PackJob, as change: Change, part: Int = 0,
    _ fill: (Extent) -> PackJob.Fill? = { _ in nil }
  ) {
    let start = job.text.count
    entry.appendCanonical(to: job.text)
    job.canonical.append(job.text.start + start, job.text.count - start)
    job.canonical.append(UInt8(ascii: "\n"))
    entry.appendLocal(to: job.text)
    if entry.kind == .file, entry.storedSize > 0 || entry.isStoredSparse {
      Entry.appendExtentHead(set, to: job.text)
      let extent = Extent(set: set, offset: 0, member: 0, inner: 0, length: entry.storedSize)
      if let fill = fill(extent) {
        job.gaps.append(.init(text: job.text.count, canonical: job.canonical.count, fill: fill, part: part))
      }
    }
    job.text.append(UInt8(ascii: "\n"))
    count(entry, job, as: change)
  }

  private func count(_ entry: Entry, _ job: PackJob, as change: Change) {
    if entry.kind == .directory { job.counts.directories += 1 } else { job.counts.files += 1 }
    job.counts.bytes.add(saturating: entry.hardLink == nil ? entry.size : 0)
    if entry.isTorn { job.counts.torn += 1 }
    tell(change, entry.path, entry.kind, job)
  }

  private func tell(_ change: Change, _ path: Bytes, _ kind: FileKind, _ job: PackJob) {
    let mark: Mark
    switch change {
    case .new:
      job.counts.new += 1
      mark = .new
    case .changed:
      job.counts.changed += 1
      mark = .changed
    case .unchanged:
      job.unchanged += 1
      mark = .metadata
    case .moved:
      job.moved += 1
      mark = .moved
    case .untold: mark = .metadata
    }
    if reporter.wantsItems { reporter.item(mark, path, kind) }
  }

  private func appendCanonical(_ text: Bytes, _ length: Int, _ job: PackJob) {
    text.withUnsafeBytes { job.canonical.append($0.baseAddress!, length) }
    job.canonical.append(UInt8(ascii: "\n"))
  }

  // MARK: - Directories

  private func packDirectory(
    _ path: Bytes, _ status: Status, _ known: [Attribute]?, _ dumpdir: Bytes, _ comment: Bytes, _ job: PackJob
  ) {
    let entry = look.entry(path, status)
    // What cannot be opened was reported when it could not be listed.
    let attributes = known ?? look.within((try? open(path))?.attributesOrNone() ?? [], of: path)
    var header = TarHeader(entry, attributes: attributes)
    if job.directory == nil, comment != LargePurge.mark { job.directory = header }
    header.dumpdir = dumpdir
    header.comment = comment
    header.append(to: tar)
  }

  private func open(_ path: Bytes) throws(SystemError) -> Descriptor {
    if let directory, directory.path == path { return directory.descriptor }
    let descriptor: Descriptor
    do throws(SystemError) { descriptor = try root.openBeneath(path, [.read, .directory, .noAccessTime]) } catch {
      // Without the right to list it, what is in it may still be opened.
      descriptor = try root.openBeneath(path, [.pathOnly, .directory])
    }
    directory = (path, descriptor)
    return descriptor
  }

  // MARK: - Everything else

  private func pack(_ packed: PackEntry, _ job: PackJob) {
    // All that is told of a directory is known: what is in it may be there although it is away for the moment.
    if packed.item.status.kind == .directory { return packDirectoryLine(packed, job) }
    if packed.isLink, let group = packed.group, group.waitForFirst(turn: packed.turn, orTake: packed.path) {
      return packLink(packed, group, job)
    }
    if packed.item.status.kind == .file { beginFile(ofSize: packed.item.status.size, job) }
    let start = tar.count
    do throws(SystemError) {
      if let stream = packed.stream { return try packStream(stream, packed, job) }
      let parent = try open(packed.listing.path)
      if packed.item.status.kind == .file { return try packFile(packed, parent, job) }
      try packOther(packed, parent, job)
    } catch {
      // A file that opens and then cannot be read has its header there already, which would swallow what follows.
      tar.count = start
      packed.group?.settle(failure: error, turn: packed.turn)
      unseen(packed.path, packed.item.status.kind, packed.before, job, error)
    }
  }

  private func packLink(_ packed: PackEntry, _ group: LinkGroup, _ job: PackJob) {
    let path = packed.path
    // As the manifest tells it: the file may be another by now than when this name was listed.
    var entry = group.stored ?? look.entry(path, packed.item.status)
    entry.path = path
    TarHeader(entry, linkTo: group.first).append(to: tar)
    job.gaps.append(
      .init(text: job.text.count, canonical: job.canonical.count, fill: .link(group, path: path, packed.before)))
    job.counts.files += 1
    tell(packed.change, path, entry.kind, job)
  }

  private func packDirectoryLine(_ packed: PackEntry, _ job: PackJob) {
    var entry = look.entry(packed.path, packed.item.status)
    entry.attributes = packed.attributes
    entry.isFresh = packed.before.isOther
    entry.fileSystem = packed.fileSystem
    if isKept(entry, packed, job) { return }
    append(entry, job, as: packed.change)
  }

  private func packOther(_ packed: PackEntry, _ parent: Descriptor, _ job: PackJob) throws(SystemError) {
    let name = packed.listing.name(packed.item)
    let entry = try look.entry(packed.path, packed.item.status, named: name, in: parent)
    if isKept(entry, packed, job) { return }
    TarHeader(entry, attributes: entry.attributes).append(to: tar)
    packed.group?.settle(entry, turn: packed.turn)
    append(entry, job, as: packed.change)
  }

  /// A stream of one piece.
  private func packStream(_ stream: StreamFile, _ packed: PackEntry, _ job: PackJob) throws(SystemError) {
    var entry = look.entry(packed.path, packed.item.status)
    entry.digest = stream.digest
    TarHeader(entry, attributes: []).append(to: tar)
    let inner = tar.count
    try stream.appendPiece(0, to: tar)
    tar.appendZeros(TarHeader.padded(tar.count - inner) - (tar.count - inner))
    job.bytesRead += entry.size
    append(entry, job, as: packed.change, part: job.parts.count) { extent in
      var extent = extent
      extent.inner = Int64(inner)
      return .ownMember(nil, extent)
    }
  }

  private func packFile(_ listed: PackEntry, _ parent: Descriptor, _ job: PackJob) throws(SystemError) {
    var packed = listed
    let item = packed.item
    let path = packed.path
    // A large file of which another name failed while it was read: this one is the same file.
    if packed.isLink, item.status.size > Self.growthLimit, let failure = packed.group?.failure { throw failure }
    let fd = packed.listing.withName(item) { name in
      parent.open(
        UnsafeRawPointer(name.baseAddress!).assumingMemoryBound(to: CChar.self),
        [.read, .noFollow, .nonBlocking, .noAccessTime])
    }
    if fd < 0 { throw SystemError("open", path, currentError()) }
    let start = tar.count
    let (entry, inner, size) = try appendWhole(Descriptor.adopting(fd, path: path), &packed, job)
    job.bytesRead += Int64(size)
    progress.add(bytes: size)
    progress.add(files: 1)
    if isKept(entry, packed, job) {
      tar.count = start
      return
    }
    if packed.onlyIfDifferent, !entry.isTorn, isRot(entry, since: packed.old) { reporter.suspectRot(entry.path) }
    packed.group?.settle(entry, turn: packed.turn)
    let isLarge = Int64(size) > Self.smallLimit
    let part = isLarge ? endMembers(from: start, data: inner, job) : job.parts.count
    append(entry, job, as: packed.change, part: part) { extent in
      var extent = extent
      extent.inner = Int64(isLarge ? inner - start : inner)
      return .ownMember(packed.group, extent)
    }
  }

  /// Appends the file's header and contents; where it changes meanwhile, up to four times. Gives its entry, where its
  /// contents begin, and how many bytes they are.
  private func appendWhole(
    _ file: Descriptor, _ packed: inout PackEntry, _ job: PackJob
  ) throws(SystemError) -> (entry: Entry, inner: Int, size: Int) {
    let path = packed.path
    let start = tar.count
    var tries = 0
    while true {
      tries += 1
      tar.count = start
      var (status, entry) = try look.entry(path, of: file)
      // What grew beyond all measure since it was listed is cut; the next run takes it as the large file it is.
      let size = Int(min(status.size, job.member.count < Self.jobLimit ? Self.growthLimit : Self.smallLimit))
      packed.leaveGroup(unless: status)
      if Int64(size) < status.size {
        entry.size = Int64(size)
        entry.holes = entry.holes.map { $0.clamped(to: 0..<entry.size) }.filter { !$0.isEmpty }
        entry.isTorn = true
      }
      TarHeader(entry, attributes: entry.attributes).append(to: tar)
      let inner = tar.count
      tar.reserve(size + 512)
      let read = try file.read(into: tar.end, count: size, at: 0)
      tar.count += read
      let after = try file.status()
      let isWhole =
        read == size && after.size == status.size && after.modified == status.modified
        && after.changed == status.changed
      if !isWhole, tries < 4 { continue }
      if isWhole, size == 0, file.holdsMoreThanItsSize { untold.add(path) }
      if read < size { tar.appendZeros(size - read) }
      if !isWhole { entry.isTorn = true }
      if !isWhole || Int64(size) < status.size {
        reporter.problem("changed while it was read; it is read again next time", path: entry.path)
      }
      if !entry.holes.isEmpty {
        var holes = HoleCheck(entry.holes)
        holes.take(UnsafeRawBufferPointer(start: tar.start + inner, count: size))
        entry.holes = holes.empty
      }
      hasher.update(tar.start + inner, size)
      entry.digest = hasher.finish()
      tar.appendZeros(TarHeader.padded(size) - size)
      return (entry, inner, size)
    }
  }

  /// What a file may have grown to since it was listed, to be stored whole; it is held in memory.
  private static let growthLimit: Int64 = 32 << 20
  /// Where a job's members come to more than this, other files of it have grown as well, and none may grow any more.
  private static let jobLimit = 64 << 20

  /// Packs what stands from `start` on, a file that has become large, in pieces as every large file is. Gives the number
  /// of the first.
  private func endMembers(from start: Int, data: Int, _ job: PackJob) -> Int {
    func end(_ range: Range<Int>, _ firstHeader: Int?) {
      deflater.append(UnsafeRawBufferPointer(rebasing: tar.bytes[range]), firstHeader: firstHeader, to: job.member)
      job.endMember(tarBytes: range.count)
    }
    if start > 0 { end(0..<start, 0) }
    let first = job.parts.count
    var from = start
    var to = data
    while from < tar.count {
      to += Int(LargeFile.pieceSize)
      if tar.count - to < TarHeader.blockSize { to = tar.count }
      end(from..<to, from == start ? 0 : nil)
      from = to
    }
    tar.count = 0
    return first
  }

  /// Whether its contents are others than the old line's, though its size and time are the same.
  private func isRot(_ entry: Entry, since old: Bytes?) -> Bool {
    guard let old else { return false }
    return old.withUnsafeBufferPointer { text in
      var line = Line()
      guard line.parse(entry: text, scratch: scratch), !line.mustReread, let before = line.entry() else { return false }
      return entry.isSuspectedRot(since: before)
    }
  }

  /// Where nothing differs from the old line: only the line is written anew, with the old place.
  private func isKept(_ entry: Entry, _ packed: PackEntry, _ job: PackJob) -> Bool {
    guard packed.onlyIfDifferent, let old = packed.old, !entry.isTorn else { return false }
    guard let line = refreshed(old, with: entry, scratch, window: options.window) else { return false }
    if entry.kind == .file { job.bytesSpared += entry.size }
    job.text.append(line.text)
    // Of a directory, the archive has an entry.
    if packed.before.isUnseen, entry.kind != .directory { job.notes.append(line.text) }
    appendCanonical(line.text, line.canonical, job)
    count(entry, job, as: packed.item.isAbove ? .untold : packed.before.isElsewhere ? .moved : .unchanged)
    return true
  }

  // MARK: - What could not be read

  private func unseen(_ path: Bytes, _ kind: FileKind, _ before: Before, _ job: PackJob, _ error: SystemError) {
    reporter.problem(error.asUnseen, path: path)
    let lines = UnseenLines(path: path, before: before, isFull: isFull)
    job.text.append(lines.text)
    job.notes.append(lines.text)
    if let old = before.line, lines.canonical > 0 { appendCanonical(old, lines.canonical, job) }
    lines.count(in: &job.counts)
    if reporter.wantsItems { reporter.item(.unseen, path, kind) }
  }
}
