/// `sheaf browse`: a look around in the terminal.
import ArgumentParser
import Posix
import SheafCore

struct BrowseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "browse", abstract: "Look around, and restore what is marked.",
    usage: "sheaf browse -s STORE [--at POINT] [PATH]",
    discussion: """
      Shows the points and their folders in the whole terminal: Enter opens a folder, or shows the versions of a file; \
      '/' looks for names in all points as you type; Space marks, r restores what is marked and asks where; q leaves, \
      and '?' shows all keys. 'sheaf restore --pick' does the same with the options of a restore.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("The folder to begin in.", valueName: "PATH"))
  var path: RawText?

  @OptionGroup var volumes: VolumeOptions

  func run() throws {
    try BrowseRun.checkTerminal()
    let (store, series) = try store.openStoreAndSeries()
    try volumes.add(to: series)
    var browse = BrowseRun(store: store, series: series, options: RestoreOptions(), output: try OutputOptions.parse([]))
    try browse.run(at: point, path: path)
  }
}
