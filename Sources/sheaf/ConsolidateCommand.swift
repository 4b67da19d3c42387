/// `sheaf consolidate`: a full set out of a chain.
import ArgumentParser
import Posix
import SheafCore

struct ConsolidateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consolidate", abstract: "Make a full set out of a chain, without reading the sources.",
    usage: "sheaf consolidate -s STORE [--at POINT]",
    discussion: "The old sets stay until 'sheaf prune' removes them.")

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption
  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var work: WorkOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    let series = try store.openSeries()
    try volumes.add(to: series)
    let set = try point.find(in: series)
    let alarm = series.warnOfAlarm()
    let report = RunReport(output)
    let task = Consolidate(series, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("consolidating") { try task.run(set) }
    if alarm == nil { try? Memory.stores?.remember(series, now: .now()) }
    if output.json { printJSON(summary, report) } else if !output.quiet { printWords(summary, report) }
    try report.finish()
  }

  private func printWords(_ s: ConsolidateSummary, _ report: RunReport) {
    let console = Console.shared
    guard let set = s.set else { return console.print("\(s.replaced.text) is a full set already") }
    let counts = "\(Words.count(s.counts.files, "file")), \(Words.size(s.counts.bytes))"
    console.print(
      "made \(console.styled(set.text, .bold)) out of \(Words.count(s.chain.count, "set")) in \(Words.duration(report.elapsed))"
    )
    console.print("  \(counts), wrote \(Words.size(s.bytesWritten))")
    console.print("  \(s.replaced.text) is not needed any more: see 'sheaf prune -s STORE --dry-run'")
  }

  private func printJSON(_ s: ConsolidateSummary, _ report: RunReport) {
    var json = JSON("summary")
    json.add("set", s.set?.text)
    json.add("replaced", s.replaced.text)
    json.add("sets", s.chain.count)
    json.add("files", s.counts.files)
    json.add("bytes", s.counts.bytes)
    json.add("bytes_written", s.bytesWritten)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
