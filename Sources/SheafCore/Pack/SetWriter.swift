/// Takes finished jobs in order and writes the set: the archive's members, the manifest's lines, the point's digest.
import Posix
import Storage
import Tar

/// Used by one thread at a time, but for `hash`.
final class SetWriter {
  private let set: SetName
  private let head: SetHead
  private let archive: ArchiveWriter
  private var manifestFile: NewStoredFile
  private var manifest: ManifestWriter
  /// The manifest as it was before directories were marked in it: what is left of a run is judged by it.
  private var journal: NewStoredFile?
  private let series: Series
  private let compressor = Compressor(level: 1)
  private let lines = Buffer(capacity: 1 << 20)
  private let canonical = Buffer(capacity: 1 << 20)
  private let written: WrittenVolumes
  /// Where in the archive the journal was written, and made durable.
  private var journalled: Int64 = 0
  private var synced: Int64 = 0
  /// Bytes of archive that the program's end may cost, and a power loss.
  private var journalDistance: Int64 {
    // An encrypted journal is filled up each time, so the larger the archive is, the rarer that is done.
    series.folder.traits.rewinds ? Self.leastDistance : max(Self.leastDistance, archive.offset / 64)
  }
  private static let leastDistance: Int64 = 16 << 20
  private static let syncDistance: Int64 = 256 << 20
  /// More than the lines of a journal that wait to be written.
  private static let spareSize: Int64 = 1 << 20

  /// Of a large file that is being written: where it begins, and its members. A read error takes it all back.
  private var unfinished: (mark: ArchiveWriter.Mark, members: [(length: Int, checksum: UInt32)])?
  /// The same, for the volumes' digests; used where they are computed.
  private var hashMark: WrittenVolumes.Mark?

  /// Of the point's canonical lines so far; set when the planner says where to begin.
  private var point: SHA256?
  private var table = MemberTable()
  private(set) var counts = SetFoot.Counts()
  private(set) var bytesRead: Int64 = 0
  /// Of these, what proved the same as before and is not stored.
  private(set) var bytesSpared: Int64 = 0
  private(set) var unchanged: Int64 = 0
  private(set) var moved: Int64 = 0

  /// Lines to be told in the archive, and the directory whose entry is repeated to carry them.
  private let notes = Buffer()
  private var carrier: TarHeader?

  init(_ set: SetName, head: SetHead, in series: Series, _ limits: ArchiveWriter.Limits) throws(StoreError) {
    self.set = set
    self.head = head
    self.series = series
    written = WrittenVolumes(in: series.folder)
    archive = try ArchiveWriter(set, in: series, limits)
    manifestFile = NewStoredFile(Bytes(set.manifest.utf8), in: series.folder)
    manifest = try ManifestWriter(manifestFile, head: head)
    let tar = Buffer()
    TarHeader.appendGlobalComment(Bytes("sheaf set\n") + head.text(), to: tar)
    try append(tar)
    if !series.folder.traits.renames {
      archive.beforeVolume = { [unowned self] () throws(StoreError) in try leaveJournal() }
    }
  }

  /// Where volumes have their names at once, what tells that they are not yet a set has to be there before. It is written
  /// whole each time, so the larger the archive is, the rarer.
  private func leaveJournal() throws(StoreError) {
    guard synced == 0 || archive.offset - synced >= archive.offset / 16 else { return }
    try manifest.sync()
    synced = archive.offset
  }

  private func append(_ tar: Buffer) throws(StoreError) {
    let member = Buffer(capacity: tar.count + 64)
    compressor.append(tar.bytes, firstHeader: 0, to: member)
    written.add(member.bytes, volume: try append(member: member.bytes, tarBytes: tar.count))
  }

  /// Gives the volume it lies in.
  private func append(member: UnsafeRawBufferPointer, tarBytes: Int) throws(StoreError) -> Int {
    let volume = try archive.append(member, tarBytes: tarBytes)
    let checksum = GzipMember.storedChecksum(member)
    if unfinished == nil {
      table.add(length: member.count, checksum: checksum, to: lines)
    } else {
      unfinished!.members.append((member.count, checksum))
    }
    return volume
  }

  /// Writes a job's members. Gives the place of each.
  private func appendMembers(of job: PackJob) throws(StoreError) -> [(offset: Int64, number: Int64)] {
    var places: [(offset: Int64, number: Int64)] = []
    for index in job.parts.indices {
      places.append((archive.offset, archive.members))
      let volume = try append(member: job.bytes(ofPart: index), tarBytes: job.parts[index].tarBytes)
      job.setVolume(volume, ofPart: index)
    }
    return places
  }

  /// Hashes a job's members for their volume's digest, in the order of `append` and after it; a thread of its own does it.
  func hash(_ job: PackJob) {
    switch job.takesBack {
    case .mayBegin?: hashMark = written.mark()
    case .all?: if let hashMark { written.goBack(to: hashMark) }
    case nil: break
    }
    for (index, part) in job.parts.enumerated() { written.add(job.bytes(ofPart: index), volume: part.volume) }
  }

  /// A large file's header and pieces are on the drive before its end has been read. Where it then cannot be read they
  /// are taken back, so that no archive has an entry with contents that were never there.
  private func prepare(_ file: LargeFile, _ piece: Int, _ job: PackJob) throws(StoreError) {
    if piece == 0 {
      unfinished = (archive.mark(), [])
      job.takesBack = .mayBegin
    }
    guard file.failure != nil else { return }
    job.dropMembers()
    guard let (mark, members) = unfinished, !members.isEmpty else { return }
    try archive.goBack(to: mark)
    synced = min(synced, archive.offset)
    journalled = min(journalled, archive.offset)
    unfinished!.members = []
    job.takesBack = .all
  }

  /// All of it has been read and written.
  private func endLargeFile() {
    for (length, checksum) in unfinished?.members ?? [] { table.add(length: length, checksum: checksum, to: lines) }
    unfinished = nil
  }

  /// Begins the point's digest with what has been hashed already.
  func begin(point: SHA256) { self.point = point }

  /// Gives what is to be hashed for the volume's digest, in order.
  func append(_ job: PackJob) throws(StoreError) -> [PackJob] {
    var written: [PackJob] = []
    lines.count = 0
    canonical.count = 0
    if carrier == nil { carrier = job.directory }
    if notes.count > TarHeader.notesLimit, !isInsideFile(job), let more = try flushNotes() { written.append(more) }
    notes.append(job.notes)
    for case .chunk(let file, let piece) in job.items {
      try prepare(file, piece, job)
      if piece == 0 { file.firstMember = (archive.offset, archive.members) }
    }
    let places = try appendMembers(of: job)
    for case .chunk(let file, let piece) in job.items where piece == file.pieces - 1 { endLargeFile() }
    var doneText = 0
    var doneCanonical = 0
    for gap in job.gaps {
      lines.append(job.text.start + doneText, gap.text - doneText)
      canonical.append(job.canonical.start + doneCanonical, gap.canonical - doneCanonical)
      doneText = gap.text
      doneCanonical = gap.canonical
      fill(gap.fill, gap.part < places.count ? places[gap.part] : (archive.offset, archive.members))
    }
    lines.append(job.text.start + doneText, job.text.count - doneText)
    canonical.append(job.canonical.start + doneCanonical, job.canonical.count - doneCanonical)
    if let point { point.update(canonical.start, canonical.count) }
    try manifest.append(lines.bytes)
    add(job.counts)
    bytesRead += job.bytesRead
    bytesSpared += job.bytesSpared
    unchanged += job.unchanged
    moved += job.moved
    written.append(job)
    if archive.offset - journalled >= journalDistance { try writeJournal() }
    if archive.offset - synced >= Self.syncDistance, series.folder.traits.renames { try syncJournal() }
    return written
  }

  /// Writes the lines so far, so that they outlive the program.
  private func writeJournal() throws(StoreError) {
    lines.count = 0
    table.flush(to: lines)
    try manifest.append(lines.bytes)
    try manifest.flush()
    try manifestFile.flush()
    if !series.folder.traits.rewinds { try manifest.makeReadable() }
    journalled = archive.offset
  }

  /// Makes durable what was written so far, so that a later run can take it over.
  private func syncJournal() throws(StoreError) {
    try writeJournal()
    try archive.sync()
    try manifest.sync()
    synced = archive.offset
  }

  private func isInsideFile(_ job: PackJob) -> Bool {
    if case .chunk(_, let piece)? = job.items.first { return piece > 0 }
    return job.continuesFile
  }

  /// Puts the notes into `comment` records, which every reader passes over in silence, each of its own entry.
  private func flushNotes() throws(StoreError) -> PackJob? {
    guard let header = carrier, notes.count > 0 else { return nil }
    let job = PackJob()
    let tar = Buffer()
    header.append(notes: notes, to: tar) {
      compressor.append(tar.bytes, firstHeader: 0, to: job.member)
      job.endMember(tarBytes: tar.count)
      tar.count = 0
    }
    notes.count = 0
    _ = try appendMembers(of: job)
    return job
  }

  private func fill(_ fill: PackJob.Fill, _ place: (offset: Int64, number: Int64)) {
    switch fill {
    case .ownMember(let group, let extent): putPlace(extent, place, group)
    case .firstMember(let file, let group, var extent):
      extent.inner = Int64(file.headerLength)
      putPlace(extent, file.firstMember, group)
    case .shared(let shared, var extent):
      (extent.offset, extent.member) = place
      shared.settle(extent)
      putPlace(extent, place, nil)
    case .place(let shared):
      let extent = shared.extent!
      putPlace(extent, (extent.offset, extent.member), nil)
    case .link(let group, let path, let before):
      guard let first = group.entry else {
        // Its first name could not be read, so this one was not either.
        let unseen = UnseenLines(path: path, before: before, isFull: head.kind == .full)
        lines.append(unseen.text)
        notes.append(unseen.text)
        if let old = before.line, unseen.canonical > 0 { appendCanonical(old, unseen.canonical) }
        counts.unseen += 1
        return
      }
      var entry = first
      entry.path = path
      entry.hardLink = group.first
      let start = lines.count
      entry.appendCanonical(to: lines)
      canonical.append(lines.start + start, lines.count - start)
      canonical.append(UInt8(ascii: "\n"))
      lines.count = start
      entry.appendLine(to: lines)
    }
  }

  private func appendCanonical(_ text: Bytes, _ length: Int) {
    text.withUnsafeBytes { canonical.append($0.baseAddress!, length) }
    canonical.append(UInt8(ascii: "\n"))
  }

  private func putPlace(_ extent: Extent, _ place: (offset: Int64, number: Int64), _ group: LinkGroup?) {
    var extent = extent
    (extent.offset, extent.member) = place
    lines.append(decimal: extent.offset)
    for number in [extent.member, extent.inner, extent.length] {
      lines.append(UInt8(ascii: ":"))
      lines.append(decimal: number)
    }
    if group?.entry != nil { group!.entry!.extents = [extent] }
  }

  private func add(_ more: SetFoot.Counts) {
    counts.files += more.files
    counts.directories += more.directories
    counts.bytes.add(saturating: more.bytes)
    counts.new += more.new
    counts.changed += more.changed
    counts.deleted += more.deleted
    counts.unseen += more.unseen
    counts.torn += more.torn
  }

  /// Before `finish`: marks directories that proved not to be listable after their lines had been written.
  func mark(_ marks: UnlistedMarks) throws(Failure) {
    let written = try stored { () throws(StoreError) in
      try writeJournal()
      try manifest.makeReadable()
      let written = try manifestFile.reopened()
      let file = NewStoredFile(Bytes(set.manifest.utf8), in: series.folder, suffix: Leftovers.takenSuffix)
      journal = manifestFile
      manifestFile = file
      manifest = try ManifestWriter(file, head: head)
      return written
    }
    try marks.copy(written, name: set.manifest, to: manifest)
  }

  /// A path that would have two lines, so that the set cannot be ended.
  var disorder: Bytes? { manifest.disorder }

  /// Bytes written so far.
  var bytesWritten: Int64 { archive.offset }

  /// Ends the archive and makes all durable under partial names.
  /// `point`: the digest where nothing differed from the parent.
  /// `incompleteAfter`: where the set stands for an interrupted run's.
  func finish(
    unchangedPoint: Digest?, unchanged: SetFoot.Counts, incompleteAfter: Bytes? = nil
  ) throws(StoreError) -> SetFoot {
    lines.count = 0
    if let incompleteAfter { ManifestSyntax.appendIncomplete(after: incompleteAfter, to: notes) }
    if let job = try flushNotes() { hash(job) }
    let end = Buffer()
    TarHeader.appendEnd(to: end)
    try append(end)
    table.flush(to: lines)
    try manifest.append(lines.bytes)
    add(unchanged)
    var foot = SetFoot()
    foot.volumes = try archive.seal(digests: written.finish())
    foot.tarBytes = archive.tarBytes
    foot.members = archive.members
    foot.counts = counts
    foot.point = point?.finish() ?? unchangedPoint!
    foot.incompleteAfter = incompleteAfter
    try manifest.finish(foot)
    try manifestFile.finish()
    return foot
  }

  /// Asks the drive for what was written, or for its sizes alone where all arrives there that was sent. Only after
  /// `finish`. `rereads`: whether it is asked, whatever the store; nil: as the store needs it.
  func check(rereads: Bool?) throws(Failure) {
    guard rereads != false else { return }
    let sizesAlone = rereads == nil && series.folder.traits.arrivesWhole
    try archive.check(written.pieces, sizesAlone: sizesAlone)
    let manifest = try stored { () throws(StoreError) in try manifestFile.reopened() }
    try Reread.check(manifest, self.manifest.pieces, sizeAlone: sizesAlone)
  }

  /// The manifest, to be read. Only after `finish`.
  func reread() throws(Failure) -> ManifestReader {
    try ManifestReader(stored { () throws(StoreError) in try manifestFile.reopened() }, name: set.manifest)
  }

  /// Whether the new manifest, read as everyone will read it on its chain, gives the point it was written for. What is
  /// moved by others while a run looks at it may have been seen twice, or where it was no more. Only after `finish`.
  func addsUp(_ foot: SetFoot, on chain: [SetName]) throws(Failure) -> Bool {
    do throws(Failure) {
      let tree = try series.tree(reread(), on: chain)
      let digest = PointDigest()
      var directories = OpenDirectories()
      while try tree.next() {
        guard directories.pass(tree.line) else { return false }
        digest.add(tree.line.canonical)
      }
      return digest.finish() == foot.point
    } catch {
      guard error.kind == .damaged else { throw error }
      return false
    }
  }

  /// Gives all its name, the manifest last: with that the set is there.
  func publish() throws(StoreError) {
    try archive.publish()
    try manifestFile.publish()
    journal?.discard()
  }

  /// Leaves what was written where it is, for a later run to take over; as much of it as can still be told.
  func abandon() {
    try? endArchive()
    try? syncJournal()
    leave()
  }

  /// Where bytes are held back until there are more, an archive that ends here ends behind its last whole file.
  private func endArchive() throws(StoreError) {
    guard !series.folder.traits.rewinds else { return }
    if let (mark, members) = unfinished, !members.isEmpty { try archive.goBack(to: mark) }
    try archive.end()
  }

  /// The same on a full drive: the archive gives up its end for the journal's.
  func abandonFull() {
    do throws(StoreError) {
      try archive.shorten(by: Self.spareSize)
      try manifest.mend()
      try syncJournal()
    } catch {}
    leave()
  }

  /// The same without writing anything more.
  func leave() {
    archive.abandon()
    manifestFile.abandon()
    journal?.abandon()
  }

  func discard() {
    archive.discard()
    manifestFile.discard()
    journal?.discard()
  }
}
