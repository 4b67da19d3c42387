/// A point as a tree that can be asked at any place: by its table, and by the lines of the manifests.
import Posix
import Storage
import Tar

final class PointTree: Sendable {
  /// What it was made of, newest first.
  let chain: [SetName]
  /// The top's own attributes, where the point knows them.
  let top: Entry?
  private let table: PointTable
  private let cache: MemberCache
  private let open: @Sendable (SetName) throws(Failure) -> MemberSource
  private let sources: Monitor<[MemberSource?]>

  /// `open`: gives a set's manifest.
  init(
    _ table: PointTable, chain: [SetName], top: Entry?, _ cache: MemberCache,
    open: @escaping @Sendable (SetName) throws(Failure) -> MemberSource
  ) {
    self.table = table
    self.chain = chain
    self.top = top
    self.cache = cache
    self.open = open
    sources = Monitor(Array(repeating: nil, count: chain.count))
  }

  /// Of the point of a set: `chain` is what it is made of, newest first, and `spilling` where the table is made.
  static func make(
    _ set: SetName, _ chain: [SetName], _ series: Series, _ cache: MemberCache, spilling: Descriptor,
    open: @escaping @Sendable (SetName) throws(Failure) -> MemberSource
  ) throws(Failure) -> PointTree {
    let reader = try series.tree(chain, checked: true)
    var builder = try system { () throws(SystemError) in try PointTableBuilder(in: spilling) }
    while try reader.next() { try builder.add(reader.line, age: reader.age, reader.manifest.place) }
    return PointTree(try builder.finish(), chain: chain, top: try series.head(set).top, cache, open: open)
  }

  /// Entries have numbers from 0; the top has none.
  var count: Int { table.count }
  /// Bytes of all files, each inode once, without what is in holes.
  var dataSize: Int64 { table.dataSize }

  /// Bytes of a manifest's gzip member, mostly.
  private static let window = 64 << 10

  private func source(_ age: Int) throws(Failure) -> MemberSource {
    if let known = sources.look({ age < $0.count ? $0[age] : nil }) { return known }
    guard age < chain.count else { throw .damaged("the point has no such set") }
    let found = try open(chain[age])
    sources.look { $0[age] = found }
    return found
  }

  /// Calls `body` with an entry's line, which holds as long as that runs.
  private func look<R>(_ row: PointTable.Row, _ body: (Line) throws(Failure) -> R) throws(Failure) -> R {
    let source = try source(row.age)
    let member = try cache.member(at: row.member, of: source, window: Self.window)
    let all = UnsafeBufferPointer(
      start: UnsafePointer(member.text.start.assumingMemoryBound(to: UInt8.self)), count: member.text.count)
    guard row.start < all.count, let end = all[row.start...].firstIndex(of: 10) else { throw changed(source) }
    var line = Line()
    let scratch = Buffer(capacity: 64)
    guard line.parse(entry: UnsafeBufferPointer(rebasing: all[row.start..<end]), scratch: scratch),
      line.kind == row.kind
    else { throw changed(source) }
    return try withExtendedLifetime((member, scratch)) { () throws(Failure) in try body(line) }
  }

  /// What was read when the table was made is not what is there now.
  private func changed(_ source: MemberSource) -> Failure { .damaged("\(source.name): is not what it was") }

  func entry(_ number: Int) throws(Failure) -> Entry {
    try look(table.row(number)) { (line) throws(Failure) in
      guard let entry = line.entry() else {
        throw .damaged("the line of \(Show.path(Bytes(line.path))) cannot be read")
      }
      return entry
    }
  }

  /// Calls `body` with an entry's line, which holds as long as that runs.
  func look<R>(at number: Int, _ body: (Line) throws(Failure) -> R) throws(Failure) -> R {
    try look(table.row(number), body)
  }

  func kind(_ number: Int) throws(Failure) -> FileKind { try table.row(number).kind }
  func rows(_ range: Range<Int>) throws(Failure) -> [PointTable.Row] { try table.rows(range) }

  /// The numbers of what is in a directory, in the order of their names; nil: it is none. No number: the top.
  func children(of number: Int?) throws(Failure) -> Range<Int>? {
    guard let number else { return table.directories.first?.rows }
    let row = try table.row(number)
    guard row.kind == .directory, row.directory < table.directories.count else { return nil }
    return table.directories[row.directory].rows
  }

  /// The number of what has this name, of entries in one directory; nil: nothing has it.
  func find(_ name: Bytes, among range: Range<Int>) throws(Failure) -> Int? {
    var (low, high) = (range.lowerBound, range.upperBound)
    while low < high {
      let middle = (low + high) / 2
      let order = try look(table.row(middle)) { line in
        name.withUnsafeBufferPointer { PathOrder.compareNames(line.name, $0) }
      }
      if order == 0 { return middle }
      if order < 0 { low = middle + 1 } else { high = middle }
    }
    return nil
  }

  /// The number of what has this path.
  func find(_ path: Bytes) throws(Failure) -> Int? {
    var number: Int?
    for name in path.split(separator: 47) {
      guard let range = try children(of: number), let found = try find(Bytes(name), among: range) else { return nil }
      number = found
    }
    return number
  }

  /// The number of the first that comes after a path in the order of a manifest; `count` where none does.
  func firstNumber(after path: Bytes) throws(Failure) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      let order = try look(table.row(middle)) { PathOrder.compare(Bytes($0.path), path) }
      if order <= 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Calls `body` with the names of `range`, one after the other, until it says false.
  func each(_ range: Range<Int>, _ body: (Int, Line) throws(Failure) -> Bool) throws(Failure) {
    var next = range.lowerBound
    while next < range.upperBound {
      for row in try table.rows(next..<min(next + 128, range.upperBound)) {
        let number = next
        next += 1
        guard try look(row, { (line) throws(Failure) in try body(number, line) }) else { return }
      }
    }
  }

  /// The entry that all names of a file share: of a second name the first, where that is still the same file.
  func shared(_ number: Int, _ entry: Entry) throws(Failure) -> (number: Int, entry: Entry) {
    guard let path = entry.hardLink, let first = try find(path), first != number else { return (number, entry) }
    let other = try self.entry(first)
    let isSame =
      other.kind == entry.kind && other.size == entry.size && other.digest == entry.digest
      && other.modified == entry.modified && other.mode == entry.mode && other.uid == entry.uid
      && other.gid == entry.gid && other.linkTarget == entry.linkTarget
    return isSame ? (first, other) : (number, entry)
  }
}
