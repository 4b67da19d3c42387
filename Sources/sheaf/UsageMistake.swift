/// Mistakes of the command line in our words, with what was probably meant.
import ArgumentParser
import Posix
import SheafCore

enum UsageMistake {
  /// Commands of other programs, and what does the same here.
  private static let otherWords: [String: String] = [
    "snapshots": "points", "archives": "points", "listing": "points", "log": "points", "sets": "points",
    "forget": "prune", "delete": "prune --drop POINT", "remove": "prune --drop POINT", "rm": "prune --drop POINT",
    "purge": "prune", "expire": "prune", "clean": "prune", "cleanup": "prune",
    "check": "verify", "test": "verify", "scrub": "verify", "validate": "verify", "fsck": "verify",
    "create": "backup", "save": "backup", "add": "backup", "push": "backup", "archive": "backup",
    "extract": "restore", "recover": "restore", "get": "restore", "unpack": "restore", "fetch": "restore",
    "show": "ls", "look": "browse", "explore": "browse", "dir": "ls", "tree": "ls -R", "contents": "ls",
    "dump": "cat", "print": "cat", "tar": "export", "export-tar": "export",
    "search": "find", "locate": "find", "versions": "history", "compare": "diff", "changes": "diff",
    "info": "status", "stats": "points", "stores": "status", "list-stores": "status", "drives": "status",
    "repair": "rebuild", "recreate": "rebuild", "rebuild-index": "rebuild", "fix": "rebuild",
    "merge": "consolidate", "compact": "prune --fold", "fold": "prune --fold", "synthesize": "consolidate",
    "sync": "copy", "mirror": "copy", "replicate": "copy", "clone": "copy", "send": "copy",
    "tag": "protect", "keep": "protect", "pin": "protect", "lock": "protect",
    "initialize": "init", "new": "init", "setup": "init", "version": "--version", "mtree": "manifest",
  ]

  /// The same for what follows commands that have several actions.
  private static let otherActions: [String: String] = [
    "key add": "lock", "key passwd": "lock", "key password": "lock", "key new": "lock", "key print": "show",
    "key delete": "remove", "key rm": "remove", "key unlock": "remove", "key save": "export", "key load": "import",
    "config test": "check", "config validate": "check", "config new": "init", "config create": "init",
  ]

  /// The same for options. A suggestion counts only if the command has that option, or if it is none.
  private static let otherOptions: [String: [String]] = [
    "--repo": ["-s STORE"], "--repository": ["-s STORE"], "-r": ["-s STORE"],
    "--target": ["--to DIR"], "-t": ["--to DIR"], "--destination": ["--to DIR"], "--dest": ["--to DIR"],
    "-C": ["--to DIR"], "--directory": ["--to DIR"], "--tag": ["--comment TEXT", "--keep-tag TEXT"],
    "--exclude-file": ["--exclude-from FILE"], "--iexclude": ["--exclude PATTERN"], "-e": ["--exclude PATTERN"],
    "-x": ["--one-file-system"], "--compression": ["--level N"],
    "--numeric-ids": ["--numeric-owner"], "--snapshot": ["--at POINT", "--drop POINT"], "--archive": ["--at POINT"],
    "--revision": ["--at POINT"], "--time": ["--at POINT"], "--read-data": ["leave it out: every byte is read anyway"],
    "--verify-data": ["leave it out: every byte is read anyway"],
    "--prune": ["leave it out: space is freed at once"], "-a": ["leave it out: everything is kept anyway"],
    "--stdin": ["--stdin-name PATH"], "--stdin-filename": ["--stdin-name PATH"], "--host": ["--series NAME"],
    "--password-file": ["--passphrase-file FILE"], "--password-command": ["--passphrase-command COMMAND"],
    "--skip-if-unchanged": ["--skip-unchanged"], "--latest": ["--at latest"],
    "--group-by": ["leave it out: each series stands by itself"],
    "--keep-within-hourly": ["--keep-hourly-within AGE"], "--keep-within-daily": ["--keep-daily-within AGE"],
    "--keep-within-weekly": ["--keep-weekly-within AGE"], "--keep-within-monthly": ["--keep-monthly-within AGE"],
    "--keep-within-yearly": ["--keep-yearly-within AGE"],
    "--files-from": ["--files-from0 FILE, where a NUL ends each name: tr '\\n' '\\0' puts it there"],
  ]

  /// The same where it depends on the command, whatever options that has.
  private static let otherOptionsOf: [String: String] = [
    "backup --force": "--checksum, which reads every file, or --full",
    "backup --delete": "leave it out: what is gone from the sources is not in the next point, but in those before",
    "backup --backup-dir": "leave it out: what was changed or deleted stays in the points before",
    "restore --backup-dir": "leave it out: what is there stays, unless --overwrite says what may be replaced",
    "copy --from-repo": "-s STORE, with the other store behind --to", "copy --dest": "--to STORE",
    "points --tag": "leave it out: all points are shown, with their comments",
    "points --latest": "leave it out: all points are shown, the newest last",
    "consolidate --dry-run": "leave it out: it writes a set and takes none away",
    "consolidate -n": "leave it out: it writes a set and takes none away",
    "verify --read-data-subset": "'sheaf prove -s STORE --share PERCENT' reads a part",
  ]

  private static func otherOption(_ word: String, of command: String, _ known: [String]) -> String? {
    if let special = otherOptionsOf["\(command) \(word)"] { return special }
    return otherOptions[word]?.first { meaning in
      guard meaning.hasPrefix("-") else { return true }
      return known.contains(String(meaning.prefix { $0 != " " }))
    }
  }

  /// `known`: the commands and their other names.
  static func noCommand(_ word: String, known: [String]) -> Failure {
    let text = "no command '\(Show.path(Arguments.unescape(word)))'"
    if ["umount", "unmount"].contains(word.lowercased()) {
      return Failure(.usage, text, hint: "fusermount3 -u DIR, or umount DIR")
    }
    let other = otherWords[word.lowercased()].map { [$0] }
    let near = other ?? nearestWords(to: word.lowercased(), of: known)
    return Failure(
      .usage, text,
      hint: near.isEmpty ? "see 'sheaf --help'" : "did you mean 'sheaf \(near.joined(separator: "' or 'sheaf "))'?")
  }

  /// Options stand before the command, as other programs take them.
  static func noCommand(before option: String, _ arguments: [String], known: [String]) -> Failure {
    let text = "the command comes first, before \(Show.path(Arguments.unescape(option)))"
    let name = String(option.prefix { $0 != "=" })
    let isJoined = name.count < option.count
    let value: String? = isJoined ? String(option.dropFirst(name.count + 1)) : arguments.dropFirst().first
    guard otherOptions[name]?.first == "-s STORE", let value else {
      return Failure(.usage, text, hint: "see 'sheaf --help'")
    }
    var words = Array(arguments.dropFirst(isJoined ? 1 : 2))
    var command = "COMMAND"
    // Another program's word may stand for a command with options, and what followed it for something else.
    var isOurs = false
    if let index = words.firstIndex(where: { known.contains($0) || otherWords[$0.lowercased()] != nil }) {
      let word = words.remove(at: index)
      isOurs = known.contains(word)
      command = isOurs ? word : otherWords[word.lowercased()] ?? word
    }
    let rest = isOurs ? words.map { " " + Show.word(Arguments.unescape($0)) }.joined() : ""
    let store = Show.word(Arguments.unescape(value))
    return Failure(.usage, text, hint: "did you mean 'sheaf \(command) -s \(store)\(rest)'?")
  }

  /// `known`: what a command can be told to do.
  static func noAction(_ word: String, of command: String, known: [String]) -> Failure {
    let other = otherActions["\(command) \(word.lowercased())"].map { [$0] }
    let near = (other ?? nearestWords(to: word.lowercased(), of: known)).map { "'sheaf \(command) \($0)'" }
    return Failure(
      .usage, "no action '\(Show.path(Arguments.unescape(word)))'",
      hint: near.isEmpty
        ? "there are \(known.joined(separator: ", "))" : "did you mean \(near.joined(separator: " or "))?")
  }

  /// The parser's message as a failure. What follows its first line are other readings of the same words.
  static func failure(_ message: String, _ arguments: [String]) -> Failure {
    let first = String(message.prefix { $0 != "\n" })
    let subcommands = Sheaf.configuration.subcommands
    var command = subcommands.first { command in
      arguments.first.map { ([command.configuration.commandName ?? ""] + command.configuration.aliases).contains($0) }
        ?? false
    }
    var name = command?.configuration.commandName
    var arguments = arguments
    if let group = command, let word = arguments.dropFirst().first,
      let action = group.configuration.subcommands.first(where: { $0.configuration.commandName == word })
    {
      command = action
      name = name.map { "\($0) \(word)" }
      arguments.removeFirst()
    }
    let help = "see 'sheaf \(name.map { $0 + " " } ?? "")--help'"
    // A required option may be missing because it was misspelt.
    if first.hasPrefix("Missing expected") || first.hasPrefix("Unknown option"), let command,
      let (word, near) = unknownOption(arguments, of: command)
    {
      let other = otherOption(word, of: name ?? "", options(of: command))
      let isAdvice = other.map { !$0.hasPrefix("-") } ?? false
      let meant = other ?? near.joined(separator: " or ")
      return Failure(
        .usage, "unknown option '\(Show.path(Arguments.unescape(word)))'",
        hint: isAdvice ? meant : meant.isEmpty ? help : "did you mean \(meant)?")
    }
    // The store is the one thing that a command cannot do without, and other programs take it as an argument.
    if first.hasPrefix("Unexpected argument"), let command, let name, let word = arguments.dropFirst().first,
      !word.hasPrefix("-"), !arguments.contains(where: { $0.hasPrefix("-s") || $0.hasPrefix("--store") }),
      Host.environment("SHEAF_STORE") == nil,
      options(of: command).contains("-s")
    {
      return Failure(
        .usage, "no store is given: it comes after -s",
        hint: "did you mean 'sheaf \(name) -s \(Show.word(Arguments.unescape(word)))'?")
    }
    // It repeats words of the command line, which a shell may have made of files' names.
    let text = Show.path(Arguments.unescape(first.prefix(1).lowercased() + first.dropFirst()))
    let sentence = text.hasSuffix(".") ? text.dropLast() : text[...]
    for advice in ["Did you mean", "Please"] {
      guard let range = sentence.firstRange(of: ". \(advice)") else { continue }
      return Failure(
        .usage, String(sentence[..<range.lowerBound]), hint: advice.lowercased() + sentence[range.upperBound...])
    }
    return Failure(.usage, String(sentence), hint: help)
  }

  /// The first word that looks like an option but is not one of the command's, and what may have been meant.
  private static func unknownOption(
    _ arguments: [String], of command: any ParsableCommand.Type
  ) -> (word: String, near: [String])? {
    let known = options(of: command)
    for word in arguments.dropFirst().prefix(while: { $0 != "--" }) where word.hasPrefix("-") && word != "-" {
      if word.hasPrefix("--") {
        let name = String(word.prefix { $0 != "=" })
        if !known.contains(name) { return (name, nearestWords(to: name, of: known.filter { $0.hasPrefix("--") })) }
        continue
      }
      // Letters in a row, or a letter and its value.
      let letter = String(word.prefix(2))
      if !known.contains(letter), Int(word) == nil { return (letter, []) }
    }
    return nil
  }

  /// Out of the command's help, where each stands at the beginning of a line.
  private static func options(of command: any ParsableCommand.Type) -> [String] {
    Sheaf.helpMessage(for: command, columns: 200).split(separator: "\n").flatMap { line -> [String] in
      let words = line.split(separator: " ", omittingEmptySubsequences: false).drop { $0.isEmpty }
      // Two spaces end what is named.
      return words.prefix { $0.hasPrefix("-") || $0.hasPrefix("<") }.map { word in
        String(word.hasSuffix(",") ? word.dropLast() : word)
      }
    }
  }
}
