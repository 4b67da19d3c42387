/// What each set of a series builds on: one step for each, from which every chain follows. A list of every chain would
/// grow with the square of their length, and there are chains of thousands.
import Posix

public struct Lineage {
  /// Those that count, oldest first.
  public let sets: [SetName]
  private let series: Series
  private let byPoint: [String: SetName]
  private var steps: [SetName: Result<Step, Failure>] = [:]

  private struct Step {
    /// nil: it is a full set.
    var parent: SetName?
    /// The full set that the chain begins with.
    var full: SetName
  }

  /// Opens every manifest.
  public init(_ series: Series) throws(Failure) {
    self.series = series
    sets = try series.sets()
    byPoint = Dictionary(uniqueKeysWithValues: sets.map { ($0.point, $0) })
    // A parent comes before what builds on it.
    for set in sets {
      do throws(Failure) { steps[set] = .success(try step(set)) } catch { steps[set] = .failure(error) }
    }
  }

  private func step(_ set: SetName) throws(Failure) -> Step {
    if let known = steps[set] { return try known.get() }
    guard let parent = try series.parent(of: set, among: byPoint) else { return Step(parent: nil, full: set) }
    return Step(parent: parent, full: try step(parent).full)
  }

  /// nil: it is a full set. Throws where what its chain is made of cannot be told.
  public func parent(of set: SetName) throws(Failure) -> SetName? { try step(set).parent }

  /// The full set that the chain begins with. Throws as above.
  public func full(of set: SetName) throws(Failure) -> SetName { try step(set).full }

  /// Whether what the set builds on can be told.
  func isKnown(_ set: SetName) -> Bool { (try? step(set)) != nil }

  /// Newest first, down to the full set. Throws as above.
  func chain(of set: SetName) throws(Failure) -> [SetName] {
    var chain = [set]
    while let parent = try parent(of: chain.last!) { chain.append(parent) }
    return chain
  }

  /// For each set that builds on one of these, however far down: the nearest of them.
  func nearest(_ wanted: Set<SetName>) -> [SetName: SetName] {
    var nearest: [SetName: SetName] = [:]
    for set in sets {
      guard let parent = try? parent(of: set) else { continue }
      nearest[set] = wanted.contains(parent) ? parent : nearest[parent]
    }
    return nearest
  }
}
