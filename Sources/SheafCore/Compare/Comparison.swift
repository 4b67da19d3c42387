/// The heart of a backup: goes through the source and the point before it side by side, both in order, and finds out
/// what is new, changed, gone or could not be looked at.
import Posix
import Tar

/// Not for use from several threads.
final class Comparison {
  private let walk: Walk
  let old: OldTree?
  let sink: any PackSink
  let options: ComparisonOptions
  let reader: LargeReader
  private let lister: Lister
  private let purge: LargePurge
  let places: AbsentPlaces
  /// Asked once, when the first name is gone or new.
  private var finder: MoveFinder?
  let reporter: any Reporter
  private let progress: Progress

  /// Counts of all but what goes to the packers, which count that themselves.
  var counts = SetFoot.Counts()
  private(set) var unchanged: Int64 = 0
  private(set) var moved: Int64 = 0
  private(set) var excluded = 0
  /// How many of those that count as deleted are still there: the exclusions leave them out now.
  private(set) var newlyLeftOut: Int64 = 0
  /// Mount points whose file systems were left out.
  private(set) var fileSystemsLeftOut = 0
  /// Directories whose deletions stock GNU tar cannot replay.
  private(set) var inexact: [Bytes] = []

  private var hasOld = false
  /// Whether the old line is of the directory at hand.
  private var oldIsHere = false
  private var hasDiverged = false
  /// What makes GNU tar move what was moved; comes before the entries of the directory at hand.
  private var records: [PackItem] = []
  let scratch = Buffer()
  /// The last directory that was found to be left out now. What was known below it comes right after.
  private var directoryLeftOut: Bytes?
  /// Directories that could not be looked at: what is known of them stays.
  var unseenDirectories: [Bytes] = []
  /// Those of them that have lines of their own, which came before it was known that they could not be listed.
  var unlisted: [Bytes] = []
  /// Something was found to have been moved.
  var hasMoved: Bool { old?.hasMoves ?? false }
  /// Something could not be looked at, whether anything was known of it or not.
  var sawUnseen: Bool { !unseenDirectories.isEmpty || counts.unseen > 0 }
  /// Directories that are new or have changed, whose own entries are still to come, with their attributes.
  private var changedDirectories: [Bytes: [Attribute]] = [:]
  /// The file systems that begin at directories whose own entries are still to come.
  private var marks: [Bytes: FileSystemMark] = [:]
  /// Of the directory at hand.
  var mark: FileSystemMark?
  private var device: UInt64?
  /// Sources or mount points may be among its names.
  private var mayHoldPlaces = false
  /// Names that are gone from it and are not deleted.
  private var kept: [Bytes] = []
  /// Directories with such names.
  private var keeping: Set<Bytes> = []
  var groups = LinkGroups()
  private var lost: [Bytes] = []
  /// A name's entry was moved away; nothing is there.
  private var lostToMove = false
  /// Names that were a directory and now are something else, or the other way round.
  private var swapped: [Bytes] = []
  /// Names that could not be looked at although the listing has them.
  private var unseenNames: Set<Bytes> = []
  /// At least one directory has a tar entry: Python's tarfile takes an archive without any for none.
  var hasOwnEntry = false
  private var stores = false
  private var check: EntryCheck

  init(
    walk: Walk, old: PointReader?, lister: Lister, to sink: any PackSink, _ options: ComparisonOptions,
    reader: LargeReader, finder: MoveFinder?, places: AbsentPlaces, reporter: any Reporter, progress: Progress
  ) {
    self.walk = walk
    self.old = old.map { OldTree($0) }
    self.lister = lister
    self.finder = finder
    check = EntryCheck(options, lister.root)
    self.sink = sink
    self.options = options
    self.reader = reader
    purge = LargePurge(lister: lister)
    self.places = places
    self.reporter = reporter
    self.progress = progress
    if options.isFull || old == nil { diverge() }
  }

  /// Compares everything. Gives the old point's digest, as it was read.
  func run() throws(Failure) -> Digest? {
    try advance()
    while let (listing, status) = walk.next() {
      try progress.checkCancelled()
      try compare(listing, status)
    }
    while hasOld { try passOrphan() }
    try end(nil)
    return old?.finishDigest()
  }

  // MARK: - The old point

  private func advance() throws(Failure) {
    guard let old else { return }
    hasOld = try old.next()
  }

  /// Called at the first name that is gone or new: from here on the old point has what was moved at its new place. True:
  /// something was moved, and the old line at hand may be another one now.
  private func beginMoves() throws(Failure) -> Bool {
    guard let finder = self.finder, let old else { return false }
    self.finder = nil
    guard let found = try finder.find(lister, beside: walk) else { return false }
    diverge()
    hasOld = try old.begin(found.lines)
    records = found.records
    counts.deleted += found.lines.gaveWay
    return true
  }

  private func end(_ own: PackItem?, before: [PackItem] = []) throws(Failure) {
    try sink.endDirectory(before: records + before, own: own)
    records = []
  }

  /// The point begins to differ: what was hashed so far is common to both, but for the old line at hand. A full point's
  /// digest owes nothing to the one before.
  func diverge() {
    guard !hasDiverged else { return }
    hasDiverged = true
    sink.diverge(from: options.isFull ? SHA256() : old?.digestSoFar() ?? SHA256())
  }

  /// An old line whose directory is not there any more, or could not be looked at.
  private func passOrphan() throws(Failure) {
    let parent = Bytes(old!.line.parent)
    if old!.isVacated {
      addNote(ManifestSyntax.deleted, Bytes(old!.line.path))
    } else if places.keeps(parent) || unseenDirectories.contains(where: { parent.isAtOrBelow($0) }) {
      keepUnseen()
    } else {
      diverge()
      countLost(Bytes(old!.line.path), old!.line.kind, isLeftOut: directoryLeftOut.map(parent.isAtOrBelow) ?? false)
    }
    try advance()
  }

  private func countLost(_ path: Bytes, _ kind: FileKind, isLeftOut: Bool) {
    counts.deleted += 1
    if isLeftOut { newlyLeftOut += 1 }
    if reporter.wantsItems { reporter.item(isLeftOut ? .leftOut : .deleted, path, kind) }
  }

  private func addNote(_ note: StaticString, _ path: Bytes) {
    let text = Buffer()
    ManifestSyntax.appendNote(note, path, to: text)
    sink.add(.line(text: Bytes(text), canonical: 0, isNote: true), estimate: 0)
  }

  /// What the old point tells of the name at hand.
  func before() -> Before {
    let old = old!
    if old.isVacated { return Before(isOther: true) }
    return Before(
      line: Bytes(old.line.text), isElsewhere: old.isElsewhere, isUnseen: old.isUnseen, isOther: old.move != nil)
  }

  @inline(__always)
  private func isIn(_ directory: Bytes) -> Bool {
    guard hasOld else { return false }
    let line = old!.line
    return directory.withUnsafeBufferPointer { PathOrder.compareNames(line.parent, $0) } == 0
  }

  // MARK: - One directory

  private func compare(_ listing: Listing, _ status: Status?) throws(Failure) {
    while hasOld, listing.path.withUnsafeBufferPointer({ PathOrder.compareDirectories(old!.line.parent, $0) }) < 0 {
      try passOrphan()
    }
    excluded += listing.excluded
    for socket in listing.sockets { reporter.note("\(Show.path([47] + listing.path.joined(socket))): socket skipped") }
    if listing.holdsStore {
      reporter.note("the store lies in \(Show.path([47] + listing.path)) and is not backed up into itself")
    }
    let attributes = changedDirectories.removeValue(forKey: listing.path)
    mark = marks.isEmpty ? nil : marks.removeValue(forKey: listing.path)
    device = status?.device ?? (listing.device == 0 ? nil : listing.device)
    mayHoldPlaces = places.mayHoldPlaces(listing)
    if listing.isBoundary {
      fileSystemsLeftOut += 1
      reporter.note("\(Show.path([47] + listing.path)): what is mounted there is left out")
    }
    var failure = listing.failure
    if let device, listing.device != 0, listing.device != device, !places.isMounted(listing.path) {
      failure = .replaced(listing.path)
    }
    if let failure {
      reporter.problem(failure.asProblem, path: listing.path)
      unseenDirectories.append(listing.path)
      return try end(unlistedEntry(listing, status, attributes))
    }
    lost.removeAll(keepingCapacity: true)
    lostToMove = false
    swapped.removeAll(keepingCapacity: true)
    unseenNames.removeAll(keepingCapacity: true)
    kept.removeAll(keepingCapacity: true)
    stores = false
    if listing.isUnsettled {
      reporter.problem("changes as fast as it is listed: what was not found there is kept", path: listing.path)
    }
    oldIsHere = isIn(listing.path)
    for index in listing.items.indices {
      var order = try passLost(before: index, listing)
      let item = listing.items[index]
      if finder != nil, order != 0 || isReplaced(item, listing), try beginMoves() {
        oldIsHere = isIn(listing.path)
        order = try passLost(before: index, listing)
      }
      if order == 0 {
        try compare(index, item, listing)
        try advance()
        oldIsHere = isIn(listing.path)
      } else {
        try add(index, item, listing, before: Before())
      }
    }
    while oldIsHere { try lose(listing) }
    progress.add(entries: listing.items.count)
    progress.current = listing.path
    try endDirectory(listing, status, attributes)
  }

  /// Passes the old names that sort before the item's, which are gone; how the next compares with it.
  @inline(__always)
  private func passLost(before index: Int, _ listing: Listing) throws(Failure) -> Int {
    while oldIsHere {
      let order = listing.withName(listing.items[index]) { PathOrder.compareNames(old!.line.name, $0) }
      if order >= 0 { return order }
      try lose(listing)
    }
    return 1
  }

  /// Passes an old name that is not there any more.
  private func lose(_ listing: Listing) throws(Failure) {
    if finder != nil, try beginMoves() {
      oldIsHere = isIn(listing.path)
      return
    }
    let line = old!.line
    diverge()
    let path = Bytes(line.path)
    if line.kind == .directory { try places.lookForLost() }
    if !old!.isVacated, listing.isUnsettled || places.keeps(listing.path) || places.isAbsent(lost: line) {
      kept.append(Bytes(line.name))
      if line.kind == .directory, !places.keeps(listing.path) { unseenDirectories.append(path) }
      addUnseen(path, before: before())
      try advance()
      oldIsHere = isIn(listing.path)
      return
    }
    if !options.isFull { addNote(ManifestSyntax.deleted, path) }
    if old!.isVacated {
      lostToMove = true
    } else {
      let isLeftOut = listing.leavesOut(line.name)
      if isLeftOut, line.kind == .directory { directoryLeftOut = path }
      lost.append(Bytes(line.name))
      countLost(path, line.kind, isLeftOut: isLeftOut)
    }
    try advance()
    oldIsHere = isIn(listing.path)
  }

  /// Whether the name is another inode's.
  private func isReplaced(_ item: Listing.Item, _ listing: Listing) -> Bool {
    item.failure == 0 && item.status.inode != old!.line.inode
      && check.inodes.areStable(item.status.device, listing.path)
  }

  private func endDirectory(_ listing: Listing, _ status: Status?, _ attributes: [Attribute]?) throws(Failure) {
    // The top has no entry of its own that could tell what it lost.
    if status == nil, !options.isFull, !lost.isEmpty { inexact.append(listing.path) }
    if listing.isUnsettled, status != nil { unlisted.append(listing.path) }
    if !kept.isEmpty { keeping.insert(listing.path) }
    let isTold =
      attributes != nil || stores || lostToMove || !lost.isEmpty || options.isFull || !hasOwnEntry
      || listing.isUnsettled
    // What was not looked at has no entry: tar would set its time, and delete what is kept.
    guard let status, isTold, !places.isHeld(listing.path) else { return try end(nil) }
    hasOwnEntry = true
    var dumpdir = Bytes()
    var before: [PackItem] = []
    if !options.isFull, !lost.isEmpty || !swapped.isEmpty {
      if listing.isAboveSource {
        inexact.append(listing.path)
      } else {
        dumpdir = Dumpdir.listing(listing, without: lost, unseen: unseenNames, kept: kept)
        if dumpdir.count > Dumpdir.limit {
          dumpdir = []
          if !keeping.contains(listing.path.splitAtName.parent),
            let entries = purge.entries(of: lost + swapped, in: listing.path)
          {
            before = entries
          } else {
            inexact.append(listing.path)
          }
        }
      }
    }
    try end(
      .directory(
        path: listing.path, status: status, attributes: attributes, dumpdir: dumpdir,
        comment: TarHeader.comment(ofDirectory: listing.isUnsettled, mark)), before: before)
  }

  // MARK: - One entry

  private func compare(_ index: Int, _ item: Listing.Item, _ listing: Listing) throws(Failure) {
    if item.failure != 0 || old!.isVacated { return try add(index, item, listing, before: before()) }
    let line = old!.line
    var isMarkedAnew = false
    if line.kind == .directory,
      mayHoldPlaces || line.hasFileSystem || AbsentPlaces.mayBePlaceholder(item) || item.status.kind != .directory
    {
      let path = Bytes(line.path)
      let marked = line.fileSystem
      if item.status.kind != .directory {
        try places.lookForLost()
        if places.isAbsent(lost: line) {
          diverge()
          unseenDirectories.append(path)
          unseenNames.insert(listing.name(item))
          return addUnseen(path, before: before())
        }
      } else if !item.isAbove, try places.isAbsent(path, item, around: device, before: marked, wasUnseen: old!.isUnseen)
      {
        diverge()
        return addUnseen(path, before: before())
      } else {
        let mark = places.mark(path, item, around: device)
        marks[path] = mark
        isMarkedAnew = mark != marked
      }
    }
    if (line.kind == .directory) != (item.status.kind == .directory) {
      let entry = PackEntry(listing: listing, index: index, before: before())
      if let failure = reader.failure(opening: entry) {
        // What was in the directory is known still, and nothing is known of what took its place.
        unreadable(entry, failure)
        unseenDirectories.append(entry.path)
        unseenNames.insert(listing.name(item))
        return
      }
      swapped.append(listing.name(item))
    }
    var verdict = check.verdict(line, isMoved: old!.move != nil, item.status, in: listing.path)
    if item.isMade { verdict = check.isSame(index, item, listing, line) ? .same : .different }
    if isMarkedAnew, verdict == .same { verdict = .look }
    if options.isFull {
      // Stored all the same, but nothing that a person would call a change.
      let isSame = verdict == .same
      return try add(index, item, listing, before: before(), isUnchanged: isSame)
    }
    // A copy that only an older chain has: now that it can be seen, this chain gets its own.
    if line.isCarried {
      // Tar makes it anew, which changes the time of the directory around it.
      stores = true
      return try add(index, item, listing, before: before(), isUnchanged: verdict == .same)
    }
    if verdict == .same, item.status.links == 1 || item.status.kind == .directory { return keep(item) }
    try add(
      index, item, listing, before: before(), onlyIfDifferent: verdict == .look, isSame: verdict == .same)
  }

  /// The old line holds for the item. Where older sets do not have it so, or could not look at it, it is written.
  @inline(__always)
  private func keep(_ item: Listing.Item) {
    let old = old!
    counts.count(old.line)
    if old.isElsewhere || old.isUnseen {
      diverge()
      let line = old.line
      var text = Bytes(line.text)
      text.append(10)
      // No entry of the archive says that it can be seen again.
      sink.add(.line(text: text, canonical: line.canonicalLength, isNote: !old.isElsewhere), estimate: 0)
      tellKept(Bytes(line.path), line.kind, isElsewhere: old.isElsewhere)
      return
    }
    if !item.isAbove { unchanged += 1 }
    if hasDiverged { sink.keep(old.line.canonical) }
  }

  /// What the old line tells still holds, but the new set has another line for it: `text`.
  func keep(_ entry: PackEntry, _ kind: FileKind, as text: Bytes, canonical: Int) {
    diverge()
    sink.add(.line(text: text, canonical: canonical, isNote: entry.before.isUnseen), estimate: 0)
    counts.count(old!.line)
    tellKept(entry.path, kind, isElsewhere: entry.before.isElsewhere)
  }

  private func tellKept(_ path: Bytes, _ kind: FileKind, isElsewhere: Bool) {
    guard isElsewhere else {
      unchanged += 1
      return
    }
    moved += 1
    if reporter.wantsItems { reporter.item(.moved, path, kind) }
  }

  private func add(
    _ index: Int, _ item: Listing.Item, _ listing: Listing, before: Before, onlyIfDifferent: Bool = false,
    isSame: Bool = false, isUnchanged: Bool = false
  ) throws(Failure) {
    if item.failure != 0 { return try unseen(index, item, listing, before) }
    reader.forget()
    var entry = PackEntry(listing: listing, index: index, before: before, onlyIfDifferent: onlyIfDifferent)
    entry.isUnchanged = isUnchanged
    var isSame = isSame
    if item.status.kind == .directory {
      if mayHoldPlaces {
        entry.fileSystem = places.mark(entry.path, item, around: device)
        marks[entry.path] = entry.fileSystem
      }
      if !isSame {
        do throws(SystemError) {
          entry.attributes = try reader.attributes(ofDirectory: listing.name(item), in: listing.path)
          changedDirectories[entry.path] = entry.attributes
        } catch {
          unreadable(entry, error)
          return
        }
      }
    } else if item.status.links > 1 {
      switch joinGroup(&entry, isSame: isSame) {
      case .done: return
      case .same: isSame = true
      case .store: isSame = false
      }
    }
    if isSame { return keep(item) }
    diverge()
    let mayLagBehind = !item.isMade && mayLagBehind(entry)
    if entry.onlyIfDifferent || mayLagBehind, !options.readsNothing, item.status.kind == .file,
      item.status.size > Packer.smallLimit,
      let kept = reader.refreshedIfEqual(entry, orMetadata: mayLagBehind)
    {
      let isChanged = kept.entry.isMetadataOnly
      sink.add(
        .line(text: kept.text, canonical: kept.canonical, isNote: isChanged || before.isUnseen), estimate: 0)
      counts.count(self.old!.line)
      stores = stores || before.isOther
      if isChanged {
        counts.changed += 1
        if reporter.wantsItems { reporter.item(.changed, entry.path, .file) }
      } else {
        tellKept(entry.path, .file, isElsewhere: before.isElsewhere)
      }
      return
    }
    if onlyIfDifferent, reader.hasOtherContents, !parsed(entry.old!, \.mustReread) { reporter.suspectRot(entry.path) }
    // What is only looked at may prove the same; its directory's entry costs little.
    if item.status.kind != .directory || onlyIfDifferent || before.isOther || before.line == nil { stores = true }
    sink.add(
      .entry(entry),
      estimate: entry.isLink || item.status.kind != .file ? 1024 : 1024 + Int(min(item.status.size, Packer.smallLimit)))
  }

  /// Whether a file that differs may do so in its metadata alone, which then is all that is written.
  private func mayLagBehind(_ entry: PackEntry) -> Bool {
    guard let line = entry.old, !options.isFull, !options.storesMetadata, entry.item.status.links == 1 else {
      return false
    }
    // A copy that only an older chain has is stored, whatever it proves to be.
    return parsed(line) {
      $0.kind == .file && $0.size == entry.item.status.size && !$0.hasHardLink && !$0.isCarried
    }
  }
}
