/// Several manifests side by side, in order and in constant memory: at each path those that have a line of it.
import Posix

/// Not for use from several threads.
final class ManifestMerge {
  /// Newest first.
  let readers: [ManifestReader]
  /// Those that have a line of the path at hand, newest first.
  private(set) var here: [Int]
  /// The others that are not at their end, by the path they stand at; of equal paths the newest first.
  private var order: [Int] = []
  /// Called with a manifest that cannot be read on, and why: it counts as ended then. nil: the failure is thrown.
  var onDamage: ((Int, Failure) -> Void)?

  init(_ readers: [ManifestReader]) {
    self.readers = readers
    here = Array(readers.indices)
  }

  /// Whether no manifest but those at hand is being read.
  var isAlone: Bool { order.isEmpty }

  /// Goes to the next path; false at the end.
  func next() throws(Failure) -> Bool {
    if here.count == 1 {
      // Most often it stays first: the oldest, largest manifest has long runs of its own.
      let reader = here[0]
      if try advance(reader) {
        if order.isEmpty || compare(reader, order[0]) < 0 { return true }
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
    guard let first = order.first else { return false }
    here.append(first)
    var count = 1
    while count < order.count, compare(order[count], first) == 0 {
      here.append(order[count])
      count += 1
    }
    order.removeFirst(count)
    return true
  }

  private func insert(_ reader: Int) {
    var low = 0
    var high = order.count
    if high > 0 {
      let c = compare(reader, order[0])
      if c < 0 || (c == 0 && reader < order[0]) { high = 0 }
    }
    while low < high {
      let middle = (low + high) / 2
      let c = compare(order[middle], reader)
      if c < 0 || (c == 0 && order[middle] < reader) { low = middle + 1 } else { high = middle }
    }
    order.insert(reader, at: low)
  }

  @inline(__always)
  private func compare(_ a: Int, _ b: Int) -> Int {
    PathOrder.compare(
      readers[a].line.path, readers[a].line.parentLength, readers[b].line.path, readers[b].line.parentLength)
  }

  /// Goes before the first line that is not before `path`; `indexes` are the manifests'.
  func seek(to path: Bytes, _ indexes: [ManifestIndex]) throws(Failure) {
    order.removeAll()
    here.removeAll()
    for age in readers.indices where try readers[age].seek(to: path, indexes[age]) { insert(age) }
  }

  /// Goes to `path` where some manifest has a line of it and all stand before it.
  func take(at path: Bytes) -> Bool {
    guard let first = order.first, PathOrder.compare(Bytes(readers[first].line.path), path) == 0 else { return false }
    return take()
  }
}
