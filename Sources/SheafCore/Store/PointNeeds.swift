/// Which sets a point needs: its chain, and others that hold last good copies for the full set of that.
import Posix

extension Series {
  /// The sets that hold files of a full set, other than itself: last good copies of what it could not look at.
  func idsElsewhere(_ set: SetName) throws(Failure) -> Set<SetID> {
    try foot(set).counts.unseen > 0 ? idsElsewhere(set) { $0.isCarried } : []
  }

  /// `counts`: whether a line is asked.
  private func idsElsewhere(_ set: SetName, _ counts: (Line) -> Bool) throws(Failure) -> Set<SetID> {
    let id = try head(set).id
    var ids: Set<SetID> = []
    let reader = try manifest(set)
    while try reader.next() {
      guard reader.line.what == .entry, counts(reader.line), let entry = reader.line.entry() else { continue }
      for extent in entry.extents where extent.set != id { ids.insert(extent.set) }
    }
    return ids
  }

  /// The sets that are in the store and hold files of a full set, other than itself.
  func holders(for set: SetName) throws(Failure) -> [SetName] { try sets(idsElsewhere(set), besides: set) }

  /// The sets that are in the store and hold files of lines of a set, other than itself: what was moved, or has other
  /// attributes, lies in an older set of its chain.
  func allHolders(for set: SetName) throws(Failure) -> [SetName] {
    try sets(set.kind == .full ? idsElsewhere(set) : idsElsewhere(set) { _ in true }, besides: set)
  }

  private func sets(_ ids: Set<SetID>, besides set: SetName) throws(Failure) -> [SetName] {
    var holders: [SetName] = []
    for id in ids { if let holder = try self.set(id), holder != set { holders.append(holder) } }
    return holders.sorted()
  }

  /// The first of `sets` that a point needs, out of those that it may need.
  public func firstNeeded(by point: SetName, among sets: [SetName]) throws(Failure) -> SetName? {
    let chain = try chain(of: point)
    var ids: [SetID: SetName] = [:]
    for set in sets {
      if chain.contains(set) { return set }
      if let id = try? head(set).id { ids[id] = set }
    }
    guard !ids.isEmpty else { return nil }
    let tree = try tree(chain)
    while try tree.next() { if let extent = tree.line.place?.extent, let set = ids[extent.set] { return set } }
    return nil
  }
}

/// What the points of a series need, asked of all of them in one go.
public struct PointNeeds {
  public let lineage: Lineage
  private let series: Series
  private var holders: [SetName: Result<[SetName], Failure>] = [:]

  public init(_ series: Series) throws(Failure) {
    self.series = series
    lineage = try Lineage(series)
  }

  /// What holds files for the full set that the point's chain begins with. Throws where its chain, or that, cannot be
  /// told.
  public mutating func holders(for point: SetName) throws(Failure) -> [SetName] {
    let full = try lineage.full(of: point)
    if holders[full] == nil {
      do throws(Failure) { holders[full] = .success(try series.holders(for: full)) } catch {
        holders[full] = .failure(error)
      }
    }
    return try holders[full]!.get()
  }

  /// For each of the points that needs one of `damaged`, other than itself, that one. What cannot be told counts as
  /// needed.
  public mutating func needed(by points: [SetName], among damaged: Set<SetName>) -> [SetName: SetName] {
    guard !damaged.isEmpty else { return [:] }
    let inChain = lineage.nearest(damaged)
    var needed: [SetName: SetName] = [:]
    for point in points {
      if let set = inChain[point] {
        needed[point] = set
        continue
      }
      let suspects = ((try? holders(for: point)) ?? []).filter { damaged.contains($0) && $0 != point }
      guard let first = suspects.first else { continue }
      do throws(Failure) { needed[point] = try series.firstNeeded(by: point, among: suspects) } catch {
        needed[point] = first
      }
    }
    return needed
  }
}
