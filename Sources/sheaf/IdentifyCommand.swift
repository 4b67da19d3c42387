/// `sheaf identify`: which store this is, and an identity of its own for a copy.
import ArgumentParser
import Posix
import SheafCore

struct IdentifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "identify", abstract: "Show a store's identity, or give a copy one of its own.",
    usage: "sheaf identify -s STORE [--new]",
    discussion: """
      A store that was copied has the identity of the original. Where both go on, give one of them a new identity, so \
      that they are not taken for one store that is set back again and again.
      """)

  @OptionGroup var store: StoreOptions

  @Flag(help: "Give the store a new identity.")
  var new = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    var opened = try store.open()
    let before = opened.uuid
    if new {
      opened = try opened.identifyAnew(keys: store.keys.keys())
      for name in try opened.seriesNames() {
        try? Memory.stores?.remember(try opened.series(name, host: []), now: .now())
      }
    }
    if output.json {
      var json = JSON("summary")
      json.add("store", opened.path)
      json.add("uuid", opened.uuid)
      json.add("label", opened.label)
      if new { json.add("before", before) }
      json.print()
    } else if !output.quiet {
      let label = opened.label.isEmpty ? "" : ", '\(Show.path(opened.label))'"
      Console.shared.print(
        new
          ? "the store at \(Show.path(opened.path))\(label) is \(opened.uuid) from now on"
          : "the store at \(Show.path(opened.path))\(label) is \(opened.uuid), made \(opened.created)")
    }
  }
}
