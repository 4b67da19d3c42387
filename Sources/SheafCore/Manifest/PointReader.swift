/// A point's whole tree: the manifests of its chain, merged newest first, in order and in constant memory.
import Posix
import Tar

/// Not for use from several threads.
final class PointReader {
  /// Newest first.
  private let readers: [ManifestReader]
  /// Those that are not at their end, by the path they stand at; of equal paths the newest first.
  private var order: [Int] = []
  /// Those whose line was used up.
  private var used: [Int] = []
  /// Directories that went away or became something else, in order, and since which age. Those before `firstHidden`
  /// have been passed.
  private var hidden: [(path: Bytes, age: Int)] = []
  private var firstHidden = 0
  private var current = 0

  /// Whether a newer set could not look at the entry just read.
  private(set) var isUnseen = false
  /// After `advance`: whether the point has an entry at this path.
  private(set) var isPresent = false
  /// Called with what could not be looked at and has no copy.
  var onUnseen: ((Bytes) -> Void)?

  init(_ readers: [ManifestReader]) {
    precondition(!readers.isEmpty)
    self.readers = readers
    used = Array(readers.indices)
  }

  /// The entry just read.
  var line: Line { _read { yield readers[current].line } }

  /// The manifest it stands in.
  var manifest: ManifestReader { readers[current] }
  /// Whether an older set, too, has a line of the entry just read.
  var isInOlder: Bool { used.contains { $0 > current && readers[$0].line.what == .entry } }
  /// That manifest's place in the chain: 0 is the newest.
  var age: Int { current }

  /// What the manifest of this age tells of the path just read; nil: nothing.
  func line(of age: Int) -> Line? { used.contains(age) ? readers[age].line : nil }

  /// Reads the next entry of the point; false at the end.
  func next() throws(Failure) -> Bool {
    // Having gone to a path, it stands at the first entry already.
    if readers.count == 1, order.isEmpty { return try nextOfOne() }
    while try advance() { if isPresent { return true } }
    return false
  }

  /// Goes to the next path that any of the manifests tells of, whether the point has it or not; false at the end.
  /// Where it has not, `line` is the newest that tells of the path. Not to be mixed with `next`.
  func advance() throws(Failure) -> Bool {
    for reader in used where try readers[reader].next() { insert(reader) }
    used.removeAll(keepingCapacity: true)
    guard let first = order.first else { return false }
    used.append(first)
    var count = 1
    while count < order.count, compare(order[count], first) == 0 {
      used.append(order[count])
      count += 1
    }
    order.removeFirst(count)
    let winner = settle()
    isPresent = winner != nil
    current = winner ?? first
    return true
  }

  private func nextOfOne() throws(Failure) -> Bool {
    while try readers[0].next() {
      if readers[0].line.what == .entry {
        isUnseen = readers[0].line.isCarried
        return true
      }
      if readers[0].line.what == .unseen { onUnseen?(Bytes(readers[0].line.path)) }
    }
    return false
  }

  /// What the lines in `used`, all of one path, newest first, come to: which of them tells of the entry, if any.
  private func settle() -> Int? {
    isUnseen = false
    var winner: Int?
    for reader in used {
      if readers[reader].line.what == .unseen {
        isUnseen = true
      } else {
        winner = reader
        break
      }
    }
    guard let winner else {
      if let first = used.first { onUnseen?(Bytes(readers[first].line.path)) }
      return nil
    }
    // What was a directory and went away, or became something else, takes all that older sets hold below it along,
    // also where a newer set has a directory there again.
    for (place, reader) in used.enumerated() where !isDirectory(reader) && readers[reader].line.what != .unseen {
      if used[(place + 1)...].contains(where: isDirectory) { hide(Bytes(readers[reader].line.path), since: reader) }
    }
    if readers[winner].line.what == .deleted { return nil }
    if readers[winner].line.isCarried { isUnseen = true }
    return isHidden(winner) ? nil : winner
  }

  private func isDirectory(_ reader: Int) -> Bool {
    readers[reader].line.what == .entry && readers[reader].line.kind == .directory
  }

  private func insert(_ reader: Int) {
    var low = 0
    var high = order.count
    // Most often it stays first: the oldest, largest manifest has long runs of its own.
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

  private func hide(_ path: Bytes, since age: Int) {
    hidden.insert((path, age), at: hiddenPlace(of: path))
  }

  private func isHidden(_ reader: Int) -> Bool {
    guard firstHidden < hidden.count else { return false }
    let parent = Bytes(readers[reader].line.parent)
    while firstHidden < hidden.count, PathOrder.compareDirectories(hidden[firstHidden].path, parent) < 0,
      !parent.isAtOrBelow(hidden[firstHidden].path)
    {
      firstHidden += 1
    }
    if firstHidden > 1024 || firstHidden == hidden.count {
      hidden.removeFirst(firstHidden)
      firstHidden = 0
    }
    var directory = parent
    while true {
      for (path, age) in hidden[hiddenPlace(of: directory)...] {
        guard path == directory else { break }
        if age < reader { return true }
      }
      guard !directory.isEmpty else { return false }
      directory = directory.splitAtName.parent
    }
  }

  /// Where the first hidden directory that is not before `path` stands.
  private func hiddenPlace(of path: Bytes) -> Int {
    var low = firstHidden
    var high = hidden.count
    while low < high {
      let middle = (low + high) / 2
      if PathOrder.compareDirectories(hidden[middle].path, path) < 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Goes to the first entry that is not before `path`, having looked at what is known of the directories above it:
  /// those it gives, as far as they are in the point. A path that ends with a slash is the head of a directory's names.
  @discardableResult
  func seek(to path: Bytes, _ indexes: [ManifestIndex]) throws(Failure) -> [Entry] {
    var above = Bytes()
    var directories: [Entry] = []
    for component in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
      let step = above.joined(Bytes(component))
      let target = step == path || component.isEmpty ? path : step
      order.removeAll()
      used.removeAll()
      for (age, reader) in readers.enumerated() {
        reader.seek(to: indexes[age], path: target)
        while try reader.next() {
          if PathOrder.compare(Bytes(reader.line.path), target) >= 0 {
            insert(age)
            break
          }
        }
      }
      if target == path { break }
      // Standing at a directory above: what it says may hide older copies below.
      while let first = order.first, PathOrder.compare(Bytes(readers[first].line.path), target) == 0 {
        used.append(first)
        order.removeFirst()
      }
      if let winner = settle(), let entry = readers[winner].line.entry() { directories.append(entry) }
      above = step
    }
    return directories
  }
}
