/// Everything there is to know of a tree on disk, read with plain system calls and none of the code under test, for
/// comparing it with another tree or with the same one later.
import CLinux
import Glibc
import Posix

public struct Snapshot: Sendable {
  public struct Entry: Equatable, Sendable {
    /// `S_IFMT` of the mode.
    public var type: UInt32
    /// The low twelve bits.
    public var mode: UInt16
    public var uid: UInt32
    public var gid: UInt32
    /// 0 for all but regular files.
    public var size: Int64
    public var modified: Timestamp
    /// When the inode last changed: tells whether something was touched that should not have been.
    public var changed: Timestamp
    public var target: Bytes
    public var special: UInt64
    public var digest: Digest
    public var attributes: [Attribute]
    /// Without the one that every file has at its end.
    public var holes: [Range<Int64>]
    var inode: Inode
    /// `errno` where the contents or the list of names could not be read.
    public var unreadable: Int32

    public var isDirectory: Bool { type == S_IFDIR }

    /// Whether a backup would take one for the other.
    public func isSame(as other: Entry) -> Bool {
      type == other.type && mode == other.mode && uid == other.uid && gid == other.gid && size == other.size
        && modified == other.modified && target == other.target && digest == other.digest
    }
    public var isSocket: Bool { type == S_IFSOCK }
  }

  struct Inode: Hashable, Sendable {
    var device: UInt64
    var number: UInt64
    var links: UInt64
  }

  /// By path from the tree's root; the root itself has the empty path.
  public private(set) var entries: [Raw: Entry] = [:]

  /// Reads the whole tree at `path`: any depth, any names. Access times stay where the kernel lets them.
  public init(of path: Bytes) throws(SystemError) {
    guard let root = path.withCString({ Reading.open(AT_FDCWD, $0, O_DIRECTORY) }) else {
      throw SystemError("open", path, errno)
    }
    try read(root, path)
  }

  init(entries: [Raw: Entry]) { self.entries = entries }

  public subscript(path: Raw) -> Entry? { entries[path] }

  /// Every path but the root's, sorted bytewise.
  public var paths: [Bytes] { entries.keys.sorted().map(\.bytes).filter { !$0.isEmpty } }

  /// What stands at and below `path`, as if that were the root.
  public func subtree(_ path: Raw) -> Snapshot {
    if path.bytes.isEmpty { return self }
    var below: [Raw: Entry] = [:]
    for (key, entry) in entries where key.isAtOrBelow(path) {
      below[Raw(Bytes(key.bytes.dropFirst(path.bytes.count + 1)))] = entry
    }
    return Snapshot(entries: below)
  }

  /// This tree with another one in the place of what stands at and below `path`.
  public func replacing(_ path: Raw, with other: Snapshot) -> Snapshot {
    var all = entries.filter { !$0.key.isAtOrBelow(path) }
    for (key, entry) in other.entries { all[key.bytes.isEmpty ? path : Raw(path.bytes.joined(key.bytes))] = entry }
    return Snapshot(entries: all)
  }

  /// Hard-link groups: for each path with other names in this tree, all names of its file, sorted.
  package func linkGroups(_ isWanted: (Raw) -> Bool) -> [Raw: [Raw]] {
    var names: [Inode: [Raw]] = [:]
    for (path, entry) in entries where !entry.isDirectory && entry.inode.links > 1 && isWanted(path) {
      names[entry.inode, default: []].append(path)
    }
    var groups: [Raw: [Raw]] = [:]
    for group in names.values where group.count > 1 {
      let sorted = group.sorted()
      for path in sorted { groups[path] = sorted }
    }
    return groups
  }

  /// Goes through the tree with one directory open at a time, back up by `..`.
  private mutating func read(_ root: Int32, _ rootPath: Bytes) throws(SystemError) {
    var directory = root
    defer { close(directory) }
    var levels: [(path: Bytes, rest: [Bytes])] = []
    entries[""] = try Reading.entry(directory, ".", rootPath)
    levels.append(([], reversed(directory, [])))
    // Nothing else may hold a level's list of names: each name taken from it would copy the whole.
    while !levels.isEmpty {
      guard let name = levels[levels.count - 1].rest.popLast() else {
        let level = levels.removeLast()
        if levels.isEmpty { return }
        guard let up = Reading.open(directory, "..", O_DIRECTORY) else {
          throw SystemError("open the directory above", level.path, errno)
        }
        close(directory)
        directory = up
        continue
      }
      let path = levels[levels.count - 1].path.joined(name)
      let entry = try name.withCString { name throws(SystemError) in try Reading.entry(directory, name, path) }
      entries[Raw(path)] = entry
      guard entry.isDirectory else { continue }
      guard let child = name.withCString({ Reading.open(directory, $0, O_DIRECTORY) }) else {
        entries[Raw(path)]!.unreadable = errno
        continue
      }
      // Nothing can be looked at in a directory without the right to search it, `..` neither.
      guard faccessat(child, "..", F_OK, 0) == 0 else {
        entries[Raw(path)]!.unreadable = errno
        close(child)
        continue
      }
      close(directory)
      directory = child
      levels.append((path, reversed(directory, path)))
    }
  }

  /// The names in it, the last first.
  private mutating func reversed(_ directory: Int32, _ path: Bytes) -> [Bytes] {
    guard let names = listNames(directory) else {
      entries[Raw(path)]!.unreadable = errno
      return []
    }
    return names.reversed()
  }
}

/// Reading one file.
private enum Reading {
  static func open(_ directory: Int32, _ name: UnsafePointer<CChar>, _ more: Int32) -> Int32? {
    let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | more
    var fd = sheaf_openat(directory, name, flags | Int32(SHEAF_O_NOATIME), 0)
    if fd < 0, errno == EPERM { fd = sheaf_openat(directory, name, flags, 0) }
    return fd < 0 ? nil : fd
  }

  static func entry(
    _ directory: Int32, _ name: UnsafePointer<CChar>, _ path: Bytes
  ) throws(SystemError) -> Snapshot.Entry {
    var s = stat()
    guard fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW) == 0 else { throw SystemError("look at", path, errno) }
    let type = s.st_mode & S_IFMT
    var entry = Snapshot.Entry(
      type: type, mode: UInt16(s.st_mode & 0o7777), uid: s.st_uid, gid: s.st_gid,
      size: type == S_IFREG ? Int64(s.st_size) : 0,
      modified: Timestamp(seconds: Int64(s.st_mtim.tv_sec), nanoseconds: Int32(s.st_mtim.tv_nsec)),
      changed: Timestamp(seconds: Int64(s.st_ctim.tv_sec), nanoseconds: Int32(s.st_ctim.tv_nsec)),
      target: [], special: type == S_IFCHR || type == S_IFBLK ? UInt64(s.st_rdev) : 0, digest: Digest(),
      attributes: try attributes(directory, name, path), holes: [],
      inode: .init(device: UInt64(s.st_dev), number: UInt64(s.st_ino), links: UInt64(s.st_nlink)), unreadable: 0)
    if type == S_IFLNK {
      var buffer = [CChar](repeating: 0, count: 65536)
      let length = readlinkat(directory, name, &buffer, buffer.count)
      guard length >= 0 else { throw SystemError("read link", path, errno) }
      entry.target = buffer[..<length].map { UInt8(bitPattern: $0) }
    }
    if type == S_IFREG {
      if let file = open(directory, name, 0) {
        defer { close(file) }
        entry.holes = holes(file, entry.size)
        entry.digest = try Digest(of: file, size: entry.size, holes: entry.holes, path)
      } else {
        entry.unreadable = errno
      }
    }
    return entry
  }

  private static func holes(_ file: Int32, _ size: Int64) -> [Range<Int64>] {
    var holes: [Range<Int64>] = []
    var position = 0
    while position < size {
      let start = lseek(file, position, 4)  // SEEK_HOLE
      if start < 0 || start >= size { break }
      let data = lseek(file, start, 3)  // SEEK_DATA; ENXIO: nothing but the hole follows
      let end = data < 0 ? Int(size) : data
      holes.append(Int64(start)..<Int64(end))
      position = end
    }
    return holes
  }

  /// Through `/proc`, as there is no call that takes a directory and a name and does not follow a link.
  private static func attributes(
    _ directory: Int32, _ name: UnsafePointer<CChar>, _ path: Bytes
  ) throws(SystemError) -> [Attribute] {
    let through = Bytes("/proc/self/fd/\(directory)/".utf8) + Bytes(cString: name)
    var buffer = [CChar](repeating: 0, count: 65536)
    let length = through.withCString { llistxattr($0, &buffer, buffer.count) }
    if length < 0 {
      if errno == ENOTSUP { return [] }
      throw SystemError("list the attributes of", path, errno)
    }
    var attributes: [Attribute] = []
    for key in buffer[..<length].split(separator: 0) {
      let key = key.map { UInt8(bitPattern: $0) }
      var value = Bytes(repeating: 0, count: 65536)
      let size = through.withCString { path in key.withCString { lgetxattr(path, $0, &value, value.count) } }
      // A file without the right to read it shows the names of its attributes, not their values.
      attributes.append(Attribute(name: key, value: size < 0 ? Bytes("unreadable") : Bytes(value[..<size])))
    }
    return attributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }
}
