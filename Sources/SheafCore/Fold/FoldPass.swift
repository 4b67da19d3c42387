/// Goes through the tree of the newest point and, beside it, through that of the point which the new set will build on.
/// Finds out for each path what the new set tells, and which archive the tar entry comes from.
import Posix
import Tar

/// Not for use from several threads.
final class FoldPass {
  private let tree: PointReader
  private let old: PointReader?
  private var hasOld = false
  private let oldDigest = PointDigest()
  private let parent: Digest?
  private let isFull: Bool
  /// The archives that are folded, the newest first.
  private let sources: [FoldSource]
  /// The last of them, where that is a full set.
  private let base: FoldBase?
  private let hasher = FoldHasher()
  private let writer: FoldWriter
  private let shelf: ArchiveShelf
  private let content = ContentReader()
  private let progress: Progress
  private let above: SourceTree

  /// First names of inodes that have more, and what is still to come of each.
  private var firsts: [Bytes: (entry: Entry, place: PackJob.Place?, isStored: Bool, remaining: Int)] = [:]

  /// A directory whose names are still to come.
  private struct Directory {
    var path: Bytes
    var entry: Entry
    /// Its line is in the new set.
    var isInNewSet: Bool
    /// Those of the folded archives that may have its tar entry.
    var sources: [FoldSource]
    /// The point has no directory here, but the full set has an entry for one, which is left out.
    var isGone = false
  }
  /// Directories whose names are still to come; the last of the array comes next.
  private var waiting: [Directory] = []
  private var children: [Directory] = []
  private var directory: Directory?
  private var parentPath: Bytes?
  /// What the names of the directory at hand bring into a new set that is not full. It waits for the directory's own
  /// entry, which stands before the names and tells which of them went away.
  private var block: [Step] = []
  private var stores = false
  /// The archive that the first entry of the directory at hand may come from.
  private var neighbour: FoldSource?
  private var hasLost = false
  private var dumpdir = Bytes()
  private var hasOwnEntry = false
  /// Directories whose deletions stock GNU tar cannot replay.
  private(set) var inexact: [Bytes] = []

  private enum Step {
    case canonical(Bytes, SetFoot.Counts)
    case note(StaticString, Bytes)
    case entry(Found)
  }

  /// An entry that the new set tells of.
  private struct Found {
    var entry: Entry
    /// Those of the folded archives that may have its tar entry, newest first.
    var sources: [FoldSource]
    /// The point that is built on has the same bytes at this path: they need not be stored.
    var isStoredBelow: Bool
    /// That point has the very same canonical line at this path.
    var isSameBelow: Bool
  }

  init(_ fold: Fold, _ head: SetHead, _ writer: FoldWriter) throws(Failure) {
    tree = try fold.series.tree(fold.sets + fold.older, checked: true)
    old = fold.older.isEmpty ? nil : try fold.series.tree(fold.older)
    parent = head.parent?.digest
    isFull = head.kind == .full
    let members = FoldShelf()
    var sources: [FoldSource] = []
    for set in fold.sets {
      sources.append(try FoldSource(set, in: fold.series, members, hasher, skipsDamage: fold.skipsDamage))
    }
    self.sources = sources
    base = isFull ? FoldBase(sources.last!, writer) : nil
    self.writer = writer
    shelf = ArchiveShelf(fold.series)
    progress = fold.progress
    above = SourceTree(head.sources)
  }

  func run() throws(Failure) {
    try nextOld()
    while try tree.advance() {
      try progress.checkCancelled()
      let line = tree.line
      if parentPath.map({ $0.withUnsafeBufferPointer { PathOrder.compareDirectories($0, line.parent) } != 0 }) ?? true {
        try begin(Bytes(line.parent))
      }
      let isInOld = try isOldHere(line)
      if tree.isPresent { try take(line, isInOld) } else { try takeGone(line, isInOld) }
      if isInOld { try nextOld() }
    }
    try endDirectory()
    try passEmpty(before: nil)
    try base?.leave()
    try writer.finish()
    if let parent, oldDigest.finish() != parent {
      throw .damaged("the manifests do not add up to the point that is built on")
    }
    for source in sources { try source.finish() }
    hasher.finish()
    for source in sources { try source.vouch() }
  }

  // MARK: - The point that is built on

  private func nextOld() throws(Failure) {
    guard let old else { return }
    hasOld = try old.next()
    if hasOld { oldDigest.add(old.line.canonical) }
  }

  /// The walk reads the older manifests too, so it meets every path of the older point: that reader is never left behind.
  private func isOldHere(_ line: Line) throws(Failure) -> Bool {
    guard hasOld, let old else { return false }
    return PathOrder.compare(old.line.path, old.line.parentLength, line.path, line.parentLength) == 0
  }

  // MARK: - Directories

  /// The names of `path` begin.
  private func begin(_ path: Bytes) throws(Failure) {
    try endDirectory()
    try passEmpty(before: path)
    parentPath = path
    directory = waiting.last?.path == path ? waiting.removeLast() : nil
    progress.current = path
    // A full set's directories lost nothing: what is in them need not wait.
    if isFull {
      if tree.isPresent, tree.line.kind != .directory { neighbour = archive(of: tree.line) }
      try putOwn()
    }
    if directory?.isGone == true { directory = nil }
  }

  /// Directories that nothing is in.
  private func passEmpty(before path: Bytes?) throws(Failure) {
    while let next = waiting.last, path.map({ PathOrder.compareDirectories(next.path, $0) < 0 }) ?? true {
      directory = waiting.removeLast()
      if directory!.isInNewSet || isFull { try putOwn() }
    }
    directory = nil
  }

  private func endDirectory() throws(Failure) {
    guard parentPath != nil else { return }
    if !isFull {
      let isTop = directory == nil
      if isTop, hasLost, parentPath == [] { inexact.append([]) }
      if !isTop, stores || hasLost || directory!.isInNewSet || !hasOwnEntry { try putOwn() }
      for step in block { try put(step) }
      block.removeAll(keepingCapacity: true)
    }
    for child in children.reversed() { waiting.append(child) }
    children.removeAll(keepingCapacity: true)
    directory = nil
    parentPath = nil
    neighbour = nil
    stores = false
    hasLost = false
    dumpdir = []
  }

  /// The directory's own tar entry.
  private func putOwn() throws(Failure) {
    guard let directory else { return }
    if directory.isGone { return try base?.leave() ?? () }
    hasOwnEntry = true
    var header = TarHeader(directory.entry, attributes: directory.entry.attributes)
    writer.carry(header)
    if hasLost {
      if above.names(above: directory.path) != nil || dumpdir.count >= Dumpdir.limit {
        inexact.append(directory.path)
      } else {
        header.dumpdir = dumpdir + [0]
      }
    }
    let path = directory.path
    // Where the first of the directory's names comes out of an archive that has the directory's entry before that name,
    // byte for byte the same, the two stay together.
    if let neighbour, neighbour !== base?.source, let slice = try neighbour.find(path, isDirectory: true),
      try slice.isEntry(header)
    {
      try base?.leave()
      return try writer.add(slice)
    }
    if try takeFromBase(path, isDirectory: true, nil, directory.sources, line: {}) { return }
    try base?.leave()
    _ = try writer.add(header)
  }

  /// For GNU tar: what belongs into the directory, as `Dumpdir.listing` has it.
  private func list(_ line: Line, _ isUnseen: Bool) {
    guard !isFull, dumpdir.count < Dumpdir.limit else { return }
    dumpdir.append(isUnseen ? UInt8(ascii: "N") : UInt8(ascii: line.kind == .directory ? "D" : "Y"))
    dumpdir += Bytes(line.name)
    dumpdir.append(0)
  }

  // MARK: - Paths

  private func step(_ step: Step) throws(Failure) { if isFull { try put(step) } else { block.append(step) } }

  /// The full set tells of something here that is left out of the new archive.
  private func leaveOut() throws(Failure) {
    guard let base, let line = tree.line(of: sources.count - 1), line.what == .entry else { return }
    guard line.kind == .directory else { return try base.leave() }
    // Its tar entry stands further on.
    guard let entry = line.entry() else { throw unreadable() }
    children.append(Directory(path: entry.path, entry: entry, isInNewSet: false, sources: [], isGone: true))
  }

  private func unreadable() -> Failure {
    .damaged("\(tree.manifest.name): line \(tree.manifest.lineNumber) cannot be read")
  }

  /// A path that is not in the point.
  private func takeGone(_ line: Line, _ isInOld: Bool) throws(Failure) {
    try leaveOut()
    var isUnseen = true
    var isUnseenHere = false
    for age in 0..<sources.count {
      guard let line = tree.line(of: age) else { continue }
      if line.what == .unseen { isUnseenHere = true } else { isUnseen = false }
    }
    if isInOld {
      // What is below something that went away needs no word of its own.
      var counts = SetFoot.Counts()
      counts.deleted = 1
      try step(.canonical([], counts))
      guard directory != nil || parentPath == [] else { return }
      hasLost = true
      try step(.note(ManifestSyntax.deleted, Bytes(line.path)))
    } else if isUnseenHere, isUnseen {
      list(line, true)
      var counts = SetFoot.Counts()
      counts.unseen = 1
      try step(.canonical([], counts))
      try step(.note(ManifestSyntax.unseen, Bytes(line.path)))
    }
  }

  private func take(_ line: Line, _ isInOld: Bool) throws(Failure) {
    let isFromFolded = tree.age < sources.count
    list(line, tree.isUnseen && !isFromFolded)
    // It became a directory or ceased to be one: GNU tar must take the old one away.
    if isInOld, (old!.line.kind == .directory) != (line.kind == .directory) { hasLost = true }
    var counts = SetFoot.Counts()
    counts.count(line)
    if tree.isUnseen { counts.unseen = 1 }
    if isFromFolded { if isInOld { counts.changed = 1 } else { counts.new = 1 } }
    if isFull {
      try writer.add(canonical: line.canonical, counts)
    } else {
      block.append(.canonical(Bytes(line.canonical), counts))
    }
    if !isFromFolded, (0..<sources.count).contains(where: { tree.line(of: $0)?.what == .unseen }) {
      try step(.note(ManifestSyntax.unseen, Bytes(line.path)))
    }
    guard isFromFolded || line.kind == .directory else { return }
    if try takeAsItIs(line) { return }
    guard var entry = line.entry() else { throw unreadable() }
    if tree.isUnseen, isFromFolded {
      entry.isCarried = false
      entry.isAdopted = true
    }
    // The new set has no moves, and tells each deletion below a folder: neither flag is needed.
    entry.isFresh = false
    entry.isMetadataOnly = false
    let archives = archives(with: line)
    // What the full set has here is left out, unless it is taken in a moment.
    if let base, line.kind == .directory ? !isDirectoryInBase : !archives.contains(where: { $0 === base.source }) {
      try leaveOut()
    }
    if line.kind == .directory {
      // What its tar entry says of a file system, or of names that are not known, may be otherwise by now.
      let isMarked = line.isMarked || tree.line(of: sources.count - 1)?.isMarked == true
      children.append(
        Directory(path: entry.path, entry: entry, isInNewSet: isFromFolded, sources: isMarked ? [] : archives))
    }
    guard isFromFolded else { return }
    var found = Found(entry: entry, sources: archives, isStoredBelow: false, isSameBelow: false)
    if isInOld {
      found.isSameBelow = old!.line.canonical.elementsEqual(line.canonical)
      if !entry.extents.isEmpty, isForeign(entry), let below = old!.line.entry(), below.digest == entry.digest,
        below.size == entry.size, below.isStoredSparse == entry.isStoredSparse, below.storedSize == entry.storedSize
      {
        // The older point's line says where they lie now: their set may have been folded since.
        found.isStoredBelow = true
        found.entry.extents = below.extents
        found.entry.isMetadataOnly = !found.isSameBelow
      }
    }
    stores = true
    if neighbour == nil, line.kind != .directory { neighbour = archive(of: line) }
    try step(.entry(found))
  }

  private var isDirectoryInBase: Bool {
    tree.line(of: sources.count - 1).map { $0.what == .entry && $0.kind == .directory } ?? false
  }

  /// The archive that most likely has the line's tar entry.
  private func archive(of line: Line) -> FoldSource? {
    guard let set = line.place?.extent.set else { return tree.age < sources.count ? sources[tree.age] : nil }
    return sources.first { $0.id == set }
  }

  /// What is told by the full set alone, or by a newer one with no more than another inode or change time, needs no
  /// closer look.
  private func takeAsItIs(_ line: Line) throws(Failure) -> Bool {
    guard let base, line.kind != .directory, line.links == 1, !line.hasHardLink, !tree.isUnseen,
      tree.age < sources.count
    else { return false }
    let place = line.place
    if tree.age != sources.count - 1 {
      // What a full set carries for a path that it could not look at is not in its archive.
      guard !line.isMetadataOnly, let there = tree.line(of: sources.count - 1), there.what == .entry,
        !there.isCarried, there.links == 1, there.canonical.elementsEqual(line.canonical),
        there.place?.extent == place?.extent
      else { return false }
    }
    guard place?.extent.set == base.source.id || (place == nil && (line.kind != .file || line.size == 0)) else {
      return false
    }
    let text = UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: line.text[..<(place?.start ?? line.text.count)]))
    let isTaken = try base.take(Bytes(line.path), isDirectory: false, place?.extent) {
      writer.add(text: text, place?.extent)
    }
    guard isTaken else { return false }
    progress.add(bytes: Int(truncatingIfNeeded: line.size))
    progress.add(files: 1)
    return true
  }

  /// Takes a tar entry from the full set, where that is one of `sources`.
  private func takeFromBase(
    _ path: Bytes, isDirectory: Bool, _ extent: Extent?, _ sources: [FoldSource], line: () -> Void
  ) throws(Failure) -> Bool {
    guard let base, sources.contains(where: { $0 === base.source }) else { return false }
    if let extent, tree.line(of: self.sources.count - 1)?.place?.extent != extent { return false }
    return try base.take(path, isDirectory: isDirectory, extent, line: line)
  }

  /// The archives that may have the line's tar entry, the newest first: their manifests have the same canonical line.
  private func archives(with line: Line) -> [FoldSource] {
    var found: [FoldSource] = []
    for (age, source) in sources.enumerated() {
      guard let other = tree.line(of: age), other.what == .entry, !other.isElsewhere, !other.isCarried else {
        continue
      }
      if age == tree.age || other.canonical.elementsEqual(line.canonical) { found.append(source) }
    }
    return found
  }

  // MARK: - Writing

  private func put(_ step: Step) throws(Failure) {
    switch step {
    case .canonical(let text, let counts):
      try writer.add(canonical: text, counts)
    case .note(let word, let path):
      let text = Buffer()
      ManifestSyntax.appendNote(word, path, to: text)
      writer.add(text: Bytes(text), isNote: true)
    case .entry(let found):
      if found.entry.kind == .directory { return writer.add(found.entry, .asEntrySays) }
      if let first = found.entry.hardLink, try putLink(found, to: first) { return }
      try putEntry(found)
    }
  }

  /// A later name of an inode. False where its first name is something else by now, so that it must be stored itself.
  private func putLink(_ found: Found, to path: Bytes) throws(Failure) -> Bool {
    let entry = found.entry
    let first = firsts[path]
    if let first {
      if first.remaining == 1 { firsts[path] = nil } else { firsts[path]!.remaining -= 1 }
      var same = first.entry
      same.path = entry.path
      same.hardLink = path
      let (text, canonical) = same.line
      guard entry.line.text.starts(with: text[..<canonical]) else { return false }
    } else if isFull || !isForeign(entry) {
      return false
    }
    let place: FoldWriter.Place = first?.place.map { .shared($0) } ?? .asEntrySays
    if try take(found, nil, line: { writer.add(entry, place) }) { return true }
    // Where the inode's first name is not stored anew and the older sets have this name as it is, no entry is needed.
    if first?.isStored == true || !found.isSameBelow { _ = try writer.add(TarHeader(entry, linkTo: path)) }
    writer.add(entry, place)
    return true
  }

  /// Whether no folded archive has its bytes.
  private func isForeign(_ entry: Entry) -> Bool {
    entry.extents.allSatisfy { extent in !sources.contains { $0.id == extent.set } }
  }

  /// Takes an entry from an archive that has it, and adds its line. `extent`: where its data lies, if it has any.
  /// False: none has it. Copying from the full set has been interrupted then (`FoldBase.leave`).
  private func take(_ found: Found, _ extent: Extent?, line: () -> Void) throws(Failure) -> Bool {
    let path = found.entry.path
    let sources = found.sources.filter { extent == nil || $0.id == extent!.set }
    if try takeFromBase(path, isDirectory: false, extent, sources, line: line) { return true }
    try base?.leave()
    for source in sources where source !== base?.source {
      guard let slice = try source.find(path, isDirectory: false), slice.size == extent?.length ?? 0,
        extent.map({ $0.offset == slice.member.offset && $0.inner == Int64(slice.data) }) ?? true
      else { continue }
      if Int64(slice.range.upperBound - slice.data) >= slice.size {
        try writer.add(slice)
        line()
        return true
      }
      if slice.range.lowerBound == 0 {
        try writer.copy(slice, line: line)
        return true
      }
    }
    return false
  }

  private func putEntry(_ found: Found) throws(Failure) {
    let entry = found.entry
    let hasPlace = entry.kind == .file && (entry.storedSize > 0 || entry.isStoredSparse)
    let isKept = hasPlace && found.isStoredBelow
    let isFirst = entry.links > 1 && entry.hardLink == nil
    let shared = isFirst && hasPlace && !isKept ? PackJob.Place() : nil
    var isStored = !isKept
    defer { if isFirst { firsts[entry.path] = (entry, shared, isStored, Int(entry.links) - 1) } }
    if isKept { return writer.add(entry, .asEntrySays, isNote: !found.isSameBelow) }
    let extent = entry.extents.first
    // A hard link is not taken as it is: it becomes a file of its own below.
    if entry.hardLink == nil, entry.extents.count == (hasPlace ? 1 : 0),
      try take(
        found, extent,
        line: {
          writer.add(entry, extent.map { .here(inner: Int($0.inner), shared: shared) } ?? .asEntrySays)
        })
    {
      return
    }
    try base?.leave()
    if entry.storedSize > 0 { return try pack(entry, shared) }
    if found.isSameBelow {
      isStored = false
      return writer.add(entry, .asEntrySays)
    }
    let inner = try writer.add(TarHeader(stored: entry))
    writer.add(entry, hasPlace ? .here(inner: inner, shared: shared) : .asEntrySays)
  }

  /// Stores a file's bytes anew, wherever they lie, when they have proved to be what they were.
  private func pack(_ entry: Entry, _ shared: PackJob.Place?) throws(Failure) {
    progress.add(bytes: Int(entry.storedSize))
    progress.add(files: 1)
    let header = TarHeader(stored: entry)
    if entry.storedSize <= Packer.smallLimit {
      let inner = try writer.add(header) { out throws(Failure) in
        try read(entry) { bytes throws(Failure) in out.append(bytes.baseAddress!, bytes.count) }
      }
      return writer.add(entry, .here(inner: inner, shared: shared))
    }
    try writer.pack(
      header, line: { writer.add(entry, .here(inner: $0, shared: shared)) },
      read: { give throws(Failure) in try read(entry, give) })
  }

  private func read(_ entry: Entry, _ give: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    try shelf.take(entry.extents)
    let hash = LogicalHash(entry, progress)
    for extent in entry.extents {
      try content.read(extent, of: try shelf.archive(extent.set)) { bytes throws(Failure) in
        hash.take(bytes)
        try give(bytes)
      }
    }
    guard hash.isComplete, hash.matches(entry.digest) else {
      throw .damaged("\(Show.path(entry.path)): its contents are not what was saved")
    }
  }
}
