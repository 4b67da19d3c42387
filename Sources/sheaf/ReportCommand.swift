/// `sheaf report`: one page that shows a store.
import ArgumentParser
import Posix
import SheafCore

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Make one page that shows the store: index.html.",
    usage: "sheaf report -s STORE [--names] [-o FILE]",
    discussion: """
      The page lies on the store, unless -o names a file, and needs nothing but itself: any browser shows it, without a \
      network. Of an encrypted store no name of a file or folder stands in it; --names puts them into a FILE.
      """)

  @OptionGroup var store: StoreOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("Write FILE instead of index.html on the store; - is standard output.", valueName: "FILE"))
  var file: RawText?

  @Flag(help: "Of an encrypted store: with names of files and folders.")
  var names = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    let opened = try store.open(reads: true)
    if names, opened.isEncrypted, file == nil {
      throw Failure(
        .usage, "a page with names is not put on an encrypted store", hint: "name a local file with -o FILE")
    }
    let showsNames = names || !opened.isEncrypted
    let wanted = try store.series.map { [$0.bytes] } ?? opened.seriesNames()
    let report = RunReport(output)
    let all = try report.showing("looking") {
      try wanted.map { name in
        try Overview(
          opened.series(name, host: []), names: showsNames, Memory.stores, progress: Interruption.progress)
      }
    }
    let page = Bytes(ReportPage(store: opened, all: all, names: showsNames, now: .now()).text.utf8)
    let place = try write(page, to: opened)
    if output.json, place != nil || file == nil {
      var json = JSON("summary")
      json.add("path", place ?? [])
      json.add("series", all.count)
      json.add("points", all.reduce(0) { $0 + $1.points.count })
      json.add("bytes", page.count)
      json.print()
    } else if let place, !output.quiet {
      Console.shared.print("\(Show.path(place)): \(Words.size(page.count))")
    }
  }

  /// Where it lies; nil: nowhere, it was printed.
  private func write(_ page: Bytes, to store: Store) throws -> Bytes? {
    guard let file else { return try store.write(page: page, marked: Bytes(ReportPage.generator.utf8)) }
    if file.bytes == Bytes("-") {
      Console.shared.write(page)
      return nil
    }
    try Self.write(page, to: file.bytes)
    return file.bytes
  }

  /// A page of ours is replaced, and nothing else.
  private static func write(_ page: Bytes, to path: Bytes) throws {
    let (parent, name) = path.splitAtName
    let above = parent.isEmpty && path.first != 47 ? Bytes(".") : parent + [47]
    do throws(SystemError) {
      let directory = try Descriptor.open(above, [.read, .directory])
      var replaces = false
      if let there = try? directory.status(of: name) {
        guard there.kind == .file,
          try directory.open(name, [.read, .noFollow]).readAll(atMost: 4096).holds(Bytes(ReportPage.generator.utf8))
        else { throw SystemError.existing("write", path) }
        replaces = true
      }
      // It tells what was saved.
      let file = try NewFile(name, in: directory, mode: 0o600)
      try file.descriptor.write(page)
      try file.seal()
      if replaces { try directory.removeFile(name) }
      try file.publish()
    } catch {
      throw Failure(error, hint: error.isExisting ? "choose another name: only a page of sheaf's is replaced" : nil)
    }
  }
}
