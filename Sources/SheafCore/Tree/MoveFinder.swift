/// Finds what was moved since the point before: goes through the source and the point once more, ahead of the
/// comparison, and brings together what is gone and what is new.
///
/// Nothing depends on its being right. It says what may be taken for moved; the comparison goes on from there and finds
/// whatever differs, as if someone had moved these things by hand in the last backup. So it may overlook something
/// (which is stored again then), and what changes between its look and the comparison's does no harm.
import Posix
import Tar

struct MoveFinder {
  let root: Descriptor
  /// Of the source, once more.
  let walk: () -> Walk
  /// The point, once more.
  let point: () throws(Failure) -> PointReader
  /// Where a file without a name may be made; nil: all stays in memory.
  let spill: Descriptor?
  let progress: Progress

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
  func find(_ lister: Lister) throws(Failure) -> Found? {
    let look = Look()
    try look.run(walk(), try point(), root, progress)
    guard let moves = Moves(look.moves(root)), !moves.all.isEmpty else { return nil }
    let lines = try MovedLines(moves, of: try point(), namesOf: look.carriers, spillingTo: spill)
    for carrier in look.carriers {
      if let records = MoveRecords(lines, lister: lister).items(in: carrier) {
        return Found(lines: lines, records: records)
      }
    }
    return nil
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
        if parents.isEmpty || !parents[parents.count - 1].elementsEqual(parent) { parents.append(Bytes(parent)) }
        candidates.append(make(Int32(parents.count - 1)))
      }

      func parent(_ candidate: Candidate) -> Bytes { parents[Int(candidate.parent)] }
      func path(_ candidate: Candidate) -> Bytes { parent(candidate).joined(candidate.name) }
    }
    var gone = Side()
    var new = Side()
    /// Directories that stay where they are, the first ones: one of them may carry the records.
    var carriers: [Bytes] = []
    private var unseen: [Bytes] = []
    private var stableInodes: [UInt64: Bool] = [:]

    func run(_ walk: Walk, _ old: PointReader, _ root: Descriptor, _ progress: Progress) throws(Failure) {
      var hasOld = try old.next()
      func lose() throws(Failure) {
        if !unseen.contains(where: { Bytes(old.line.parent).isAtOrBelow($0) }) { add(gone: old.line) }
        hasOld = try old.next()
      }
      while let (listing, _) = walk.next() {
        try progress.checkCancelled()
        func order() -> Int {
          listing.path.withUnsafeBufferPointer { PathOrder.compareDirectories(old.line.parent, $0) }
        }
        while hasOld, order() < 0 { try lose() }
        if listing.failure != nil {
          unseen.append(listing.path)
          continue
        }
        var isHere = hasOld && order() == 0
        for item in listing.items {
          var names = 1
          while isHere {
            names = listing.withName(item) { PathOrder.compareNames(old.line.name, $0) }
            if names >= 0 { break }
            try lose()
            isHere = hasOld && order() == 0
          }
          if item.failure != 0 {
            unseen.append(listing.path.joined(listing.name(item)))
          } else if !isHere || names != 0 {
            add(new: item, listing, root)
          } else if !isSame(item, old.line, listing, root) {
            add(gone: old.line)
            add(new: item, listing, root)
          } else if item.status.kind == .directory, !item.isAbove, carriers.count < 8 {
            carriers.append(Bytes(old.line.path))
          }
          if isHere, names == 0 {
            hasOld = try old.next()
            isHere = hasOld && order() == 0
          }
        }
        while isHere {
          try lose()
          isHere = hasOld && order() == 0
        }
      }
      while hasOld { try lose() }
    }

    /// Whether what has the same name is the same, as far as one can tell without looking into it.
    private func isSame(_ item: Listing.Item, _ line: Line, _ listing: Listing, _ root: Descriptor) -> Bool {
      let status = item.status
      if status.kind != line.kind { return false }
      if status.inode == line.inode { return true }
      if !isStable(status.device, listing.path, root) { return true }
      return line.inode == 0 || item.isAbove
    }

    private func isStable(_ device: UInt64, _ directory: Bytes, _ root: Descriptor) -> Bool {
      if let known = stableInodes[device] { return known }
      guard let here = try? root.openBeneath(directory, [.pathOnly, .directory]),
        (try? here.status().device) == device
      else { return false }
      let stable = here.hasStableInodes
      stableInodes[device] = stable
      return stable
    }

    private func add(gone line: Line) {
      // The archives that a rebuilt manifest was made of do not tell the inode.
      let isFile = line.kind == .file && line.size > 0 && line.links == 1 && !line.hasHardLink
      guard isFile || line.kind == .directory, line.inode != 0 else { return }
      gone.add(
        line.parent,
        {
          Candidate(
            name: Bytes(line.name), parent: $0, isDirectory: line.kind == .directory, inode: line.inode,
            size: line.size, modified: line.modified)
        }, isDirectory: line.kind == .directory)
    }

    private func add(new item: Listing.Item, _ listing: Listing, _ root: Descriptor) {
      let status = item.status
      let isDirectory = status.kind == .directory
      // Nothing next to a source is ours to move.
      guard isDirectory || (status.kind == .file && status.size > 0 && status.links == 1), !listing.isAboveSource,
        !item.isAbove
      else { return }
      let isStable = isStable(status.device, listing.path, root)
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
    func moves(_ root: Descriptor) -> [Move] {
      let pairs = pairs()
      guard !pairs.isEmpty else { return [] }
      // A directory whose inode number is used again is another one: its own time or something in it must agree.
      var supported: Set<Int64> = []
      for (old, new, _) in pairs {
        let (a, b) = (gone.candidates[old], self.new.candidates[new])
        if a.name == b.name { supported.insert(Self.key(a.parent, b.parent)) }
      }
      var oldParents: [Bytes: Int32] = [:]
      var newParents: [Bytes: Int32] = [:]
      for (index, path) in gone.parents.enumerated() { oldParents[path] = Int32(index) }
      for (index, path) in new.parents.enumerated() { newParents[path] = Int32(index) }
      var moved: [Bytes: Bytes] = [:]
      var tops: [(move: Move, isDirectory: Bool)] = []
      // Directories stand before what is in them on both sides, so those above are known.
      for (old, new, mustRead) in pairs.sorted(by: { $0.new < $1.new }) {
        let (a, b) = (gone.candidates[old], self.new.candidates[new])
        let (from, to) = (gone.path(a), self.new.path(b))
        if a.isDirectory {
          let isSupported = oldParents[from].flatMap { i in newParents[to].map { (i, $0) } }
            .map { supported.contains(Self.key($0.0, $0.1)) }
          guard a.modified == b.modified || isSupported == true else { continue }
        }
        let comesAlong = a.name == b.name && moved[self.new.parent(b)] == gone.parent(a)
        if !comesAlong {
          guard tops.count < MoveFinder.moveLimit, from.count <= MoveFinder.pathLimit, to.count <= MoveFinder.pathLimit,
            mustRead || isOn(b.device, from, root)
          else { continue }
          tops.append((Move(old: from, new: to, mustRead: mustRead), a.isDirectory))
        }
        if a.isDirectory { moved[to] = from }
      }
      return tops.map(\.move)
    }

    private static func key(_ a: Int32, _ b: Int32) -> Int64 { Int64(a) << 32 | Int64(b) }

    /// By inode; where inodes are not stable, by size and time, if only one has them.
    private func pairs() -> [(old: Int, new: Int, mustRead: Bool)] {
      struct Look: Hashable {
        let size: Int64
        let modified: Timestamp
      }
      var byInode: [UInt64: Int] = [:]
      var byLook: [Look: Int?] = [:]
      for (index, one) in new.candidates.enumerated() {
        if one.inode != 0 {
          byInode[one.inode] = index
        } else {
          let look = Look(size: one.size, modified: one.modified)
          byLook[look] = byLook[look] == nil ? .some(index) : .some(nil)
        }
      }
      var pairs: [(old: Int, new: Int, mustRead: Bool)] = []
      var looks: [Look: Int] = [:]
      for (index, one) in gone.candidates.enumerated() {
        if let found = byInode[one.inode] {
          let other = new.candidates[found]
          if other.isDirectory == one.isDirectory,
            one.isDirectory || (other.size == one.size && other.modified == one.modified)
          {
            pairs.append((index, found, false))
            byInode[one.inode] = nil
            continue
          }
        }
        guard !one.isDirectory, !byLook.isEmpty else { continue }
        let look = Look(size: one.size, modified: one.modified)
        guard let found = byLook[look], let found else { continue }
        if let earlier = looks[look] {
          pairs.removeAll { $0.old == earlier }
        } else {
          looks[look] = index
          pairs.append((index, found, true))
        }
      }
      return pairs
    }

    /// Whether the nearest directory above that still exists is on this file system. (Inode numbers are told without.)
    private func isOn(_ device: UInt64, _ path: Bytes, _ root: Descriptor) -> Bool {
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
