/// `sheaf init`: makes a store.
import ArgumentParser
import Posix
import SheafCore

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a new store.",
    usage: "sheaf init -s STORE [--label NAME]",
    discussion: "The directory is created where it is missing; what else lies in it is left alone.")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Option(help: ArgumentHelp("A name for the drive, shown with its points.", valueName: "NAME"))
  var label: RawText?

  func run() throws {
    let path = try store.path()
    let made = try Store.create(path, label: label?.bytes ?? [], now: .now())
    if output.json {
      var json = JSON("summary")
      json.add("store", path)
      json.add("uuid", made.uuid)
      json.add("label", made.label)
      json.print()
    } else if !output.quiet {
      Console.shared.print("made a store at \(Show.path(path))")
      Console.shared.print("back up to it with: sheaf backup -s \(Show.word(path)) SOURCE...")
    }
  }
}
