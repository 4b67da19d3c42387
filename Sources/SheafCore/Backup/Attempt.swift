/// One attempt at writing a set: compares the sources with the point before and writes what changed. What it works with
/// is known before the first file is looked at.
import Posix
import Storage
import Tar

struct Attempt {
  enum Outcome {
    case done(BackupSummary)
    /// A differential set was wanted and something could not be looked at; nothing was written.
    case unseen
    /// The set did not give the point it was written for; nothing was written.
    case unfit(hasMoved: Bool)
  }

  let run: BackupRun
  let kind: SetKind
  let previous: PreviousPoint?
  let started: Timestamp
  let root: SourceRoot
  let sources: SourceTree
  let missing: [Bytes]
  let streams: StreamTable
  let lister: Lister
  let owners = OwnerNames()
  let reader: LargeReader
  private let reason: String?

  var task: Backup { run.task }
  var options: BackupOptions { run.task.options }
  var isFull: Bool { kind == .full }

  /// Throws where there is nothing to back up, or no source is there.
  init(
    _ run: BackupRun, _ kind: SetKind, after previous: PreviousPoint?, fullBecause reason: String?
  ) throws(Failure) {
    let task = run.task
    self.run = run
    self.kind = kind
    self.previous = previous
    self.reason = reason
    started = task.clock()
    sources = try Self.sources(of: run, kind, previous)
    if let before = previous?.head.started, started < before {
      task.reporter.note(
        "the clock was set back: it says \(PointName.text(started)), the newest point \(PointName.text(before))"
      )
    }
    root = try system { () throws(SystemError) in try SourceRoot(task.options.mappings) }
    let check = SourceCheck(task.options)
    missing = try check.missing(of: sources, root, mayBeAll: !run.streams.isEmpty)
    try check.refuseStore(run.rules.store, in: sources, root)
    var rules = run.rules
    rules.exclusions.sources = sources.sources
    reader = LargeReader(
      root: root, owners: owners, window: task.options.modifyWindow, progress: task.progress, reporter: task.reporter,
      clock: task.clock)
    streams = try StreamTable(run.streams, mapped: root.mapped, now: started) { (path) throws(Failure) in
      try previous?.before.entry(path)
    }
    lister = Lister(root: root, rules: rules, sources: sources, streams: streams, clock: task.clock)
  }

  /// Those that were named, or those that the series remembers.
  private static func sources(
    of run: BackupRun, _ kind: SetKind, _ previous: PreviousPoint?
  ) throws(Failure) -> SourceTree {
    let options = run.task.options
    var wanted = options.sources
    if wanted.isEmpty, kind != .differential { wanted = previous?.head.sources ?? [] }
    if wanted.isEmpty, let series = run.series { wanted = try series.newestHead()?.sources ?? [] }
    let sources = SourceTree(wanted, streams: Array(run.streams.keys))
    guard !sources.sources.isEmpty || !run.streams.isEmpty || options.sources.contains([]) else {
      throw Failure(
        .usage, "nothing to back up: the series '\(Show.path(run.name))' has no point yet and remembers no sources",
        hint: "name a SOURCE")
    }
    return sources
  }

  func make() throws(Failure) -> Outcome {
    if kind == .differential, try isSomethingAway() { return .unseen }
    let head = try head()
    let summary = try summary(head)
    guard !options.isDryRun, let series = run.series else { return try tell(summary) }
    return try SetAttempt(self, series, head).write(summary)
  }

  /// Whether something that the newest point holds is away for the moment. A differential set passes over that point, and
  /// the full set it builds on may never have had it.
  private func isSomethingAway() throws(Failure) -> Bool {
    guard let series = run.series, let newest = try series.sets().last else { return false }
    let point = PointBefore(series: series, chain: try series.chain(of: newest))
    let places = AbsentPlaces(lister, gone: options.gone, point: point, reporter: Silence())
    for source in sources.sources where try places.isAway(source, nil) { return true }
    let tree = try point.tree()
    while try tree.next() {
      let line = tree.line
      guard line.hasFileSystem, line.kind == .directory else { continue }
      if try places.isAway(Bytes(line.path), line.fileSystem) { return true }
    }
    return false
  }

  // MARK: - What is known before

  private func head() throws(Failure) -> SetHead {
    var head = SetHead(
      id: .random(), kind: kind, series: run.name, host: run.host, time: try time(), started: started,
      parent: isFull ? nil : previous.map { ($0.set.point, $0.foot.point) }, sources: sources.sources,
      exclusions: lister.rules.exclusions.lines,
      comment: options.comment)
    head.machine = Machine.identity ?? []
    head.streams = run.streams.keys.sorted { $0.lexicographicallyPrecedes($1) }
    if sources.isSource([]) { head.top = try top() }
    try head.checkSize()
    return head
  }

  /// What the new point is named after.
  private func time() throws(Failure) -> Timestamp {
    var time = Timestamp(seconds: started.seconds)
    let series = run.series
    // Also past what a run that was killed left without a manifest, and what was lost since.
    let taken = [
      try series?.sets().last?.time, try series?.archives().last?.set.time,
      // A record from far in the future is not believed.
      series.flatMap { task.known?.newestTime(of: $0) }.flatMap {
        $0.seconds - started.seconds < 86400 * 366 ? $0 : nil
      },
    ].compactMap { $0 }.max()
    if let taken, taken >= time { time = Timestamp(seconds: taken.seconds + 1) }
    guard PointName.time(PointName.text(time)) != nil else {
      throw Failure(.failed, "no point can be named after \(PointName.text(started)): the clock is wrong, or a name is")
    }
    return time
  }

  /// `/` as it is.
  private func top() throws(Failure) -> Entry {
    let (status, attributes) = try system { () throws(SystemError) in
      let directory = try Descriptor.open(Bytes("/"), [.read, .directory])
      return (try directory.status(), directory.attributesOrNone())
    }
    let look = SourceLook(owners: owners, reporter: task.reporter, clock: task.clock)
    var entry = look.entry([], status)
    entry.attributes = look.within(attributes, of: [])
    return entry
  }

  private func summary(_ head: SetHead) throws(Failure) -> BackupSummary {
    var summary = BackupSummary(
      kind: head.kind, parent: isFull ? nil : previous?.set.text, previous: previous?.set.point, series: run.name,
      sources: sources.sources)
    summary.missing = missing
    for path in options.gone where !(previous?.head.streams.contains { $0.isAtOrBelow(path) } ?? false) {
      if try previous?.before.has(path) != true { summary.idleGone.append(path) }
    }
    summary.exclusions = head.exclusions
    summary.fullBecause = previous == nil ? nil : reason
    return summary
  }

  // MARK: - Comparing

  /// `readsNothing`: only estimates.
  func comparison(
    to sink: any PackSink, readsNothing: Bool = false, _ reporter: any Reporter, _ progress: Progress
  ) throws(Failure) -> Comparison {
    let places = AbsentPlaces(lister, gone: options.gone, point: previous?.before, reporter: reporter)
    let finder = (isFull || !run.usesMoves ? nil : previous).map { previous in
      MoveFinder(
        root: root, walk: { [lister] in Walk(lister, threads: processorCount(), beside: $0) },
        point: previous.before.tree, spill: task.spill, progress: progress, places: places)
    }
    return Comparison(
      walk: Walk(lister, threads: processorCount()), old: try previous?.before.tree(), lister: lister, to: sink,
      ComparisonOptions(
        isFull: isFull, readsContents: options.readsContents, readsNothing: readsNothing,
        storesMetadata: options.storesMetadata, window: options.modifyWindow),
      reader: reader, finder: finder, places: places, reporter: reporter, progress: progress)
  }

  /// Every merge checks itself: the old point as it was read must be the one its set was written for.
  func check(_ digest: Digest?) throws(Failure) {
    guard let digest, let previous, digest != previous.foot.point else { return }
    throw .damaged("the manifests up to \(previous.set.text) do not add up to the point it was written for")
  }

  /// A differential set is none where something could not be looked at.
  func missesSomething(_ summary: BackupSummary, _ comparison: Comparison) -> Bool {
    kind == .differential && (summary.counts.unseen > 0 || comparison.sawUnseen)
  }

  /// A dry run: says what a set would hold.
  private func tell(_ summary: BackupSummary) throws(Failure) -> Outcome {
    var summary = summary
    let sink = DryRunSink(task.reporter)
    let comparison = try comparison(to: sink, task.reporter, task.progress)
    try check(try comparison.run())
    summary.add(comparison)
    summary.add(sink.counts, unchanged: sink.unchanged, moved: 0)
    summary.bytesRead = sink.bytes
    return missesSomething(summary, comparison) ? .unseen : .done(summary)
  }
}

extension BackupSummary {
  /// What the comparison told apart by itself, without anything being read.
  mutating func add(_ comparison: Comparison) {
    add(comparison.counts, unchanged: comparison.unchanged, moved: comparison.moved)
    excluded = comparison.excluded
    newlyLeftOut = comparison.newlyLeftOut
    fileSystemsLeftOut = comparison.fileSystemsLeftOut
  }

  mutating func add(_ counts: SetFoot.Counts, unchanged: Int64, moved: Int64) {
    self.counts = self.counts + counts
    self.unchanged += unchanged
    self.moved += moved
  }
}
