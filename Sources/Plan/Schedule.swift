/// When a plan runs by itself: as a person writes it, for systemd.time(7), for crontab(5), and as the next moment.
import Posix
import SheafCore

public enum Schedule: Equatable, Sendable {
  case calendar(Hours)
  /// Each time the store's drive is mounted.
  case onPlug

  public struct Hours: Equatable, Sendable {
    /// 0 is Monday; nil: every day.
    public var weekdays: [Int]?
    /// The first of each month alone.
    public var isMonthly = false
    /// nil: every hour.
    public var hour: Int?
    public var minute = 0
  }

  private static let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

  /// `hourly`, `daily`, `weekly`, `monthly`, `Mon..Fri`, `Sat,Sun`, with or without a time as in `18:00`; or `on-plug`.
  public init?(_ text: String) {
    var words = text.lowercased().split(separator: " ").map(String.init)[...]
    if words == ["on-plug"] {
      self = .onPlug
      return
    }
    guard let first = words.popFirst() else { return nil }
    var hours = Hours(hour: 0)
    switch first {
    case "hourly": hours.hour = nil
    case "daily": break
    case "weekly": hours.weekdays = [0]
    case "monthly": hours.isMonthly = true
    default:
      if let days = Self.weekdays(first) { hours.weekdays = days } else { words = [first] + words }
      guard hours.weekdays != nil || words.count == 1 else { return nil }
    }
    if let time = words.popFirst() {
      guard words.isEmpty, hours.hour != nil, let (hour, minute) = Self.time(time) else { return nil }
      (hours.hour, hours.minute) = (hour, minute)
    }
    self = .calendar(hours)
  }

  private static func weekdays(_ text: String) -> [Int]? {
    var found: Set<Int> = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = String(part).split(separator: "..", omittingEmptySubsequences: false).map {
        days.firstIndex(of: String($0))
      }
      guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil else { return nil }
      var day = first
      found.insert(day)
      while day != last {
        day = (day + 1) % 7
        found.insert(day)
      }
    }
    return found.sorted()
  }

  private static func time(_ text: String) -> (Int, Int)? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, (1...2).contains(parts[0].count), parts[1].count == 2,
      parts.allSatisfy({ $0.allSatisfy { $0.isASCII && $0.isNumber } }), let hour = Int(parts[0]),
      let minute = Int(parts[1]), hour < 24, minute < 60
    else { return nil }
    return (hour, minute)
  }
}

extension Schedule.Hours {
  private static let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
  private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

  /// As `OnCalendar` of systemd.timer(5) takes it.
  public var systemd: String {
    let days = weekdays.map { $0.map { Self.names[$0 % 7] }.joined(separator: ",") + " " } ?? ""
    return "\(days)*-*-\(isMonthly ? "01" : "*") \(hour.map(Self.two) ?? "*"):\(Self.two(minute)):00"
  }

  /// The five fields of crontab(5), where 0 is Sunday.
  public var cron: String {
    let days = weekdays.map { $0.map { "\(($0 + 1) % 7)" }.joined(separator: ",") } ?? "*"
    return "\(minute) \(hour.map { "\($0)" } ?? "*") \(isMonthly ? "1" : "*") * \(days)"
  }

  /// The first moment after `now`, in the machine's time zone.
  public func next(after now: Timestamp) -> Timestamp? {
    let today = now.calendar(local: true)
    guard let hour else {
      let next = Timestamp(
        year: today.year, month: today.month, day: today.day, hour: today.hour, minute: minute, local: true)
      return next > now ? next : Timestamp(seconds: next.seconds + 3600)
    }
    for ahead in 0...62 {
      let date = Timestamp(year: today.year, month: today.month, day: today.day + ahead)
      // The first of January 1970 was a Thursday.
      let weekday = Int(((date.seconds / 86400 + 3) % 7 + 7) % 7)
      guard weekdays?.contains(weekday) ?? true, !isMonthly || date.calendar().day == 1 else { continue }
      let next = Timestamp(
        year: today.year, month: today.month, day: today.day + ahead, hour: hour, minute: minute, local: true)
      if next > now { return next }
    }
    return nil
  }
}
