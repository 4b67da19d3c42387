/// `sheaf init`: makes a store.
import ArgumentParser
import Posix
import SheafCore

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a new store.",
    usage: "sheaf init -s STORE [--label NAME]",
    discussion: "The directory is made if it is missing. Anything else in it is left alone.")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Option(help: ArgumentHelp("A name for the drive, shown with its points.", valueName: "NAME"))
  var label: RawText?

  func run() throws {
    let path = try store.path()
    try refuseElsewhere(path)
    let made = try Store.create(path, label: label?.bytes ?? [], now: .now())
    if output.json {
      var json = JSON("summary")
      json.add("store", path)
      json.add("uuid", made.uuid)
      json.add("label", made.label)
      json.print()
    } else if !output.quiet {
      Console.shared.print("made a store at \(Show.path(path))")
      // The command stays in one piece, to be copied.
      Console.shared.list(
        Bytes("back up to it with:"), "sheaf backup -s \(Show.word(path)) SOURCE...", between: " ")
    }
    if let whose = made.sharesFileSystem(home: Host.environment("HOME")), !output.quiet {
      Console.shared.warning(
        "the store lies on the same file system as \(whose): if that disk fails, the backups are lost with it")
    }
  }

  /// Refuses names of other machines, and folders inside another store.
  private func refuseElsewhere(_ path: Bytes) throws {
    if (try? Descriptor.open(path, .pathOnly)) == nil, let colon = path.firstIndex(of: UInt8(ascii: ":")),
      !path[..<colon].contains(47), colon > 0
    {
      throw Failure(
        .usage, "\(Show.path(path)) names a store on another machine, which sheaf cannot make yet",
        hint: "mount it (sshfs, NFS) and name the folder; for a folder of that name, write ./\(Show.word(path))")
    }
    var folder: Bytes
    if let there = try? Host.resolved(path) {
      folder = there.splitAtName.parent
    } else {
      let name = Bytes(path.reversed().drop { $0 == 47 }.reversed())
      let parent = name.lastIndex(of: 47).map { Bytes(name[...$0]) } ?? Bytes(".")
      folder = (try? Host.resolved(parent)) ?? []
    }
    while !folder.isEmpty, folder != Bytes("/") {
      if Store.isMade(in: folder) {
        throw Failure(
          .usage, "\(Show.path(path)) would lie in the store \(Show.path(folder))",
          hint: "make it beside that one, or back up to that one with --series NAME")
      }
      folder = folder.splitAtName.parent
    }
  }
}
