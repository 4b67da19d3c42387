/// Reads a manifest line by line, in constant memory; a large one is inflated ahead on a thread of its own.
import Glibc
import Posix
import Storage
import Tar

/// Not for use from several threads.
final class ManifestReader {
  /// Bytes. A manifest of so many is read whole: most of a long chain are small, and a chain may have more sets than a
  /// process may have files open.
  static let smallSize: Int64 = 16 << 10

  /// For messages.
  let name: String
  let head: SetHead
  /// The line just read.
  var line = Line()
  private(set) var lineNumber = 0
  /// Its text, without the newline; holds until the next.
  private(set) var text = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// Where in the file the gzip member with that line begins, and where in its inflated text the line does.
  var place: (member: Int64, start: Int) { (memberOffset, position - text.count - 1) }
  private var memberOffset: Int64 = 0
  /// Called with lines between the entries that are neither entries nor notes.
  var onOther: ((UnsafeBufferPointer<UInt8>) -> Void)?
  /// Read when the end was reached.
  private(set) var foot: SetFoot?

  private let chunks: ChunkStream
  private var chunk: Buffer?
  private var position = 0
  // There are as many of these as sets in a chain, and most manifests are small.
  private let scratch = Buffer(capacity: 64)
  private var tail = Fields()
  private let digest: SHA256?
  private let previous = Buffer(capacity: 64)
  private var previousParent = -1
  /// Where the last seek went.
  private var sought: Int64 = -1
  /// Where the chunk at hand begins in the file, until its first path was read.
  private var firstIn: Int64?
  private var index: (told: ManifestIndex, next: Int, report: (String) -> Void)?

  /// Reads from the beginning. `checked`: the manifest's own digest is compared at the end. `ahead`: a large one is
  /// inflated ahead of the reading. `inflater`: may be that of others which the same thread reads.
  init(
    _ file: any StoredFile, name: String, checked: Bool = false, ahead: Bool = true,
    inflater: Decompressor = Decompressor()
  ) throws(Failure) {
    self.name = name
    digest = checked ? SHA256() : nil
    let size = file.size
    let source: any ByteSource =
      size <= Self.smallSize
      ? HeldBytes(try stored { () throws(StoreError) in try file.read(count: Int(size), at: 0) }) : file
    chunks = ChunkStream(source, name: name, size: size, ahead: ahead && size > 1 << 20, inflater)
    var fields = Fields()
    var first: Buffer
    do {
      guard let chunk = try chunks.next() else { throw Failure.damaged("\(name): is empty") }
      first = chunk.text
    } catch let failure as Failure { throw failure } catch { fatalError("\(error)") }
    digest?.update(first.start, first.count)
    let lines = UnsafeBufferPointer(
      start: UnsafePointer(first.start.assumingMemoryBound(to: UInt8.self)), count: first.count)
    guard ManifestSyntax.starts(lines, "#mtree\n") else { throw .damaged("\(name): not a manifest") }
    fields.add(lines: lines, until: UInt8(ascii: "."))
    head = try SetHead(fields: fields, manifest: name)
  }

  /// Goes to the first line that is not before `path`, nor before the one at hand; false where there is none. Reads no
  /// more than it must, so the digest is not checked any more.
  func seek(to path: Bytes, _ index: ManifestIndex) throws(Failure) -> Bool {
    if let offset = index.offset(for: path), offset > sought {
      sought = offset
      chunk = nil
      position = 0
      previousParent = -1
      chunks.restart(from: offset)
    }
    let parentLength = path.lastIndex(of: UInt8(ascii: "/")) ?? 0
    while true {
      // At the end there is no line at hand: the last one's text is gone.
      if foot != nil { return false }
      let isThere =
        previousParent >= 0
        && path.withUnsafeBufferPointer { PathOrder.compare(line.path, line.parentLength, $0, parentLength) >= 0 }
      if isThere { return true }
      guard try next() else { return false }
    }
  }

  /// Ends as if nothing came after the line of this path.
  func stop(after path: Bytes) { lastPath = path }
  private var lastPath: Bytes?
  /// Compares the manifest's index with what it tells of, as reading goes on, and reads what follows the last line, too.
  func compare(_ told: ManifestIndex, report: @escaping (String) -> Void) { index = (told, 0, report) }

  private func compareIndex(_ offset: Int64, _ path: UnsafeBufferPointer<UInt8>) {
    guard let index else { return }
    self.index!.next += 1
    if !index.told.tells(of: Bytes(path), at: offset, number: index.next) { endIndex() }
  }

  private func endIndex() {
    guard let index else { return }
    self.index = nil
    index.report("\(name): its index is not what it should be")
  }

  /// Called with what the manifest says was moved.
  var onMove: ((Move) -> Void)?

  /// Reads the next entry or note; false at the end.
  func next() throws(Failure) -> Bool {
    if let lastPath, previousParent >= 0, Bytes(previous) == lastPath { return false }
    while true {
      guard let chunk, position < chunk.count else {
        if foot != nil { return false }
        try nextChunk()
        continue
      }
      let start = chunk.start.assumingMemoryBound(to: UInt8.self) + position
      guard let newline = memchr(start, 10, chunk.count - position) else { throw malformed("does not end") }
      let length = newline.assumingMemoryBound(to: UInt8.self) - start
      position += length + 1
      lineNumber += 1
      let text = UnsafeBufferPointer(start: UnsafePointer(start), count: length)
      guard length > 0 else { throw malformed("is empty") }
      guard ManifestSyntax.isPlain(text) else { throw malformed("cannot be read") }
      self.text = text
      if text[0] == UInt8(ascii: ".") {
        guard length > 1, text[1] == UInt8(ascii: "/") else { continue }
        guard line.parse(entry: text, scratch: scratch) else { throw malformed("cannot be read") }
        try checkOrder()
        return true
      }
      guard text[0] == UInt8(ascii: "#") else { throw malformed("cannot be read") }
      if ManifestSyntax.starts(text, ManifestSyntax.deleted) {
        try note(.deleted, text, ManifestSyntax.deleted)
        return true
      }
      if ManifestSyntax.starts(text, ManifestSyntax.unseen) {
        try note(.unseen, text, ManifestSyntax.unseen)
        return true
      }
      if ManifestSyntax.starts(text, ManifestSyntax.renamed) {
        guard head.kind != .full, let move = ManifestSyntax.move(text) else { throw malformed("cannot be read") }
        onMove?(move)
        continue
      }
      if ManifestSyntax.starts(text, "# members: ") {
        onOther?(text)
        continue
      }
      tail.add(line: text)
      guard tail.isSound else { throw malformed("is one of too many") }
      if ManifestSyntax.starts(text, "# end: ") { try readEnd(text, chunk) }
    }
  }

  private func note(_ what: Line.What, _ text: UnsafeBufferPointer<UInt8>, _ word: StaticString) throws(Failure) {
    guard line.parse(what, path: UnsafeBufferPointer(rebasing: text[word.utf8CodeUnitCount...]), scratch: scratch)
    else {
      throw malformed("cannot be read")
    }
    line.text = text
    try checkOrder()
  }

  private func nextChunk() throws(Failure) {
    guard let (offset, next) = try chunks.next() else { throw .damaged("\(name): is cut short") }
    // The line before must stay readable for the check of the order.
    chunk = next
    position = 0
    firstIn = offset
    memberOffset = offset
    if let digest, next.count > 0 {
      // The closing line is not part of what it digests.
      let all = UnsafeBufferPointer(
        start: UnsafePointer(next.start.assumingMemoryBound(to: UInt8.self)), count: next.count)
      digest.update(next.start, Self.endLine(all) ?? next.count)
    }
  }

  /// Where a chunk's last line starts, if it is the closing one.
  private static func endLine(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
    let length = "# end: \n".utf8.count + 64
    guard text.count >= length else { return nil }
    return ManifestSyntax.starts(UnsafeBufferPointer(rebasing: text[(text.count - length)...]), "# end: ")
      ? text.count - length : nil
  }

  private func readEnd(_ text: UnsafeBufferPointer<UInt8>, _ chunk: Buffer) throws(Failure) {
    guard position == chunk.count else { throw .damaged("\(name): goes on after its end") }
    let told = Digest(hex: UnsafeBufferPointer(rebasing: text[min(7, text.count)...]))
    if let digest, digest.finish() != told { throw .damaged("\(name): its digest does not match") }
    foot = try SetFoot(fields: tail, manifest: name)
    guard let index else { return }
    if foot != index.told.foot || index.next != index.told.count { endIndex() }
    guard try chunks.next() == nil else { throw .damaged("\(name): goes on after its end") }
  }

  private func malformed(_ what: String) -> Failure { .damaged("\(name): line \(lineNumber) \(what)") }

  @inline(__always)
  private func checkOrder() throws(Failure) {
    let path = line.path
    if let offset = firstIn {
      firstIn = nil
      compareIndex(offset, path)
    }
    if previousParent >= 0 {
      let before = UnsafeBufferPointer(
        start: UnsafePointer(previous.start.assumingMemoryBound(to: UInt8.self)), count: previous.count)
      if PathOrder.compare(before, previousParent, path, line.parentLength) >= 0 { throw malformed("is out of order") }
    }
    previous.count = 0
    previous.append(path.baseAddress!, path.count)
    previousParent = line.parentLength
  }
}

/// The inflated members of a manifest, in order.
private final class ChunkStream {
  /// `offset`: where the member begins in the file.
  typealias Chunk = (offset: Int64, text: Buffer)

  private let file: any ByteSource
  private let name: String
  private let ahead: Bool
  private var reader: MemberReader
  private let inflater: Decompressor
  private var queue: BoundedQueue<Result<Chunk, Failure>>?
  private var thread: Thread?
  /// Members are mostly smaller than 64 KiB, and there are as many windows as sets in a chain; most of these are smaller
  /// still.
  private let windowSize: Int

  init(_ file: any ByteSource, name: String, size: Int64, ahead: Bool, _ inflater: Decompressor) {
    self.inflater = inflater
    windowSize = Int(max(512, min(64 << 10, size)))
    self.file = file
    self.name = name
    self.ahead = ahead
    reader = MemberReader(file, windowSize: windowSize)
  }

  deinit { stop() }

  private func stop() {
    queue?.close()
    thread?.join()
    queue = nil
    thread = nil
  }

  func restart(from offset: Int64) {
    stop()
    reader = MemberReader(file, from: offset, windowSize: windowSize)
  }

  /// nil at the end. The first is always read at once: often nothing more than the head is wanted.
  private var taken = 0
  func next() throws(Failure) -> Chunk? {
    taken += 1
    guard ahead, taken > 1 else { return try Self.read(reader, inflater, name) }
    if queue == nil { start() }
    return try queue!.take()?.get()
  }

  private func start() {
    let queue = BoundedQueue<Result<Chunk, Failure>>(limit: 8)
    self.queue = queue
    let offset = reader.offset
    thread = Thread { [file, name, windowSize] in
      let reader = MemberReader(file, from: offset, windowSize: windowSize)
      let inflater = Decompressor()
      defer { queue.close() }
      do throws(Failure) {
        while let chunk = try Self.read(reader, inflater, name) {
          if !queue.put(.success(chunk), weight: 1 + chunk.text.count >> 20) { return }
        }
      } catch { queue.put(.failure(error)) }
    }
  }

  private static func read(_ reader: MemberReader, _ inflater: Decompressor, _ name: String) throws(Failure) -> Chunk? {
    do throws(MemberReader.Failure) {
      while true {
        let offset = reader.offset
        guard let (_, bytes) = try reader.next() else { return nil }
        // Most manifests of a long chain are small; for whole members one size serves the allocator best.
        let buffer = Buffer(capacity: bytes.count < 16 << 10 ? 64 : 132 << 10)
        do throws(Decompressor.Failure) { try inflater.inflate(bytes, into: buffer) } catch {
          throw MemberReader.Failure.notAMember(offset: reader.offset)
        }
        if buffer.count > 0 { return (offset, buffer) }
      }
    } catch {
      switch error {
      case .unreadable(let error): throw Failure(error)
      case .cutShort: throw .damaged("\(name): is cut short")
      case .notAMember(let offset): throw .damaged("\(name): is damaged near byte \(offset)")
      }
    }
  }
}

/// Where in a manifest the members begin, and with which paths; and its foot, without reading what lies before.
struct ManifestIndex {
  private var members: [(offset: Int64, first: Bytes)] = []
  /// Of a longer path so many bytes stand in the index: as a lower bound they are still true.
  static let pathLimit = 2048
  let foot: SetFoot

  init(_ file: any StoredFile, name: String) throws(Failure) {
    func cut() -> Failure { .damaged("\(name): is cut short") }
    let size = file.size
    guard size >= Int64(ManifestSyntax.trailerLength) else { throw cut() }
    let trailer = try stored { () throws(StoreError) in
      try file.read(count: ManifestSyntax.trailerLength, at: size - Int64(ManifestSyntax.trailerLength))
    }
    guard let places = trailer.withUnsafeBytes({ GzipMember.subfield("St", of: $0) }), places.count == 16 else {
      throw cut()
    }
    let indexOffset = Self.number(places[0..<8])
    let footOffset = Self.number(places[8..<16])
    guard footOffset >= 0, footOffset <= indexOffset, indexOffset < size else { throw cut() }

    let reader = MemberReader(file, from: footOffset, windowSize: Int(max(512, min(16 << 10, size - footOffset))))
    let inflated = Buffer()
    do {
      guard let (_, bytes) = try reader.next() else { throw cut() }
      try Decompressor().inflate(bytes, into: inflated)
      var fields = Fields()
      fields.add(lines: inflated.bytes.bindMemory(to: UInt8.self))
      foot = try SetFoot(fields: fields, manifest: name)
      reader.seek(to: indexOffset)
      while let (_, bytes) = try reader.next() {
        guard let block = GzipMember.subfield("Si", of: bytes) else { break }
        var at = 0
        while at + 10 <= block.count {
          let length = Int(block[at + 8]) | Int(block[at + 9]) << 8
          guard at + 10 + length <= block.count else { throw cut() }
          members.append((Self.number(block[at..<(at + 8)]), Bytes(block[(at + 10)..<(at + 10 + length)])))
          at += 10 + length
        }
      }
    } catch let failure as Failure { throw failure } catch { throw .damaged("\(name): its foot or index is damaged") }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> Int64 {
    Int64(truncatingIfNeeded: bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  /// How many members it tells of.
  var count: Int { members.count }

  /// Whether it tells of a member that begins at `offset` and with `path`, in this place.
  func tells(of path: Bytes, at offset: Int64, number: Int) -> Bool {
    number < members.count && members[number].offset == offset
      && members[number].first == Bytes(path.prefix(Self.pathLimit))
  }

  /// The last member that begins at or before `path`; nil where the first entry comes after it.
  func offset(for path: Bytes) -> Int64? {
    var low = 0
    var high = members.count
    while low < high {
      let middle = (low + high) / 2
      if PathOrder.compare(members[middle].first, path) <= 0 { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? members.first?.offset : members[low - 1].offset
  }
}
