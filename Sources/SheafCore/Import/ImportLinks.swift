/// Which names of an archive are names of one thing. An archive tells a further name by an earlier one, in its own order; a
/// manifest by the first in the order of a tree, which another state of that tree may not have any more.
import Posix
import Tar

/// What tells one thing with several names from all others, before and after a merge.
enum LinkKey: Hashable {
  /// An entry of the archive, by its place.
  case record(Int64)
  /// What the point before has, by its first name there.
  case point(Bytes)
}

/// What the links of an archive lead to.
struct ImportLinks {
  enum Origin {
    case record(Entry, LinkKey)
    /// The archive has nothing of that name before the link.
    case elsewhere(Bytes)
  }
  /// By the links' places in the archive.
  private var origins: [Int64: Origin] = [:]
  /// Entries that links lead to.
  private var roots: Set<Int64> = []

  init(_ tree: ImportedTree) throws(Failure) {
    guard !tree.links.isEmpty else { return }
    let asked = Set(tree.links.map(\.target))
    var known: [Bytes: [(ordinal: Int64, entry: Entry)]] = [:]
    try tree.visitLines { (path, word) throws(Failure) in
      guard case .entry(let entry, let ordinal) = word, asked.contains(path) else { return }
      known[path, default: []].append((ordinal, entry))
    }
    for link in tree.links {
      guard let found = known[link.target]?.last(where: { $0.ordinal < link.ordinal }) else {
        origins[link.ordinal] = .elsewhere(link.target)
        continue
      }
      if found.entry.hardLink != nil {
        origins[link.ordinal] = origins[found.ordinal]
      } else {
        origins[link.ordinal] = .record(found.entry, .record(found.ordinal))
        roots.insert(found.ordinal)
      }
    }
  }

  func origin(of ordinal: Int64) -> Origin? { origins[ordinal] }
  /// Whether links lead to the entry.
  func isRoot(_ ordinal: Int64) -> Bool { roots.contains(ordinal) }
  /// Paths of the point before that links lead to.
  var elsewhere: Set<Bytes> {
    Set(
      origins.values.compactMap { origin in
        if case .elsewhere(let path) = origin { path } else { nil }
      })
  }
}

/// A thing with several names, as the new point has it.
final class ImportedGroup {
  /// In order.
  fileprivate(set) var names: [Bytes] = []
  var first: Bytes { names.first ?? [] }
  /// Whether this set stores it; where, and as what.
  var isStored = false
  var place: PackJob.Place?
  var entry: Entry?
}

/// The things with several names of one point. In memory, as with every run.
struct ImportedGroups {
  private var groups: [LinkKey: ImportedGroup] = [:]

  /// Takes the names of all, in order.
  mutating func add(_ path: Bytes, _ key: LinkKey) {
    let group = groups[key] ?? ImportedGroup()
    group.names.append(path)
    groups[key] = group
  }

  /// nil where there is one name only.
  subscript(_ key: LinkKey?) -> ImportedGroup? {
    guard let key, let group = groups[key], group.names.count > 1 else { return nil }
    return group
  }
}
