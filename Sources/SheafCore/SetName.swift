/// The names of points and of sets: UTC, sortable, without a character that FAT, exFAT or NTFS forbid.
import Posix

enum PointName {
  /// `2026-11-24T060000Z`.
  static func text(_ time: Timestamp) -> String {
    let c = time.calendar()
    func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
    let year = String(c.year)
    return String(repeating: "0", count: max(0, 4 - year.count)) + year
      + "-\(two(c.month))-\(two(c.day))T\(two(c.hour))\(two(c.minute))\(two(c.second))Z"
  }

  /// nil where it is not such a text.
  static func time(_ text: String) -> Timestamp? { time(Bytes(text.utf8)[...]) }

  /// By hand, as a directory may hold very many names.
  static func time(_ text: ArraySlice<UInt8>) -> Timestamp? {
    guard text.count == 18 else { return nil }
    func isAt(_ offset: Int, _ byte: UInt8) -> Bool { text[text.startIndex + offset] == byte }
    guard isAt(4, 45), isAt(7, 45), isAt(10, UInt8(ascii: "T")), isAt(17, UInt8(ascii: "Z")) else { return nil }
    func number(_ range: Range<Int>) -> Int64? {
      var value: Int64 = 0
      for offset in range {
        let digit = text[text.startIndex + offset] &- 48
        guard digit <= 9 else { return nil }
        value = value * 10 + Int64(digit)
      }
      return value
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
      let minute = number(13..<15), let second = number(15..<17),
      (1...12).contains(month), hour < 24, minute < 60, second < 60
    else { return nil }
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    guard (1...lengths[Int(month) - 1]).contains(day) else { return nil }
    // Days since 0000-01-01, of which 1970-01-01 is number 719,528.
    let leaps = year == 0 ? 0 : (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1
    let days = year * 365 + leaps + lengths[..<(Int(month) - 1)].reduce(0, +) + day - 1
    return Timestamp(seconds: (days - 719_528) * 86400 + hour * 3600 + minute * 60 + second)
  }
}

public enum SetKind: String, Sendable {
  case full, incremental, differential

  /// As it stands in file names.
  var suffix: String {
    switch self {
    case .full: "full"
    case .incremental: "incr"
    case .differential: "diff"
    }
  }

  init?(suffix: String) {
    switch suffix {
    case "full": self = .full
    case "incr": self = .incremental
    case "diff": self = .differential
    default: return nil
    }
  }
}

/// The name of a set: its point, its kind, and a number where several sets stand for one point.
public struct SetName: Hashable, Comparable, Sendable {
  public var point: String
  public var kind: SetKind
  /// 1 for the first; the highest committed one counts.
  public var number = 1
  /// A file with a higher one in its name is no set's: nobody folds as often, and there is always a next number.
  static let greatestNumber = 999_999_999

  init(point: String, kind: SetKind, number: Int = 1) {
    self.point = point
    self.kind = kind
    self.number = number
  }

  /// From `2026-11-24T060000Z-full` or `…-full-2`; nil for anything else.
  public init?(_ text: String) { self.init(Bytes(text.utf8)[...]) }

  init?(_ text: ArraySlice<UInt8>) {
    guard text.count > 18, PointName.time(text.prefix(18)) != nil else { return nil }
    let rest = text.dropFirst(18).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard rest.count == 2 || rest.count == 3, rest[0].isEmpty,
      let kind = SetKind(suffix: String(decoding: rest[1], as: UTF8.self))
    else { return nil }
    self.init(point: String(decoding: text.prefix(18), as: UTF8.self), kind: kind)
    if rest.count == 3 {
      let digits = String(decoding: rest[2], as: UTF8.self)
      guard let n = Int(digits), (2...Self.greatestNumber).contains(n), String(n) == digits else { return nil }
      number = n
    }
  }

  public var text: String { "\(point)-\(kind.suffix)" + (number > 1 ? "-\(number)" : "") }
  var manifest: String { text + ".mtree.gz" }
  var archive: String { text + ".tar.gz" }
  public var time: Timestamp { PointName.time(point)! }

  public static func < (a: SetName, b: SetName) -> Bool { (a.point, a.number) < (b.point, b.number) }
}
