/// What the attempts of one run share. Mostly the first one counts.
import Posix

struct BackupRun {
  var task: Backup
  /// nil: a dry run of a series that is new.
  let series: Series?
  /// Without it nothing is published.
  let lock: SeriesLock?
  let name: Bytes
  let host: Bytes
  let rules: WalkRules
  let streams: [Bytes: StreamTable.State]
  /// What was moved is found, and not stored again.
  var usesMoves = true

  func write(after previous: PreviousPoint? = nil, fullBecause reason: String? = nil) throws(Failure) -> BackupSummary {
    let isFull = previous == nil || reason != nil
    return try attempt(isFull ? .full : .incremental, after: previous, fullBecause: reason)!
  }

  /// nil where a differential set was wanted and something could not be looked at; nothing is written then.
  func attempt(
    _ kind: SetKind, after previous: PreviousPoint?, fullBecause reason: String?
  ) throws(Failure) -> BackupSummary? {
    switch try Attempt(self, kind, after: previous, fullBecause: reason).make() {
    case .done(let summary): return summary
    case .unseen: return nil
    case .unfit(let hasMoved): return try again(kind, after: previous, fullBecause: reason, hasMoved: hasMoved)
    }
  }

  /// A second, safer attempt, after a set that did not give the point it was written for.
  private func again(
    _ kind: SetKind, after previous: PreviousPoint?, fullBecause reason: String?, hasMoved: Bool
  ) throws(Failure) -> BackupSummary? {
    if hasMoved {
      task.reporter.note("files were moved during the run: it starts again, and stores what was moved")
      var again = self
      again.usesMoves = false
      return try again.attempt(kind, after: previous, fullBecause: reason)
    }
    guard kind != .full else {
      throw Failure(.failed, "the set does not add up to the point it was written for", hint: "run it again")
    }
    task.reporter.note("what was written does not fit the sets before it: the run starts again")
    return try attempt(.full, after: previous, fullBecause: "the sets before do not add up")
  }
}
