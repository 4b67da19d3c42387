/// `sheaf prove`: restores a share of a point and compares it with what was saved.
import ArgumentParser
import Posix
import SheafCore

struct ProveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prove", abstract: "Really restore a share of a point, and compare it.",
    usage: "sheaf prove -s STORE [--share PERCENT | --all]\n    [--script] [--at POINT] [--scratch DIR]",
    discussion: """
      Each run takes what was restored longest ago, so that all of it comes round. What it restores lies in memory or in \
      TMPDIR for a moment. The store and this machine remember what was proved: see 'sheaf points' and 'sheaf status'.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Option(help: ArgumentHelp("How much of the point: 5% unless given.", valueName: "PERCENT"))
  var share: Share?

  @Flag(help: "All of the point.")
  var all = false

  @Flag(help: "Restore some of it by the store's restore.sh as well.")
  var script = false

  @Option(
    help: ArgumentHelp("Restore into a folder below DIR, which is removed again.", valueName: "DIR"))
  var scratch: RawText?

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    if all, share != nil { throw ValidationError("--all and --share cannot be given together") }
  }

  /// Bytes that are restored into memory at a time, one large file alone included.
  private static let mostInMemory: Int64 = 256 << 20

  func run() throws {
    let series = try store.openSeries(fromCopies: false)
    try volumes.add(to: series)
    let set = try point.find(in: series)
    var options = ProveOptions()
    options.share = all ? 1 : (share ?? Share(percent: 5)).fraction
    options.triesScript = script
    options.version = Sheaf.version
    if let scratch {
      options.places = [(scratch.bytes, .max)]
    } else {
      options.places = [(Bytes("/dev/shm"), Self.mostInMemory), (Host.spoolDirectory, .max)]
    }
    let report = RunReport(output)
    let task = Prove(series, options, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("proving") { try task.run(set, now: .now(), Memory.stores) }
    if let memory = Memory.stores {
      // Not of a series that contradicts what was seen of it.
      if memory.isAsKnown(series) {
        try? memory.remember(series, now: .now(), proofs: summary.isNoted ? nil : summary.note)
      }
    }
    if !summary.isNoted {
      Console.shared.warning("the store cannot be written: what was proved is remembered on this machine alone")
    }
    if output.json { printJSON(summary, report) } else if !output.quiet { print(summary, report) }
    if summary.isDamaged || summary.different > 0 { throw Status.damaged }
    try report.finish()
  }

  private func print(_ s: ProveSummary, _ report: RunReport) {
    let console = Console.shared
    let what =
      "\(Words.count(s.files, "file")) in \(Words.count(s.directories, "folder")), \(Words.size(s.bytes))"
    if s.isDamaged || s.different > 0 || report.problemCount > 0 {
      console.print("\(console.styled("not as it was saved", .red)): see above; \(what) of \(s.set.text) were tried")
    } else {
      console.print(
        "\(console.styled("as it was saved", .green)): \(what) of \(s.set.text), restored and compared in \(Words.duration(report.elapsed))"
      )
    }
    if s.byScript > 0 { console.print("  by restore.sh as well: \(Words.count(s.byScript, "file"))") }
    for (what, count) in s.uncompared.sorted(by: { $0.what < $1.what }) {
      console.print("  not compared, as it cannot be here: \(Words.count(count, what))")
    }
    if let proved = Words.proved(s.note, newest: s.set.point) { console.print("  \(proved)") }
  }

  private func printJSON(_ s: ProveSummary, _ report: RunReport) {
    var json = JSON("summary")
    json.add("set", s.set.text)
    json.add("files", s.files)
    json.add("directories", s.directories)
    json.add("bytes", s.bytes)
    json.add("files_by_script", s.byScript)
    json.add("different", s.different)
    json.add("damaged", s.isDamaged)
    json.add("problems", report.problemCount)
    json.add("not_compared", s.uncompared.reduce(0) { $0 + $1.count })
    json.add(s.note)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
