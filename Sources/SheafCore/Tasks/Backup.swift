/// One run: compares the sources with the newest point and writes a set.
import Posix
import Storage
import Tar

public struct BackupOptions: Sendable {
  /// Absolute paths without the leading slash; empty: those the series remembers.
  public var sources: [Bytes] = []
  /// Of the sources, those that are read from another place.
  public var mappings: [SourceMapping] = []
  /// Files that are made of what commands or standard input give.
  public var streams: [StreamSource] = []
  /// Where these lie until their ends are known.
  public var spoolDirectory = Bytes("/var/tmp")
  public var changesSources = false
  /// Go on with a series that another machine made.
  public var takesOver = false
  /// Sources that are named for the first time may be missing.
  public var allowsMissing = false
  /// Paths, written as the sources are, whose contents are deleted and not only unmounted.
  public var gone: [Bytes] = []
  public var isFull = false
  /// Seconds, after which a new chain is begun.
  public var fullEvery: Int64?
  /// Build on the last full set; only where everything can be looked at.
  public var isDifferential = false
  public var series: Bytes?
  /// What is left out; nil: what the series remembers.
  public var exclusions: ExclusionRules?
  public var readsContents = false
  /// Store a file also where only its metadata changed, so that tar alone has it right.
  public var storesMetadata = false
  public var level = 1
  public var comment: Bytes = []
  public var skipsUnchanged = false
  public var isDryRun = false
  /// Bytes of one volume of the archive; nil: one volume, or what the file system takes.
  public var volumeSize: Int64?
  /// Bytes that stay free on the drive.
  public var keepFree: Int64 = 0
  /// Read what was written once more before it counts.
  /// nil: where the store does not see to it itself that all arrives.
  public var rereads: Bool?
  /// Other places where volumes of earlier sets may lie.
  public var volumeDirectories: [Bytes] = []
  /// Throw away what an interrupted run left, instead of taking it over.
  public var discardsInterrupted = false

  public init() {}
}

public struct BackupSummary: Sendable {
  /// nil: a dry run, or nothing had changed and none was wanted.
  public var set: SetName?
  public var kind: SetKind
  public var parent: String?
  public var series: Bytes
  public var sources: [Bytes]
  public var counts = SetFoot.Counts()
  public var unchanged: Int64 = 0
  /// What lies under another path than before and was not stored again.
  public var moved: Int64 = 0
  public var excluded = 0
  /// Of what the set counts as deleted: it is still there, and the exclusions leave it out now.
  public var newlyLeftOut: Int64 = 0
  /// Mount points whose file systems were left out.
  public var fileSystemsLeftOut = 0
  /// The options that say what is left out.
  public var exclusions: [Bytes] = []
  /// Patterns that were given for this run and left nothing out.
  public var idlePatterns: [Bytes] = []
  /// What was given as gone for good and is nothing that the point before has.
  public var idleGone: [Bytes] = []
  public var bytesRead: Int64 = 0
  public var bytesWritten: Int64 = 0
  /// The sources that are not there.
  public var missing: [Bytes] = []
  /// Why a full set was written where an incremental one was to be expected.
  public var fullBecause: String?
}

public struct Backup {
  let store: Store
  let options: BackupOptions
  let reporter: any Reporter
  let progress: Progress
  let clock: @Sendable () -> Timestamp
  let known: KnownStores?
  fileprivate let spillDirectory: Bytes

  /// `known`: what this machine remembers; nil: nothing is to be remembered. `spillDirectory`: where a file without a name
  /// may be made for what was moved.
  public init(
    to store: Store, _ options: BackupOptions, known: KnownStores?, spillDirectory: Bytes, reporter: any Reporter,
    progress: Progress,
    clock: @escaping @Sendable () -> Timestamp
  ) {
    self.store = store
    self.options = options
    self.spillDirectory = spillDirectory
    self.reporter = reporter
    self.progress = progress
    self.clock = clock
    self.known = known
  }

  /// Writes a set and gives what it came to. What could not be saved was told to the reporter.
  public func run() throws(Failure) -> BackupSummary {
    var summary = try save()
    summary.idlePatterns = options.exclusions?.unusedPatterns ?? []
    return summary
  }

  private func save() throws(Failure) -> BackupSummary {
    try known?.checkStillEncrypted(store)
    let host = Host.name()
    let name = options.series ?? Self.seriesName(host)
    guard Series.isName(name) else {
      throw Failure(.usage, "'\(Show.path(name))' cannot be a series' name", hint: Series.nameHint)
    }
    let isNew = try stored { () throws(StoreError) in try !store.folder.names().contains(name) }
    if isNew, options.sources.isEmpty, options.streams.isEmpty {
      throw Failure(
        .usage, "nothing to back up: the series '\(Show.path(name))' is new and remembers no sources",
        hint: "name a SOURCE")
    }
    if isNew {
      try SourceCheck(options).check(remembered: [])
      tellOfSharedDisk(remembered: [])
    }
    if isNew, options.isDryRun {
      // Nothing may be written, so there is no directory to lock.
      let rules = walkRules(options.exclusions ?? ExclusionRules())
      let run = Run(
        self, series: nil, lock: nil, name: name, host: host, rules: rules, streams: try takeStreams(remembered: []))
      return try run.write(after: nil, fullBecause: nil)
    }
    if !options.isDryRun { store.readHelpersAhead() }
    let series = try Series.create(name, in: store)
    series.folder.askForSpace()
    for path in options.volumeDirectories { try series.add(volumeDirectory: path) }
    // A dry run needs no lock: it writes nothing, and the store may be read-only.
    let lock = options.isDryRun ? nil : try SeriesLock(series)
    if options.isDryRun { series.holdSets() }
    defer { lock?.release() }
    // What a run that was killed was told is news to whoever takes it over.
    let before = try? series.newestHead()
    if !options.isDryRun {
      if store.mendAccess(of: series) {
        reporter.note(
          "every user of this machine could read the series '\(Show.path(name))': now \(store.isShared ? "its owner and its group" : "its owner alone") can"
        )
      }
      try series.finishRemovals()
      if options.discardsInterrupted { try series.removeLeftovers() } else { try takeOver(series, progress) }
      try store.refreshHelpers()
    }
    try SourceCheck(options).check(series, known)
    let rules = try walkRules(exclusions(of: series, since: before?.exclusions))
    var reason = options.isFull ? "asked for" : nil
    let state = known?.state(of: series) ?? .asKnown
    let newest = try series.sets().last
    if state == .asKnown || newest == nil { try tellOfLostManifests(series, newest) }
    switch state {
    case .asKnown: break
    case .older(let words): reporter.note("\(words); \(KnownStores.copyHint(store))")
    case .contradicted(let words):
      reporter.problem("\(words); a full set is written", path: nil)
      reason = "the store is not as it was left"
    }
    var summary: BackupSummary?
    // An alarm is remembered until a set was written in answer to it.
    defer {
      if let set = summary?.set { series.noteDamage(touching: set, known) }
      if !options.isDryRun, state == .asKnown || summary?.set != nil { remember(series, since: newest) }
    }
    let last = newest.flatMap { try? series.head($0) }
    if let last {
      try checkMachine(last)
      if let why = try sourcesReason(last), reason == nil { reason = why }
    }
    if reason == nil, let newest { reason = try ageReason(series, newest) }
    let streams = try takeStreams(remembered: series.newestHead()?.streams ?? [])
    let run = Run(self, series: series, lock: lock, name: name, host: host, rules: rules, streams: streams)
    guard let newest else {
      if options.isDifferential { reporter.note("a full set is written, because there is none yet to build on") }
      summary = try run.write(after: nil, fullBecause: nil)
      return summary!
    }
    if let head = last {
      if let why = try encryptionReason(series, newest), reason == nil { reason = why }
      if !isNew { tellOfSharedDisk(remembered: head.sources) }
    }
    tellOfDamage(series, newest, builds: reason == nil)
    do throws(Failure) {
      let previous = try Previous(newest, in: series)
      if options.isDifferential, reason == nil { summary = try differential(run) }
      if summary == nil { summary = try run.write(after: previous, fullBecause: reason) }
    } catch {
      guard error.kind == .damaged else { throw error }
      reporter.problem("the chain is damaged: \(error.message); a full set is written", path: nil)
      summary = try run.write(after: nil, fullBecause: "the chain is damaged")
    }
    return summary!
  }

  /// Said once, when sources are named.
  private func tellOfSharedDisk(remembered: [Bytes]) {
    let beside = SourceCheck(options).besideStore(store, remembered: remembered)
    // A store in its own source is told of by the walk.
    guard let first = beside.first else { return }
    let more = beside.count > 1 ? " and \(beside.count - 1) more" : ""
    reporter.note(
      "the store lies on the same file system as the source \(Show.path([47] + first))\(more): "
        + "if that disk fails, the backups are lost with it")
  }

  /// Archives that are newer than the newest point, if there is one, hold points that this run knows nothing of.
  private func tellOfLostManifests(_ series: Series, _ newest: SetName?) throws(Failure) {
    let lost = try series.withoutManifest().filter { set in newest.map { $0 < set } ?? true }
    guard let last = lost.last else { return }
    let what =
      lost.count == 1
      ? "\(last.text) has no manifest, so it is no point"
      : "\(lost.count) archives up to \(last.text) have no manifests"
    let hint = "'sheaf rebuild' makes a manifest again out of its archive"
    if newest == nil, options.sources.isEmpty { throw Failure(.damaged, what, hint: hint) }
    reporter.problem("\(what): \(hint)", path: nil)
  }

  /// `before`: the newest set when the run began, as no other writes meanwhile.
  private func remember(_ series: Series, since before: SetName?) {
    do throws(Failure) {
      let newest = try series.sets().last
      try known?.remember(series, now: clock(), saved: newest == before ? nil : newest.map(series.head))
    } catch {
      reporter.note("what is on this drive could not be remembered here: \(error.message)")
    }
  }

  fileprivate func takeOver(_ series: Series, _ progress: Progress) throws(Failure) {
    let task = TakeOver(series: series, reporter: reporter, progress: progress, spillDirectory: spillDirectory)
    guard let kept = try task.run() else { return }
    reporter.tookOver(kept)
  }

  /// nil if something could not be looked at: its last good copy may lie in a set that a differential set skips.
  private func differential(_ usual: Run) throws(Failure) -> BackupSummary? {
    guard let series = usual.series, let full = try series.sets().last(where: { $0.kind == .full }) else { return nil }
    let held = HeldReport(for: reporter)
    let task = Backup(
      to: store, options, known: known, spillDirectory: spillDirectory, reporter: held, progress: progress, clock: clock
    )
    let run = Run(
      task, series: series, lock: usual.lock, name: usual.name, host: usual.host, rules: usual.rules,
      streams: usual.streams)
    guard let summary = try run.attempt(.differential, after: try Previous(full, in: series), fullBecause: nil) else {
      reporter.note("an incremental set is written, because something could not be looked at")
      return nil
    }
    held.tell()
    return summary
  }

  /// Reads the streams to their ends, once for all attempts. `remembered`: those of the newest point.
  private func takeStreams(remembered: [Bytes]) throws(Failure) -> [Bytes: StreamTable.State] {
    var streams: [Bytes: StreamTable.State] = [:]
    let taker = StreamTaker(
      spool: StreamSpool(in: options.spoolDirectory), level: options.level, reporter: reporter, progress: progress,
      clock: clock)
    let given = Set(options.streams.map(\.path))
    let missing = remembered.filter { path in
      !given.contains(path) && !options.gone.contains { path.isAtOrBelow($0) }
    }
    if options.sources.isEmpty, given.isEmpty, !missing.isEmpty, try sourcesRemembered().isEmpty {
      throw Failure(
        .usage, "nothing to back up: the series remembers no sources, only what commands or standard input gave",
        hint: "give it with --command or --stdin-name, as before")
    }
    for path in missing where streams.updateValue(.notGiven, forKey: path) == nil {
      reporter.problem(
        "is what a command or standard input gave, and this run has neither for it: what was saved last is kept "
          + "(if it is gone for good: --gone \(Show.word([47] + path)))", path: path)
    }
    if options.isDryRun, !options.streams.isEmpty { reporter.note("no command is run, and standard input is not read") }
    for source in options.streams {
      streams[source.path] =
        options.isDryRun ? .lost : try taker.take(source).map { StreamTable.State.taken($0) } ?? .lost
    }
    return streams
  }

  private func sourcesRemembered() throws(Failure) -> [Bytes] {
    let name = options.series ?? Self.seriesName(Host.name())
    return try Series.create(name, in: store).newestHead()?.sources ?? []
  }

  /// The host's name, made fit for a directory's.
  public static func seriesName(_ host: Bytes) -> Bytes {
    let name = Bytes(host.prefix { $0 != UInt8(ascii: ".") })
    return Series.isName(name) ? name : Bytes("host")
  }

  /// Damage that verify found and that is not mended. A run that builds on it says so, and does not end with 0.
  private func tellOfDamage(_ series: Series, _ newest: SetName, builds: Bool) {
    let note = series.damageNote(known)
    guard let found = note.found else { return }
    let day = PointName.text(found).prefix(10)
    let chain = Set((try? series.chain(of: newest)) ?? [])
    if builds, let set = note.findings.map(\.set).first(where: chain.contains) {
      reporter.problem(
        "this run builds on \(set.text), where 'sheaf verify' found damage on \(day); 'sheaf backup --full' begins a sound chain",
        path: nil)
    } else {
      reporter.note("'sheaf verify' found damage in older sets on \(day): see 'sheaf points'")
    }
  }

  /// Where the newest chain has become too long for what the user wants.
  private func ageReason(_ series: Series, _ newest: SetName) throws(Failure) -> String? {
    guard let every = options.fullEvery, let full = try? series.chain(of: newest).last else { return nil }
    let age = clock().seconds.subtracting(saturating: try series.head(full).started.seconds)
    return age >= every ? "the last one is \(age / 86400) days old" : nil
  }

  /// In a store that was not encrypted before, the first set that is stands by itself; the others go on being read.
  private func encryptionReason(_ series: Series, _ newest: SetName) throws(Failure) -> String? {
    guard let last = try series.plainSets().last else { return nil }
    reporter.note("the sets up to \(last.text) are not encrypted; 'sheaf prune' can remove them in time")
    return last == newest ? "the store is encrypted from now on" : nil
  }

  /// Two machines with one name would count each other's files as deleted. A user who names the series knows which is meant.
  private func checkMachine(_ head: SetHead) throws(Failure) {
    guard let here = Machine.identity, !head.machine.isEmpty, head.machine != here, !options.takesOver else { return }
    let text = "the series '\(Show.path(head.series))' was last written by another machine, \(Show.path(head.host))"
    guard options.series == nil else { return reporter.note(text) }
    throw Failure(
      .usage, text,
      hint: "use --series NAME for this machine, or --take-over where it has taken the other one's place")
  }

  /// Why another list of sources makes a full set; nil if it is the list that the series remembers.
  private func sourcesReason(_ head: SetHead) throws(Failure) -> String? {
    if options.sources.isEmpty || head.sources.isEmpty { return nil }
    let wanted = SourceTree(options.sources).sources
    if wanted == head.sources || SourceTree.tops(wanted) == SourceTree.tops(head.sources) { return nil }
    guard options.changesSources else {
      let before = head.sources.map { Show.path([47] + $0) }.joined(separator: " ")
      throw Failure(
        .usage, "the series '\(Show.path(head.series))' backs up other sources: \(before)",
        hint: "use --series NAME for another series, or --change-sources")
    }
    // A source that is added is only something new; one that is dropped leaves what no tar record can take away.
    return head.sources.allSatisfy { old in wanted.contains { old.isAtOrBelow($0) } } ? nil : "a source was dropped"
  }

  /// What the options say, or what the series remembers where there are none. What is remembered is as the newest run
  /// had it: options that are given again, in a timetable that was edited, mean what they say, and a run that did not
  /// start over them would save nothing at all.
  /// `before`: as it was before an interrupted run was taken over.
  private func exclusions(of series: Series, since before: [Bytes]?) throws(Failure) -> ExclusionRules {
    let remembered = try series.newestHead()?.exclusions
    let rules = options.exclusions ?? ExclusionRules(lines: remembered ?? [])
    let known = before ?? self.known?.lists(of: series).saved.exclusions ?? remembered
    if let known, let difference = rules.difference(from: ExclusionRules(lines: known)) { reporter.note(difference) }
    for line in rules.unknown {
      reporter.problem(
        "what the series remembers to leave out cannot be understood: \(Show.path(line)) "
          + "(--change-excludes forgets it)", path: nil)
    }
    return rules
  }

  private func walkRules(_ exclusions: ExclusionRules) -> WalkRules {
    WalkRules(exclusions: exclusions, store: store.folder.directory.map { ($0.device, $0.inode) })
  }

  fileprivate var spill: Descriptor? { try? Descriptor.open(spillDirectory, [.read, .directory]) }
}

/// The point that a run builds on.
private struct Previous {
  let set: SetName
  let head: SetHead
  let foot: SetFoot
  let chain: [SetName]
  /// A run that ended well and saw everything wrote it: nothing was taken over, folded or carried.
  var isPlain: Bool { foot.incompleteAfter == nil && foot.counts.unseen == 0 && set.number == 1 }

  init(_ set: SetName, in series: Series) throws(Failure) {
    self.set = set
    head = try series.head(set)
    foot = try series.foot(set)
    chain = try series.chain(of: set)
    // Without its archive, or with a part of it missing, nothing that builds on it can be restored.
    for set in chain {
      for volume in try series.foot(set).volumes {
        var size: Int64?
        do throws(StoreError) { size = try series.volumeSize(Bytes(volume.name.utf8)) } catch {
          // That says nothing about the archive.
          if error.isDriveFailure { throw Failure(error) }
        }
        if size != volume.storedSize {
          throw .damaged("\(volume.fileName) \(size == nil ? "is missing" : "has another size than its manifest says")")
        }
      }
    }
  }
}

/// One attempt at writing a set.
private struct Run {
  let task: Backup
  let series: Series?
  let name: Bytes
  let host: Bytes
  let rules: WalkRules
  /// Without it nothing is published.
  let lock: SeriesLock?
  let streams: [Bytes: StreamTable.State]
  /// What was moved is found, and not stored again.
  var usesMoves = true

  init(
    _ task: Backup, series: Series?, lock: SeriesLock?, name: Bytes, host: Bytes, rules: WalkRules,
    streams: [Bytes: StreamTable.State]
  ) {
    self.streams = streams
    self.task = task
    self.series = series
    self.lock = lock
    self.name = name
    self.host = host
    self.rules = rules
  }

  func write(after previous: Previous?, fullBecause reason: String?) throws(Failure) -> BackupSummary {
    let isFull = previous == nil || reason != nil
    return try attempt(isFull ? .full : .incremental, after: previous, fullBecause: reason)!
  }

  /// nil where a differential set was wanted and something could not be looked at; nothing is written then.
  func attempt(
    _ kind: SetKind, after previous: Previous?, fullBecause reason: String?
  ) throws(Failure) -> BackupSummary? {
    let options = task.options
    let started = task.clock()
    let known = kind == .differential ? nil : previous?.head.sources
    var wanted = options.sources
    if wanted.isEmpty { wanted = known ?? [] }
    if wanted.isEmpty, let series { wanted = try series.newestHead()?.sources ?? [] }
    let sources = SourceTree(wanted, streams: Array(streams.keys))
    guard !sources.sources.isEmpty || !streams.isEmpty || options.sources.contains([]) else {
      throw Failure(
        .usage, "nothing to back up: the series '\(Show.path(name))' has no point yet and remembers no sources",
        hint: "name a SOURCE")
    }
    let isFull = kind == .full
    if let before = previous?.head.started, started < before {
      task.reporter.note(
        "the clock was set back: it says \(PointName.text(started)), the newest point \(PointName.text(before))"
      )
    }
    let root = try system { () throws(SystemError) in try SourceRoot(options.mappings) }
    let missing = try missingSources(sources, root)
    try refuseStore(sources, root)

    var rules = rules
    rules.exclusions.sources = sources.sources
    let owners = OwnerNames()
    let reader = LargeReader(
      root: root, owners: owners, progress: task.progress, reporter: task.reporter, clock: task.clock)
    let before = previous.flatMap { previous in series.map { PointBefore(series: $0, chain: previous.chain) } }
    let table = try StreamTable(streams, mapped: root.mapped, now: started) { (path) throws(Failure) in
      try before?.entry(path)
    }
    let lister = Lister(root: root, rules: rules, sources: sources, streams: table, clock: task.clock)

    if kind == .differential, try isSomethingAway(lister) { return nil }
    var time = Timestamp(seconds: started.seconds)
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
    var head = SetHead(
      id: .random(), kind: kind, series: name, host: host, time: time, started: started,
      parent: isFull ? nil : previous.map { ($0.set.point, $0.foot.point) }, sources: sources.sources,
      exclusions: rules.exclusions.lines,
      comment: options.comment)
    head.machine = Machine.identity ?? []
    head.streams = streams.keys.sorted { $0.lexicographicallyPrecedes($1) }
    if sources.isSource([]) { head.top = try top(owners) }
    try head.checkSize()
    var summary = BackupSummary(
      kind: head.kind, parent: isFull ? nil : previous?.set.text, series: name, sources: sources.sources)
    summary.missing = missing
    for path in options.gone where !(previous?.head.streams.contains { $0.isAtOrBelow(path) } ?? false) {
      if try before?.has(path) != true { summary.idleGone.append(path) }
    }
    summary.exclusions = head.exclusions
    summary.fullBecause = previous == nil ? nil : reason

    func comparison(
      _ sink: any ComparisonSink, readsNothing: Bool = false, _ reporter: any Reporter, _ progress: Progress
    ) throws(Failure) -> Comparison {
      let places = AbsentPlaces(lister, gone: options.gone, point: before, reporter: reporter)
      let finder = (isFull || !usesMoves ? nil : previous).map { previous in
        MoveFinder(
          root: root, walk: { Walk(lister, threads: processorCount()) },
          point: { () throws(Failure) in try series!.tree(previous.chain) }, spill: task.spill, progress: progress,
          places: places)
      }
      return Comparison(
        walk: Walk(lister, threads: processorCount()),
        old: try previous.map { (previous) throws(Failure) in try series!.tree(previous.chain) }, lister: lister,
        to: sink,
        ComparisonOptions(
          isFull: isFull, readsContents: options.readsContents, readsNothing: readsNothing,
          storesMetadata: options.storesMetadata),
        reader: reader, finder: finder, places: places, reporter: reporter, progress: progress)
    }
    if options.isDryRun {
      let sink = DryRunSink(task.reporter)
      let comparison = try comparison(sink, task.reporter, task.progress)
      let digest = try comparison.run()
      try check(digest, previous)
      summary.counts = comparison.counts + sink.counts
      summary.bytesRead = sink.bytes
      summary.unchanged = comparison.unchanged + sink.unchanged
      summary.moved = comparison.moved
      summary.excluded = comparison.excluded
      summary.newlyLeftOut = comparison.newlyLeftOut
      summary.fileSystemsLeftOut = comparison.fileSystemsLeftOut
      if kind == .differential, summary.counts.unseen > 0 || comparison.sawUnseen { return nil }
      return summary
    }

    let room = Room(series!.folder, keeping: options.keepFree)
    if !isFull, let previous, previous.set.kind != .full, let warning = room.warning(before: previous.foot.storedBytes)
    {
      task.reporter.note(warning)
    }
    func estimate() throws(Failure) -> DryRunSink {
      let sink = DryRunSink(Silence())
      _ = try comparison(sink, readsNothing: true, Silence(), Progress()).run()
      return sink
    }
    if previous == nil, room.mayBeShort(of: sources, root) {
      // Everything will be read anyway, so one more walk costs little compared with a drive that fills up.
      let sink = try estimate()
      room.needed = sink.stored
      task.progress.expected.store(Int(clamping: sink.bytes), ordering: .relaxed)
    } else if isFull, let before = previous?.foot.counts.bytes {
      room.needed = before
      task.progress.expected.store(Int(clamping: before), ordering: .relaxed)
    }
    if let warning = room.warning { task.reporter.note(warning) }
    let set = SetName(point: PointName.text(time), kind: head.kind)
    let lists = RunLists(sources: head.sources, exclusions: head.exclusions)
    try? task.known?.begin(series!, lists, now: task.clock())
    let writer: SetWriter
    do throws(StoreError) {
      writer = try SetWriter(
        set, head: head, in: series!, .init(volume: options.volumeSize, free: options.keepFree))
    } catch { throw Failure(error, hint: error.kind == .full ? removable() : nil) }
    let untold = UntoldContents()
    let packers = (0..<processorCount()).map { _ in
      Packer(
        root: root, owners: owners, level: options.level, set: head.id, isFull: isFull, untold: untold,
        reporter: task.reporter, progress: task.progress, clock: task.clock)
    }
    let line = PackLine(writer, packers: packers)
    do throws(Failure) {
      let builder = JobBuilder(
        line, reader: reader, reporter: task.reporter, progress: task.progress, isFull: isFull)
      // An incremental run is judged by what it finds on its way.
      if room.needed == nil, let free = room.free {
        builder.onMuch = (free, { task.reporter.note(room.warning(met: $0)) })
      }
      let comparison = try comparison(builder, task.reporter, task.progress)
      let digest = try comparison.run()
      try builder.finish()
      try line.finish()
      try check(digest, previous)
      for file in table.files where !file.wasFound {
        task.reporter.problem("could not be put into its folder, so nothing of it is saved", path: file.path)
      }
      try task.progress.checkCancelled()
      summary.counts = comparison.counts + writer.counts
      summary.unchanged = comparison.unchanged + writer.unchanged
      summary.moved = comparison.moved + writer.moved
      summary.excluded = comparison.excluded
      summary.newlyLeftOut = comparison.newlyLeftOut
      summary.fileSystemsLeftOut = comparison.fileSystemsLeftOut
      summary.bytesRead = writer.bytesRead + reader.bytesRead
      if kind == .differential, summary.counts.unseen > 0 || comparison.sawUnseen {
        writer.discard()
        return nil
      }
      if options.skipsUnchanged, !isFull,
        summary.counts.new + summary.counts.changed + summary.counts.deleted + summary.counts.unseen + summary.moved
          == 0, head.top?.canonicalWords == previous?.head.top?.canonicalWords
      {
        writer.discard()
        return summary
      }
      task.reporter.noteInexact(comparison.inexact)
      untold.tell(task.reporter)
      if let path = writer.disorder {
        throw Failure(
          .failed, "\(Show.path([47] + path)) was found twice: the set could not be read, so nothing was saved",
          hint: "run it again")
      }
      if !comparison.unlisted.isEmpty {
        try writer.mark(
          UnlistedMarks(comparison.unlisted) { (path) throws(Failure) in
            try previous.flatMap { (previous) throws(Failure) in try series!.entry(at: path, of: previous.chain) }
          })
      }
      let foot = try stored { () throws(StoreError) in
        try writer.finish(unchangedPoint: digest, unchanged: comparison.counts)
      }
      let isPlain =
        !comparison.hasMoved && !comparison.sawUnseen && summary.counts.unseen == 0 && previous?.isPlain ?? true
      if !isPlain, try !addsUp(writer, foot, isFull ? [] : previous?.chain ?? []) {
        writer.discard()
        return try again(kind, after: previous, fullBecause: reason, hasMoved: comparison.hasMoved)
      }
      try writer.check(rereads: options.rereads)
      try lock?.confirm()
      try stored { () throws(StoreError) in try writer.publish() }
      summary.bytesWritten = foot.storedBytes
      summary.set = set
      return summary
    } catch {
      try? line.finish()
      if error.cause?.kind == .full, room.needed == nil { room.needed = try? estimate().stored }
      throw try ended(error, writer, room)
    }
  }

  /// `/` as it is.
  private func top(_ owners: OwnerNames) throws(Failure) -> Entry {
    let (status, attributes) = try system { () throws(SystemError) in
      let directory = try Descriptor.open(Bytes("/"), [.read, .directory])
      return (try directory.status(), directory.attributesOrNone())
    }
    let look = SourceLook(owners: owners, reporter: task.reporter, clock: task.clock)
    var entry = look.entry([], status)
    entry.attributes = look.within(attributes, of: [])
    return entry
  }

  /// Whether something that the newest point holds is away for the moment. A differential set passes over that point, and
  /// the full set it builds on may never have had it.
  private func isSomethingAway(_ lister: Lister) throws(Failure) -> Bool {
    guard let series, let newest = try series.sets().last else { return false }
    let chain = try series.chain(of: newest)
    let places = AbsentPlaces(
      lister, gone: task.options.gone, point: PointBefore(series: series, chain: chain), reporter: Silence())
    for source in lister.sources.sources where try places.isAway(source, nil) { return true }
    let tree = try series.tree(chain)
    while try tree.next() {
      let line = tree.line
      guard line.hasFileSystem, line.kind == .directory else { continue }
      if try places.isAway(Bytes(line.path), line.fileSystem) { return true }
    }
    return false
  }

  /// A second, safer attempt, after a set that did not give the point it was written for.
  private func again(
    _ kind: SetKind, after previous: Previous?, fullBecause reason: String?, hasMoved: Bool
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

  /// Whether the new manifest, read as everyone will read it, gives the point it was written for. What is moved by others
  /// while a run looks at it may have been seen twice, or where it was no more.
  private func addsUp(_ writer: SetWriter, _ foot: SetFoot, _ chain: [SetName]) throws(Failure) -> Bool {
    do throws(Failure) {
      let tree = try series!.tree(writer.reread(), on: chain)
      let digest = PointDigest()
      var directories = OpenDirectories()
      while try tree.next() {
        guard directories.pass(tree.line) else { return false }
        digest.add(tree.line.canonical)
      }
      return digest.finish() == foot.point
    } catch {
      guard error.kind == .damaged else { throw error }
      return false
    }
  }

  /// The failure to report for a run that ended early, after what it wrote was kept, left or thrown away.
  private func ended(_ failure: Failure, _ writer: SetWriter, _ room: Room) throws(Failure) -> Failure {
    if failure.kind == .interrupted {
      writer.abandon()
      // The run was told to stop; this last step still has to be done.
      try task.takeOver(series!, Progress())
      return Failure(.interrupted, failure.message, hint: "run it again to go on")
    }
    // After a failure to write, what is on the drive is left for the next run to judge: it may be half gone, and a drive
    // that fails is not written to.
    guard let cause = failure.cause else {
      writer.discard()
      return failure
    }
    if cause.kind == .full {
      writer.abandonFull()
      return Failure(
        .failed,
        failure.message + room.shortage(written: writer.bytesWritten, read: writer.bytesRead - writer.bytesSpared),
        hint: "what was saved so far is kept, except a file that was not finished; the next run continues there; "
          + removable(), cause: cause)
    }
    writer.leave()
    return failure
  }

  /// What removing old points would give back: the chains before the newest.
  private func removable() -> String {
    guard let series, let sets = try? series.sets(), let newest = sets.last,
      let chain = try? Set(series.chain(of: newest))
    else { return "make room on the drive" }
    let old = sets.filter { !chain.contains($0) }.map { (try? series.foot($0).storedBytes) ?? 0 }.saturatedSum
    return old > 0
      ? "older chains take \(Show.size(old)), which 'sheaf prune' gives back" : "there is no older chain to prune"
  }

  /// The store is never saved, so a source inside it is refused.
  private func refuseStore(_ sources: SourceTree, _ root: SourceRoot) throws(Failure) {
    guard let store = rules.store else { return }
    for source in sources.sources {
      let place = root.place(of: source)
      var path = place
      while !path.isEmpty {
        let status = try? root.unmapped(path, [.pathOnly, .noFollow]).status()
        if let status, status.device == store.device, status.inode == store.inode {
          let what = path == place ? "is the store itself" : "lies in the store"
          throw Failure(.usage, "the source \(Show.path([47] + source)) \(what), which is not backed up into itself")
        }
        path = path.splitAtName.parent
      }
    }
  }

  /// Throws where none is there.
  private func missingSources(_ sources: SourceTree, _ root: SourceRoot) throws(Failure) -> [Bytes] {
    let missing = sources.sources.filter { path in
      !path.isEmpty && (try? root.status(of: path)) == nil
    }
    if missing.count == sources.sources.count, !missing.isEmpty, streams.isEmpty {
      let names = missing.map { Show.path([47] + $0) }.joined(separator: ", ")
      throw Failure(
        .failed, missing.count == 1 ? "the source \(names) is not there" : "none of the sources is there: \(names)",
        hint: "is it mounted?")
    }
    return missing
  }

  /// Every merge checks itself: the old point as it was read must be the one its set was written for.
  private func check(_ digest: Digest?, _ previous: Previous?) throws(Failure) {
    guard let digest, let previous, digest != previous.foot.point else { return }
    throw .damaged("the manifests up to \(previous.set.text) do not add up to the point it was written for")
  }
}

/// Holds reports about entries back until it is known that the attempt counts.
private final class HeldReport: Reporter {
  private let reporter: any Reporter
  private let held = Monitor<[(any Reporter) -> Void]>([])

  init(for reporter: any Reporter) { self.reporter = reporter }

  func problem(_ message: String, path: Bytes?) { held.look { $0.append { $0.problem(message, path: path) } } }
  func note(_ message: String) { reporter.note(message) }
  func suspectRot(_ path: Bytes) { held.look { $0.append { $0.suspectRot(path) } } }
  func tookOver(_ kept: TakeOverSummary) { reporter.tookOver(kept) }
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) { held.look { $0.append { $0.item(mark, path, kind) } } }
  var wantsItems: Bool { reporter.wantsItems }

  func tell() { for body in held.look({ $0 }) { body(reporter) } }
}

extension SetFoot.Counts {
  static func + (a: Self, b: Self) -> Self {
    var sum = Self(
      files: a.files + b.files, directories: a.directories + b.directories, bytes: a.bytes, new: a.new + b.new,
      changed: a.changed + b.changed, deleted: a.deleted + b.deleted, unseen: a.unseen + b.unseen,
      torn: a.torn + b.torn)
    sum.bytes.add(saturating: b.bytes)
    return sum
  }
}

extension Series {
  /// The head of the newest set whose head can be read.
  func newestHead() throws(Failure) -> SetHead? {
    for set in try sets().reversed() { if let head = try? head(set) { return head } }
    return nil
  }
}
