/// Points are shown and chosen by when their runs began, in a time zone whose clock is set back once a year and after one
/// that was ahead.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct PointTimesTests {
  private static let berlin: [String: Raw?] = [
    "TZ": "CET-1CEST,M3.5.0,M10.5.0/3", "HOME": Raw?.none, "XDG_STATE_HOME": Raw?.none,
  ]

  /// Names of points, and the clock at which their runs began.
  private func store(_ scratch: Scratch, _ points: [(name: String, started: Int)]) throws -> Bytes {
    let store = try ForgedStore(at: scratch.path("store"))
    for (index, point) in points.enumerated() {
      var set = ForgedSet("\(point.name)-full", id: UInt64(index + 1))
      set.head = set.head.map { $0.bytes.starts(with: Bytes("started")) ? "started: \(point.started).000000000" : $0 }
      set.directory("box")
      set.end()
      try store.write(set)
    }
    return store.path
  }

  private func run(_ arguments: [Raw], status: Int32 = 0) throws -> Output {
    let output = try Command.sheaf(arguments, environment: Self.berlin).run()
    #expect(output.status == status, "\(output)")
    return output
  }

  private func chosen(_ store: Bytes, _ at: String) throws -> String? {
    let output = try run([
      "restore", "-n", "--json", "--to", Raw(store + Bytes("-none")), "-s", Raw(store), "--at", Raw(at),
    ])
    return (try output.json().last?["set"] as? String).map { String($0.prefix(18)) }
  }

  /// 2025-10-26: from three o'clock in summer it is two again.
  private static let night: [(name: String, started: Int)] = [
    ("2025-10-25T233000Z", 1_761_435_000), ("2025-10-26T003000Z", 1_761_438_600), ("2025-10-26T013000Z", 1_761_442_200),
    ("2025-10-26T023000Z", 1_761_445_800),
  ]

  @Test(arguments: [
    ("2025-10-26T01", 0), ("2025-10-26T01:30", 0), ("2025-10-26T02", 2), ("2025-10-26T02:30", 2),
    ("2025-10-26T02:30:00", 2), ("2025-10-26T02:29", 1), ("2025-10-26T03", 3), ("2025-10-26", 3),
    ("2025-10-26T00Z", 1), ("2025-10-26T01:30Z", 2), ("2025-10-26T01:29Z", 1), ("latest", 3),
  ]) func theHourThatComesTwice(at: String, index: Int) throws {
    let scratch = try Scratch()
    let store = try store(scratch, Self.night)
    #expect(try chosen(store, at) == Self.night[index].name)
  }

  /// A weekday is the last of its name, today included.
  @Test func daysOfTheLastWeek() throws {
    let scratch = try Scratch()
    func day(_ ago: Int, _ format: String) throws -> String {
      let words: [Raw] = ["-d", "\(ago) days ago 12:00", Raw(Bytes("+\(format)".utf8))]
      let date = Command("date", words, environment: Self.berlin)
      return String(try date.run().checked().text.dropLast())
    }
    let points = try (0..<9).reversed().map { ago in
      (name: try "\(day(ago, "%F"))T120000Z", started: Int(try day(ago, "%s")) ?? 0)
    }
    let store = try store(scratch, points)
    for ago in 0..<7 {
      let name = try day(ago, "%A").lowercased()
      #expect(try chosen(store, name) == points[8 - ago].name, "\(name)")
      #expect(try chosen(store, name.capitalized) == points[8 - ago].name, "\(name)")
    }
  }

  @Test func hoursAreInstants() throws {
    let scratch = try Scratch()
    let store = try store(scratch, Self.night)
    for count in 1...4 {
      let output = try run(["prune", "-n", "--json", "--keep-hourly", "\(count)", "-s", Raw(store)])
      let kept = try output.json().filter { $0["fate"] as? String == "keep" }
      #expect(kept.count == count, "\(output)")
    }
  }

  /// The clock said 2035 once; the points after that have names after it.
  private static let ahead: [(name: String, started: Int)] = [
    ("2025-10-20T100000Z", 1_760_954_400), ("2035-01-01T000000Z", 2_051_222_400), ("2035-01-01T000001Z", 1_761_040_800),
    ("2035-01-01T000002Z", 1_761_127_200),
  ]

  @Test(arguments: [
    ("2025-10-20", 0), ("2025-10-21", 2), ("2025-10-22", 3), ("2025-10-23", 3), ("2035-01-01T000001Z", 2),
    ("2034-01-01", 3), ("10d", 3),
  ]) func afterAClockThatWasAhead(at: String, index: Int) throws {
    let scratch = try Scratch()
    let store = try store(scratch, Self.ahead)
    #expect(try chosen(store, at) == Self.ahead[index].name)
  }

  @Test func whatIsShown() throws {
    let scratch = try Scratch()
    let store = try store(scratch, Self.ahead)
    let table = try run(["points", "-s", Raw(store)])
    #expect(table.lines[3].hasSuffix("2035-01-01 01:00") && table.lines[4].hasSuffix("2025-10-21 12:00"), "\(table)")
    let points = try run(["points", "--json", "-s", Raw(store)]).json()
    #expect(points[2]["time"] as? String == "2035-01-01T00:00:01Z")
    #expect(points[2]["started"] as? String == "2025-10-21T10:00:00Z")
    let plan = try run(["prune", "-n", "--json", "--keep-daily", "2", "-s", Raw(store)]).json()
    #expect(plan.filter { $0["fate"] as? String == "keep" }.count == 2)
  }
}
