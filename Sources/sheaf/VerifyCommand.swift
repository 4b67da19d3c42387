/// `sheaf verify`: checks a store, a point, or a lone archive.
import ArgumentParser
import Posix
import SheafCore

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check that everything can be restored.",
    usage: "sheaf verify -s STORE [--at POINT] [--quick]\n    [ARCHIVE]",
    discussion: """
      Without --at every point of every series is checked. ARCHIVE is a lone tar file, store or not; one that is \
      encrypted with age (.tar.gz.age) is opened by --key, --passphrase-file or --passphrase-command.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("An archive file to check instead.", valueName: "ARCHIVE"))
  var archive: RawText?

  @Flag(help: "Check presence, sizes and the chain only.")
  var quick = false

  @OptionGroup var volumes: VolumeOptions
  @OptionGroup var work: WorkOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try work.apply()
    if let archive { return try verify(archive.bytes) }
    let opened = try store.open(fromCopies: false)
    let host = Backup.seriesName(Host.name())
    let all: [Series]
    if store.series != nil || point.at != nil {
      all = [try opened.series(store.series?.bytes, host: host)]
    } else {
      all = try opened.seriesNames().map { (name) throws(Failure) in try opened.series(name, host: host) }
    }
    if all.isEmpty, !output.quiet, !output.json { Console.shared.print("no points yet, nothing to verify") }
    let report = RunReport(output)
    var outcome = Outcome()
    for series in all { try verify(series, report, &outcome) }
    if output.json {
      printJSON(outcome.total, report)
    } else if !output.quiet, !all.isEmpty {
      printWords(outcome.total, report, outcome.stands, outcome.advice)
    }
    if !outcome.total.damages.isEmpty || outcome.stands { throw Status.damaged }
  }

  /// Of all series.
  private struct Outcome {
    var total = VerifySummary()
    /// There is damage that was found earlier, and that this run did not look for.
    var stands = false
    var advice = Advice()
  }

  private func verify(_ series: Series, _ report: RunReport, _ outcome: inout Outcome) throws {
    series.tellOfIgnoredFiles()
    try volumes.add(to: series)
    let set = try point.at == nil ? nil : point.find(in: series)
    let task = Verify(series, isQuick: quick, progress: Interruption.progress) { [output] damage in
      Self.show(damage, series.name, output)
    }
    var summary = try report.showing("verifying") { try task.run(set) }
    if set == nil { try series.tellOfLostManifests() }
    var isKnown = false
    let state = set == nil ? Memory.stores?.state(of: series) ?? .asKnown : .asKnown
    switch state {
    case .contradicted(let words):
      guard let newest = try series.sets().last else { break }
      let damage = Damage(set: newest, path: nil, message: words)
      Self.show(damage, series.name, output)
      summary.damages.append(damage)
    // Only a backup settles that.
    case .older(let words): Console.shared.warning(words)
    case .asKnown: isKnown = true
    }
    let (note, isWritten) = series.note(summary, quick: quick, now: .now(), Memory.stores)
    if isKnown {
      let isClean = set == nil && summary.damages.isEmpty
      try? Memory.stores?.remember(
        series, now: .now(), verified: isClean && !quick && summary.unread == 0, damage: isWritten ? nil : note)
    }
    if !note.isEmpty, summary.damages.isEmpty, set == nil || note.touches(set!) {
      _ = series.tellOfDamage()
      outcome.stands = true
    }
    if !output.json, !output.quiet { try outcome.advice.add(summary, series, task, note) }
    outcome.total.add(summary)
  }

  private static func show(_ damage: Damage, _ series: Bytes, _ output: OutputOptions) {
    if output.json {
      var json = JSON("damage")
      json.add("series", series)
      json.add("set", damage.set.text)
      if let path = damage.path { json.add("path", path) }
      json.add("message", damage.message)
      json.print()
    }
    Console.shared.error(
      damage.path.map { "\(damage.set.text): \(Show.path($0)): \(damage.message)" } ?? damage.message)
  }

  private func printWords(_ s: VerifySummary, _ report: RunReport, _ stands: Bool, _ advice: Advice) {
    let console = Console.shared
    let what =
      quick
      ? "presence, sizes and chains"
      : s.unread > 0
        ? "what is stored, but not what is in it, which this key cannot read"
        : "\(Words.count(s.files, "file")), \(Words.size(s.bytes))"
    if s.damages.isEmpty, stands {
      return console.print("nothing new was found; the damage above counts until a full 'sheaf verify' finds none")
    }
    if s.damages.isEmpty {
      console.print(
        "\(console.styled("no damage", .green)): \(Words.count(s.points, "point")) in \(Words.count(s.sets, "set")), \(what), in \(Words.duration(report.elapsed))"
      )
      return
    }
    console.print("\(console.styled("damage found", .red)): \(Words.count(s.damages.count, "finding")), see above")
    if !s.touched.isEmpty {
      console.print("these points are touched:")
      for set in s.touched {
        console.print("  \(set.text)\(advice.remark(set, s))")
      }
    }
    for line in advice.lines(s) { console.print(line) }
  }

  /// What helps against the damage.
  private struct Advice {
    private var newestIsTouched = false
    private var newestIsIntact = false
    /// Where manifests are damaged.
    private var newestWithList: SetName?
    /// Touched points that still have every file.
    var intact: Set<SetName> = []

    /// More points are not looked at one by one.
    private static let most = 100

    mutating func add(_ summary: VerifySummary, _ series: Series, _ task: Verify, _ note: DamageNote) throws(Failure) {
      for set in summary.touched.suffix(Self.most) where task.isIntact(set, but: summary.damages) { intact.insert(set) }
      let sets = try series.sets()
      if summary.damages.contains(where: \.isOfManifest) {
        newestWithList = sets.last { !summary.withoutList.contains($0) }
      }
      guard let newest = sets.last, note.touches(newest) else { return }
      newestIsTouched = true
      newestIsIntact = intact.contains(newest)
    }

    /// Behind the name of a touched point.
    func remark(_ set: SetName, _ s: VerifySummary) -> String {
      if intact.contains(set) { return "  (but every file of it is whole)" }
      return s.withoutList.contains(set) ? "  (cannot be restored: its list of files is damaged)" : ""
    }

    func lines(_ s: VerifySummary) -> [String] {
      var lines: [String] = []
      if s.touched.contains(where: { !intact.contains($0) && !s.withoutList.contains($0) }) {
        lines.append("what is not damaged still comes back with 'sheaf restore -s STORE'")
      }
      if s.damages.contains(where: \.isOfManifest) {
        lines.append("'sheaf rebuild -s STORE' makes a manifest again out of its archive")
        if let last = newestWithList {
          lines.append("until then the newest point that can be restored is \(last.text)")
        }
      }
      if !newestIsTouched {
        lines.append("the newest point is not touched: later backups can build on it")
        if !s.touched.isEmpty {
          lines.append("'sheaf prune -s STORE --drop POINT' removes a touched point that is no longer wanted")
        }
      } else if newestIsIntact {
        lines.append(
          "'sheaf consolidate -s STORE' makes a full set of the newest point that no longer needs the damaged one")
      } else {
        lines.append("'sheaf backup -s STORE --full' begins a sound chain")
      }
      return lines
    }
  }

  private func printJSON(_ s: VerifySummary, _ report: RunReport) {
    var json = JSON("summary")
    json.add("points", s.points)
    json.add("sets", s.sets)
    json.add("files", s.files)
    json.add("bytes", s.bytes)
    json.add("damages", s.damages.count)
    json.add("sets_not_read", s.unread)
    json.add("touched", s.touched.map { Bytes($0.text.utf8) })
    json.add("quick", quick)
    json.add("seconds", seconds: report.elapsed)
    json.print()
  }

  private func verify(_ path: Bytes) throws {
    guard let archive = try LoneArchive(path, keys: store.keys.keys()) else {
      throw Failure(.failed, "\(Show.path(path)) is not an archive that can be read")
    }
    let (entries, bytes) = try archive.verify()
    if output.json {
      var json = JSON("summary")
      json.add("entries", entries)
      json.add("bytes", bytes)
      json.print()
    } else if !output.quiet {
      Console.shared.print("no damage: \(Words.count(entries)) entries, \(Words.size(bytes)) in \(Show.path(path))")
    }
  }
}
