/// One thing in a tree, as a manifest tells of it: everything a restore needs but the contents.
import Posix
import Tar

/// Where a file's bytes lie: consecutive bytes of a set's tar stream.
public struct Extent: Equatable, Sendable {
  /// The identity of the set.
  public var set: SetID
  /// Of the gzip member in which the bytes begin: its offset in the archive (all volumes in a row), in bytes.
  public var offset: Int64
  /// That member's number, from 0.
  public var member: Int64
  /// Where in the inflated member the bytes begin.
  public var inner: Int64
  /// Bytes; they may go on in the members that follow.
  public var length: Int64

  /// Where it begins, which tells it from all others.
  struct Place: Hashable {
    let set: SetID
    let offset: Int64
    let inner: Int64
  }
  var place: Place { Place(set: set, offset: offset, inner: inner) }
}

extension Extent {
  /// As a manifest tells it; nil where no file can lie there, so that places may be added up.
  init?(set: SetID, told n: [Int64]) {
    guard n.count == 4, n[0] <= 1 << 62, n[1] <= 1 << 62, n[2] <= Int64(GzipMember.inflatedLimit),
      n[3] <= Entry.sizeLimit
    else { return nil }
    self.init(set: set, offset: n[0], member: n[1], inner: n[2], length: n[3])
  }
}

/// What tells one set from all others: 64 random bits, shown as 16 hexadecimal digits.
public struct SetID: Hashable, Sendable {
  public var value: UInt64

  public init(value: UInt64) { self.value = value }
  public init?(text: Bytes) {
    guard text.count == 16, let value = UInt64(text.shown, radix: 16) else { return nil }
    self.value = value
  }

  static func random() -> SetID { SetID(value: Host.random(8).reduce(0) { $0 << 8 | UInt64($1) }) }
  /// Appends the text.
  func append(to out: Buffer) { withUnsafeBytes(of: value.bigEndian) { out.append(hex: $0) } }

  public var text: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

public struct Entry: Equatable, Sendable {
  /// The source's absolute path without the leading slash.
  public var path: Bytes
  public var kind: FileKind
  public var mode: UInt16
  public var uid: UInt32
  public var gid: UInt32
  public var userName: Bytes = []
  public var groupName: Bytes = []
  /// Bytes; 0 for all but files.
  public var size: Int64 = 0
  public var modified: Timestamp
  /// Of a symbolic link.
  public var linkTarget: Bytes = []
  public var major: UInt32 = 0
  public var minor: UInt32 = 0
  /// Of a file's contents, holes read as zeros.
  public var digest: Digest?
  public var attributes: [Attribute] = []
  /// The first of this inode's names in the tree, for each later one.
  public var hardLink: Bytes?
  /// Where a file has holes; sorted, apart.
  public var holes: [Range<Int64>] = []

  /// Of a file, in bytes: 1 PiB, holes included. Its digest is computed over all of them, which takes days already.
  static let sizeLimit: Int64 = 1 << 50
  /// Of a file's holes that are not stored, in bytes: 16 TiB. A few bytes of a manifest can tell of any hole, and the
  /// digest is computed over its zeros, which takes hours already.
  static let holeLimit: Int64 = 1 << 44
  /// No file system takes more: Linux lists at most 64 KiB of names.
  static let attributeLimit = 1 << 16

  /// Holes that a line tells of: beyond, the small ones are stored as the zeros they read as, from those below 64 KiB on.
  /// So a `comment` that tells of them stays below what libarchive takes.
  static let holesLimit = 15_000
  /// Where a line tells of so many, there may be more: a restore makes holes of what zeros it finds, too.
  static let manyHoles = 1000

  /// Of all extended attributes of an entry, names and values, in bytes: headers and line must fit into one gzip member.
  static let attributesLimit = 16 << 20

  // What holds for the source alone and is no part of a point's digest.
  public var changed = Timestamp(seconds: 0)
  public var inode: UInt64 = 0
  public var links: UInt32 = 1
  public var extents: [Extent] = []
  /// The holes are left out of the stored bytes (a GNU sparse entry).
  public var isStoredSparse = false
  /// It changed while it was read.
  public var isTorn = false
  /// It was written so shortly before it was read that a later write may show the same times.
  public var isRacy = false
  /// It could not be looked at by a full run, which took over what was known.
  public var isCarried = false
  /// A file whose contents were as they were: this set's archive does not have it.
  public var isMetadataOnly = false
  /// A directory: what older sets hold below its path is of another one.
  public var isFresh = false
  /// It could not be looked at either, but a fold put its last good copy into this set's own archive.
  public var isAdopted = false
  /// A directory that could not be listed, or not to its end: there may be more in it than is known.
  public var isUnlisted = false
  /// A directory where a file system begins, or a source on another one than the root's.
  public var fileSystem: FileSystemMark?

  public init(path: Bytes, status: Status) {
    self.path = path
    kind = status.kind
    mode = status.mode
    uid = status.uid
    gid = status.gid
    modified = status.modified
    if kind == .file { size = status.size }
    if kind == .characterDevice || kind == .blockDevice {
      major = status.specialMajor
      minor = status.specialMinor
    }
    changed = status.changed
    inode = status.inode
    links = kind == .directory ? 1 : status.links
  }

  init(path: Bytes, kind: FileKind, mode: UInt16, uid: UInt32, gid: UInt32, modified: Timestamp) {
    self.path = path
    self.kind = kind
    self.mode = mode
    self.uid = uid
    self.gid = gid
    self.modified = modified
  }

  /// Bytes of the file that are stored in its set's tar stream.
  public var storedSize: Int64 { isStoredSparse ? size - holes.reduce(0) { $0 + Int64($1.count) } : size }

  /// The stretches of the file that are not holes.
  public var segments: [Range<Int64>] { Self.gaps(between: holes, size: size) }

  /// What a file of `size` bytes has between these stretches of it, which are sorted and apart.
  static func gaps(between stretches: [Range<Int64>], size: Int64) -> [Range<Int64>] {
    var gaps: [Range<Int64>] = []
    var position: Int64 = 0
    for stretch in stretches {
      if stretch.lowerBound > position { gaps.append(position..<stretch.lowerBound) }
      position = stretch.upperBound
    }
    if position < size { gaps.append(position..<size) }
    return gaps
  }
}
