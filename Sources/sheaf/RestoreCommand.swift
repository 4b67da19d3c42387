/// `sheaf restore`: brings a point back.
import ArgumentParser
import Posix
import SheafCore

extension Overwrite: ExpressibleByArgument {}

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Bring files back.",
    usage: "sheaf restore -s STORE --to DIR [--at POINT] [OPTION ...] [PATH ...]",
    discussion: """
      Files come out below DIR with their full path: DIR/home/me/letter. Without PATH everything is restored. A DIR that \
      is not empty is refused unless --overwrite says what may be replaced.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("What to restore, with or without a leading slash.", valueName: "PATH"))
  var paths: [RawText] = []

  @Option(help: ArgumentHelp("The directory to restore into; made where it is missing.", valueName: "DIR"))
  var to: RawText

  @Option(help: ArgumentHelp("What may be replaced.", valueName: "WHEN"))
  var overwrite: Overwrite?

  @Flag(help: "Remove what is not in the point, below what is restored; needs --overwrite.")
  var delete = false

  @Option(help: ArgumentHelp("Leave off that many leading folders.", valueName: "N"))
  var stripComponents = 0

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be restored.")
  var dryRun = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    guard stripComponents >= 0 else {
      throw Failure(.usage, "--strip-components takes a number from 0 on", hint: "see 'sheaf restore --help'")
    }
    var options = RestoreOptions()
    options.target = to.bytes
    options.overwrite = overwrite
    options.deletes = delete
    options.strip = stripComponents
    options.isDryRun = dryRun
    if delete, overwrite == nil {
      throw Failure(
        .usage, "--delete needs --overwrite",
        hint: "for exactly the point's state of the restored paths: --overwrite always --delete")
    }
    if delete, stripComponents > 0 {
      throw Failure(
        .usage, "--delete cannot go with --strip-components",
        hint: "folders that come to one place would delete each other")
    }
    let series = try store.openSeries()
    try volumes.add(to: series)
    let set = try point.find(in: series)
    let contents = try Contents(series, set)
    options.paths = try paths.map(contents.path)
    let report = RunReport(output)
    let task = Restore(from: series, options, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("restoring") { try task.run(set) }
    for (what, count) in summary.shortfalls {
      Console.shared.warning("\(Self.words(what)) could not be restored for \(Words.count(count, "file"))")
    }
    if output.json { printJSON(summary, report) } else if !output.quiet { printWords(summary, report) }
    if summary.isDamaged { throw Status.damaged }
    try report.finish()
  }

  private static func words(_ what: String) -> String {
    switch what {
    case "owner": "the owner"
    case "mode": "the mode"
    case "attribute": "an extended attribute"
    case "hard link": "the hard link (restored as a file of its own)"
    default: what
    }
  }

  private func printWords(_ s: RestoreSummary, _ report: RunReport) {
    let what = "\(Words.count(s.files, "file")) in \(Words.count(s.directories, "folder")), \(Words.size(s.bytes))"
    if dryRun {
      Console.shared.print("would restore \(what) from \(s.set.text)")
      if s.kept > 0 { Console.shared.print("  would leave \(Words.count(s.kept, "file")) as they are") }
      if s.deleted > 0 { Console.shared.print("  would remove \(Words.count(s.deleted)) that the point does not have") }
      return
    }
    Console.shared.print("restored \(what) from \(s.set.text) in \(Words.duration(report.elapsed))")
    if s.kept > 0 { Console.shared.print("  left \(Words.count(s.kept, "file")) as they are") }
    if s.files + s.directories + s.kept == 0, stripComponents > 0 {
      Console.shared.warning("nothing is left of the paths without \(stripComponents) leading folders")
    }
    if s.deleted > 0 { Console.shared.print("  removed \(Words.count(s.deleted)) that the point does not have") }
    report.printEnd(unseen: s.unseen)
  }

  private func printJSON(_ s: RestoreSummary, _ report: RunReport) {
    var json = JSON("summary")
    json.add("set", s.set.text)
    json.add("files", s.files)
    json.add("directories", s.directories)
    json.add("bytes", s.bytes)
    json.add("files_deleted", s.deleted)
    json.add("files_kept", s.kept)
    json.add("files_unseen", s.unseen)
    json.add("problems", report.problemCount)
    json.add("damaged", s.isDamaged)
    json.add("dry_run", dryRun)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
