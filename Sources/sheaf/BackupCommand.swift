/// `sheaf backup`: writes a set.
import ArgumentParser
import Posix
import SheafCore

struct BackupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Save what is new since the last backup.",
    usage: "sheaf backup -s STORE [OPTION ...] [SOURCE ...]",
    discussion: """
      The first backup of a series is full; later ones hold what changed. The series remembers its sources, and what is \
      left out: later backups need neither SOURCE nor --exclude. Patterns are written as in a .gitignore.
      """)

  @OptionGroup var store: StoreOptions

  @Argument(
    help: ArgumentHelp(
      "What to save: folders or files; or FROM=AS, a folder that is saved as if it lay elsewhere.", valueName: "SOURCE")
  )
  var sources: [RawText] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Save what COMMAND prints as the file PATH; may be given several times.", valueName: "PATH=COMMAND"))
  var command: [RawText] = []

  @Option(
    help: ArgumentHelp("End a command that takes longer than TIME; then it counts as failed.", valueName: "TIME"))
  var commandTimeLimit: Duration?

  @Option(help: ArgumentHelp("Save standard input as the file PATH.", valueName: "PATH"))
  var stdinName: RawText?

  @Flag(help: "Back up other sources than the series remembers.")
  var changeSources = false

  @Option(
    help: ArgumentHelp("Read more sources from a file (- for standard input), each ended by a NUL.", valueName: "FILE"))
  var filesFrom0: RawText?

  @Flag(help: "Continue the series of another machine that this one replaces.")
  var takeOver = false

  @Flag(help: "Accept sources that do not exist.")
  var allowMissing = false

  @Option(
    help: ArgumentHelp(
      "Count PATH as deleted though it may only be unmounted; may be given several times.", valueName: "PATH"))
  var gone: [RawText] = []

  @Flag(help: "Write a full set.")
  var full = false

  @Option(help: ArgumentHelp("Write a full set if the last one is as old as AGE: 30d, 2w, 1m.", valueName: "AGE"))
  var fullEvery: Age?

  @Flag(help: "Write a set that builds on the last full one.")
  var differential = false

  @Option(name: .long, help: ArgumentHelp("Leave out what matches; may be given several times.", valueName: "PATTERN"))
  var exclude: [RawText] = []

  @Option(name: .long, help: ArgumentHelp("Leave out what a file's patterns match.", valueName: "FILE"))
  var excludeFrom: [RawText] = []

  @Flag(help: "Leave out the contents of folders with a CACHEDIR.TAG.")
  var excludeCaches = false

  @Option(name: .long, help: ArgumentHelp("Leave out the contents of folders that hold NAME.", valueName: "NAME"))
  var excludeIfPresent: [RawText] = []

  @Option(help: ArgumentHelp("Leave out files larger than SIZE: 500k, 10M, 4.5G.", valueName: "SIZE"))
  var excludeLargerThan: Size?

  @Flag(help: "Stay on the file systems of the sources.")
  var oneFileSystem = false

  @Flag(help: "Forget the remembered exclusions; only this command line counts.")
  var changeExcludes = false

  @Flag(help: "Read every file and compare contents.")
  var checksum = false

  @Flag(help: "Store large files again even if only mode, owner, time or attributes changed.")
  var fullEntries = false

  @Option(help: ArgumentHelp("How hard to compress, 0 (not at all) to 12.", valueName: "N"))
  var level = 1

  @Option(
    help: ArgumentHelp("Compress only files larger than SIZE: 100k; smaller ones are stored.", valueName: "SIZE"))
  var compressAbove: Size?

  @Option(
    help: ArgumentHelp(
      "Take times that differ by at most SECONDS for the same, as sources on FAT may need.", valueName: "SECONDS"))
  var modifyWindow: Int64 = 0

  @Option(
    help: ArgumentHelp(
      "Cut the archive into files of at most SIZE; on FAT at 4 GiB without being asked.", valueName: "SIZE"))
  var volumeSize: Size?

  @Option(help: ArgumentHelp("Leave at least SIZE free on the drive.", valueName: "SIZE"))
  var keepFree: Size?

  @Flag(help: "Do not read the new set once more at the end.")
  var noReread = false

  @Flag(help: "Read it once more on any store; without it not over ssh.")
  var reread = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var work: WorkOptions

  @Flag(help: "Throw away what an interrupted run left.")
  var discardInterrupted = false

  @Option(help: ArgumentHelp("A comment that is kept with the point.", valueName: "TEXT"))
  var comment: RawText?

  @Flag(help: "Write no set if nothing changed.")
  var skipUnchanged = false

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be saved.")
  var dryRun = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    // As messages tell of it, too: something on the way may be a link by now.
    let gone = try gone.map {
      try Sources.absolute([$0.bytes]) + [Bytes($0.bytes.split(separator: 47).joined(separator: [47]))]
    }
    let options = try options(gone)
    let report = RunReport(output)
    let store = try store.open(offersNew: true)
    let task = Backup(
      to: store, options, known: Memory.stores, spillDirectory: Host.spillDirectory, reporter: report,
      progress: Interruption.progress, clock: { .now() })
    let summary = try report.showing("saving") { try task.run() }
    if !output.json, !summary.idlePatterns.isEmpty {
      let some = summary.idlePatterns.prefix(8).map { "'\(Show.path($0))'" }.joined(separator: " ")
      let more = summary.idlePatterns.count > 8 ? " and \(summary.idlePatterns.count - 8) more" : ""
      let which = summary.idlePatterns.count == 1 ? "this pattern has" : "these patterns have"
      report.note("\(which) no effect: \(some)\(more)")
    }
    for paths in gone where paths.allSatisfy(summary.idleGone.contains) {
      Console.shared.warning("--gone \(Show.word([47] + paths[0])) has no effect: the point before has nothing there")
    }
    if output.json {
      printJSON(summary, report, store)
    } else if !output.quiet {
      printWords(summary, report)
    }
    try report.finish()
  }

  /// What the command line asks for. `gone`: what was given to `--gone`, each in all its spellings.
  private func options(_ gone: [[Bytes]]) throws -> BackupOptions {
    try checkLevel(level)
    var options = BackupOptions()
    let named = try Sources.mapped(sources.map(\.bytes))
    options.sources = try named.sources + Sources.absolute(listedSources())
    options.mappings = named.mappings
    options.streams = try streams()
    options.spoolDirectory = Host.spoolDirectory
    options.changesSources = changeSources
    options.takesOver = takeOver
    options.allowsMissing = allowMissing
    options.gone = gone.flatMap { $0 }
    if full && differential { throw Failure(.usage, "--full and --differential exclude each other") }
    options.isFull = full
    options.isDifferential = differential
    options.fullEvery = fullEvery?.seconds
    options.series = store.series?.bytes
    options.exclusions = try exclusions()
    options.readsContents = checksum
    options.storesMetadata = fullEntries
    options.level = level
    options.compressAbove = compressAbove?.bytes ?? -1
    guard let window = Int(exactly: modifyWindow), BackupOptions.modifyWindows.contains(window) else {
      throw Failure(.usage, "--modify-window \(modifyWindow) is out of range", hint: "seconds, from 0 to 86400")
    }
    options.modifyWindow = modifyWindow
    options.comment = comment?.bytes ?? []
    options.skipsUnchanged = skipUnchanged
    options.isDryRun = dryRun
    if let volumeSize { options.volumeSize = try volumeSize.checkedAsVolume() }
    options.keepFree = keepFree?.bytes ?? 0
    guard !reread || !noReread else { throw Failure(.usage, "--reread and --no-reread exclude each other") }
    options.rereads = reread ? true : noReread ? false : nil
    options.volumeDirectories = volumes.directories.map(\.bytes)
    options.discardsInterrupted = discardInterrupted
    return options
  }

  private func streams() throws -> [StreamSource] {
    var streams = try command.map { try Streams.command($0.bytes, timeLimit: commandTimeLimit?.seconds) }
    if let stdinName {
      let others = [filesFrom0?.bytes] + excludeFrom.map(\.bytes)
      guard !others.contains(Bytes("-")) else {
        throw Failure(.usage, "standard input cannot be a list and a file at once")
      }
      streams.append(try Streams.standardInput(stdinName.bytes))
    }
    return streams
  }

  /// nil if no option says what is left out; then the series' own memory counts.
  private func exclusions() throws -> ExclusionRules? {
    guard
      changeExcludes || excludeCaches || oneFileSystem || excludeLargerThan != nil
        || !(exclude.isEmpty && excludeFrom.isEmpty && excludeIfPresent.isEmpty)
    else { return nil }
    var rules = ExclusionRules()
    let texts = try excludeFrom.map { try Sources.read($0.bytes, atMost: Sources.listLimit) }
    do throws(PatternError) {
      for pattern in exclude { try rules.add(pattern: pattern.bytes) }
      for text in texts { try rules.add(file: text) }
    } catch {
      throw Failure(
        .usage, "the pattern '\(Show.path(error.pattern))' cannot be used: \(error.reason)",
        hint: "patterns are written as in a .gitignore")
    }
    rules.excludesCaches = excludeCaches
    for marker in excludeIfPresent { rules.add(marker: marker.bytes) }
    rules.largest = excludeLargerThan?.bytes
    rules.oneFileSystem = oneFileSystem
    return rules
  }

  private func listedSources() throws -> [Bytes] {
    guard let filesFrom0 else { return [] }
    return try Sources.read(filesFrom0.bytes, atMost: Sources.listLimit).split(separator: 0).map { Bytes($0) }
  }

  private func printJSON(_ s: BackupSummary, _ report: RunReport, _ store: Store) {
    var json = JSON("summary")
    json.add("uuid", store.uuid)
    json.add("encrypted", store.isEncrypted)
    json.add("can_read_contents", store.canReadContents)
    json.add("set", s.set?.text)
    json.add("kind", s.kind.rawValue)
    json.add("parent", s.parent)
    json.add("compared_with", s.previous)
    json.add("series", s.series)
    json.add("files_new", s.counts.new)
    json.add("files_changed", s.counts.changed)
    json.add("files_unchanged", s.unchanged)
    json.add("files_moved", s.moved)
    json.add("files_deleted", s.counts.deleted - s.newlyLeftOut)
    json.add("files_newly_left_out", s.newlyLeftOut)
    json.add("files_unseen", s.counts.unseen)
    json.add("excluded", s.excluded)
    json.add("file_systems_left_out", s.fileSystemsLeftOut)
    json.add("exclusions", s.exclusions)
    json.add("patterns_without_effect", s.idlePatterns)
    json.add("full_because", s.fullBecause)
    json.add("problems", report.problemCount)
    json.add("suspected_rot", report.rotCount)
    json.add("bytes_read", s.bytesRead)
    json.add("bytes_written", s.bytesWritten)
    json.add("dry_run", dryRun)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }

  private func printWords(_ s: BackupSummary, _ report: RunReport) {
    let c = s.counts
    let console = Console.shared
    if let reason = s.fullBecause, reason != "asked for" { console.note("a full set, because \(reason)") }
    let deleted = c.deleted - s.newlyLeftOut
    var changes = [
      "\(Words.count(c.new)) new", "\(Words.count(c.changed)) changed", "\(Words.count(deleted)) deleted",
    ]
    if s.newlyLeftOut > 0 { changes.append("\(Words.count(s.newlyLeftOut)) left out from now on") }
    if s.moved > 0 { changes.append("\(Words.count(s.moved)) moved") }
    changes.append("\(Words.count(s.unchanged)) unchanged")
    if c.unseen > 0 { changes.append(console.styled("\(Words.count(c.unseen)) unseen", .yellow)) }
    if s.excluded > 0 { changes.append("\(Words.count(s.excluded)) left out") }
    if s.fileSystemsLeftOut > 0 { changes.append("\(Words.count(s.fileSystemsLeftOut, "file system")) left out") }
    let what = changes.joined(separator: ", ")
    if dryRun {
      console.print("would save \(s.kind == .incremental ? "an" : "a") \(s.kind.rawValue) set: \(what)")
      console.print("would read \(Words.size(s.bytesRead))")
      return
    }
    guard let set = s.set else {
      console.print("nothing changed, no set written")
      return
    }
    console.print("saved \(console.styled(set.text, .bold)) in \(Words.duration(report.elapsed))")
    console.print("  \(what)")
    console.print(
      "  read \(Words.size(s.bytesRead)), wrote \(Words.size(s.bytesWritten)); the point holds \(Words.count(c.files, "file")), \(Words.size(c.bytes))"
    )
    report.printEnd()
  }
}
