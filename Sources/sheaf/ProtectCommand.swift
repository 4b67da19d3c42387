/// `sheaf protect`: marks a point that no rule is to take away.
import ArgumentParser
import Posix
import SheafCore

struct ProtectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "protect", abstract: "Keep a point whatever the rules of 'sheaf prune' say.",
    usage: "sheaf protect -s STORE [--remove] POINT")

  @OptionGroup var store: StoreOptions

  @Argument(help: ArgumentHelp("The point.", valueName: "POINT"))
  var point: RawText

  @Flag(help: "Stop protecting it.")
  var remove = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    let series = try store.openSeries()
    let set = try series.find(point: point.bytes, now: .now())
    let isNew = try remove ? series.unprotect(set.point) : series.protect(set.point)
    if output.json {
      var json = JSON("summary")
      json.add("set", set.text)
      json.add("point", set.point)
      json.add("protected", !remove)
      json.add("changed", isNew)
      json.print()
    } else if !output.quiet {
      let state = remove ? "not protected" : "protected"
      Console.shared.print("\(set.text) is \(state)\(isNew ? remove ? " any more" : "" : " already")")
    }
  }
}
