/// Files that are made of what a command or standard input gives, as the user names them.
import Posix
import SheafCore

enum Streams {
  /// From `PATH=COMMAND`: the path ends at the first `=`. `timeLimit`: in seconds.
  static func command(_ text: Bytes, timeLimit: Int? = nil) throws -> StreamSource {
    guard let mark = text.firstIndex(of: UInt8(ascii: "=")), mark > 0 else {
      throw Failure(
        .usage, "'\(Show.path(text))' does not say which file the command's output becomes",
        hint: "--command PATH=COMMAND, as in --command 'db.sql=pg_dump shop'")
    }
    let command = Bytes(text[(mark + 1)...])
    guard command.contains(where: { $0 != 32 }) else {
      throw Failure(.usage, "there is no command after '\(Show.path(text))'")
    }
    return StreamSource(path: try path(Bytes(text[..<mark])), origin: .command(command), timeLimit: timeLimit)
  }

  static func standardInput(_ name: Bytes) throws -> StreamSource {
    guard !Descriptor.standardInput.isTerminal else {
      throw Failure(
        .usage, "standard input is a terminal, from which nothing is saved",
        hint: "COMMAND | sheaf backup --stdin-name PATH, or better --command PATH=COMMAND")
    }
    return StreamSource(path: try path(name), origin: .standardInput)
  }

  private static func path(_ name: Bytes) throws -> Bytes {
    let last = name.split(separator: 47, omittingEmptySubsequences: false).last.map { Bytes($0) } ?? []
    guard !last.isEmpty, last != [46], last != [46, 46] else {
      throw Failure(.usage, "'\(Show.path(name))' names no file", hint: "as in /dumps/shop.sql")
    }
    // A folder that is not there cannot be asked where `..` leads.
    var parts: [Bytes.SubSequence] = []
    for part in try Sources.absolute([name])[0].split(separator: 47) where part != [46] {
      if part == [46, 46] { _ = parts.popLast() } else { parts.append(part) }
    }
    return Bytes(parts.joined(separator: [47]))
  }
}
