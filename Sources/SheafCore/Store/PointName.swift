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
  static func time(_ text: String) -> Timestamp? {
    let t = Bytes(text.utf8)
    guard t.count == 18, t[4] == 45, t[7] == 45, t[10] == UInt8(ascii: "T"), t[17] == UInt8(ascii: "Z") else {
      return nil
    }
    func number(_ range: Range<Int>) -> Int? {
      t[range].allSatisfy { (48...57).contains($0) } ? t[range].reduce(0) { $0 * 10 + Int($1 - 48) } : nil
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
      let minute = number(13..<15), let second = number(15..<17)
    else { return nil }
    let time = Timestamp(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
    return Self.text(time) == text ? time : nil
  }
}

/// The name of a set: its point, its kind, and a number where several sets stand for one point.
public struct SetName: Hashable, Comparable, Sendable {
  public var point: String
  public var kind: SetKind
  /// 1 for the first; the highest committed one counts.
  public var number = 1

  init(point: String, kind: SetKind, number: Int = 1) {
    self.point = point
    self.kind = kind
    self.number = number
  }

  /// From `2026-11-24T060000Z-full` or `…-full-2`; nil for anything else.
  public init?(_ text: String) {
    let point = String(text.prefix(18))
    guard PointName.time(point) != nil else { return nil }
    let rest = text.dropFirst(18).split(separator: "-", omittingEmptySubsequences: false)
    guard rest.count == 2 || rest.count == 3, rest[0].isEmpty, let kind = SetKind(suffix: String(rest[1])) else {
      return nil
    }
    self.init(point: point, kind: kind)
    if rest.count == 3 {
      guard let n = Int(rest[2]), n >= 2, String(n) == rest[2] else { return nil }
      number = n
    }
    guard self.text == text else { return nil }
  }

  public var text: String { "\(point)-\(kind.suffix)" + (number > 1 ? "-\(number)" : "") }
  var manifest: String { text + ".mtree.gz" }
  var archive: String { text + ".tar.gz" }
  public var time: Timestamp { PointName.time(point)! }

  public static func < (a: SetName, b: SetName) -> Bool { (a.point, a.number) < (b.point, b.number) }
}
