/// `sheaf restore`: brings a point back.
import ArgumentParser
import Posix
import SheafCore

extension Overwrite: ExpressibleByArgument {}

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Bring files back.",
    usage: "sheaf restore -s STORE --to DIR [--at POINT]\n    [OPTION ...] [PATH ...]",
    discussion: """
      Files come out below DIR with their full path: DIR/home/me/letter. Without PATH everything is restored. A DIR that \
      is not empty is refused unless --overwrite says what may be replaced.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("What to restore, with or without a leading slash.", valueName: "PATH"))
  var paths: [RawText] = []

  @Option(help: ArgumentHelp("The directory to restore into; made if it is missing.", valueName: "DIR"))
  var to: RawText

  @Option(help: ArgumentHelp("What may be replaced.", valueName: "WHEN"))
  var overwrite: Overwrite?

  @Flag(help: "Remove what is not in the point, below what is restored; needs --overwrite.")
  var delete = false

  @Flag(help: "With --delete, also remove what the backup left out.")
  var deleteExcluded = false

  @Option(help: ArgumentHelp("Leave out what matches, as in a .gitignore; several times.", valueName: "PATTERN"))
  var exclude: [RawText] = []

  @Option(help: ArgumentHelp("Restore only what matches, and what is below it; several times.", valueName: "PATTERN"))
  var include: [RawText] = []

  @Flag(help: "Restore owners by number, not by name.")
  var numericOwner = false

  @Option(help: ArgumentHelp("OLD's files become NEW's: names or numbers; several times.", valueName: "OLD:NEW"))
  var ownerMap: [RawText] = []

  @Option(help: ArgumentHelp("The same for groups.", valueName: "OLD:NEW"))
  var groupMap: [RawText] = []

  @Flag(help: "Restore even if there seems to be too little room.")
  var force = false

  @Option(help: ArgumentHelp("Remove N leading folders from each path.", valueName: "N"))
  var stripComponents = 0

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be restored.")
  var dryRun = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var work: WorkOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    guard stripComponents >= 0 else {
      throw Failure(.usage, "--strip-components takes a number from 0 on", hint: "see 'sheaf restore --help'")
    }
    var options = RestoreOptions()
    options.target = to.bytes
    options.overwrite = overwrite
    options.deletes = delete
    options.strip = stripComponents
    options.isDryRun = dryRun
    options.deletesExcluded = deleteExcluded
    options.exclude = exclude.map(\.bytes)
    options.include = include.map(\.bytes)
    options.isForced = force
    options.owners = try owners()
    if delete, overwrite == nil {
      throw Failure(
        .usage, "--delete needs --overwrite",
        hint: "to make the paths exactly what they were in the point: --overwrite always --delete")
    }
    if delete, stripComponents > 0 {
      throw Failure(
        .usage, "--delete cannot go with --strip-components",
        hint: "two folders could land in one place and delete each other's files")
    }
    if delete, !include.isEmpty {
      throw Failure(.usage, "--delete cannot go with --include", hint: "name the paths, or use --exclude")
    }
    if deleteExcluded, !delete { throw Failure(.usage, "--delete-excluded needs --delete") }
    let series = try store.openSeriesForReading()
    try volumes.add(to: series)
    let set = try point.find(in: series)
    let contents = try Contents(series, set)
    options.paths = try paths.flatMap(contents.paths)
    let report = RunReport(output)
    let task = Restore(from: series, options, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("restoring") { try task.run(set) }
    for (what, count) in summary.shortfalls {
      Console.shared.warning("\(Self.words(what)) could not be restored for \(Words.count(count, "file"))")
    }
    for words in summary.unmatched { Console.shared.warning(words) }
    if output.json { printJSON(summary, report) } else if !output.quiet { printWords(summary, report) }
    if summary.isDamaged { throw Status.damaged }
    try report.finish()
  }

  private func owners() throws(Failure) -> OwnerOptions {
    let names = OwnerNames()
    var owners = OwnerOptions()
    owners.isNumeric = numericOwner
    owners.users = try Self.map(ownerMap, "--owner-map", "user") { names.userID($0) }
    owners.groups = try Self.map(groupMap, "--group-map", "group") { names.groupID($0) }
    return owners
  }

  private static func map(
    _ texts: [RawText], _ option: String, _ what: String, _ find: (Bytes) -> UInt32?
  ) throws(Failure) -> [(old: Bytes, new: UInt32)] {
    var map: [(old: Bytes, new: UInt32)] = []
    for text in texts {
      let halves = text.bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false).map { Bytes($0) }
      guard halves.count == 2, !halves[0].isEmpty, !halves[1].isEmpty else {
        throw Failure(.usage, "\(option) takes OLD:NEW, two names or numbers", hint: "see 'sheaf restore --help'")
      }
      // chown(2) takes the largest number for "no change".
      let number = UInt32(halves[1].shown).flatMap { $0 == .max ? nil : $0 }
      guard let new = number ?? find(halves[1]) else {
        throw Failure(.usage, "\(option): there is no \(what) '\(Show.path(halves[1]))' here")
      }
      map.append((halves[0], new))
    }
    return map
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
    if dryRun {
      let room = s.needed > 0 ? ", which takes \(Words.size(s.needed)) of room" : ""
      Console.shared.print("would restore \(what) from \(s.set.text)\(room)")
      if s.kept > 0 { Console.shared.print("  would leave \(left)") }
      if s.deleted > 0 { Console.shared.print("  would remove \(Words.count(s.deleted)) that the point does not have") }
      return
    }
    Console.shared.print("restored \(what) from \(s.set.text) in \(Words.duration(report.elapsed))")
    if s.kept > 0 { Console.shared.print("  left \(left)") }
    if s.files + s.directories + s.kept == 0, stripComponents > 0 {
      Console.shared.warning("no path has more than \(stripComponents) leading folders, so nothing is left to restore")
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
    if dryRun { json.add("bytes_needed", s.needed) }
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
