/// `sheaf unlock`: takes away locks whose runs are over.
import ArgumentParser
import Posix
import SheafCore

struct UnlockCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unlock", abstract: "Remove locks that runs left behind.",
    usage: "sheaf unlock -s STORE [--series NAME] [--force]",
    discussion: """
      Look first whether a run that holds one is still going, on another machine or in a container. The lock of a run \
      that is known to go on stays, unless --force is given.
      """)

  @OptionGroup var store: StoreOptions

  @Flag(help: "Remove the lock of a run that is still going, too.")
  var force = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    let opened = try store.open()
    let locks = try opened.locks(of: store.series?.bytes)
    var removed: [Bytes] = []
    for found in locks where force || !found.lock.isHeld {
      found.remove()
      removed.append(Bytes(found.lock.holder.utf8))
      if !output.json, !output.quiet {
        Console.shared.print("removed the lock of \(found.what), held by \(found.lock.holder)")
      }
    }
    let held = force ? [] : locks.filter(\.lock.isHeld)
    if output.json {
      var json = JSON("summary")
      json.add("removed", removed)
      json.add("held", held.map { Bytes($0.lock.holder.utf8) })
      json.print()
    } else if locks.isEmpty, !output.quiet {
      Console.shared.print("nothing is locked")
    }
    if let first = held.first { throw first.failure(in: opened) }
  }
}
