/// Checks that points can be restored: the chain of digests, and everything stored.
import Posix
import Tar

public struct VerifySummary: Sendable {
  public var sets = 0
  public var points = 0
  public var files: Int64 = 0
  /// Of files' contents.
  public var bytes: Int64 = 0
  public var damages: [Damage] = []
  /// Of these sets only what is stored was compared with its digests: the key does not read it.
  public var unread = 0
  /// Points that damage touches.
  public var touched: [SetName] = []
  /// The same, each with the damaged sets that it needs.
  var touchedBy: [SetName: Set<SetName>] = [:]
  /// Those of them of which nothing can be restored: the list of their files, or of a set they build on, is damaged.
  public var withoutList: Set<SetName> = []
  /// All sets that were looked at.
  var read: Set<SetName> = []

  public init() {}

  /// Counts another series.
  public mutating func add(_ other: VerifySummary) {
    sets += other.sets
    points += other.points
    files += other.files
    unread += other.unread
    bytes.add(saturating: other.bytes)
    damages += other.damages
    touched += other.touched
    withoutList.formUnion(other.withoutList)
  }
}

public struct Verify {
  private let series: Series
  private let isQuick: Bool
  private let progress: Progress
  private let report: (Damage) -> Void

  /// `isQuick`: presence, sizes and the chain only. `report` is called with each damage as it is found.
  public init(_ series: Series, isQuick: Bool, progress: Progress, report: @escaping (Damage) -> Void) {
    self.series = series
    self.isQuick = isQuick
    self.progress = progress
    self.report = report
  }

  /// One point, or all of the series where `set` is nil. What others remove or write anew meanwhile is no damage; what
  /// they put in its place is looked at, too.
  public func run(_ set: SetName?) throws(Failure) -> VerifySummary {
    var summary = VerifySummary()
    let findings = Monitor(Findings())
    var looked: Set<SetName> = []
    for _ in 0..<4 {
      var needs = try PointNeeds(series)
      let points = (set.map { [$0] } ?? needs.lineage.sets).filter { looked.insert($0).inserted }
      let isWhole = try check(points, &needs, alone: set != nil, findings, &summary)
      guard !isWhole else { break }
      if let set { throw series.rewrittenMeanwhile(set, [set]) ?? Failure(.failed, "\(set.text) is gone") }
    }
    summary.damages = findings.look { $0.all }.filter { !series.isGone($0.set) }
    summary.touched = summary.touchedBy.keys.filter { !series.isGone($0) }.sorted()
    return summary
  }

  /// False: some of the points were removed or written anew meanwhile; nothing is told of these.
  private func check(
    _ points: [SetName], _ needs: inout PointNeeds, alone: Bool, _ findings: Monitor<Findings>,
    _ summary: inout VerifySummary
  ) throws(Failure) -> Bool {
    let series = series
    let report = report
    func found(_ damage: Damage) {
      if !series.isGone(damage.set), findings.change({ $0.add(damage) }) { report(damage) }
    }
    var (known, sets) = try chains(of: points, &needs, alone: alone, found)
    sets.subtract(summary.read)
    try read(sets, found, &summary)
    known.removeAll(where: series.isGone)
    try checkPoints(&known, needs.lineage, found)
    summary.points += known.count
    let damaged = Set(findings.look { $0.all }.map(\.set)).filter { !series.isGone($0) }
    let needed = needs.needed(by: points, among: damaged)
    for point in points {
      let sets = Set([needed[point], damaged.contains(point) ? point : nil].compactMap { $0 })
      if !sets.isEmpty { summary.touchedBy[point] = sets }
    }
    let unlisted = Set(findings.look { $0.all }.filter(\.isOfManifest).map(\.set))
    let lacking = needs.needed(by: points, among: unlisted)
    summary.withoutList.formUnion(points.filter { unlisted.contains($0) || lacking[$0] != nil })
    return !points.contains(where: series.isGone)
  }

  /// The points whose chains can be told, and all sets that these need.
  private func chains(
    of points: [SetName], _ needs: inout PointNeeds, alone: Bool, _ found: (Damage) -> Void
  ) throws(Failure) -> (known: [SetName], sets: Set<SetName>) {
    let lineage = needs.lineage
    var known: [SetName] = []
    var sets: Set<SetName> = []
    var walked: Set<SetName> = []
    for point in points {
      try attempt(point, found) { () throws(Failure) in
        let holders = try needs.holders(for: point)
        known.append(point)
        var next: SetName? = point
        while let set = next, walked.insert(set).inserted { next = try lineage.parent(of: set) }
        for holder in holders where !walked.contains(holder) && !sets.contains(holder) {
          // One point: no set is read that it has no files in.
          if alone, try series.firstNeeded(by: point, among: [holder]) == nil { continue }
          sets.insert(holder)
        }
      }
    }
    return (known, sets.union(walked))
  }

  /// Reads each set to its end.
  private func read(
    _ sets: Set<SetName>, _ found: @escaping (Damage) -> Void, _ summary: inout VerifySummary
  ) throws(Failure) {
    var expected: Int64 = 0
    for set in sets { expected.add(saturating: (try? series.foot(set).storedBytes) ?? 0) }
    progress.expected.store(isQuick ? 0 : Int(expected), ordering: .relaxed)
    for set in sets.sorted() where !series.isGone(set) {
      try progress.checkCancelled()
      summary.sets += 1
      summary.read.insert(set)
      try attempt(set, found) { () throws(Failure) in
        if isQuick {
          let messages =
            series.canReadContents(of: set)
            ? try ArchiveReader(set, in: series).shortfalls : try series.shortfalls(of: set)
          if let message = messages.first { throw .damaged(message) }
          return
        }
        if !series.canReadContents(of: set) { summary.unread += 1 }
        let (files, bytes) = try ArchiveCheck(series: series, set: set, progress: progress, report: found).run()
        summary.files += files
        summary.bytes.add(saturating: bytes)
      }
    }
  }

  /// Checks that the manifests of each point's chain add up to it. Takes those out of `known` that are gone by then.
  private func checkPoints(
    _ known: inout [SetName], _ lineage: Lineage, _ found: (Damage) -> Void
  ) throws(Failure) {
    var wrong: [SetName: Failure] = [:]
    do throws(Failure) { if !isQuick { wrong = try ChainCheck(series, lineage, progress).run(known) } } catch {
      guard error.kind != .interrupted, known.contains(where: series.isGone) else { throw error }
    }
    known.removeAll(where: series.isGone)
    for point in known {
      try attempt(point, found) { () throws(Failure) in
        let pair = try [point, lineage.parent(of: point)].compactMap { $0 }
        if let mismatch = try series.mismatches(in: pair).first { throw .damaged(mismatch) }
        _ = try series.foot(point)
        if let failure = wrong[point] { throw failure }
      }
    }
  }

  /// Whether a point that damage touches has every file all the same: none lies in what is damaged. As far as the archives
  /// were read to find that damage.
  public func isIntact(_ point: SetName, but damages: [Damage]) -> Bool {
    do throws(Failure) {
      guard try series.isSound(point) else { return false }
      var damaged: Set<Extent.Place> = []
      for set in Set(damages.map(\.set)) {
        let paths = Set(damages.filter { $0.set == set }.compactMap(\.path))
        let manifest = try series.manifest(set)
        while try manifest.next() {
          // By their places: a point may know a file by another name.
          guard manifest.line.what == .entry, paths.contains(Bytes(manifest.line.path)) else { continue }
          for extent in manifest.line.entry()?.extents ?? [] { damaged.insert(extent.place) }
        }
      }
      let tree = try series.tree(try series.chain(of: point))
      while try tree.next() {
        guard !damaged.isEmpty, tree.line.place != nil, let entry = tree.line.entry() else { continue }
        if entry.extents.contains(where: { damaged.contains($0.place) }) { return false }
      }
      return true
    } catch { return false }
  }

  private func attempt(_ set: SetName, _ found: (Damage) -> Void, _ body: () throws(Failure) -> Void) throws(Failure) {
    do throws(Failure) { try body() } catch {
      guard error.kind == .damaged || error.kind == .failed, error.cause?.kind != .exhausted else { throw error }
      found(Damage(set: set, path: nil, message: error.message))
    }
  }
}

/// What was found. A manifest that several points need is looked at for each, and told of once.
private struct Findings {
  private(set) var all: [Damage] = []
  private var known: Set<Told> = []
  private var sets: Set<SetName> = []

  private struct Told: Hashable {
    var path: Bytes?
    var message: String
  }

  /// False: it is to be told no more.
  mutating func add(_ damage: Damage) -> Bool {
    let isNew = known.insert(Told(path: damage.path, message: damage.message)).inserted
    let isFirst = sets.insert(damage.set).inserted
    if isNew || isFirst { all.append(damage) }
    return isNew
  }
}

extension Series {
  /// Takes note of what a verify found. What it did not read stays as it was noted. Gives the new note, and whether the
  /// store took it.
  public func note(_ summary: VerifySummary, quick: Bool, now: Timestamp, _ known: KnownStores?) -> (DamageNote, Bool) {
    let before = damageNote(known)
    // A quick look does not see what a thorough one saw.
    let damaged = Set(summary.damages.map(\.set))
    var note = before.removing { summary.read.contains($0) && !quick || damaged.contains($0) }
    for set in damaged.sorted() {
      let own = summary.damages.filter { $0.set == set }
      note.findings.append(.init(set: set, count: own.count, found: now, message: own[0].message))
    }
    for (point, sets) in summary.touchedBy { note.touched[point, default: []].formUnion(sets) }
    note = note.removing { _ in false }
    if note == before { return (note, true) }
    return (note, write(note))
  }
}
