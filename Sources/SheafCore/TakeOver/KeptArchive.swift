/// Finds out how much of an interrupted run's archive is whole, and up to which path.
import Posix
import Tar

/// Takes the members of the archive in order.
final class KeptArchive {
  /// Up to where, in the order of the tree, an archive or a journal tells everything.
  enum Position {
    /// All names of the directories before this one.
    case beforeNames(of: Bytes)
    /// This path, too.
    case path(Bytes)

    /// The directory in whose names it lies.
    var directory: Bytes {
      switch self {
      case .path(let last): last.splitAtName.parent
      case .beforeNames(let directory): directory
      }
    }

    /// Whether `path` is told of.
    func covers(_ path: Bytes) -> Bool {
      switch self {
      case .path(let last): PathOrder.compare(path, last) <= 0
      case .beforeNames(let directory): PathOrder.compareDirectories(path.splitAtName.parent, directory) < 0
      }
    }

    /// Whether all names of a directory are told of.
    func coversNames(of directory: Bytes) -> Bool {
      PathOrder.compareDirectories(directory, self.directory) < 0
    }

    /// Whether a directory's own entry, which stands at the head of its names, is in the archive,
    /// given that its line is in the journal.
    func holdsEntry(of directory: Bytes) -> Bool {
      PathOrder.compareDirectories(directory, self.directory) <= 0
    }
  }

  /// A place between two gzip members where the archive can be cut.
  struct Cut {
    var position: Position
    /// Bytes of all volumes in a row.
    var offset: Int64
    var members: Int
    var tarBytes: Int64
    /// Of the volumes that are complete, and of what the next one holds.
    var digests: [Digest]
    var hasher: SHA256
    /// The last directory's `GNU.dumpdir`, by which tar deletes also what stands behind the position; empty: none.
    var listing: Bytes
    /// Tar has moved what the journal says was moved.
    var hasMoved: Bool
  }

  /// nil: nothing can be kept.
  private(set) var cut: Cut?
  private(set) var members: [(length: Int, checksum: UInt32)] = []
  /// Directories that the run could not list, in order; those behind the cut among them.
  private(set) var unlisted: [Bytes] = []
  /// The first directory's entry, to be repeated with notes.
  private(set) var carrier: TarHeader?

  private let journalEnd: Bytes
  /// Where each volume ends, in the archive.
  private let volumeEnds: [Int64]
  private var offset: Int64 = 0
  private var tarBytes: Int64 = 0
  private var digests: [Digest] = []
  private let hasher = SHA256()
  private var position: Position?
  private var isBroken = false
  /// Bytes of a file that still have to come.
  private var missing: Int64 = 0
  private var lastFile = Bytes()
  private var lastSize: Int64 = 0
  /// Of the directory at hand.
  private var listing = Bytes()
  /// Names are being renamed away, to be deleted by what follows: no place for a cut.
  private var purges = false
  private var hasMoved = false

  /// `journalEnd`: the last path the journal tells of. `volumes`: their sizes.
  init(journalEnd: Bytes, volumes: [Int64]) {
    self.journalEnd = journalEnd
    var ends: [Int64] = []
    for size in volumes { ends.append((ends.last ?? 0) + size) }
    volumeEnds = ends
  }

  /// A file of which there is only the beginning.
  func unfinished(archiveSize: Int64) -> UnfinishedFile? {
    guard missing > 0 else { return nil }
    return UnfinishedFile(
      path: lastFile, saved: max(0, lastSize - missing), size: lastSize, dropped: archiveSize - (cut?.offset ?? 0))
  }

  func take(_ job: MemberJob) {
    guard !isBroken else { return }
    guard job.failure == nil, !job.sawEnd, job.isFirstHeader ? missing <= 0 : missing > 0 else {
      isBroken = true
      return
    }
    if job.isFirstHeader {
      for (entry, _) in job.entries { take(entry, job) }
      if isBroken { return }
    } else {
      missing -= Int64(job.inflated.count)
    }
    tarBytes += Int64(job.inflated.count)
    members.append((job.compressed.count, GzipMember.storedChecksum(job.compressed.bytes)))
    while digests.count < volumeEnds.count, offset >= volumeEnds[digests.count] { digests.append(hasher.finish()) }
    hasher.update(job.compressed.start, job.compressed.count)
    offset += Int64(job.compressed.count)
    guard missing <= 0, !purges, let position, isInJournal(position) else { return }
    cut = Cut(
      position: position, offset: offset, members: members.count, tarBytes: tarBytes, digests: digests,
      hasher: hasher.copy(), listing: listing, hasMoved: hasMoved)
  }

  private func take(_ entry: TarEntry, _ job: MemberJob) {
    let header = entry.header
    guard header.type == .directory else {
      position = .path(header.path)
      (lastFile, lastSize) = (header.path, header.size)
      missing = Int64(TarHeader.padded(Int(header.size))) - Int64(job.inflated.count - entry.data)
      return
    }
    if header.comment.starts(with: TarHeader.notesMark) { return }
    // From here on it is an earlier attempt to take the run over that wrote.
    if header.comment.starts(with: TarHeader.keptMark) { isBroken = true }
    if isBroken { return }
    if header.comment == LargePurge.mark {
      purges = true
      // Names put out of the way stay below this folder; any other target is a real move.
      hasMoved = hasMoved || Dumpdir.targets(header.dumpdir).contains { !$0.starts(with: header.path) }
      return
    }
    var path = header.path
    if path.last == 47 { path.removeLast() }
    if header.directoryTags.contains(where: { $0.key == UInt8(ascii: "o") }) { unlisted.append(path) }
    position = .beforeNames(of: path)
    listing = header.dumpdir
    purges = false
    if carrier == nil {
      carrier = header
      carrier!.dumpdir = []
    }
  }

  private func isInJournal(_ position: Position) -> Bool {
    switch position {
    case .path(let path): PathOrder.compare(path, journalEnd) <= 0
    case .beforeNames(let directory): PathOrder.compareDirectories(journalEnd.splitAtName.parent, directory) >= 0
    }
  }
}
