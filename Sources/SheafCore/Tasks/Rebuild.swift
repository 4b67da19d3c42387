/// Makes lost manifests again from the archives alone. A good manifest is never touched.
import Posix
import Storage
import Tar

public struct RebuildSummary: Sendable {
  public var rebuilt: [SetName] = []
  /// Archives whose manifests are good.
  public var good = 0
  public var files: Int64 = 0
  public var isDamaged = false

  public init() {}
}

public struct Rebuild {
  private let series: Series
  private let spillDirectory: Bytes
  private let reporter: any Reporter
  private let progress: Progress

  /// `spillDirectory`: where files without a name may be made for sorting.
  public init(_ series: Series, spillDirectory: Bytes, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.spillDirectory = spillDirectory
    self.reporter = reporter
    self.progress = progress
  }

  public func run() throws(Failure) -> RebuildSummary {
    try series.checkReadsContents()
    let lock = try SeriesLock(series)
    defer { lock.release() }
    var summary = RebuildSummary()
    // Oldest first: a set's point is made of those before it.
    let others = try series.volumesOfOthers()
    var named = Set(try series.allSets())
    // A manifest that was written anew for an archive of another number is in the way of that archive's own.
    let there = Set(try series.archives().map(\.set))
    for set in named.sorted() where !there.contains(set) && !isGood(set) {
      reporter.note("\(set.manifest) cannot be read and is put aside")
      try stored { () throws(StoreError) in try putAside(Bytes(set.manifest.utf8)) }
      named.remove(set)
    }
    for (set, volumes) in try series.archives() {
      try progress.checkCancelled()
      if !named.contains(set), others.isSuperset(of: volumes.map(\.shown)) { continue }
      if isGood(set, of: volumes) {
        summary.good += 1
        continue
      }
      do throws(Failure) {
        summary.files += try rebuild(set, volumes, &summary)
        summary.rebuilt.append(set)
        series.forgetDamage(of: [set])
      } catch {
        guard error.kind == .damaged else { throw error }
        summary.isDamaged = true
        reporter.problem("cannot be rebuilt: \(error.message)", path: nil)
      }
    }
    try reportMismatches(&summary)
    return summary
  }

  /// Not all that a manifest told can be known from the archive: other sets that know the point's digest are asked.
  private func reportMismatches(_ summary: inout RebuildSummary) throws(Failure) {
    if summary.rebuilt.isEmpty { return }
    var known: [String: [(set: SetName, digest: Digest)]] = [:]
    for set in try series.allSets() {
      if let point = try? series.foot(set).point { known[set.point, default: []].append((set, point)) }
      if let parent = try? series.head(set).parent { known[parent.point, default: []].append((set, parent.digest)) }
    }
    for set in summary.rebuilt {
      let digest = try series.foot(set).point
      guard let other = known[set.point]?.first(where: { $0.set != set && $0.digest != digest }) else { continue }
      summary.isDamaged = true
      reporter.problem(
        "\(set.text) was rebuilt as another state of the point than \(other.set.text) knows: hard links of what it could "
          + "not look at are not in its archive", path: nil)
    }
  }

  /// Whether nothing that reads it would call the manifest damaged: it is there, and is its archive's, every line can be
  /// read, its own digest matches, and so does its index.
  private func isGood(_ set: SetName, of volumes: [Bytes] = []) -> Bool {
    do throws(Failure) {
      if try isReadable(set, volumes) { return true }
    } catch {}
    // What is known of it is not to be relied on.
    series.forget(set)
    return false
  }

  private func isReadable(_ set: SetName, _ volumes: [Bytes]) throws(Failure) -> Bool {
    let reader = try series.manifest(set, checked: true)
    if let first = volumes.first, let told = try? head(set, first), told.id != reader.head.id { return false }
    var isIndexed = true
    reader.compare(try series.index(set)) { _ in isIndexed = false }
    while try reader.next() {
      if reader.line.what == .entry, reader.line.entry() == nil { return false }
    }
    return isIndexed
  }

  private func rebuild(_ set: SetName, _ names: [Bytes], _ summary: inout RebuildSummary) throws(Failure) -> Int64 {
    var volumes: [SetFoot.Volume] = []
    for name in names {
      let size = try stored { () throws(StoreError) in try series.folder.open(name).size }
      volumes.append(SetFoot.Volume(name: name.shown, size: size, digest: Digest()))
    }
    let head = try head(set, names[0])
    let archive = try ArchiveReader(set, id: head.id, volumes: volumes, in: series)
    let spill = try system { () throws(SystemError) in try Descriptor.open(spillDirectory, [.read, .directory]) }
    let sorter = LineSorter(spillingTo: spill)
    let damaged = Monitor(false)
    let scan = ArchiveScan(head.id, to: sorter, progress: progress) { path, message in
      damaged.change { $0 = true }
      reporter.problem("\(set.archive): \(message)", path: path)
    }
    let line = MemberLine(
      archive: archive, progress: progress, report: { reporter.problem($0, path: nil) }, next: { _ in nil })
    let digests = try line.run { (job) throws(Failure) in try scan.take(job) }
    if !scan.sawEnd || digests.count != volumes.count {
      damaged.change { $0 = true }
      reporter.problem("\(set.archive): is cut short; what is missing counts as deleted", path: nil)
    }
    if damaged.look({ $0 }) { summary.isDamaged = true }
    for (index, digest) in digests.enumerated() { volumes[index].digest = digest }
    for (index, name) in names.enumerated() {
      guard let form = try stored({ () throws(StoreError) in try series.form(ofVolume: name) }) else { continue }
      (volumes[index].digest, volumes[index].sealedSize) = (form.digest, form.size)
    }

    let chain = try chain(below: head, of: set, &summary)
    guard let moves = Moves(scan.moves), moves.all.isEmpty || !chain.isEmpty else {
      throw .damaged("\(set.archive): what it says was renamed cannot be")
    }
    var lines = SetLines(head: head, scan: scan, sorter: sorter, moves: moves)
    if !moves.all.isEmpty { try addMoved(lines, chain, spill, set) }
    lines.links = try addLinks(lines, chain, spill, set)
    var trial = try system { () throws(SystemError) in try spill.openNameless() }
    try lines.write(to: LocalOutput(trial), SetFoot())
    lines.places = try places(lines, trial, chain, spill, set)
    if !lines.places.isEmpty {
      trial = try system { () throws(SystemError) in try spill.openNameless() }
      try lines.write(to: LocalOutput(trial), SetFoot())
    }
    var foot = try measure(trial, set, chain)
    foot.volumes = volumes
    foot.tarBytes = scan.tarBytes
    foot.members = Int64(scan.members.count)
    foot.incompleteAfter = scan.incompleteAfter
    try publish(lines, foot, set)
    return scan.files
  }

  /// What the set builds on, newest first.
  private func chain(
    below head: SetHead, of set: SetName, _ summary: inout RebuildSummary
  ) throws(Failure) -> [SetName] {
    guard let parent = head.parent else { return [] }
    guard let before = try series.sets().last(where: { $0.point == parent.point }) else {
      throw .damaged("\(set.text) builds on the point \(parent.point), which is not in the store")
    }
    let chain = try series.chain(of: before)
    if try series.foot(before).point != parent.digest {
      summary.isDamaged = true
      reporter.problem(
        "\(set.text) was written on another state of \(parent.point) than the one that is there", path: nil)
    }
    return chain
  }

  /// Writes the manifest, and puts aside the one that is there.
  private func publish(_ lines: SetLines, _ foot: SetFoot, _ set: SetName) throws(Failure) {
    // Not the name of an interrupted run's journal, by which an archive would be cut.
    let file = NewStoredFile(Bytes(set.manifest.utf8), in: series.folder, suffix: Bytes(".rebuilt.partial"))
    do throws(Failure) {
      try lines.write(to: file, foot)
      try stored { () throws(StoreError) in
        try file.finish()
        let name = Bytes(set.manifest.utf8)
        if series.folder.has(name) { try putAside(name) }
        try file.publish()
      }
      series.forget(set)
    } catch {
      file.discard()
      throw error
    }
  }

  /// Keeps what cannot be read: it may still tell a person something. Of several the last.
  private func putAside(_ manifest: Bytes) throws(StoreError) {
    let aside = manifest + Bytes(".damaged")
    if series.folder.has(aside) { try series.folder.remove(aside) }
    try series.folder.rename(manifest, to: aside)
  }

  /// What the archive's first member says of the set.
  private func head(_ set: SetName, _ volume: Bytes) throws(Failure) -> SetHead {
    let file = try stored { () throws(StoreError) in try series.folder.open(volume) }
    let inflated = Buffer()
    var comment = Bytes()
    let members = MemberReader(file)
    do {
      guard let (_, bytes) = try members.next() else { throw Failure.damaged("\(volume.shown) is empty") }
      try Decompressor().inflate(bytes, into: inflated)
      var reader = TarReader(inflated.bytes)
      _ = try reader.next()
      comment = reader.globalComment
    } catch let failure as Failure { throw failure } catch {
      throw .damaged(
        "\(volume.shown): its first gzip member (compressed piece), which says what set this is, cannot be read")
    }
    let prefix = Bytes("sheaf set\n")
    guard comment.starts(with: prefix) else { throw .damaged("\(volume.shown) is no archive of a set") }
    let head = try SetHead(fields: Fields(text: Bytes(comment.dropFirst(prefix.count))), manifest: volume.shown)
    guard head.time == set.time, head.kind == set.kind, head.series == series.name else {
      throw .damaged(
        "\(volume.shown) is the archive of another set: \(PointName.text(head.time)) of '\(Show.path(head.series))'")
    }
    return head
  }

  /// What came along with something that was moved has no entry in the archive: its lines are those of the parent's
  /// point, where the archive has nothing newer for them.
  private func addMoved(_ lines: SetLines, _ chain: [SetName], _ spill: Descriptor, _ set: SetName) throws(Failure) {
    let moved = try MovedLines(lines.moves, of: try series.tree(chain), namesOf: [], spillingTo: spill)
    let point = OldTree(try series.tree(chain))
    let whole = try system { () throws(SystemError) in try spill.openNameless() }
    let writer = try stored { () throws(StoreError) in try ManifestWriter(LocalOutput(whole), head: lines.head) }
    let text = Buffer()
    if try point.next(), try point.begin(moved) {
      repeat {
        // Directories that stay are needed too: where one is something else now, what was in it is gone.
        guard point.isElsewhere || (point.line.kind == .directory && !point.isVacated) else { continue }
        text.count = 0
        text.append(Bytes(point.line.text) + [10])
        try stored { () throws(StoreError) in try writer.append(text.bytes) }
      } while try point.next()
    }
    try stored { () throws(StoreError) in try writer.finish(SetFoot()) }
    let trial = try system { () throws(SystemError) in try spill.openNameless() }
    // Without saying what is fresh: that hides what came along as well.
    try lines.write(to: LocalOutput(trial), SetFoot(), marksFresh: false)
    let newer = try ManifestReader(LocalFile(trial), name: set.manifest)
    let merged = PointReader([newer, try ManifestReader(LocalFile(whole), name: set.manifest)])
    let links = Set(lines.scan.links.map(\.path))
    while try merged.next() {
      guard merged.age == 1 else { continue }
      let path = Bytes(merged.line.path)
      if merged.line.kind == .directory, !lines.moves.isMoved(path) { continue }
      var above = path
      while !links.isEmpty, !above.isEmpty, !links.contains(above) { above = above.splitAtName.parent }
      if !links.isEmpty, !above.isEmpty { continue }
      let text = Bytes(merged.line.text) + [10]
      try system { () throws(SystemError) in try lines.sorter.add(path: path, text) }
    }
  }

  /// The archive's notes tell of places as they were when it was written. Where the set is gone since, the same contents
  /// stand at the same path in what the set builds on.
  private func places(
    _ lines: SetLines, _ trial: Descriptor, _ chain: [SetName], _ spill: Descriptor, _ set: SetName
  ) throws(Failure) -> [Bytes: [Extent]] {
    guard !chain.isEmpty else { return [:] }
    let ids = try series.identities().union([lines.head.id])
    var lost: [Bytes: Entry] = [:]
    let own = try ManifestReader(LocalFile(trial), name: set.manifest)
    while try own.next() {
      guard own.line.what == .entry, own.line.kind == .file, let place = own.line.place,
        !ids.contains(place.extent.set), let entry = own.line.entry()
      else { continue }
      lost[entry.path] = entry
    }
    guard !lost.isEmpty else { return [:] }
    var found: [Bytes: [Extent]] = [:]
    let older = OldTree(try series.tree(chain))
    let moved = try MovedLines(lines.moves, of: try series.tree(chain), namesOf: [], spillingTo: spill)
    guard try older.next(), try older.begin(moved) else { return [:] }
    repeat {
      guard older.line.kind == .file, let entry = lost[Bytes(older.line.path)], let before = older.line.entry(),
        before.digest == entry.digest, before.storedSize == entry.storedSize
      else { continue }
      found[entry.path] = before.extents
    } while try older.next()
    return found
  }

  /// Hard links tell nothing but their first name: the rest stands at that, here or in an older set.
  /// Gives how many names the inodes have whose first name stands in this set.
  private func addLinks(
    _ lines: SetLines, _ chain: [SetName], _ spill: Descriptor, _ set: SetName
  ) throws(Failure) -> [Bytes: UInt32] {
    let links = lines.scan.links
    guard !links.isEmpty else { return [:] }
    var names: [Bytes: Set<Bytes>] = [:]
    for link in links { names[link.first, default: []].insert(link.path) }
    var own: Set<Bytes> = []
    var firsts: [Bytes: Entry?] = [:]
    for link in links { firsts[link.first] = .some(nil) }
    let trial = try system { () throws(SystemError) in try spill.openNameless() }
    try lines.write(to: LocalOutput(trial), SetFoot())
    let tree = try tree(trial, set, chain)
    while try tree.next() {
      let path = Bytes(tree.line.path)
      if firsts[path] != nil {
        firsts[path] = tree.line.entry()
        if tree.age == 0 { own.insert(path) }
      }
      if tree.line.hasHardLink, let first = tree.line.hardLink, names[first] != nil { names[first]!.insert(path) }
    }
    var counts: [Bytes: UInt32] = [:]
    for (first, others) in names {
      let count = UInt32(truncatingIfNeeded: others.count + 1)
      guard let found = firsts[first], var entry = found, entry.links < count else { continue }
      if own.contains(first) {
        counts[first] = count
        continue
      }
      // Its line is an older set's, which knew of fewer names.
      entry.links = count
      let text = Buffer()
      entry.appendLine(to: text)
      try system { () throws(SystemError) in try lines.sorter.add(path: first, Bytes(text)) }
    }
    for link in links {
      guard let found = firsts[link.first], var entry = found else {
        reporter.problem("is a hard link to \(Show.path(link.first)), which is not there", path: link.path)
        continue
      }
      entry.path = link.path
      entry.hardLink = link.first
      entry.links = max(entry.links, counts[link.first] ?? 0)
      let text = Buffer()
      entry.appendLine(to: text)
      try system { () throws(SystemError) in try lines.sorter.add(path: link.path, Bytes(text)) }
    }
    return counts
  }

  private func tree(_ trial: Descriptor, _ set: SetName, _ chain: [SetName]) throws(Failure) -> PointReader {
    try series.tree(ManifestReader(LocalFile(trial), name: set.manifest), on: chain)
  }

  /// The point's digest and counts.
  private func measure(_ trial: Descriptor, _ set: SetName, _ chain: [SetName]) throws(Failure) -> SetFoot {
    var foot = SetFoot()
    let tree = try tree(trial, set, chain)
    let digest = PointDigest()
    while try tree.next() {
      digest.add(tree.line.canonical)
      foot.counts.count(entryOf: tree)
    }
    foot.point = digest.finish()
    let notes = try ManifestReader(LocalFile(trial), name: set.manifest)
    while try notes.next() { if notes.line.what == .deleted { foot.counts.deleted += 1 } }
    return foot
  }
}

/// What a manifest is made of.
private struct SetLines {
  let head: SetHead
  let scan: ArchiveScan
  let sorter: LineSorter
  let moves: Moves
  /// Where files lie whose lines tell of a place that is gone.
  var places: [Bytes: [Extent]] = [:]
  /// How many names there are of what a tar entry tells the first name of.
  var links: [Bytes: UInt32] = [:]

  func write(to file: any StoreOutput, _ foot: SetFoot, marksFresh: Bool = true) throws(Failure) {
    let marksFresh = marksFresh && !moves.all.isEmpty
    let writer = try stored { () throws(StoreError) in try ManifestWriter(file, head: head) }
    let lines = Buffer()
    for move in scan.moves { ManifestSyntax.append(move, to: lines) }
    try stored { () throws(StoreError) in try writer.append(lines.bytes) }
    let text = Buffer()
    let scratch = Buffer()
    try sorter.visit { (line) throws(Failure) in
      let isOther = isMarked(line, marksFresh, scratch, text) || isMended(line, scratch, text)
      try stored { () throws(StoreError) in try writer.append(isOther ? text.bytes : line) }
    }
    try stored { () throws(StoreError) in
      lines.count = 0
      var table = MemberTable()
      for (length, checksum) in scan.members { table.add(length: length, checksum: checksum, to: lines) }
      table.flush(to: lines)
      try writer.append(lines.bytes)
      try writer.finish(foot)
    }
  }

  /// What a tar entry or a note cannot know is known by now; the line is put into `text`.
  private func isMended(_ line: UnsafeRawBufferPointer, _ scratch: Buffer, _ text: Buffer) -> Bool {
    guard !places.isEmpty || !links.isEmpty else { return false }
    var parsed = Line()
    let bytes = UnsafeBufferPointer(rebasing: line.bindMemory(to: UInt8.self).dropLast())
    guard bytes.first == UInt8(ascii: "."), parsed.parse(entry: bytes, scratch: scratch),
      parsed.kind != .directory
    else { return false }
    let path = Bytes(parsed.path)
    guard places[path] != nil || links[path] != nil, var entry = parsed.entry() else { return false }
    entry.extents = places[path] ?? entry.extents
    entry.links = links[path] ?? entry.links
    text.count = 0
    entry.appendLine(to: text)
    return true
  }

  /// A directory that was moved, or stands where something was moved away, or was not told whole: its first tar entry
  /// does not say so. Its line is put into `text`, with the tags.
  private func isMarked(
    _ line: UnsafeRawBufferPointer, _ marksFresh: Bool, _ scratch: Buffer, _ text: Buffer
  ) -> Bool {
    guard marksFresh || !scan.untold.isEmpty else { return false }
    var parsed = Line()
    let bytes = UnsafeBufferPointer(rebasing: line.bindMemory(to: UInt8.self).dropLast())
    guard bytes.first == UInt8(ascii: "."), parsed.parse(entry: bytes, scratch: scratch), parsed.kind == .directory
    else { return false }
    let path = Bytes(parsed.path)
    let isFresh = marksFresh && !parsed.isFresh && (moves.isNew(path) || moves.isOld(path))
    guard isFresh || scan.untold.contains(path), var entry = parsed.entry() else { return false }
    entry.isFresh = entry.isFresh || isFresh
    entry.isUnlisted = entry.isUnlisted || scan.untold.contains(path)
    text.count = 0
    entry.appendLine(to: text)
    return true
  }
}

extension SetFoot.Counts {
  /// Counts the entry that was just read of a point whose newest set is counted.
  mutating func count(entryOf tree: PointReader) {
    count(tree.line)
    if tree.age == 0, !tree.line.isCarried { if tree.isInOlder { changed += 1 } else { new += 1 } }
    if tree.isUnseen { unseen += 1 }
  }

  /// Counts one entry of a point.
  mutating func count(_ line: Line) {
    if line.kind == .directory { directories += 1 } else { files += 1 }
    if !line.hasHardLink { bytes.add(saturating: line.size) }
  }
}
