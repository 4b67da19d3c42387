/// All sets of a series in the order of time, each with what it builds on: what asks of a path at every point goes by it.
import Posix

struct Timeline {
  struct Step {
    let set: SetName
    /// The place of the set it builds on; nil for a full one.
    let parent: Int?
    /// Its manifest, at the beginning; nil where that cannot be read.
    let manifest: ManifestReader?
  }
  /// Oldest first.
  let steps: [Step]
  private let sets: [SetID: SetName]

  /// Opens every manifest. `damaged` is told of those that cannot be read, and of sets whose parent is not there.
  /// `ahead`: some large ones are inflated ahead of the reading.
  init(_ series: Series, ahead: Bool, damaged: (Failure) -> Void) throws(Failure) {
    var steps: [Step] = []
    var sets: [SetID: SetName] = [:]
    var places: [String: Int] = [:]
    var leftAhead = ahead ? 4 : 0
    for set in try series.sets() {
      var step = Step(set: set, parent: nil, manifest: nil)
      do throws(Failure) {
        // Memory for each: the full ones are worth it.
        let isAhead = set.kind == .full && leftAhead > 0
        if isAhead { leftAhead -= 1 }
        let manifest = try series.manifest(set, ahead: isAhead)
        sets[manifest.head.id] = set
        let parent = manifest.head.parent.flatMap { places[$0.point] }
        if let wanted = manifest.head.parent, parent == nil {
          throw .damaged("\(set.text) builds on the point \(wanted.point), which is not in the store")
        }
        step = Step(set: set, parent: parent, manifest: manifest)
      } catch { damaged(error) }
      places[set.point] = steps.count
      steps.append(step)
    }
    self.steps = steps
    self.sets = sets
  }

  /// The set that has this identity, of those that count.
  func set(_ id: SetID) -> SetName? { sets[id] }
}
