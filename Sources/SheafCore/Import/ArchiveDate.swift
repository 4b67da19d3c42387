/// The moment that an archive's name tells, as people and their scripts write it.
import Posix

enum ArchiveDate {
  /// The first date in the name: `2024-05-01`, `20240501`, also with `_` or `.`, and a time of day behind it where one
  /// stands there (`T0600`, `-06:00`, `_060000`); in the machine's time zone, or in UTC where a `Z` follows the time. nil:
  /// there is none. A number that goes on with more digits is something else.
  static func told(by name: Bytes) -> Timestamp? {
    for start in name.indices where isDigit(name[start]) && (start == 0 || !isDigit(name[start - 1])) {
      var text = Reader(rest: name[start...])
      if let found = date(&text) { return found }
    }
    return nil
  }

  private static func date(_ text: inout Reader) -> Timestamp? {
    guard let year = text.number(4), (1970...2199).contains(year) else { return nil }
    let mark = text.mark(of: Bytes("-_."))
    guard let month = text.number(2), text.mark(of: Bytes("-_.")) == mark, let day = text.number(2) else { return nil }
    // A day that is in no calendar becomes another one.
    let noon = Timestamp(year: year, month: month, day: day, hour: 12).calendar()
    guard (noon.year, noon.month, noon.day) == (year, month, day) else { return nil }
    var behind = text
    if let (hour, minute, second, isUTC) = time(&behind), !behind.isAtDigit {
      return isUTC
        ? Timestamp(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
        : .lastLocal(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
    }
    return text.isAtDigit ? nil : Timestamp(year: year, month: month, day: day, local: true)
  }

  private static func time(_ text: inout Reader) -> (hour: Int, minute: Int, second: Int, isUTC: Bool)? {
    _ = text.mark(of: Bytes("Tt-_ ."))
    guard let hour = text.number(2), hour < 24 else { return nil }
    let mark = text.mark(of: Bytes(":-."))
    guard let minute = text.number(2), minute < 60 else { return nil }
    var behind = text
    var second = 0
    if behind.mark(of: Bytes(":-.")) == mark, let told = behind.number(2), told < 60, !behind.isAtDigit {
      second = told
      text = behind
    }
    return (hour, minute, second, text.mark(of: Bytes("Z")) != nil)
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

  private struct Reader {
    var rest: ArraySlice<UInt8>
    var isAtDigit: Bool { rest.first.map(ArchiveDate.isDigit) ?? false }

    /// A number of so many digits.
    mutating func number(_ count: Int) -> Int? {
      let digits = rest.prefix(count)
      guard digits.count == count, digits.allSatisfy(ArchiveDate.isDigit) else { return nil }
      rest = rest.dropFirst(count)
      return digits.reduce(0) { $0 * 10 + Int($1 - 48) }
    }

    mutating func mark(of marks: Bytes) -> UInt8? {
      guard let next = rest.first, marks.contains(next) else { return nil }
      rest = rest.dropFirst()
      return next
    }
  }
}
