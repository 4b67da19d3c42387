/// `sheaf restore`: brings a point back.
import ArgumentParser
import Posix
import SheafCore

extension Overwrite: ExpressibleByArgument {}

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Bring files back.",
    usage: "sheaf restore -s STORE [--to DIR] [--at POINT]\n    [OPTION ...] [PATH ...]",
    discussion: """
      Files come out below DIR with their full path: DIR/home/me/letter. Without PATH everything is restored. A DIR that \
      is not empty is refused unless --overwrite says what may be replaced. Without --to you are asked where, on a \
      terminal.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("What to restore, with or without a leading slash.", valueName: "PATH"))
  var paths: [RawText] = []

  @Option(
    help: ArgumentHelp("The directory to restore into; made if it is missing.", valueName: "DIR"))
  var to: RawText?

  @Option(
    help: ArgumentHelp(
      "From the newest point in which PATH is another than it is now; that path alone, unless others are named.",
      valueName: "PATH"))
  var beforeChange: RawText?

  @Option(help: ArgumentHelp("What may be replaced.", valueName: "WHEN"))
  var overwrite: Overwrite?

  @Flag(help: "Look around and choose what comes back, as with 'sheaf browse'.")
  var pick = false

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
    var options = try options()
    if pick { return try browse(options) }
    if to == nil { try Destination.checkCanAsk(forPrograms: output.json) }
    let series = try store.openSeriesForReading()
    try volumes.add(to: series)
    let report = RunReport(output)
    var set = try point.find(in: series)
    var changed: Bytes?
    if let beforeChange { (set, changed) = try before(beforeChange, set, in: series, report) }
    let contents = try Contents(series, set)
    options.paths = try paths.flatMap(contents.paths)
    if let changed, paths.isEmpty { options.paths = [changed] }
    if let to {
      options.target = to.bytes
    } else {
      try Destination.ask(for: &options, of: set, contents)
      report.beginAnew()
    }
    try RestoreRun(series: series, options: options, output: output, isAsked: to == nil).run(set, report)
  }

  private func browse(_ options: RestoreOptions) throws {
    guard beforeChange == nil, paths.count < 2, !output.json else {
      throw Failure(
        .usage, "--pick goes with one folder to begin in, and neither with --before-change nor with --json",
        hint: "see 'sheaf browse --help'")
    }
    try BrowseRun.checkTerminal()
    let (store, series) = try store.openStoreAndSeries()
    try volumes.add(to: series)
    var options = options
    options.target = to?.bytes ?? []
    var browse = BrowseRun(store: store, series: series, options: options, output: output)
    try browse.run(at: point, path: paths.first)
  }

  /// But for the paths and the target.
  private func options() throws -> RestoreOptions {
    guard stripComponents >= 0 else {
      throw Failure(.usage, "--strip-components takes a number from 0 on", hint: "see 'sheaf restore --help'")
    }
    var options = RestoreOptions()
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
    return options
  }

  /// The point in which a path was another than in `latest`, and the path.
  private func before(
    _ text: RawText, _ latest: SetName, in series: Series, _ report: RunReport
  ) throws -> (SetName, Bytes) {
    let path = try text.storePath(below: series.newestSources()) { path in
      try series.sets().contains { series.has(path, in: $0) }
    }
    guard !path.isEmpty else {
      throw Failure(
        .usage, "--before-change takes a file or a folder", hint: "'sheaf points -s STORE' shows all points")
    }
    let task = BeforeChange(
      series, spillDirectory: Host.spillDirectory, reporter: report, progress: Interruption.progress)
    let found = try task.find(path, since: latest)
    if output.json { Self.printJSON(found, path) } else if !output.quiet { Self.printWords(found, path) }
    return (found.point, path)
  }

  private static func printWords(_ found: PointBeforeChange, _ path: Bytes) {
    let what = found.aspects.words.isEmpty ? "" : " (\(found.aspects.words.joined(separator: ", ")))"
    let change = found.isGone ? "is gone in" : "changed\(what) by"
    Console.shared.print(
      "\(Show.path(path)) \(change) \(found.changed.text): taking \(found.point.text), \(Words.ago(found.point.time))")
  }

  private static func printJSON(_ found: PointBeforeChange, _ path: Bytes) {
    var json = JSON("before_change")
    json.add("path", path)
    json.add("point", found.point.text)
    json.add("time", found.point.time)
    json.add("changed_in", found.changed.text)
    json.add("deleted", found.isGone)
    json.add("what", found.aspects.words.map { Bytes($0.utf8) })
    json.print()
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
}
