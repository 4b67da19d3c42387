/// What a point has at and below one path, in order.
import Posix

/// Not for use from several threads.
final class PointSlice {
  private(set) var tree: PointReader
  /// The directories above the path, as far as the point has them.
  let above: [Entry]
  private let series: Series
  private let chain: [SetName]
  private let path: Bytes
  private enum Place { case atPath, above, below, end }
  private var place: Place

  /// The empty path: everything.
  init(_ series: Series, _ chain: [SetName], _ path: Bytes, checked: Bool = false) throws(Failure) {
    self.series = series
    self.chain = chain
    self.path = path
    if path.isEmpty {
      (tree, above) = (try series.tree(chain, checked: checked), [])
      place = .below
    } else {
      (tree, above) = try series.tree(chain, from: path)
      place = .above
    }
  }

  var line: Line { _read { yield tree.line } }

  /// Reads the next entry; false at the end.
  func next() throws(Failure) -> Bool {
    switch place {
    case .above:
      place = .end
      guard try tree.next(), path.elementsEqual(tree.line.path) else { return false }
      if tree.line.kind == .directory { place = .atPath }
      return true
    case .atPath:
      // What is in it comes later in the order.
      place = .below
      tree = try series.tree(chain, from: path + [47]).0
      return try next()
    case .below:
      if try tree.next(), path.isEmpty || Bytes(tree.line.parent).isAtOrBelow(path) { return true }
      place = .end
      return false
    case .end: return false
    }
  }

  /// The entry just read. Throws `damaged` where its line cannot be read.
  func entry() throws(Failure) -> Entry {
    guard let entry = tree.line.entry() else {
      throw .damaged("\(tree.manifest.name): the line of \(Show.path(Bytes(tree.line.path))) cannot be read")
    }
    return entry
  }
}
