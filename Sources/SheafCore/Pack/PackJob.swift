/// A piece of work for the packers: some entries that go into one gzip member, and the manifest's lines for them.
import Posix
import Tar

/// What a job holds, in order.
enum PackItem {
  /// Canonical lines of the point that stay as they are: a stretch of the job's `kept`.
  case kept(Range<Int>)
  /// A finished line of the manifest that stores nothing; its canonical part ends at `canonical` (0: none is added to
  /// the point). A `note` is told in the archive, too.
  case line(text: Bytes, canonical: Int, isNote: Bool)
  /// A directory's own tar entry, at the head of what it holds.
  /// `attributes`: nil where its line is not in this set; they are read then.
  case directory(path: Bytes, status: Status, attributes: [Attribute]? = nil, dumpdir: Bytes, comment: Bytes = [])
  /// Anything but a directory's content: its line, and its tar entry unless it proves unchanged.
  case entry(PackEntry)
  /// A piece of a large file.
  case chunk(LargeFile, Int)
}

/// How an entry counts.
enum Change {
  case new, changed, unchanged, moved
  /// Directories above the sources: nobody asked for them.
  case untold
}

/// What the point before tells of a path.
struct Before {
  /// Its line there, where it has one.
  var line: Bytes?
  /// It was moved: the line does not stand at this path in older sets.
  var isElsewhere = false
  /// The newest sets that tell of it could not look at it: a line that says otherwise must stand in the archive, too.
  var isUnseen = false
  /// What older sets tell of this path and of what lies below is of something else, which was moved or gave way.
  var isOther = false
}

/// An entry to be packed.
struct PackEntry {
  var listing: Listing
  var index: Int
  var before = Before()
  /// Store it only if content or metadata differ from the old line.
  var onlyIfDifferent = false
  /// Of a directory; its line and its own tar entry must tell the same.
  var attributes: [Attribute] = []
  /// Of a directory: the file system that begins there.
  var fileSystem: FileSystemMark?
  /// It is as it was, and stored only because everything is.
  var isUnchanged = false
  /// The inode's other names, where it has any.
  var group: LinkGroup?
  /// A later name of the group: stored as a hard link.
  var isLink = false
  /// Its place among the group's names.
  var turn = 0

  var old: Bytes? { before.line }
  var item: Listing.Item { listing.items[index] }
  /// What it is made of, where the file system does not have it.
  var stream: StreamFile? { listing.streams.isEmpty ? nil : listing.streams[index] }
  var change: Change {
    if item.isAbove { return .untold }
    return old == nil ? .new : isUnchanged ? .unchanged : .changed
  }
  var path: Bytes { listing.path.joined(listing.name(item)) }

  /// What took the name's place since it was listed is no name of the inode: the next one is the first.
  mutating func leaveGroup(unless opened: Status) {
    let listed = item.status
    if let group, opened.inode != listed.inode || opened.device != listed.device {
      group.settle(failure: .replaced(path), turn: turn)
      self.group = nil
    }
  }
}

/// An inode with several names.
final class LinkGroup: @unchecked Sendable {
  /// The first name in the order of the tree that could be read; the others are links to it.
  private(set) var first: Bytes
  /// Whether this run stores it; later names are stored with it then.
  var isStored = false
  /// Names not yet met.
  var remaining: Int
  /// What is known of the first name: set by the planner where it is kept, else by the packer, and completed with its
  /// place by the writer, in that order; nil where it could not be read.
  var entry: Entry?
  /// Where the first name is kept: what the point before has of it.
  var before: Entry?

  private let status: Status
  /// Of the later names that are to be stored, known to the planner.
  private var turns = 0
  /// Whether a name was stored, or whose turn it is: a first name that is gone when it is to be read leaves its place
  /// to the next.
  private let outcome = Monitor(Outcome())
  private struct Outcome {
    var isStored = false
    var turn = 0
    var failure: SystemError?
    var entry: Entry?
  }

  init(first: Bytes, status: Status) {
    self.first = first
    self.status = status
    remaining = Int(status.links) - 1
  }

  /// The place of a later name among them; the first has 0.
  func nextTurn() -> Int {
    turns += 1
    return turns
  }

  /// Waits until it is known whether a name before this one is stored: true. False where none could be read: this one
  /// is the first then, and to be stored itself. Jobs are taken in order, so what is waited for is under way.
  func waitForFirst(turn: Int, orTake path: Bytes) -> Bool {
    guard isStored else { return true }
    let isThere: Bool = outcome.wait(changes: false) { $0.isStored ? true : $0.turn == turn ? false : nil }
    if !isThere { first = path }
    return isThere
  }

  /// The same without waiting: whether it is known already that no name before this one could be read.
  func isFirst(turn: Int) -> Bool { isStored && outcome.look { !$0.isStored && $0.turn == turn } }

  /// The name whose turn came is stored.
  func settle(_ entry: Entry, turn: Int) {
    self.entry = entry
    outcome.change { $0 = Outcome(isStored: true, turn: turn + 1, entry: entry) }
  }

  /// The name whose turn came could not be read.
  func settle(failure: SystemError, turn: Int) {
    outcome.change { $0 = Outcome(turn: turn + 1, failure: failure) }
  }

  /// What is told of the first name, where this run stores it; for those who waited for it.
  var stored: Entry? { outcome.look { $0.entry } }

  /// Why the last name that was tried could not be read.
  var failure: SystemError? { outcome.look { $0.failure } }

  /// Whether a later name still has what the first had.
  func isSame(_ later: Status) -> Bool {
    later.kind == status.kind && later.size == status.size && later.modified == status.modified
      && later.changed == status.changed && later.mode == status.mode
  }
}

/// Work and result. Handed from the planner to a packer to the writer, never shared between two of them.
final class PackJob: @unchecked Sendable {
  var items: [PackItem] = []
  /// Canonical lines for `PackItem.kept`.
  let kept = Buffer(capacity: 256)
  /// About how many bytes of tar it will make.
  var estimate = 0

  /// Tar entries that are ready, where a fold makes the job.
  let tar = Buffer(capacity: 64)
  /// The job's member is a further piece of a large file.
  var continuesFile = false

  /// Whole gzip members, mostly one; empty where the job stores nothing.
  let member = Buffer(capacity: 64)
  /// Of these, in order.
  private(set) var parts: [Part] = []
  struct Part {
    /// Where it ends in `member`.
    var end: Int
    /// What it inflates to.
    var tarBytes: Int
    /// The archive's volume that it was written to, from 0.
    var volume = 0
  }
  /// What follows in `member` belongs to another gzip member.
  func endMember(tarBytes: Int) { parts.append(Part(end: member.count, tarBytes: tarBytes)) }
  func setVolume(_ volume: Int, ofPart index: Int) { parts[index].volume = volume }
  func bytes(ofPart index: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: member.bytes[(index == 0 ? 0 : parts[index - 1].end)..<parts[index].end])
  }
  /// Nothing of it is stored after all.
  func dropMembers() {
    member.count = 0
    parts.removeAll(keepingCapacity: true)
  }
  /// How it stands to a file whose beginning may have to be taken back.
  var takesBack: TakesBack?
  enum TakesBack {
    /// Such a file begins with it.
    case mayBegin
    /// What was written since the file began is gone.
    case all
  }
  /// Lines for the manifest, with gaps where the writer puts in what only it knows.
  let text = Buffer(capacity: 256)
  /// Canonical lines of the point, in order.
  let canonical = Buffer(capacity: 256)
  var gaps: [Gap] = []
  /// Lines that no tar entry of this set tells of: they go into the archive as text, so that the manifest can be made
  /// again from it.
  let notes = Buffer(capacity: 64)
  /// The first directory's header of the job.
  var directory: TarHeader?
  var counts = SetFoot.Counts()
  /// Entries that were looked at and proved the same.
  var unchanged: Int64 = 0
  var moved: Int64 = 0
  /// Bytes read from the source.
  var bytesRead: Int64 = 0
  /// Of these, what is not stored after all.
  var bytesSpared: Int64 = 0

  enum Fill {
    /// Offset and number of the member this job becomes; what is known of a link group's first name gets them too.
    case ownMember(LinkGroup?, Extent)
    /// Of a large file's first member.
    case firstMember(LargeFile, LinkGroup?, Extent)
    /// The whole line of a later name of a group, and its canonical part.
    case link(LinkGroup, path: Bytes, Before)
    /// As `ownMember`, for a file with further names, which get the place here.
    case shared(Place, Extent)
    /// The place of a later name of such a file.
    case place(Place)
  }
  /// Where a file of several names lies, known when its first name has been written.
  final class Place: @unchecked Sendable {
    fileprivate(set) var extent: Extent?
    func settle(_ extent: Extent) { self.extent = extent }
  }
  struct Gap {
    var text: Int
    var canonical: Int
    var fill: Fill
    /// Which of the job's gzip members it is about.
    var part = 0
  }

  /// Ready for other work, keeping its memory.
  func reset() {
    items.removeAll(keepingCapacity: true)
    gaps.removeAll(keepingCapacity: true)
    for buffer in [kept, tar, member, text, canonical, notes] { buffer.count = 0 }
    continuesFile = false
    directory = nil
    estimate = 0
    parts.removeAll(keepingCapacity: true)
    takesBack = nil
    counts = SetFoot.Counts()
    unchanged = 0
    moved = 0
    bytesRead = 0
    bytesSpared = 0
    finished.look { $0 = false }
  }

  private let finished = Monitor(false)
  func finish() { finished.change { $0 = true } }
  func waitUntilFinished() { _ = finished.wait { $0 ? true : nil as Bool? } }
}
