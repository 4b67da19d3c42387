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
    let series = try store.openSeries()
    let report = RunReport(output, finishesWork: false)
    var versions = 0
    let task = History(series, reporter: report, progress: Interruption.progress)
    let path = try path.storePath { path in try series.sets().contains { series.has(path, in: $0) } }
    let isWhole = try task.run(path) { (version) throws(Failure) in
      if output.json {
        Self.printJSON(version)
      } else if !output.quiet {
        if versions == 0 { Self.printHeading() }
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

  private static func printHeading() {
    let columns = "\(Words.left("point", 27))\(Words.left("modified", 18))\(Words.right("size", 7))  sha256       what"
    Console.shared.print(Console.shared.styled(columns, .dim))
  }

  private static func printWords(_ v: Version) {
    let console = Console.shared
    var line = Words.left(v.point.text, 27)
    if let entry = v.entry {
      let size = entry.kind == .file ? Words.size(entry.size) : ""
      let digest = entry.digest.map { String($0.hex.prefix(12)) } ?? LongLine.word(entry.kind)
      line += "\(Words.time(entry.modified).dropLast(3))  \(Words.right(size, 7))  \(Words.left(digest, 13))"
    } else {
      line += Words.left("", 18 + 7 + 2 + 13)
    }
    switch v.event {
    case .new: line += console.styled("new", .green)
    case .changed: line += v.aspects.words.joined(separator: ", ")
    case .deleted: line += console.styled("deleted", .red)
    case .unseen: line += console.styled(v.entry == nil ? "unseen" : "unseen (last good copy)", .yellow)
    }
    if v.entry?.isTorn ?? false { line += console.styled(" (changed while it was read)", .yellow) }
    if v.isSuspectedRot { line += console.styled(" rot?", .red) }
    console.print(line)
    if let moved = v.moved {
      let word = v.entry == nil ? "to" : "from"
      console.print(console.styled("  moved \(word) \(Show.path(moved))", .dim))
    }
    // Where the contents were kept from before, they lie in another set's archive.
    if let stored = v.stored, stored != v.point { console.print(console.styled("  stored in \(stored.text)", .dim)) }
  }

  private static func printJSON(_ v: Version) {
    var json = JSON("version")
    json.add("event", word(v.event))
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

  private static func word(_ event: Version.Event) -> String {
    switch event {
    case .new: "new"
    case .changed: "changed"
    case .deleted: "deleted"
    case .unseen: "unseen"
    }
  }
}
