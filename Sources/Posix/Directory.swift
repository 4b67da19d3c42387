/// Listing a directory and changing what is in it, always relative to its open descriptor.
import CLinux
import Glibc

/// The names of one directory in one run of memory, each ended by a NUL, as the kernel gave them.
public struct NameList: ~Copyable {
  public private(set) var bytes: Bytes = []
  /// Where each name starts in `bytes`.
  public private(set) var starts: [Int] = []

  init() {}

  public init(_ names: [Bytes]) {
    for name in names {
      starts.append(bytes.count)
      bytes += name
      bytes.append(0)
    }
  }

  mutating func append(_ name: UnsafePointer<CChar>) {
    let length = strlen(name)
    starts.append(bytes.count)
    name.withMemoryRebound(to: UInt8.self, capacity: length + 1) {
      bytes.append(contentsOf: UnsafeBufferPointer(start: $0, count: length + 1))
    }
  }
}

extension Descriptor {
  /// Every name but `.` and `..`, in no order. The corresponding C function is `getdents64`: readdir(3) would open
  /// the directory a second time. What was listed before is opened anew: sshfs and its like answer a directory that was
  /// rewound with what they answered before, or with nothing.
  public func names() throws(SystemError) -> NameList {
    guard lseek(raw, 0, SEEK_CUR) == 0 else {
      do throws(SystemError) { return try open(Bytes("."), [.read, .directory]).remainingNames() } catch {
        // A directory that may be read and not be entered.
        guard error.isForbidden else { throw error }
      }
      guard lseek(raw, 0, SEEK_SET) >= 0 else { throw failed("list", path, changes: false) }
      return try remainingNames()
    }
    return try remainingNames()
  }

  private func remainingNames() throws(SystemError) -> NameList {
    var list = NameList()
    let size = 32768
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
    defer { buffer.deallocate() }
    while true {
      let count = retrying { sheaf_getdents64(raw, buffer, size) }
      if count < 0 { throw failed("list", path, changes: false) }
      if count == 0 { return list }
      // struct linux_dirent64: inode and offset of 8 bytes each, length of 2, type of 1, the name and its NUL.
      var at = 0
      while at < count {
        let length = Int(buffer.loadUnaligned(fromByteOffset: at + 16, as: UInt16.self))
        let name = (buffer + at + 19).assumingMemoryBound(to: CChar.self)
        at += length
        let dot = CChar(UInt8(ascii: "."))
        if name[0] == dot, name[1] == 0 || (name[1] == dot && name[2] == 0) { continue }
        list.append(name)
      }
    }
  }

  /// The same as a list of names, sorted bytewise: for directories known to be small.
  public func sortedNames() throws(SystemError) -> [Bytes] {
    // Several threads may list one directory: each from the beginning, and whole.
    let fresh = try? open(Bytes("."), [.read, .directory])
    let list = try (fresh ?? self).names()
    var result: [Bytes] = []
    for start in list.starts { result.append(Bytes(list.bytes[start...].prefix { $0 != 0 })) }
    return result.sorted { $0.lexicographicallyPrecedes($1) }
  }

  /// `changes`: what an input/output error of it says is that the drive fails. Of what a file system may not know at
  /// all (links, devices, owners) it does not: exfat-fuse answers so. `frees`: it makes room.
  private func call(
    _ operation: String, _ name: Bytes, changes: Bool = false, frees: Bool = false,
    _ body: (UnsafePointer<CChar>) -> Int32
  ) throws(SystemError) {
    try checkDrive(operation, path.joined(name), frees: frees)
    guard name.withCString({ text in retrying { body(text) } }) == 0 else {
      throw failed(operation, path.joined(name), changes: changes)
    }
  }

  /// Makes a private directory at an absolute path, and those above it that are missing.
  public static func makeDirectories(_ path: Bytes) throws(SystemError) {
    var above = Bytes()
    for part in path.split(separator: 47) {
      above += [47] + part
      do throws(SystemError) { try workingDirectory.makeDirectory(above, mode: 0o700) } catch {
        guard error.isExisting else { throw error }
      }
    }
  }

  public func makeDirectory(_ name: Bytes, mode: UInt16 = 0o777) throws(SystemError) {
    let access = drive?.access
    let first = access == nil ? mode : 0o700
    try call("make directory", name, changes: true) { mkdirat(raw, $0, mode_t(first)) }
    if let access, let made = try? open(name, [.read, .directory, .noFollow]) {
      made.give(access, access.directoryMode)
    }
  }

  public func removeFile(_ name: Bytes) throws(SystemError) {
    try call("remove", name, changes: true, frees: true) { unlinkat(raw, $0, 0) }
  }

  public func removeDirectory(_ name: Bytes) throws(SystemError) {
    try call("remove directory", name, changes: true, frees: true) { unlinkat(raw, $0, AT_REMOVEDIR) }
  }

  public func makeSymlink(_ name: Bytes, to target: Bytes) throws(SystemError) {
    try call("make symbolic link", name) { link in target.withCString { symlinkat($0, raw, link) } }
  }

  public func makeNode(_ name: Bytes, kind: FileKind, mode: UInt16, major: UInt32, minor: UInt32) throws(SystemError) {
    let type: mode_t =
      switch kind {
      case .characterDevice: S_IFCHR
      case .blockDevice: S_IFBLK
      case .socket: S_IFSOCK
      default: S_IFIFO
      }
    try call(kind == .fifo ? "make fifo" : "make device", name) {
      mknodat(raw, $0, type | mode_t(mode), dev_t(sheaf_makedev(major, minor)))
    }
  }

  /// Gives `name` here a second name. The corresponding C function is `linkat`, following nothing.
  public func makeHardLink(of name: Bytes, as newName: Bytes, in directory: Descriptor) throws(SystemError) {
    try directory.call("make hard link", newName) { new in
      name.withCString { linkat(raw, $0, directory.raw, new, 0) }
    }
  }

  /// Gives an open file that has no name yet one here. The corresponding C function is `linkat`.
  public func link(_ file: Descriptor, as name: Bytes) throws(SystemError) {
    try call("make", name, changes: true) { new in
      // Only some may do it this way: those who may read everything, and with newer kernels who opened the file.
      if linkat(file.raw, "", raw, new, Int32(SHEAF_AT_EMPTY_PATH)) == 0 { return 0 }
      guard errno == ENOENT || errno == EINVAL else { return -1 }
      return linkat(AT_FDCWD, "/proc/self/fd/\(file.raw)", raw, new, AT_SYMLINK_FOLLOW)
    }
  }

  /// Renames within one file system, replacing what has the new name.
  public func rename(_ name: Bytes, to newName: Bytes, in directory: Descriptor? = nil) throws(SystemError) {
    let target = directory ?? self
    try call("rename", name, changes: true) { old in newName.withCString { renameat(raw, old, target.raw, $0) } }
  }

  /// Renames to a name that must not exist. Where the file system cannot promise that (exFAT, vfat give EINVAL) the
  /// name is looked at first: the lock of the series keeps others away.
  public func renameToNew(_ name: Bytes, _ newName: Bytes) throws(SystemError) {
    try checkDrive("rename to", path.joined(newName))
    let code: Int32 = name.withCString { old in
      newName.withCString { new in
        retrying { sheaf_renameat2(raw, old, raw, new, UInt32(SHEAF_RENAME_NOREPLACE)) } == 0 ? 0 : errno
      }
    }
    if code == 0 { return }
    guard code == EINVAL || code == ENOSYS || code == ENOTSUP else {
      let error = SystemError("rename to", path.joined(newName), code)
      drive?.note(error, changes: true)
      throw error
    }
    if newName.withCString({ status(of: $0) }) != nil { throw SystemError("rename to", path.joined(newName), EEXIST) }
    try rename(name, to: newName)
  }

  /// The target of a symbolic link, every byte of it.
  public func readLink(_ name: Bytes) throws(SystemError) -> Bytes {
    var capacity = 256
    while true {
      var length = 0
      let target = Bytes(unsafeUninitializedCapacity: capacity) { buffer, filled in
        length = name.withCString {
          readlinkat(
            raw, $0, UnsafeMutableRawPointer(buffer.baseAddress!).assumingMemoryBound(to: CChar.self), capacity)
        }
        filled = max(length, 0)
      }
      if length < 0 { throw .last("read link", path.joined(name)) }
      if length < capacity { return target }
      capacity *= 4
    }
  }

  public func setOwner(_ name: Bytes, uid: UInt32, gid: UInt32) throws(SystemError) {
    try call("set the owner of", name) { fchownat(raw, $0, uid, gid, AT_SYMLINK_NOFOLLOW) }
  }

  public func setOwner(uid: UInt32, gid: UInt32) throws(SystemError) {
    guard fchown(raw, uid, gid) == 0 else { throw .last("set the owner of", path) }
  }

  /// Never on a symbolic link, which has no mode: one that took the name's place meanwhile gives an error.
  public func setMode(_ name: Bytes, _ mode: UInt16) throws(SystemError) {
    try call("set the mode of", name) { fchmodat(raw, $0, mode_t(mode), AT_SYMLINK_NOFOLLOW) }
  }

  public func setMode(_ mode: UInt16) throws(SystemError) {
    guard fchmod(raw, mode_t(mode)) == 0 else { throw .last("set the mode of", path) }
  }

  /// Sets the modification time and leaves the access time, but where `andAccessed`: file systems behind libfuse 2
  /// (exfat-fuse) do nothing and say nothing when only one of the two is given.
  public func setModified(_ name: Bytes, _ time: Timestamp, andAccessed: Bool = false) throws(SystemError) {
    let times = [andAccessed ? time.timespec : timespec(tv_sec: 0, tv_nsec: Int(omitTime)), time.timespec]
    try call("set the time of", name) { utimensat(raw, $0, times, AT_SYMLINK_NOFOLLOW) }
  }

  public func setModified(_ time: Timestamp, andAccessed: Bool = false) throws(SystemError) {
    let times = [andAccessed ? time.timespec : timespec(tv_sec: 0, tv_nsec: Int(omitTime)), time.timespec]
    guard futimens(raw, times) == 0 else { throw .last("set the time of", path) }
  }
}

/// `UTIME_OMIT` of `<sys/stat.h>`, a macro with a cast that Swift does not import.
private let omitTime = (1 << 30) - 2
