/// What is known of some directories, and so of everything below them. Asked in the order of the tree, and forgotten
/// behind: so it holds what lies ahead only.
import Posix

struct DirectoryTable<Value> {
  /// In order; those before `first` have been passed.
  private var known: [(path: Bytes, value: Value)] = []
  private var first = 0

  var isEmpty: Bool { first == known.count }

  /// Adds to what is known of `path`, which need not be the last in order.
  mutating func add(_ path: Bytes, _ value: Value) {
    known.insert((path, value), at: place(of: path))
  }

  /// What is first known of `directory` or of one above it, the nearest first, that `body` gives something for. Nobody
  /// asks for a directory before this one any more.
  mutating func first<R>(above directory: Bytes, _ body: (Bytes, Value) -> R?) -> R? {
    guard !isEmpty else { return nil }
    while first < known.count, PathOrder.compareDirectories(known[first].path, directory) < 0,
      !directory.isAtOrBelow(known[first].path)
    {
      first += 1
    }
    if first > 1024 || first == known.count {
      known.removeFirst(first)
      first = 0
    }
    var path = directory
    while true {
      for (found, value) in known[place(of: path)...] {
        guard found == path else { break }
        if let result = body(path, value) { return result }
      }
      guard !path.isEmpty else { return nil }
      path = path.splitAtName.parent
    }
  }

  /// Where the first that is not before `path` stands.
  private func place(of path: Bytes) -> Int {
    var low = first
    var high = known.count
    while low < high {
      let middle = (low + high) / 2
      if PathOrder.compareDirectories(known[middle].path, path) < 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
