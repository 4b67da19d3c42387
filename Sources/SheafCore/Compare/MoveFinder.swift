/// Finds what was moved since the point before: goes through the source and the point once more, ahead of the
/// comparison, and brings together what is gone and what is new. The comparison goes on with what was listed here.
///
/// Nothing depends on its being right. It says what may be taken for moved; the comparison goes on from there and finds
/// whatever differs, as if someone had moved these things by hand in the last backup. So it may overlook something
/// (which is stored again then), and what changes between its look and the comparison's does no harm.
import Posix
import Tar

struct MoveFinder {
  let root: SourceRoot
  /// Of the source, once more, beside that of the comparison.
  let walk: (_ beside: Walk) -> Walk
  /// The point, once more.
  let point: () throws(Failure) -> PointReader
  /// Where a file without a name may be made; nil: all stays in memory.
  let spill: Descriptor?
  let progress: Progress
  let places: AbsentPlaces

  struct Found {
    let lines: MovedLines
    /// What makes GNU tar move them.
    let records: [PackItem]
  }

  /// So many that are gone and so many that are new are remembered, of files and of directories: what is more comes
  /// along with the directory it lies in, or is stored again.
  static let limit = 250_000
  /// More are not told as moves.
  static let moveLimit = 100_000
  /// PATH_MAX: GNU tar renames nothing longer.
  private static let pathLimit = 4095

  /// nil where nothing was moved, or GNU tar could not be told.
  func find(_ lister: Lister, beside other: Walk) throws(Failure) -> Found? {
    let look = Look(root, try point(), places, lister.streams)
    try look.run(walk(other), progress)
    guard let moves = Moves(look.moves()), !moves.all.isEmpty else { return nil }
    let lines = try MovedLines(moves, of: try point(), namesOf: look.carriers, spillingTo: spill)
    for carrier in look.carriers {
      if let plan = MoveRecords(lines).plan(in: carrier, lister.sources),
        let status = try? root.openBeneath(carrier, [.pathOnly, .directory]).status()
      {
        return Found(lines: lines, records: Self.items(plan, status))
      }
    }
    return nil
  }

  /// `status`: of the directory that holds what is made for the moves.
  private static func items(_ plan: MoveRecords.Plan, _ status: Status) -> [PackItem] {
    plan.notes.map { .line(text: $0, canonical: 0, isNote: true) }
      + plan.entries.map { .directory(path: $0.path, status: status, dumpdir: $0.dumpdir, comment: LargePurge.mark) }
  }

  /// One look at both.
  private final class Look {
    struct Candidate {
      let name: Bytes
      /// In `parents`.
      let parent: Int32
      let isDirectory: Bool
      let inode: UInt64
      let size: Int64
      let modified: Timestamp
      var device: UInt64 = 0
    }
    /// What is gone, or new.
    struct Side {
      var candidates: [Candidate] = []
      var parents: [Bytes] = []
      private var files = 0
      private var directories = 0

      mutating func add(_ parent: UnsafeBufferPointer<UInt8>, _ make: (Int32) -> Candidate, isDirectory: Bool) {
        if isDirectory { directories += 1 } else { files += 1 }
        guard (isDirectory ? directories : files) <= MoveFinder.limit else { return }
        if parents.isEmpty || !parent.isSame(as: parents[parents.count - 1]) { parents.append(Bytes(parent)) }
        candidates.append(make(Int32(parents.count - 1)))
      }

      func path(_ candidate: Candidate) -> Bytes { parents[Int(candidate.parent)].joined(candidate.name) }
      var indexOfParents: [Bytes: Int32] {
        Dictionary(parents.enumerated().map { ($1, Int32($0)) }, uniquingKeysWith: { first, _ in first })
      }
    }
    var gone = Side()
    var new = Side()
    /// Directories that stay where they are, the first ones: one of them may carry the records.
    var carriers: [Bytes] = []
    private var unseen: [Bytes] = []
    private var inodes: StableInodes
    /// A directory that leads to one is not moved: what is known of the stream stays at its path.
    private let streams: StreamTable
    private let root: SourceRoot
    private let places: AbsentPlaces
    private let old: PointReader
    private var hasOld = false
    /// Whether the old line is of the directory at hand.
    private var isHere = false

    init(_ root: SourceRoot, _ old: PointReader, _ places: AbsentPlaces, _ streams: StreamTable) {
      (self.root, self.old, self.places, self.streams) = (root, old, places, streams)
      inodes = StableInodes(root)
    }

    func run(_ walk: Walk, _ progress: Progress) throws(Failure) {
      hasOld = try old.next()
      while let (listing, status) = walk.next() {
        try progress.checkCancelled()
        try look(at: listing, status)
      }
      while hasOld { try lose() }
      places.hasSeenAllLost()
      let kept = places.lost
      if !kept.isEmpty {
        let isKept = gone.parents.map { parent in kept.contains { parent.isAtOrBelow($0) } }
        gone.candidates = gone.candidates.filter { !isKept[Int($0.parent)] && !kept.contains(gone.path($0)) }
      }
    }

    /// How the directory of the old line stands to the one at hand.
    private func order(_ listing: Listing) -> Int {
      listing.path.withUnsafeBufferPointer { PathOrder.compareDirectories(old.line.parent, $0) }
    }

    private func look(at listing: Listing, _ status: Status?) throws(Failure) {
      while hasOld, order(listing) < 0 { try lose() }
      let mayHoldPlaces = places.mayHoldPlaces(listing)
      if listing.failure != nil || listing.isUnsettled {
        unseen.append(listing.path)
        return
      }
      isHere = hasOld && order(listing) == 0
      for item in listing.items {
        var names = 1
        while isHere {
          names = listing.withName(item) { PathOrder.compareNames(old.line.name, $0) }
          if names >= 0 { break }
          try lose()
          isHere = hasOld && order(listing) == 0
        }
        let isKnown = isHere && names == 0
        try look(at: item, isKnown: isKnown, in: listing, status, mayHoldPlaces: mayHoldPlaces)
        if isKnown {
          hasOld = try old.next()
          isHere = hasOld && order(listing) == 0
        }
      }
      while isHere {
        try lose()
        isHere = hasOld && order(listing) == 0
      }
    }

    /// `isKnown`: the old line is of that name.
    private func look(
      at item: Listing.Item, isKnown: Bool, in listing: Listing, _ status: Status?, mayHoldPlaces: Bool
    ) throws(Failure) {
      if isKnown, item.failure == 0, old.line.kind == .directory, item.status.kind == .directory, !item.isAbove,
        mayHoldPlaces || old.line.hasFileSystem
      {
        _ = try places.isAbsent(
          Bytes(old.line.path), item, around: status?.device, before: old.line.fileSystem, wasUnseen: old.isUnseen)
      }
      if item.failure != 0 {
        unseen.append(listing.path.joined(listing.name(item)))
      } else if !isKnown {
        add(new: item, listing)
      } else if !isSame(item, old.line, listing) {
        add(gone: old.line)
        add(new: item, listing)
      } else if item.status.kind == .directory, !item.isAbove, carriers.count < 8 {
        carriers.append(Bytes(old.line.path))
      }
    }

    private func lose() throws(Failure) {
      let parent = Bytes(old.line.parent)
      if !unseen.contains(where: { parent.isAtOrBelow($0) }), places.isAbsent(lost: old.line) {
        unseen.append(Bytes(old.line.path))
      }
      if !unseen.contains(where: { Bytes(old.line.path).isAtOrBelow($0) || parent.isAtOrBelow($0) }),
        !places.keeps(parent)
      {
        add(gone: old.line)
      }
      hasOld = try old.next()
    }

    /// Whether what has the same name is the same, as far as one can tell without looking into it.
    private func isSame(_ item: Listing.Item, _ line: Line, _ listing: Listing) -> Bool {
      let status = item.status
      if status.kind != line.kind { return false }
      if status.inode == line.inode { return true }
      if !inodes.areStable(status.device, listing.path) { return true }
      return line.inode == 0 || item.isAbove
    }

    private func add(gone line: Line) {
      // The archives that a rebuilt manifest was made of do not tell the inode; and what a full set carries, a replay by
      // tar does not have.
      let isFile = line.kind == .file && line.size > 0 && line.links == 1 && !line.hasHardLink
      guard isFile || line.kind == .directory, line.inode != 0, !line.isCarried,
        streams.isEmpty || !streams.leads(through: Bytes(line.path))
      else { return }
      gone.add(
        line.parent,
        {
          Candidate(
            name: Bytes(line.name), parent: $0, isDirectory: line.kind == .directory, inode: line.inode,
            size: line.size, modified: line.modified)
        }, isDirectory: line.kind == .directory)
    }

    private func add(new item: Listing.Item, _ listing: Listing) {
      let status = item.status
      let isDirectory = status.kind == .directory
      // Nothing next to a source is ours to move.
      guard isDirectory || (status.kind == .file && status.size > 0 && status.links == 1), !listing.isAboveSource,
        !item.isAbove, !item.isMade
      else { return }
      let isStable = inodes.areStable(status.device, listing.path)
      if isDirectory, !isStable { return }
      listing.path.withUnsafeBufferPointer { path in
        new.add(
          path,
          {
            Candidate(
              name: listing.name(item), parent: $0, isDirectory: isDirectory, inode: isStable ? status.inode : 0,
              size: isDirectory ? 0 : status.size, modified: status.modified, device: status.device)
          }, isDirectory: isDirectory)
      }
    }

    /// The tops of what was moved.
    func moves() -> [Move] {
      let pairs = pairs()
      let matched = new.candidates.indices.filter { pairs[$0] >= 0 }
      if matched.isEmpty { return [] }
      /// Two directories in `parents` of either side.
      struct Directories: Hashable {
        let gone: Int32
        let new: Int32
      }
      // A directory whose inode number is used again is another one: its own time or something in it must agree.
      var supported: Set<Directories> = []
      for index in matched {
        let (a, b) = (gone.candidates[pairs[index]], new.candidates[index])
        if a.name == b.name { supported.insert(Directories(gone: a.parent, new: b.parent)) }
      }
      let goneParents = gone.indexOfParents
      let newParents = new.indexOfParents
      var movedTo: [Int32: Int32] = [:]
      var moves: [Move] = []
      // Directories stand before what is in them, so what became of those above is known.
      for index in matched {
        let (a, b) = (gone.candidates[pairs[index]], new.candidates[index])
        let comesAlong = a.name == b.name && movedTo[b.parent] == a.parent
        if comesAlong, !a.isDirectory { continue }
        let (from, to) = (gone.path(a), new.path(b))
        var directories: Directories?
        if a.isDirectory {
          if let gone = goneParents[from], let new = newParents[to] { directories = Directories(gone: gone, new: new) }
          guard a.modified == b.modified || directories.map(supported.contains) == true else { continue }
        }
        if !comesAlong {
          guard moves.count < MoveFinder.moveLimit, max(from.count, to.count) <= MoveFinder.pathLimit,
            b.inode == 0 || isOn(b.device, from)
          else { continue }
          moves.append(Move(old: from, new: to, mustRead: b.inode == 0))
        }
        if let directories { movedTo[directories.new] = directories.gone }
      }
      return moves
    }

    /// For each that is new, which of those that are gone it is (-1: none): by inode; where inodes are not stable, by
    /// size and time, if just one on either side has them.
    private func pairs() -> [Int] {
      struct Look: Hashable {
        let size: Int64
        let modified: Timestamp
      }
      var pairs = [Int](repeating: -1, count: new.candidates.count)
      var byInode: [UInt64: Int] = [:]
      byInode.reserveCapacity(new.candidates.count)
      /// -1: several.
      var byLook: [Look: Int] = [:]
      for (index, one) in new.candidates.enumerated() {
        if one.inode != 0 {
          byInode[one.inode] = index
        } else {
          let look = Look(size: one.size, modified: one.modified)
          byLook[look] = byLook[look] == nil ? index : -1
        }
      }
      for (index, one) in gone.candidates.enumerated() {
        if let found = byInode[one.inode] {
          let other = new.candidates[found]
          if other.isDirectory == one.isDirectory, pairs[found] < 0,
            one.isDirectory || (other.size == one.size && other.modified == one.modified)
          {
            pairs[found] = index
            continue
          }
        }
        guard !one.isDirectory, !byLook.isEmpty else { continue }
        let look = Look(size: one.size, modified: one.modified)
        guard let found = byLook[look], found >= 0 else { continue }
        if pairs[found] >= 0 {
          pairs[found] = -1
          byLook[look] = -1
        } else {
          pairs[found] = index
        }
      }
      return pairs
    }

    /// Whether the nearest directory above that still exists is on this file system. (Inode numbers are told without.)
    private func isOn(_ device: UInt64, _ path: Bytes) -> Bool {
      var path = path.splitAtName.parent
      while true {
        if let there = try? root.openBeneath(path, [.pathOnly, .directory, .noFollow]).status() {
          return there.device == device
        }
        if path.isEmpty { return false }
        path = path.splitAtName.parent
      }
    }
  }
}
