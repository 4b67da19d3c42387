/// Which sets a point needs: its chain, and others that hold last good copies for the full set of that.
import Posix

extension Series {
  /// The sets that hold files of a full set, other than itself: last good copies of what it could not look at.
  func idsElsewhere(_ set: SetName) throws(Failure) -> Set<SetID> {
    guard try foot(set).counts.unseen > 0 else { return [] }
    let id = try head(set).id
    var ids: Set<SetID> = []
    let reader = try manifest(set)
    while try reader.next() {
      guard reader.line.what == .entry, reader.line.isCarried, let entry = reader.line.entry() else { continue }
      for extent in entry.extents where extent.set != id { ids.insert(extent.set) }
    }
    return ids
  }

  /// The sets that are in the store and hold files of a full set, other than itself.
  func holders(for set: SetName) throws(Failure) -> [SetName] {
    var holders: [SetName] = []
    for id in try idsElsewhere(set) { if let holder = try self.set(id), holder != set { holders.append(holder) } }
    return holders.sorted()
  }

  /// What each of the points may need, other than itself: its chain, and what holds files for the full set of that; or
  /// why that cannot be told.
  public func needs(of points: [SetName]) throws(Failure) -> [Result<[SetName], Failure>] {
    var holders: [SetName: [SetName]] = [:]
    return try chains(of: points).map { (result) throws(Failure) in
      guard case .success(let chain) = result, let full = chain.last else { return result }
      do throws(Failure) {
        if holders[full] == nil { holders[full] = try self.holders(for: full) }
      } catch {
        guard error.kind == .damaged || error.kind == .failed else { throw error }
        return .failure(error)
      }
      return .success(chain.dropFirst() + holders[full]!)
    }
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
