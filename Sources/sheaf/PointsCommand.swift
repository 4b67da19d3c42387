/// `sheaf points`: the points of a store.
import ArgumentParser
import Posix
import SheafCore

struct PointsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "points", abstract: "Show the points that can be restored.",
    usage: "sheaf points -s STORE [OPTION ...]", aliases: ["list"])

  @OptionGroup var store: StoreOptions
  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let opened = try store.open(reads: true)
    let names = try store.series.map { [$0.bytes] } ?? opened.seriesNames()
    var total = 0
    var damaged = 0
    for name in names {
      let series = try opened.series(name, host: [])
      series.holdSets()
      try volumes.add(to: series)
      let points = try Points(series, series.tellOfDamage())
      if series.warnOfAlarm() == nil { try? Memory.stores?.remember(series, now: .now()) }
      total += points.rows.count
      damaged += points.rows.count { $0.isDamaged || $0.isKnownDamaged }
      if output.json {
        points.printJSON()
      } else if !output.quiet {
        points.printTable(opened, alone: names.count == 1)
        let newest = try series.sets().last?.point
        if let proved = Words.proved(series.proofNote(Memory.stores), newest: newest) {
          Console.shared.print("  \(proved)")
        }
      }
      var told: Set<String> = []
      for failure in points.rows.compactMap(\.failure) where told.insert(failure.message).inserted {
        Console.shared.error(failure.message, hint: failure.manifestHint)
      }
      Self.tellOfInterrupted(try series.interrupted().bytes)
      try series.tellOfLostManifests()
    }
    if output.json {
      var json = JSON("summary")
      json.add("store", opened.path)
      json.add("uuid", opened.uuid)
      json.add("label", opened.label)
      json.add("points", total)
      json.add("damaged", damaged)
      json.print()
    } else if names.isEmpty, !output.quiet {
      Console.shared.list(
        Bytes("no points yet; make one with:"), "sheaf backup -s \(Show.word(opened.path)) SOURCE...",
        between: " ")
    }
    if names.isEmpty { Self.tellOfInterrupted(try opened.interruptedFirstRuns()) }
    if damaged > 0 { throw Status.damaged }
  }

  private static func tellOfInterrupted(_ bytes: Int64) {
    guard bytes > 0 else { return }
    Console.shared.note("an interrupted run left \(Words.size(bytes)), which the next backup takes over or removes")
  }
}

/// The points of one series, read for showing.
private struct Points {
  struct Row {
    var set: SetName
    var head: SetHead?
    var foot: SetFoot?
    var failure: Failure?
    var isProtected = false
    /// A set that it needs is damaged; that set's own row says how.
    var needsDamaged: SetName?
    /// An earlier verify found damage.
    var isKnownDamaged = false
    var isDamaged: Bool { failure != nil || needsDamaged != nil }
  }
  let series: Series
  var rows: [Row] = []

  init(_ series: Series, _ damage: DamageNote) throws(Failure) {
    self.series = series
    let protected = try series.protectedPoints()
    var needs = try PointNeeds(series)
    for set in needs.lineage.sets {
      var row = Row(set: set)
      row.isProtected = protected.contains(set.point)
      row.isKnownDamaged = damage.touches(set)
      do throws(Failure) {
        row.head = try series.head(set)
        row.foot = try series.foot(set)
        _ = try needs.holders(for: set)
        if let shortfall = try series.shortfalls(of: set).first { row.failure = Failure(.damaged, shortfall) }
      } catch { row.failure = error }
      rows.append(row)
    }
    let damaged = Set(rows.filter { $0.failure != nil }.map(\.set))
    let needed = needs.needed(by: rows.filter { $0.failure == nil }.map(\.set), among: damaged)
    for index in rows.indices { rows[index].needsDamaged = needed[rows[index].set] }
  }

  func printJSON() {
    for row in rows {
      var json = JSON("point")
      json.add("series", series.name)
      json.add("set", row.set.text)
      json.add("time", row.set.time)
      if let head = row.head { json.add("started", head.started) }
      json.add("kind", row.set.kind.rawValue)
      json.add("parent", row.head?.parent?.point)
      if let foot = row.foot {
        json.add("files", foot.counts.files)
        json.add("directories", foot.counts.directories)
        json.add("bytes", foot.counts.bytes)
        json.add("added", foot.storedBytes)
        json.add("files_unseen", foot.counts.unseen)
        json.add("files_torn", foot.counts.torn)
        json.add("digest", foot.point.hex)
        if let last = foot.incompleteAfter { json.add("incomplete_after", last) }
      }
      if let comment = row.head?.comment, !comment.isEmpty { json.add("comment", comment) }
      if row.isProtected { json.add("protected", true) }
      if let failure = row.failure { json.add("damaged", failure.message) }
      if !row.isDamaged, row.isKnownDamaged { json.add("damaged", "verify found damage") }
      if row.failure == nil, let needed = row.needsDamaged { json.add("damaged", "needs \(needed.text)") }
      json.print()
    }
  }

  /// Each full set begins a chain; what builds on it stands below it, indented.
  func printTable(_ store: Store, alone: Bool) {
    let console = Console.shared
    let label = store.label.isEmpty ? "" : " on '\(Show.path(store.label))'"
    console.print(
      console.styled("series \(Show.path(series.name))\(label): \(Words.count(rows.count, "point"))", .bold))
    let names = rows.map { ($0.set.kind == .full ? "" : "└ ") + $0.set.text }
    let width = max(26, names.map(Show.columns).max() ?? 0)
    let table = Table(
      [
        .left("point", width), .right("files", 7, rank: 3), .right("size", 7), .right("added", 7, rank: 2),
        .left("local time", 16, rank: 1),
      ], room: console.columns)
    console.print(console.styled(table.heading(), .dim))
    for (row, name) in zip(rows, names) {
      guard let foot = row.foot, !row.isDamaged else {
        let why = row.failure == nil ? row.needsDamaged.map { ", as it needs \($0.text)" } ?? "" : ""
        console.print("  \(Words.left(name, width))  \(console.styled("damaged", .red))\(why)")
        continue
      }
      // Not the name's time: a name must come after the one before, even if the clock was wrong.
      let time = String(Words.time(row.head?.started ?? row.set.time).dropLast(3))
      var marks: [String] = []
      if foot.incompleteAfter != nil { marks.append(console.styled("incomplete", .yellow)) }
      if foot.counts.unseen > 0 { marks.append(console.styled("\(Words.count(foot.counts.unseen)) unseen", .yellow)) }
      if foot.counts.torn > 0 { marks.append(console.styled("\(Words.count(foot.counts.torn)) torn", .yellow)) }
      if row.isKnownDamaged { marks.append(console.styled("damage found", .red)) }
      if row.isProtected { marks.append("protected") }
      let (size, added) = (Words.size(foot.counts.bytes), Words.size(foot.storedBytes))
      let cells = [name, Words.count(foot.counts.files), size, added, time]
      console.line(table.line(cells, marks.joined(separator: "  ")))
      if let comment = row.head?.comment, !comment.isEmpty {
        console.print(console.styled("    “\(Show.path(comment))”", .dim))
      }
    }
  }
}
