/// Words of TOML without quotes.
import Posix

enum TOMLScalar {
  /// nil: it is none.
  static func value(_ word: Bytes) -> TOMLNode.Value? {
    switch word.shown {
    case "true": return .boolean(true)
    case "false": return .boolean(false)
    case "inf", "+inf": return .float(.infinity)
    case "-inf": return .float(-.infinity)
    case "nan", "+nan", "-nan": return .float(.nan)
    default: break
    }
    if isMoment(word) { return .date(word) }
    if let number = integer(word) { return .integer(number) }
    return float(word).map { .float($0) }
  }

  static func digit(_ byte: UInt8, below base: UInt8) -> Bool {
    switch byte {
    case 48...57: byte - 48 < base
    case 65...70: byte - 55 < base
    case 97...102: byte - 87 < base
    default: false
    }
  }

  /// Digits with single underscores between them, without these; nil: it is none.
  private static func digits(_ word: ArraySlice<UInt8>, base: UInt8 = 10) -> String? {
    guard !word.isEmpty else { return nil }
    var last = UInt8(ascii: "_")
    for byte in word {
      guard digit(byte, below: base) || byte == UInt8(ascii: "_") && last != byte else { return nil }
      last = byte
    }
    return last == UInt8(ascii: "_") ? nil : Bytes(word.filter { $0 != UInt8(ascii: "_") }).shown
  }

  private static func integer(_ word: Bytes) -> Int64? {
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] where word.starts(with: Bytes(prefix.utf8)) {
      return digits(word.dropFirst(2), base: UInt8(base)).flatMap { Int64($0, radix: base) }
    }
    let isSigned = word.first == UInt8(ascii: "+") || word.first == UInt8(ascii: "-")
    guard let number = digits(isSigned ? word.dropFirst() : word[...]), number == "0" || !number.hasPrefix("0") else {
      return nil
    }
    return Int64((word.first == UInt8(ascii: "-") ? "-" : "") + number)
  }

  private static func float(_ word: Bytes) -> Double? {
    let isSigned = word.first == UInt8(ascii: "+") || word.first == UInt8(ascii: "-")
    var rest = isSigned ? word.dropFirst() : word[...]
    var text = word.first == UInt8(ascii: "-") ? "-" : ""
    var exponent = ""
    if let mark = rest.firstIndex(where: { $0 | 32 == UInt8(ascii: "e") }) {
      var power = rest[(mark + 1)...]
      let sign = power.first == UInt8(ascii: "-") ? "-" : ""
      if power.first == UInt8(ascii: "-") || power.first == UInt8(ascii: "+") { power = power.dropFirst() }
      guard let number = digits(power) else { return nil }
      exponent = "e\(sign)\(number)"
      rest = rest[..<mark]
    }
    let parts = rest.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let whole = digits(first), whole == "0" || !whole.hasPrefix("0"),
      parts.count == 2 || !exponent.isEmpty
    else { return nil }
    text += whole
    if parts.count == 2 {
      guard let fraction = digits(parts[1]) else { return nil }
      text += "." + fraction
    }
    return Double(text + exponent)
  }

  // MARK: - Dates and times

  static func isDate(_ word: ArraySlice<UInt8>) -> Bool { numbers(word, UInt8(ascii: "-"), [4, 2, 2]) != nil }

  /// RFC 3339, of which parts may be left out.
  private static func isMoment(_ word: Bytes) -> Bool {
    if isDate(word[...]) { return isRealDate(word[...]) }
    if isTime(word[...]) { return true }
    let date = word.prefix(10)
    guard isDate(date), isRealDate(date), let mark = word.dropFirst(10).first, mark | 32 == 116 || mark == 32 else {
      return false
    }
    var time = word.dropFirst(11)
    if let last = time.last, last | 32 == UInt8(ascii: "z") {
      time = time.dropLast()
    } else if time.count > 6, let sign = time.dropLast(5).last, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
      guard let zone = numbers(time.suffix(5), UInt8(ascii: ":"), [2, 2]), zone[0] < 24, zone[1] < 60 else {
        return false
      }
      time = time.dropLast(6)
    }
    return isTime(time)
  }

  private static func isRealDate(_ word: ArraySlice<UInt8>) -> Bool {
    guard let parts = numbers(word, UInt8(ascii: "-"), [4, 2, 2]), parts[0] > 0 else { return false }
    let found = Timestamp(year: parts[0], month: parts[1], day: parts[2]).calendar()
    return (found.year, found.month, found.day) == (parts[0], parts[1], parts[2])
  }

  private static func isTime(_ word: ArraySlice<UInt8>) -> Bool {
    let parts = word.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let clock = numbers(first, UInt8(ascii: ":"), [2, 2, 2]) else { return false }
    guard clock[0] < 24, clock[1] < 60, clock[2] < 61 else { return false }
    return parts.count < 2 || !parts[1].isEmpty && parts[1].allSatisfy { digit($0, below: 10) }
  }

  private static func numbers(_ word: ArraySlice<UInt8>, _ separator: UInt8, _ widths: [Int]) -> [Int]? {
    let parts = word.split(separator: separator, omittingEmptySubsequences: false)
    guard parts.map(\.count) == widths, parts.allSatisfy({ $0.allSatisfy { digit($0, below: 10) } }) else { return nil }
    return parts.compactMap { Int(Bytes($0).shown) }
  }
}
