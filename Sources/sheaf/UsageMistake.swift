/// Mistakes of the command line in our words, with what was probably meant.
import ArgumentParser
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
    "info": "status", "stats": "status", "stores": "status", "list-stores": "status", "drives": "status",
    "repair": "rebuild", "recreate": "rebuild", "rebuild-index": "rebuild", "fix": "rebuild",
    "merge": "consolidate", "compact": "prune --fold", "fold": "prune --fold", "synthesize": "consolidate",
    "sync": "copy", "mirror": "copy", "replicate": "copy", "clone": "copy", "send": "copy",
    "tag": "protect", "keep": "protect", "pin": "protect", "lock": "protect",
    "initialize": "init", "new": "init", "setup": "init", "version": "--version", "mtree": "manifest",
  ]

  /// The same for options. A suggestion counts only if the command has that option.
  private static let otherOptions: [String: [String]] = [
    "--repo": ["-s STORE"], "--repository": ["-s STORE"], "-r": ["-s STORE"],
    "--target": ["--to DIR"], "-t": ["--to DIR"], "--destination": ["--to DIR"], "--dest": ["--to DIR"],
    "-C": ["--to DIR"], "--directory": ["--to DIR"], "--tag": ["--comment TEXT", "--keep-tag TEXT"],
    "--exclude-file": ["--exclude-from FILE"], "--iexclude": ["--exclude PATTERN"], "-e": ["--exclude PATTERN"],
    "-x": ["--one-file-system"], "--compression": ["--level N"],
    "--numeric-ids": ["--numeric-owner"], "--snapshot": ["--at POINT"], "--archive": ["--at POINT"],
    "--revision": ["--at POINT"], "--time": ["--at POINT"], "--read-data": ["nothing: every byte is read anyway"],
    "--verify-data": ["nothing: every byte is read anyway"], "--prune": ["nothing: space is freed at once"],
    "--stdin": ["--stdin-name PATH"], "-a": ["nothing: everything is kept anyway"],
  ]

  private static func otherOption(_ word: String, _ known: [String]) -> String? {
    otherOptions[word]?.first { meaning in
      guard meaning.hasPrefix("-") else { return true }
      return known.contains(String(meaning.prefix { $0 != " " }))
    }
  }

  /// `known`: the commands and their other names.
  static func noCommand(_ word: String, known: [String]) -> Failure {
    let text = "no command '\(Show.path(Arguments.unescape(word)))'"
    let other = otherWords[word.lowercased()].map { [$0] }
    let near = other ?? nearestWords(to: word.lowercased(), of: known)
    return Failure(
      .usage, text,
      hint: near.isEmpty ? "see 'sheaf --help'" : "did you mean 'sheaf \(near.joined(separator: "' or 'sheaf "))'?")
  }

  /// The parser's message as a failure. What follows its first line are other readings of the same words.
  static func failure(_ message: String, _ arguments: [String]) -> Failure {
    let first = String(message.prefix { $0 != "\n" })
    let subcommands = Sheaf.configuration.subcommands
    let command = subcommands.first { command in
      arguments.first.map { ([command.configuration.commandName ?? ""] + command.configuration.aliases).contains($0) }
        ?? false
    }
    let name = command?.configuration.commandName
    let help = "see 'sheaf \(name.map { $0 + " " } ?? "")--help'"
    // A required option may be missing because it was misspelt.
    if first.hasPrefix("Missing expected") || first.hasPrefix("Unknown option"), let command,
      let (word, near) = unknownOption(arguments, of: command)
    {
      let meant = otherOption(word, options(of: command)).map { [$0] } ?? near
      return Failure(
        .usage, "unknown option '\(Show.path(Arguments.unescape(word)))'",
        hint: meant.isEmpty ? help : "did you mean \(meant.joined(separator: " or "))?")
    }
    // The store is the one thing that a command cannot do without, and other programs take it as an argument.
    if first.hasPrefix("Unexpected argument"), let command, let name, let word = arguments.dropFirst().first,
      !word.hasPrefix("-"), !arguments.contains(where: { $0.hasPrefix("-s") || $0.hasPrefix("--store") }),
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
