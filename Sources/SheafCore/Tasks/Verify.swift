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
    let damages = Monitor<[Damage]>([])
    func found(_ damage: Damage) {
      // A manifest that several points need is looked at for each, and told of once.
      let isKnown = damages.change { all in
        if all.contains(where: { $0.message == damage.message && $0.path == damage.path }) {
          if !all.contains(where: { $0.set == damage.set }) { all.append(damage) }
          return true
        }
        all.append(damage)
        return false
      }
      if !isKnown { report(damage) }
    }
    let points = set == nil ? try series.sets() : [set!]
    var chains: [SetName: [SetName]] = [:]
    /// With those that hold last good copies for a full set.
    var needed: [SetName: [SetName]] = [:]
    var sets: Set<SetName> = []
    for (point, (chain, others)) in try zip(points, zip(series.chains(of: points), series.needs(of: points))) {
      try attempt(point, found) { () throws(Failure) in
        let chain = try chain.get()
        chains[point] = chain
        needed[point] = [point]
        for other in try others.get() {
          // One point: no set is read that it has no files in.
          if set != nil, !chain.contains(other), try series.firstNeeded(by: point, among: [other]) == nil { continue }
          needed[point]!.append(other)
        }
        sets.formUnion(needed[point]!)
      }
    }
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
    for point in points {
      guard let chain = chains[point] else { continue }
      summary.points += 1
      try progress.checkCancelled()
      try attempt(point, found) { () throws(Failure) in try checkPoint(point, chain) }
    }
    summary.damages = damages.look { $0 }
    let damaged = Set(summary.damages.map(\.set))
    summary.touched = points.filter { point in
      if damaged.contains(point) { return true }
      let suspects = (needed[point] ?? []).filter(damaged.contains)
      guard !suspects.isEmpty else { return false }
      // What cannot be told counts as touched.
      do throws(Failure) { return try series.firstNeeded(by: point, among: suspects) != nil } catch { return true }
    }
    return summary
  }

  private func attempt(_ set: SetName, _ found: (Damage) -> Void, _ body: () throws(Failure) -> Void) throws(Failure) {
    do throws(Failure) { try body() } catch {
      guard error.kind == .damaged || error.kind == .failed else { throw error }
      found(Damage(set: set, path: nil, message: error.message))
    }
  }

  /// The merged tree is the one the set was written for, and its parent's is the one it was written on.
  private func checkPoint(_ point: SetName, _ chain: [SetName]) throws(Failure) {
    if let mismatch = try series.mismatches(in: Array(chain.prefix(2))).first { throw .damaged(mismatch) }
    let foot = try series.foot(point)
    if isQuick { return }
    let tree = try series.tree(chain)
    let digest = PointDigest()
    let ids = try series.identities()
    var missing: Set<SetID> = []
    while try tree.next() {
      digest.add(tree.line.canonical)
      if let place = tree.line.place, !ids.contains(place.extent.set) { missing.insert(place.extent.set) }
    }
    if let id = missing.first {
      throw .damaged(
        "\(point.text): files of it lie in the set with the identity \(id.text), which is not in the store")
    }
    if digest.finish() != foot.point {
      throw .damaged("the manifests up to \(point.text) do not add up to the point it was written for")
    }
  }
}
