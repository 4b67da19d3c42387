/// The options that open encrypted stores and archives, and how a passphrase is asked for.
import Age
import ArgumentParser
import Posix
import SheafCore

struct KeyOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Open what is encrypted with the key in an age key file.", valueName: "FILE"))
  var key: RawText?

  @Option(
    name: .customLong("passphrase-file"),
    help: ArgumentHelp("Read a passphrase from the first line of FILE.", valueName: "FILE"))
  var passphraseFile: RawText?

  @Option(
    name: .customLong("passphrase-command"),
    help: ArgumentHelp("Read a passphrase from the first line that COMMAND prints.", valueName: "COMMAND"))
  var passphraseCommand: RawText?

  /// Those that were given, as a command line has them.
  var words: [String] {
    [("key", key), ("passphrase-file", passphraseFile), ("passphrase-command", passphraseCommand)].compactMap {
      name, value in value.map { Arguments.option(name, $0.bytes) }
    }
  }

  /// Whether the command line says where a passphrase comes from.
  var givesPassphrase: Bool { passphraseFile != nil || passphraseCommand != nil }

  /// Of a key that was given.
  var file: Bytes? { key?.bytes ?? Host.environment("SHEAF_KEY").flatMap { $0.isEmpty ? nil : $0 } }

  /// What the command line and the environment say.
  func keys() throws -> Keys {
    guard passphraseFile == nil || passphraseCommand == nil else {
      throw Failure(.usage, "a passphrase comes from a file or from a command, not from both")
    }
    // Where another key opens the store it would not be read, and what is wrong with it stay unsaid.
    if let path = passphraseFile?.bytes {
      do throws(SystemError) { _ = try Descriptor.open(path, .pathOnly) } catch { throw Failure(error) }
    }
    return Keys(keyFile: file, directory: Memory.keys, memory: Memory.directory) {
      [passphraseFile, passphraseCommand, givesPassphrase] path, attempt throws(Failure) in
      if givesPassphrase { return attempt == 0 ? try Self.given(passphraseFile, passphraseCommand) : nil }
      guard attempt < Self.attempts else { return nil }
      return try Self.typed(attempt == 0 ? "passphrase for \(Show.path(path)): " : "wrong passphrase; once more: ")
    }
  }

  /// So many passphrases may be typed, as with ssh and sudo.
  private static let attempts = 3

  /// Says where a key was given for a store that needs none.
  func check(against store: Store) throws {
    guard !store.isEncrypted, key != nil || givesPassphrase else { return }
    throw Failure(.usage, "the store at \(Show.path(store.path)) is not encrypted: it takes no key")
  }

  /// A new one, which is typed twice.
  func newPassphrase() throws -> Secret {
    Host.forbidDumps()
    let passphrase: Secret
    if let given = try Self.given(passphraseFile, passphraseCommand) {
      passphrase = given
    } else {
      guard let first = try Self.typed("new passphrase: "), let again = try Self.typed("the same once more: ") else {
        throw Failure(
          .usage, "there is no terminal to ask for a passphrase", hint: "use --passphrase-file or --passphrase-command")
      }
      guard first.isSame(as: again) else { throw Failure(.usage, "the passphrases are not the same") }
      passphrase = first
    }
    guard passphrase.count > 0 else { throw Failure(.usage, "an empty passphrase protects nothing") }
    return passphrase
  }

  private static func given(_ file: RawText?, _ command: RawText?) throws(Failure) -> Secret? {
    Host.forbidDumps()
    if let file { return try line(of: Keys.openPrivate(file.bytes)) }
    if let command { return try output(of: command.bytes) }
    return nil
  }

  private static func line(of file: Descriptor, drained: Bool = false) throws(Failure) -> Secret {
    do throws(SystemError) { return try Secret.line(of: file, drained: drained) } catch { throw Failure(error) }
  }

  private static func output(of command: Bytes) throws(Failure) -> Secret {
    let shell: Child
    do throws(SystemError) {
      shell = try Child([Bytes("/bin/sh"), Bytes("-c"), command])
      try shell.input.close()
    } catch { throw Failure(error) }
    let errors = shell.errors
    let said = Monitor<Bytes>([])
    let listener = Thread {
      while let more = try? errors.readSome(atMost: 4096), !more.isEmpty {
        said.change { if $0.count < 1 << 16 { $0 += more } }
      }
    }
    let passphrase = Result { () throws(Failure) in try line(of: shell.output, drained: true) }
    try? shell.output.close()
    let status = shell.wait()
    listener.join()
    guard status == 0 else {
      let words = said.look { $0.split(separator: 10).first.map { ": \(Show.path(Bytes($0)))" } ?? "" }
      throw Failure(.failed, "the command for the passphrase ended with \(status)\(words)")
    }
    return try passphrase.get()
  }

  /// nil if there is no terminal to ask on.
  private static func typed(_ prompt: String) throws(Failure) -> Secret? {
    guard let terminal = Terminal.open() else { return nil }
    let isCancelled = { Interruption.progress.isCancelled.load(ordering: .relaxed) }
    let typed: Secret?
    do throws(SystemError) {
      typed = try terminal.withoutEcho { () throws(SystemError) -> Secret? in
        try terminal.write(Bytes(prompt.utf8))
        return try terminal.waitForInput(unless: isCancelled) ? try Secret.line(of: terminal) : nil
      }
    } catch { throw Failure(error) }
    guard let typed else { throw Failure(.interrupted, "interrupted") }
    return typed
  }
}
