/// Writes a manifest: head, lines in order, foot, each gzip member a run of whole lines; then an index in empty
/// members, which says what path each member begins with.
import Glibc
import Posix
import Storage
import Tar

/// Not for use from several threads.
final class ManifestWriter {
  private let file: any StoreOutput
  private let compressor: Compressor
  private let digest = SHA256()
  private let text = Buffer(capacity: 1 << 20)
  private let out = Buffer(capacity: 1 << 18)
  private var offset: Int64 = 0
  private var index: [(offset: Int64, first: Bytes)] = []
  /// What was written, in order.
  private(set) var pieces: [WrittenPiece] = []
  /// A path whose line does not come after the one before it: nobody could read such a manifest, so it cannot be ended.
  private(set) var disorder: Bytes?
  private let previous = Buffer()
  private var previousParent = -1
  private let decoded = Buffer()

  /// Inflated bytes of one member: small enough to seek to one folder, large enough to deflate well.
  private static let memberSize = 128 << 10

  init(_ file: any StoreOutput, head: SetHead) throws(StoreError) {
    self.file = file
    compressor = Compressor(level: 1)
    text.append("#mtree\n")
    text.append(head.text())
    text.append(". type=dir\n")
    try flush()
  }

  /// Appends whole lines.
  func append(_ lines: UnsafeRawBufferPointer) throws(StoreError) {
    checkOrder(lines)
    if let base = lines.baseAddress { text.append(base, lines.count) }
    var done = 0
    while text.count - done >= Self.memberSize {
      let from = text.start + done + Self.memberSize - 1
      guard let newline = memchr(from, 10, text.count - done - Self.memberSize + 1) else { break }
      let length = UnsafeRawPointer(newline) - UnsafeRawPointer(text.start) + 1 - done
      try put(UnsafeRawBufferPointer(start: text.start + done, count: length))
      done += length
    }
    if done > 0 {
      memmove(text.start, text.start + done, text.count - done)
      text.count -= done
    }
  }

  /// What a reader refuses is not written: each path has one line, after those before it.
  private func checkOrder(_ lines: UnsafeRawBufferPointer) {
    guard let base = lines.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
    var start = 0
    while start < lines.count, let newline = memchr(base + start, 10, lines.count - start) {
      let end = UnsafeRawPointer(newline) - UnsafeRawPointer(base)
      let line = UnsafeBufferPointer(start: base + start, count: end - start)
      start = end + 1
      guard var path = ManifestSyntax.path(of: line), let encoded = path.baseAddress else { continue }
      if memchr(encoded, 92, path.count) != nil {
        decoded.count = 0
        decoded.reserve(path.count)
        let out = decoded.start.assumingMemoryBound(to: UInt8.self)
        guard let count = Escape.decode(path, into: out) else { continue }
        path = UnsafeBufferPointer(start: out, count: count)
      }
      let parent = path.lastIndex(of: UInt8(ascii: "/")) ?? 0
      if previousParent >= 0, disorder == nil {
        let before = UnsafeBufferPointer(
          start: UnsafePointer(previous.start.assumingMemoryBound(to: UInt8.self)), count: previous.count)
        if PathOrder.compare(before, previousParent, path, parent) >= 0 { disorder = Bytes(path) }
      }
      previous.count = 0
      if let first = path.baseAddress { previous.append(first, path.count) }
      previousParent = parent
    }
  }

  /// Writes what was appended so far and makes it durable: an interrupted run's manifest is the journal of its archive.
  func sync() throws(StoreError) {
    try flush()
    try pad(file.untilDurable ?? 0)
    try file.sync()
  }

  /// Writes what was appended so far, so that it can be read.
  func makeReadable() throws(StoreError) {
    if file.untilDurable == nil { try flush() } else { try sync() }
  }

  /// Appends so many bytes, or as many more as fill another chunk of an encrypted file: empty members, which readers pass
  /// over.
  private func pad(_ count: Int) throws(StoreError) {
    var left = count
    let most = GzipMember.emptyLength + GzipMember.subfieldLimit
    if left > 0, left < GzipMember.emptyLength { left += Self.chunk }
    while left > 0 {
      // What is left after this must be long enough for a member.
      let length = left <= most ? left : most - GzipMember.emptyLength
      try write {
        GzipMember.append(subfield: "Sp", Bytes(repeating: 0, count: length - GzipMember.emptyLength), to: $0)
      }
      left -= length
    }
  }

  /// Bytes that an encrypted file holds back until there are as many.
  private static let chunk = 65536

  /// Takes away what a failed attempt to write left behind, so that the same can be tried again.
  func mend() throws(StoreError) {
    try file.truncate(to: offset)
  }

  /// Writes the foot and the index. The file is complete then, and not yet durable.
  func finish(_ foot: SetFoot) throws(StoreError) {
    if disorder != nil { throw .unfit("put the lines in order of", file.path) }
    try flush()
    let footOffset = offset
    text.append(foot.text())
    digest.update(text.start, text.count)
    let sum = digest.finish()
    let closing = Buffer()
    closing.append(text)
    closing.append("# end: ")
    sum.append(to: closing)
    closing.append("\n")
    text.count = 0
    try write { compressor.append(closing.bytes, firstHeader: nil, to: $0) }
    try writeIndex(footOffset)
  }

  /// Writes what was appended so far.
  func flush() throws(StoreError) {
    if text.count > 0 { try put(text.bytes) }
    text.count = 0
  }

  private func put(_ lines: UnsafeRawBufferPointer) throws(StoreError) {
    digest.update(lines.baseAddress!, lines.count)
    if let first = Self.firstPath(lines) { index.append((offset, first)) }
    try write { compressor.append(lines, firstHeader: nil, to: $0) }
  }

  private func write(_ make: (Buffer) -> Void) throws(StoreError) {
    out.count = 0
    make(out)
    try file.append(out.bytes)
    pieces.append(WrittenPiece(length: Int32(out.count), checksum: GzipMember.crc32(out.bytes)))
    offset += Int64(out.count)
  }

  /// The path of the first line that has one.
  private static func firstPath(_ lines: UnsafeRawBufferPointer) -> Bytes? {
    var rest = lines
    while let newline = rest.firstIndex(of: 10) {
      let line = UnsafeRawBufferPointer(rebasing: rest[..<newline]).bindMemory(to: UInt8.self)
      if let encoded = ManifestSyntax.path(of: line) { return Escape.decoded(encoded) }
      rest = UnsafeRawBufferPointer(rebasing: rest[(newline + 1)...])
    }
    return nil
  }

  private func writeIndex(_ footOffset: Int64) throws(StoreError) {
    let indexOffset = offset
    var block = Bytes()
    for (offset, first) in index {
      let key = first.prefix(ManifestIndex.pathLimit)
      if block.count + 10 + key.count > GzipMember.subfieldLimit {
        try write { GzipMember.append(subfield: "Si", block, to: $0) }
        block = []
      }
      block += Self.littleEndian(UInt64(offset), 8) + Self.littleEndian(UInt64(key.count), 2) + key
    }
    if !block.isEmpty { try write { GzipMember.append(subfield: "Si", block, to: $0) } }
    let trailer = Self.littleEndian(UInt64(indexOffset), 8) + Self.littleEndian(UInt64(footOffset), 8)
    try write { GzipMember.append(subfield: "St", trailer, to: $0) }
  }

  private static func littleEndian(_ value: UInt64, _ count: Int) -> Bytes {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }
}

/// What lines a manifest has.
enum ManifestSyntax {
  static let deleted: StaticString = "# deleted "
  static let unseen: StaticString = "# unseen "
  static let renamed: StaticString = "# renamed "
  /// Bytes of the last member, which says where index and foot begin.
  static let trailerLength = GzipMember.headerLength + 4 + 16 + 2 + GzipMember.trailerLength

  /// The encoded path of a line that has one, with its `./`.
  static func path(of line: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
    if line.count > 2, line[0] == UInt8(ascii: "."), line[1] == UInt8(ascii: "/") {
      let end = line.firstIndex(of: 32) ?? line.count
      return UnsafeBufferPointer(rebasing: line[2..<end])
    }
    for note in [deleted, unseen] where starts(line, note) {
      return UnsafeBufferPointer(rebasing: line[(note.utf8CodeUnitCount + 2)...])
    }
    return nil
  }

  /// Whether there is nothing in it but visible ASCII and spaces: all that a writer puts there. A NUL would end a name
  /// for the kernel where the checks of names see more, an escape sequence would reach a terminal.
  static func isPlain(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let start = UnsafeRawPointer(line.baseAddress) else { return true }
    let ones: UInt64 = 0x0101_0101_0101_0101
    var at = 0
    var bad: UInt64 = 0
    while at + 8 <= line.count {
      let word = start.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      // In a byte below 128, the highest bit is set by what is below 32 (subtracting) or 127 (adding).
      bad |= (word | (word &- ones &* 32) | (word &+ ones)) & (ones &* 128)
      at += 8
    }
    while at < line.count {
      if line[at] < 32 || line[at] > 126 { return false }
      at += 1
    }
    return bad == 0
  }

  static func starts(_ line: UnsafeBufferPointer<UInt8>, _ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    return line.count >= count && memcmp(line.baseAddress!, text.utf8Start, count) == 0
  }

  /// `# renamed ./OLD ./NEW`.
  static func append(_ move: Move, to out: Buffer) {
    out.append(renamed)
    out.append("./")
    Escape.append(path: move.old, to: out)
    out.append(" ./")
    Escape.append(path: move.new, to: out)
    out.append("\n")
  }

  /// What such a line tells; nil where it is malformed.
  static func move(_ line: UnsafeBufferPointer<UInt8>) -> Move? {
    let words = line.dropFirst(renamed.utf8CodeUnitCount).split(separator: 32, omittingEmptySubsequences: false)
    guard starts(line, renamed), words.count == 2 else { return nil }
    var paths: [Bytes] = []
    for word in words {
      guard word.count > 2, word.starts(with: [UInt8(ascii: "."), UInt8(ascii: "/")]),
        let path = Escape.decoded(UnsafeBufferPointer(rebasing: word.dropFirst(2))),
        path.withUnsafeBufferPointer({ Line.isPlain($0) })
      else { return nil }
      paths.append(path)
    }
    return Move(old: paths[0], new: paths[1])
  }

  /// `# incomplete: ./PATH`, the last path that an interrupted run reached.
  static let incomplete: StaticString = "# incomplete: ./"

  static func appendIncomplete(after path: Bytes, to out: Buffer) {
    out.append(incomplete)
    Escape.append(path: path, to: out)
    out.append("\n")
  }

  static func appendNote(_ note: StaticString, _ path: Bytes, to out: Buffer) {
    out.append(note)
    out.append("./")
    Escape.append(path: path, to: out)
    out.append("\n")
  }
}
