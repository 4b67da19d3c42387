/// `sheaf manifest`: a point as an mtree on standard output.
import ArgumentParser
import Posix
import SheafCore

struct ManifestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manifest", abstract: "Print the whole mtree of a point.",
    usage: "sheaf manifest -s STORE [--at POINT]",
    discussion: "NetBSD's mtree compares a restored tree with it: sheaf manifest | mtree -p DIR")

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    let series = try store.openSeriesForReading()
    let contents = try Contents(series, point.find(in: series))
    if output.json {
      var count = 0
      try contents.list([], recursive: true) { (entry, isUnseen) throws(Failure) in
        ListCommand.printJSON(entry, isUnseen)
        count += 1
      }
      var json = JSON("summary")
      json.add("entries", count)
      return json.print()
    }
    try contents.manifest { (bytes) throws(Failure) in
      try Interruption.progress.checkCancelled()
      Console.shared.write(Bytes(bytes))
    }
  }
}
