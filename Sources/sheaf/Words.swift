/// Numbers, sizes, times and durations in words and columns.
import Posix
import SheafCore

enum Words {
  /// `12,345`.
  static func count(_ n: some BinaryInteger) -> String {
    let digits = String(n)
    var result = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, digit != "-", (digits.count - index) % 3 == 0, result != "-" { result += "," }
      result.append(digit)
    }
    return result
  }

  /// `1 file`, `12,345 files`.
  static func count(_ n: some BinaryInteger, _ noun: String) -> String { "\(count(n)) \(noun)\(n == 1 ? "" : "s")" }

  /// `0 B`, `999 B`, `1.2 kB`, `34 MB`: three digits, in thousands.
  static func size(_ bytes: some BinaryInteger) -> String { Show.size(bytes) }

  /// `8 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
  static func duration(_ nanoseconds: Int64) -> String {
    let seconds = Double(nanoseconds) / 1e9
    if seconds < 0.0995 { return "\(Int((seconds * 1000).rounded())) ms" }
    if seconds < 59.5 { return "\(Show.decimal(seconds)) s" }
    let whole = Int(seconds.rounded())
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
  }

  /// `2026-11-24 06:00:00` in the machine's time zone.
  static func time(_ time: Timestamp, local: Bool = true) -> String {
    let c = time.calendar(local: local)
    return "\(c.year)-\(two(c.month))-\(two(c.day)) \(two(c.hour)):\(two(c.minute)):\(two(c.second))"
  }

  /// `3 min`, `5 h`, `12 d`: how long ago it was, in the largest unit.
  static func age(_ time: Timestamp) -> String {
    let seconds = max(0, Timestamp.now().seconds.subtracting(saturating: time.seconds))
    if seconds < 60 { return "now" }
    if seconds < 3600 { return "\(seconds / 60) min" }
    if seconds < 2 * 86400 { return "\(seconds / 3600) h" }
    return "\(seconds / 86400) d"
  }

  /// What was really restored, in words.
  /// `newest`: the name of the newest point.
  static func proved(_ note: ProofNote, newest: String?) -> String? {
    guard let (share, since, oldest) = note.coverage else { return nil }
    let part =
      share == 1 ? "all of it was" : share < 0.01 ? "less than 1 % of it was" : "\(Int(share * 100)) % of it was"
    let age = age(since)
    return "\(part) really restored \(age == "now" ? "just now" : "within the last \(age)")\(asItWas(oldest, newest))"
  }

  /// What is said behind what was done with `oldest` and the points after it, where the newest is another.
  static func asItWas(_ oldest: SetName, _ newest: String?) -> String {
    newest.map { $0 > oldest.point } == true ? ", as it was then" : ""
  }

  static func ago(_ time: Timestamp) -> String {
    let age = age(time)
    return age == "now" ? "just now" : "\(age) ago"
  }

  static func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }

  static func left(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - Show.columns(text)))
  }
  static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - Show.columns(text))) + text
  }
}

extension Failure {
  /// A manifest can be made again.
  var manifestHint: String? {
    kind == .damaged && message.contains(".mtree.gz")
      ? "'sheaf rebuild -s STORE' makes a manifest again out of its archive" : nil
  }
}
