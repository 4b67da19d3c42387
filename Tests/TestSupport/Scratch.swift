/// A directory of its own for each test, gone when the test is done.
import CLinux
import Glibc
import Posix

/// Removed with all in it when the last reference goes; kept where `SHEAF_KEEP` is set. Readable by everyone, so that
/// tests may work in it as another user.
///
/// Hold it for as long as the directory is needed: as a property of the suite, or with `Scratch.with`.
public final class Scratch: Sendable {
  /// Absolute, without symbolic links.
  public let path: Bytes

  public init() throws(SystemError) {
    let template = Self.base.joined(Bytes("sheaf-test-XXXXXX"))
    var made: Bytes?
    template.withCString { text in
      if let name = mkdtemp(UnsafeMutablePointer(mutating: text)) { made = Bytes(cString: name) }
    }
    guard let made else { throw SystemError("make directory", template, errno) }
    path = try Host.resolved(made)
    try Descriptor.open(path, [.read, .directory]).setMode(0o755)
  }

  deinit {
    if Host.environment("SHEAF_KEEP") == nil { Self.remove(path) }
  }

  /// Runs `body` with a new directory that lives until `body` returns.
  public static func with<R>(_ body: (Scratch) throws -> R) throws -> R {
    let scratch = try Scratch()
    return try withExtendedLifetime(scratch) { try body(scratch) }
  }

  public func path(_ name: Raw) -> Bytes { path.joined(name.bytes) }

  public func write(_ name: Raw, _ contents: Raw) throws(SystemError) {
    try Descriptor.open(path(name), [.write, .create, .truncate]).write(contents.bytes)
  }

  public func read(_ name: Raw) throws(SystemError) -> Bytes { try Descriptor.open(path(name), .read).readAll() }

  /// `SHEAF_SCRATCH`, else `TMPDIR`, else `/tmp`; another place only where that one keeps no extended attributes and the other does.
  public static let base: Bytes = {
    let own = Host.environment("SHEAF_SCRATCH").flatMap { $0.isEmpty ? nil : $0 }
    let wanted = Host.environment("TMPDIR").flatMap { $0.isEmpty ? nil : $0 }
    let places = [own, wanted, Bytes("/tmp"), Bytes("/var/tmp")].compactMap { $0 }
    return places.first(where: keepsAttributes) ?? places[0]
  }()

  /// Whether tests of attributes make sense here.
  public static func keepsAttributes(_ directory: Bytes) -> Bool {
    let template = directory.joined(Bytes("sheaf-probe-XXXXXX"))
    var fd: Int32 = -1
    template.withCString { text in
      fd = mkstemp(UnsafeMutablePointer(mutating: text))
      if fd >= 0 { unlink(text) }
    }
    guard fd >= 0 else { return false }
    defer { close(fd) }
    return fsetxattr(fd, "user.sheaf", "1", 1, 0) == 0
      && fsetxattr(fd, "system.posix_acl_access", AccessList().value, AccessList().value.count, 0) == 0
  }

  /// Whether this process is root in full: in some containers root may make no devices and set no `trusted` attributes.
  public static let allowsEverything: Bool = {
    guard Host.isRoot, let scratch = try? Scratch(), let directory = try? Descriptor.open(scratch.path, .read) else {
      return false
    }
    return withExtendedLifetime(scratch) {
      do {
        try directory.setAttribute(Attribute("trusted.sheaf", "1"))
        try directory.makeNode(Bytes("null"), kind: .characterDevice, mode: 0o600, major: 1, minor: 3)
        return true
      } catch {
        return false
      }
    }
  }()

  /// Removes `path` and all below it, whatever the modes and however deep; stops at mount points, which stay, and
  /// follows nothing.
  public static func remove(_ path: Bytes) {
    let (parent, name) = path.splitAtName
    let above = parent.isEmpty ? Bytes(path.first == UInt8(ascii: "/") ? "/" : ".") : parent
    var directory = above.withCString { sheaf_openat(AT_FDCWD, $0, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }
    guard directory >= 0 else { return }
    defer { close(directory) }
    // The directories on the way down, each with the names that are still to be removed in it.
    var levels: [(name: Bytes, rest: [Bytes])] = [([], [name])]
    while !levels.isEmpty {
      if let next = levels[levels.count - 1].rest.popLast() {
        if next.withCString({ unlinkat(directory, $0, 0) }) == 0 { continue }
        guard let child = enter(next, in: directory) else { continue }
        close(directory)
        directory = child
        levels.append((next, listNames(child) ?? []))
      } else {
        let level = levels.removeLast()
        if levels.isEmpty { return }
        let up = sheaf_openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        guard up >= 0 else { return }
        close(directory)
        directory = up
        _ = level.name.withCString { unlinkat(directory, $0, AT_REMOVEDIR) }
      }
    }
  }

  private static func enter(_ name: Bytes, in directory: Int32) -> Int32? {
    name.withCString { name in
      let flags = UInt64(O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      // Not through a mount: a test may have bound a directory of the system in here.
      let within = UInt64(RESOLVE_NO_XDEV | RESOLVE_BENEATH)
      let path = sheaf_openat2(directory, name, UInt64(SHEAF_O_PATH) | flags, 0, within)
      guard path >= 0 else { return nil }
      close(path)
      _ = fchmodat(directory, name, 0o700, 0)
      let fd = sheaf_openat2(directory, name, flags, 0, within)
      return fd >= 0 ? fd : nil
    }
  }
}

/// The names in an open directory, sorted bytewise; nil where it may not be read.
func listNames(_ directory: Int32) -> [Bytes]? {
  let own = sheaf_openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
  guard own >= 0 else { return nil }
  guard let stream = fdopendir(own) else {
    close(own)
    return nil
  }
  defer { closedir(stream) }
  var names: [Bytes] = []
  while let entry = readdir(stream) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
      pointer.withMemoryRebound(to: CChar.self, capacity: 256) { Bytes(cString: $0) }
    }
    if name != [0x2e], name != [0x2e, 0x2e] { names.append(name) }
  }
  return names.map { Raw($0) }.sorted().map(\.bytes)
}

/// Two names change places in one step; nothing happens where one of them is not there.
public func exchange(_ a: Bytes, _ b: Bytes) {
  a.withCString { a in b.withCString { b in _ = sheaf_renameat2(AT_FDCWD, a, AT_FDCWD, b, 2) } }  // RENAME_EXCHANGE
}
