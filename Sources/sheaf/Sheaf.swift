/// The command line: one subcommand a file; this one dispatches and turns failures into messages and exit codes.
import ArgumentParser
import Posix
import SheafCore

@main
struct Sheaf: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sheaf",
    abstract: "Dated, plain tar.gz backups, restorable with nothing but tar.",
    discussion: """
      A first backup is full, the following ones hold what changed. STORE is a
      directory on the drive that takes the backups; give it with -s or in the
      environment variable SHEAF_STORE.

        sheaf init -s /media/drive/backup
        sheaf backup -s /media/drive/backup /home/me /etc
        sheaf points -s /media/drive/backup
        sheaf restore -s /media/drive/backup --to /tmp/restored --at 2026-11-24

      Exit codes: 0 done, 1 failed, 3 done but some files could not be saved or
      restored, 4 damage found, 10 no store there, 11 in use by another run,
      64 usage, 130 interrupted.
      """,
    version: version,
    subcommands: [
      InitCommand.self, BackupCommand.self, PointsCommand.self, ListCommand.self, CatCommand.self,
      FindCommand.self, HistoryCommand.self, DiffCommand.self, ManifestCommand.self, RestoreCommand.self,
      ExportCommand.self, VerifyCommand.self, PruneCommand.self, ProtectCommand.self, ConsolidateCommand.self,
      RebuildCommand.self, StatusCommand.self, UnlockCommand.self, IdentifyCommand.self,
    ])

  static let version = "0.1.0"

  static func main() {
    Host.raiseFileLimit()
    Interruption.install()
    // Swift reads the command line from /proc/self/cmdline.
    guard CommandLine.argc > 0 else {
      Console.shared.error("the command line cannot be read", hint: "is /proc mounted?")
      exit(.failed)
    }
    let arguments = Arguments.prepared()
    var status: Status
    do {
      try checkCommand(arguments)
      var command = try parseAsRoot(arguments)
      try command.run()
      status = .success
    } catch let failure as Failure {
      Console.shared.error(failure.message, hint: failure.hint ?? failure.manifestHint)
      status = Status(failure.kind)
      if arguments.contains("--json") { tell(failure, status) }
    } catch let ended as Status {
      status = ended
    } catch {
      status = explain(error)
    }
    Console.shared.close()
    if status.rawValue != 0 { exit(status) }
  }

  /// For a program that reads our output: the last line is no summary then.
  private static func tell(_ failure: Failure, _ status: Status) {
    var json = JSON("error")
    json.add("message", failure.message)
    json.add("hint", failure.hint)
    json.add("code", status.rawValue)
    json.print()
  }

  /// The parser would blame the first option for a command that is none.
  private static func checkCommand(_ arguments: [String]) throws {
    let known =
      configuration.subcommands.flatMap { [$0.configuration.commandName ?? ""] + $0.configuration.aliases } + ["help"]
    guard let first = arguments.first else { return }
    if first.hasPrefix("-") {
      let own = ["-h", "--help", "--version"]
      if own.contains(first) || first.hasPrefix("--generate-completion-script") || first.hasPrefix("--experimental") {
        return
      }
      throw Failure(.usage, "no command before \(Show.path(Arguments.unescape(first)))", hint: "see 'sheaf --help'")
    }
    if known.contains(first) { return }
    let near = known.filter { name in name.first == first.first && abs(name.count - first.count) < 3 }
    throw Failure(
      .usage, "no command '\(Show.path(Arguments.unescape(first)))'",
      hint: near.isEmpty ? "see 'sheaf --help'" : "did you mean \(near.joined(separator: " or "))?")
  }

  private static func exit(_ status: Status) -> Never { Foundationless.exit(status.rawValue) }

  /// Errors of the command line itself: our words for them, the parser's help where help was asked for.
  private static func explain(_ error: any Error) -> Status {
    let code = exitCode(for: error)
    if code == .success {
      Console.shared.print(fullMessage(for: error))
      return .success
    }
    // What follows the first line are other readings of the same words.
    let text = message(for: error).prefix { $0 != "\n" }
    // It repeats words of the command line, which a shell may have made of files' names.
    let first = Show.path(Arguments.unescape(text.prefix(1).lowercased() + text.dropFirst()))
    let known = configuration.subcommands.compactMap { $0.configuration.commandName }
    let command = CommandLine.arguments.dropFirst().first { known.contains($0) }
    let sentence = first.hasSuffix(".") ? first.dropLast() : first[...]
    let help = "see 'sheaf \(command.map { $0 + " " } ?? "")--help'"
    for advice in ["Did you mean", "Please"] {
      guard let range = sentence.firstRange(of: ". \(advice)") else { continue }
      Console.shared.error(
        String(sentence[..<range.lowerBound]), hint: advice.lowercased() + sentence[range.upperBound...])
      return .usage
    }
    Console.shared.error(String(sentence), hint: help)
    return .usage
  }
}

/// How the program ends; the numbers are restic's where the meaning is.
enum Status: Int32, Error {
  case success = 0
  case failed = 1
  case incomplete = 3
  case damaged = 4
  case noStore = 10
  case locked = 11
  case usage = 64
  case interrupted = 130

  init(_ kind: Failure.Kind) {
    switch kind {
    case .failed: self = .failed
    case .damaged: self = .damaged
    case .noStore: self = .noStore
    case .locked: self = .locked
    case .usage: self = .usage
    case .interrupted: self = .interrupted
    }
  }
}
