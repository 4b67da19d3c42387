/// `sheaf prune`: takes points away by rules.
import ArgumentParser
import Posix
import SheafCore

struct PruneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Remove points that no rule keeps.",
    usage: "sheaf prune -s STORE [--keep-... N] [--fold] [-n]\n    [OPTION ...]",
    discussion: """
      Of the last N hours, days, weeks, months or years that have a point, the newest point each is kept. Without any \
      rule all points stay; only what other sets have replaced goes. See what would happen with --dry-run.
      """)

  @OptionGroup var store: StoreOptions

  @Option(help: ArgumentHelp("Keep the newest N points; N may be 'all' here and below.", valueName: "N")) var keepLast:
    KeepCount?
  @Option(help: ArgumentHelp("Keep a point of each of N hours.", valueName: "N")) var keepHourly: KeepCount?
  @Option(help: ArgumentHelp("Keep a point of each of N days.", valueName: "N")) var keepDaily: KeepCount?
  @Option(help: ArgumentHelp("Keep a point of each of N weeks.", valueName: "N")) var keepWeekly: KeepCount?
  @Option(help: ArgumentHelp("Keep a point of each of N months.", valueName: "N")) var keepMonthly: KeepCount?
  @Option(help: ArgumentHelp("Keep a point of each of N years.", valueName: "N")) var keepYearly: KeepCount?

  @Option(help: ArgumentHelp("Keep what is no older than AGE, counted from the newest point.", valueName: "AGE"))
  var keepWithin: RawText?

  @Option(help: ArgumentHelp("Keep a point of each hour that is no older than AGE.", valueName: "AGE"))
  var keepHourlyWithin: RawText?
  @Option(help: ArgumentHelp("Keep a point of each day that is no older than AGE.", valueName: "AGE"))
  var keepDailyWithin: RawText?
  @Option(help: ArgumentHelp("Keep a point of each week that is no older than AGE.", valueName: "AGE"))
  var keepWeeklyWithin: RawText?
  @Option(help: ArgumentHelp("Keep a point of each month that is no older than AGE.", valueName: "AGE"))
  var keepMonthlyWithin: RawText?
  @Option(help: ArgumentHelp("Keep a point of each year that is no older than AGE.", valueName: "AGE"))
  var keepYearlyWithin: RawText?

  @Option(
    name: .long, help: ArgumentHelp("Keep points with this word in their comment; may be repeated.", valueName: "TEXT"))
  var keepTag: [RawText] = []

  @Option(
    help: ArgumentHelp("Remove this point even if a rule would keep it; may be repeated.", valueName: "POINT"))
  var drop: [RawText] = []

  @Flag(help: "Merge sets that are only needed by others into those others.")
  var fold = false

  @Flag(help: "Read the newest chain first, so that what stays is known to be whole.")
  var verify = false

  @Flag(name: [.customShort("n"), .long], help: "Only say what would go.")
  var dryRun = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var work: WorkOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    let (opened, series) = try store.openStoreAndSeries()
    var options = PruneOptions()
    options.rules = try rules(series)
    options.folds = fold
    options.verifies = verify
    options.isDryRun = dryRun
    try volumes.add(to: series)
    let alarm = series.warnOfAlarm()
    let report = RunReport(output)
    let task = Prune(series, options, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("pruning") {
      try task.run { plan in if output.json { printJSON(plan) } else if !output.quiet { printTable(plan) } }
    }
    if !dryRun, alarm == nil { try? Memory.stores?.remember(series, now: .now()) }
    if output.json { printJSON(summary, report) } else if !output.quiet { printWords(summary, report) }
    if store.series == nil { tellOfOthers(series, in: opened, report) }
    if summary.isDamaged { throw Status.damaged }
    try report.finish()
  }

  private func rules(_ series: Series) throws -> KeepRules {
    var rules = KeepRules()
    for name in drop {
      // Only exact names: a date would mean some point near it. A set may have been replaced by another one for the same
      // point.
      let words = name.bytes.shown
      let point = SetName(words)?.point ?? words
      guard let set = try series.sets().first(where: { $0.point == point }) else {
        throw Failure(
          .usage, "there is no point \(Show.path(name.bytes))",
          hint: "name it in full, as 'sheaf points -s STORE' shows it")
      }
      rules.drops.insert(set.point)
    }
    let counts: [(String, Int?)] = [
      ("last", keepLast?.count), ("hourly", keepHourly?.count), ("daily", keepDaily?.count),
      ("weekly", keepWeekly?.count), ("monthly", keepMonthly?.count), ("yearly", keepYearly?.count),
    ]
    for (name, count) in counts {
      guard let count else { continue }
      guard count >= 0 else { throw Failure(.usage, "--keep-\(name) \(count) is below zero") }
      if let period = KeepRules.Period(rawValue: name) { rules.periods[period] = count } else { rules.last = count }
    }
    rules.within = try Self.age(keepWithin)
    let ages: [(KeepRules.Period, RawText?)] = [
      (.hourly, keepHourlyWithin), (.daily, keepDailyWithin), (.weekly, keepWeeklyWithin),
      (.monthly, keepMonthlyWithin), (.yearly, keepYearlyWithin),
    ]
    for (period, age) in ages { rules.periodsWithin[period] = try Self.age(age) }
    rules.tags = keepTag.map(\.bytes)
    if rules.keepNothing {
      throw Failure(
        .usage, "these rules keep nothing", hint: "a rule that keeps something takes a number from 1 on, or an age")
    }
    if !rules.tags.isEmpty {
      let points = try series.sets().compactMap { set in
        (try? series.head(set)).map { KeepRules.Point(set: set, started: $0.started, comment: $0.comment) }
      }
      for tag in rules.unusedTags(points) {
        Console.shared.warning("no point has '\(Show.path(tag))' in its comment, so --keep-tag keeps nothing")
      }
    }
    return rules
  }

  private static func age(_ text: RawText?) throws -> Int64? {
    guard let text else { return nil }
    if let age = Age(text.bytes.shown) { return age.seconds }
    throw Failure(
      .usage, "'\(Show.path(text.bytes))' is no age",
      hint: "30d, 12h, 8w, 6m (of 30 days), 1y (of 365 days), 1m14d")
  }

  private func printTable(_ plan: PrunePlan) {
    let console = Console.shared
    // Hundreds of sets may stay: they are shown only if someone asked for the plan.
    let table = Table([.left("", 6), .left("", 25), .right("", 7)], room: console.columns)
    for row in plan.rows where dryRun || output.verbose || row.fate != .keep {
      let why = row.reasons.joined(separator: ", ")
      let (fate, rest) =
        switch row.fate {
        case .keep: ("keep", why)
        case .remove: (console.styled("remove", .red), why)
        case .fold(let head): (console.styled("fold", .yellow), "into \(head.text)")
        }
      console.line(table.line([fate, row.set.text, Words.size(row.bytes)], rest))
    }
  }

  private func printWords(_ s: PruneSummary, _ report: RunReport) {
    let console = Console.shared
    printKept(s.plan)
    if dryRun {
      // A set that is folded goes, and the set it is folded into is written anew.
      let heads = Set(s.plan.folds.compactMap(\.first))
      let going = s.plan.rows.filter { $0.fate != .keep || heads.contains($0.set) }
      let bytes = going.map(\.bytes).saturatedSum
      var text = "would remove \(Words.count(going.count, "set")), \(Words.size(bytes))"
      if !s.plan.folds.isEmpty { text += ", and write \(Words.count(s.plan.folds.count, "set")) anew" }
      return console.print(text)
    }
    for kept in s.kept { console.print("  kept \(kept.set.text): \(kept.reason)") }
    for set in s.made { console.print("made \(console.styled(set.text, .bold))") }
    var text = "removed \(Words.count(s.removed.count, "set")), \(Words.size(s.bytesFreed))"
    if s.bytesWritten > 0 { text += "; wrote \(Words.size(s.bytesWritten))" }
    console.print("\(text), in \(Words.duration(report.elapsed))")
  }

  /// Rules count for one series, which nobody has named.
  private func tellOfOthers(_ series: Series, in store: Store, _ report: RunReport) {
    guard let others = try? store.seriesNames().filter({ $0 != series.name }), !others.isEmpty else { return }
    let names = others.map { Show.path($0) }.joined(separator: ", ")
    report.note("only the series '\(Show.path(series.name))' was looked at; --series NAME takes another: \(names)")
  }

  /// What stays and why, in two lines.
  private func printKept(_ plan: PrunePlan) {
    let console = Console.shared
    let (points, reasons) = plan.kept
    let why = reasons.map { why in
      why.reason == PrunePlan.noRule ? why.reason : "\(why.reason) \(Words.count(why.points))"
    }.joined(separator: ", ")
    console.print("keeps \(Words.count(points, "point"))\(why.isEmpty ? "" : ": \(why)")")
    let needed = plan.needed
    guard !needed.isEmpty else { return }
    let bytes = Words.size(needed.reduce(into: Int64(0)) { $0.add(saturating: $1.bytes) })
    let whose =
      needed.count == 1
      ? "1 more stays because others build on it"
      : "\(Words.count(needed.count)) more stay because others build on them"
    console.print("  \(whose) (\(bytes))\(fold ? "" : "; --fold would merge that into them")")
  }

  private func printJSON(_ plan: PrunePlan) {
    for row in plan.rows {
      var json = JSON("set")
      json.add("set", row.set.text)
      switch row.fate {
      case .keep: json.add("fate", "keep")
      case .remove: json.add("fate", "remove")
      case .fold(let head):
        json.add("fate", "fold")
        json.add("into", head.text)
      }
      json.add("reasons", row.reasons.map { Bytes($0.utf8) })
      json.add("bytes", row.bytes)
      json.print()
    }
  }

  private func printJSON(_ s: PruneSummary, _ report: RunReport) {
    var json = JSON("summary")
    json.add("points_kept", s.plan.kept.points)
    json.add("sets_needed", s.plan.needed.count)
    json.add("removed", s.removed.map { Bytes($0.text.utf8) })
    json.add("made", s.made.map { Bytes($0.text.utf8) })
    json.add("kept_after_all", s.kept.map { Bytes($0.set.text.utf8) })
    json.add("bytes_freed", s.bytesFreed)
    json.add("bytes_written", s.bytesWritten)
    json.add("problems", report.problemCount)
    json.add("dry_run", dryRun)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
