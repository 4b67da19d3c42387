/// What is to stand on the terminal, line by line, and the bytes that bring it there.
import Posix
import SheafCore

public struct Screen: Equatable, Sendable {
  public enum Style: Sendable {
    case plain, bold, dim, reverse

    /// ECMA-48, 8.3.117, select graphic rendition.
    fileprivate var code: String {
      switch self {
      case .plain: "0"
      case .bold: "0;1"
      case .dim: "0;2"
      case .reverse: "0;7"
      }
    }
  }

  public struct Line: Equatable, Sendable {
    public var text: String
    public var style: Style

    public init(_ text: String, _ style: Style = .plain) {
      self.text = text
      self.style = style
    }
  }

  public var lines: [Line] = []

  public init() {}

  /// What changes a terminal that shows `old`, nil where that is not known, into one that shows this. Nothing in the
  /// lines is a control character, or it would act on the terminal: whoever makes them sees to that.
  public func bytes(after old: Screen?) -> Bytes {
    var text = old == nil ? "\u{1B}[0m\u{1B}[2J" : ""
    for (index, line) in lines.enumerated() {
      if let old, index < old.lines.count, old.lines[index] == line { continue }
      // Wiped before: behind a full line that would take its last character.
      text += "\u{1B}[\(index + 1);1H\u{1B}[K\u{1B}[\(line.style.code)m\(line.text)\u{1B}[0m"
    }
    return Bytes(text.utf8)
  }
}

/// Texts of a given width. Wide characters count twice.
public enum Text {
  /// As it is, or its beginning and an ellipsis.
  public static func cut(_ text: String, to columns: Int) -> String {
    if Show.columns(text) <= columns { return text }
    return columns < 1 ? "" : Show.prefix(text, columns: columns - 1) + "…"
  }

  /// As it is, or an ellipsis and its end.
  public static func cutFront(_ text: String, to columns: Int) -> String {
    if Show.columns(text) <= columns { return text }
    return columns < 1 ? "" : "…" + Show.suffix(text, columns: columns - 1)
  }

  public static func left(_ text: String, _ columns: Int) -> String {
    let text = cut(text, to: columns)
    return text + String(repeating: " ", count: max(0, columns - Show.columns(text)))
  }

  public static func right(_ text: String, _ columns: Int) -> String {
    let text = cut(text, to: columns)
    return String(repeating: " ", count: max(0, columns - Show.columns(text))) + text
  }

  /// One text at each side, with two spaces between at least. Of the left one no more is shown than there is room for,
  /// its end where `keepsEnd`.
  public static func sides(_ left: String, _ right: String, _ columns: Int, keepsEnd: Bool = false) -> String {
    let right = cut(right, to: max(0, columns - 8))
    let room = max(0, columns - Show.columns(right) - (right.isEmpty ? 0 : 2))
    let cutLeft = keepsEnd ? cutFront(left, to: room) : cut(left, to: room)
    let gap = max(0, columns - Show.columns(cutLeft) - Show.columns(right))
    return cutLeft + String(repeating: " ", count: gap) + right
  }

  /// `2026-11-24 06:00` in the machine's time zone, with seconds `2026-11-24 06:00:00`.
  public static func time(_ time: Timestamp, seconds: Bool = false) -> String {
    let c = time.calendar(local: true)
    func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
    let minute = "\(c.year)-\(two(c.month))-\(two(c.day)) \(two(c.hour)):\(two(c.minute))"
    return seconds ? "\(minute):\(two(c.second))" : minute
  }

  /// Whether two times that follow each other lie in the same minute, and are not the same: minutes do not tell them apart.
  public static func needsSeconds(_ times: [Timestamp]) -> Bool {
    zip(times, times.dropFirst()).contains { $0 != $1 && $0.seconds / 60 == $1.seconds / 60 }
  }
}
