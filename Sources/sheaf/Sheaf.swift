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
      A first backup is full, the following ones hold what changed. STORE is a directory on the drive that takes the \
      backups; give it with -s or in the environment variable SHEAF_STORE.

        sheaf init -s /media/drive/backup
        sheaf backup -s /media/drive/backup /home/me /etc
        sheaf points -s /media/drive/backup
        sheaf restore -s /media/drive/backup --to /tmp/old

      Exit codes: 0 done, 1 failed, 3 done but some files could not be saved or restored, 4 damage found, 10 no store \
      there, 11 in use by another run, 64 usage, 130 interrupted.
      """,
    version: version,
    subcommands: [
      InitCommand.self, BackupCommand.self, PointsCommand.self, ListCommand.self, CatCommand.self,
      FindCommand.self, HistoryCommand.self, BrowseCommand.self, DiffCommand.self, ManifestCommand.self,
      RestoreCommand.self,
      ExportCommand.self, VerifyCommand.self, ProveCommand.self, PruneCommand.self, ProtectCommand.self,
      ConsolidateCommand.self,
      CopyCommand.self, ImportCommand.self, MountCommand.self, RebuildCommand.self, StatusCommand.self,
      UnlockCommand.self, IdentifyCommand.self,
      KeyCommand.self, RunCommand.self, ConfigCommand.self, ScheduleCommand.self, ReportCommand.self,
    ])

  static let version = "0.1.0"

  static func main() {
    Host.raiseFileLimit()
    Interruption.install()
    let arguments = Arguments.prepared()
    if Completions.answer(arguments) { return }
    let status = perform(arguments)
    if status.rawValue != 0 { exit(status) }
  }

  /// Runs a command line to its end, with all that it prints.
  static func perform(_ arguments: [String]) -> Status {
    var status = Status.success
    GivenStore.note(arguments)
    do {
      if let script = try CompletionScripts.wanted(by: arguments) {
        Console.shared.write(Bytes(script.utf8))
        Console.shared.close()
        return status
      }
      try checkCommand(arguments)
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch let ended as Status {
      status = ended
    } catch let failure as Failure {
      status = report(failure, arguments)
    } catch  where exitCode(for: error) == .success {
      // Help was asked for.
      Console.shared.line(fullMessage(for: error))
    } catch {
      status = report(UsageMistake.failure(message(for: error), arguments), arguments)
    }
    Console.shared.close()
    return status
  }

  private static func report(_ failure: Failure, _ arguments: [String]) -> Status {
    // Who waits for another machine is let go, which looks like a connection that was lost.
    let isGivenUp = failure.cause?.kind == .unreachable && !Interruption.progress.goesOn
    let status = isGivenUp ? .interrupted : Status(failure.kind)
    Console.shared.error(failure.message, hint: failure.hint ?? failure.manifestHint)
    if arguments.prefix(while: { $0 != "--" }).contains("--json") { tell(failure, status) }
    return status
  }

  /// For programs that read our output: this line takes the summary's place.
  private static func tell(_ failure: Failure, _ status: Status) {
    var json = JSON("error")
    json.add("message", failure.message)
    json.add("hint", failure.hint.map(GivenStore.filled))
    json.add("code", status.rawValue)
    json.print()
  }

  /// Without this, the parser would blame the first option if the command does not exist.
  private static func checkCommand(_ arguments: [String]) throws {
    let known =
      configuration.subcommands.flatMap { [$0.configuration.commandName ?? ""] + $0.configuration.aliases } + ["help"]
    guard let first = arguments.first else { return }
    if first.hasPrefix("-") {
      let own = ["-h", "--help", "--version"]
      if own.contains(first) || first.hasPrefix("--experimental") { return }
      throw UsageMistake.noCommand(before: first, arguments, known: known)
    }
    guard known.contains(first) else { throw UsageMistake.noCommand(first, known: known) }
    guard let second = arguments.dropFirst().first, !second.hasPrefix("-") else { return }
    if first == "help", !known.contains(second) { throw UsageMistake.noCommand(second, known: known) }
    let group = configuration.subcommands.first { $0.configuration.commandName == first }
    let actions = (group?.configuration.subcommands ?? []).compactMap { $0.configuration.commandName }
    if !actions.isEmpty, !actions.contains(second), second != "help" {
      throw UsageMistake.noAction(second, of: first, known: actions)
    }
  }

  private static func exit(_ status: Status) -> Never { Foundationless.exit(status.rawValue) }
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
