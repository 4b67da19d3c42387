/// The sources of a run and the directories above them.
import Posix

struct SourceTree: Sendable {
  /// Absolute paths without the leading slash, sorted. One inside another is saved once, and whatever is left out
  /// around it.
  let sources: [Bytes]
  /// For each directory above a source, the names in it that lead to sources, sorted.
  private let above: [Bytes: [Bytes]]
  /// The same of directories that are a source or in one, where that leads to another source.
  private let inside: [Bytes: [Bytes]]
  private let all: Set<Bytes>

  /// `streams`: paths of files that are made of streams, to which the directories lead as to sources.
  init(_ given: [Bytes], streams: [Bytes] = []) {
    all = Set(given + streams)
    sources = Set(given).sorted { PathOrder.compareDirectories($0, $1) < 0 }
    var above: [Bytes: [Bytes]] = [:]
    var inside: [Bytes: [Bytes]] = [:]
    var top: Bytes?
    for source in all.sorted(by: { PathOrder.compareDirectories($0, $1) < 0 }) {
      let isInside = top.map { source.isAtOrBelow($0) } ?? false
      if !isInside { top = source }
      var path = source
      while !path.isEmpty, path != top || !isInside {
        let (parent, name) = path.splitAtName
        if isInside {
          if inside[parent]?.contains(name) != true { inside[parent, default: []].append(name) }
        } else if above[parent]?.last == name {
          break
        } else {
          above[parent, default: []].append(name)
        }
        path = parent
      }
    }
    self.above = above.mapValues { $0.sorted { $0.lexicographicallyPrecedes($1) } }
    self.inside = inside
  }

  /// Those that are in no other one.
  static func tops(_ sources: [Bytes]) -> [Bytes] {
    var tops: [Bytes] = []
    for source in sources.sorted(by: { PathOrder.compareDirectories($0, $1) < 0 }) {
      if tops.last.map({ !source.isAtOrBelow($0) }) ?? true { tops.append(source) }
    }
    return tops
  }

  func isSource(_ path: Bytes) -> Bool { all.contains(path) }

  /// The names in a directory that is a source or below one which are sources or lead to them.
  func names(inside path: Bytes) -> [Bytes] { inside.isEmpty ? [] : inside[path] ?? [] }

  /// nil where `path` is a source or below one.
  func names(above path: Bytes) -> [Bytes]? { above[path] }
}
