/// One restore, with all that is said of it, in words or as JSON.
import Posix
import SheafCore

struct RestoreRun {
  let series: Series
  let options: RestoreOptions
  let output: OutputOptions
  /// The person was asked where to restore to, so no command line tells.
  var isAsked = false

  /// Throws the exit code where something did not come back.
  func run(_ set: SetName, _ report: RunReport) throws {
    let task = Restore(from: series, options, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("restoring") { try task.run(set) }
    for (what, count) in summary.shortfalls {
      let entries = "\(Words.count(count)) \(count == 1 ? "entry" : "entries")"
      Console.shared.warning("\(Self.words(what)) could not be restored for \(entries)")
    }
    for words in summary.unmatched { Console.shared.warning(words) }
    if output.json { printJSON(summary, report) } else if !output.quiet { printWords(summary, report) }
    if summary.isDamaged { throw Status.damaged }
    if summary.files + summary.directories + summary.kept == 0, options.strip > 0 {
      throw Failure(.failed, "no path has more than \(options.strip) leading folders: nothing was restored")
    }
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
    let left = "\(Words.count(s.kept, "file")) as \(s.kept == 1 ? "it is" : "they are")"
    if options.isDryRun {
      let room = s.needed > 0 ? ", which takes \(Words.size(s.needed)) of room" : ""
      Console.shared.print("would restore \(what) from \(s.set.text)\(room)")
      if s.kept > 0 { Console.shared.print("  would leave \(left)") }
      if s.deleted > 0 { Console.shared.print("  would remove \(Words.count(s.deleted)) that the point does not have") }
      return
    }
    Console.shared.print("restored \(what) from \(s.set.text) in \(Words.duration(report.elapsed))")
    if isAsked { Console.shared.print("  to \(Show.path(options.target))") }
    if s.kept > 0 { Console.shared.print("  left \(left)") }
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
    json.add("dry_run", options.isDryRun)
    if options.isDryRun { json.add("bytes_needed", s.needed) }
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
