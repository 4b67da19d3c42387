/// Removes points that no rule keeps, but never a set that a remaining point needs.
import Posix
import Tar

public struct PruneOptions: Sendable {
  public var rules = KeepRules()
  /// What is kept only because others build on it is folded into them.
  public var folds = false
  /// The newest chain is read before anything goes: damage counts, not only what is missing.
  public var verifies = false
  public var isDryRun = false

  public init() {}
}

public struct PruneSummary: Sendable {
  public var plan = PrunePlan()
  /// What went, what was written, and what had to stay after all, with the reason.
  public var removed: [SetName] = []
  public var made: [SetName] = []
  public var kept: [(set: SetName, reason: String)] = []
  public var bytesFreed: Int64 = 0
  public var bytesWritten: Int64 = 0
  public var isDamaged = false
}

public struct Prune {
  private let series: Series
  private let options: PruneOptions
  private let reporter: any Reporter
  private let progress: Progress

  public init(_ series: Series, _ options: PruneOptions, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.options = options
    self.reporter = reporter
    self.progress = progress
  }

  /// `show`: called with the plan before anything is changed.
  public func run(_ show: (PrunePlan) -> Void) throws(Failure) -> PruneSummary {
    // Merging reads contents. Without the key for that nothing is damaged, and nothing may go.
    if options.folds { try series.checkReadsContents() }
    if options.isDryRun {
      let plan = try plan()
      show(plan)
      return PruneSummary(plan: plan)
    }
    let lock = try SeriesLock(series)
    defer { lock.release() }
    try series.removeLeftovers(sparingBackups: true)
    try series.finishRemovals()
    var summary = PruneSummary(plan: try plan())
    show(summary.plan)
    // Sets that can go without any room go first: on a full drive that makes room for the rest.
    var later = try summary.plan.folds.isEmpty ? [] : replaced(summary.plan.removed)
    later += try remove(summary.plan.removed.filter { !later.contains($0) }, &summary)
    try fold(summary.plan.folds, &later, &summary)
    for set in try remove(later, &summary) { summary.kept.append((set, "files of a later point lie in it")) }
    return summary
  }

  /// Those that another set stands for, and what they build on. They tell where files lie that manifests still look for
  /// in sets that go; and of these manifests some are to be folded, which spares writing them anew.
  private func replaced(_ sets: [SetName]) throws(Failure) -> [SetName] {
    let points = try Set(series.sets())
    var replaced: Set<SetName> = []
    for set in sets where !points.contains(set) {
      replaced.insert(set)
      if let chain = try? series.chain(of: set) { replaced.formUnion(chain) }
    }
    return sets.filter(replaced.contains)
  }

  private func plan() throws(Failure) -> PrunePlan {
    var planner = try PrunePlanner(series, options.rules, folds: options.folds) { set throws(Failure) in
      guard try series.isSound(set) else { return false }
      guard options.verifies else { return true }
      return try Verify(series, isQuick: false, progress: progress) { _ in }.run(set).damages.isEmpty
    }
    return try planner.plan()
  }

  /// Gives those that files of others lie in still.
  private func remove(_ sets: [SetName], _ summary: inout PruneSummary) throws(Failure) -> [SetName] {
    guard !sets.isEmpty else { return [] }
    try progress.checkCancelled()
    let quiet = try series.awaitReaders()
    defer { quiet?.release() }
    let gone: [SetName]
    let kept: [SetName]
    do throws(Failure) { (gone, kept) = try Relocation(going: sets, series: series).run() } catch {
      guard error.kind != .interrupted else { throw error }
      reporter.problem("nothing was removed: \(error.message)", path: nil)
      summary.isDamaged = summary.isDamaged || error.kind == .damaged
      return []
    }
    for set in gone { summary.bytesFreed.add(saturating: series.size(of: set)) }
    try series.markDropped(gone.filter { options.rules.drops.contains($0.point) })
    try series.remove(gone)
    summary.removed += gone.filter { sets.contains($0) }
    return kept
  }

  /// Folds everything there is room for. If room is short, each fold removes at once what it replaces, and the folds that
  /// fit come first, if need be in part: that makes room for the rest.
  private func fold(_ folds: [[SetName]], _ later: inout [SetName], _ summary: inout PruneSummary) throws(Failure) {
    var open = folds
    let isShort = folds.reduce(into: Int64(0)) { $0.add(saturating: size($1)) } > free
    while !open.isEmpty {
      let index = isShort ? open.firstIndex { size($0) <= free } ?? 0 : 0
      let sets = open.remove(at: index)
      var part = sets
      // The oldest is the full set, mostly: without it little room is needed.
      while isShort, part.count > 2, size(part) > free { part.removeLast() }
      if size(part) > free { part = sets }
      guard let made = try fold(part, &later, &summary), isShort else { continue }
      later = try remove(later, &summary)
      if part.count < sets.count { open.insert([made] + sets.dropFirst(part.count), at: 0) }
    }
  }

  private var free: Int64 { series.folder.space()?.free ?? .max }

  /// Bytes of the sets: one made of them has hardly more.
  private func size(_ sets: [SetName]) -> Int64 {
    sets.reduce(into: 0) { $0.add(saturating: series.size(of: $1)) }
  }

  /// Gives the new set; nil where it could not be made, which was told.
  private func fold(
    _ sets: [SetName], _ later: inout [SetName], _ summary: inout PruneSummary
  ) throws(Failure) -> SetName? {
    let (needed, free) = (size(sets), self.free)
    do throws(Failure) {
      // The set's manifest may have been written anew meanwhile.
      guard let newest = try series.sets().last(where: { $0.point == sets[0].point }) else { return nil }
      let chain = try series.chain(of: newest)
      let fold = Fold(sets.count, of: chain, in: series, reporter: reporter, progress: progress)
      let (set, foot) = try fold.run()
      summary.made.append(set)
      summary.bytesWritten.add(saturating: foot.storedBytes)
      later += chain.prefix(sets.count)
      return set
    } catch {
      guard error.kind != .interrupted else { throw error }
      reporter.problem("\(sets[0].text) is left as it is: \(error.message)", path: nil)
      if error.cause?.kind == .full {
        reporter.note(
          "folding it may take \(Show.size(needed)), and \(Show.size(free)) is free on the drive; what goes without --fold needs no room"
        )
      }
      summary.isDamaged = summary.isDamaged || error.kind == .damaged
      for set in sets { summary.kept.append((set, "it could not be folded")) }
      return nil
    }
  }
}
