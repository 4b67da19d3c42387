/// Makes a set of what an interrupted run left: what is whole of its archive is kept, the torn end is cut off, and the
/// journal becomes the manifest of an incomplete set. So the next run need not read those files again, and no path is
/// lost or comes back to life: nothing is said of what the run had not reached.
import Posix
import Storage
import Tar

struct TakeOver {
  let series: Series
  let reporter: any Reporter
  let progress: Progress
  /// Where a file without a name may be made for what was moved.
  let spillDirectory: Bytes

  /// Only under the series' lock. nil: nothing was left, or nothing of it can be kept; it is removed then.
  func run() throws(Failure) -> TakeOverSummary? {
    let (sets, others) = try series.leftovers()
    for name in others { try stored { () throws(StoreError) in try series.folder.remove(name) } }
    var result: TakeOverSummary?
    for left in sets {
      var isKept = false
      if !series.folder.has(Bytes(left.set.manifest.utf8)) {
        var unfinished: UnfinishedFile?
        if let summary = try complete(left) {
          (result, isKept) = (summary, true)
        } else if let summary = try keep(left, &unfinished) {
          (result, isKept) = (summary, true)
        } else if left.partialBytes > 0 {
          let why = unfinished.map { ": \($0.loss)" } ?? ""
          reporter.note("nothing of the \(Show.size(left.partialBytes)) that an interrupted run left can be kept\(why)")
        }
      }
      // What was kept has its final name by now. (Only then the folder is listed again: much may have been left.)
      if !isKept {
        try series.remove(left)
      } else if let rest = try series.leftovers().sets.first(where: { $0.set == left.set }) {
        try series.remove(rest)
      }
    }
    return result
  }

  // MARK: - A run that only lacked its names

  private func complete(_ left: Leftovers) throws(Failure) -> TakeOverSummary? {
    for manifest in [left.taken, left.journal].compactMap({ $0 }) {
      guard let file = try? series.folder.open(manifest),
        (try? ManifestIndex(file, name: manifest.shown)) != nil,
        let reader = try? ManifestReader(file, name: manifest.shown, checked: true), fits(reader.head, left)
      else { continue }
      while (try? reader.next()) == true {}
      guard let foot = reader.foot, foot.volumes.count == left.volumes.count else { continue }
      let isSame = zip(foot.volumes, left.volumes).allSatisfy { told, there in
        told.storedSize == there.size && (try? series.storedDigest(ofVolume: there.name)) == told.digest
      }
      guard isSame else { continue }
      try stored { () throws(StoreError) in
        for (told, there) in zip(foot.volumes, left.volumes) where there.name != Bytes(told.name.utf8) {
          try series.folder.rename(there.name, to: Bytes(told.name.utf8))
        }
        try series.folder.sync()
        try series.folder.rename(manifest, to: Bytes(left.set.manifest.utf8))
        try series.folder.sync()
      }
      return TakeOverSummary(
        set: left.set, files: foot.counts.new + foot.counts.changed, storedBytes: foot.storedBytes,
        isComplete: foot.incompleteAfter == nil)
    }
    return nil
  }

  /// Whether the set can still stand where it was to stand: the chain has not gone on without it.
  private func fits(_ head: SetHead, _ left: Leftovers) -> Bool {
    guard head.time == left.set.time, head.kind == left.set.kind, head.series == series.name,
      let sets = try? series.sets()
    else { return false }
    if let newest = sets.last, newest.time >= left.set.time { return false }
    guard let parent = head.parent else { return true }
    guard let there = sets.last(where: { $0.point == parent.point }),
      head.kind == .differential || there == sets.last
    else { return false }
    return (try? series.foot(there))?.point == parent.digest
  }

  // MARK: - A run that did not come to its end

  /// `unfinished`: where nothing can be kept, the file that the run had begun.
  private func keep(_ left: Leftovers, _ unfinished: inout UnfinishedFile?) throws(Failure) -> TakeOverSummary? {
    guard let journal = left.journal, left.isUnpublished, !left.volumes.isEmpty else { return nil }
    func reader() -> ManifestReader? {
      guard let file = try? series.folder.open(journal) else { return nil }
      return try? ManifestReader(file, name: journal.shown)
    }
    // What a differential set does not tell is as in the full set: a part of one would set the rest back to that.
    guard let first = reader(), fits(first.head, left), first.head.kind != .differential else { return nil }
    let head = first.head
    var journalEnd: Bytes?
    var told: [Move] = []
    first.onMove = { told.append($0) }
    while (try? first.next()) == true { journalEnd = Bytes(first.line.path) }

    let left = try stored { () throws(StoreError) in try series.withContentSizes(left) }
    let volumes = left.volumes.map { SetFoot.Volume(name: $0.name.shown, size: $0.size, digest: Digest()) }
    let archive = try ArchiveReader(left.set, id: head.id, volumes: volumes, in: series)
    let kept = KeptArchive(journalEnd: journalEnd ?? [], volumes: volumes.map(\.size))
    progress.expected.store(Int(archive.size), ordering: .relaxed)
    let line = MemberLine(archive: archive, progress: progress, digests: false, report: { _ in }, next: { _ in nil })
    _ = try line.run { (job) throws(Failure) in kept.take(job) }
    unfinished = kept.unfinished(archiveSize: archive.size)
    guard journalEnd != nil, let cut = kept.cut, let carrier = kept.carrier, let lines = reader() else { return nil }

    let chain = try chain(below: head)
    guard let moves = Moves(cut.hasMoved ? told : []), moves.all.isEmpty == !cut.hasMoved else { return nil }
    let writer = try KeptSetWriter(left, head: head, in: series, cut, members: kept.members, carrier: carrier)
    do throws(Failure) {
      try writer.add(moves)
      var unlisted = kept.unlisted.filter(cut.position.coversNames).sorted { PathOrder.compare($0, $1) < 0 }[...]
      while (try? lines.next()) == true, cut.position.covers(Bytes(lines.line.path)) {
        try addUnlisted(&unlisted, upTo: Bytes(lines.line.path), chain, to: writer)
        try add(lines.line, cut, kept.unlisted, to: writer)
      }
      try addUnlisted(&unlisted, upTo: nil, chain, to: writer)
      let reached = writer.last
      if moves.all.isEmpty { try addLost(cut, chain, to: writer) } else { try addMoved(moves, cut, chain, to: writer) }
      guard let reached, let last = writer.last, let measure = try measured(writer, head, upTo: last, chain, moves)
      else {
        writer.discard()
        return nil
      }
      let foot = try writer.finish((measure.digest.finish(), measure.counts), incompleteAfter: reached)
      return TakeOverSummary(
        set: left.set, files: foot.counts.new + foot.counts.changed, storedBytes: foot.storedBytes, isComplete: false,
        unfinished: unfinished)
    } catch {
      writer.discard()
      throw error
    }
  }

  /// A line of the journal. Of a directory of which the run had not told all, it is not known what else is in it.
  private func add(
    _ line: Line, _ cut: KeptArchive.Cut, _ unlisted: [Bytes], to writer: KeptSetWriter
  ) throws(Failure) {
    guard line.what == .entry, line.kind == .directory else { return try writer.add(line) }
    let path = Bytes(line.path)
    let isToldWhole = cut.position.coversNames(of: path) && !unlisted.contains(path)
    guard !isToldWhole, var entry = line.entry() else { return try writer.add(line) }
    entry.isUnlisted = true
    try writer.add(unlisted: entry, isMarked: unlisted.contains(path))
  }

  /// Directories that the run could not list and that are as they were, so that the journal has no line of theirs.
  private func addUnlisted(
    _ paths: inout ArraySlice<Bytes>, upTo path: Bytes?, _ chain: [SetName], to writer: KeptSetWriter
  ) throws(Failure) {
    while let next = paths.first, path.map({ PathOrder.compare(next, $0) <= 0 }) ?? true {
      paths.removeFirst()
      guard next != path, !chain.isEmpty, var entry = try series.entry(at: next, of: chain) else { continue }
      entry.isUnlisted = true
      try writer.add(unlisted: entry, isMarked: true)
    }
  }

  private func chain(below head: SetHead) throws(Failure) -> [SetName] {
    guard let parent = head.parent else { return [] }
    guard let set = try series.sets().last(where: { $0.point == parent.point }) else {
      throw .damaged("the point \(parent.point) is not in the store")
    }
    return try series.chain(of: set)
  }

  /// The directory at which the archive is cut has told tar of all that it lost, so the manifest tells it, too.
  private func addLost(_ cut: KeptArchive.Cut, _ chain: [SetName], to writer: KeptSetWriter) throws(Failure) {
    guard !cut.listing.isEmpty else { return }
    let directory = cut.position.directory
    let listed = Dumpdir.letters(cut.listing)
    let (old, _) = try series.tree(chain, from: directory + [47])
    while try old.next(), Bytes(old.line.parent) == directory {
      if !cut.position.covers(Bytes(old.line.path)), Self.isLost(old.line, listed) {
        try writer.add(deleted: Bytes(old.line.path))
      }
    }
  }

  /// The same of a run that moved something. All moves stand together in the archive, so tar has made each of them, and
  /// the manifest tells each, also where the run had not come to the new place.
  private func addMoved(
    _ moves: Moves, _ cut: KeptArchive.Cut, _ chain: [SetName], to writer: KeptSetWriter
  ) throws(Failure) {
    let spill = try? Descriptor.open(spillDirectory, [.read, .directory])
    let moved = try MovedLines(moves, of: try series.tree(chain), namesOf: [], spillingTo: spill)
    let listed = Dumpdir.letters(cut.listing)
    var gone = try writer.last.map { (last) throws(Failure) in GonePaths(told: try writer.reread(upTo: last)) }
    // Directories whose times a replay changes by moving something in them.
    let touched = Set(moves.all.flatMap { [moves.after($0.old.splitAtName.parent), $0.new.splitAtName.parent] })
    let old = OldTree(try series.tree(chain))
    guard try old.next(), try old.begin(moved) else { return }
    repeat {
      let line = old.line
      let path = Bytes(line.path)
      if cut.position.covers(path) {
        if line.kind == .directory { try gone?.judge(path, .whereTold) }
        continue
      }
      let isLost =
        !cut.listing.isEmpty && line.parent.elementsEqual(cut.position.directory) && Self.isLost(line, listed)
      // What went with a directory above is not told of by itself: a line would bring it back.
      if !old.isElsewhere, gone?.holds(above: path) ?? false { continue }
      if old.isVacated || isLost && !old.isElsewhere {
        if line.kind == .directory { gone?.insert(path) }
        try writer.add(deleted: path)
        continue
      }
      let isTouched = line.kind == .directory && touched.contains(path)
      guard old.isElsewhere || isTouched, !isLost, var entry = line.entry() else { continue }
      // Of what only has another time now, an older set said whether it was new there: here it is not.
      entry.isFresh = old.isElsewhere && entry.isFresh || entry.kind == .directory && moves.isNew(path)
      try writer.add(moved: entry)
      if isTouched { try writer.add(directory: entry) }
    } while try old.next()
  }

  /// Whether tar deletes it by a directory's listing.
  private static func isLost(_ line: Line, _ listed: [Bytes: UInt8]) -> Bool {
    switch listed[Bytes(line.name)] {
    case nil: true
    case UInt8(ascii: "D"): line.kind != .directory
    case UInt8(ascii: "Y"): line.kind == .directory
    default: false
    }
  }

  /// The digest and the counts of the point that comes of what was kept and, behind it, of what the older sets tell.
  private struct Measure {
    let digest = PointDigest()
    var counts = SetFoot.Counts()
    var directories = OpenDirectories()
  }

  /// nil: what was kept and what the older sets tell do not make a tree together.
  private func measured(
    _ writer: KeptSetWriter, _ head: SetHead, upTo last: Bytes, _ chain: [SetName], _ moves: Moves
  ) throws(Failure) -> Measure? {
    guard var measure = try measure(writer, upTo: last, chain, moves) else { return nil }
    if head.kind == .full, try !carry(before: head, after: last, writer, &measure) { return nil }
    return measure
  }

  /// nil as well where something was moved into a directory that was not reached.
  private func measure(
    _ writer: KeptSetWriter, upTo last: Bytes, _ chain: [SetName], _ moves: Moves
  ) throws(Failure) -> Measure? {
    var measure = Measure()
    var parents = Set(moves.all.map { $0.new.splitAtName.parent }).subtracting([[]])
    let tree = try series.tree(writer.reread(upTo: last), on: chain)
    while try tree.next() {
      guard measure.directories.pass(tree.line) else { return nil }
      measure.digest.add(tree.line.canonical)
      measure.counts.count(entryOf: tree)
      if !parents.isEmpty, tree.line.kind == .directory { parents.remove(Bytes(tree.line.path)) }
    }
    return parents.isEmpty ? measure : nil
  }

  /// A full set has no older one that would tell what it did not reach, so it carries those lines. False: they have no
  /// place in the tree that was kept.
  private func carry(
    before head: SetHead, after last: Bytes, _ writer: KeptSetWriter, _ measure: inout Measure
  ) throws(Failure) -> Bool {
    guard let before = try series.sets().last(where: { $0.time < head.time }),
      let chain = try? series.chain(of: before)
    else { return true }
    var gone = GonePaths(told: try writer.reread(upTo: last))
    let old = try series.tree(chain)
    while try old.next() {
      let path = Bytes(old.line.path)
      if PathOrder.compare(path, last) <= 0 {
        if old.line.kind == .directory { try gone.judge(path, .unlessTold) }
        continue
      }
      guard !gone.holds(above: path), var entry = old.line.entry() else { continue }
      guard measure.directories.pass(old.line) else { return false }
      entry.isCarried = true
      entry.isFresh = false
      measure.digest.add(old.line.canonical)
      measure.counts.count(old.line)
      measure.counts.unseen += 1
      try writer.add(carried: entry)
    }
    return true
  }
}

/// Which of the older point's directories are gone or something else now, as the lines tell that were kept of a run. What
/// was below such a directory went with it. Asked in the order of the tree.
private struct GonePaths {
  private let told: ManifestReader
  private var hasLine = true
  private var isBefore = true
  private var paths: Set<Bytes> = []

  /// `told`: the lines that were kept, not read yet.
  init(told: ManifestReader) { self.told = told }

  enum Reason {
    /// The lines say that it is deleted, or something else.
    case whereTold
    /// The lines do not say that it is there.
    case unlessTold
  }

  /// Finds out about a directory of the point before.
  mutating func judge(_ path: Bytes, _ reason: Reason) throws(Failure) {
    while hasLine, isBefore || PathOrder.compare(Bytes(told.line.path), path) < 0 {
      isBefore = false
      hasLine = try told.next()
    }
    let isTold = hasLine && told.line.what != .unseen && told.line.path.elementsEqual(path)
    let isThere = isTold && told.line.what == .entry && told.line.kind == .directory
    if reason == .whereTold ? isTold && !isThere : !isThere { paths.insert(path) }
  }

  mutating func insert(_ path: Bytes) { paths.insert(path) }

  func holds(above path: Bytes) -> Bool {
    guard !paths.isEmpty else { return false }
    var above = path.splitAtName.parent
    while !above.isEmpty {
      if paths.contains(above) { return true }
      above = above.splitAtName.parent
    }
    return false
  }
}
