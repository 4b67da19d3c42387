/// `sheaf copy`: sets of one store in another.
import ArgumentParser
import Posix
import SheafCore

struct CopyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "copy", abstract: "Copy points to another store, with all that they need.",
    usage: "sheaf copy -s STORE --to STORE [OPTION ...]",
    discussion: """
      Sets are copied whole and compared with their digests as they pass. What is there already stays as it is, and what \
      was stopped is gone on with. A store that is encrypted takes them encrypted with its own key.
      """)

  @OptionGroup var store: StoreOptions

  @Option(
    name: .customLong("to"), help: ArgumentHelp("The store that takes them.", valueName: "STORE"))
  var target: RawText

  @Option(help: ArgumentHelp("The key of that store, where it is not kept here.", valueName: "FILE"))
  var toKey: RawText?

  @Option(
    help: ArgumentHelp("One point: latest, a set's name, a date, a time, or an age like 3d.", valueName: "POINT"))
  var at: RawText?

  @Option(
    help: ArgumentHelp("The points from this one on.", valueName: "POINT"))
  var since: RawText?

  @Flag(name: [.customShort("n"), .long], help: "Say what would be copied, and copy nothing.")
  var dryRun = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    guard at == nil || since == nil else { throw Failure(.usage, "--at is one point and --since several: choose one") }
    let source = try store.open()
    let taker = try openTarget()
    guard source.path != taker.path else {
      throw Failure(.usage, "\(Show.path(source.path)) cannot be copied to itself", hint: "--to names another store")
    }
    let names = try store.series.map { [$0.bytes] } ?? source.seriesNames()
    if names.count > 1, at != nil || since != nil {
      throw Failure(
        .usage, "this store has several series",
        hint: "choose one with --series: \(names.map { Show.path($0) }.joined(separator: ", "))")
    }
    let report = RunReport(output)
    var summaries: [CopySummary] = []
    for name in names {
      let series = try source.series(name, host: [])
      try volumes.add(to: series)
      series.tellOfIgnoredFiles()
      let task = try Copy(series, to: taker, dryRun: dryRun, reporter: report, progress: Interruption.progress)
      let points = try chosen(series)
      summaries.append(try report.showing("copying") { try task.run(points) })
      if !dryRun, let there = try? taker.series(name, host: []), let stores = Memory.stores, stores.isAsKnown(there) {
        try? stores.remember(there, now: .now())
      }
    }
    if output.json {
      printJSON(summaries, taker, report)
    } else if !output.quiet {
      printWords(summaries, taker, report)
    }
    try report.finish()
  }

  private func openTarget() throws -> Store {
    let keys = Keys(keyFile: toKey?.bytes, directory: Memory.keys, memory: Memory.directory) { _, _ in nil }
    let place = try StoreLocation(target.bytes)
    return try place.opening(offersNew: true) {
      try Store.open(place, by: store.remote.access, cache: Memory.manifests, keys: keys)
    }
  }

  private func chosen(_ series: Series) throws -> [SetName] {
    let all = try series.sets()
    if let at { return [try series.find(point: at.bytes, now: .now())] }
    guard let since else { return all }
    let first = try? series.find(point: since.bytes, now: .now())
    return all.filter { set in first.map { $0 <= set } ?? true }
  }

  private func printWords(_ all: [CopySummary], _ taker: Store, _ report: RunReport) {
    let console = Console.shared
    for s in all {
      let there = s.thereAlready > 0 ? ", \(Words.count(s.thereAlready, "point")) there already" : ""
      let verb = dryRun ? "would copy" : "copied"
      console.print(
        "\(verb) \(Words.count(s.copied.count, "set")) of \(Show.path(s.series)) to \(Show.path(taker.path))\(there)")
      for set in s.copied where output.verbose || dryRun { console.print("  \(set.text)") }
    }
    if !dryRun { console.print("  \(Words.size(all.map(\.bytes).reduce(0, +))) in \(Words.duration(report.elapsed))") }
  }

  private func printJSON(_ all: [CopySummary], _ taker: Store, _ report: RunReport) {
    for s in all {
      for set in s.copied {
        var json = JSON("copied")
        json.add("series", s.series)
        json.add("set", set.text)
        json.print()
      }
    }
    var json = JSON("summary")
    json.add("to", taker.path)
    json.add("sets", all.map(\.copied.count).reduce(0, +))
    json.add("points_there", all.map(\.thereAlready).reduce(0, +))
    json.add("points_left", all.map(\.left.count).reduce(0, +))
    json.add("bytes", all.map(\.bytes).reduce(0, +))
    json.add("dry_run", dryRun)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
