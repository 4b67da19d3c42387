/// The writing of a set: what the comparison finds is packed, and the set is published when it gives its point.
import Posix
import Storage
import Tar

struct SetAttempt {
  private let attempt: Attempt
  private let series: Series
  private let head: SetHead
  private let set: SetName
  private let untold = UntoldContents()

  private var task: Backup { attempt.task }
  private var options: BackupOptions { attempt.options }
  private var previous: PreviousPoint? { attempt.previous }

  init(_ attempt: Attempt, _ series: Series, _ head: SetHead) {
    self.attempt = attempt
    self.series = series
    self.head = head
    set = SetName(point: PointName.text(head.time), kind: head.kind)
  }

  func write(_ summary: BackupSummary) throws(Failure) -> Attempt.Outcome {
    let room = try room()
    try? task.known?.begin(series, RunLists(sources: head.sources, exclusions: head.exclusions), now: task.clock())
    let writer: SetWriter
    do throws(StoreError) {
      writer = try SetWriter(set, head: head, in: series, .init(volume: options.volumeSize, free: options.keepFree))
    } catch { throw Failure(error, hint: error.kind == .full ? removable() : nil) }
    let line = PackLine(writer, packers: (0..<processorCount()).map { _ in packer() })
    do throws(Failure) {
      let (comparison, digest) = try fill(line, room)
      return try finish(writer, comparison, digest, summary)
    } catch {
      try? line.finish()
      if error.cause?.kind == .full, room.needed == nil { room.needed = try? estimate().stored }
      throw try ended(error, writer, room)
    }
  }

  private func packer() -> Packer {
    Packer(
      root: attempt.root, owners: attempt.owners, options: PackOptions(options), set: head.id,
      isFull: attempt.isFull, untold: untold, reporter: task.reporter, progress: task.progress, clock: task.clock)
  }

  // MARK: - Room

  /// What the set will need, as far as that can be told before, and warnings of too little.
  private func room() throws(Failure) -> Room {
    let room = Room(series.folder, keeping: options.keepFree)
    if !attempt.isFull, let previous, previous.set.kind != .full,
      let warning = room.warning(before: previous.foot.storedBytes)
    {
      task.reporter.note(warning)
    }
    if previous == nil, room.mayBeShort(of: attempt.sources, attempt.root) {
      // Everything will be read anyway, so one more walk costs little compared with a drive that fills up.
      let sink = try estimate()
      room.needed = sink.stored
      task.progress.expected.store(Int(clamping: sink.bytes), ordering: .relaxed)
    } else if attempt.isFull, let before = previous?.foot.counts.bytes {
      room.needed = before
      task.progress.expected.store(Int(clamping: before), ordering: .relaxed)
    }
    if let warning = room.warning { task.reporter.note(warning) }
    return room
  }

  private func estimate() throws(Failure) -> DryRunSink {
    let sink = DryRunSink(Silence())
    _ = try attempt.comparison(to: sink, readsNothing: true, Silence(), Progress()).run()
    return sink
  }

  /// What removing old points would give back: the chains before the newest.
  private func removable() -> String {
    guard let sets = try? series.sets(), let newest = sets.last, let chain = try? Set(series.chain(of: newest)) else {
      return "make room on the drive"
    }
    let old = sets.filter { !chain.contains($0) }.map { (try? series.foot($0).storedBytes) ?? 0 }.saturatedSum
    return old > 0
      ? "older chains take \(Show.size(old)), which 'sheaf prune -s STORE' gives back"
      : "there is no older chain to prune"
  }

  // MARK: - The set

  /// Compares and packs. Gives the digest of all that stays as it was.
  private func fill(_ line: PackLine, _ room: Room) throws(Failure) -> (Comparison, Digest?) {
    let builder = JobBuilder(
      line, reader: attempt.reader, reporter: task.reporter, progress: task.progress, isFull: attempt.isFull)
    // An incremental run is judged by what it finds on its way.
    if room.needed == nil, let free = room.free {
      builder.onMuch = (free, { task.reporter.note(room.warning(met: $0)) })
    }
    let comparison = try attempt.comparison(to: builder, task.reporter, task.progress)
    let digest = try comparison.run()
    try builder.finish()
    try line.finish()
    try attempt.check(digest)
    for file in attempt.streams.files where !file.wasFound {
      task.reporter.problem("could not be put into its folder, so nothing of it is saved", path: file.path)
    }
    try task.progress.checkCancelled()
    return (comparison, digest)
  }

  private func finish(
    _ writer: SetWriter, _ comparison: Comparison, _ digest: Digest?, _ summary: BackupSummary
  ) throws(Failure) -> Attempt.Outcome {
    var summary = summary
    summary.add(comparison)
    summary.add(writer.counts, unchanged: writer.unchanged, moved: writer.moved)
    summary.bytesRead = writer.bytesRead + attempt.reader.bytesRead
    if attempt.missesSomething(summary, comparison) {
      writer.discard()
      return .unseen
    }
    if options.skipsUnchanged, isUnchanged(summary) {
      writer.discard()
      return .done(summary)
    }
    task.reporter.noteInexact(comparison.inexact)
    untold.tell(task.reporter)
    try checkOrder(writer)
    try markUnlisted(comparison, writer)
    let foot = try stored { () throws(StoreError) in
      try writer.finish(unchangedPoint: digest, unchanged: comparison.counts)
    }
    let isPlain =
      !comparison.hasMoved && !comparison.sawUnseen && summary.counts.unseen == 0 && previous?.isPlain ?? true
    if !isPlain, try !writer.addsUp(foot, on: attempt.isFull ? [] : previous?.chain ?? []) {
      writer.discard()
      return .unfit(hasMoved: comparison.hasMoved)
    }
    try writer.check(rereads: options.rereads)
    try attempt.run.lock?.confirm()
    try stored { () throws(StoreError) in try writer.publish() }
    summary.bytesWritten = foot.storedBytes
    summary.set = set
    return .done(summary)
  }

  private func isUnchanged(_ summary: BackupSummary) -> Bool {
    let counts = summary.counts
    return !attempt.isFull && counts.new + counts.changed + counts.deleted + counts.unseen + summary.moved == 0
      && head.top?.canonicalWords == previous?.head.top?.canonicalWords
  }

  private func checkOrder(_ writer: SetWriter) throws(Failure) {
    guard let path = writer.disorder else { return }
    throw Failure(
      .failed, "\(Show.path([47] + path)) was found twice: the set could not be read, so nothing was saved",
      hint: "run it again")
  }

  /// Directories whose contents could not be looked at.
  private func markUnlisted(_ comparison: Comparison, _ writer: SetWriter) throws(Failure) {
    if comparison.unlisted.isEmpty { return }
    try writer.mark(
      UnlistedMarks(comparison.unlisted) { (path) throws(Failure) in try previous?.before.entry(path) })
  }

  /// The failure to report for a run that ended early, after what it wrote was kept, left or thrown away.
  private func ended(_ failure: Failure, _ writer: SetWriter, _ room: Room) throws(Failure) -> Failure {
    if failure.kind == .interrupted {
      writer.abandon()
      // The run was told to stop; this last step still has to be done, but where all that was sent would have to come back.
      if series.folder.traits.renames { try task.takeOver(series, Progress()) }
      return Failure(.interrupted, failure.message, hint: "run it again to go on")
    }
    // After a failure to write, what is on the drive is left for the next run to judge: it may be half gone, and a drive
    // that fails is not written to.
    guard let cause = failure.cause else {
      writer.discard()
      return failure
    }
    if cause.kind == .full {
      writer.abandonFull()
      return Failure(
        .failed,
        failure.message + room.shortage(written: writer.bytesWritten, read: writer.bytesRead - writer.bytesSpared),
        hint: "what was saved so far is kept, except a file that was not finished; the next run continues there; "
          + removable(), cause: cause)
    }
    writer.leave()
    return failure
  }
}
