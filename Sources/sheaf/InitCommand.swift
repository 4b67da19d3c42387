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
    let place = try store.place()
    let path = place.text
    if !place.isRemote { try refuseElsewhere(path) }
    let made = try Store.create(place, by: store.remote.access, label: label?.bytes ?? [], now: .now())
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
    if place.isRemote, !made.isKnownDurable, !output.quiet {
      Console.shared.warning(
        "this server does not tell when what was written is on its disk: if it loses power, what was saved last may be lost"
      )
    }
  }

  /// Refuses names of other machines that are no address, and folders inside another store.
  private func refuseElsewhere(_ path: Bytes) throws {
    if (try? Descriptor.open(path, .pathOnly)) == nil, let colon = path.firstIndex(of: UInt8(ascii: ":")),
      !path[..<colon].contains(47), colon > 0
    {
      throw Failure(
        .usage, "\(Show.path(path)) is no address of a store on another machine",
        hint: "write \(Show.word(Self.address(path, colon))); for a folder of that name, write ./\(Show.word(path))")
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
        throw Store.isInside(path, folder)
      }
      folder = folder.splitAtName.parent
    }
  }

  /// What `USER@HOST:PATH` would be, as scp(1) and rsync(1) write it; of other schemes the form alone.
  private static func address(_ path: Bytes, _ colon: Int) -> Bytes {
    let (host, folder) = (Bytes(path[..<colon]), Bytes(path[(colon + 1)...]))
    guard !folder.starts(with: Bytes("//")), !folder.isEmpty else { return Bytes("sftp://USER@HOST/PATH") }
    return Bytes("sftp://") + host + Bytes(folder.first == 47 ? "" : "/~/") + folder
  }
}
