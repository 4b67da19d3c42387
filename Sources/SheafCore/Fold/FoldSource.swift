/// An archive that is folded into another: finds entries in it from front to back, and vouches for every byte of it.
import Posix
import Storage
import Tar

/// A gzip member of it with the entries that begin there.
final class FoldMember {
  struct Item {
    var path: Bytes
    var isDirectory: Bool
    /// Headers, data and padding, as far as they are in this member.
    var range: Range<Int>
    var data: Int
    /// Of the data, which may go on in the members that follow.
    var size: Int64
    /// A directory entry with deletions or notes (a dumpdir, a comment). Never copied as it is.
    var isSpecial: Bool
  }
  let offset: Int64
  let length: Int
  fileprivate(set) var items: [Item] = []
  /// Held for as long as the shelf has room.
  fileprivate(set) var compressed: Buffer?
  fileprivate(set) var inflated: Buffer?
  fileprivate var lastUse = 0

  fileprivate init(offset: Int64, compressed: Buffer) {
    self.offset = offset
    length = compressed.count
    self.compressed = compressed
  }
}

/// Part of a member.
struct FoldSlice {
  let source: FoldSource
  let member: FoldMember
  var range: Range<Int>
  /// Where the entry's data begins in the inflated member.
  var data: Int
  var size: Int64

  /// Whether this part is, byte for byte, the entry that `header` makes: one without data.
  func isEntry(_ header: TarHeader) throws(Failure) -> Bool {
    let (_, inflated) = try source.load(member)
    let wanted = Buffer()
    header.append(to: wanted)
    return wanted.bytes.elementsEqual(inflated.bytes[range])
  }
}

/// Keeps the members that were used last, so many bytes of them: a chain may have hundreds of archives.
final class FoldShelf {
  private var held: [FoldMember] = []
  private var bytes = 0
  private var clock = 0
  private static let limit = 24 << 20

  fileprivate func use(_ member: FoldMember) {
    clock += 1
    member.lastUse = clock
  }

  fileprivate func hold(_ member: FoldMember) {
    use(member)
    held.append(member)
    bytes += size(member)
    while bytes > Self.limit, held.count > 1 {
      let oldest = held.indices.min { held[$0].lastUse < held[$1].lastUse }!
      let member = held.remove(at: oldest)
      bytes -= size(member)
      member.compressed = nil
      member.inflated = nil
    }
  }

  private func size(_ member: FoldMember) -> Int {
    (member.compressed?.capacity ?? 0) + (member.inflated?.capacity ?? 0)
  }
}

/// Not for use from several threads.
final class FoldSource {
  let set: SetName
  let id: SetID
  private let archive: ArchiveReader
  private let volumes: VolumeDigests
  private let forms: (_ volume: Bytes) throws(StoreError) -> SealedForm?
  private let hasher: FoldHasher
  private let shelf: FoldShelf
  private let inflater = Decompressor()
  /// Damaged gzip members are passed over. Only after all files of the point were read and found whole.
  private let skipsDamage: Bool
  /// Where the next member begins.
  private(set) var offset: Int64 = 0
  private var current: FoldMember?
  private var position = 0

  init(
    _ set: SetName, in series: Series, _ shelf: FoldShelf, _ hasher: FoldHasher, skipsDamage: Bool
  ) throws(Failure) {
    self.set = set
    self.skipsDamage = skipsDamage
    archive = try ArchiveReader(set, in: series)
    if let shortfall = archive.shortfalls.first { throw .damaged(shortfall) }
    id = archive.id
    volumes = VolumeDigests(archive.isSealed ? [] : archive.volumes)
    forms = series.sealedForms
    self.hasher = hasher
    self.shelf = shelf
  }

  func damaged(_ offset: Int64, _ what: String) -> Failure {
    .damaged("\(set.archive): \(Show.member(at: offset)) \(what)")
  }

  // MARK: - Finding entries

  /// The entry of this path; nil where the archive has none. To be asked for in the order of the archive.
  func find(_ path: Bytes, isDirectory: Bool) throws(Failure) -> FoldSlice? {
    while true {
      if let member = current {
        while position < member.items.count {
          let item = member.items[position]
          let order = item.isSpecial ? -1 : Self.order(item.path, item.isDirectory, path, isDirectory)
          if order > 0 { return nil }
          position += 1
          if order == 0 {
            return FoldSlice(source: self, member: member, range: item.range, data: item.data, size: item.size)
          }
        }
      }
      guard try lookAtNext() != nil else { return nil }
    }
  }

  /// Whether everything that began in the member looked at last has been found.
  var isAtEndOfMember: Bool { current.map { position == $0.items.count } ?? false }

  /// The next member that entries begin in, looked into; nil: there is none.
  func lookAtNext() throws(Failure) -> FoldMember? {
    while let (header, bytes) = try read() {
      // A further piece of a file that is not wanted.
      guard header.firstHeader != nil else { continue }
      let member = FoldMember(offset: offset - Int64(bytes.count), compressed: bytes)
      let inflated: Buffer
      do throws(Failure) {
        inflated = try inflate(member, bytes)
        try parse(member, inflated)
      } catch {
        guard skipsDamage, error.kind == .damaged else { throw error }
        continue
      }
      member.inflated = inflated
      shelf.hold(member)
      current = member
      position = 0
      return member
    }
    return nil
  }

  /// The gzip member looked at last, up to the end of this entry; the search goes on behind it. nil: the entry is not in it.
  func locate(_ path: Bytes, _ isDirectory: Bool) -> FoldSlice? {
    guard let member = current,
      let index = member.items.firstIndex(where: { !$0.isSpecial && $0.isDirectory == isDirectory && $0.path == path }),
      !member.items[..<index].contains(where: \.isSpecial)
    else { return nil }
    position = index + 1
    let item = member.items[index]
    return FoldSlice(
      source: self, member: member, range: 0..<item.range.upperBound, data: item.data, size: item.size)
  }

  /// The next member without a look into it, and how long it is inflated; nil: there is none.
  func nextMember() throws(Failure) -> (bytes: Buffer, inflated: Int)? {
    guard let (header, bytes) = try read() else { return nil }
    guard header.firstHeader == 0 else { throw damaged(offset - Int64(bytes.count), "belongs to no file") }
    return (bytes, GzipMember.storedLength(bytes.bytes))
  }

  /// A directory's entry stands at the head of its names.
  private static func order(_ a: Bytes, _ aIsDirectory: Bool, _ b: Bytes, _ bIsDirectory: Bool) -> Int {
    let (aParent, aName) = aIsDirectory ? (a, []) : a.splitAtName
    let (bParent, bName) = bIsDirectory ? (b, []) : b.splitAtName
    let order = PathOrder.compareDirectories(aParent, bParent)
    if order != 0 { return order }
    return aName.withUnsafeBufferPointer { a in
      bName.withUnsafeBufferPointer { b in PathOrder.compareNames(a, b) }
    }
  }

  private func parse(_ member: FoldMember, _ inflated: Buffer) throws(Failure) {
    var reader = TarReader(inflated.bytes)
    do throws(TarReader.Failure) {
      while let entry = try reader.next() {
        var path = entry.header.path
        let isDirectory = entry.header.type == .directory
        if isDirectory, path.last == 47 { path.removeLast() }
        let room = inflated.count - entry.data
        let size = entry.header.type == .hardLink ? 0 : entry.header.size
        let end = size <= Int64(room) ? min(inflated.count, entry.data + TarHeader.padded(Int(size))) : inflated.count
        member.items.append(
          .init(
            path: path, isDirectory: isDirectory, range: entry.start..<end, data: entry.data, size: size,
            isSpecial: isDirectory && !(entry.header.dumpdir.isEmpty && entry.header.comment.isEmpty)))
      }
    } catch { throw damaged(member.offset, "holds no tar entries that can be read") }
  }

  /// A further gzip member of the large file whose beginning was found last, and how long it is inflated.
  func nextPiece() throws(Failure) -> (bytes: Buffer, inflated: Int) {
    guard let (header, bytes) = try read(), header.firstHeader == nil else {
      throw .damaged("\(set.archive): ends within a file")
    }
    return (bytes, GzipMember.storedLength(bytes.bytes))
  }

  // MARK: - Reading members

  /// The next member of the archive, whose bytes are hashed for the volumes' digests.
  private func read() throws(Failure) -> (GzipMember, Buffer)? {
    guard offset < archive.size else { return nil }
    let bytes = Buffer(capacity: 4096)
    let member = try read(at: offset, into: bytes)
    offset += Int64(member.length)
    hasher.add(bytes, of: volumes)
    return (member, bytes)
  }

  private func read(at offset: Int64, into bytes: Buffer) throws(Failure) -> GzipMember {
    func fill(_ count: Int) throws(Failure) {
      bytes.reserve(count - bytes.count)
      let wanted = count - bytes.count
      let read = try stored { () throws(StoreError) in
        try archive.read(into: bytes.end, count: wanted, at: offset + Int64(bytes.count))
      }
      guard read == wanted else { throw damaged(offset, "is cut short") }
      bytes.count = count
    }
    bytes.count = 0
    try fill(GzipMember.headerLength)
    guard let member = GzipMember(headerAt: bytes.start) else { throw damaged(offset, "cannot be read") }
    try fill(member.length)
    return member
  }

  private func inflate(_ member: FoldMember, _ bytes: Buffer) throws(Failure) -> Buffer {
    let inflated = Buffer(capacity: max(64, GzipMember.storedLength(bytes.bytes) & 0xFFF_FFFF))
    do throws(Decompressor.Failure) { try inflater.inflate(bytes.bytes, into: inflated) } catch {
      throw damaged(member.offset, "is damaged")
    }
    return inflated
  }

  /// The member's bytes, read once more where the shelf had no room for them.
  func load(_ member: FoldMember) throws(Failure) -> (compressed: Buffer, inflated: Buffer) {
    if let compressed = member.compressed, let inflated = member.inflated {
      shelf.use(member)
      return (compressed, inflated)
    }
    let compressed = Buffer(capacity: member.length)
    _ = try read(at: member.offset, into: compressed)
    let inflated = try inflate(member, compressed)
    member.compressed = compressed
    member.inflated = inflated
    shelf.hold(member)
    return (compressed, inflated)
  }

  /// Reads what is left.
  func finish() throws(Failure) { while try read() != nil {} }

  /// Throws where a volume is not, byte for byte, what was written when its set was made. Nothing else checks the gzip
  /// members that were copied as they are. Only when the hasher has finished.
  func vouch() throws(Failure) {
    guard !skipsDamage else { return }
    let wrong = archive.isSealed ? try wrongStored() : volumes.wrong
    if let wrong { throw .damaged("\(wrong.fileName): its digest is not what its manifest says") }
  }

  /// The digests of an encrypted archive are those of its age files, so these are read once more.
  private func wrongStored() throws(Failure) -> SetFoot.Volume? {
    for volume in archive.volumes {
      let form = try stored { () throws(StoreError) in try forms(Bytes(volume.name.utf8)) }
      if form?.digest != volume.digest { return volume }
    }
    return nil
  }
}
