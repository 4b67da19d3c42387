/// One archive on its way to a set.
import Posix
import Storage
import Tar

struct ImportAttempt {
  private let task: Import
  private let archive: ImportArchive
  private let time: Timestamp

  init(_ task: Import, _ archive: ImportArchive, _ time: Timestamp) {
    (self.task, self.archive, self.time) = (task, archive, time)
  }

  private var options: ImportOptions { task.options }

  // MARK: - Reading

  private func read(_ wish: ImportScan.Wish, _ reporter: any Reporter) throws(Failure) -> ImportedTree {
    let spill = try system { () throws(SystemError) in try Descriptor.open(task.spillDirectory, [.read, .directory]) }
    let tree = ImportedTree(spillingTo: spill, spool: StreamSpool(in: options.spoolDirectory))
    let scan = ImportScan(
      archive, below: options.base ?? [], storing: wish, to: tree, reporter: reporter, progress: task.progress)
    try scan.run()
    return tree
  }

  private func check(_ tree: ImportedTree, isFirst: Bool) throws(Failure) {
    guard tree.entries > 0 else {
      throw Failure(.failed, "\(Show.path(archive.path)) holds nothing, which is no state of a tree")
    }
    if tree.top?.entry != nil, options.base == nil {
      throw Failure(
        .usage, "\(Show.path(archive.path)) holds '.', and nothing says which folder that was",
        hint: "--as /home/ann says where relative names lay")
    }
    if isFirst, tree.isDelta {
      throw Failure(
        .failed,
        "\(Show.path(archive.path)) tells of what had changed since an earlier archive, and there is no point before it",
        hint: "import the level-0 archive first, or together with it")
    }
  }

  private func isDelta(_ tree: ImportedTree) -> Bool {
    tree.isDelta || (options.deletesNothing && !tree.hasLists)
  }

  /// What would become of it.
  func preview(isFirst: Bool) throws(Failure) -> ImportSummary {
    try archive.check()
    let tree = try read(.nothing, task.reporter)
    try check(tree, isFirst: isFirst)
    return summary(of: tree, isFirst || (options.isFull && !isDelta(tree)) ? .full : .incremental)
  }

  private func summary(of tree: ImportedTree, _ kind: SetKind) -> ImportSummary {
    ImportSummary(
      archive: archive.path, time: time, kind: kind, isDelta: isDelta(tree), entries: tree.entries, bytes: tree.bytes)
  }

  // MARK: - Writing

  /// What both ways through the trees need.
  private struct Merging {
    /// nil: a full set.
    let previous: PreviousPoint?
    let moved: MovedLines?
    let isWhole: Bool
  }

  func write(to series: Series, _ lock: SeriesLock) throws(Failure) -> ImportSummary {
    let newest = try series.sets().last
    try archive.check()
    // A first set has all contents.
    let readsOnce = newest == nil || options.isFull
    var tree = try read(readsOnce ? .everything : .nothing, task.reporter)
    try check(tree, isFirst: newest == nil)
    let isFull = newest == nil || (options.isFull && !isDelta(tree))
    let point = try newest.map { (set) throws(Failure) in try PreviousPoint(set, in: series) }
    let merging = Merging(
      previous: isFull ? nil : point, moved: try moved(tree, isFull ? nil : point), isWhole: !isDelta(tree))
    let plan = ImportPlan()
    try merge(tree, merging, to: plan, task.reporter).run()
    if !readsOnce, !plan.wanted.isEmpty {
      let again = try read(.only(plan.wanted), Silence())
      guard again.entries == tree.entries, again.bytes == tree.bytes else {
        throw archive.damaged("changed while it was read")
      }
      tree = again
    }
    var summary = summary(of: tree, isFull ? .full : .incremental)
    summary.sources = sources(plan, point, isWhole: merging.isWhole)
    try write(tree, merging, plan, on: point, to: series, lock, &summary)
    return summary
  }

  private func merge(
    _ tree: ImportedTree, _ merging: Merging, to sink: any ImportSink, _ reporter: any Reporter
  ) throws(Failure) -> ImportMerge {
    let before = merging.previous?.before
    let moves = merging.moved?.moves
    return try ImportMerge(
      tree, try ImportLinks(tree), on: try before.map { (point) throws(Failure) in OldTree(try point.tree()) },
      moved: merging.moved, isWhole: merging.isWhole, time: time,
      atPoint: { (path) throws(Failure) in
        var entry = try before?.entry(moves?.before(path) ?? path)
        if let first = entry?.hardLink { entry?.hardLink = moves?.after(first) ?? first }
        return entry
      }, to: sink, reporter: reporter, progress: task.progress)
  }

  private func moved(_ tree: ImportedTree, _ previous: PreviousPoint?) throws(Failure) -> MovedLines? {
    guard let previous, !tree.renames.isEmpty else { return nil }
    guard let moves = tree.renames.moves() else { throw archive.damaged("what it says was renamed cannot be") }
    if moves.all.isEmpty { return nil }
    let spill = try system { () throws(SystemError) in try Descriptor.open(task.spillDirectory, [.read, .directory]) }
    return try MovedLines(
      moves, of: try previous.before.tree(), namesOf: previous.head.sources.filter { !$0.isEmpty }, spillingTo: spill)
  }

  /// What the archive was made of, as a later backup takes it for the sources.
  private func sources(_ plan: ImportPlan, _ previous: PreviousPoint?, isWhole: Bool) -> [Bytes] {
    var all = plan.tops
    if let base = options.base { all.append(base) }
    if !isWhole { all += previous?.head.sources ?? [] }
    return SourceTree.tops(all)
  }

  private func head(
    _ tree: ImportedTree, _ merging: Merging, _ point: PreviousPoint?, _ sources: [Bytes], in series: Series
  ) throws(Failure) -> SetHead {
    let before = point?.head
    var head = SetHead(
      id: .random(), kind: merging.previous == nil ? .full : .incremental, series: series.name,
      host: before?.host ?? Host.name(), time: time, started: time,
      parent: merging.previous.map { ($0.set.point, $0.foot.point) }, sources: sources,
      exclusions: before?.exclusions ?? [], comment: options.comment)
    head.machine = before?.machine ?? Machine.identity ?? []
    head.streams = merging.isWhole ? [] : before?.streams ?? []
    if sources.contains([]) {
      head.top = tree.top?.entry ?? before?.top
      head.top?.path = []
    }
    try head.checkSize()
    return head
  }

  private func write(
    _ tree: ImportedTree, _ merging: Merging, _ plan: ImportPlan, on point: PreviousPoint?, to series: Series,
    _ lock: SeriesLock, _ summary: inout ImportSummary
  ) throws(Failure) {
    let head = try head(tree, merging, point, summary.sources, in: series)
    let set = SetName(point: PointName.text(time), kind: head.kind)
    let writer = try stored { () throws(StoreError) in
      try SetWriter(set, head: head, in: series, .init(volume: options.volumeSize, free: options.keepFree))
    }
    let workers = (0..<processorCount()).map { _ in FoldWriter.worker(level: options.level) }
    let line = PackLine(writer, workers: workers)
    do throws(Failure) {
      line.begin(point: SHA256())
      let output = FoldWriter(line, id: head.id)
      let sink = ImportWriter(
        output, isFull: merging.previous == nil, groups: plan.groups, spool: tree.spool,
        sources: SourceTree(head.sources), reporter: task.reporter, progress: task.progress)
      if let moved = merging.moved { try tell(moved, sink, merging, SourceTree(head.sources)) }
      try merge(tree, merging, to: sink, Silence()).run()
      try output.finish()
      try line.finish()
      let foot = try stored { () throws(StoreError) in
        try writer.finish(unchangedPoint: nil, unchanged: SetFoot.Counts())
      }
      try task.progress.checkCancelled()
      guard try writer.addsUp(foot, on: merging.previous?.chain ?? []) else {
        throw Failure(.failed, "\(Show.path(archive.path)): the set does not add up to the point it was written for")
      }
      try writer.check(rereads: nil)
      try lock.confirm()
      try stored { () throws(StoreError) in try writer.publish() }
      task.reporter.noteInexact(sink.inexact)
      (summary.set, summary.counts, summary.bytesWritten) = (set, foot.counts, foot.storedBytes)
      (summary.unchanged, summary.moved) = (sink.unchanged, sink.moved)
    } catch {
      try? line.finish()
      writer.discard()
      throw error
    }
    try? task.known?.remember(series, now: task.clock(), saved: head)
  }

  /// What was renamed, in a directory that was there before and stays.
  private func tell(
    _ moved: MovedLines, _ sink: ImportWriter, _ merging: Merging, _ sources: SourceTree
  ) throws(Failure) {
    let records = MoveRecords(moved)
    for directory in moved.names.keys.sorted(by: { $0.lexicographicallyPrecedes($1) })
    where !moved.moves.isMoved(directory) && moved.moves.after(directory) == directory {
      guard let entry = try merging.previous?.before.entry(directory), entry.kind == .directory,
        let plan = records.plan(in: directory, sources)
      else { continue }
      return try sink.add(plan, in: entry, gone: moved.gaveWay)
    }
    task.reporter.note("what was renamed is moved by sheaf restore and restore.sh, not by tar alone")
    try sink.add(notes: records.notes, gone: moved.gaveWay)
  }
}
