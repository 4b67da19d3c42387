/// The sources of a run and the directories above them.
import Posix

struct SourceTree: Sendable {
  /// Absolute paths without the leading slash, sorted, none inside another.
  let sources: [Bytes]
  /// For each directory above a source, the names in it that lead to sources, sorted.
  private let above: [Bytes: [Bytes]]

  init(_ given: [Bytes]) {
    var kept: [Bytes] = []
    for source in given.sorted(by: { PathOrder.compareDirectories($0, $1) < 0 }) {
      if let last = kept.last, source.isAtOrBelow(last) { continue }
      kept.append(source)
    }
    sources = kept
    var above: [Bytes: [Bytes]] = [:]
    for source in kept where !source.isEmpty {
      var path = source
      while true {
        let (parent, name) = path.splitAtName
        if above[parent]?.last == name { break }
        above[parent, default: []].append(name)
        if parent.isEmpty { break }
        path = parent
      }
    }
    self.above = above.mapValues { $0.sorted { $0.lexicographicallyPrecedes($1) } }
  }

  /// nil where `path` is a source or below one.
  func names(above path: Bytes) -> [Bytes]? { above[path] }
}
