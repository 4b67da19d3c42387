/// Whole file systems to work on, in an image file behind a loop device: those of external drives, and those that can
/// be made to fail.
import Glibc
import Posix

/// Unmounted and gone when the last reference goes.
public final class Volume {
  public enum Kind: String, CaseIterable, Sendable {
    case ext4, xfs, btrfs, vfat, exfat, ntfs
    /// ext4 by a program of its own instead of the kernel.
    case fuse2fs

    /// Programs that make it and serve it.
    fileprivate var programs: [Raw] {
      switch self {
      case .ext4: ["mkfs.ext4"]
      case .xfs: ["mkfs.xfs"]
      case .btrfs: ["mkfs.btrfs"]
      case .vfat: ["mkfs.vfat"]
      case .exfat: ["mkfs.exfat", "mount.exfat-fuse"]
      case .ntfs: ["mkntfs", "ntfs-3g"]
      case .fuse2fs: ["mkfs.ext4", "fuse2fs"]
      }
    }

    fileprivate var options: [Raw] {
      switch self {
      case .ext4, .fuse2fs: ["-q", "-F"]
      case .xfs: ["-q", "-f"]
      case .btrfs: ["-q", "-f"]
      case .vfat, .exfat: []
      case .ntfs: ["-q", "-Q", "-F"]
      }
    }

    /// A program serves it, which can be killed.
    public var isServed: Bool { programs.count > 1 }

    /// Megabytes that it cannot do without.
    fileprivate var least: Int { self == .xfs ? 320 : self == .btrfs ? 128 : 8 }
  }

  /// Of `wanted`, those that can be mounted here; why the others cannot is said on standard error.
  public static func mountable(_ wanted: [Kind] = Kind.allCases) -> [Kind] { wanted.filter { known[$0]! } }

  public static let needs = "needs root, loop devices and the programs of file systems"

  private static let known: [Kind: Bool] = {
    var known: [Kind: Bool] = [:]
    for kind in Kind.allCases {
      do {
        _ = try Volume(kind)
        known[kind] = true
      } catch {
        known[kind] = false
        let line = Bytes("skipped: tests on \(kind.rawValue), which cannot be mounted here: \(error)\n".utf8)
        _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
      }
    }
    return known
  }()

  public let kind: Kind
  /// Where it is mounted.
  public let path: Bytes
  private let scratch: Scratch
  private var image: Bytes { scratch.path("image") }
  private var device: Bytes = []
  private var server: Running?

  /// An empty one, mounted.
  public init(_ kind: Kind, megabytes: Int = 0) throws {
    guard Host.isRoot else { throw Command.Failure(description: "only root can mount") }
    for program in kind.programs where Command.find(program) == nil {
      throw Command.Failure(description: "\(program) is not installed")
    }
    self.kind = kind
    scratch = try Scratch()
    path = scratch.path("mounted")
    try Descriptor.workingDirectory.makeDirectory(path)
    try Descriptor.open(image, [.write, .create]).truncate(to: Int64(max(megabytes, kind.least)) << 20)
    try Command(kind.programs[0], kind.options + [Raw(image)]).run().checked()
    let loop = try Command("losetup", ["--find", "--show", Raw(image)]).run().checked()
    device = Bytes(loop.stdout.filter { $0 != 10 })
    do { try mount() } catch {
      detach()
      throw error
    }
  }

  deinit {
    unmount()
    detach()
  }

  private func detach() { _ = try? Command("losetup", ["--detach", Raw(device)]).run() }

  public var isMounted: Bool {
    var (here, above) = (stat(), stat())
    let code = path.withCString { stat($0, &here) }
    if code != 0 { return errno == ENOTCONN }
    return scratch.path.withCString { stat($0, &above) } == 0 && here.st_dev != above.st_dev
  }

  public func mount() throws {
    let command: Command
    switch kind {
    case .ext4, .xfs, .btrfs, .vfat:
      try Command("mount", ["-t", Raw(kind.rawValue), Raw(device), Raw(path)]).run().checked()
      return
    // In the foreground all of them, so that they can be killed.
    case .exfat: command = Command("mount.exfat-fuse", ["-d", Raw(device), Raw(path)], timeout: 36000)
    case .ntfs: command = Command("ntfs-3g", ["-o", "no_detach", Raw(device), Raw(path)], timeout: 36000)
    case .fuse2fs: command = Command("fuse2fs", ["-f", Raw(device), Raw(path)], timeout: 36000)
    }
    let running = try command.start()
    server = running
    for _ in 0..<500 {
      if isMounted { return }
      if !running.signal(0) { break }
      usleep(10_000)
    }
    throw Command.Failure(description: "\(kind.rawValue) was not mounted: \(running.wait())")
  }

  /// Signals the program that serves it; false where there is none.
  @discardableResult public func signalServer(_ signal: Int32) -> Bool { server?.signal(signal) ?? false }

  public func unmount() {
    // What another test starts at this moment may hold a copy of a descriptor.
    for attempt in 0..<50 where isMounted {
      let isLast = attempt == 49 || server != nil
      if (try? Command("umount", isLast ? ["-l", Raw(path)] : [Raw(path)]).run().succeeded) == true { break }
      usleep(20_000)
    }
    if let server {
      // It writes what it still holds.
      for _ in 0..<500 where server.signal(0) { usleep(10_000) }
      server.signal(SIGKILL)
      _ = server.wait()
    }
    server = nil
  }

  public func remount() throws {
    unmount()
    try mount()
    // A mount namespace that someone made meanwhile holds it a while longer: then this is the old one, without power.
    for _ in 0..<200 where !isWritable {
      unmount()
      usleep(50_000)
      try mount()
    }
  }

  private var isWritable: Bool {
    let name = Bytes("probe")
    guard let directory = try? Descriptor.open(path, [.read, .directory]) else { return false }
    do {
      try directory.open(name, [.write, .create]).close()
      try directory.removeFile(name)
      return true
    } catch { return false }
  }

  /// The program that serves it is no more, as if the drive had been pulled out.
  public func pull() { server?.signal(SIGKILL) }

  /// Puts it in order again after it was pulled.
  public func repair() throws {
    unmount()
    switch kind {
    case .fuse2fs, .ext4:
      let output = try Command("e2fsck", ["-fy", Raw(device)]).run()
      if output.status > 2 { throw Command.Failure(description: output.description) }
    case .ntfs: try Command("ntfsfix", [Raw(device)]).run().checked()
    case .exfat: _ = try Command("fsck.exfat", ["-y", Raw(device)]).run()
    default: break
    }
    try mount()
  }

  /// Everything that is not on the medium yet is lost, and nothing can be read or written any more: what ext4 and xfs
  /// do at `EXT4_IOC_SHUTDOWN` with the flag for "no flush of the log".
  public func losePower() throws {
    let directory = try Descriptor.open(path, [.read, .directory])
    var flag: UInt32 = 2
    let code = withUnsafeMutablePointer(to: &flag) { goDown(directory.raw, 0x8004_587d, $0) }
    if code != 0 { throw SystemError("shut down", path, errno) }
  }

  /// Writes a file until no more than this is free; `nil` takes it away.
  public func fill(leaving free: Int64?) throws {
    let directory = try Descriptor.open(path, [.read, .directory])
    let name = Bytes("filler")
    if directory.isThere(name) { try directory.removeFile(name) }
    // What was deleted may come free only now.
    sync()
    guard let free else { return }
    let file = try directory.open(name, [.write, .create])
    let block = Bytes(repeating: 0x5a, count: 4096)
    var size: Int64 = 0
    while let space = directory.space(), space.free > free {
      let step = min(space.free - free, 1 << 20)
      do {
        for _ in 0..<max(1, step / 4096) {
          try block.withUnsafeBytes { try file.write($0, at: size) }
          size += 4096
        }
      } catch let error as SystemError {
        guard error.isFull else { throw error }
        break
      }
      try? file.sync()
    }
    try? file.close()
  }
}

/// `ioctl(2)`, which Swift does not import since it takes any number of arguments.
private let goDown = unsafeBitCast(
  dlsym(nil, "ioctl"), to: (@convention(c) (Int32, UInt, UnsafeMutablePointer<UInt32>) -> Int32).self)

extension Descriptor {
  fileprivate func isThere(_ name: Bytes) -> Bool { (try? status(of: name)) != nil }
}
