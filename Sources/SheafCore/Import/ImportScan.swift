/// Reads an archive from its beginning to its end and sorts what it says; contents that are wanted go into a spool.
///
/// A set stands in one order, and no archive does, so contents cannot go straight from one into the other: they lie in a
/// file without a name until their turn comes. Where a point before has most of them already the archive is read twice,
/// first for digests alone, so that only what will be stored is spooled.
import Posix
import Tar

struct ImportScan {
  /// Whose contents are spooled.
  enum Wish {
    case nothing, everything
    case only(OrdinalSet)

    func contains(_ ordinal: Int64) -> Bool {
      switch self {
      case .nothing: false
      case .everything: true
      case .only(let set): set.contains(ordinal)
      }
    }
  }

  private let archive: ImportArchive
  private let base: Bytes
  private let tree: ImportedTree
  private let wish: Wish
  private let reporter: any Reporter
  private let progress: Progress
  private let owners = OwnerNames()
  private let hasher = SHA256()

  /// `base`: where relative names lie, without the leading slash.
  init(
    _ archive: ImportArchive, below base: Bytes, storing wish: Wish, to tree: ImportedTree, reporter: any Reporter,
    progress: Progress
  ) {
    (self.archive, self.base, self.wish, self.tree) = (archive, base, wish, tree)
    (self.reporter, self.progress) = (reporter, progress)
  }

  /// Throws `damaged` where the archive is, or does not end as one.
  func run() throws(Failure) {
    let reader = try archive.open()
    var ordinal: Int64 = 0
    var lastParent = Bytes()
    while let (found, headers) = try next(reader, isFirst: ordinal == 0) {
      try progress.checkCancelled()
      ordinal += 1
      progress.add(entries: 1)
      guard let path = place(found.path) else {
        reporter.problem("its name leads out of the archive with '..', so it is left out", path: found.path)
        continue
      }
      progress.current = path
      try addParents(of: path, since: &lastParent)
      try take(found, headers, path, ordinal, reader)
    }
    let ends: Bool
    do throws(ForeignArchive.Failure) { ends = try reader.checkEnd() } catch { throw archive.failure(error) }
    guard ends else { throw archive.damaged("ends without the mark of an archive's end, so it may be cut short") }
  }

  private func next(
    _ reader: ForeignArchive, isFirst: Bool
  ) throws(Failure) -> (ForeignArchive.Entry, ForeignHeaders)? {
    let found: (ForeignArchive.Entry, ForeignHeaders)
    do throws(ForeignArchive.Failure) {
      guard let entry = try reader.next() else { return nil }
      found = (entry, try reader.headers(owners: owners))
    } catch { throw archive.failure(error) }
    if found.1.isContinuation {
      throw Failure(
        .failed, "\(Show.path(archive.path)) begins in the middle of a file: it is a later one of several volumes",
        hint: "put the volumes together with 'tar -M' and archive that")
    }
    if isFirst, found.1.globalComment.starts(with: Bytes("sheaf set\n")) {
      throw Failure(
        .failed, "\(Show.path(archive.path)) is an archive of a store already",
        hint: "'sheaf copy' takes points from one store to another, 'sheaf rebuild' makes lost manifests again")
    }
    return found
  }

  /// The path without its leading slash; nil where it has `..` in it.
  private func place(_ name: Bytes) -> Bytes? {
    let parts = name.split(separator: 47).filter { $0 != [46] }
    if parts.contains([46, 46]) { return nil }
    let plain = Bytes(parts.joined(separator: [47]))
    if name.first == 47 || base.isEmpty { return plain }
    return plain.isEmpty ? base : base.joined(plain)
  }

  /// Directories on the way may have no entries of their own.
  private func addParents(of path: Bytes, since last: inout Bytes) throws(Failure) {
    let parent = path.splitAtName.parent
    if parent == last { return }
    var way = parent
    while !way.isEmpty, !last.isAtOrBelow(way) {
      try tree.add(implied: way)
      way = way.splitAtName.parent
    }
    last = parent
  }

  // MARK: - One entry

  private func take(
    _ found: ForeignArchive.Entry, _ headers: ForeignHeaders, _ path: Bytes, _ ordinal: Int64, _ reader: ForeignArchive
  ) throws(Failure) {
    var entry = entry(found, headers, path)
    if let target = found.hardLink {
      guard let first = place(target), !first.isEmpty, !path.isEmpty else {
        return reporter.problem("is a link to nothing that can be in the archive, so it is left out", path: path)
      }
      entry.kind = .file
      (entry.hardLink, entry.digest, entry.attributes) = (first, Digest(), [])
      return try tree.add(entry, ordinal: ordinal)
    }
    guard !path.isEmpty || found.kind == .directory else {
      return reporter.problem("an entry without a name is left out", path: found.path)
    }
    if found.kind == .file {
      guard (0...Entry.sizeLimit).contains(found.size) else {
        throw archive.damaged("\(Show.path(found.path)): has an impossible size")
      }
      entry.size = found.size
      try read(into: &entry, isSpooled: wish.contains(ordinal), reader)
    }
    try tree.add(entry, ordinal: ordinal)
    if found.kind == .directory { try takeList(headers, path, found, reader) }
    progress.add(files: found.kind == .directory ? 0 : 1)
  }

  private func entry(_ found: ForeignArchive.Entry, _ headers: ForeignHeaders, _ path: Bytes) -> Entry {
    var entry = Entry(
      path: path, kind: found.kind, mode: headers.mode, uid: number(found.uid, path),
      gid: number(found.gid, path), modified: headers.modified ?? found.modified)
    entry.userName = found.userName
    entry.groupName = found.groupName
    entry.linkTarget = found.kind == .symlink ? found.linkTarget : []
    if found.kind == .characterDevice || found.kind == .blockDevice {
      (entry.major, entry.minor) = (found.major, found.minor)
    }
    for name in headers.lostAccess {
      reporter.problem("its access list names \(Show.path(name)), which nobody is here: that is lost", path: path)
    }
    var room = Entry.attributesLimit
    entry.attributes = Array(
      headers.attributes.prefix(Entry.attributeLimit).prefix {
        room -= $0.name.count + $0.value.count
        return room >= 0
      })
    if entry.attributes.count < headers.attributes.count {
      reporter.problem("has more extended attributes than can be kept: the last are lost", path: path)
    }
    return entry
  }

  /// Other programs write numbers that no Linux has.
  private func number(_ owner: Int64, _ path: Bytes) -> UInt32 {
    if let number = UInt32(exactly: owner) { return number }
    reporter.problem("the number of its owner or group, \(owner), is none on Linux: it becomes nobody's", path: path)
    return 65534
  }

  // MARK: - Contents

  private func read(into entry: inout Entry, isSpooled: Bool, _ reader: ForeignArchive) throws(Failure) {
    var contents = ImportedContents(size: entry.size, hasher, progress)
    let target = isSpooled ? try system { () throws(SystemError) in try tree.spool.begin() } : nil
    let result: Result<Void, Failure>
    do throws(ForeignArchive.Failure) {
      result = try reader.blocks(size: entry.size) { (offset, bytes) throws(Failure) in
        try contents.fill(to: offset, target?.file)
        try contents.take(bytes, target?.file)
      }
    } catch { throw archive.failure(error, in: entry.path) }
    do throws(Failure) {
      try result.get()
      try contents.fill(to: entry.size, target?.file)
    } catch { throw error.kind == .damaged ? archive.damaged("\(Show.path(entry.path)): \(error.message)") : error }
    try progress.checkCancelled()
    entry.holes = contents.holes
    entry.digest = hasher.finish()
    let hidden = contents.holes.map { Int64($0.count) }.saturatedSum
    guard hidden <= Entry.holeLimit else {
      throw archive.damaged("\(Show.path(entry.path)): has more holes than any file may have")
    }
    entry.isStoredSparse = hidden > LargeFile.sparseThreshold
    if isSpooled { tree.spool.keep(contents.spooled) }
    if entry.storedSize > 0 || entry.isStoredSparse {
      entry.extents = [ImportedTree.extent(at: target?.start ?? 0, entry.storedSize)]
    }
  }

  // MARK: - GNU tar's lists

  private func takeList(
    _ headers: ForeignHeaders, _ path: Bytes, _ found: ForeignArchive.Entry, _ reader: ForeignArchive
  ) throws(Failure) {
    var list = DumpdirReader()
    var taker = ListTaker(directory: path, isAbsolute: found.path.first == 47, tree: tree, place: place)
    var isRead = true
    if let text = headers.dumpdir {
      try tree.add(listOf: path)
      var failure: Failure?
      text.withUnsafeBytes { bytes in
        do throws(Failure) { isRead = try list.take(bytes) { (l, n) throws(Failure) in try taker.take(l, n) } } catch {
          failure = error
        }
      }
      if let failure { throw failure }
    } else if headers.hasDumpdirAsData {
      try tree.add(listOf: path)
      let result: Result<Void, Failure>
      do throws(ForeignArchive.Failure) {
        result = try reader.blocks(size: max(0, found.size)) { (_, bytes) throws(Failure) in
          guard isRead else { return }
          isRead = try list.take(bytes) { (l, n) throws(Failure) in try taker.take(l, n) }
        }
      } catch { throw archive.failure(error, in: path) }
      try result.get()
    }
    guard isRead, taker.isSound else {
      throw archive.damaged("\(Show.path(path)): GNU tar's list of it cannot be read")
    }
  }
}

/// What the words of one list mean.
private struct ListTaker {
  let directory: Bytes
  /// The archive's names have their slash in front.
  let isAbsolute: Bool
  let tree: ImportedTree
  let place: (Bytes) -> Bytes?
  private(set) var isSound = true
  /// Of a rename whose other end comes next.
  private var source: Bytes?

  init(directory: Bytes, isAbsolute: Bool, tree: ImportedTree, place: @escaping (Bytes) -> Bytes?) {
    (self.directory, self.isAbsolute, self.tree, self.place) = (directory, isAbsolute, tree, place)
  }

  mutating func take(_ letter: UInt8, _ name: Bytes) throws(Failure) {
    if try !takes(letter, name) { isSound = false }
  }

  private mutating func takes(_ letter: UInt8, _ name: Bytes) throws(Failure) -> Bool {
    switch letter {
    case UInt8(ascii: "Y"), UInt8(ascii: "N"), UInt8(ascii: "D"):
      guard !name.isEmpty, !name.contains(47), name != [46], name != [46, 46] else { return false }
      try tree.add(listed: directory.joined(name), letter)
    case UInt8(ascii: "R"):
      guard let path = renamed(name) else { return false }
      source = path
    case UInt8(ascii: "T"):
      guard let from = source, let target = renamed(name), tree.renames.rename(from, to: target) else { return false }
      source = nil
    // `X` makes a directory for what has no place yet.
    default: break
    }
    return true
  }

  /// The paths of renames are told with a slash in front where the members' names have lost theirs.
  private func renamed(_ name: Bytes) -> Bytes? {
    if name.isEmpty { return ImportRenames.temporary }
    let path = place(isAbsolute ? name : Bytes(name.drop { $0 == 47 }))
    return path?.isEmpty == true ? nil : path
  }
}

/// What is known of a file's contents while they are read: the digest of all, and where its holes are.
private struct ImportedContents {
  private let size: Int64
  private let hasher: SHA256
  private let progress: Progress
  private var position: Int64 = 0
  private(set) var holes: [Range<Int64>] = []
  private(set) var spooled: Int64 = 0

  init(size: Int64, _ hasher: SHA256, _ progress: Progress) {
    (self.size, self.hasher, self.progress) = (size, hasher, progress)
  }

  /// Passes over what the archive does not have. Where there are many holes the small ones become the zeros they read as.
  mutating func fill(to end: Int64, _ file: Descriptor?) throws(Failure) {
    let count = end - position
    guard count > 0 else { return }
    guard progress.mayHash(zeros: count) else {
      throw .damaged("has more holes than can be hashed")
    }
    hasher.updateZeros(count) { progress.goesOn }
    if holes.count < Entry.manyHoles || (count >= 64 << 10 && holes.count < Entry.holesLimit) {
      holes.append(position..<end)
    } else {
      let zeros = Bytes(repeating: 0, count: 1 << 16)
      var left = count
      while left > 0, progress.goesOn {
        let part = Bytes(zeros.prefix(Int(min(left, 1 << 16))))
        if let file { try system { () throws(SystemError) in try file.write(part) } }
        left -= Int64(part.count)
      }
      spooled += count
    }
    position = end
  }

  mutating func take(_ bytes: UnsafeRawBufferPointer, _ file: Descriptor?) throws(Failure) {
    guard let start = bytes.baseAddress else { return }
    hasher.update(start, bytes.count)
    progress.add(bytes: bytes.count)
    progress.add(stored: bytes.count)
    if let file { try system { () throws(SystemError) in try file.write(bytes) } }
    position += Int64(bytes.count)
    spooled += Int64(bytes.count)
  }
}

/// Places of entries in an archive: a bit for each.
struct OrdinalSet {
  private var words: [UInt64] = []
  var isEmpty: Bool { words.isEmpty }

  mutating func insert(_ ordinal: Int64) {
    let index = Int(ordinal / 64)
    while words.count <= index { words.append(0) }
    words[index] |= 1 << UInt64(ordinal % 64)
  }

  func contains(_ ordinal: Int64) -> Bool {
    let index = Int(ordinal / 64)
    return index < words.count && words[index] & (1 << UInt64(ordinal % 64)) != 0
  }
}
