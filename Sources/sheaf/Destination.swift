/// Asks the person at the terminal where files are to come to, where the command line does not say.
import Posix
import SheafCore

enum Destination {
  /// Throws `usage` where nobody can be asked: there is no terminal, or a program reads what is printed.
  static func checkCanAsk(forPrograms: Bool) throws(Failure) {
    guard !forPrograms, Descriptor.standardInput.isTerminal, Descriptor.standardError.isTerminal else {
      throw Failure(
        .usage, "where to restore to is not said",
        hint: "--to DIR, a new folder; or --to / --overwrite if-changed, which puts files back in their places")
    }
  }

  /// Sets the target of the options, and what may be replaced there. Throws `interrupted` where the person stops it.
  static func ask(for options: inout RestoreOptions, of set: SetName, _ contents: Contents) throws {
    for path in options.paths where !path.isEmpty { _ = try contents.find(path) }
    let beside = try newFolder(Bytes("restored-\(set.point)".utf8))
    let canBeInPlace = options.strip == 0
    let console = Console.shared
    console.say("where to restore to?")
    if canBeInPlace {
      let other = try contents.otherMachine().map { " (on THIS machine; they were saved on \(Show.path($0)))" }
      console.say("  1  in place: \(try places(options, contents))\(other ?? "")")
    }
    console.say("  2  beside: \(Show.path(beside)), a new folder here")
    console.say("  3  elsewhere: a folder that you name")
    while true {
      switch try answer("1, 2 or 3 [2]: ".dropFirst(canBeInPlace ? 0 : 3)) {
      case Bytes("1") where canBeInPlace:
        options.target = [47]
        if options.overwrite == nil { options.overwrite = try askWhatIsReplaced() }
        return
      case Bytes("2"), []:
        options.target = beside
        return
      case Bytes("3"):
        let text = try answer("folder: ")
        guard !text.isEmpty else { continue }
        options.target = withHome(text)
        return
      default: continue
      }
    }
  }

  private static func askWhatIsReplaced() throws -> Overwrite {
    Console.shared.say("replace what is there and differs, or keep it and restore what is missing?")
    while true {
      switch try answer("r or k: ") {
      case Bytes("r"), Bytes("replace"): return .ifChanged
      case Bytes("k"), Bytes("keep"): return .never
      default: continue
      }
    }
  }

  /// What is typed behind the question, without spaces around it.
  static func answer(_ question: some StringProtocol) throws(Failure) -> Bytes {
    Console.shared.ask(String(question))
    let typed: Bytes?
    do throws(SystemError) {
      typed = try Descriptor.standardInput.typedLine { !Interruption.progress.goesOn }
    } catch { throw Failure(error) }
    guard let typed else {
      if Interruption.progress.goesOn { Console.shared.say("") }
      throw Failure(.interrupted, "stopped: nothing was restored")
    }
    return Bytes(typed.reversed().drop { $0 == 32 }.reversed().drop { $0 == 32 })
  }

  /// What is restored, as far as a line shows it.
  private static func places(_ options: RestoreOptions, _ contents: Contents) throws -> String {
    let all = try options.paths.isEmpty || options.paths.contains([]) ? contents.roots() : options.paths
    let shown = all.prefix(3).map { Show.path([47] + $0) }.joined(separator: ", ")
    return all.count > 3 ? "\(shown) and \(Words.count(all.count - 3)) more" : shown
  }

  /// The name, or one like it, that nothing has here.
  private static func newFolder(_ name: Bytes) throws(Failure) -> Bytes {
    for number in 1...999 {
      let candidate = number == 1 ? name : name + Bytes("-\(number)".utf8)
      do throws(SystemError) { _ = try Descriptor.workingDirectory.status(of: candidate) } catch {
        return candidate
      }
    }
    throw Failure(.failed, "there are 999 folders like \(Show.path(name)) here", hint: "say where with --to DIR")
  }

  /// A shell would have put the home folder in the place of `~`.
  private static func withHome(_ path: Bytes) -> Bytes {
    guard path.first == UInt8(ascii: "~"), path.count == 1 || path[1] == 47,
      let home = Host.environment("HOME"), !home.isEmpty
    else { return path }
    return home + path.dropFirst()
  }
}
