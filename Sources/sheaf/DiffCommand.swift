/// `sheaf diff`: what differs between two points, or a point and the sources.
import ArgumentParser
import Posix
import SheafCore

struct DiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Show what differs between two points.",
    usage:
      "sheaf diff -s STORE [--path PATH] [FROM [TO]]\nsheaf diff -s STORE --live [--checksum]\n    [--path PATH] [FROM]",
    discussion: """
      TO is the latest point where it is left out, and FROM the one before TO, also if FROM is the latest itself. With --live, TO is the sources as they \
      are now, without what the run of FROM left out.
      """)

  @OptionGroup var store: StoreOptions

  @Argument(help: ArgumentHelp("The older point.", valueName: "FROM"))
  var from: RawText?

  @Argument(help: ArgumentHelp("The newer point.", valueName: "TO"))
  var to: RawText?

  @Flag(help: "Compare with the sources as they are now.")
  var live = false

  @Flag(help: "With --live: read every file and compare contents.")
  var checksum = false

  @Option(help: ArgumentHelp("Only what is at or below it.", valueName: "PATH"))
  var path: RawText?

  @OptionGroup var output: OutputOptions

  func run() throws {
    if live, to != nil {
      throw Failure(.usage, "with --live there is no TO", hint: "--live compares with the sources as they are now")
    }
    if checksum, !live {
      throw Failure(.usage, "--checksum needs --live", hint: "between points all contents are compared")
    }
    let series = try store.openSeriesForReading()
    let (old, new) = try points(series)
    let report = RunReport(output, finishesWork: false)
    var options = DiffOptions()
    options.path =
      try path?.storePath(below: series.newestSources()) { path in
        series.has(path, in: old) || new.map { series.has(path, in: $0) } ?? Sources.isThere(path)
      } ?? []
    options.readsContents = checksum
    let task = Diff(
      series, options, spillDirectory: Host.spillDirectory, reporter: report, progress: Interruption.progress,
      clock: { .now() })
    let console = Console.shared
    if !output.json, !output.quiet {
      console.print(console.styled("\(old.text) → \(new?.text ?? "now")", .dim))
    }
    let output = output
    let summary = try report.showing("comparing") {
      try task.run(from: old, to: new) { (difference) throws(Failure) in
        if output.json {
          Self.printJSON(difference)
        } else if !output.quiet, output.verbose || !difference.isWithin && !difference.isTouchOnly {
          Self.printWords(difference)
        }
      }
    }
    if output.json { printJSON(summary, old, new, report) } else if !output.quiet { printWords(summary) }
    try report.finish()
  }

  /// FROM and TO, nil for the sources.
  private func points(_ series: Series) throws -> (SetName, SetName?) {
    func find(_ text: RawText?) throws -> SetName {
      try series.find(point: text?.bytes ?? Bytes("latest"), now: .now())
    }
    if live { return (try find(from), nil) }
    let new = try find(to)
    // With the newest point alone, its own changes are meant: there are none after it.
    if from != nil, case let old = try find(from), to != nil || old != new { return (old, new) }
    guard let old = try series.sets().last(where: { $0 < new }) else {
      throw Failure(
        .failed, "there is no point before \(new.text)",
        hint: "'sheaf diff -s STORE --live' compares it with the sources as they are now")
    }
    return (old, new)
  }

  private static func printWords(_ d: Difference) {
    let console = Console.shared
    let (mark, style): (String, Console.Style) =
      switch d.action {
      case .added: ("+", .green)
      case .removed: ("-", .red)
      case .changed: d.isSuspectedRot ? ("!", .red) : ("~", .yellow)
      case .moved: (">", .yellow)
      }
    func shown(_ entry: Entry) -> Bytes { console.path(entry.kind == .directory ? entry.path + [47] : entry.path) }
    var line = Bytes("\(console.styled(mark, style)) ".utf8)
    if d.action == .moved {
      line += shown(d.old!)
      let both = Show.columns(line.shown) + 3 + Show.columns(shown(d.new ?? d.old!).shown)
      line += Bytes((both > console.columns ? "\n  → " : " → ").utf8)
    }
    line += shown(d.new ?? d.old!)
    var words = d.aspects.words
    if d.isSuspectedRot { words.append("rot?") }
    console.list(line, words.isEmpty ? "" : console.styled("(\(words.joined(separator: ", ")))", .dim))
  }

  private func printWords(_ s: DiffSummary) {
    var parts = ["\(Words.count(s.added)) added", "\(Words.count(s.removed)) removed"]
    parts.append("\(Words.count(s.changed)) changed")
    let within = s.movedWithin == 0 ? "" : " with \(Words.count(s.movedWithin)) in them"
    parts.append("\(Words.count(s.moved)) moved\(within)")
    Console.shared.print(parts.joined(separator: ", "))
    if s.suspectedRot > 0 {
      let files = "\(Words.count(s.suspectedRot, "file")) changed in content but not in size and time: rot?"
      Console.shared.warning(files)
    }
  }

  private static func printJSON(_ d: Difference) {
    var json = JSON("difference")
    json.add("action", word(d.action))
    json.add("path", d.path)
    if d.action == .moved { json.add("from", d.old!.path) }
    json.add("kind", LongLine.word(d.kind))
    if let new = d.new, d.action == .added || d.aspects.contains(.content) { json.add("size", new.size) }
    if let old = d.old, d.action == .removed || d.aspects.contains(.content) { json.add("old_size", old.size) }
    if d.old != nil, d.new != nil { json.add("what", d.aspects.words.map { Bytes($0.utf8) }) }
    if d.isSuspectedRot { json.add("suspected_rot", true) }
    if d.isWithin { json.add("within", true) }
    json.print()
  }

  private static func word(_ action: Difference.Action) -> String {
    switch action {
    case .added: "added"
    case .removed: "removed"
    case .changed: "changed"
    case .moved: "moved"
    }
  }

  private func printJSON(_ s: DiffSummary, _ old: SetName, _ new: SetName?, _ report: RunReport) {
    var json = JSON("summary")
    json.add("from", old.text)
    json.add("to", new?.text)
    json.add("added", s.added)
    json.add("removed", s.removed)
    json.add("changed", s.changed + s.touched)
    json.add("moved", s.moved + s.movedWithin)
    json.add("suspected_rot", s.suspectedRot)
    json.add("problems", report.problemCount)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
