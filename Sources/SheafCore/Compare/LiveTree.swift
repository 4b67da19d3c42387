/// The sources as they are now, as the runs of a series would see them: entry by entry, in the order of a manifest.
import Posix
import Tar

/// Not for use from several threads.
final class LiveTree {
  private let root: SourceRoot
  private let walk: Walk
  private let top: Bytes
  private let sources: [Bytes]
  private let look: SourceLook
  private let readsContents: Bool
  private let reporter: any Reporter
  private let places: AbsentPlaces
  /// Of the directory at hand: its device, and whether sources or mount points may be among its names.
  private var device: UInt64?
  private var mayHoldPlaces = false
  private let progress: Progress
  private let hasher = SHA256()
  private let buffer = Buffer(capacity: 1 << 20)

  private var listing: Listing?
  private var index = 0
  /// The entry at hand.
  private(set) var path = Bytes()
  private(set) var parentLength = 0
  /// It could not be looked at; that was told to the reporter.
  private var isUnseen = false
  private var item = Listing.Item(nameStart: 0, nameLength: 0, failure: 0, status: .unknown)
  private var status: Status { item.status }
  /// Directories that could not be looked at.
  private var unseen = DirectoryTable<Void>()
  /// First names of the inodes that have several.
  private var firsts: [FileIdentity: Bytes] = [:]
  private struct FileIdentity: Hashable {
    var device: UInt64
    var inode: UInt64
  }

  /// `head`: of the set that says what the sources are and what is left out. `top`: nothing but what is at or below it.
  /// `before`: the point that they are compared with.
  /// `readsContents`: also of files that look unchanged.
  init(
    like head: SetHead, at top: Bytes, store: Status?, readsContents: Bool,
    before: PointBefore, reporter: any Reporter, progress: Progress,
    clock: @escaping @Sendable () -> Timestamp
  ) throws(Failure) {
    root = try system { () throws(SystemError) in try SourceRoot() }
    self.top = top
    self.readsContents = readsContents
    self.reporter = reporter
    self.progress = progress
    look = SourceLook(owners: OwnerNames(), reporter: Silence(), clock: clock)
    var exclusions = ExclusionRules(lines: head.exclusions)
    if let unknown = exclusions.unknown.first {
      throw .damaged("what the point left out cannot be understood: \(Show.path(unknown))")
    }
    exclusions.sources = head.sources
    let rules = WalkRules(exclusions: exclusions, store: store.map { ($0.device, $0.inode) })
    sources = head.sources
    let wanted = sources.contains { top.isAtOrBelow($0) } ? [top] : sources.filter { $0.isAtOrBelow(top) }
    // What commands and standard input gave is nowhere now.
    let streams = head.streams.filter { $0.isAtOrBelow(top) || top.isAtOrBelow($0) }
    let table = try StreamTable(Dictionary(uniqueKeysWithValues: Set(streams).map { ($0, .notGiven) }), now: clock()) {
      (_) throws(Failure) in nil
    }
    walk = Walk(
      Lister(root: root, rules: rules, sources: SourceTree(wanted, streams: streams), streams: table),
      threads: processorCount())
    places = AbsentPlaces(
      Lister(root: root, rules: rules, sources: SourceTree(sources), streams: table), gone: [], point: before,
      reporter: reporter)
  }

  /// Whether what the point has in that directory could not be looked at. Asked in order.
  func isUnseen(in directory: Bytes) -> Bool { unseen.first(above: directory) { _, _ in true } ?? false }

  /// Goes to the next entry; false at the end.
  func next() throws(Failure) -> Bool {
    while true {
      guard let listing, index < listing.items.count else {
        try progress.checkCancelled()
        guard let (next, above) = walk.next() else { return false }
        if let failure = next.failure {
          reporter.problem(failure.asProblem, path: next.path)
          unseen.add(next.path, ())
        }
        listing = next
        index = 0
        device = above?.device ?? (next.device == 0 ? nil : next.device)
        mayHoldPlaces = places.mayHoldPlaces(next)
        progress.add(entries: next.items.count)
        progress.current = next.path
        continue
      }
      item = listing.items[index]
      index += 1
      path = listing.path.joined(listing.name(item))
      parentLength = listing.path.count
      isUnseen = item.failure != 0
      if isUnseen {
        let cause = SystemError("look at", path, item.failure)
        // On the way to `top`: a source that is not there may be away, what is not there in a source is gone.
        if item.isMade {
          unseen.add(path, ())
          guard path.isAtOrBelow(top) else { continue }
          return true
        }
        if cause.isMissing, listing.isAboveSource, !sources.contains(where: { $0.isAtOrBelow(path) }) { continue }
        reporter.problem(cause.isMissing ? "is not there" : "cannot look at it: \(cause.cause)", path: path)
        unseen.add(path, ())
      }
      guard path.isAtOrBelow(top) else { continue }
      if !isUnseen, status.kind != .directory, status.links > 1 {
        let identity = FileIdentity(device: status.device, inode: status.inode)
        if firsts[identity] == nil { firsts[identity] = path }
      }
      return true
    }
  }

  /// Whether the directory at hand, which the line tells of, is not what it was because its file system is not mounted
  /// any more, or its source is empty all of a sudden; what was in it is unseen then. Told to the reporter.
  func isAbsent(_ line: Line, wasUnseen: Bool) throws(Failure) -> Bool {
    guard line.kind == .directory, !isUnseen,
      mayHoldPlaces || line.hasFileSystem || AbsentPlaces.mayBePlaceholder(item) || status.kind != .directory
    else { return false }
    guard status.kind == .directory else { return try isAbsent(lost: line) }
    let path = Bytes(line.path)
    guard !item.isAbove,
      try places.isAbsent(path, item, around: device, before: line.fileSystem, wasUnseen: wasUnseen)
    else { return false }
    unseen.add(path, ())
    return true
  }

  /// The same of one that is not there.
  func isAbsent(lost line: Line) throws(Failure) -> Bool {
    if line.kind == .directory { try places.lookForLost() }
    guard places.isAbsent(lost: line) else { return false }
    unseen.add(Bytes(line.path), ())
    return true
  }

  /// The same of a directory above the top.
  func lookAbove(_ entry: Entry) throws(Failure) {
    let (parent, name) = entry.path.splitAtName
    guard let folder = try? root.openBeneath(parent, [.pathOnly, .directory]), let device = try? folder.status().device,
      let status = try? folder.status(of: name), status.kind == .directory
    else {
      if places.isAbsent(lost: entry.path, entry.fileSystem) { unseen.add(entry.path, ()) }
      return
    }
    let item = Listing.Item(nameStart: 0, nameLength: 0, failure: 0, status: status)
    if try places.isAbsent(entry.path, item, around: device, before: entry.fileSystem, wasUnseen: false) {
      unseen.add(entry.path, ())
    }
  }

  /// Whether the first names of all inodes are known. Of a part of the tree they are not: they may lie outside of it.
  var hasFirstNames: Bool { top.isEmpty }

  /// Whether the entry at hand is what the line says, as far as its status tells, so that a look into it can be spared.
  /// True as well where the entry could not be looked at.
  func isAs(_ line: Line) -> Bool {
    if isUnseen || item.isMade && line.kind == .directory { return true }
    let s = status
    guard line.kind == s.kind, line.modified == s.modified, line.changed == s.changed, line.mode == s.mode,
      line.uid == s.uid, line.gid == s.gid, s.kind != .file || line.size == s.size, !line.hasHardLink || s.links > 1
    else { return false }
    return !line.mustReread && !(readsContents && s.kind == .file)
  }

  /// The entry at hand, with its digest where that decides whether it is still `old`. nil where it could not be
  /// looked at or into, which the reporter was told.
  func entry(comparedWith old: Entry?) -> Entry? {
    if isUnseen { return nil }
    do throws(SystemError) {
      var entry = try described(comparedWith: old)
      if entry.links > 1 {
        let first = firsts[FileIdentity(device: status.device, inode: status.inode)]
        entry.hardLink = first == path ? nil : first
      }
      return entry
    } catch {
      reporter.problem(error.asUnseen, path: path)
      return nil
    }
  }

  private func described(comparedWith old: Entry?) throws(SystemError) -> Entry {
    let (parent, name) = path.splitAtName
    switch status.kind {
    case .directory:
      var entry = look.entry(path, status)
      entry.attributes = try root.openBeneath(parent, [.pathOnly, .directory]).attributes(of: name)
      return entry
    case .file:
      let file = try root.openBeneath(path, [.read, .noFollow, .nonBlocking, .noAccessTime])
      let (status, entry) = try look.entry(path, of: file)
      guard readsContents || old?.kind == .file && old?.size == status.size else { return entry }
      return try hashed(entry, file)
    default:
      return try look.entry(path, status, named: name, in: root.openBeneath(parent, [.pathOnly, .directory]))
    }
  }

  private func hashed(_ entry: Entry, _ file: Descriptor) throws(SystemError) -> Entry {
    var position: Int64 = 0
    hasher.restart()
    while true {
      let read = try file.read(into: buffer.start, count: buffer.capacity, at: position)
      if read == 0 { break }
      hasher.update(buffer.start, read)
      position += Int64(read)
      progress.add(bytes: read)
    }
    progress.add(files: 1)
    var entry = entry
    entry.digest = hasher.finish()
    return entry
  }
}
