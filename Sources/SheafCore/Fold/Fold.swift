/// Writes one set in the place of several of a chain. It holds the newest one's point and builds on what the oldest one
/// builds on. Where the oldest is a full set, so is the new one. The source is not read.
import Posix
import Storage
import Tar

struct Fold {
  let series: Series
  /// Newest first, each building on the next.
  let sets: [SetName]
  /// What the last of them builds on, down to a full set.
  let older: [SetName]
  let reporter: any Reporter
  let progress: Progress
  /// Damaged gzip members are passed over. Only after all files of the point were read and found whole.
  let skipsDamage: Bool

  /// `sets`: the first so many of the chain.
  init(
    _ count: Int, of chain: [SetName], in series: Series, skippingDamage: Bool = false, reporter: any Reporter,
    progress: Progress
  ) {
    self.series = series
    skipsDamage = skippingDamage
    sets = Array(chain.prefix(count))
    older = Array(chain.dropFirst(count))
    self.reporter = reporter
    self.progress = progress
  }

  /// Gives the new set, which is durable then. Only under the series' lock.
  func run() throws(Failure) -> (set: SetName, foot: SetFoot) {
    if let mismatch = try series.mismatches(in: sets + older).first { throw .damaged(mismatch) }
    let newest = try series.head(sets[0])
    let oldest = try series.head(sets.last!)
    var head = SetHead(
      id: .random(), kind: oldest.kind, series: newest.series, host: newest.host, time: newest.time,
      started: newest.started, parent: oldest.parent, sources: newest.sources, exclusions: newest.exclusions,
      comment: newest.comment)
    head.machine = newest.machine
    head.top = newest.top
    head.streams = newest.streams
    head.requires = newest.requires
    head.optional = newest.optional
    let newestFoot = try series.foot(sets[0])
    let set = SetName(point: sets[0].point, kind: head.kind, number: try series.nextNumber(sets[0].point))
    let writer = try stored { () throws(StoreError) in try SetWriter(set, head: head, in: series, .init()) }
    let line = PackLine(writer, workers: (0..<processorCount()).map { _ in FoldWriter.worker(level: 1) })
    do throws(Failure) {
      line.begin(point: SHA256())
      let pass = try FoldPass(self, head, FoldWriter(line, id: head.id))
      try pass.run()
      try line.finish()
      let foot = try stored { () throws(StoreError) in
        try writer.finish(
          unchangedPoint: nil, unchanged: SetFoot.Counts(), incompleteAfter: newestFoot.incompleteAfter)
      }
      guard foot.point == newestFoot.point else {
        throw .damaged("the manifests up to \(sets[0].text) do not add up to the point it was written for")
      }
      try progress.checkCancelled()
      try writer.check(rereads: nil)
      try stored { () throws(StoreError) in try writer.publish() }
      reporter.noteInexact(pass.inexact)
      return (set, foot)
    } catch {
      try? line.finish()
      writer.discard()
      guard let cause = error.cause, cause.kind == .full else { throw error }
      throw Failure(
        .failed, error.message, hint: "nothing was changed; 'sheaf prune' without --fold needs no room", cause: cause)
    }
  }
}
