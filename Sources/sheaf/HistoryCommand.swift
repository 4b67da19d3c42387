/// `sheaf history`: every version of one path.
import ArgumentParser
import Posix
import SheafCore

struct HistoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Show every version of a file.",
    usage: "sheaf history -s STORE PATH",
    discussion: "Oldest first: when each came, how large it is, its SHA-256, when it was deleted or could not be read.")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: ArgumentHelp("A file or folder in the store.", valueName: "PATH"))
  var path: RawText

  func run() throws {
    let series = try store.openSeriesForReading()
    let report = RunReport(output, finishesWork: false)
    var versions = 0
    let task = History(series, reporter: report, progress: Interruption.progress)
    let path = try path.storePath(below: series.newestSources()) { path in
      try series.sets().contains { series.has(path, in: $0) }
    }
    let isWhole = try task.run(path) { (version) throws(Failure) in
      if output.json {
        Self.printJSON(version)
      } else if !output.quiet {
        if versions == 0 { Console.shared.line(Console.shared.styled(Self.table.heading("what"), .dim)) }
        Self.printWords(version)
      }
      versions += 1
    }
    if output.json {
      var json = JSON("summary")
      json.add("path", path)
      json.add("versions", versions)
      json.add("damaged", !isWhole)
      json.print()
    }
    if !isWhole { throw Status.damaged }
  }

  private static let table = Table(
    [.left("point", 25), .left("modified", 16, rank: 1), .right("size", 7), .left("sha256", 11, rank: 2)],
    indent: "", rest: 15, room: Console.shared.columns)

  private static func printWords(_ v: Version) {
    let console = Console.shared
    var cells = [v.point.text, "", "", ""]
    if let entry = v.entry {
      cells[1] = String(Words.time(entry.modified).dropLast(3))
      cells[2] = entry.kind == .file ? Words.size(entry.size) : ""
      cells[3] = entry.digest.map { String($0.hex.prefix(11)) } ?? LongLine.word(entry.kind)
    }
    var what =
      switch v.event {
      case .new: console.styled("new", .green)
      case .changed: v.aspects.words.joined(separator: ", ")
      case .deleted: console.styled("deleted", .red)
      case .unseen: console.styled(v.entry == nil ? "unseen" : "unseen (last good copy)", .yellow)
      }
    if v.entry?.isTorn ?? false { what += console.styled(" (changed while it was read)", .yellow) }
    if v.isSuspectedRot { what += console.styled(" rot?", .red) }
    console.line(table.line(cells, what))
    if let moved = v.moved {
      let word = v.entry == nil ? "to" : "from"
      console.line(console.styled("  moved \(word) \(Show.path(moved))", .dim))
    }
    // Contents that did not change lie in an older set's archive.
    if let stored = v.stored, stored != v.point { console.line(console.styled("  stored in \(stored.text)", .dim)) }
  }

  private static func printJSON(_ v: Version) {
    var json = JSON("version")
    json.add("event", v.event.rawValue)
    json.add("point", v.point.text)
    json.add("time", v.point.time)
    if let entry = v.entry {
      json.addEntry(entry)
      json.add("stored", v.stored?.text)
    }
    if let moved = v.moved { json.add(v.entry == nil ? "moved_to" : "moved_from", moved) }
    if v.event == .changed {
      json.add("what", v.aspects.words.map { Bytes($0.utf8) })
      json.add("suspected_rot", v.isSuspectedRot)
    }
    json.print()
  }
}
