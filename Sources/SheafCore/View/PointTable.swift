/// Where the manifests tell of a point's entries: a row of 16 bytes for each, in order, in a file without a name, and which
/// rows are in which directory. So a point of any size is looked into at any place, in memory that grows with its
/// directories only: 12 bytes for each.
import Posix
import Tar

final class PointTable: Sendable {
  struct Row {
    /// Which manifest of the chain, 0 being the newest.
    let age: Int
    /// Where in it the gzip member begins, and where in the inflated text the line does.
    let member: Int64
    let start: Int
    let kind: FileKind
    /// A directory's number; of anything else the place of its versions, in a table that has such.
    let directory: Int
  }

  struct Directory {
    /// Of what is in it.
    fileprivate(set) var first: UInt32
    fileprivate(set) var count: UInt32
    /// Its own.
    let row: UInt32

    var rows: Range<Int> { Int(first)..<(Int(first) + Int(count)) }
  }

  /// The top of the point is the first.
  let directories: ContiguousArray<Directory>
  private let file: Descriptor
  let count: Int
  /// Bytes of all files, each inode once, without what is in holes.
  let dataSize: Int64

  fileprivate static let rowSize = 16

  fileprivate init(_ file: Descriptor, _ directories: ContiguousArray<Directory>, count: Int, dataSize: Int64) {
    self.file = file
    self.directories = directories
    self.count = count
    self.dataSize = dataSize
  }

  /// Those of `range` that there are.
  func rows(_ range: Range<Int>) throws(Failure) -> [Row] {
    let range = range.clamped(to: 0..<count)
    let bytes = try system { () throws(SystemError) in
      try file.read(count: range.count * Self.rowSize, at: Int64(range.lowerBound * Self.rowSize))
    }
    return bytes.withUnsafeBytes { raw in
      stride(from: 0, to: raw.count / Self.rowSize * Self.rowSize, by: Self.rowSize).map { at in
        Row(
          raw.loadUnaligned(fromByteOffset: at, as: UInt64.self),
          raw.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self))
      }
    }
  }

  func row(_ number: Int) throws(Failure) -> Row {
    guard let row = try rows(number..<(number + 1)).first else { throw Failure(.failed, "the point has no such entry") }
    return row
  }
}

extension PointTable.Row {
  fileprivate init(_ place: UInt64, _ what: UInt64) {
    age = Int(place & 0xf_ffff)
    member = Int64(place >> 20)
    start = Int(what & 0xfff_ffff)
    kind = FileKind(rawValue: UInt8(what >> 28 & 15)) ?? .file
    directory = Int(what >> 32)
  }

  /// nil: one of the numbers is larger than a row holds.
  fileprivate var packed: (UInt64, UInt64)? {
    guard age <= 0xf_ffff, member < 1 << 44, start <= 0xfff_ffff, directory <= UInt32.max else { return nil }
    return (UInt64(member) << 20 | UInt64(age), UInt64(directory) << 32 | UInt64(kind.rawValue) << 28 | UInt64(start))
  }
}

extension Line {
  /// Bytes of a file without what is in holes; 0 of a second name.
  var dataSize: Int64 {
    if hasHardLink { return 0 }
    guard hasHoles, let entry = entry() else { return size }
    return entry.holes.reduce(size) { $0 - Int64($1.count) }
  }
}

/// Writes rows, one after the other.
private struct RowWriter {
  let file: Descriptor
  private let waiting = Buffer(capacity: 1 << 16)
  private var written: Int64 = 0
  private(set) var count = 0

  init(in directory: Descriptor) throws(SystemError) { file = try directory.openNameless() }

  mutating func add(_ row: PointTable.Row) throws(Failure) {
    guard let packed = row.packed, count < UInt32.max else {
      throw Failure(.failed, "the point is too large to be looked into")
    }
    withUnsafeBytes(of: packed) { waiting.append($0.baseAddress!, $0.count) }
    count += 1
    if waiting.count >= 1 << 16 { try flush() }
  }

  mutating func flush() throws(Failure) {
    let (file, bytes, offset) = (file, waiting.bytes, written)
    try system { () throws(SystemError) in try file.write(bytes, at: offset) }
    written += Int64(waiting.count)
    waiting.count = 0
  }
}

/// Makes a table of entries that lie in no directories.
struct FlatTableBuilder {
  private var rows: RowWriter

  /// `directory`: where the file without a name is made.
  init(in directory: Descriptor) throws(SystemError) { rows = try RowWriter(in: directory) }

  var count: Int { rows.count }
  mutating func add(_ row: PointTable.Row) throws(Failure) { try rows.add(row) }

  mutating func finish() throws(Failure) -> PointTable {
    try rows.flush()
    return PointTable(rows.file, [], count: rows.count, dataSize: 0)
  }
}

/// Makes a table out of a point's entries, which come in order. What is in a directory that the point does not have is
/// left out.
struct PointTableBuilder {
  private var rows: RowWriter
  private var dataSize: Int64 = 0
  private var directories: ContiguousArray<PointTable.Directory> = [.init(first: 0, count: 0, row: .max)]

  /// A directory whose names have come, with the directories in it that are still to come.
  private struct Level {
    let path: Bytes
    var names = Bytes()
    var below: [(nameEnd: Int, directory: Int)] = []
    var next = 0
  }
  private var levels = [Level(path: [])]
  /// That whose names are coming; nil: it is not in the point.
  private var current: Int? = 0
  private var parent = Bytes()

  /// `directory`: where the file without a name is made.
  init(in directory: Descriptor) throws(SystemError) { rows = try RowWriter(in: directory) }

  var count: Int { rows.count }

  /// `versions`: what a row that is no directory's has in the place of a directory's number.
  mutating func add(
    _ line: Line, age: Int, _ place: (member: Int64, start: Int), versions: Int = 0
  ) throws(Failure) {
    if !line.parent.elementsEqual(parent) {
      parent = Bytes(line.parent)
      enter(parent)
    }
    guard let current else { return }
    var directory = versions
    if line.kind == .directory {
      directory = directories.count
      directories.append(.init(first: 0, count: 0, row: UInt32(truncatingIfNeeded: count)))
      levels[levels.count - 1].names += line.name
      let end = levels[levels.count - 1].names.count
      levels[levels.count - 1].below.append((end, directory))
    }
    try rows.add(
      PointTable.Row(age: age, member: place.member, start: place.start, kind: line.kind, directory: directory))
    directories[current].count += 1
    dataSize.add(saturating: line.dataSize)
  }

  /// Goes to the directory whose names come next.
  private mutating func enter(_ path: Bytes) {
    let (above, name) = path.splitAtName
    while let last = levels.last, levels.count > 1, last.path != above || path.isEmpty { levels.removeLast() }
    current = nil
    guard levels[levels.count - 1].path == above, let found = take(name) else { return }
    current = found
    directories[found].first = UInt32(truncatingIfNeeded: count)
    levels.append(Level(path: path))
  }

  /// The directory of this name in the one at hand; those before it are not asked for any more.
  private mutating func take(_ name: Bytes) -> Int? {
    let last = levels.count - 1
    while levels[last].next < levels[last].below.count {
      let next = levels[last].next
      let start = next == 0 ? 0 : levels[last].below[next - 1].nameEnd
      let there = levels[last].names[start..<levels[last].below[next].nameEnd]
      if there.elementsEqual(name) {
        levels[last].next += 1
        return levels[last].below[next].directory
      }
      guard there.lexicographicallyPrecedes(name) else { return nil }
      levels[last].next += 1
    }
    return nil
  }

  mutating func finish() throws(Failure) -> PointTable {
    try rows.flush()
    return PointTable(rows.file, directories, count: count, dataSize: dataSize)
  }
}
