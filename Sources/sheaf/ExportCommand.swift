/// `sheaf export`: one plain tar of a point.
import ArgumentParser
import Posix
import SheafCore

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write one plain tar of a point.",
    usage: "sheaf export -s STORE [--at POINT] [-z]\n    [-o FILE] [PATH]",
    discussion: """
      The archive goes to standard output, or into a new FILE, which is deflated if its name ends in .gz or .tgz. With \
      PATH it holds what is at and below it, and the folders above.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("A file or folder in the point.", valueName: "PATH"))
  var path: RawText?

  @Option(name: [.customShort("o"), .customLong("output")], help: ArgumentHelp("The file to make.", valueName: "FILE"))
  var file: RawText?

  @Flag(name: [.customShort("z"), .long], help: "Compress the archive with gzip.")
  var gzip = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var work: WorkOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    var options = ExportOptions()
    let endings = [Bytes(".gz"), Bytes(".tgz")]
    let isDeflated =
      gzip || file.map { file in endings.contains { file.bytes.suffix($0.count).elementsEqual($0) } } ?? false
    options.level = isDeflated ? 1 : nil
    if file == nil {
      if output.json || output.verbose {
        throw Failure(
          .usage, "standard output takes the archive, so \(output.json ? "--json" : "--verbose") needs -o FILE",
          hint: "see 'sheaf export --help'")
      }
      if Console.shared.outIsTerminal {
        throw Failure(
          .usage, "an archive is nothing for a terminal", hint: "send it to a file or a program, or use -o FILE")
      }
    }
    let series = try store.openSeriesForReading()
    try volumes.add(to: series)
    let set = try point.find(in: series)
    options.path = try path.map { try Contents(series, set).path($0) } ?? []
    let report = RunReport(output)
    let task = Export(series, options, reporter: report, progress: Interruption.progress)
    let summary = try report.showing("exporting") {
      guard let file else { return try task.run(set, to: .standardOutput) }
      return try Self.making(file.bytes) { (out) throws(Failure) in try task.run(set, to: out) }
    }
    if output.json { printJSON(summary, report) } else if file != nil, !output.quiet { printWords(summary, report) }
    if summary.isDamaged { throw Status.damaged }
    try report.finish()
  }

  /// The file appears when it is whole, and takes no other's place.
  private static func making<R>(_ path: Bytes, _ body: (Descriptor) throws(Failure) -> R) throws -> R {
    let (parent, name) = path.splitAtName
    let above = parent.isEmpty && path.first != 47 ? Bytes(".") : parent + [47]
    do {
      let directory = try Descriptor.open(above, [.read, .directory])
      if (try? directory.status(of: name)) != nil {
        throw Failure(.failed, "\(Show.path(path)) is there already", hint: "choose another name, or remove it first")
      }
      // What only its owner could read where it was saved is no one else's here.
      let file = try NewFile(name, in: directory, mode: 0o600)
      do {
        let result = try body(file.descriptor)
        try file.seal()
        try file.publish()
        return result
      } catch {
        file.discard()
        throw error
      }
    } catch let error as SystemError { throw Failure(error) }
  }

  private func printWords(_ s: ExportSummary, _ report: RunReport) {
    let what = "\(Words.count(s.files, "file")) in \(Words.count(s.directories, "folder")), \(Words.size(s.bytes))"
    Console.shared.print("exported \(what) from \(s.set.text) in \(Words.duration(report.elapsed))")
    report.printEnd(unseen: s.unseen)
  }

  private func printJSON(_ s: ExportSummary, _ report: RunReport) {
    var json = JSON("summary")
    json.add("set", s.set.text)
    json.add("files", s.files)
    json.add("directories", s.directories)
    json.add("bytes", s.bytes)
    json.add("files_unseen", s.unseen)
    json.add("problems", report.problemCount)
    json.add("damaged", s.isDamaged)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }
}
