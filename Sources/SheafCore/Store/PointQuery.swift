/// What a person may write for a point: `latest`, a set's name, a date or a time, an age.
import Posix

extension Series {
  /// The newest set not after what `text` says. Throws `usage` for what cannot be read, `failed` where there is none,
  /// `damaged` where its manifest alone is missing.
  public func find(point text: Bytes, now: Timestamp) throws(Failure) -> SetName {
    do throws(Failure) {
      return try PointQuery.find(text, in: sets(), series: name, now: now) { (try? head($0).started) ?? $0.time }
    } catch {
      // Perhaps its archive is there all the same.
      let words = text.shown
      guard let lost = try? withoutManifest().first(where: { $0.text == words || $0.point == words }) else {
        throw error
      }
      throw Failure(
        .damaged, "\(lost.text) has no manifest", hint: "'sheaf rebuild -s STORE' makes it again out of the archive")
    }
  }
}

public enum PointQuery {
  /// The newest of `all`, which are sorted, that is not after what `text` says; throws as `Series.find`. `started`: when
  /// a set was made by the clock, which counts; a point's own time may be ahead of it, and is never behind.
  public static func find(
    _ text: Bytes, in all: [SetName], series name: Bytes, now: Timestamp, started: (SetName) -> Timestamp
  ) throws(Failure) -> SetName {
    guard let newest = all.last else { throw Failure(.failed, "the series '\(Show.path(name))' has no point yet") }
    // A time as tables show it has a space between its halves.
    let words = String(text.shown.map { $0 == " " ? "T" : $0 })
    if let tilde = words.lastIndex(of: "~"), let steps = Int(words[words.index(after: tilde)...]), steps >= 0 {
      let base = try find(Bytes(words[..<tilde].utf8), in: all, series: name, now: now, started: started)
      guard let place = all.firstIndex(of: base), place >= steps else {
        throw Failure(
          .failed, "no point is \(steps) before \(base.text)", hint: "the oldest is \(all[0].text)")
      }
      return all[place - steps]
    }
    if words == "latest" { return newest }
    // A point's name, also written as times are.
    let plain = words.filter { $0 != ":" }
    if let exact = all.last(where: { $0.text == words || $0.point == plain }) { return exact }
    // The name of one that another set for the same point has replaced.
    if let named = SetName(words) {
      if let successor = all.last(where: { $0.point == named.point }) { return successor }
      throw Failure(.usage, "there is no point \(named.point)", hint: "see 'sheaf points -s STORE'")
    }
    if let age = Age(words)?.seconds {
      let limit = Timestamp(seconds: now.seconds - age + 1)
      if let found = all.last(where: { started($0) < limit }) { return found }
      throw Failure(.failed, "no point is as old as \(words)", hint: "the oldest is \(all[0].text)")
    }
    guard let limit = Self.end(ofDay: words, now: now) ?? Self.end(of: words) else {
      throw Failure(
        .usage, "'\(Show.path(text))' is not a point",
        hint: "latest, latest~1 for the one before, a set's name, a date like 2026-11-24, 2026-11, yesterday or "
          + "tuesday, a time like 2026-11-24T06:00, or an age like 3d")
    }
    guard let found = all.last(where: { $0.time < limit || started($0) < limit }) else {
      throw Failure(.failed, "there is no point at or before \(Show.path(text))", hint: "the oldest is \(all[0].text)")
    }
    return found
  }

  /// Whether a text that was meant as something else names a point.
  static func isPoint(_ text: Bytes, now: Timestamp) -> Bool {
    let words = text.shown
    return words == "latest" || words.hasPrefix("latest~") || SetName(words) != nil
      || end(ofDay: words, now: now) != nil
      || end(of: words) != nil
  }

  /// The first moment after `today`, `yesterday`, a day of the last week, a month or a year, in the machine's time zone.
  private static func end(ofDay text: String, now: Timestamp) -> Timestamp? {
    let today = now.calendar(local: true)
    if text == "today" { return start(year: today.year, month: today.month, day: today.day + 1) }
    if text == "yesterday" { return start(year: today.year, month: today.month, day: today.day) }
    if let weekday = weekdays.firstIndex(of: text.lowercased()) {
      // The first day of 1970 was a Thursday.
      let noon = Timestamp(year: today.year, month: today.month, day: today.day, hour: 12)
      let ago = (noon.seconds / 86400 + 3 - Int64(weekday)) % 7
      let day = Timestamp(seconds: noon.seconds - ago * 86400 + 86400).calendar()
      return start(year: day.year, month: day.month, day: day.day)
    }
    if let month = numbers(text[...], "-", [4, 2]), (1...12).contains(month[1]) {
      return start(year: month[0], month: month[1] + 1, day: 1)
    }
    return numbers(text[...], "-", [4]).flatMap { start(year: $0[0], month: 13, day: 1) }
  }

  private static let weekdays = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

  private static func start(year: Int, month: Int, day: Int) -> Timestamp {
    month > 12
      ? Timestamp(year: year + 1, month: month - 12, day: day, local: true)
      : Timestamp(year: year, month: month, day: day, local: true)
  }

  /// The first moment after what the text names, in the machine's time zone unless it ends in `Z`.
  private static func end(of text: String) -> Timestamp? {
    if let exact = PointName.time(text) { return Timestamp(seconds: exact.seconds + 1) }
    let isLocal = !text.hasSuffix("Z")
    let halves = (isLocal ? text : String(text.dropLast())).split(separator: "T", omittingEmptySubsequences: false)
    guard halves.count <= 2, let date = numbers(halves[0], "-", [4, 2, 2]) else { return nil }
    // A day that is in no calendar becomes another one.
    let noon = Timestamp(year: date[0], month: date[1], day: date[2], hour: 12).calendar()
    guard (noon.year, noon.month, noon.day) == (date[0], date[1], date[2]) else { return nil }
    // Its last second: what comes after it may be another hour's twice.
    var clock = [23, 59, 59]
    if halves.count == 2 {
      let widths = [[2, 2, 2], [2, 2], [2]]
      guard let told = widths.lazy.compactMap({ numbers(halves[1], ":", $0) }).first else { return nil }
      clock.replaceSubrange(0..<told.count, with: told)
    }
    guard clock[0] < 24, clock[1] < 60, clock[2] < 60 else { return nil }
    let last =
      isLocal
      ? Timestamp.lastLocal(
        year: date[0], month: date[1], day: date[2], hour: clock[0], minute: clock[1], second: clock[2])
      : Timestamp(year: date[0], month: date[1], day: date[2], hour: clock[0], minute: clock[1], second: clock[2])
    return Timestamp(seconds: last.seconds + 1)
  }

  private static func numbers(_ text: Substring, _ separator: Character, _ widths: [Int]) -> [Int]? {
    let parts = text.split(separator: separator, omittingEmptySubsequences: false)
    guard parts.count == widths.count else { return nil }
    var result: [Int] = []
    for (part, width) in zip(parts, widths) {
      guard part.utf8.count == width, part.utf8.allSatisfy({ (48...57).contains($0) }), let n = Int(part) else {
        return nil
      }
      result.append(n)
    }
    return result
  }
}

extension Failure {
  /// `hint`: what may have been meant.
  static func notThere(_ path: Bytes, in set: SetName, hint: String? = nil) -> Failure {
    let words =
      PointQuery.isPoint(path, now: Timestamp(seconds: 0)) ? "a point is named with --at \(Show.path(path))" : hint
    return Failure(
      .failed, "\(Show.path(path)) is not in the point \(set.text)", hint: words ?? wayToFind(path))
  }

  /// By the last name alone: it may lie elsewhere, or in another point. Messages say `-s STORE` for the store that the
  /// command line names; who shows them puts that in.
  static func wayToFind(_ path: Bytes) -> String {
    "look for it with 'sheaf find -s STORE \(Show.word(path.splitAtName.name))'"
  }
}
