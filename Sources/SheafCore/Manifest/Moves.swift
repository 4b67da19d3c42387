/// What was moved between a point and the next: which path became which, and what that means for every other path.
///
/// Only the tops are told. What lies below one comes along, unless it is moved elsewhere itself; what stood where
/// something is moved to gives way.
import Posix
import Tar

struct Move: Hashable, Sendable {
  /// In the older point.
  var old: Bytes
  var new: Bytes
  /// Nothing but size and time say that it is the same: its contents are compared.
  var mustRead = false

  /// Of the old path.
  var depth: Int { old.count { $0 == UInt8(ascii: "/") } }
}

/// Not for use from several threads.
final class Moves {
  /// In the order of the new paths.
  let all: [Move]
  private let byOld: [Bytes: Int]
  private let byNew: [Bytes: Int]
  /// Directories that hold such a path, and those on the way to a new path.
  private let holdOld: Set<Bytes>
  private let holdNew: Set<Bytes>
  private let ways: Set<Bytes>
  private let holdWays: Set<Bytes>

  /// nil where two have one path: no run tells that.
  init?(_ moves: [Move]) {
    all = moves.sorted { PathOrder.compare($0.new, $1.new) < 0 }
    var byOld: [Bytes: Int] = [:]
    var byNew: [Bytes: Int] = [:]
    var ways: Set<Bytes> = []
    for (index, move) in all.enumerated() {
      guard byOld.updateValue(index, forKey: move.old) == nil, byNew.updateValue(index, forKey: move.new) == nil else {
        return nil
      }
      var way = move.new.splitAtName.parent
      while !way.isEmpty, ways.insert(way).inserted { way = way.splitAtName.parent }
    }
    self.byOld = byOld
    self.byNew = byNew
    self.ways = ways
    holdOld = Set(byOld.keys.map { $0.splitAtName.parent })
    holdNew = Set(byNew.keys.map { $0.splitAtName.parent })
    holdWays = Set(ways.map { $0.splitAtName.parent })
  }

  func isOld(_ path: Bytes) -> Bool { byOld[path] != nil }
  /// Whether something lies there, after all moves, because it was moved.
  func isMoved(_ path: Bytes) -> Bool { newTrail.deepest(in: byNew, atOrAbove: path) != nil }
  func isNew(_ path: Bytes) -> Bool { byNew[path] != nil }

  private var oldTrail = Trail()
  private var newTrail = Trail()

  /// The path asked for last, and the answer for each directory on the way to it: mostly the next path has most of that
  /// way in common, and a tree may be thousands deep.
  private struct Trail {
    private var path = Bytes()
    /// So long is the directory's part of `path`; what is the deepest there. The shortest first.
    private var steps: [(length: Int, found: Int?)] = []

    mutating func deepest(in places: [Bytes: Int], atOrAbove wanted: Bytes) -> Int? {
      guard !places.isEmpty else { return nil }
      let common = path.commonPrefix(with: wanted)
      while let last = steps.last,
        last.length > common || (last.length < wanted.count && wanted[last.length] != UInt8(ascii: "/"))
      {
        steps.removeLast()
      }
      path = wanted
      while (steps.last?.length ?? 0) < wanted.count {
        let start = steps.last.map { $0.length + 1 } ?? 0
        let end =
          start < wanted.count ? wanted[start...].firstIndex(of: UInt8(ascii: "/")) ?? wanted.count : wanted.count
        steps.append((end, places[Bytes(wanted[..<end])] ?? steps.last?.found))
      }
      return steps.last?.found
    }
  }

  /// What the moves mean for the names of one directory of the older point.
  struct Place {
    let directory: Bytes
    /// The move the directory comes along with.
    fileprivate(set) var owner: Int?
    /// Where it is after all moves.
    fileprivate(set) var after: Bytes
    /// It gave way, with all in it.
    fileprivate var gaveWay = false
    fileprivate var holdsOld = false
    fileprivate var holdsNew = false
    fileprivate var holdsWays = false
  }

  func place(_ directory: Bytes) -> Place {
    var place = Place(directory: directory, after: directory)
    place.owner = oldTrail.deepest(in: byOld, atOrAbove: directory)
    if let owner = place.owner { place.after = all[owner].new + directory.dropFirst(all[owner].old.count) }
    place.gaveWay = newTrail.deepest(in: byNew, atOrAbove: place.after) != place.owner
    place.holdsOld = holdOld.contains(directory)
    place.holdsNew = holdNew.contains(place.after)
    place.holdsWays = holdWays.contains(place.after)
    return place
  }

  enum Fate: Equatable {
    case stays
    case comesAlong(Int)
    case moved(Int)
    /// It is not in the way alone: the directory it lies in gave way.
    case gaveWayAbove
    /// Something else takes its place, or its place became a directory's on the way to something else.
    case gaveWay(toDirectory: Bool)
  }

  func fate(_ line: Line, in place: Place) -> Fate {
    if place.holdsOld, let index = byOld[Bytes(line.path)] { return .moved(index) }
    if place.gaveWay { return .gaveWayAbove }
    if place.holdsNew || place.holdsWays {
      let after = place.after.joined(Bytes(line.name))
      if place.holdsNew, byNew[after] != nil { return .gaveWay(toDirectory: false) }
      if place.holdsWays, line.kind != .directory, ways.contains(after) { return .gaveWay(toDirectory: true) }
    }
    return place.owner.map { .comesAlong($0) } ?? .stays
  }

  /// Whether the path of something that was moved, and was in no directory that moved, is taken by nothing that was
  /// moved.
  func isFree(_ line: Line, in place: Place) -> Bool {
    place.owner == nil && !place.gaveWay && !(place.holdsNew && byNew[Bytes(line.path)] != nil)
  }

  /// Where a path of the older point is after all moves.
  func after(_ path: Bytes) -> Bytes {
    guard let owner = oldTrail.deepest(in: byOld, atOrAbove: path) else { return path }
    return all[owner].new + path.dropFirst(all[owner].old.count)
  }

  /// Where what lies at a path after all moves was in the older point; nil where it was not moved.
  func before(_ path: Bytes) -> Bytes? {
    guard let owner = newTrail.deepest(in: byNew, atOrAbove: path) else { return nil }
    let old = all[owner].old + path.dropFirst(all[owner].new.count)
    return after(old) == path ? old : nil
  }
}
