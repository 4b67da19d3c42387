/// JSON Lines, written by hand: a handful of types, and paths that need not be UTF-8.
import Posix
import SheafCore

struct JSON {
  private var text = "{"

  init(_ type: String) { add("type", type) }

  private mutating func key(_ name: String) {
    if text.utf8.count > 1 { text += "," }
    text += "\"\(name)\":"
  }

  mutating func add(_ name: String, _ value: String) {
    key(name)
    text += Self.quoted(value)
  }

  mutating func add(_ name: String, _ value: some BinaryInteger) {
    key(name)
    text += String(value)
  }

  mutating func add(_ name: String, _ value: Bool) {
    key(name)
    text += value ? "true" : "false"
  }

  /// What was really restored of a series.
  mutating func add(_ note: ProofNote) {
    guard let (share, since, oldest) = note.coverage else { return }
    add("proved_percent", Int(share * 100))
    add("proved_since", since)
    add("proved_of", oldest.point)
  }

  /// What is JSON already.
  mutating func add(_ name: String, json value: String) {
    key(name)
    text += value
  }

  mutating func addNull(_ name: String) {
    key(name)
    text += "null"
  }

  mutating func add(_ name: String, _ value: String?) {
    if let value { add(name, value) } else { addNull(name) }
  }

  /// With three digits after the point.
  mutating func add(_ name: String, seconds nanoseconds: Int64) {
    key(name)
    let milliseconds = (nanoseconds + 500_000) / 1_000_000
    let fraction = String(milliseconds % 1000)
    text += "\(milliseconds / 1000).\(String(repeating: "0", count: 3 - fraction.count))\(fraction)"
  }

  /// Text that may not be UTF-8: then `name_base64` has the exact bytes.
  mutating func add(_ name: String, _ value: Bytes) {
    add(name, value.shown)
    if !Show.isUTF8(value) { add(name + "_base64", Show.base64(value)) }
  }

  mutating func add(_ name: String, _ values: [Bytes]) {
    key(name)
    text += "[" + values.map { Self.quoted($0.shown) }.joined(separator: ",") + "]"
    if !values.allSatisfy(Show.isUTF8) {
      key(name + "_base64")
      text += "[" + values.map { Self.quoted(Show.base64($0)) }.joined(separator: ",") + "]"
    }
  }

  mutating func add(_ name: String, _ time: Timestamp) {
    key(name)
    let nanoseconds = String(time.nanoseconds)
    text +=
      "\"\(Words.time(Timestamp(seconds: time.seconds), local: false).split(separator: " ").joined(separator: "T"))"
    if time.nanoseconds != 0 { text += "." + String(repeating: "0", count: 9 - nanoseconds.count) + nanoseconds }
    text += "Z\""
  }

  func print() { Console.shared.line(text + "}") }

  private static func quoted(_ value: String) -> String {
    var result = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      case _ where Show.isPrintable(scalar): result.unicodeScalars.append(scalar)
      default:
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      }
    }
    return result + "\""
  }
}
