/// The options that open encrypted archives, and how a passphrase is asked for.
import Age
import ArgumentParser
import Posix
import SheafCore

struct KeyOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Open an encrypted archive with the key in an age key file.", valueName: "FILE"))
  var key: RawText?

  @Option(
    name: .customLong("passphrase-file"),
    help: ArgumentHelp("Read a passphrase from the first line of FILE.", valueName: "FILE"))
  var passphraseFile: RawText?

  @Option(
    name: .customLong("passphrase-command"),
    help: ArgumentHelp("Read a passphrase from the first line that COMMAND prints.", valueName: "COMMAND"))
  var passphraseCommand: RawText?

  /// What the command line and the environment say.
  func keys() throws -> Keys {
    guard passphraseFile == nil || passphraseCommand == nil else {
      throw Failure(.usage, "a passphrase comes from a file or from a command, not from both")
    }
    let file = key?.bytes ?? Host.environment("SHEAF_KEY").flatMap { $0.isEmpty ? nil : $0 }
    return Keys(keyFile: file) { [passphraseFile, passphraseCommand] path throws(Failure) in
      Host.forbidDumps()
      if let passphraseFile { return try Self.line(of: Keys.openPrivate(passphraseFile.bytes)) }
      if let passphraseCommand { return try Self.output(of: passphraseCommand.bytes) }
      return try Self.typed(for: path)
    }
  }

  /// For commands on a store, where keys are of no use: that is said.
  func expectNone() throws {
    guard key != nil || passphraseFile != nil || passphraseCommand != nil else { return }
    throw Failure(.usage, "keys and passphrases open encrypted archives by themselves; stores are not encrypted")
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
  private static func typed(for path: Bytes) throws(Failure) -> Secret? {
    guard let terminal = Terminal.open() else { return nil }
    let isCancelled = { Interruption.progress.isCancelled.load(ordering: .relaxed) }
    let typed: Secret?
    do throws(SystemError) {
      typed = try terminal.withoutEcho { () throws(SystemError) -> Secret? in
        try terminal.write(Bytes("passphrase for \(Show.path(path)): ".utf8))
        return try terminal.waitForInput(unless: isCancelled) ? try Secret.line(of: terminal) : nil
      }
    } catch { throw Failure(error) }
    guard let typed else { throw Failure(.interrupted, "interrupted") }
    return typed
  }
}
