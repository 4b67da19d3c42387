/// What GNU tar says was renamed, one step after another, as one set of moves: every step may rename what an earlier one
/// has renamed already, and rings go through a directory that is made for it (GNU tar's manual, "Dumpdir").
import Posix

struct ImportRenames {
  /// Of each thing that was renamed its path in the point before, and where it is by now.
  private var places: [(old: Bytes, now: Bytes)] = []
  /// Where to the half of a rename leads whose other end is not told: no path has a NUL.
  static let temporary: Bytes = [0]
  /// More are nobody's.
  private static let limit = 10_000

  var isEmpty: Bool { places.isEmpty }

  /// False: there are too many.
  mutating func rename(_ from: Bytes, to target: Bytes) -> Bool {
    guard places.count < Self.limit else { return false }
    // What it lies in may have been renamed before.
    let around = places.filter { from != $0.now && from.isAtOrBelow($0.now) }.max { $0.now.count < $1.now.count }
    var isKnown = false
    for index in places.indices where places[index].now.isAtOrBelow(from) {
      isKnown = isKnown || places[index].now == from
      places[index].now = target + places[index].now.dropFirst(from.count)
    }
    if !isKnown {
      let old = around.map { $0.old + from.dropFirst($0.now.count) } ?? from
      places.append((old, target))
    }
    return true
  }

  /// nil where two have one path.
  func moves() -> Moves? {
    Moves(places.filter { $0.old != $0.now && $0.now != Self.temporary }.map { Move(old: $0.old, new: $0.now) })
  }
}
