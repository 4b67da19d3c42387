/// What is known of some directories, and so of everything below them. Asked in the order of the tree, and forgotten
/// behind: so it holds what lies ahead only.
import Posix

struct DirectoryTable<Value> {
  /// In order; those before `next` have been passed. Of one directory what was added last is last.
  private var ahead: [(path: Bytes, value: Value)] = []
  private var next = 0
  /// Those at or above the directory asked for last, from the top down.
  private var above: [(path: Bytes, value: Value)] = []
  private var asked: Bytes?

  var isEmpty: Bool { next == ahead.count && above.isEmpty }

  /// Adds to what is known of `path`, which need not be the last in order.
  mutating func add(_ path: Bytes, _ value: Value) {
    guard let asked, PathOrder.compareDirectories(path, asked) <= 0 else {
      return ahead.insert((path, value), at: place(behind: path))
    }
    // Nobody asks for what lies before that any more.
    guard asked.isAtOrBelow(path) else { return }
    above.insert((path, value), at: above.firstIndex { $0.path.count > path.count } ?? above.count)
  }

  /// What is first known of `directory` or of one above it, the nearest first, that `body` gives something for. Nobody
  /// asks for a directory before this one any more.
  mutating func first<R>(above directory: Bytes, _ body: (Bytes, Value) -> R?) -> R? {
    asked = directory
    guard !isEmpty else { return nil }
    while let last = above.last, !directory.isAtOrBelow(last.path) { above.removeLast() }
    while next < ahead.count, PathOrder.compareDirectories(ahead[next].path, directory) <= 0 {
      if directory.isAtOrBelow(ahead[next].path) { above.append(ahead[next]) }
      next += 1
    }
    if next > 1024 || next == ahead.count {
      ahead.removeFirst(next)
      next = 0
    }
    for (path, value) in above.reversed() { if let result = body(path, value) { return result } }
    return nil
  }

  /// Where what is added of `path` belongs.
  private func place(behind path: Bytes) -> Int {
    var low = next
    var high = ahead.count
    while low < high {
      let middle = (low + high) / 2
      if PathOrder.compareDirectories(ahead[middle].path, path) <= 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
