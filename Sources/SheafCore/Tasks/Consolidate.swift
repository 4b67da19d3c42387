/// Makes a full set out of a chain, without reading the sources.
import Posix
import Tar

public struct ConsolidateSummary: Sendable {
  /// nil: the point had a full set already.
  public var set: SetName?
  public var replaced: SetName
  /// The sets it was made of, newest first.
  public var chain: [SetName] = []
  public var counts = SetFoot.Counts()
  public var bytesWritten: Int64 = 0
}

public struct Consolidate {
  private let series: Series
  private let reporter: any Reporter
  private let progress: Progress

  public init(_ series: Series, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.reporter = reporter
    self.progress = progress
  }

  /// The point of `set` gets a full set that stands by itself. What it is made of stays.
  public func run(_ set: SetName) throws(Failure) -> ConsolidateSummary {
    try series.checkReadsContents(of: set)
    let lock = try SeriesLock(series)
    defer { lock.release() }
    try series.removeLeftovers(sparingBackups: true)
    // It was looked up before others were kept out.
    if let failure = series.rewrittenMeanwhile(set, [set]) { throw failure }
    let chain = try series.chain(of: set)
    var summary = ConsolidateSummary(replaced: set, chain: chain)
    if chain.count == 1, try !series.needsOthers(set) { return summary }
    progress.expected.store(Int(try series.foot(set).counts.bytes), ordering: .relaxed)
    let (made, foot) = try fold(chain)
    summary.set = made
    summary.counts = foot.counts
    summary.bytesWritten = foot.storedBytes
    return summary
  }

  private func fold(_ chain: [SetName]) throws(Failure) -> (set: SetName, foot: SetFoot) {
    do throws(Failure) {
      return try Fold(chain.count, of: chain, in: series, reporter: reporter, progress: progress).run()
    } catch {
      guard error.kind == .damaged, try hasEveryFile(chain) else { throw error }
      reporter.note("\(error.message); but every file of \(chain[0].text) is whole, so they are copied")
      let fold = Fold(chain.count, of: chain, in: series, skippingDamage: true, reporter: reporter, progress: progress)
      return try fold.run()
    }
  }

  /// Whether all contents of the point can be read and are what was saved.
  private func hasEveryFile(_ chain: [SetName]) throws(Failure) -> Bool {
    let shelf = ArchiveShelf(series)
    let content = ContentReader()
    do throws(Failure) {
      let tree = try series.tree(chain, checked: true)
      while try tree.next() {
        try progress.checkCancelled()
        guard tree.line.kind == .file, let entry = tree.line.entry(), !entry.extents.isEmpty else { continue }
        try shelf.take(entry.extents)
        let hash = LogicalHash(entry, progress)
        for extent in entry.extents {
          try content.read(extent, of: try shelf.archive(extent.set)) { (bytes) throws(Failure) in hash.take(bytes) }
        }
        guard hash.isComplete, hash.matches(entry.digest) else { return false }
      }
      return true
    } catch {
      guard error.kind == .damaged else { throw error }
      return false
    }
  }
}

extension Series {
  /// Whether a full set's files lie, in part, in other sets: what it could not look at when it was made.
  func needsOthers(_ set: SetName) throws(Failure) -> Bool {
    guard try foot(set).counts.unseen > 0 else { return false }
    let id = try head(set).id
    let reader = try manifest(set)
    while try reader.next() {
      guard reader.line.what == .entry else { continue }
      if let entry = reader.line.entry(), entry.extents.contains(where: { $0.set != id }) { return true }
    }
    return false
  }
}
