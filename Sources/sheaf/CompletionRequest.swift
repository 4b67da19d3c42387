/// What fits where the cursor is, told by the command's own help: what an option takes is what its value is called there.
import ArgumentParser
import Posix
import SheafCore

struct CompletionRequest {
  enum Wanted: Equatable {
    case nothing, files, directories, commands, actions, options, stores, labels, series, points, plans, paths
    case values([String])
  }

  /// A line of a command's help.
  struct Line {
    /// Of an option; none of an argument.
    let names: [String]
    /// What it takes; nil: nothing.
    let value: String?
    let about: String
  }

  private(set) var wanted = Wanted.nothing
  /// nil: none is typed yet.
  private(set) var command: (any ParsableCommand.Type)?
  /// The command's help.
  private(set) var lines: [Line] = []
  /// What is typed of the value.
  private(set) var typed: Bytes
  /// What stands before that in the same word: `--at=`.
  private(set) var prefix = Bytes()
  /// Behind `--` nothing is an option.
  private(set) var isBehindDashes = false
  private var given: [String: Bytes] = [:]
  private var arguments = 0

  init(_ words: [Bytes]) {
    typed = words.last ?? []
    var rest = words.dropFirst()
    // The store may stand before the command.
    while let first = rest.first, first.starts(with: Bytes("-s")) || first.starts(with: Bytes("--store")) {
      lines = [Line(names: ["-s", "--store"], value: "STORE", about: "The store.")]
      rest = rest.dropFirst()
      if read(option: first, &rest) { return }
    }
    lines = Self.help(of: Sheaf.self)
    guard rest.count > 1, let name = rest.popFirst() else {
      wanted = typed.first == 45 ? .options : .commands
      return
    }
    if name == Bytes("help") {
      command = Self.find(rest.first, in: Sheaf.self)
      wanted = rest.count == 1 ? .commands : rest.count == 2 && !actions.isEmpty ? .actions : .nothing
      return
    }
    command = Self.find(name, in: Sheaf.self)
    guard let found = command else { return }
    if !actions.isEmpty {
      guard rest.count > 1 else {
        wanted = .actions
        return
      }
      command = Self.find(rest.popFirst(), in: found)
    }
    guard let command else { return }
    lines = Self.help(of: command)
    while let word = rest.popFirst() {
      if rest.isEmpty, isBehindDashes || word.first != 45 || word == [45] { break }
      if isBehindDashes || word.first != 45 || word == [45] {
        arguments += 1
      } else if word == Bytes("--"), !rest.isEmpty {
        isBehindDashes = true
      } else if read(option: word, &rest) {
        return
      }
    }
    let places = lines.filter(\.names.isEmpty)
    if arguments < places.count {
      wanted = wanted(places[arguments])
    } else if let last = places.last, let name = last.value,
      command.configuration.usage?.contains("\(name) ...") == true
    {
      wanted = wanted(last)
    }
    if wanted == .nothing, typed.isEmpty, !isBehindDashes { wanted = .options }
  }

  /// Takes the option's value from what follows it. Returns whether the cursor was in one of them.
  private mutating func read(option word: Bytes, _ rest: inout ArraySlice<Bytes>) -> Bool {
    let isLong = word.starts(with: Bytes("--"))
    let name = Bytes(isLong ? word.prefix { $0 != UInt8(ascii: "=") } : word.prefix(2))
    let line = lines.first { $0.names.contains(name.shown) && $0.value != nil }
    if let line, word.count > name.count {
      prefix = Bytes(word.prefix(name.count + (isLong ? 1 : 0)))
      note(line, Bytes(word.dropFirst(prefix.count)))
      guard rest.isEmpty else {
        prefix = []
        return false
      }
      typed = Bytes(word.dropFirst(prefix.count))
      wanted = wanted(line)
      return true
    }
    guard !rest.isEmpty else {
      wanted = .options
      return true
    }
    guard let line, let value = rest.popFirst() else { return false }
    note(line, value)
    if rest.isEmpty { wanted = wanted(line) }
    return rest.isEmpty
  }

  private mutating func note(_ line: Line, _ value: Bytes) { for name in line.names { given[name] = value } }

  /// The value that was given with an option; nil: none.
  func value(_ option: String) -> Bytes? { given[option] }

  private func wanted(_ line: Line) -> Wanted {
    if let range = line.about.firstRange(of: "(values: ") {
      let list = line.about[range.upperBound...].prefix { $0 != ")" && $0 != ";" }
      return .values(list.split(separator: ",").map { String($0.drop { $0 == " " }) })
    }
    let isNew = command == InitCommand.self
    switch line.value {
    case "STORE": return line.names.contains("--forget") ? .labels : isNew ? .directories : .stores
    case "POINT", "FROM", "TO": return .points
    case "NAME": return line.names.contains("--series") ? .series : .nothing
    case "PLAN": return .plans
    case "WHEN": return .values(["hourly", "daily", "weekly", "monthly", "on-plug"])
    case "STEP": return .values(PlanStep.allCases.map(\.rawValue))
    case "DIR": return .directories
    case "FILE", "ARCHIVE", "SOURCE": return .files
    case "PATH":
      // Sources of a run; all others mean what is saved. A lone archive is no store.
      if command == BackupCommand.self { return .files }
      if value("--archive") != nil { return .nothing }
      return command == ListCommand.self && store == nil ? .files : .paths
    default: return .nothing
    }
  }

  /// As the command itself will take it; nil: none is named.
  var store: Bytes? { value("-s") ?? Host.environment("SHEAF_STORE").flatMap { $0.isEmpty ? nil : $0 } }

  // MARK: - Commands and their help

  var actions: [any ParsableCommand.Type] { command?.configuration.subcommands ?? [] }

  private static func find(_ name: Bytes?, in group: any ParsableCommand.Type) -> (any ParsableCommand.Type)? {
    guard let name = name?.shown else { return nil }
    return group.configuration.subcommands.first {
      $0.configuration.commandName == name || $0.configuration.aliases.contains(name)
    }
  }

  private static func help(of command: any ParsableCommand.Type) -> [Line] {
    var lines: [Line] = []
    var isList = false
    // So wide that a text is one line, which stands behind long names in a line of its own.
    for line in Sheaf.helpMessage(for: command, columns: 10_000).split(separator: "\n") {
      if line.first != " " { isList = line == "ARGUMENTS:" || line == "OPTIONS:" }
      guard isList, line.first == " " else { continue }
      let words = line.split(separator: " ")
      let labels = words.prefix { $0.hasPrefix("-") || $0.hasPrefix("<") || $0 == "..." }
      let about = words.dropFirst(labels.count).joined(separator: " ")
      if labels.isEmpty, let last = lines.popLast() {
        lines.append(Line(names: last.names, value: last.value, about: about))
        continue
      }
      lines.append(
        Line(
          names: labels.filter { $0.hasPrefix("-") }.map { String($0.hasSuffix(",") ? $0.dropLast() : $0) },
          value: labels.first { $0.hasPrefix("<") }.map { String($0.dropFirst().prefix { $0 != ">" }) }, about: about))
    }
    return lines
  }
}
