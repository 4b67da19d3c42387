/// One run: compares the sources with the newest point and writes a set.
import Posix
import Storage
import Tar

public struct Backup {
  let store: Store
  let options: BackupOptions
  let reporter: any Reporter
  let progress: Progress
  let clock: @Sendable () -> Timestamp
  let known: KnownStores?
  let spillDirectory: Bytes

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
    try known?.checkStillEncrypted(store)
    let name = options.series ?? Self.seriesName(Host.name())
    guard Series.isName(name) else {
      throw Failure(.usage, "'\(Show.path(name))' cannot be a series' name", hint: Series.nameHint)
    }
    let isNew = try stored { () throws(StoreError) in try !store.folder.names().contains(name) }
    if isNew {
      try checkNew(name)
      // Nothing may be written, so there is no directory to lock.
      if options.isDryRun {
        let rules = options.exclusions ?? ExclusionRules()
        return try run(nil, nil, name, rules).write().telling(ofIdle: rules)
      }
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
    if !options.isDryRun { try prepare(series) }
    try SourceCheck(options).check(series, known)
    let (rules, areNew) = try exclusions(of: series, since: before?.exclusions)
    let summary = try save(to: series, lock, rules, isNew: isNew)
    return areNew ? summary.telling(ofIdle: rules) : summary
  }

  private func checkNew(_ name: Bytes) throws(Failure) {
    if options.sources.isEmpty, options.streams.isEmpty {
      let others = (try? store.seriesNames()) ?? []
      let goOn = others.prefix(3).map { "--series \(Show.word($0))" }.joined(separator: " or ")
      throw Failure(
        .usage, "nothing to back up: the series '\(Show.path(name))' is new and remembers no sources",
        hint: others.isEmpty ? "name a SOURCE" : "name a SOURCE, or go on with a series that is there: \(goOn)")
    }
    try SourceCheck(options).check(remembered: [])
    tellOfSharedDisk(remembered: [])
  }

  /// Brings what earlier runs left in order.
  func prepare(_ series: Series) throws(Failure) {
    if store.mendAccess(of: series) {
      let who = store.isShared ? "its owner and its group" : "its owner alone"
      reporter.note("every user of this machine could read the series '\(Show.path(series.name))': now \(who) can")
    }
    try series.finishRemovals()
    if options.discardsInterrupted { try series.removeLeftovers() } else { try takeOver(series, progress) }
    try store.refreshHelpers()
  }

  private func run(
    _ series: Series?, _ lock: SeriesLock?, _ name: Bytes, _ exclusions: ExclusionRules
  ) throws(Failure) -> BackupRun {
    let streams = try takeStreams(remembered: series?.newestHead()?.streams ?? [])
    let place = store.folder.directory.map { ($0.device, $0.inode) }
    return BackupRun(
      task: self, series: series, lock: lock, name: name, host: Host.name(),
      rules: WalkRules(exclusions: exclusions, store: place), streams: streams)
  }

  private func save(
    to series: Series, _ lock: SeriesLock?, _ exclusions: ExclusionRules, isNew: Bool
  ) throws(Failure) -> BackupSummary {
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
    let run = try run(series, lock, series.name, exclusions)
    guard let newest else {
      if options.isDifferential { reporter.note("a full set is written, because there is none yet to build on") }
      summary = try run.write()
      return summary!
    }
    if let head = last {
      if let why = try encryptionReason(series, newest), reason == nil { reason = why }
      if !isNew { tellOfSharedDisk(remembered: head.sources) }
    }
    tellOfDamage(series, newest, builds: reason == nil)
    summary = try build(run, on: newest, in: series, fullBecause: reason)
    return summary!
  }

  private func build(
    _ run: BackupRun, on newest: SetName, in series: Series, fullBecause reason: String?
  ) throws(Failure) -> BackupSummary {
    do throws(Failure) {
      let previous = try PreviousPoint(newest, in: series)
      if options.isDifferential, reason == nil, let summary = try differential(run) { return summary }
      return try run.write(after: previous, fullBecause: reason)
    } catch {
      guard error.kind == .damaged else { throw error }
      reporter.problem("the chain is damaged: \(error.message); a full set is written", path: nil)
      return try run.write(fullBecause: "the chain is damaged")
    }
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
    let hint = "'sheaf rebuild -s STORE' makes a manifest again out of its archive"
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

  func takeOver(_ series: Series, _ progress: Progress) throws(Failure) {
    let task = TakeOver(series: series, reporter: reporter, progress: progress, spillDirectory: spillDirectory)
    guard let kept = try task.run() else { return }
    reporter.tookOver(kept)
  }

  /// nil if something could not be looked at: its last good copy may lie in a set that a differential set skips.
  private func differential(_ usual: BackupRun) throws(Failure) -> BackupSummary? {
    guard let series = usual.series, let full = try series.sets().last(where: { $0.kind == .full }) else { return nil }
    let held = HeldReport(for: reporter)
    let task = Backup(
      to: store, options, known: known, spillDirectory: spillDirectory, reporter: held, progress: progress, clock: clock
    )
    var run = usual
    run.task = task
    guard let summary = try run.attempt(.differential, after: try PreviousPoint(full, in: series), fullBecause: nil)
    else {
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
        "this run builds on \(set.text), where 'sheaf verify' found damage on \(day); 'sheaf backup -s STORE --full' begins a sound chain",
        path: nil)
    } else {
      reporter.note("'sheaf verify' found damage in older sets on \(day): see 'sheaf points -s STORE'")
    }
  }

  /// What the options say, or what the series remembers where there are none. What is remembered is as the newest run
  /// had it: options that are given again, in a timetable that was edited, mean what they say, and a run that did not
  /// start over them would save nothing at all.
  /// `before`: as it was before an interrupted run was taken over.
  /// `areNew`: somebody gave them, and the run before had others.
  private func exclusions(of series: Series, since before: [Bytes]?) throws(Failure) -> (
    rules: ExclusionRules, areNew: Bool
  ) {
    let remembered = try series.newestHead()?.exclusions
    let rules = options.exclusions ?? ExclusionRules(lines: remembered ?? [])
    let known = before ?? self.known?.lists(of: series).saved.exclusions ?? remembered
    let difference = known.flatMap { rules.difference(from: ExclusionRules(lines: $0)) }
    if let difference { reporter.note(difference) }
    for line in rules.unknown {
      reporter.problem(
        "what the series remembers to leave out cannot be understood: \(Show.path(line)) "
          + "(--change-excludes forgets it)", path: nil)
    }
    return (rules, options.exclusions != nil && (known == nil || difference != nil))
  }

  var spill: Descriptor? { try? Descriptor.open(spillDirectory, [.read, .directory]) }
}

extension BackupSummary {
  fileprivate func telling(ofIdle rules: ExclusionRules) -> Self {
    var summary = self
    summary.idlePatterns = rules.unusedPatterns
    return summary
  }
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
  /// What was saved last; none where no set tells.
  public func newestSources() throws(Failure) -> [Bytes] { try newestHead()?.sources ?? [] }

  /// The head of the newest set whose head can be read.
  func newestHead() throws(Failure) -> SetHead? {
    for set in try sets().reversed() { if let head = try? head(set) { return head } }
    return nil
  }
}
