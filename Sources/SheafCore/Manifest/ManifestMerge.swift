/// Several manifests side by side, in order and in constant memory: at each path those that have a line of it.
import Posix

/// Not for use from several threads.
final class ManifestMerge {
  /// Newest first.
  let readers: [ManifestReader]
  /// Those that have a line of the path at hand, newest first.
  private(set) var here: [Int]
  /// The others that are not at their end: a binary heap, by the path they stand at, of equal paths the newest first.
  private var others: [Int] = []
  /// Called with a manifest that cannot be read on, and why: it counts as ended then. nil: the failure is thrown.
  var onDamage: ((Int, Failure) -> Void)?

  init(_ readers: [ManifestReader]) {
    self.readers = readers
    here = Array(readers.indices)
  }

  /// Whether no manifest but those at hand is being read.
  var isAlone: Bool { others.isEmpty }

  /// Goes to the next path; false at the end.
  func next() throws(Failure) -> Bool {
    if here.count == 1 {
      // Most often it stays first: the oldest, largest manifest has long runs of its own.
      let reader = here[0]
      if try advance(reader) {
        if others.isEmpty || compare(reader, others[0]) < 0 { return true }
        insert(reader)
      }
    } else {
      for reader in here where try advance(reader) { insert(reader) }
    }
    return take()
  }

  private func advance(_ reader: Int) throws(Failure) -> Bool {
    do throws(Failure) { return try readers[reader].next() } catch {
      guard let onDamage else { throw error }
      onDamage(reader, error)
      return false
    }
  }

  private func take() -> Bool {
    here.removeAll(keepingCapacity: true)
    guard !others.isEmpty else { return false }
    let first = removeFirst()
    here.append(first)
    while let next = others.first, compare(next, first) == 0 { here.append(removeFirst()) }
    return true
  }

  private func insert(_ reader: Int) {
    others.append(reader)
    var at = others.count - 1
    while at > 0, isBefore(reader, others[(at - 1) / 2]) {
      others[at] = others[(at - 1) / 2]
      at = (at - 1) / 2
    }
    others[at] = reader
  }

  private func removeFirst() -> Int {
    let first = others[0]
    let reader = others.removeLast()
    guard !others.isEmpty else { return first }
    var at = 0
    while true {
      var child = 2 * at + 1
      guard child < others.count else { break }
      if child + 1 < others.count, isBefore(others[child + 1], others[child]) { child += 1 }
      guard isBefore(others[child], reader) else { break }
      others[at] = others[child]
      at = child
    }
    others[at] = reader
    return first
  }

  private func isBefore(_ a: Int, _ b: Int) -> Bool {
    let order = compare(a, b)
    return order < 0 || (order == 0 && a < b)
  }

  @inline(__always)
  private func compare(_ a: Int, _ b: Int) -> Int {
    PathOrder.compare(
      readers[a].line.path, readers[a].line.parentLength, readers[b].line.path, readers[b].line.parentLength)
  }

  /// Goes before the first line that is not before `path`; `indexes` are the manifests'.
  func seek(to path: Bytes, _ indexes: [ManifestIndex]) throws(Failure) {
    others.removeAll()
    here.removeAll()
    for age in readers.indices where try readers[age].seek(to: path, indexes[age]) { insert(age) }
  }

  /// Goes to `path` where some manifest has a line of it and all stand before it.
  func take(at path: Bytes) -> Bool {
    guard let first = others.first, PathOrder.compare(Bytes(readers[first].line.path), path) == 0 else { return false }
    return take()
  }
}
