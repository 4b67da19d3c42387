/// Ends what an interrupted run began: the archive behind its last whole member, and the manifest anew.
import Posix
import Storage
import Tar

/// Not for use from several threads.
final class KeptSetWriter {
  private let name: String
  private let id: SetID
  private let cut: KeptArchive.Cut
  private let carrier: TarHeader
  private let archive: ArchiveWriter
  private let volumes: WrittenVolumes
  private let manifestFile: NewStoredFile
  private let manifest: ManifestWriter
  private let compressor = Compressor(level: 1)
  private var table = MemberTable()
  private let lines = Buffer()
  /// Entries of directories whose names the archive does not have any more.
  private let directories = Buffer()
  private let notes = Buffer()
  private var deleted: Int64 = 0
  /// The path of the last line.
  private(set) var last: Bytes?

  init(
    _ left: Leftovers, head: SetHead, in series: Series, _ cut: KeptArchive.Cut,
    members: [(length: Int, checksum: UInt32)], carrier: TarHeader
  ) throws(Failure) {
    name = left.set.manifest
    id = head.id
    self.cut = cut
    self.carrier = carrier
    volumes = WrittenVolumes(digests: cut.digests, hasher: cut.hasher, in: series.folder)
    do throws(StoreError) {
      manifestFile = NewStoredFile(Bytes(left.set.manifest.utf8), in: series.folder, suffix: Leftovers.takenSuffix)
      manifest = try ManifestWriter(manifestFile, head: head)
      var kept: [(name: Bytes, size: Int64)] = []
      var rest = cut.offset
      for volume in left.volumes {
        if rest == 0 {
          try series.folder.remove(volume.name)
          continue
        }
        kept.append((volume.name, min(rest, volume.size)))
        rest -= kept.last!.size
      }
      archive = try ArchiveWriter(
        left.set, in: series, continuing: kept, members: Int64(cut.members), tarBytes: cut.tarBytes)
    } catch { throw Failure(error) }
    for member in members.prefix(cut.members) { table.add(length: member.length, checksum: member.checksum, to: lines) }
  }

  /// What was moved: before anything else.
  func add(_ moves: Moves) throws(Failure) {
    let text = Buffer()
    // The deepest old paths first, as they can be renamed one after another.
    for move in moves.all.sorted(by: { $0.depth > $1.depth }) {
      text.count = 0
      ManifestSyntax.append(move, to: text)
      let line = UnsafeRawBufferPointer(rebasing: text.bytes.dropLast())
      try put(line)
      try note(line)
    }
  }

  /// Something that was moved to a place that the run had not reached.
  func add(moved entry: Entry) throws(Failure) {
    last = entry.path
    try add(carried: entry)
  }

  /// A line of the journal.
  func add(_ line: Line) throws(Failure) {
    last = Bytes(line.path)
    let text = UnsafeRawBufferPointer(line.text)
    try put(text)
    switch line.what {
    case .deleted, .unseen:
      if line.what == .deleted { deleted += 1 }
      try note(text)
    case .entry:
      guard let entry = line.entry() else { return }
      if entry.kind == .directory {
        if !cut.position.holdsEntry(of: entry.path) { try add(directory: entry) }
      } else if entry.isCarried || entry.extents.contains(where: { $0.set != id }) {
        try note(text)
      }
    }
  }

  /// A directory of which it is not known what else is in it. `isMarked`: its own entry in the archive says so, too.
  func add(unlisted entry: Entry, isMarked: Bool) throws(Failure) {
    last = entry.path
    let text = Buffer()
    entry.appendLine(to: text)
    try put(UnsafeRawBufferPointer(rebasing: text.bytes.dropLast()))
    if !isMarked || !cut.position.holdsEntry(of: entry.path) { try add(directory: entry) }
  }

  /// Something that tar deletes when it replays the archive.
  func add(deleted path: Bytes) throws(Failure) {
    let text = Buffer()
    ManifestSyntax.appendNote(ManifestSyntax.deleted, path, to: text)
    let line = UnsafeRawBufferPointer(rebasing: text.bytes.dropLast())
    last = path
    deleted += 1
    try put(line)
    try note(line)
  }

  /// The lines so far, to be read.
  func reread(upTo last: Bytes) throws(Failure) -> ManifestReader {
    do throws(StoreError) {
      try manifestFile.flush()
      try manifest.makeReadable()
    } catch { throw Failure(error) }
    let file = try stored { () throws(StoreError) in try manifestFile.reopened() }
    let reader = try ManifestReader(file, name: name)
    reader.stop(after: last)
    return reader
  }

  /// What the run had not reached, as it was known before.
  func add(carried entry: Entry) throws(Failure) {
    let text = Buffer()
    entry.appendLine(to: text)
    let line = UnsafeRawBufferPointer(rebasing: text.bytes.dropLast())
    try put(line)
    try note(line)
  }

  private func put(_ line: UnsafeRawBufferPointer) throws(Failure) {
    lines.append(line.baseAddress!, line.count)
    lines.append(UInt8(ascii: "\n"))
    try stored { () throws(StoreError) in try manifest.append(lines.bytes) }
    lines.count = 0
  }

  private func note(_ line: UnsafeRawBufferPointer) throws(Failure) {
    notes.append(line.baseAddress!, line.count)
    notes.append(UInt8(ascii: "\n"))
    if notes.count > TarHeader.notesLimit { try flushNotes() }
  }

  private func flushNotes() throws(Failure) {
    let tar = Buffer()
    var failure: Failure?
    carrier.append(notes: notes, to: tar) {
      do throws(Failure) { if failure == nil { try append(tar) } } catch { failure = error }
    }
    notes.count = 0
    if let failure { throw failure }
  }

  /// A directory's own entry, where the archive does not have it.
  func add(directory entry: Entry) throws(Failure) {
    var header = TarHeader(entry, attributes: entry.attributes)
    header.comment = TarHeader.keptMark + (header.comment.isEmpty ? [] : [10] + header.comment)
    header.append(to: directories)
    if directories.count > 1 << 20 { try append(directories) }
  }

  private func append(_ tar: Buffer) throws(Failure) {
    guard tar.count > 0 else { return }
    let member = Buffer()
    compressor.append(tar.bytes, firstHeader: 0, to: member)
    let volume = try stored { () throws(StoreError) in try archive.append(member.bytes, tarBytes: tar.count) }
    volumes.add(member.bytes, volume: volume)
    table.add(length: member.count, checksum: GzipMember.storedChecksum(member.bytes), to: lines)
    tar.count = 0
  }

  /// Makes all durable and gives it its names.
  func finish(
    _ point: (digest: Digest, counts: SetFoot.Counts), incompleteAfter last: Bytes
  ) throws(Failure) -> SetFoot {
    try append(directories)
    ManifestSyntax.appendIncomplete(after: last, to: notes)
    try flushNotes()
    let end = Buffer()
    TarHeader.appendEnd(to: end)
    try append(end)
    table.flush(to: lines)
    var foot = SetFoot()
    foot.counts = point.counts
    foot.counts.deleted = deleted
    foot.point = point.digest
    foot.incompleteAfter = last
    do throws(StoreError) {
      try manifest.append(lines.bytes)
      foot.volumes = try archive.seal(digests: volumes.finish())
      foot.tarBytes = archive.tarBytes
      foot.members = archive.members
      try manifest.finish(foot)
      try manifestFile.finish()
      try archive.publish()
      try manifestFile.publish()
    } catch { throw Failure(error) }
    return foot
  }

  func discard() {
    archive.abandon()
    manifestFile.discard()
  }
}
