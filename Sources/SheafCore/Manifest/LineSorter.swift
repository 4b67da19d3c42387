/// Sorts a manifest's lines by path in bounded memory: runs are sorted and spilled to a file without a name, then
/// merged.
import Posix
import Tar

/// Not for use from several threads.
final class LineSorter {
  private struct Key {
    var path: Bytes
    var parentLength: Int
    /// Where the line lies in the run's text.
    var start: Int
    var length: Int
  }
  private var keys: [Key] = []
  private let text = Buffer(capacity: 1 << 20)
  private var runs: [Range<Int64>] = []
  private var spill: Descriptor?
  private var spilled: Int64 = 0
  private let directory: Descriptor
  private let runSize: Int

  /// `directory`: where the file without a name is made. `runSize`: bytes of lines held in memory.
  init(spillingTo directory: Descriptor, runSize: Int = 6 << 20) {
    self.directory = directory
    self.runSize = runSize
  }

  /// Takes a whole line with its newline. Of several lines of one path the first one taken counts.
  func add(path: Bytes, _ line: UnsafeRawBufferPointer) throws(SystemError) {
    let slash = path.lastIndex(of: UInt8(ascii: "/")) ?? 0
    keys.append(Key(path: path, parentLength: slash, start: text.count, length: line.count))
    text.append(line.baseAddress!, line.count)
    if text.count >= runSize { try spillRun() }
  }

  func add(path: Bytes, _ line: Bytes) throws(SystemError) {
    var failure: SystemError?
    line.withUnsafeBytes { bytes in
      do throws(SystemError) { try add(path: path, bytes) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private func sortRun() {
    keys.sort { a, b in
      let order = Self.compare(a.path, a.parentLength, b.path, b.parentLength)
      return order != 0 ? order < 0 : a.start < b.start
    }
  }

  private static func compare(_ a: Bytes, _ aParent: Int, _ b: Bytes, _ bParent: Int) -> Int {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in PathOrder.compare(a, aParent, b, bParent) }
    }
  }

  private func spillRun() throws(SystemError) {
    guard !keys.isEmpty else { return }
    if spill == nil { spill = try directory.openNameless() }
    let file = spill!
    sortRun()
    let start = spilled
    let out = Buffer(capacity: 1 << 18)
    func write() throws(SystemError) {
      try file.write(out.bytes, at: spilled)
      spilled += Int64(out.count)
      out.count = 0
    }
    for key in keys {
      out.append(text.start + key.start, key.length)
      if out.count >= 1 << 18 { try write() }
    }
    try write()
    runs.append(start..<spilled)
    keys.removeAll(keepingCapacity: true)
    text.count = 0
  }

  /// Calls `body` with every line, in order. `all`: also with the others of one path, in the order in which they were
  /// taken. May be called several times, when all have been taken.
  func visit(all: Bool = false, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    if runs.isEmpty {
      sortRun()
      var previous: Bytes?
      for key in keys where all || key.path != previous {
        try body(UnsafeRawBufferPointer(start: text.start + key.start, count: key.length))
        previous = key.path
      }
      return
    }
    try system { () throws(SystemError) in try spillRun() }
    var cursors: [RunCursor] = []
    for run in runs {
      let cursor = RunCursor(spill!, run)
      if try system({ () throws(SystemError) in try cursor.next() }) { cursors.append(cursor) }
    }
    var previous: Bytes?
    while !cursors.isEmpty {
      var first = 0
      for index in cursors.indices.dropFirst() {
        let a = cursors[index]
        let b = cursors[first]
        if Self.compare(a.path, a.parentLength, b.path, b.parentLength) < 0 { first = index }
      }
      let cursor = cursors[first]
      if all || cursor.path != previous {
        previous = cursor.path
        try body(cursor.line)
      }
      if try !system({ () throws(SystemError) in try cursor.next() }) { cursors.remove(at: first) }
    }
  }
}

/// Reads one sorted run.
private final class RunCursor {
  private let file: Descriptor
  private let run: Range<Int64>
  private let window = Buffer(capacity: 256 << 10)
  private var loaded: Int64
  private var position = 0
  private(set) var path = Bytes()
  private(set) var parentLength = 0
  private(set) var line = UnsafeRawBufferPointer(start: nil, count: 0)

  init(_ file: Descriptor, _ run: Range<Int64>) {
    self.file = file
    self.run = run
    loaded = run.lowerBound
  }

  func next() throws(SystemError) -> Bool {
    while true {
      let rest = UnsafeRawBufferPointer(rebasing: window.bytes[position...])
      if let newline = rest.firstIndex(of: 10) {
        line = UnsafeRawBufferPointer(rebasing: rest[...newline])
        position += newline + 1
        let text = UnsafeRawBufferPointer(rebasing: line.dropLast()).bindMemory(to: UInt8.self)
        path = ManifestSyntax.path(of: text).flatMap(Escape.decoded) ?? []
        parentLength = path.lastIndex(of: UInt8(ascii: "/")) ?? 0
        return true
      }
      guard loaded < run.upperBound else { return false }
      let kept = Buffer(capacity: rest.count + 1)
      kept.append(rest.baseAddress ?? UnsafeRawPointer(window.start), rest.count)
      window.count = 0
      window.append(kept)
      position = 0
      let wanted = Int(min(256 << 10, run.upperBound - loaded))
      window.reserve(wanted)
      let read = try file.read(into: window.end, count: wanted, at: loaded)
      guard read == wanted else { throw SystemError("read", file.path, 5) }
      window.count += read
      loaded += Int64(read)
    }
  }
}
