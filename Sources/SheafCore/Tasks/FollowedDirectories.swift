/// Directories that are known to have moved by what moved with them: files that kept their path below.
import Posix

struct FollowedDirectories {
  /// By where a directory is now: where it was. The first that is seen counts.
  private var origins: [Bytes: Bytes] = [:]
  private var destinations: [Bytes: Bytes] = [:]
  private var removed: [Bytes: Entry] = [:]
  private var added: [Bytes: Entry] = [:]

  /// A file moved. Each directory above it moved as well, as far up as the names are the same.
  mutating func add(from old: Bytes, to new: Bytes) {
    var (before, now) = (old.splitAtName, new.splitAtName)
    while before.name == now.name, before.parent != now.parent, !before.parent.isEmpty, !now.parent.isEmpty {
      let (from, to) = (before.parent, now.parent)
      if origins[to] != nil || destinations[from] != nil { return }
      origins[to] = from
      destinations[from] = to
      (before, now) = (from.splitAtName, to.splitAtName)
    }
  }

  /// Keeps one of the two, a directory that went or came, if something moved from it or to it.
  mutating func holds(_ old: Entry?, _ new: Entry?) -> Bool {
    if let old, destinations[old.path] != nil {
      removed[old.path] = old
    } else if let new, origins[new.path] != nil {
      added[new.path] = new
    } else {
      return false
    }
    return true
  }

  /// Gives all that were kept: in pairs where both are there, else alone.
  func visit(_ body: (_ removed: Entry?, _ added: Entry?) throws(Failure) -> Void) throws(Failure) {
    for (path, entry) in added { try body(origins[path].flatMap { removed[$0] }, entry) }
    for (path, entry) in removed where destinations[path].flatMap({ added[$0] }) == nil { try body(entry, nil) }
  }
}
