/// Which points rules keep, against a table worked out by hand.
import Foundation
import Posix
import SheafCore
import Testing

@Suite struct KeepRulesTests {
  /// Local times of points, as `2026-11-24T06`, oldest first.
  private static let times = [
    "2025-12-31T23", "2026-01-01T00", "2026-01-31T12", "2026-02-01T12", "2026-11-01T05",
    "2026-11-15T23",  // a Sunday
    "2026-11-16T00",  // a Monday
    "2026-11-22T22", "2026-11-23T01", "2026-11-23T09", "2026-11-24T06", "2026-11-24T07",
  ]

  private static let points: [KeepRules.Point] = times.enumerated().map { index, text in
    let n = text.split { !$0.isNumber }.map { Int($0)! }
    let time = Timestamp(year: n[0], month: n[1], day: n[2], hour: n[3], local: true)
    // The names say nothing of when: only the clock counts.
    let name = SetName("2030-01-01T0000\(index < 10 ? "0" : "")\(index)Z-incr")!
    return KeepRules.Point(set: name, started: time, comment: Bytes((index == 2 ? "before the move" : "").utf8))
  }

  private func kept(_ change: (inout KeepRules) -> Void) -> [String] {
    var rules = KeepRules()
    change(&rules)
    let kept = rules.reasons(Self.points)
    return zip(Self.times, Self.points).filter { kept[$0.1.set] != nil }.map(\.0)
  }

  @Test func eachRule() {
    #expect(kept { $0.last = 2 } == ["2026-11-24T06", "2026-11-24T07"])
    #expect(kept { $0.last = 0 } == [])
    #expect(kept { $0.last = 99 } == Self.times)
    #expect(kept { $0.periods[.hourly] = 3 } == ["2026-11-23T09", "2026-11-24T06", "2026-11-24T07"])
    #expect(kept { $0.periods[.daily] = 3 } == ["2026-11-22T22", "2026-11-23T09", "2026-11-24T07"])
    #expect(kept { $0.periods[.weekly] = 3 } == ["2026-11-15T23", "2026-11-22T22", "2026-11-24T07"])
    #expect(kept { $0.periods[.monthly] = 3 } == ["2026-01-31T12", "2026-02-01T12", "2026-11-24T07"])
    #expect(kept { $0.periods[.yearly] = 5 } == ["2025-12-31T23", "2026-11-24T07"])
    #expect(
      kept { $0.within = 86400 + 6 * 3600 } == ["2026-11-23T01", "2026-11-23T09", "2026-11-24T06", "2026-11-24T07"])
    #expect(kept { $0.periodsWithin[.daily] = 86400 + 6 * 3600 } == ["2026-11-23T09", "2026-11-24T07"])
    #expect(
      kept { $0.periodsWithin[.monthly] = 300 * 86400 } == ["2026-01-31T12", "2026-02-01T12", "2026-11-24T07"])
    #expect(kept { $0.periodsWithin[.daily] = 0 } == [])
    #expect(kept { $0.periods[.daily] = .max }.count == 10)
    // With places to spare the oldest stays, too.
    #expect(
      kept { $0.periods[.weekly] = 99 } == [
        "2025-12-31T23", "2026-01-01T00", "2026-02-01T12", "2026-11-01T05", "2026-11-15T23", "2026-11-22T22",
        "2026-11-24T07",
      ])
    #expect(kept { $0.periods[.weekly] = 6 }.first == "2026-01-01T00")
    for tag in ["move", "before the move"] as [StaticString] {
      #expect(kept { $0.tags = [Bytes(tag)] } == ["2026-01-31T12"])
    }
    #expect(kept { $0.tags = [Bytes("mov"), Bytes("")] } == Self.times.filter { $0 != "2026-01-31T12" })
  }

  @Test(
    arguments: [
      ("90s", 90), ("5min", 300), ("1m14d", 44 * 86400), ("1y2m3w4d5h6min7s", 0), ("2w3d", 17 * 86400),
      ("14d1m", nil), ("1d1d", nil), ("d", nil), ("", nil), ("1", nil), ("1x", nil), ("1d2", nil), ("-1d", nil),
      ("9999999d", nil),
    ] as [(String, Int64?)]) func ages(text: String, seconds: Int64?)
  {
    let told: Int64 = (365 + 60 + 21 + 4) * 86400 + 5 * 3600 + 6 * 60 + 7
    #expect(Age(text)?.seconds == (seconds == 0 ? told : seconds))
  }

  @Test func together() {
    var rules = KeepRules()
    #expect(rules.isEmpty)
    rules.last = 1
    rules.periods = [.daily: 1, .yearly: 2]
    #expect(!rules.keepNothing)
    let reasons = rules.reasons(Self.points)
    #expect(reasons[Self.points[11].set] == ["last", "daily", "yearly"])
    #expect(reasons[Self.points[0].set] == ["yearly"] && reasons.count == 2)
    #expect(rules.reasons([]).isEmpty)
  }

  /// A clock that went back: the chain says what is newest, the clock which day that was.
  @Test func aClockThatWentBack() {
    var rules = KeepRules()
    rules.last = 1
    let a = KeepRules.Point(set: SetName("2026-11-24T060000Z-full")!, started: Timestamp(seconds: 2_000_000_000))
    let b = KeepRules.Point(set: SetName("2026-11-24T060001Z-incr")!, started: Timestamp(seconds: 1_900_000_000))
    #expect(rules.reasons([a, b]) == [b.set: ["last"]])
    rules = KeepRules()
    rules.periods = [.daily: 1]
    rules.within = 3600
    #expect(rules.reasons([a, b]) == [a.set: ["within"], b.set: ["daily", "within"]])
  }
}
