/// What is mounted where, as this process sees it: `mountinfo` of proc(5).
import CLinux
import Glibc

public struct MountTable: Sendable {
  public struct Mount: Sendable {
    /// As stat tells it of a block device's file system.
    public let device: UInt64
    /// ext4, tmpfs, nfs4 ...
    public let type: Bytes
    /// What was mounted: a device's name, `host:/path`, or any word.
    public let source: Bytes
  }

  /// By absolute paths without the leading slash; only what nothing was mounted over.
  private var mounts: [Bytes: Mount] = [:]
  /// The directories that have mount points directly in them.
  private var parents: Set<Bytes> = []

  /// nil where the system does not tell.
  public static func current() -> MountTable? {
    guard let text = try? Descriptor.open(Bytes("/proc/self/mountinfo"), .read).readAll(atMost: 64 << 20) else {
      return nil
    }
    return MountTable(text)
  }

  public init(_ text: Bytes) {
    for line in text.split(separator: 10) {
      let words = line.split(separator: 32)
      guard words.count >= 10, let dash = words.dropFirst(6).firstIndex(of: [UInt8(ascii: "-")]), dash + 2 < words.count
      else { continue }
      let numbers = words[2].split(separator: UInt8(ascii: ":")).compactMap { UInt32(Bytes($0).shown) }
      let path = Bytes(Self.decoded(words[4]).drop { $0 == 47 })
      // What is mounted over is out of reach.
      if !path.isEmpty { for hidden in mounts.keys.filter({ $0.isAtOrBelow(path) }) { mounts[hidden] = nil } }
      mounts[path] = Mount(
        device: numbers.count == 2 ? Status.device(numbers[0], numbers[1]) : 0, type: Bytes(words[dash + 1]),
        source: Self.decoded(words[dash + 2]))
    }
    parents = Set(mounts.keys.filter { !$0.isEmpty }.map { $0.splitAtName.parent })
  }

  /// Where something is mounted.
  public var points: some Sequence<Bytes> { mounts.keys }
  /// What is mounted on this very directory.
  public func mount(at path: Bytes) -> Mount? { mounts[path] }
  /// What is mounted on it or nearest above it, and where.
  public func mount(of path: Bytes) -> (Mount, at: Bytes)? {
    var path = path
    while true {
      if let mount = mounts[path] { return (mount, path) }
      if path.isEmpty { return nil }
      path = path.splitAtName.parent
    }
  }
  public func devices(ofType type: Bytes) -> Set<UInt64> {
    Set(mounts.values.lazy.filter { $0.type == type }.map(\.device))
  }
  /// Whether anything is mounted on a name directly in this directory.
  public func hasMounts(in directory: Bytes) -> Bool { parents.contains(directory) }

  /// Blanks and the like stand as a backslash and three octal digits.
  private static func decoded(_ text: ArraySlice<UInt8>) -> Bytes {
    var result = Bytes()
    var rest = text
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
        result.append(digits.reduce(0) { $0 &* 8 &+ ($1 &- 48) })
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
      }
    }
    return result
  }
}

extension MountTable.Mount {
  /// File systems that are made anew whenever they are mounted, or of which there is one.
  private static let nameless: Set<Bytes> = Set(
    [
      "tmpfs", "ramfs", "devtmpfs", "devpts", "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "hugetlbfs", "debugfs",
      "tracefs", "securityfs", "pstore", "bpf", "configfs", "fusectl", "binfmt_misc", "autofs", "overlay", "squashfs",
      "rpc_pipefs", "efivarfs", "nsfs",
    ].map { Bytes($0.utf8) })

  /// What tells it from other file systems and is the same after every boot. `directory`: one on it.
  func identity(_ directory: Descriptor) -> Bytes {
    if Self.nameless.contains(type) { return type }
    if let number = directory.stableFileSystemNumber { return type + [45] + Bytes(number.utf8) }
    if let uuid = uuid { return type + [45] + uuid }
    return source.starts(with: Bytes("/dev/loop")) ? type : type + [45] + source
  }

  private var uuid: Bytes? {
    let folder = Bytes("/dev/disk/by-uuid")
    guard device != 0, let names = try? Descriptor.open(folder, [.read, .directory]).sortedNames() else { return nil }
    return names.first { (try? Descriptor.open(folder.joined($0), .pathOnly).status().special) == device }
  }
}

extension Descriptor {
  /// What tells the file system this directory lies on from others; `mount`: what is mounted there, where that is known.
  public func fileSystemIdentity(_ mount: MountTable.Mount?) -> Bytes {
    if let mount { return mount.identity(self) }
    var s = statfs()
    guard fstatfs(raw, &s) == 0 else { return Bytes("unknown") }
    let type = Bytes(String(UInt64(truncatingIfNeeded: s.f_type), radix: 16).utf8)
    return stableFileSystemNumber.map { type + [45] + Bytes($0.utf8) } ?? type
  }

  /// `f_fsid` of statfs(2) where it is made of the UUID: ext, btrfs, f2fs, zfs and bcachefs.
  fileprivate var stableFileSystemNumber: String? {
    var s = statfs()
    guard fstatfs(raw, &s) == 0,
      [0xEF53, 0x9123_683E, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E].contains(UInt32(truncatingIfNeeded: s.f_type))
    else { return nil }
    let number = withUnsafeBytes(of: s.f_fsid) { bytes in
      (0..<8).reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[7 - $1]) }
    }
    let digits = String(number, radix: 16)
    return number == 0 ? nil : String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// Whether there is no name in this directory. Reads no more than its beginning.
  public func holdsNothing() throws(SystemError) -> Bool {
    let size = 4096
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
    defer { buffer.deallocate() }
    while true {
      let count = retrying { sheaf_getdents64(raw, buffer, size) }
      if count < 0 { throw .last("list", path) }
      if count == 0 { return true }
      // struct linux_dirent64: see `names`.
      var at = 0
      while at < count {
        let name = (buffer + at + 19).assumingMemoryBound(to: CChar.self)
        if strcmp(name, ".") != 0, strcmp(name, "..") != 0 { return false }
        at += Int(buffer.loadUnaligned(fromByteOffset: at + 16, as: UInt16.self))
      }
    }
  }
}
