/// Tables and long lines that keep to the width of a terminal.
import Posix
import SheafCore

/// Columns side by side. Where there is no room for all of them, the least important are left out.
struct Table {
  struct Column {
    let title: String
    let width: Int
    let isRight: Bool
    /// The highest are left out first; 0 never is.
    let rank: Int

    static func left(_ title: String, _ width: Int, rank: Int = 0) -> Column {
      Column(title: title, width: max(width, Show.columns(title)), isRight: false, rank: rank)
    }
    static func right(_ title: String, _ width: Int, rank: Int = 0) -> Column {
      Column(title: title, width: max(width, Show.columns(title)), isRight: true, rank: rank)
    }
  }

  private static let gap = "  "
  private let indent: String
  private let columns: [Column]
  private let isShown: [Bool]
  private let room: Int

  /// `rest`: columns of what mostly stands behind the table's own; `room`: columns of the terminal.
  init(_ columns: [Column], indent: String = "  ", rest: Int = 0, room: Int) {
    var isShown = columns.map { _ in true }
    func width() -> Int {
      let shown = zip(columns, isShown).filter(\.1).map(\.0.width)
      return indent.count + shown.reduce(0, +) + Self.gap.count * (shown.count - 1) + rest
    }
    let order = columns.indices.filter { columns[$0].rank > 0 }.sorted { columns[$0].rank > columns[$1].rank }
    for index in order where width() > room { isShown[index] = false }
    self.indent = indent
    self.columns = columns
    self.isShown = isShown
    self.room = room
  }

  /// `rest`: what stands behind the columns; on a line of its own where it does not fit.
  func line(_ cells: [String], _ rest: String = "") -> String {
    var lines = [""]
    for (index, (column, cell)) in zip(columns, cells).enumerated() where isShown[index] {
      let padding = String(repeating: " ", count: max(0, column.width - Show.columns(cell)))
      lines[lines.count - 1] += (index == 0 ? indent : Self.gap) + (column.isRight ? padding + cell : cell + padding)
      // A name that is too long has a line of its own.
      if index == 0, Show.columns(cell) > column.width {
        lines.append(String(repeating: " ", count: indent.count + column.width))
      }
    }
    var line = lines.joined(separator: "\n")
    if rest.isEmpty { return Lines.trimmed(line) }
    if Show.columns(lines.last ?? "") + Self.gap.count + Show.columns(rest) <= room {
      line += Self.gap + rest
    } else {
      line += "\n" + Lines.wrapped("    " + rest, to: room)
    }
    return line
  }

  func heading(_ rest: String = "") -> String {
    let titles = line(columns.map(\.title))
    let fits = Show.columns(titles) + Self.gap.count + Show.columns(rest) <= room
    return rest.isEmpty || !fits ? titles : line(columns.map(\.title), rest)
  }
}

enum Lines {
  /// Broken between words where it is longer than `columns`; what follows is indented by two more than the beginning.
  /// What stands in quotes stays in one piece, so that it can be copied, and so does a command line of its own.
  static func wrapped(_ text: String, to columns: Int) -> String {
    guard Show.columns(text) > columns, !text.drop(while: { $0 == " " }).hasPrefix("sheaf ") else { return text }
    let style = text.first == "\u{1B}" ? text.prefix { $0 != "m" } + "m" : ""
    let plain = text.dropFirst(style.count)
    let indent = plain.prefix { $0 == " " }.count
    let next = String(repeating: " ", count: indent + 2)
    var lines: [String] = []
    var line = style + String(repeating: " ", count: indent)
    var hasWord = false
    for word in words(plain.dropFirst(indent)) {
      if hasWord, Show.columns(line) + 1 + Show.columns(word) > columns {
        lines.append(line)
        (line, hasWord) = (next, false)
      }
      line += (hasWord ? " " : "") + word
      hasWord = true
    }
    return (lines + [line]).joined(separator: "\n")
  }

  /// Without the spaces at its end.
  static func trimmed(_ text: String) -> String { String(text.reversed().drop { $0 == " " }.reversed()) }

  /// What stays with the number before it.
  private static let units: Set = ["B", "kB", "MB", "GB", "TB", "PB", "ms", "s", "min", "h", "d"]

  private static func words(_ text: Substring) -> [String] {
    var words: [String] = []
    // A command in quotes may have words in quotes of their own.
    var depth = 0
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      let isUnit = units.contains(String(word.prefix { $0.isLetter })) && words.last?.last?.isNumber == true
      if depth > 0 || isUnit { words[words.count - 1] += " " + word } else { words.append(String(word)) }
      let opening = word.drop { $0 == "(" }.first == "'" ? 1 : 0
      let closing = word.filter { $0 == "'" }.count - opening
      if depth > 0 || opening > 0 { depth = max(0, depth + opening - closing) }
    }
    return words
  }
}
