/// `sheaf find`: names in all points at once.
import ArgumentParser
import Posix
import SheafCore

struct FindCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "find", abstract: "Look for files in all points.",
    usage: "sheaf find -s STORE [-il] PATTERN",
    discussion: """
      The newest version of each path that matches, deleted ones too. PATTERN is written as for backup's --exclude: \
      without a slash it matches a whole name at any depth, as in '*.jpg'; with one at the beginning it is an absolute \
      path; with one in the middle, a path below any source. A path as any command shows it is found, too.
      """)

  @OptionGroup var store: StoreOptions

  @Argument(help: ArgumentHelp("The pattern that names must match.", valueName: "PATTERN"))
  var pattern: RawText

  @Flag(name: [.short, .long], help: "Show modes, owners, sizes and times, as ls -l does.")
  var long = false

  @Flag(name: [.short, .long], help: "Ignore the case of letters.")
  var ignoreCase = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    let (opened, series) = try store.openStoreAndSeries()
    series.holdSets()
    let report = RunReport(output, finishesWork: false)
    var found = 0
    var deleted = 0
    let task = Find(series, reporter: report, progress: Interruption.progress)
    let long = long
    let output = output
    let isWhole = try task.run(pattern.bytes, ignoringCase: ignoreCase) { (finding) throws(Failure) in
      found += 1
      if !finding.isThere { deleted += 1 }
      if output.json { Self.printJSON(finding) } else if !output.quiet { Self.printWords(finding, long: long) }
    }
    if output.json {
      var json = JSON("summary")
      json.add("entries", found)
      json.add("deleted", deleted)
      json.add("damaged", !isWhole)
      json.print()
    }
    if found == 0, isWhole {
      let others = store.series == nil ? (try? opened.seriesNames())?.filter { $0 != series.name } ?? [] : []
      let whose = others.isEmpty ? "no point" : "no point of '\(Show.path(series.name))'"
      Console.shared.note(
        "\(whose) has anything like \(Show.path(pattern.bytes))\(advice.map { ": \($0)" } ?? "")")
      if !others.isEmpty {
        let names = others.map { Show.path($0) }.joined(separator: ", ")
        Console.shared.note("the store has other series, which --series NAME looks in: \(names)")
      }
    }
    if !isWhole { throw Status.damaged }
  }

  /// A suggestion for a search that found nothing.
  private var advice: String? {
    let text = pattern.bytes
    if text.contains(where: { Bytes("*?[\\".utf8).contains($0) }) { return ignoreCase ? nil : "-i ignores case" }
    let name = Bytes((text.last == 47 ? text.dropLast() : text[...]).split(separator: 47).last ?? [])
    guard !name.isEmpty else { return nil }
    let star: Bytes = [42]
    return "try \(Show.word(name + star)) for names that begin so, or \(Show.word(star + name + star))"
  }

  private static func printWords(_ f: Finding, long: Bool) {
    let console = Console.shared
    let name = console.path(f.entry.kind == .directory ? f.entry.path + [47] : f.entry.path)
    var words: [String] = []
    if !f.isThere { words.append(console.styled("(last in \(f.point.text))", .dim)) }
    if f.isUnseen { words.append("(last good copy)") }
    console.list(name, behind: long ? LongLine.text(f.entry) : "", words.joined(separator: "  "))
  }

  private static func printJSON(_ f: Finding) {
    var json = JSON("entry")
    json.addEntry(f.entry)
    json.add("point", f.point.text)
    json.add("deleted", !f.isThere)
    if f.isUnseen { json.add("unseen", true) }
    json.print()
  }
}
