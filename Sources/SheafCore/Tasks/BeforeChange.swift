/// The newest point in which a path is another than it is later: as it was before it changed.
import Posix

/// Such a point, and what came of the path after it.
public struct PointBeforeChange: Sendable {
  public let point: SetName
  /// The next point, in which it was different already.
  public let changed: SetName
  /// In what a file differs in that one; empty for a folder, in which something differs, and where it is gone.
  public let aspects: Aspects
  /// Whether the next point does not have it.
  public let isGone: Bool
}

public struct BeforeChange {
  private let series: Series
  private let spillDirectory: Bytes
  private let reporter: any Reporter
  private let progress: Progress

  /// `spillDirectory`: where files without a name may be made for sorting.
  public init(_ series: Series, spillDirectory: Bytes, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.spillDirectory = spillDirectory
    self.reporter = reporter
    self.progress = progress
  }

  /// A point, and where what it has of the path was first as it is there, as far as the sets' own words tell.
  private struct Step {
    let set: SetName
    let state: History.State
    let origin: SetName
  }

  /// The newest point before `latest` that has the path in another state than `latest` does; a folder's state is that of
  /// all in it, but for the times of folders. Throws `failed` where no point has the path or none has another state, and
  /// `damaged` where `latest` cannot be read. Other points that cannot be read are told to the reporter and passed over.
  public func find(_ path: Bytes, since latest: SetName) throws(Failure) -> PointBeforeChange {
    let history = History(series, reporter: reporter, progress: progress)
    let steps = try steps(path, upTo: latest, history)
    guard let now = steps.last, now.set == latest else {
      throw .damaged("\(latest.text) cannot be read, so what changed since cannot be told")
    }
    var known = 0
    var same: Set = [now.origin]
    for (index, step) in steps.enumerated().reversed() {
      guard case .present(let entry, _) = step.state else { continue }
      known += 1
      guard index < steps.count - 1, !same.contains(step.origin) else { continue }
      if try differs(entry, of: step.set, from: now) {
        return Self.answer(step.set, entry, steps[index + 1])
      }
      same.insert(step.origin)
    }
    guard known > 0 else { throw history.unknown(path) }
    throw Failure(
      .failed,
      "there is no earlier version of \(Show.path(path)): "
        + (known == 1
          ? "one point has it, up to \(latest.text)" : "it is the same in all \(known) points up to \(latest.text)"),
      hint: "'sheaf history -s STORE \(Show.word(path))' shows every version of it")
  }

  private func steps(_ path: Bytes, upTo latest: SetName, _ history: History) throws(Failure) -> [Step] {
    var steps: [Step] = []
    var origins: [SetName: SetName] = [:]
    _ = try history.visit(path) { (timeline, step, word, state) throws(Failure) in
      guard step.set <= latest else { return }
      var origin = step.set
      if case .nothing = word, let parent = step.parent, let manifest = step.manifest,
        let before = origins[timeline.steps[parent].set], try !manifest.tells(below: path, series.index(step.set))
      {
        origin = before
      }
      origins[step.set] = origin
      steps.append(Step(set: step.set, state: state, origin: origin))
    }
    return steps
  }

  private func differs(_ entry: Entry, of set: SetName, from now: Step) throws(Failure) -> Bool {
    guard case .present(let later, _) = now.state else { return true }
    guard entry.kind == .directory, later.kind == .directory else {
      return !Aspects(from: entry, to: later).ofItsOwn(entry.kind).isEmpty
    }
    var options = DiffOptions()
    options.path = entry.path
    let diff = Diff(
      series, options, spillDirectory: spillDirectory, reporter: reporter, progress: progress,
      // It is asked only where the sources are looked at.
      clock: { Timestamp(seconds: 0) })
    var isOther = false
    _ = try diff.run(from: set, to: now.set) { difference in
      let isOwn = difference.action != .changed || !difference.aspects.ofItsOwn(difference.kind).isEmpty
      if isOwn, !difference.isTouchOnly { isOther = true }
    }
    return isOther
  }

  private static func answer(_ set: SetName, _ entry: Entry, _ next: Step) -> PointBeforeChange {
    var aspects = Aspects()
    var isGone = true
    if case .present(let later, _) = next.state {
      isGone = false
      if entry.kind != .directory || later.kind != .directory {
        aspects = Aspects(from: entry, to: later).ofItsOwn(entry.kind)
      }
    }
    return PointBeforeChange(point: set, changed: next.set, aspects: aspects, isGone: isGone)
  }
}
