/// What `fstatat(2)` says of a file.
import CLinux
import Glibc

public enum FileKind: UInt8, Sendable {
  case file, directory, symlink, fifo, characterDevice, blockDevice, socket

  /// `S_IFMT` of a mode.
  public var typeBits: UInt32 {
    switch self {
    case .file: 0o100000
    case .directory: 0o040000
    case .symlink: 0o120000
    case .fifo: 0o010000
    case .characterDevice: 0o020000
    case .blockDevice: 0o060000
    case .socket: 0o140000
    }
  }

  init?(mode: UInt32) {
    switch mode & 0o170000 {
    case 0o100000: self = .file
    case 0o040000: self = .directory
    case 0o120000: self = .symlink
    case 0o010000: self = .fifo
    case 0o020000: self = .characterDevice
    case 0o060000: self = .blockDevice
    case 0o140000: self = .socket
    default: return nil
    }
  }
}

public struct Status: Equatable, Sendable {
  public var kind: FileKind
  /// The low twelve bits: setuid, setgid, sticky, rwxrwxrwx.
  public var mode: UInt16
  public var uid: UInt32
  public var gid: UInt32
  public var links: UInt32
  /// Bytes.
  public var size: Int64
  /// Of 512 bytes, as allocated.
  public var blocks: Int64
  public var modified: Timestamp
  public var changed: Timestamp
  public var device: UInt64
  public var inode: UInt64
  /// What a device node stands for.
  public var special: UInt64

  init(_ s: stat) {
    kind = FileKind(mode: s.st_mode) ?? .file
    mode = UInt16(truncatingIfNeeded: s.st_mode & 0o7777)
    uid = s.st_uid
    gid = s.st_gid
    links = UInt32(truncatingIfNeeded: s.st_nlink)
    size = Int64(s.st_size)
    blocks = Int64(s.st_blocks)
    modified = Timestamp(s.st_mtim)
    changed = Timestamp(s.st_ctim)
    device = UInt64(s.st_dev)
    inode = UInt64(s.st_ino)
    special = UInt64(s.st_rdev)
  }

  /// All zeros, where nothing is known.
  public static let unknown = Status(stat())

  /// A device's number as `st_dev` and `st_rdev` have it.
  public static func device(_ major: UInt32, _ minor: UInt32) -> UInt64 { sheaf_makedev(major, minor) }

  public var specialMajor: UInt32 { sheaf_major(special) }
  public var specialMinor: UInt32 { sheaf_minor(special) }
}

extension Descriptor {
  /// Of the open file itself. The corresponding C function is `fstat`.
  public func status() throws(SystemError) -> Status {
    var s = stat()
    guard fstat(raw, &s) == 0 else { throw .last("look at", path) }
    return Status(s)
  }

  /// Of a name in this directory, not following a symbolic link. The corresponding C function is `fstatat`.
  public func status(of name: Bytes) throws(SystemError) -> Status {
    let found: Status? = name.withCString { status(of: $0) }
    guard let found else { throw .last("look at", path.joined(name)) }
    return found
  }

  /// As above, nil with `errno` set where it fails: for hot loops.
  public func status(of name: UnsafePointer<CChar>) -> Status? {
    var s = stat()
    guard fstatat(raw, name, &s, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
    return Status(s)
  }

  /// Bytes free for this user and bytes in all on the file system. The corresponding C function is `fstatfs`.
  public func space() -> (free: Int64, total: Int64)? {
    var s = statfs()
    guard fstatfs(raw, &s) == 0 else { return nil }
    return (Int64(s.f_bavail) * Int64(s.f_bsize), Int64(s.f_blocks) * Int64(s.f_bsize))
  }

  /// What the file system is and has room for; nil where it does not tell. The corresponding C function is `fstatfs`.
  public func fileSystem() -> FileSystem? {
    var s = statfs()
    guard fstatfs(raw, &s) == 0 else { return nil }
    return FileSystem(s)
  }

  /// Whether this is on a file system that lies on a medium of this machine, which no other kernel writes to meanwhile.
  public var isLocalFileSystem: Bool {
    if isUnixFileSystem { return true }
    var s = statfs()
    guard fstatfs(raw, &s) == 0 else { return false }
    // FAT, exFAT, ntfs3; what FUSE serves may be anywhere
    return [0x4D44, 0x2011_BAB0, 0x7366_746E].contains(Int64(s.f_type))
  }

  /// Whether this is on btrfs, whose snapshots have an empty directory in the place of a subvolume.
  public var isBtrfs: Bool {
    var s = statfs()
    return fstatfs(raw, &s) == 0 && s.f_type == 0x9123_683E
  }

  /// `FileSystem.isUnix`; false where it does not tell.
  public var isUnixFileSystem: Bool { fileSystem()?.isUnix == true }

  /// Whether this is on FAT, whose files end below 4 GiB.
  public var isFAT: Bool {
    var s = statfs()
    return fstatfs(raw, &s) == 0 && s.f_type == 0x4D44
  }
}

public struct FileSystem: Sendable {
  /// Tells one file system from another; zeros where it has no such number.
  public let identity: UInt64
  /// Bytes that this user may still write: root has what is kept back for it.
  public let free: Int64
  /// Bytes in which a file takes its room.
  public let block: Int64
  /// How many files more can be made; nil where there is no such limit.
  public let freeFiles: Int64?
  /// Whether it is one of those known to keep inode numbers, owners, modes and nanoseconds as they were, by `f_type` as
  /// statfs(2) lists them. All others, FAT, exFAT, NTFS and those of the network, may not.
  public let isUnix: Bool
  /// Whether a file may take less room than its size: small ones are put with others, or all are compressed.
  public let isCompact: Bool
  /// Whether a file's holes take no room.
  public let keepsHoles: Bool

  init(_ s: statfs) {
    let id = s.f_fsid.__val
    identity = UInt64(UInt32(bitPattern: id.0)) << 32 | UInt64(UInt32(bitPattern: id.1))
    block = max(1, Int64(s.f_bsize))
    let blocks = Int64(clamping: geteuid() == 0 ? s.f_bfree : s.f_bavail)
    let (bytes, isTooLarge) = blocks.multipliedReportingOverflow(by: block)
    free = isTooLarge ? .max : bytes
    freeFiles = s.f_files > 0 ? Int64(clamping: s.f_ffree) : nil
    let type = Int64(s.f_type)
    isUnix =
      switch type {
      // ext, xfs, btrfs, tmpfs, zfs, f2fs, bcachefs
      case 0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x2FC1_2FC1, 0xF2F5_2010, 0xCA45_1A4E: true
      default: false
      }
    // ext, xfs, tmpfs, FAT, exFAT
    isCompact = ![0xEF53, 0x5846_5342, 0x0102_1994, 0x4D44, 0x2011_BAB0].contains(type)
    // FAT, exFAT
    keepsHoles = ![0x4D44, 0x2011_BAB0].contains(type)
  }

  /// What a file of so many bytes takes.
  public func room(for bytes: Int64) -> Int64 {
    if isCompact || bytes <= 0 { return max(0, bytes) }
    let (up, isTooLarge) = bytes.addingReportingOverflow(block - 1)
    return isTooLarge ? bytes : up / block * block
  }
}
