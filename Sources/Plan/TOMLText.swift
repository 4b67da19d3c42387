/// Texts in quotes, of the four kinds that TOML has.
import Posix

extension TOMLReader {
  private static let quote = UInt8(ascii: "\"")
  private static let apostrophe = UInt8(ascii: "'")

  mutating func string() throws(TOMLMistake) -> Bytes {
    let start = at
    let isLiteral = byte() == Self.apostrophe
    let isLong = skip("\"\"\"") || skip("'''")
    if !isLong { at += 1 }
    // A line break right behind the quotes does not count.
    if isLong, !skip("\r\n") { _ = skip("\n") }
    var result = Bytes()
    while let next = byte() {
      if next == (isLiteral ? Self.apostrophe : Self.quote) {
        if try closes(isLiteral, isLong, &result) { return result }
      } else if next == UInt8(ascii: "\\"), !isLiteral {
        try escape(isLong, &result)
      } else if next == 10 || next == 13, !isLong {
        throw mistake("the text that begins here does not end on its line", at: start)
      } else if next == 13 {
        at += 1
      } else {
        result.append(next)
        at += 1
      }
    }
    throw mistake("the text that begins here does not end", at: start)
  }

  /// At a quote: whether it ends the text. In a long one up to two may stand before the three that do.
  private mutating func closes(_ isLiteral: Bool, _ isLong: Bool, _ result: inout Bytes) throws(TOMLMistake) -> Bool {
    let mark = isLiteral ? Self.apostrophe : Self.quote
    guard isLong else {
      at += 1
      return true
    }
    var count = 0
    while byte(count) == mark, count < 5 { count += 1 }
    at += count
    result += Bytes(repeating: mark, count: count < 3 ? count : count - 3)
    return count >= 3
  }

  private mutating func escape(_ isLong: Bool, _ result: inout Bytes) throws(TOMLMistake) {
    let start = at
    at += 1
    let next = byte()
    at += 1
    switch next {
    case UInt8(ascii: "b"): result.append(8)
    case UInt8(ascii: "t"): result.append(9)
    case UInt8(ascii: "n"): result.append(10)
    case UInt8(ascii: "f"): result.append(12)
    case UInt8(ascii: "r"): result.append(13)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): result.append(next ?? 0)
    case UInt8(ascii: "u"): try scalar(digits: 4, start, &result)
    case UInt8(ascii: "U"): try scalar(digits: 8, start, &result)
    case 32, 9, 10, 13:
      // A backslash at the end of a line takes the break and the blanks behind it away.
      at = start + 1
      var hasBreak = false
      while let blank = byte(), [32, 9, 10, 13].contains(blank) {
        hasBreak = hasBreak || blank == 10
        at += 1
      }
      guard isLong, hasBreak else { throw unknownEscape(start) }
    default: throw unknownEscape(start)
    }
  }

  private func unknownEscape(_ start: Int) -> TOMLMistake {
    mistake("a backslash with an unknown letter: write '\\\\', or the text in single quotes", at: start)
  }

  private mutating func scalar(digits: Int, _ start: Int, _ result: inout Bytes) throws(TOMLMistake) {
    let word = text[min(at, text.count)...].prefix(digits)
    let isHex = word.allSatisfy { TOMLScalar.digit($0, below: 16) }
    guard word.count == digits, isHex, let number = UInt32(Bytes(word).shown, radix: 16),
      let scalar = Unicode.Scalar(number)
    else { throw mistake("this is no character's number", at: start) }
    result += Bytes(String(scalar).utf8)
    at += digits
  }
}
