/// Facts about this machine and this process: names, identities, limits.
import CArguments
import CLinux
import Glibc

public enum Host {
  /// The words of the command line, the program's name first.
  public static func commandLine() -> [Bytes] {
    var count: Int32 = 0
    guard let words = sheaf_arguments(&count) else { return [] }
    return (0..<Int(count)).compactMap { index in words[index].map { Bytes(cString: $0) } }
  }

  public static func name() -> Bytes {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return Bytes("host") }
    return Bytes(cString: buffer)
  }

  /// A random identity for this start of the kernel; empty where it has none.
  public static func bootIdentity() -> Bytes {
    guard let file = try? Descriptor.open(Bytes("/proc/sys/kernel/random/boot_id"), .read),
      let text = try? file.readAll(atMost: 64)
    else { return [] }
    return text.filter { $0 != UInt8(ascii: "\n") }
  }

  /// The identity of this installation, 32 hexadecimal digits, as machine-id(5) has it; nil where there is none, as in
  /// many containers and rescue systems. It is not to leave this machine as it is.
  public static func machineIdentity() -> Bytes? {
    for path in [Bytes("/etc/machine-id"), Bytes("/var/lib/dbus/machine-id")] {
      guard let text = try? Descriptor.open(path, [.read, .nonBlocking]).readAll(atMost: 64) else { continue }
      let id = Bytes(text.prefix { $0 > 32 })
      let isHex = id.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
      if id.count == 32, isHex, id.contains(where: { $0 != 48 }) { return id }
    }
    return nil
  }

  /// The inode of the namespace that process numbers belong to, namespaces(7); nil where the kernel does not tell.
  public static func processNamespace() -> UInt64? {
    // A link as `pid:[4026531836]`.
    guard let link = try? Descriptor.workingDirectory.readLink(Bytes("/proc/self/ns/pid")) else { return nil }
    return UInt64(Bytes(link.filter { (48...57).contains($0) }).shown)
  }

  /// When a process began, in ticks since the kernel did, as proc(5) has it; nil where that cannot be told: there is no
  /// such process, it is hidden, or `/proc` counts in another namespace than we do.
  public static func start(ofProcess process: Int32) -> UInt64? {
    guard let own = try? Descriptor.workingDirectory.readLink(Bytes("/proc/self")), own == Bytes("\(getpid())".utf8),
      let stat = try? Descriptor.open(Bytes("/proc/\(process)/stat".utf8), .read).readAll(atMost: 4096),
      // The state stands behind the name, which is in brackets and may hold anything; the start is the 20th from there.
      let bracket = stat.lastIndex(of: UInt8(ascii: ")"))
    else { return nil }
    let words = stat[(bracket + 1)...].split(separator: 32)
    return words.count > 19 ? UInt64(Bytes(words[19]).shown) : nil
  }

  /// The clock when the kernel was started; nil where that cannot be told.
  public static func bootTime() -> Timestamp? {
    var time = timespec()
    guard clock_gettime(CLOCK_BOOTTIME, &time) == 0 else { return nil }
    return Timestamp(seconds: Timestamp.now().seconds - Int64(time.tv_sec))
  }

  public static var processID: Int32 { getpid() }
  public static var isRoot: Bool { geteuid() == 0 }
  public static var userID: UInt32 { geteuid() }
  public static var groupID: UInt32 { getegid() }

  /// False where no such process is there, or where it has ended and only waits to be asked for (a zombie).
  public static func isRunning(process: Int32) -> Bool {
    guard kill(process, 0) == 0 || errno != ESRCH else { return false }
    // proc(5): the state stands behind the name, which is in brackets and may hold anything.
    guard let stat = try? Descriptor.open(Bytes("/proc/\(process)/stat".utf8), .read).readAll(atMost: 4096),
      let bracket = stat.lastIndex(of: UInt8(ascii: ")")), bracket + 2 < stat.count
    else { return true }
    return stat[bracket + 2] != UInt8(ascii: "Z")
  }

  /// `count` bytes from the kernel's random source.
  public static func random(_ count: Int) -> Bytes {
    var bytes = Bytes(repeating: 0, count: count)
    var done = 0
    while done < count {
      let n = bytes.withUnsafeMutableBytes { getrandom($0.baseAddress! + done, count - done, 0) }
      if n > 0 { done += n }
    }
    return bytes
  }

  /// Lets this process open as many files as the system allows.
  public static func raiseFileLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit)
  }

  /// Where file systems are mounted, the newest first, as `/proc/self/mounts` (proc(5)) lists them.
  public static func mountPoints() -> [Bytes] { mounts { _, _ in true } }

  /// Where a drive may be mounted. What another machine or another program serves is left out: it may be gone, and then
  /// a mere look at it waits for ever.
  public static func drives() -> [Bytes] {
    mounts { source, type in
      let isServed = type.starts(with: Bytes("fuse.")) && source.first != 47
      return !isServed && !far.contains(type)
    }
  }

  /// autofs is no file system of its own: a look mounts what it stands for.
  private static let far: Set<Bytes> = Set(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "coda", "ncpfs", "lustre", "autofs"].map {
      Bytes($0.utf8)
    })

  private static func mounts(_ isWanted: (_ source: Bytes, _ type: Bytes) -> Bool) -> [Bytes] {
    guard let text = try? Descriptor.open(Bytes("/proc/self/mounts"), .read).readAll() else { return [] }
    return text.split(separator: 10).reversed().compactMap { line in
      let words = line.split(separator: 32)
      guard words.count > 2, isWanted(Bytes(words[0]), Bytes(words[2])) else { return nil }
      return unescaped(words[1])
    }
  }

  /// Blanks and backslashes stand there as three octal digits.
  private static func unescaped(_ text: ArraySlice<UInt8>) -> Bytes {
    var result = Bytes()
    var rest = text
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      guard byte == 92, digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) else {
        result.append(byte)
        continue
      }
      result.append(UInt8(truncatingIfNeeded: digits.reduce(0) { $0 << 3 | Int($1 - 48) }))
      rest = rest.dropFirst(3)
    }
    return result
  }

  public static func environment(_ name: StaticString) -> Bytes? {
    let value = name.withUTF8Buffer { _ in
      name.utf8Start.withMemoryRebound(to: CChar.self, capacity: name.utf8CodeUnitCount + 1) { getenv($0) }
    }
    return value.map { Bytes(cString: $0) }
  }

  /// From now on the memory of this process goes into no core file, and others of this user cannot look into it.
  /// The corresponding C function is `prctl` with `PR_SET_DUMPABLE`.
  public static func forbidDumps() { _ = sheaf_forbid_dumps() }

  /// The absolute path with every symbolic link resolved. The corresponding C function is `realpath`.
  public static func resolved(_ path: Bytes) throws(SystemError) -> Bytes {
    guard let found = path.withCString({ realpath($0, nil) }) else { throw .last("resolve", path) }
    defer { free(found) }
    return Bytes(cString: found)
  }
}

/// Names and numbers of users and groups, looked up once each.
public final class OwnerNames: Sendable {
  private struct Known {
    var users: [UInt32: Bytes] = [:]
    var groups: [UInt32: Bytes] = [:]
    var userIDs: [Bytes: UInt32?] = [:]
    var groupIDs: [Bytes: UInt32?] = [:]
  }
  private let known = Monitor(Known())

  public init() {}

  /// Empty where the number has no name.
  public func user(_ uid: UInt32) -> Bytes {
    look(\.users, uid) { getpwuid(uid).map { Bytes(cString: $0.pointee.pw_name) } ?? [] }
  }

  public func group(_ gid: UInt32) -> Bytes {
    look(\.groups, gid) { getgrgid(gid).map { Bytes(cString: $0.pointee.gr_name) } ?? [] }
  }

  /// nil where this machine has no such user.
  public func userID(_ name: Bytes) -> UInt32? {
    look(\.userIDs, name) { name.withCString { getpwnam($0)?.pointee.pw_uid } }
  }

  public func groupID(_ name: Bytes) -> UInt32? {
    look(\.groupIDs, name) { name.withCString { getgrnam($0)?.pointee.gr_gid } }
  }

  private func look<Key, Value>(
    _ table: WritableKeyPath<Known, [Key: Value]>, _ key: Key, _ find: () -> Value
  ) -> Value {
    known.look { known in
      if let value = known[keyPath: table][key] { return value }
      let value = Self.lookup.look { _ in find() }
      known[keyPath: table][key] = value
      return value
    }
  }

  /// The C functions give all threads the same memory.
  private static let lookup = Monitor(())
}
