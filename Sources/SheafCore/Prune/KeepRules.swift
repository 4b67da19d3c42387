/// Which points a person wants to keep.
import Posix

public struct KeepRules: Sendable {
  public enum Period: String, CaseIterable, Sendable {
    case hourly, daily, weekly, monthly, yearly
  }
  /// The newest so many.
  public var last: Int?
  /// Of the last so many hours, days … that have a point, the newest point each.
  public var periods: [Period: Int] = [:]
  /// Seconds: points that are no older than that before the newest.
  public var within: Int64?
  /// The same of single periods: of the hours, days … that are not older, the newest point each.
  public var periodsWithin: [Period: Int64] = [:]
  /// Words of comments.
  public var tags: [Bytes] = []
  /// Points named by `--drop`: no rule keeps them.
  public var drops: Set<String> = []

  public init() {}

  /// Without any rule everything is kept, but for what is to be dropped.
  public var isEmpty: Bool { last == nil && periods.isEmpty && within == nil && periodsWithin.isEmpty && tags.isEmpty }

  /// Whether rules were given that keep no point, whatever there is.
  public var keepNothing: Bool {
    !isEmpty && (last ?? 0) == 0 && periods.values.allSatisfy { $0 == 0 } && (within ?? 0) == 0
      && periodsWithin.values.allSatisfy { $0 == 0 } && tags.isEmpty
  }

  public struct Point: Sendable {
    public var set: SetName
    /// The clock when the run began: the point's own time may have been moved on to come after the one before.
    public var started: Timestamp
    public var comment: Bytes

    public init(set: SetName, started: Timestamp, comment: Bytes = []) {
      self.set = set
      self.started = started
      self.comment = comment
    }

    /// Whether the comment has the word, or is it.
    func has(tag: Bytes) -> Bool { comment == tag || comment.split(separator: 32).contains { $0.elementsEqual(tag) } }
  }

  /// The tags that none of the points has.
  public func unusedTags(_ points: [Point]) -> [Bytes] { tags.filter { tag in !points.contains { $0.has(tag: tag) } } }

  /// Why each of the points is kept; those that are not are missing. While a rule of periods has places left, the oldest
  /// point is kept too: else each new point would push it out, and history would never grow beyond one period.
  public func reasons(_ points: [Point]) -> [SetName: [String]] {
    var reasons: [SetName: [String]] = [:]
    // The order of the chain: a clock that was set back does not make an older state a newer one.
    let newestFirst = points.sorted { $0.set > $1.set }
    guard let newest = newestFirst.first, let oldest = newestFirst.last else { return [:] }
    for point in newestFirst.prefix(last ?? 0) { reasons[point.set, default: []].append("last") }
    for period in Period.allCases {
      var seen: Set<Int64> = []
      for point in newestFirst where seen.count < periods[period] ?? 0 {
        if seen.insert(Self.number(of: period, point.started)).inserted {
          reasons[point.set, default: []].append(period.rawValue)
        }
      }
      if seen.count < periods[period] ?? 0, reasons[oldest.set]?.contains(period.rawValue) != true {
        reasons[oldest.set, default: []].append("\(period.rawValue) (oldest)")
      }
    }
    func isWithin(_ point: Point, _ age: Int64) -> Bool {
      point.started.seconds >= newest.started.seconds.subtracting(saturating: age)
    }
    for period in Period.allCases {
      guard let age = periodsWithin[period], age > 0 else { continue }
      var seen: Set<Int64> = []
      for point in newestFirst where isWithin(point, age) {
        if seen.insert(Self.number(of: period, point.started)).inserted {
          reasons[point.set, default: []].append("\(period.rawValue) within")
        }
      }
    }
    for point in newestFirst {
      if let within, isWithin(point, within) {
        reasons[point.set, default: []].append("within")
      }
      if tags.contains(where: { point.has(tag: $0) }) { reasons[point.set, default: []].append("tag") }
    }
    return reasons
  }

  /// One number for all moments of an hour, a day, a week that begins on Monday …, in the machine's time zone.
  private static func number(of period: Period, _ time: Timestamp) -> Int64 {
    let c = time.calendar(local: true)
    // 1970 began on a Thursday.
    let day = Timestamp(year: c.year, month: c.month, day: c.day).seconds / 86400
    return switch period {
    // Where the clock is set back, an hour comes twice.
    case .hourly: time.seconds - Int64(c.minute * 60 + c.second)
    case .daily: day
    case .weekly: (day + 3) / 7
    case .monthly: Int64(c.year * 12 + c.month)
    case .yearly: Int64(c.year)
    }
  }
}
