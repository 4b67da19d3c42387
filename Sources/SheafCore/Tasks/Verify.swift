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
  /// Points that damage touches.
  public var touched: [SetName] = []

  public init() {}
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

  /// One point, or all of the series where `set` is nil.
  public func run(_ set: SetName?) throws(Failure) -> VerifySummary {
    var summary = VerifySummary()
    let findings = Monitor(Findings())
    func found(_ damage: Damage) { if findings.change({ $0.add(damage) }) { report(damage) } }
    var needs = try PointNeeds(series)
    let lineage = needs.lineage
    let points = set.map { [$0] } ?? lineage.sets
    /// Those whose chain can be told.
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
          if set != nil, try series.firstNeeded(by: point, among: [holder]) == nil { continue }
          sets.insert(holder)
        }
      }
    }
    sets.formUnion(walked)
    var expected: Int64 = 0
    for set in sets { expected.add(saturating: (try? series.foot(set).storedBytes) ?? 0) }
    progress.expected.store(isQuick ? 0 : Int(expected), ordering: .relaxed)
    for set in sets.sorted() {
      try progress.checkCancelled()
      summary.sets += 1
      try attempt(set, found) { () throws(Failure) in
        if isQuick {
          for message in try ArchiveReader(set, in: series).shortfalls { throw .damaged(message) }
          return
        }
        let (files, bytes) = try ArchiveCheck(series: series, set: set, progress: progress, report: found).run()
        summary.files += files
        summary.bytes.add(saturating: bytes)
      }
    }
    summary.points = known.count
    let wrong = isQuick ? [:] : try ChainCheck(series, lineage, progress).run(known)
    for point in known {
      try attempt(point, found) { () throws(Failure) in
        let pair = try [point, lineage.parent(of: point)].compactMap { $0 }
        if let mismatch = try series.mismatches(in: pair).first { throw .damaged(mismatch) }
        _ = try series.foot(point)
        if let failure = wrong[point] { throw failure }
      }
    }
    summary.damages = findings.look { $0.all }
    let damaged = Set(summary.damages.map(\.set))
    let needed = needs.needed(by: points, among: damaged)
    summary.touched = points.filter { damaged.contains($0) || needed[$0] != nil }
    return summary
  }

  private func attempt(_ set: SetName, _ found: (Damage) -> Void, _ body: () throws(Failure) -> Void) throws(Failure) {
    do throws(Failure) { try body() } catch {
      guard error.kind == .damaged || error.kind == .failed else { throw error }
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
