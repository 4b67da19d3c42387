/// What GNU tar says was renamed, one step after another, as one set of moves: every step may rename what an earlier one
/// has renamed already, and rings go through a directory that is made for it (GNU tar's manual, "Dumpdir").
import Posix

struct ImportRenames {
  /// Of each thing that was renamed its path in the point before, and where it is by now.
  private var places: [(old: Bytes, now: Bytes)] = []
  private var byNow: [Bytes: Int] = [:]
  /// Directories that one of them was ever in.
  private var above: Set<Bytes> = []
  private var steps = 0
  /// Where to the half of a rename leads whose other end is not told: no path has a NUL.
  static let temporary: Bytes = [0]
  /// More are nobody's.
  private static let limit = 10_000

  var isEmpty: Bool { places.isEmpty }

  /// False: there are too many.
  mutating func rename(_ from: Bytes, to target: Bytes) -> Bool {
    steps += 1
    guard steps <= Self.limit else { return false }
    let old = original(from)
    if byNow[from] == nil {
      places.append((old, from))
      put(places.count - 1, at: from)
    }
    guard above.contains(from) else {
      if let index = byNow[from] { put(index, at: target) }
      return true
    }
    for index in places.indices where places[index].now.isAtOrBelow(from) {
      put(index, at: target + places[index].now.dropFirst(from.count))
    }
    return true
  }

  /// Where in the point before something is that is at a path now: what it lies in may have been renamed.
  private func original(_ path: Bytes) -> Bytes {
    var way = path
    while !way.isEmpty {
      if let index = byNow[way] { return places[index].old + path.dropFirst(way.count) }
      way = way.splitAtName.parent
    }
    return path
  }

  private mutating func put(_ index: Int, at path: Bytes) {
    if byNow[places[index].now] == index { byNow[places[index].now] = nil }
    places[index].now = path
    byNow[path] = index
    var way = path.splitAtName.parent
    while !way.isEmpty, above.insert(way).inserted { way = way.splitAtName.parent }
  }

  /// nil where two have one path.
  func moves() -> Moves? {
    Moves(places.filter { $0.old != $0.now && $0.now != Self.temporary }.map { Move(old: $0.old, new: $0.now) })
  }
}
