/// Finds out where a file system that was there for the point before is not there any more: what a directory held is
/// unseen then, and not deleted.
import Posix

/// What the point before tells of single directories.
struct PointBefore {
  let series: Series
  let chain: [SetName]

  /// The names it has directly in a directory; those alone that it could not look at, where there are such: others may
  /// have been put there while what belongs there was away.
  func names(_ directory: Bytes) throws(Failure) -> [Bytes] { try series.names(in: directory, of: chain) }
  func entry(_ path: Bytes) throws(Failure) -> Entry? { try series.entry(at: path, of: chain) }
  func has(_ path: Bytes) throws(Failure) -> Bool {
    let (tree, _) = try series.tree(chain, from: path)
    return try tree.next() && Bytes(tree.line.path).isAtOrBelow(path)
  }
  func tree() throws(Failure) -> PointReader { try series.tree(chain) }
}

/// Shared by a comparison and its look for what was moved, one after the other.
final class AbsentPlaces {
  private let lister: Lister
  /// What the user says is gone for good.
  private let gone: [Bytes]
  private let point: PointBefore?
  private let reporter: any Reporter
  private let rootDevice: UInt64?
  private var mounts: MountTable?
  /// What was found out of a directory.
  private var judged: [Bytes: Bool] = [:]
  /// Directories of which something that is gone now was not deleted.
  private(set) var held: [Bytes] = []
  /// The uppermost directories that are gone with mount points in them: all that was in them is kept.
  private(set) var lost: Set<Bytes> = []
  private var hasLookedForLost = false

  init(_ lister: Lister, gone: [Bytes], point: PointBefore?, reporter: any Reporter) {
    self.lister = lister
    self.gone = gone
    self.point = point
    self.reporter = reporter
    rootDevice = try? lister.root.status().device
    mounts = MountTable.current()
  }

  /// Whether names in this directory may have to be looked at more closely: sources or mount points are among them.
  func mayHoldPlaces(_ listing: Listing) -> Bool {
    listing.isAboveSource || !lister.sources.names(inside: listing.path).isEmpty
      || (mounts.map { $0.hasMounts(in: lister.root.place(of: listing.path)) } ?? true)
  }

  /// Whether what is gone from a directory, at whatever depth below one that is held, is to be kept.
  func keeps(_ directory: Bytes) -> Bool {
    !held.isEmpty && held.contains { directory.isAtOrBelow($0) } && !isGone(directory)
  }

  func isGone(_ path: Bytes) -> Bool { gone.contains { path.isAtOrBelow($0) } }

  func isHeld(_ path: Bytes) -> Bool { !held.isEmpty && held.contains(path) }

  /// Which file system begins at an entry of a directory, or holds it where it is a source; nil where there is nothing
  /// to be said. `around`: the device of the directory it is in.
  func mark(_ path: Bytes, _ item: Listing.Item, around device: UInt64?) -> FileSystemMark? {
    guard item.failure == 0, item.status.kind == .directory, !item.isAbove, !lister.root.isMappedTop(path) else {
      // Each snapshot is another file system.
      return nil
    }
    return mark(path, on: item.status.device, around: device)
  }

  private func mark(_ path: Bytes, on own: UInt64, around device: UInt64?) -> FileSystemMark? {
    // Subvolumes of btrfs have devices of their own and are no mount points: they come and go with their data.
    let place = lister.root.place(of: path)
    let isTop = mounts.map { $0.mount(at: place) != nil } ?? (device.map { $0 != own } ?? false)
    let isElsewhere = lister.sources.isSource(path) && own != rootDevice
    guard isTop || isElsewhere, let here = try? lister.root.openBeneath(path, [.pathOnly, .directory]) else {
      return nil
    }
    let mount = mounts?.mount(of: place)
    var identity = here.fileSystemIdentity(mount?.0)
    // Where only the type is known, what lies on the next mount point below would look the same.
    if !isTop, !identity.contains(UInt8(ascii: "-")), let mount { identity += Bytes("@/") + mount.at }
    return FileSystemMark(isTop: isTop, identity: identity)
  }

  /// Whether what `item` held is not there, though nobody deleted it. Says so the first time. `before`, `wasUnseen`: what
  /// the point before tells of it.
  func isAbsent(
    _ path: Bytes, _ item: Listing.Item, around device: UInt64?, before: FileSystemMark?, wasUnseen: Bool
  ) throws(Failure) -> Bool {
    if let known = judged[path] { return known }
    if isGone(path) { return false }
    if before != nil { mounts = MountTable.current() }
    let reason =
      try isPlaceholder(path, item)
      ? "is a subvolume, which this snapshot does not have"
      : reason(path, mark(path, item, around: device), before, wasUnseen)
    judged[path] = reason != nil
    if let reason {
      held.append(path)
      report(path, reason)
    }
    return reason != nil
  }

  /// Whether what a source, or the directory of a mark, held in the point before is away, as far as that can be told from
  /// itself alone. Says nothing.
  func isAway(_ path: Bytes, _ before: FileSystemMark?) throws(Failure) -> Bool {
    if isGone(path) { return false }
    guard let here = try? lister.root.openBeneath(path, [.pathOnly, .directory]), let own = try? here.status().device
    else { return before?.isTop == true || lister.sources.isSource(path) }
    let above = try? lister.root.openBeneath(path.splitAtName.parent, [.pathOnly, .directory])
    let around = above.flatMap { try? $0.status().device }
    return try reason(path, mark(path, on: own, around: around), before, false) != nil
  }

  /// Whether a directory may stand for a subvolume that is not there.
  static func mayBePlaceholder(_ item: Listing.Item) -> Bool {
    item.failure == 0 && item.status.kind == .directory && item.status.inode == 2
  }

  /// Of a snapshot, btrfs shows the subvolumes that were in it as empty directories with this number.
  private func isPlaceholder(_ path: Bytes, _ item: Listing.Item) throws(Failure) -> Bool {
    guard Self.mayBePlaceholder(item), let here = try? lister.root.openBeneath(path, [.pathOnly, .directory]),
      here.isBtrfs, isEmpty(path)
    else { return false }
    return try !names(path).isEmpty
  }

  private func reason(
    _ path: Bytes, _ now: FileSystemMark?, _ before: FileSystemMark?, _ wasUnseen: Bool
  ) throws(Failure) -> String? {
    if let before, !lister.root.isMappedTop(path),
      now?.identity != before.identity || before.isTop && now?.isTop == false
    {
      // What was a source and is part of another one now.
      if !before.isTop, !lister.sources.isSource(path) { return nil }
      let known = try names(path)
      if known.isEmpty { return nil }
      if before.isTop, now?.isTop != true { return "was a file system of its own and is not mounted" }
      if now == nil { return "lay on another file system, which is not mounted" }
      return holds(path, anyOf: known)
        ? nil : "is on another file system than before, and nothing of what it held is there"
    }
    guard lister.sources.isSource(path), wasUnseen || isEmpty(path) else { return nil }
    let known = try names(path)
    if known.isEmpty || holds(path, anyOf: known) { return nil }
    return isEmpty(path) ? "is empty, and was not in the point before" : "holds nothing of what it once held"
  }

  private func isEmpty(_ path: Bytes) -> Bool {
    (try? lister.root.openBeneath(path, [.read, .directory]).holdsNothing()) == true
  }

  private func holds(_ path: Bytes, anyOf names: [Bytes]) -> Bool {
    guard let folder = try? lister.root.openBeneath(path, [.pathOnly, .directory]) else { return true }
    return names.contains { !Self.isOfEveryDrive($0) && (try? folder.status(of: $0)) != nil }
  }

  /// What systems put on each drive by themselves, which tells none from another.
  private static func isOfEveryDrive(_ name: Bytes) -> Bool {
    let common = ["lost+found", "System Volume Information", "$RECYCLE.BIN", "RECYCLER", "found.000", "autorun.inf"]
    let hidden = [".Trash", ".Spotlight-V100", ".fseventsd", ".TemporaryItems", ".DocumentRevisions-V100", "._."]
    return common.contains { name == Bytes($0.utf8) } || hidden.contains { name.starts(with: Bytes($0.utf8)) }
  }

  private func report(_ path: Bytes, _ reason: String) {
    let name = Show.word([47] + path)
    reporter.problem("\(reason): what was in it is kept (if it is gone for good: --gone \(name))", path: path)
  }

  private func names(_ directory: Bytes) throws(Failure) -> [Bytes] { try point?.names(directory) ?? [] }

  /// Of a mount point that is gone with what was mounted there: whether it is to be kept. Says so the first time.
  func isAbsent(lost line: Line) -> Bool {
    guard line.kind == .directory else { return false }
    let path = Bytes(line.path)
    return lost.contains(path) || line.hasFileSystem && isAbsent(lost: path, line.fileSystem)
  }

  func isAbsent(lost path: Bytes, _ mark: FileSystemMark?) -> Bool {
    guard let mark, mark.isTop else { return false }
    if let known = judged[path] { return known }
    let isKept = !isGone(path) && !wasMovedAlong(path, mark)
    judged[path] = isKept
    if isKept {
      report(path, "was a file system of its own and is not there")
      var top = path
      while !top.isEmpty, !isDirectory(top.splitAtName.parent) { top = top.splitAtName.parent }
      lost.insert(top)
    }
    return isKept
  }

  /// Finds all mount points that are gone, before the first directory that may lead to one is taken for deleted.
  func lookForLost() throws(Failure) {
    guard !hasLookedForLost else { return }
    hasLookedForLost = true
    guard let tree = try point?.tree() else { return }
    while try tree.next() {
      let line = tree.line
      guard line.hasFileSystem, line.kind == .directory, let mark = line.fileSystem, mark.isTop else { continue }
      let path = Bytes(line.path)
      if !isDirectory(path) { _ = isAbsent(lost: path, mark) }
    }
  }

  /// Whoever read the point has asked about each of its lines that is gone.
  func hasSeenAllLost() { hasLookedForLost = true }

  /// What cannot be looked at may be one.
  private func isDirectory(_ path: Bytes) -> Bool {
    do throws(SystemError) { _ = try lister.root.openBeneath(path, [.pathOnly, .directory]) } catch {
      return !(error.isMissing || error.isLoop)
    }
    return true
  }

  /// A mount point cannot be renamed, but what is above it can: whether a directory above it has the inode of one that is
  /// elsewhere now, with the same file system mounted in it.
  private func wasMovedAlong(_ path: Bytes, _ mark: FileSystemMark) -> Bool {
    guard let point, let mounts = MountTable.current() else { return false }
    let name = path.splitAtName.name
    for now in mounts.points where now != path && now.splitAtName.name == name {
      guard lister.sources.sources.contains(where: { now.isAtOrBelow($0) && now != $0 }),
        let there = try? lister.root.openBeneath(now, [.pathOnly, .directory]),
        there.fileSystemIdentity(mounts.mount(at: now)) == mark.identity
      else { continue }
      var (old, new) = (path, now)
      while old.splitAtName.name == new.splitAtName.name {
        (old, new) = (old.splitAtName.parent, new.splitAtName.parent)
        guard !old.isEmpty, !new.isEmpty, old != new else { break }
        let inodes = [old, new].map { path in
          try? lister.root.openBeneath(path, [.pathOnly, .directory]).status().inode
        }
        guard let inode = inodes[1], inodes[0] != inode, let before = (try? point.entry(old)) ?? nil else { continue }
        if before.inode == inode { return true }
      }
    }
    return false
  }

  /// Whether a directory that lies on another device than it did when its name was looked at was mounted, and not
  /// unmounted, meanwhile.
  func isMounted(_ path: Bytes) -> Bool {
    mounts = MountTable.current()
    return mounts.map { $0.mount(at: lister.root.place(of: path)) != nil } ?? true
  }
}
