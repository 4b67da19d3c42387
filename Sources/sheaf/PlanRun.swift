/// One run of a plan: before, backup, prune, check, prove, copy, report, after, on-failure, tell.
import Plan
import Posix
import SheafCore

/// What is left out of a run.
enum PlanStep: String, CaseIterable {
  case hooks, prune, check, prove, copy, report, tell
}

struct PlanRun {
  let plan: Plan
  let stores: FoundStores
  let overrides: RunOverrides
  let skipped: Set<PlanStep>
  let isDryRun: Bool
  let acceptsSpike: Bool
  let output: OutputOptions

  private let runner: StepRunner
  private var record: PlanRecord
  private(set) var steps: [StepResult] = []
  private let began = Timestamp.now()
  private let start = Timestamp.monotonicNanoseconds()
  /// Where the store is; empty: that is not known.
  private var store = Bytes()
  private var point: String?
  /// Of the series that was saved into.
  private var series: SeriesRecord?
  /// Why there was nothing to do.
  private(set) var wasSkipped = false

  init(
    _ plan: Plan, _ stores: FoundStores, _ overrides: RunOverrides, skipping skipped: Set<PlanStep>, dryRun: Bool,
    acceptsSpike: Bool, _ output: OutputOptions
  ) {
    (self.plan, self.stores, self.overrides, self.skipped) = (plan, stores, overrides, skipped)
    (isDryRun, self.acceptsSpike, self.output) = (dryRun, acceptsSpike, output)
    runner = StepRunner(output: output)
    record = PlanRecord.read(plan.name)
  }

  /// The worst of the steps'.
  var status: Status { Status.worst(steps.map(\.status)) }

  /// Runs the steps, and gives the exit code.
  mutating func run() throws -> Status {
    let lock = try PlanRecord.lock(plan.name)
    defer { withExtendedLifetime(lock) {} }
    let before = record
    if !isDryRun {
      record.first = record.first ?? began
      record.began = began
      record.exit = nil
      // A full disk here is no reason to save nothing there; at the end it is said.
      try? record.write(plan.name)
    }
    let mayGoOn = hooks("before", plan.hooks.before)
    if mayGoOn { save() }
    // They clear up what `before` made, whatever came of it.
    _ = hooks("after", plan.hooks.after, isLast: true)
    if status != .success { _ = hooks("on-failure", plan.hooks.onFailure, isLast: true) }
    if !isDryRun {
      tell()
      if status == .success, wasSkipped {
        // How the last run that saved something ended is still to be seen.
        (record.began, record.ended, record.exit) = (before.began, before.ended, before.exit)
        record.skipped = began
      } else {
        (record.ended, record.exit, record.skipped) = (.now(), status.rawValue, nil)
      }
      if status == .success, !wasSkipped { record.good = began }
      do { try record.write(plan.name) } catch {
        Console.shared.warning("plan '\(plan.name)': this run cannot be remembered: \(error.message)")
        add("record", .incomplete, error.message)
      }
    }
    return status
  }

  private mutating func add(_ step: StepResult) {
    steps.append(step)
    PlanReport.show(step, plan.name, output)
  }

  private mutating func add(_ name: String, _ status: Status, _ words: String) {
    add(StepResult(name: name, status: status, words: words))
  }

  private var goesOn: Bool { Interruption.progress.goesOn }

  // MARK: - Steps

  private mutating func save() {
    guard findStore() else { return }
    let line = PlanLine(plan, at: store, overrides)
    var backup = runner.command("backup", line.backup(dryRun: isDryRun))
    if backup.words.isEmpty, let summary = backup.summary {
      backup.words = PlanReport.backup(summary, backup.rotting, isDryRun: isDryRun)
    }
    point = backup.summary?.word("set")
    add(backup)
    guard [.success, .incomplete].contains(backup.status), let summary = backup.summary else { return }
    // Before the first point there is nothing to ask the rules about.
    let isFirst = isDryRun && summary.word("kind") == "full"
    if let uuid = summary.word("uuid") {
      series = SeriesRecord(uuid: uuid, series: line.series)
      record.series[uuid] = line.series
    }
    if mindSpike(summary, line), !isFirst, !skipped.contains(.prune), goesOn { prune(line, summary) }
    guard !isDryRun else { return }
    if !skipped.contains(.check), goesOn { check(line) }
    if !skipped.contains(.prove), goesOn { prove(line, summary) }
    if !skipped.contains(.copy) { for copy in plan.copies where goesOn { self.copy(copy, line) } }
    if plan.writesPage, !skipped.contains(.report), goesOn {
      var step = runner.command("report", line.report())
      if step.words.isEmpty, let summary = step.summary { step.words = PlanReport.page(summary) }
      add(step)
    }
  }

  private mutating func prune(_ line: PlanLine, _ backup: SummaryLine) {
    // A host that cannot read its own backups thins them out all the same.
    let canFold = !backup.isFalse("can_read_contents")
    guard let words = line.prune(canFold: canFold, dryRun: isDryRun) else { return }
    var prune = runner.command("prune", words)
    if prune.words.isEmpty, let summary = prune.summary {
      prune.words = PlanReport.prune(summary, isDryRun)
      if plan.folds, !canFold { prune.words += "; nothing is folded: the key here cannot read contents" }
    }
    add(prune)
  }

  /// False where it is not there.
  private mutating func findStore() -> Bool {
    let place: FoundStores.Place
    var isGiven = false
    if let given = overrides.store, let text = given.first?.split(separator: "=", maxSplits: 1).last {
      store = Arguments.unescape(String(text))
      place = StoreLocation.isRemote(store) || FoundStores.isStore(store) ? .at(store) : .away(store)
      isGiven = true
    } else {
      do throws(PlanMistake) { place = try stores.place(plan.store) } catch {
        add("store", .usage, error.message)
        return false
      }
    }
    store = place.text
    guard case .away(let path) = place else { return true }
    let words = "there is no store at \(Show.path(path))"
    // What somebody names is meant to be there, and what never was may be a slip of the pen.
    let isNew = !isGiven && stores.seen(place) == nil
    if plan.skipsMissing, !isGiven, !isNew {
      wasSkipped = true
      add("store", .success, "\(words): skipped")
    } else {
      let hint = "is the drive plugged in and mounted?"
      let make = "this machine has never seen it: 'sheaf init -s \(Show.word(path))' makes a store"
      Console.shared.error("plan '\(plan.name)': \(words)", hint: isNew ? make : hint)
      add("store", .noStore, words)
    }
    return false
  }

  /// Of small trees no half is taken for a catastrophe.
  private static let fewEntries: Int64 = 20

  /// Whether points may be removed. What deletes or rewrites half of everything may be an accident or an attack, which
  /// must not push out the points from before it; so it has to be accepted once.
  private mutating func mindSpike(_ summary: SummaryLine, _ line: PlanLine) -> Bool {
    guard !plan.keep.isEmpty, plan.spike > 0 else { return true }
    let newest = summary.word("set").flatMap { SetName($0)?.point } ?? summary.word("compared_with")
    if acceptsSpike { series?.spike = nil }
    let isNew = !acceptsSpike && series?.spike == nil && isSpike(summary, line)
    if isDryRun { return foretell(isNew) }
    if isNew { series?.spike = newest }
    if series?.spike == nil { series?.judged = newest }
    // A run that is ended from here on has told the next one.
    do { try series?.write() } catch {
      let words = "nothing is pruned: what changed cannot be remembered: \(error.message)"
      Console.shared.warning("plan '\(plan.name)': \(words)")
      add("prune", .incomplete, words)
      return false
    }
    guard let spike = series?.spike else { return true }
    tellOfSpike(spike)
    return false
  }

  /// What a run that is not dry would say. `isNew`: it would see the spike itself.
  private mutating func foretell(_ isNew: Bool) -> Bool {
    if isNew {
      add("prune", .success, "would remove nothing: \(plan.spike) % or more of all entries are changed or gone")
    } else if let spike = series?.spike {
      add("prune", .success, "would remove nothing since \(spike), before that is accepted")
    } else {
      return true
    }
    return false
  }

  /// How much is changed and gone since the last point that was judged: runs that were killed, and those of other plans and
  /// of people, may have come between.
  private func isSpike(_ summary: SummaryLine, _ line: PlanLine) -> Bool {
    var gone = summary.number("files_deleted") + summary.number("files_changed")
    let kept = summary.number("files_unchanged") + summary.number("files_moved")
    var before = gone + kept
    if let judged = series?.judged, judged != summary.word("compared_with"), !isDryRun,
      let since = runner.command("diff", line.diff(since: judged), isSilent: true).summary,
      since.word("type") == "summary"
    {
      gone = since.number("removed") + since.number("changed")
      before = kept + summary.number("files_changed") + summary.number("files_new") - since.number("added")
      before += since.number("removed")
    }
    return before >= Self.fewEntries && gone * 100 >= before * plan.spike
  }

  private mutating func tellOfSpike(_ spike: String) {
    let words =
      "nothing is pruned since \(spike), in which \(plan.spike) % or more of all entries were changed or gone"
    Console.shared.warning("plan '\(plan.name)': \(words)")
    let look = PlanLine(plan, at: store, overrides).typed("diff") + " \(spike)~1 \(spike)"
    let accept = "run \(plan.name)\(GivenStore.config) --accept-spike"
    Console.shared.say("hint: look at it with 'sheaf \(look)'; if it is as it should be: 'sheaf \(accept)'")
    add("prune", .incomplete, words)
  }

  /// What cannot be remembered is done again the next time.
  private mutating func remember(_ time: WritableKeyPath<SeriesRecord, Timestamp?>) {
    series?[keyPath: time] = began
    try? series?.write()
  }

  private mutating func check(_ line: PlanLine) {
    guard let check = plan.check else { return }
    if let last = series?.checked, last <= began, began.seconds - last.seconds < check.every - Self.slack { return }
    var step = runner.command("check", line.verify(isQuick: check.isQuick))
    if step.words.isEmpty, let summary = step.summary { step.words = PlanReport.verify(summary) }
    if step.status == .success { remember(\.checked) }
    add(step)
  }

  private mutating func prove(_ line: PlanLine, _ backup: SummaryLine) {
    guard let share = plan.share else { return }
    guard !backup.isFalse("can_read_contents") else {
      return add("prove", .success, "left out: the key here cannot read contents")
    }
    let isDue = series?.scripted.map { began.seconds - $0.seconds >= Self.scriptAgain } ?? true
    let byScript = isDue && backup.isFalse("encrypted") && !StoreLocation.isRemote(store)
    var step = runner.command("prove", line.prove(share, byScript: byScript))
    if step.words.isEmpty, let summary = step.summary { step.words = PlanReport.prove(summary) }
    if byScript, step.status == .success { remember(\.scripted) }
    add(step)
  }

  /// Seconds after which the store's own script is tried once more.
  private static let scriptAgain: Int64 = 30 * 86400 - slack
  /// Seconds by which a run may begin earlier than the one before it did, and still count as a day or a week later.
  private static let slack: Int64 = 3600

  private mutating func copy(_ copy: PlanCopy, _ line: PlanLine) {
    let place: FoundStores.Place
    do throws(PlanMistake) { place = try stores.place(copy.store) } catch {
      return add("copy", .usage, error.message)
    }
    guard case .at(let target) = place else {
      let words = "there is no store at \(Show.path(place.text))"
      if copy.skipsMissing { return add("copy", .success, "\(words): skipped") }
      Console.shared.error("plan '\(plan.name)': cannot copy: \(words)")
      return add("copy", .noStore, words)
    }
    var step = runner.command("copy", line.copy(to: target, copy.store))
    if step.words.isEmpty, let summary = step.summary { step.words = PlanReport.copy(summary, target) }
    add(step)
  }

  // MARK: - Hooks

  /// False where one failed: the next ones are not run.
  private mutating func hooks(_ name: String, _ commands: [Setting], isLast: Bool = false) -> Bool {
    guard !skipped.contains(.hooks) else { return true }
    for command in commands {
      if isDryRun {
        add(name, .success, "would run: \(Show.path(command.word))")
        continue
      }
      var step = runner.hook(name, command.word, atMost: plan.hooks.timeLimit, environment, isLast: isLast)
      step.words = step.words.isEmpty ? PlanReport.word(step.status) : step.words
      if step.status != .success {
        Console.shared.error("plan '\(plan.name)': the hook '\(name)' \(step.words): \(Show.path(command.word))")
      }
      add(step)
      if step.status != .success { return false }
    }
    return true
  }

  /// What hooks and commands that are told know.
  private var environment: [(name: Bytes, value: Bytes)] {
    var all = [
      (Bytes("SHEAF_PLAN"), Bytes(plan.name.utf8)),
      (Bytes("SHEAF_SERIES"), PlanLine(plan, at: store, overrides).series),
      (Bytes("SHEAF_EXIT"), Bytes("\(status.rawValue)".utf8)),
      (Bytes("SHEAF_POINT"), Bytes((point ?? "").utf8)),
    ]
    let place = store.isEmpty ? (try? stores.place(plan.store).text) ?? [] : store
    all.append((Bytes("SHEAF_STORE"), place))
    return all.map { (name: $0.0, value: $0.1) }
  }

  // MARK: - Telling

  private mutating func tell() {
    guard let telling = plan.telling, !skipped.contains(.tell) else { return }
    let silence = silences(telling)
    let isBad = status != .success || steps.contains { $0.rotting > 0 }
    let isOften = record.toldOfSilence.map { began.seconds - $0.seconds < Self.silenceAgain } ?? false
    let message = PlanMessage(
      plan: plan.name, status: status, steps: steps, silences: silence,
      elapsed: Timestamp.monotonicNanoseconds() - start)
    let teller = Teller(telling: telling, runner: runner, environment: environment)
    var results: [StepResult] = []
    if isBad || telling.isAlways || !silence.isEmpty && !isOften {
      results = teller.tell(message)
      if !silence.isEmpty { record.toldOfSilence = began }
    }
    // Who waits for a sign of life hears of what is good as well; of what was skipped there is nothing to hear.
    if telling.url != nil, !wasSkipped || isBad { results.append(teller.fetch(message)) }
    for result in results where result.status != .success {
      Console.shared.warning("plan '\(plan.name)': cannot tell: \(result.name) \(result.words)")
      var failed = result
      failed.status = .incomplete
      add(failed)
    }
  }

  /// Seconds until the same silence is told again.
  private static let silenceAgain: Int64 = 86400 - 3600

  /// Of what nothing has been heard for too long.
  private func silences(_ telling: PlanTelling) -> [String] {
    guard let limit = telling.silence else { return [] }
    var lines: [String] = []
    let isGood = status == .success && !wasSkipped
    if !isGood, let last = record.good ?? record.first, began.seconds - last.seconds >= limit {
      lines.append(
        record.good == nil
          ? "no run has ended well yet, since \(Words.time(last))" : "no run has ended well since \(Words.time(last))")
    }
    for store in [plan.store] + plan.copies.map(\.store) {
      guard let place = try? stores.place(store), case .away(let path) = place, let seen = stores.seen(place),
        began.seconds - seen.seconds >= limit
      else { continue }
      lines.append("the store at \(Show.path(path)) has not been seen since \(Words.time(seen))")
    }
    return lines
  }
}
