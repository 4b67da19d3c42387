/// The lines of everything that was moved, under its new paths and in their order: kept aside while a point is read
/// once, in memory as long as they are few.
import Posix
import Tar

/// Not for use from several threads.
final class MovedLines {
  /// How the folders begin into which tar puts what it could not delete otherwise (`LargePurge`): they come and go.
  static let purgePrefix = Bytes(".sheaf-purge-")

  let moves: Moves
  /// Of each move the line of what was moved itself, and the stretches of lines of what came along.
  private var own: [Range<Int64>?]
  private var along: [[Range<Int64>]]
  private let store: LineStore
  /// What stands in the way of something that was moved, by its path in the older point.
  private(set) var inTheWay: [Bytes] = []
  /// A full set carries some of that: tar may or may not have it.
  private(set) var isUncertain = false
  /// How many entries gave way.
  private(set) var gaveWay: Int64 = 0
  /// The names that the directories asked for have after all moves, and whether each is a directory.
  private(set) var names: [Bytes: [Bytes: Bool]] = [:]

  /// Names in the older point that look like those of directories made to move things: none of these may be used.
  private(set) var purgeNames: Set<Bytes> = []

  private let scratch = Buffer()
  private let text = Buffer()

  /// Reads the whole point. `directories`: those whose names are wanted.
  init(_ moves: Moves, of point: PointReader, namesOf directories: [Bytes], spillingTo directory: Descriptor?)
    throws(Failure)
  {
    self.moves = moves
    own = Array(repeating: nil, count: moves.all.count)
    along = Array(repeating: [], count: moves.all.count)
    store = LineStore(spillingTo: directory)
    for directory in directories { names[directory] = [:] }
    var place = moves.place([])
    var isWatched = names[[]] != nil
    while try point.next() {
      let line = point.line
      if line.name.starts(with: Self.purgePrefix) { purgeNames.insert(Bytes(line.name)) }
      if !line.parent.isSame(as: place.directory) {
        place = moves.place(Bytes(line.parent))
        isWatched = names[place.after] != nil
      }
      switch moves.fate(line, in: place) {
      case .stays:
        if isWatched { names[place.after]![Bytes(line.name)] = line.kind == .directory }
      case .comesAlong(let index):
        if isWatched { names[place.after]![Bytes(line.name)] = line.kind == .directory }
        let range = try add(line, moves.all[index])
        if let last = along[index].last, last.upperBound == range.lowerBound {
          along[index][along[index].count - 1] = last.lowerBound..<range.upperBound
        } else {
          along[index].append(range)
        }
      case .moved(let index):
        let (parent, name) = moves.all[index].new.splitAtName
        if names[parent] != nil { names[parent]![name] = line.kind == .directory }
        own[index] = try add(line, moves.all[index])
      case .gaveWayAbove: gaveWay += 1
      case .gaveWay:
        gaveWay += 1
        inTheWay.append(Bytes(line.path))
        isUncertain = isUncertain || line.isCarried
      }
    }
    // GNU tar makes the directories on the way to a new path.
    for move in moves.all {
      for directory in directories where move.new.isAtOrBelow(directory) && move.new.count > directory.count {
        let below = move.new[(directory.isEmpty ? 0 : directory.count + 1)...]
        guard let slash = below.firstIndex(of: UInt8(ascii: "/")) else { continue }
        names[directory]![Bytes(below[..<slash])] = true
      }
    }
  }

  /// Whether the point has what this move tells of.
  func isKnown(_ index: Int) -> Bool { own[index] != nil }

  private func add(_ line: Line, _ move: Move) throws(Failure) -> Range<Int64> {
    text.count = 0
    if line.hasHardLink {
      guard var entry = line.entry() else { throw .damaged("a manifest's line cannot be read") }
      entry.path = move.new + entry.path.dropFirst(move.old.count)
      entry.hardLink = entry.hardLink.map { moves.after($0) }
      entry.appendLine(to: text)
    } else {
      text.append("./")
      Escape.append(path: move.new, to: text)
      // What follows the old path in the line stays as it is, for names are escaped byte by byte.
      scratch.count = 0
      Escape.append(path: move.old, to: scratch)
      let rest = UnsafeBufferPointer(rebasing: line.text[(2 + scratch.count)...])
      text.append(rest.baseAddress!, rest.count)
      text.append(UInt8(ascii: "\n"))
    }
    return try system { () throws(SystemError) in try store.append(text.bytes) }
  }

  func reader() -> Reader { Reader(self) }

  /// Reads the lines in order.
  final class Reader {
    private let lines: MovedLines
    /// The moves whose own line is still to come: in the order of the new paths, as they are.
    private var nextOwn = 0
    /// Those with which something came along, in the order of directories.
    private let bodies: [Int]
    private var nextBody = 0
    private var ownCursor: Cursor?
    private var active: [Cursor] = []
    /// The one that stands first.
    private var current: Cursor?
    private(set) var isEnded = false

    fileprivate init(_ lines: MovedLines) {
      self.lines = lines
      let all = lines.moves.all
      bodies = all.indices.filter { !lines.along[$0].isEmpty }
        .sorted { PathOrder.compareDirectories(all[$0].new, all[$1].new) < 0 }
    }

    /// The line just read.
    var line: Line { current!.line }
    /// The move it is the own line of.
    var ownMove: Move? { current === ownCursor ? current!.move : nil }

    /// Reads the next line; false at the end.
    func next() throws(Failure) -> Bool {
      if let current, try !current.next() {
        if current === ownCursor { ownCursor = nil } else { active.removeAll { $0 === current } }
      }
      current = nil
      while ownCursor == nil, nextOwn < lines.own.count {
        if let range = lines.own[nextOwn] {
          let cursor = Cursor(lines.store, [range], lines.moves.all[nextOwn])
          if try cursor.next() { ownCursor = cursor }
        }
        nextOwn += 1
      }
      chooseFirst()
      // What came along with others may come before it.
      while nextBody < bodies.count {
        let move = lines.moves.all[bodies[nextBody]]
        if let current {
          let order = move.new.withUnsafeBufferPointer { PathOrder.compareDirectories($0, current.line.parent) }
          if order > 0 { break }
        }
        let cursor = Cursor(lines.store, lines.along[bodies[nextBody]], move)
        if try cursor.next() { active.append(cursor) }
        nextBody += 1
        chooseFirst()
      }
      isEnded = current == nil
      return !isEnded
    }

    private func chooseFirst() {
      current = ownCursor
      for cursor in active where current.map({ cursor.isBefore($0) }) ?? true { current = cursor }
    }
  }

  /// Reads stretches of lines one after another.
  fileprivate final class Cursor {
    let move: Move
    private(set) var line = Line()
    private let store: LineStore
    private var rest: ArraySlice<Range<Int64>>
    private let window = Buffer(capacity: 512)
    private var position = 0
    private let scratch = Buffer(capacity: 256)

    private static let windowSize: Int64 = 256 << 10

    init(_ store: LineStore, _ ranges: [Range<Int64>], _ move: Move) {
      self.store = store
      self.move = move
      rest = ranges[...]
    }

    func isBefore(_ other: Cursor) -> Bool {
      PathOrder.compare(line.path, line.parentLength, other.line.path, other.line.parentLength) < 0
    }

    func next() throws(Failure) -> Bool {
      while true {
        let left = UnsafeBufferPointer(rebasing: window.bytes.bindMemory(to: UInt8.self)[position...])
        if let newline = left.firstIndex(of: 10) {
          position += newline + 1
          guard line.parse(entry: UnsafeBufferPointer(rebasing: left[..<newline]), scratch: scratch) else {
            throw .damaged("a manifest's line cannot be read")
          }
          return true
        }
        guard let range = rest.first else { return false }
        // A line that does not end here goes on in the next window.
        let kept = Bytes(left)
        window.count = 0
        position = 0
        window.append(kept)
        let end = min(range.lowerBound + Self.windowSize, range.upperBound)
        try system { () throws(SystemError) in try store.read(range.lowerBound..<end, into: window) }
        if end < range.upperBound { rest[rest.startIndex] = end..<range.upperBound } else { rest.removeFirst() }
      }
    }
  }
}

/// Text kept aside, in a file without a name once there is much of it.
final class LineStore {
  private let text = Buffer(capacity: 1 << 16)
  private let directory: Descriptor?
  private var file: Descriptor?
  private var written: Int64 = 0

  private static let memoryLimit = 4 << 20

  /// `directory`: where the file is made; nil: all stays in memory.
  init(spillingTo directory: Descriptor?) { self.directory = directory }

  /// Gives where it lies.
  func append(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Range<Int64> {
    let start = written + Int64(text.count)
    text.append(bytes.baseAddress!, bytes.count)
    if let directory, text.count >= Self.memoryLimit {
      if file == nil { file = try directory.openNameless() }
      try file!.write(text.bytes, at: written)
      written += Int64(text.count)
      text.count = 0
    }
    return start..<(start + Int64(bytes.count))
  }

  /// Appends a stretch to `out`.
  func read(_ range: Range<Int64>, into out: Buffer) throws(SystemError) {
    var at = range.lowerBound
    if at < written, let file {
      let count = Int(min(range.upperBound, written) - at)
      out.reserve(count)
      guard try file.read(into: out.end, count: count, at: at) == count else { throw SystemError("read", file.path, 5) }
      out.count += count
      at += Int64(count)
    }
    if at < range.upperBound { out.append(text.start + Int(at - written), Int(range.upperBound - at)) }
  }
}
