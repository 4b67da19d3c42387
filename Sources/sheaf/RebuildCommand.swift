/// `sheaf rebuild`: manifests again, from the archives alone.
import ArgumentParser
import Posix
import SheafCore

struct RebuildCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebuild", abstract: "Write lost manifests again, from the archives.",
    usage: "sheaf rebuild -s STORE",
    discussion: """
      Manifests that are good are left alone; one that cannot be read is kept aside as NAME.mtree.gz.damaged. The next \
      backup reads every file once more, since the archives do not tell the sources' inodes.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let opened = try store.open(fromCopies: false)
    let names = try store.series.map { [$0.bytes] } ?? opened.archiveSeriesNames()
    let report = RunReport(output)
    var total = RebuildSummary()
    for name in names {
      let series = try opened.series(name, host: [])
      let task = Rebuild(series, spillDirectory: Host.spillDirectory, reporter: report, progress: Interruption.progress)
      let summary = try report.showing("rebuilding") { try task.run() }
      total.rebuilt += summary.rebuilt
      total.good += summary.good
      total.files += summary.files
      total.isDamaged = total.isDamaged || summary.isDamaged
    }
    if output.json {
      var json = JSON("summary")
      json.add("rebuilt", total.rebuilt.map { Bytes($0.text.utf8) })
      json.add("good", total.good)
      json.add("files", total.files)
      json.add("problems", report.problemCount)
      json.add("damaged", total.isDamaged)
      json.add("seconds", seconds: report.elapsed)
      json.print()
    } else if !output.quiet {
      for set in total.rebuilt { Console.shared.print("rebuilt \(set.text)") }
      let done = "\(Words.count(total.rebuilt.count, "manifest")) rebuilt, \(Words.count(total.good)) good already"
      Console.shared.print("\(done), in \(Words.duration(report.elapsed))")
    }
    if total.isDamaged { throw Status.damaged }
    try report.finish()
  }
}
