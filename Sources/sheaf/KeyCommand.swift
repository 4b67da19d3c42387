/// `sheaf key`: the key of an encrypted store: shown for paper, copied, locked.
import Age
import ArgumentParser
import Posix
import SheafCore

struct KeyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "Show, copy and lock the key of an encrypted store.",
    usage: "sheaf key ACTION -s STORE ...",
    discussion: """
      The key of a store is kept in ~/.config/sheaf/keys. It is not on the store, but for copies that are locked. \
      Without the key nothing of the store comes back.
      """,
    subcommands: [
      KeyShowCommand.self, KeyListCommand.self, KeyLockCommand.self, KeyRemoveCommand.self, KeyExportCommand.self,
      KeyImportCommand.self,
    ])

  func run() throws {
    throw Failure(.usage, "say what to do with the key: show, list, lock, remove, export or import")
  }
}

struct KeyShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Print the key, to be kept on paper.", usage: "sheaf key show -s STORE")

  @OptionGroup var store: StoreOptions

  func run() throws {
    let opened = try store.open()
    let text = try opened.keyText(writeOnly: false)
    let label = opened.label.isEmpty ? "" : " '\(Show.path(opened.label))'"
    Console.shared.print("Key of the backup store\(label), \(opened.uuid), made \(opened.created).")
    Console.shared.print(
      "Who has this page can read the backups; without it, or a copy, nobody can. To use it, type the lines below into a file, make that private (chmod 600), and give it with --key FILE. Without Sheaf: sh restore.sh --key FILE --to DIR, with the program age or rage."
    )
    Console.shared.line("")
    Console.shared.write(text.copy)
  }
}

struct KeyListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Show where the key is.", usage: "sheaf key list -s STORE")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let opened = try store.openWithoutKey()
    guard opened.isEncrypted else {
      throw Failure(.usage, "the store at \(Show.path(opened.path)) is not encrypted: it has no key")
    }
    let own = opened.keyFile(try store.keys.keys())
    let locked = try opened.keyCopies()
    if output.json {
      for copy in locked {
        var json = JSON("copy")
        json.add("name", copy.name)
        json.add("opens_with", copy.opensWithPassphrase ? "passphrase" : "key")
        json.print()
      }
      var json = JSON("summary")
      json.add("store", opened.path)
      json.add("uuid", opened.uuid)
      json.add("key_file", own ?? [])
      json.print()
      return
    }
    Console.shared.print("here: \(own.map { Show.path($0) } ?? "no key")")
    for copy in locked {
      let how = copy.opensWithPassphrase ? "locked with a passphrase" : "locked for another key"
      Console.shared.list(Bytes("on the store: \(Show.path(copy.name))".utf8), how)
    }
    if locked.isEmpty { Console.shared.print("on the store: no copy") }
  }
}

struct KeyLockCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lock", abstract: "Put a locked copy of the key on the store.",
    usage: "sheaf key lock -s STORE (--passphrase | --to KEY)")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Option(help: ArgumentHelp("What the copy is called.", valueName: "NAME"))
  var name: RawText?

  @Flag(help: "Lock it with a passphrase, which is asked for.")
  var passphrase = false

  @Option(
    help: ArgumentHelp("Lock it for the age key that this recipient (age1...) belongs to.", valueName: "RECIPIENT"))
  var to: RawText?

  func run() throws {
    guard passphrase != (to != nil) else { throw Failure(.usage, "give --passphrase or --to RECIPIENT") }
    // A passphrase that is given is for the copy, not for the key.
    let opened = try store.openWithKeyFile()
    let name = name?.bytes ?? Bytes(passphrase ? "passphrase" : "recipient")
    if let to {
      guard let recipient = X25519Recipient(to.bytes) else {
        throw Failure(.usage, "'\(Show.path(to.bytes))' is no age recipient", hint: "it begins with age1")
      }
      try opened.addKeyCopy(as: name, for: recipient)
    } else {
      try opened.addKeyCopy(as: name, for: Passphrase(store.keys.newPassphrase()))
    }
    if !output.quiet { Console.shared.print("a locked copy of the key is on the store: keys/\(Show.path(name)).age") }
  }
}

struct KeyRemoveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Remove a locked copy of the key from the store.",
    usage: "sheaf key remove -s STORE NAME")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: ArgumentHelp("The copy, as 'sheaf key list' shows it.", valueName: "NAME"))
  var name: RawText

  func run() throws {
    let opened = try store.openWithKeyFile()
    try opened.removeKeyCopy(name.bytes)
    guard !output.quiet else { return }
    Console.shared.print("removed keys/\(Show.path(name.bytes)).age")
    Console.shared.note("whoever has copied it and knows what opens it still has the key")
  }
}

struct KeyExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write the key to a file.",
    usage: "sheaf key export -s STORE [--write-only] FILE",
    discussion: """
      With --write-only the file is for a host that makes backups and cannot read them: it can write, list, prune and \
      check what is stored, and read names, sizes and dates, but no file's contents.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Flag(name: .customLong("write-only"), help: "Leave out what reads contents.")
  var writeOnly = false

  @Argument(help: ArgumentHelp("The file to be made.", valueName: "FILE"))
  var file: RawText

  func run() throws {
    let text = try store.open().keyText(writeOnly: writeOnly)
    try Keys.write(text, to: file.bytes)
    if !output.quiet {
      Console.shared.print("wrote the \(writeOnly ? "write-only key" : "key") to \(Show.path(file.bytes))")
    }
  }
}

struct KeyImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Keep a store's key on this machine.",
    usage: "sheaf key import -s STORE FILE")

  @OptionGroup var store: StoreOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: ArgumentHelp("The file with the key.", valueName: "FILE"))
  var file: RawText

  func run() throws {
    let keys = try store.keys.keys()
    let opened = try store.openWithoutKey()
    try opened.importKey(file.bytes, keys)
    guard !output.quiet, let there = opened.keyFile(keys) else { return }
    Console.shared.list(Bytes("the key is in:"), Show.path(there), between: " ")
  }
}
