/// A point's whole tree: the manifests of its chain, merged newest first, in order and in constant memory.
import Posix
import Tar

/// Not for use from several threads.
final class PointReader {
  private let merge: ManifestMerge
  private let readers: [ManifestReader]
  /// Directories that went away or became something else, and since which age.
  private var hidden = DirectoryTable<Int>()
  /// The directory last asked for, and the newest set that hides what older ones hold in it: mostly the next line is of
  /// the same.
  private var hidingParent = Bytes()
  private var hidingAge: Int?
  private var current = 0

  /// Whether a newer set could not look at the entry just read.
  private(set) var isUnseen = false
  /// After `advance`: whether the point has an entry at this path.
  private(set) var isPresent = false
  /// Called with what could not be looked at and has no copy.
  var onUnseen: ((Bytes) -> Void)?

  /// Newest first.
  init(_ readers: [ManifestReader]) {
    precondition(!readers.isEmpty)
    self.readers = readers
    merge = ManifestMerge(readers)
  }

  /// The entry just read.
  var line: Line { _read { yield readers[current].line } }

  /// The manifest it stands in.
  var manifest: ManifestReader { readers[current] }
  /// Whether an older set, too, has a line of the entry just read.
  var isInOlder: Bool { merge.here.contains { $0 > current && readers[$0].line.what == .entry } }
  /// That manifest's place in the chain: 0 is the newest.
  var age: Int { current }

  /// What the manifest of this age tells of the path just read; nil: nothing.
  func line(of age: Int) -> Line? { merge.here.contains(age) ? readers[age].line : nil }

  /// Reads the next entry of the point; false at the end.
  func next() throws(Failure) -> Bool {
    // Having gone to a path, it stands at the first entry already.
    if readers.count == 1, merge.isAlone { return try nextOfOne() }
    while try advance() { if isPresent { return true } }
    return false
  }

  /// Goes to the next path that any of the manifests tells of, whether the point has it or not; false at the end.
  /// If the point does not have it, `line` is the newest that tells of the path. Not to be mixed with `next`.
  func advance() throws(Failure) -> Bool {
    guard try merge.next() else { return false }
    let winner = settle()
    isPresent = winner != nil
    current = winner ?? merge.here[0]
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

  /// What the lines at hand, all of one path, newest first, come to: which of them tells of the entry, if any.
  private func settle() -> Int? {
    let used = merge.here
    if used.count == 1, readers[used[0]].line.what == .entry {
      isUnseen = readers[used[0]].line.isCarried
      return isHidden(used[0]) ? nil : used[0]
    }
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
    // What was a directory and went away, or became something else or another directory, takes all that older sets hold
    // below it along, also where a newer set has a directory there again.
    for (place, reader) in used.enumerated()
    where readers[reader].line.what != .unseen && !(isDirectory(reader) && !readers[reader].line.isFresh) {
      if used[(place + 1)...].contains(where: isDirectory) { hide(Bytes(readers[reader].line.path), since: reader) }
    }
    if readers[winner].line.what == .deleted { return nil }
    if readers[winner].line.isCarried { isUnseen = true }
    return isHidden(winner) ? nil : winner
  }

  private func isDirectory(_ reader: Int) -> Bool {
    readers[reader].line.what == .entry && readers[reader].line.kind == .directory
  }

  private func hide(_ path: Bytes, since age: Int) {
    hidden.add(path, age)
    hidingAge = nil
  }

  private func isHidden(_ reader: Int) -> Bool {
    guard !hidden.isEmpty else { return false }
    if hidingAge == nil || !readers[reader].line.parent.isSame(as: hidingParent) {
      hidingParent = Bytes(readers[reader].line.parent)
      var newest = Int.max
      let _: Bool? = hidden.first(above: hidingParent) { _, age in
        newest = min(newest, age)
        return nil
      }
      hidingAge = newest
    }
    return hidingAge! < reader
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
      try merge.seek(to: target, indexes)
      if target == path { break }
      // Standing at a directory above: what it says may hide older copies below.
      if merge.take(at: target), let winner = settle(), let entry = readers[winner].line.entry() {
        directories.append(entry)
      }
      above = step
    }
    return directories
  }
}
