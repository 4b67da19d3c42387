/// Writes what a merge finds as a set.
import Posix
import Tar

final class ImportWriter: ImportSink {
  private let writer: FoldWriter
  private let isFull: Bool
  private let groups: ImportedGroups
  private let spool: StreamSpool
  private let sources: SourceTree
  private let reporter: any Reporter
  private let progress: Progress

  /// The names of the directory at hand wait for its own entry, which stands before them: it tells what it lost. A full
  /// set has lost nothing.
  private var block: [Step] = []
  private var stores = false
  private var hasLost = false
  private var hasLostToMove = false
  private var dumpdir = Bytes()
  private var hasOwnEntry = false
  /// Directories with lines in this set, whose names are still to come: their own entries must tell the same.
  private var written: Set<Bytes> = []
  /// Directories whose deletions stock GNU tar cannot replay.
  private(set) var inexact: [Bytes] = []
  private(set) var unchanged: Int64 = 0
  private(set) var moved: Int64 = 0

  private enum Step {
    /// A canonical line, and what it counts as.
    case canonical(Bytes, SetFoot.Counts)
    /// A line of the manifest that stores nothing.
    case line(Bytes, isNote: Bool)
    case entry(Entry, ImportBefore?, ImportedGroup?)
  }

  init(
    _ writer: FoldWriter, isFull: Bool, groups: ImportedGroups, spool: StreamSpool, sources: SourceTree,
    reporter: any Reporter, progress: Progress
  ) {
    (self.writer, self.isFull, self.groups, self.spool) = (writer, isFull, groups, spool)
    (self.sources, self.reporter, self.progress) = (sources, reporter, progress)
  }

  /// Before all else: what was moved, for whoever replays the set, and `gone` entries that gave way to it.
  func add(_ records: MoveRecords.Plan, in directory: Entry, gone: Int64) throws(Failure) {
    for note in records.notes { writer.add(text: note, isNote: true) }
    for (path, dumpdir) in records.entries {
      var entry = directory
      entry.path = path
      var header = TarHeader(entry, attributes: [])
      (header.dumpdir, header.comment) = (dumpdir, LargePurge.mark)
      _ = try writer.add(header)
    }
    try writer.add(canonical: [], SetFoot.Counts(deleted: gone))
  }

  /// The same where tar cannot be told.
  func add(notes: [Bytes], gone: Int64) throws(Failure) {
    for note in notes { writer.add(text: note, isNote: true) }
    try writer.add(canonical: [], SetFoot.Counts(deleted: gone))
  }

  // MARK: - Directories

  func begin(_ directory: ImportDirectory?) throws(Failure) {
    (stores, hasLost, hasLostToMove) = (false, false, false)
    dumpdir = []
    if isFull, let directory { try putOwn(directory) }
  }

  func end(_ directory: ImportDirectory?) throws(Failure) {
    guard !isFull else { return }
    if let directory {
      let isWritten = written.remove(directory.path) != nil
      if stores || hasLost || hasLostToMove || isWritten || !hasOwnEntry { try putOwn(directory) }
    } else if hasLost {
      inexact.append([])
    }
    for step in block { try put(step) }
    block.removeAll(keepingCapacity: true)
  }

  private func putOwn(_ directory: ImportDirectory) throws(Failure) {
    hasOwnEntry = true
    var header = TarHeader(directory.entry, attributes: directory.entry.attributes)
    writer.carry(header)
    if hasLost {
      if sources.names(above: directory.path) != nil || dumpdir.count >= Dumpdir.limit {
        inexact.append(directory.path)
      } else {
        header.dumpdir = dumpdir + [0]
      }
    }
    _ = try writer.add(header)
  }

  private func list(_ path: Bytes, _ kind: FileKind) {
    guard !isFull, dumpdir.count < Dumpdir.limit else { return }
    dumpdir.append(UInt8(ascii: kind == .directory ? "D" : "Y"))
    dumpdir += path.splitAtName.name
    dumpdir.append(0)
  }

  private func step(_ step: Step) throws(Failure) { if isFull { try put(step) } else { block.append(step) } }

  // MARK: - Paths

  func take(_ found: ImportFound, in directory: ImportDirectory?) throws(Failure) {
    switch found.result {
    case .orphan:
      try writer.add(canonical: [], SetFoot.Counts(deleted: 1))
      tell(.deleted, found.path, found.before?.kind)
    case .nothing: if let before = found.before { try lose(found.path, before) }
    case .kept: if let before = found.before { try keep(found, before) }
    case .new(let entry): try take(entry, found)
    }
  }

  private func lose(_ path: Bytes, _ before: ImportBefore) throws(Failure) {
    let text = Buffer()
    ManifestSyntax.appendNote(ManifestSyntax.deleted, path, to: text)
    try step(.line(Bytes(text), isNote: true))
    guard !before.isVacated else {
      hasLostToMove = true
      return
    }
    hasLost = true
    try step(.canonical([], SetFoot.Counts(deleted: 1)))
    tell(.deleted, path, before.kind)
  }

  private func keep(_ found: ImportFound, _ before: ImportBefore) throws(Failure) {
    list(found.path, before.kind)
    if let group = groups[found.link], let entry = before.entry {
      let first = group.first == found.path ? nil : group.first
      if group.isStored || entry.hardLink != first || Int(entry.links) < group.names.count {
        return try write(entry, found, group)
      }
      if first == nil { group.entry = entry }
    }
    try tellKept(found.path, before)
  }

  /// The line of the point before holds.
  private func tellKept(_ path: Bytes, _ before: ImportBefore) throws(Failure) {
    var counts = SetFoot.Counts()
    var line = Line()
    let scratch = Buffer()
    before.text.withUnsafeBufferPointer { if line.parse(entry: $0, scratch: scratch) { counts.count(line) } }
    if before.isUnseen { counts.unseen = 1 }
    try step(.canonical(Bytes(before.text[..<before.canonical]), counts))
    guard before.isElsewhere else {
      unchanged += 1
      return
    }
    moved += 1
    tell(.moved, path, before.kind)
    // What older sets have below the path is of something else.
    guard before.isMovedItself, before.kind == .directory, var entry = before.entry else {
      return try step(.line(before.text + [10], isNote: false))
    }
    entry.isFresh = true
    written.insert(path)
    try step(.line(entry.line.text, isNote: false))
  }

  private func take(_ told: Entry, _ found: ImportFound) throws(Failure) {
    var entry = told
    list(found.path, entry.kind)
    let group = groups[found.link]
    if let group {
      entry.hardLink = group.first == found.path ? nil : group.first
      entry.links = UInt32(clamping: group.names.count)
    }
    let before = found.before.flatMap { $0.isVacated ? nil : $0 }
    if let before, (before.kind == .directory) != (entry.kind == .directory) { hasLost = true }
    let (text, canonical) = entry.line
    if let before, !before.isUnseen, text[..<canonical].elementsEqual(before.text[..<before.canonical]),
      group?.isStored != true, let old = before.entry, !old.isCarried, group == nil || old.links == entry.links
    {
      if entry.hardLink == nil { group?.entry = old }
      return try tellKept(found.path, before)
    }
    entry.isFresh =
      entry.kind == .directory && (found.before?.isVacated == true || found.before?.isMovedItself == true)
    try write(entry, found, group)
  }

  /// A line of its own.
  private func write(_ told: Entry, _ found: ImportFound, _ group: ImportedGroup?) throws(Failure) {
    var entry = told
    if let group {
      entry.hardLink = group.first == found.path ? nil : group.first
      entry.links = UInt32(clamping: group.names.count)
    }
    let before = found.before.flatMap { $0.isVacated ? nil : $0 }
    var counts = SetFoot.Counts()
    if entry.kind == .directory { counts.directories = 1 } else { counts.files = 1 }
    if entry.hardLink == nil { counts.bytes = entry.size }
    if found.ordinal != nil {
      if before == nil { counts.new = 1 } else { counts.changed = 1 }
      tell(before == nil ? .new : .changed, found.path, entry.kind)
    }
    stores = true
    if entry.kind == .directory, !isFull { written.insert(entry.path) }
    let (text, canonical) = entry.line
    try step(.canonical(Bytes(text[..<canonical]), counts))
    // Whether the first name is stored decides for the others, which may stand in this directory.
    if let group, entry.hardLink == nil {
      group.isStored = isStored(entry, found)
      group.entry = entry
    }
    try step(.entry(entry, found.before, group))
  }

  /// Contents of the point before may do.
  private func isStored(_ entry: Entry, _ found: ImportFound) -> Bool {
    if case .kept = found.result { return false }
    guard entry.kind == .file else { return true }
    return found.ordinal == nil ? false : entry.needsContents(since: found.before, isNameOfMore: true)
  }

  private func tell(_ mark: Mark, _ path: Bytes, _ kind: FileKind?) {
    if reporter.wantsItems { reporter.item(mark, path, kind ?? .file) }
  }

  // MARK: - Writing

  private func put(_ step: Step) throws(Failure) {
    switch step {
    case .canonical(let text, let counts): try writer.add(canonical: text, counts)
    case .line(let text, let isNote): writer.add(text: text, isNote: isNote)
    case .entry(let entry, let before, let group): try put(entry, before, group)
    }
  }

  private func put(_ entry: Entry, _ before: ImportBefore?, _ group: ImportedGroup?) throws(Failure) {
    try progress.checkCancelled()
    if entry.kind == .directory { return writer.add(entry, .asEntrySays) }
    if let group, entry.hardLink != nil { return try putLink(entry, group) }
    let hasPlace = entry.kind == .file && (entry.storedSize > 0 || entry.isStoredSparse)
    guard hasPlace else {
      _ = try writer.add(TarHeader(stored: entry))
      return writer.add(entry, .asEntrySays)
    }
    guard let extent = entry.extents.first, extent.set.value == 0, group?.isStored ?? needsContents(entry, before)
    else {
      return putKept(entry, before, group)
    }
    let shared = group == nil ? nil : PackJob.Place()
    group?.place = shared
    let header = TarHeader(stored: entry)
    progress.add(files: 1)
    if entry.storedSize <= Packer.smallLimit {
      let inner = try writer.add(header) { out throws(Failure) in
        try read(entry, from: extent.offset) { bytes throws(Failure) in
          if let start = bytes.baseAddress { out.append(start, bytes.count) }
        }
      }
      return writer.add(entry, .here(inner: inner, shared: shared))
    }
    try writer.pack(
      header, line: { writer.add(entry, .here(inner: $0, shared: shared)) },
      read: { give throws(Failure) in try read(entry, from: extent.offset, give) })
  }

  private func needsContents(_ entry: Entry, _ before: ImportBefore?) -> Bool {
    entry.needsContents(since: before, isNameOfMore: false)
  }

  /// Its contents stay where they are.
  private func putKept(_ told: Entry, _ before: ImportBefore?, _ group: ImportedGroup?) {
    var entry = told
    if let old = before?.entry, told.extents.first?.set.value == 0 { entry.extents = old.extents }
    entry.isMetadataOnly = true
    group?.entry = entry
    writer.add(entry, .asEntrySays, isNote: true)
  }

  private func putLink(_ told: Entry, _ group: ImportedGroup) throws(Failure) {
    var entry = told
    _ = try writer.add(TarHeader(entry, linkTo: group.first))
    guard entry.kind == .file, entry.storedSize > 0 || entry.isStoredSparse else {
      return writer.add(entry, .asEntrySays)
    }
    if let place = group.place { return writer.add(entry, .shared(place)) }
    entry.extents = group.entry?.extents ?? []
    entry.isMetadataOnly = false
    writer.add(entry, .asEntrySays)
  }

  /// What is stored of a file, in order: its stretches lie in the spool one behind the other.
  private func read(
    _ entry: Entry, from start: Int64, _ give: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    var sparse = entry
    sparse.isStoredSparse = true
    let map = SparseMap(sparse)
    let buffer = Buffer(capacity: Self.pieceSize)
    var position: Int64 = 0
    while position < entry.size {
      let end = min(position + Int64(Self.pieceSize), entry.size)
      for piece in map.pieces(of: position..<end) {
        buffer.count = 0
        switch piece {
        case .hole(let count): if !entry.isStoredSparse { buffer.appendZeros(Int(count)) }
        case .stored(let range):
          try system { () throws(SystemError) in
            try spool.append((start + range.lowerBound)..<(start + range.upperBound), to: buffer)
          }
        }
        if buffer.count > 0 { try give(buffer.bytes) }
      }
      position = end
      try progress.checkCancelled()
    }
  }
  private static let pieceSize = 1 << 18
}
