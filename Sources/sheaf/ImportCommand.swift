/// `sheaf import`: archives of other programs become points.
import ArgumentParser
import Posix
import SheafCore

struct ImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Make points of tar archives that other programs wrote.",
    usage: "sheaf import -s STORE [OPTION ...] ARCHIVE ...",
    discussion: """
      Each archive, plain or gzipped, becomes one point, in the order of their dates; the first is a full set, those after \
      it hold what differs. Archives of GNU tar's -g delete and rename what they say. Any other stands for the whole tree \
      of its day: what it lacks is deleted, unless --keep-missing is given. A date comes from the archive's name \
      (2024-05-01, 20240501T0600), else from its label, else from the file's time.
      """)

  @OptionGroup var store: StoreOptions

  @Argument(help: ArgumentHelp("The archives.", valueName: "ARCHIVE"))
  var archives: [RawText]

  @Option(
    name: .customLong("as"),
    help: ArgumentHelp("The folder that relative names lay in. (default: /)", valueName: "DIR"))
  var base: RawText?

  @Option(help: ArgumentHelp("When the archive was made: 2024-05-01, 2024-05-01T06:00.", valueName: "DATE"))
  var date: RawText?

  @Flag(help: "Keep what an archive lacks; it only adds and changes.")
  var keepMissing = false

  @Flag(help: "Write a full set of each archive that stands for a whole tree.")
  var full = false

  @Option(help: ArgumentHelp("How hard to compress, 0 (not at all) to 12.", valueName: "N"))
  var level = 1

  @Option(help: ArgumentHelp("A comment that is kept with each point.", valueName: "TEXT"))
  var comment: RawText?

  @Option(help: ArgumentHelp("Cut the sets' archives into files of at most SIZE.", valueName: "SIZE"))
  var volumeSize: Size?

  @Option(help: ArgumentHelp("Leave at least SIZE free on the drive.", valueName: "SIZE"))
  var keepFree: Size?

  @Flag(name: [.customShort("n"), .long], help: "Read the archives and say what they hold; write nothing.")
  var dryRun = false

  @OptionGroup var work: WorkOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    let options = try options()
    let report = RunReport(output)
    let opened = try store.open()
    let task = try Import(
      to: opened, options, keys: store.keys.keys(), known: Memory.stores, spillDirectory: Host.spillDirectory,
      reporter: report, progress: Interruption.progress, clock: { .now() })
    var all: [ImportSummary] = []
    try report.showing("importing") {
      try task.run { summary in
        all.append(summary)
        if output.json { printJSON(summary) } else if !output.quiet { printWords(summary) }
      }
    }
    if output.json { printEnd(all, report) }
    try report.finish()
  }

  private func options() throws -> ImportOptions {
    var options = ImportOptions()
    options.archives = archives.map(\.bytes)
    guard Set(options.archives).count == options.archives.count else {
      throw Failure(.usage, "an archive is named twice")
    }
    options.series = store.series?.bytes
    if let base {
      let parts = base.bytes.split(separator: 47).filter { $0 != [46] }
      guard base.bytes.first == 47, !parts.contains([46, 46]) else {
        throw Failure(.usage, "--as \(Show.path(base.bytes)) is no absolute path", hint: "as in --as /home/ann")
      }
      options.base = Bytes(parts.joined(separator: [47]))
    }
    if let date {
      guard archives.count == 1 else {
        throw Failure(.usage, "--date is the date of one archive", hint: "import them one after the other")
      }
      guard let time = ImportOptions.time(date.bytes) else {
        throw Failure(.usage, "'\(Show.path(date.bytes))' is no date", hint: "as in 2024-05-01 or 2024-05-01T06:00")
      }
      options.date = time
    }
    try checkLevel(level)
    options.deletesNothing = keepMissing
    options.isFull = full
    options.level = level
    options.comment = comment?.bytes ?? []
    if let volumeSize { options.volumeSize = try volumeSize.checkedAsVolume() }
    options.keepFree = keepFree?.bytes ?? 0
    options.isDryRun = dryRun
    options.spoolDirectory = Host.spoolDirectory
    return options
  }

  private func printWords(_ s: ImportSummary) {
    let console = Console.shared
    let c = s.counts
    console.wipeLine()
    let entries = s.entries == 1 ? "1 entry" : "\(Words.count(s.entries)) entries"
    guard let set = s.set else {
      console.print(
        "\(Show.path(s.archive)): would be the point \(s.pointName), \(s.kind.rawValue), of \(entries), "
          + "\(Words.size(s.bytes))")
      return
    }
    console.print("\(Show.path(s.archive)): imported as \(console.styled(set.text, .bold))")
    var changes = [
      "\(Words.count(c.new)) new", "\(Words.count(c.changed)) changed", "\(Words.count(c.deleted)) deleted",
    ]
    if s.moved > 0 { changes.append("\(Words.count(s.moved)) moved") }
    changes.append("\(Words.count(s.unchanged)) unchanged")
    console.print("  \(changes.joined(separator: ", "))")
    console.print(
      "  wrote \(Words.size(s.bytesWritten)); the point holds \(Words.count(c.files, "file")), \(Words.size(c.bytes))")
  }

  private func printJSON(_ s: ImportSummary) {
    var json = JSON("imported")
    json.add("archive", s.archive)
    json.add("point", s.pointName)
    json.add("set", s.set?.text)
    json.add("kind", s.kind.rawValue)
    json.add("changes_only", s.isDelta)
    json.add("entries", s.entries)
    json.add("bytes", s.bytes)
    if s.set != nil {
      json.add("files_new", s.counts.new)
      json.add("files_changed", s.counts.changed)
      json.add("files_unchanged", s.unchanged)
      json.add("files_moved", s.moved)
      json.add("files_deleted", s.counts.deleted)
      json.add("bytes_written", s.bytesWritten)
    }
    json.print()
  }

  private func printEnd(_ all: [ImportSummary], _ report: RunReport) {
    var json = JSON("summary")
    json.add("archives", all.count)
    json.add("bytes_written", all.map(\.bytesWritten).reduce(0, +))
    json.add("problems", report.problemCount)
    json.add("dry_run", dryRun)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
