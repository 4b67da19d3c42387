/// An open file or directory, and all that is read from or written to it.
import CLinux
import Glibc
import Synchronization

public final class Descriptor: Sendable {
  public let raw: Int32
  /// As it was opened, for messages.
  public let path: Bytes
  /// What it lies on, where that is watched; what is opened through a directory lies on the same.
  public let drive: Drive?

  @usableFromInline init(raw: Int32, path: Bytes, drive: Drive? = nil) {
    self.raw = raw
    self.path = path
    self.drive = drive
  }

  private let closed = Atomic<Bool>(false)

  /// Whether `close` was called.
  public var isClosed: Bool { closed.load(ordering: .relaxed) }

  /// Only the safety net: what was written is closed by `close()`, which says whether that failed.
  deinit { if !isClosed { Glibc.close(raw) } }

  /// The corresponding C function is `close`. The descriptor is gone afterwards whatever it says.
  public func close() throws(SystemError) {
    guard !closed.exchange(true, ordering: .relaxed) else { return }
    if Glibc.close(raw) != 0, errno != EINTR { throw failed("close", path, changes: true) }
  }

  public struct Flags: OptionSet, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }
    public static let read = Flags([])
    public static let write = Flags(rawValue: O_WRONLY)
    public static let readWrite = Flags(rawValue: O_RDWR)
    public static let create = Flags(rawValue: O_CREAT)
    public static let exclusive = Flags(rawValue: O_EXCL)
    public static let truncate = Flags(rawValue: O_TRUNC)
    public static let append = Flags(rawValue: O_APPEND)
    public static let directory = Flags(rawValue: O_DIRECTORY)
    public static let noFollow = Flags(rawValue: O_NOFOLLOW)
    public static let nonBlocking = Flags(rawValue: O_NONBLOCK)
    /// Leaves the access time alone; only the owner may ask for it, so it is dropped where refused.
    public static let noAccessTime = Flags(rawValue: Int32(SHEAF_O_NOATIME))
    public static let pathOnly = Flags(rawValue: Int32(SHEAF_O_PATH))
  }

  /// The working directory, for relative paths.
  public static let workingDirectory = Descriptor(raw: AT_FDCWD, path: [])

  /// The corresponding C function is `open`.
  public static func open(
    _ path: Bytes, _ flags: Flags, mode: UInt16 = 0o666, on drive: Drive? = nil
  ) throws(SystemError) -> Descriptor {
    try Descriptor(raw: AT_FDCWD, path: [], drive: drive).open(path, flags, mode: mode)
  }

  /// A name in this directory. The corresponding C function is `openat`.
  public func open(_ name: Bytes, _ flags: Flags, mode: UInt16 = 0o666) throws(SystemError) -> Descriptor {
    let changes = flags.contains(.create) || flags.contains(.truncate)
    if changes { try checkDrive("open", path.joined(name)) }
    let access = flags.contains(.create) ? drive?.access : nil
    let fd = name.withCString { open($0, flags, mode: access == nil ? mode : 0o600) }
    guard fd >= 0 else { throw failed("open", path.joined(name), changes: changes) }
    let file = Descriptor(raw: fd, path: path.joined(name), drive: drive)
    if let access { file.give(access, access.fileMode, in: self) }
    return file
  }

  /// As above, -1 with `errno` set where it fails; the caller closes: for hot loops.
  public func open(_ name: UnsafePointer<CChar>, _ flags: Flags, mode: UInt16 = 0o666) -> Int32 {
    let wanted = flags.rawValue | O_CLOEXEC
    let fd = retrying { sheaf_openat(raw, name, wanted, UInt32(mode)) }
    if fd < 0, errno == EPERM, flags.contains(.noAccessTime) {
      return retrying { sheaf_openat(raw, name, wanted & ~Flags.noAccessTime.rawValue, UInt32(mode)) }
    }
    return fd
  }

  /// A file in this directory that has no name and is gone when it is closed.
  public func openNameless() throws(SystemError) -> Descriptor {
    if let file = try? openUnlinked() { return file }
    // Not every file system has such files: then one whose name goes at once.
    let name = Bytes(".sheaf-\(getpid())-\(Timestamp.monotonicNanoseconds())".utf8)
    let file = try open(name, [.readWrite, .create, .exclusive, .noFollow], mode: 0o600)
    try removeFile(name)
    return file
  }

  /// A file in this directory that has no name yet: `link` gives it one, else it is gone when it is closed. Not every
  /// file system has such files. The corresponding C function is `open` with `O_TMPFILE`.
  public func openUnlinked() throws(SystemError) -> Descriptor {
    let flags = O_RDWR | Int32(SHEAF_O_TMPFILE) | O_CLOEXEC
    let fd = retrying { sheaf_openat(raw, ".", flags, 0o600) }
    guard fd >= 0 else { throw failed("open", path, changes: true) }
    return Descriptor(raw: fd, path: path, drive: drive)
  }

  /// Adopts a descriptor that `open(_:_:mode:)` on a C string gave.
  public static func adopting(_ raw: Int32, path: Bytes) -> Descriptor { Descriptor(raw: raw, path: path) }

  /// A path of any length below this directory: no symbolic link is followed, nothing above is reached.
  /// The corresponding C function is `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`; kernels before 5.6
  /// have it not, there every component is opened by itself with `O_NOFOLLOW`.
  public func openBeneath(_ relative: Bytes, _ flags: Flags, mode: UInt16 = 0o666) throws(SystemError) -> Descriptor {
    if relative.isEmpty { return try open(Bytes("."), flags, mode: mode) }
    var start = self
    var rest = relative[...]
    while rest.count >= Int(PATH_MAX) {
      // The longest run of whole components that the kernel takes.
      let window = rest[..<(rest.startIndex + Int(PATH_MAX) - 1)]
      guard let slash = window.lastIndex(of: UInt8(ascii: "/")) else {
        throw SystemError("open", path.joined(relative), ENAMETOOLONG)
      }
      start = try start.openShort(Bytes(rest[..<slash]), [.pathOnly, .directory], 0, whole: relative, root: self)
      rest = rest[(slash + 1)...]
    }
    return try start.openShort(Bytes(rest), flags, mode, whole: relative, root: self)
  }

  private func openShort(
    _ relative: Bytes, _ flags: Flags, _ mode: UInt16, whole: Bytes, root: Descriptor
  ) throws(SystemError) -> Descriptor {
    let creating = flags.contains(.create) ? UInt64(mode) : 0
    let resolve = UInt64(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    func attempt(_ flags: Flags) -> Int32 {
      relative.withCString { text in
        var tries = 0
        while true {
          let fd = retrying {
            sheaf_openat2(raw, text, UInt64(UInt32(bitPattern: flags.rawValue | O_CLOEXEC)), creating, resolve)
          }
          // EAGAIN: a rename elsewhere raced with the look-up, openat2(2) says to try again.
          if fd < 0, errno == EAGAIN, tries < 100 {
            tries += 1
            continue
          }
          return fd
        }
      }
    }
    var fd = attempt(flags)
    if fd < 0, errno == EPERM, flags.contains(.noAccessTime) { fd = attempt(flags.subtracting(.noAccessTime)) }
    if fd < 0, errno == ENOSYS { return try openByComponents(relative, flags, mode, whole: root.path.joined(whole)) }
    guard fd >= 0 else { throw failed("open", root.path.joined(whole), changes: false) }
    return Descriptor(raw: fd, path: root.path.joined(whole), drive: drive)
  }

  private func openByComponents(
    _ relative: Bytes, _ flags: Flags, _ mode: UInt16, whole: Bytes
  ) throws(SystemError) -> Descriptor {
    var directory = self
    let components = relative.split(separator: UInt8(ascii: "/"))
    for (index, component) in components.enumerated() {
      let name = Bytes(component)
      if name == Bytes("..") { throw SystemError("open", whole, EXDEV) }
      let last = index == components.count - 1
      let fd = name.withCString {
        last
          ? directory.open($0, flags.union(.noFollow), mode: mode)
          : directory.open($0, [.pathOnly, .directory, .noFollow])
      }
      guard fd >= 0 else { throw .last("open", whole) }
      directory = Descriptor(raw: fd, path: whole, drive: drive)
    }
    return directory
  }

  /// Reads up to `count` bytes at `offset`; fewer only at the end of the file.
  public func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(SystemError) -> Int {
    var done = 0
    while done < count {
      let n = retrying { pread(raw, buffer + done, count - done, off_t(offset) + done) }
      if n < 0 { throw failed("read", path, changes: false) }
      if n == 0 { break }
      done += n
    }
    return done
  }

  /// `count` bytes at `offset`, fewer only at the end of the file.
  public func read(count: Int, at offset: Int64) throws(SystemError) -> Bytes {
    var failure: SystemError?
    let bytes = Bytes(unsafeUninitializedCapacity: count) { buffer, filled in
      guard let start = buffer.baseAddress else { return }
      do throws(SystemError) { filled = try read(into: start, count: count, at: offset) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }

  /// What comes next in a pipe, a terminal or a file, waiting for it; 0 at the end.
  public func readSome(into buffer: UnsafeMutableRawPointer, count: Int) throws(SystemError) -> Int {
    let n = retrying { Glibc.read(raw, buffer, count) }
    if n < 0 { throw failed("read", path, changes: false) }
    return n
  }

  /// Whether a pipe has something, or its end, within that time.
  public func hasInput(withinMilliseconds limit: Int32) throws(SystemError) -> Bool {
    var one = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
    let count = poll(&one, 1, limit)
    // A signal is no input.
    if count < 0, errno != EINTR { throw failed("read", path, changes: false) }
    return count > 0
  }

  /// What a pipe has next, waiting for it; empty at its end.
  public func readSome(atMost limit: Int) throws(SystemError) -> Bytes {
    var failure: SystemError?
    let bytes = Bytes(unsafeUninitializedCapacity: limit) { buffer, filled in
      let n = retrying { Glibc.read(raw, buffer.baseAddress, limit) }
      if n < 0 { failure = failed("read", path, changes: false) }
      filled = max(n, 0)
    }
    if let failure { throw failure }
    return bytes
  }

  /// The whole of a small file or pipe.
  public func readAll(atMost limit: Int = .max) throws(SystemError) -> Bytes {
    var all = Bytes()
    var chunk = Bytes(repeating: 0, count: 65536)
    while all.count < limit {
      let n = chunk.withUnsafeMutableBytes { buffer in retrying { Glibc.read(raw, buffer.baseAddress, buffer.count) } }
      if n < 0 { throw failed("read", path, changes: false) }
      if n == 0 { break }
      all += chunk[..<n]
    }
    return all
  }

  /// Writes all of it at the file's position.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
    try checkDrive("write", path)
    var done = 0
    while done < bytes.count {
      let n = retrying { Glibc.write(raw, bytes.baseAddress! + done, bytes.count - done) }
      if n < 0 { throw failed("write", path, changes: true) }
      done += n
    }
  }

  public func write(_ bytes: Bytes) throws(SystemError) {
    var failure: SystemError?
    bytes.withUnsafeBytes { buffer in
      do throws(SystemError) { try write(buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Writes all of it at `offset`.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemError) {
    try checkDrive("write", path)
    var done = 0
    while done < bytes.count {
      let n = retrying { pwrite(raw, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + done) }
      if n < 0 { throw failed("write", path, changes: true) }
      done += n
    }
  }

  /// Where the next `write` without an offset goes.
  public func seek(to offset: Int64) throws(SystemError) {
    guard lseek(raw, off_t(offset), SEEK_SET) >= 0 else { throw failed("seek in", path, changes: false) }
  }

  public func truncate(to size: Int64) throws(SystemError) {
    try checkDrive("set the size of", path)
    guard retrying({ ftruncate(raw, off_t(size)) }) == 0 else { throw failed("set the size of", path, changes: true) }
  }

  /// Makes what was written durable. For a directory, EINVAL and ENOTSUP mean that the file system has no such
  /// thing and are let pass; EIO never is, and a failed sync is final (the kernel forgets the error).
  public func sync(directory: Bool = false) throws(SystemError) {
    try checkDrive("make durable", path)
    guard retrying({ fsync(raw) }) != 0 else { return }
    if directory, errno == EINVAL || errno == ENOTSUP { return }
    throw failed("make durable", path, changes: true)
  }

  /// Makes durable all that was written to the file system this lies on. The corresponding C function is `syncfs`.
  public func syncFileSystem() throws(SystemError) {
    try checkDrive("make durable", path)
    guard retrying({ sheaf_syncfs(raw) }) == 0 else { throw failed("make durable", path, changes: true) }
  }

  /// Where the next hole begins at or after `offset` (the file's end counts as one), or data where `data`.
  /// nil: no more, or the file system cannot tell. The corresponding C function is `lseek` with `SEEK_HOLE`.
  public func next(data: Bool, from offset: Int64) throws(SystemError) -> Int64? {
    let found = lseek(raw, off_t(offset), data ? 3 : 4)  // SEEK_DATA, SEEK_HOLE
    // What cannot be read is no hole.
    guard found >= 0 || [ENXIO, EINVAL, EOPNOTSUPP].contains(errno) else {
      throw SystemError("look for holes in", path, errno)
    }
    return found < 0 ? nil : Int64(found)
  }

  /// Lets the kernel forget what it holds of the file, so that the next read asks the medium; only what is durable goes.
  public func dropCache() { posix_fadvise(raw, 0, 0, POSIX_FADV_DONTNEED) }

  /// Tells the kernel that the file is read once, from front to back.
  public func adviseSequential() { posix_fadvise(raw, 0, 0, POSIX_FADV_SEQUENTIAL) }

  public var isTerminal: Bool { isatty(raw) == 1 }
  /// Columns of the terminal; nil where it is none.
  public var terminalColumns: Int? {
    let columns = Int(sheaf_terminal_size(raw).ws_col)
    return columns > 0 ? columns : nil
  }

  public static let standardInput = Descriptor(raw: 0, path: Bytes("standard input"))
  public static let standardOutput = Descriptor(raw: 1, path: Bytes("standard output"))
  public static let standardError = Descriptor(raw: 2, path: Bytes("standard error"))
}
