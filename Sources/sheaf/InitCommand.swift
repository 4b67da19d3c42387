/// `sheaf init`: makes a store.
import Age
import ArgumentParser
import Posix
import SheafCore

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a new store.",
    usage: "sheaf init -s STORE [--label NAME] [--encrypt]",
    discussion: "The directory is made if it is missing. Anything else in it is left alone.")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Option(help: ArgumentHelp("A name for the drive, shown with its points.", valueName: "NAME"))
  var label: RawText?

  @Flag(help: "Encrypt all that is stored, with a key that stays on this machine.")
  var encrypt = false

  @Flag(help: "Put a copy of the key on the store, locked with a passphrase.")
  var passphrase = false

  /// Whether a copy of the key is locked with a passphrase: one that is given has no other use here.
  private var locks: Bool { passphrase || store.keys.givesPassphrase }

  func run() throws {
    let place = try store.place()
    let path = place.text
    if !place.isRemote { try refuseElsewhere(path) }
    guard encrypt || !locks else {
      throw Failure(.usage, "a passphrase locks a copy of the key that --encrypt makes", hint: "give --encrypt as well")
    }
    guard store.keys.key == nil else {
      throw Failure(
        .usage, "init makes a new key: --key is for a store that has one",
        hint: "'sheaf key export' writes the new key to a file")
    }
    let secret = locks ? try store.keys.newPassphrase() : nil
    let there = encrypt ? try? store.openWithoutKey() : nil
    guard there == nil || label == nil else {
      throw Failure(.usage, "there is a store at \(Show.path(path)) already, which has its label")
    }
    let made =
      try there?.encrypt(keys: store.keys.keys(), now: .now())
      ?? Store.create(
        place, by: store.remote.access, label: label?.bytes ?? [], now: .now(),
        keys: encrypt ? store.keys.keys() : nil)
    let others = Memory.stores?.seen(at: place) ?? []
    try? Memory.stores?.remember(made, now: .now())
    if let secret { try made.addKeyCopy(as: Bytes("passphrase"), for: Passphrase(secret)) }
    if output.json {
      var json = JSON("summary")
      json.add("store", path)
      json.add("uuid", made.uuid)
      json.add("label", made.label)
      json.add("encrypted", encrypt)
      json.print()
    } else if !output.quiet {
      Console.shared.print(
        there != nil
          ? "the store at \(Show.path(path)) is encrypted from now on; what it holds stays readable as it is"
          : "made \(encrypt ? "an encrypted store" : "a store") at \(Show.path(path))")
      if encrypt { tellOfKey(made) }
      // The command stays in one piece, to be copied.
      let named = Show.word(path) + GivenStore.opening
      Console.shared.list(Bytes("back up to it with:"), "sheaf backup -s \(named) SOURCE...", between: " ")
    }
    if there == nil, let other = others.first(where: { $0.uuid != made.uuid }) {
      Console.shared.warning(
        "this store is new and empty: '\(other.shownName)', which was here \(Words.ago(other.seen)), is another one")
    }
    if let whose = made.sharesFileSystem(home: Host.environment("HOME")), !output.quiet {
      Console.shared.warning(
        "the store lies on the same file system as \(whose): if that disk fails, the backups are lost with it")
    }
    if place.isRemote, !made.isEncrypted, !output.quiet {
      Console.shared.note(
        "the store is not encrypted: whoever runs that machine can read what is saved ('sheaf init -s STORE --encrypt' encrypts it)"
      )
    }
    if place.isRemote, !made.isKnownDurable, !output.quiet {
      Console.shared.warning(
        "this server does not tell when what was written is on its disk: if it loses power, what was saved last may be lost"
      )
    }
  }

  /// Without the key nothing comes back, so where it lies and what is to be done with it is said at once.
  private func tellOfKey(_ made: Store) {
    guard let file = made.keyFile(try? store.keys.keys()) else { return }
    Console.shared.list(Bytes("the key is in:"), Show.path(file), between: " ")
    Console.shared.print(
      locks
        ? "a copy of it that the passphrase opens is on the store; without the key or the passphrase nothing comes back"
        : "without the key nothing comes back: keep a copy of it elsewhere, not on the store")
    let name = Show.word(made.path) + GivenStore.opening
    Console.shared.list(Bytes("on paper:"), "sheaf key show -s \(name)", between: " ")
    if !locks {
      Console.shared.list(
        Bytes("on the store, locked:"), "sheaf key lock -s \(name) --passphrase", between: " ")
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
    let folder: Bytes
    if let there = try? Host.resolved(path) {
      folder = there.splitAtName.parent
    } else {
      let name = Bytes(path.reversed().drop { $0 == 47 }.reversed())
      let parent = name.lastIndex(of: 47).map { Bytes(name[...$0]) } ?? Bytes(".")
      folder = (try? Host.resolved(parent)) ?? []
    }
    if let outer = Store.nearest(above: folder) { throw Store.isInside(path, outer) }
  }

  /// What `USER@HOST:PATH` would be, as scp(1) and rsync(1) write it; of other schemes the form alone.
  private static func address(_ path: Bytes, _ colon: Int) -> Bytes {
    let (host, folder) = (Bytes(path[..<colon]), Bytes(path[(colon + 1)...]))
    guard !folder.starts(with: Bytes("//")), !folder.isEmpty else { return Bytes("sftp://USER@HOST/PATH") }
    return Bytes("sftp://") + host + Bytes(folder.first == 47 ? "" : "/~/") + folder
  }
}
