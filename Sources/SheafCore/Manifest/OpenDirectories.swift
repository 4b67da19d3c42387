/// Whether what is read in the order of a tree adds up to one: each path's directory must have come before it.
import Posix

/// For several trees that are read side by side, each of which has its number. It keeps the names of the directories
/// that are still to come, as a walk does.
struct OpenDirectories {
  /// The trees that have a directory, 64 in a word.
  typealias Trees = [UInt64]

  private struct Level {
    let path: Bytes
    /// In the order of the tree.
    var names: [(name: Bytes, trees: Trees)] = []
    var next = 0
  }
  private var levels: [Level]
  private let none: Trees
  private let all: Trees
  /// Those that have the directory at hand.
  private var trees: Trees
  /// The one at hand.
  var directory: Bytes { levels.last?.path ?? [] }

  init(count: Int) {
    let words = (count + 63) / 64
    none = Trees(repeating: 0, count: words)
    all = Trees(repeating: .max, count: words)
    trees = all
    levels = [Level(path: [])]
  }

  /// Goes to a directory, which comes after the one at hand.
  mutating func enter(_ path: Bytes) {
    guard !path.isEmpty else { return enterTop() }
    let (parent, name) = path.splitAtName
    while levels.count > 1, levels[levels.count - 1].path != parent { levels.removeLast() }
    trees = none
    let last = levels.count - 1
    if levels[last].path == parent {
      while levels[last].next < levels[last].names.count {
        let (known, having) = levels[last].names[levels[last].next]
        let order = known.withUnsafeBufferPointer { known in
          name.withUnsafeBufferPointer { PathOrder.compareNames(known, $0) }
        }
        if order == 0 { trees = having }
        if order >= 0 { break }
        levels[last].next += 1
      }
    }
    levels.append(Level(path: path))
  }

  /// What every path lies in.
  private mutating func enterTop() {
    levels.removeLast(levels.count - 1)
    trees = all
  }

  /// A directory in the one at hand, which the tree of this number has.
  mutating func add(_ name: UnsafeBufferPointer<UInt8>, of tree: Int) {
    let last = levels.count - 1
    if levels[last].names.last.map({ name.isSame(as: $0.name) }) != true {
      levels[last].names.append((Bytes(name), none))
    }
    levels[last].names[levels[last].names.count - 1].trees[tree / 64] |= 1 << UInt64(tree % 64)
  }

  func holds(_ tree: Int) -> Bool { trees[tree / 64] & (1 << UInt64(tree % 64)) != 0 }
}

extension OpenDirectories {
  /// One tree.
  init() { self.init(count: 1) }

  /// Passes the next line of one tree. False: its directory did not come.
  mutating func pass(_ line: Line) -> Bool {
    if !line.parent.isSame(as: directory) { enter(Bytes(line.parent)) }
    if line.kind == .directory { add(line.name, of: 0) }
    return holds(0)
  }
}
