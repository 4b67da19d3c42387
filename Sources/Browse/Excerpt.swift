/// The first part of a file as lines that may stand on a terminal: no byte of it acts on that.
import Posix
import SheafCore

struct Excerpt {
  /// Bytes of a file that are looked at.
  static let limit = 64 << 10
  private static let linesLimit = 2000
  private static let tab = 8

  /// What was there of the file, and whether that is all.
  let bytes: Bytes
  let isWhole: Bool

  /// At most that wide, a longer line in several.
  func lines(columns: Int) -> [String] {
    let columns = max(columns, 8)
    if bytes.isEmpty { return ["(empty)"] }
    if bytes.prefix(4096).contains(0) { return dump(columns) }
    var lines: [String] = []
    for line in bytes.split(separator: 10, omittingEmptySubsequences: false) {
      guard lines.count < Self.linesLimit else { break }
      lines += Self.wrapped(Self.escaped(line.last == 13 ? line.dropLast() : line), columns)
    }
    if bytes.last == 10 { lines.removeLast() }
    return isWhole ? lines : lines + ["(and more)"]
  }

  /// As names are shown, but for backslashes, which mean nothing here.
  private static func escaped(_ line: ArraySlice<UInt8>) -> String {
    var text = ""
    var columns = 0
    for (index, part) in line.split(separator: 9, omittingEmptySubsequences: false).enumerated() {
      if index > 0 {
        let gap = tab - columns % tab
        text += String(repeating: " ", count: gap)
        columns += gap
      }
      let shown = part.split(separator: 92, omittingEmptySubsequences: false).map { Show.path(Bytes($0)) }
      let piece = shown.joined(separator: "\\")
      text += piece
      columns += Show.columns(piece)
    }
    return text
  }

  private static func wrapped(_ text: String, _ columns: Int) -> [String] {
    var lines: [String] = []
    var rest = text
    while Show.columns(rest) > columns, lines.count < linesLimit {
      let head = Show.prefix(rest, columns: columns)
      guard !head.isEmpty else { break }
      lines.append(head)
      rest = String(rest.unicodeScalars.dropFirst(head.unicodeScalars.count))
    }
    return lines + [rest]
  }

  /// Bytes as numbers, and as characters where they are ones of ASCII.
  private func dump(_ columns: Int) -> [String] {
    // Each byte takes four columns, its offset nine.
    let count = columns >= 75 ? 16 : columns >= 43 ? 8 : 4
    return stride(from: 0, to: min(bytes.count, 4096), by: count).map { start in
      let part = bytes[start..<min(start + count, bytes.count)]
      let numbers = part.map { Self.hex(Int($0), 2) }.joined(separator: " ")
      let text = part.map { (0x20..<0x7f).contains($0) ? String(Unicode.Scalar($0)) : "." }.joined()
      return Text.cut("\(Self.hex(start, 6))  \(Text.left(numbers, count * 3)) \(text)", to: columns)
    }
  }

  private static func hex(_ number: Int, _ digits: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
  }
}
