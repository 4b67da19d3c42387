/// Who holds a lock, as its file's name tells, and whether that is known to be over.
import Posix

struct LockHolder: Equatable {
  /// Each byte that not every file system takes is a `_`.
  var host: Bytes
  /// The beginnings of the machine's and the kernel's identity; empty where there is none.
  var machine: Bytes
  var boot: Bytes
  /// That `process` belongs to; 0: not known.
  var namespace: UInt64
  var process: Int32
  /// When the process began, in ticks since the kernel did; 0: not known.
  var start: UInt64
  /// The holder keeps the file locked in a file system that no other kernel has mounted.
  var keepsFileLock: Bool
  /// Versions that told only host, boot and process.
  var isOfOlderForm = false

  static let prefix = Bytes("lock.")
  private static let separator = UInt8(ascii: "_")

  /// Whether a file of this name is a lock, held or left.
  static func isLock(_ name: Bytes) -> Bool { name.starts(with: prefix) }

  /// This process.
  init(keepsFileLock: Bool) {
    host = Host.name().map { Self.isPlain($0) ? $0 : Self.separator }
    machine = Bytes(Machine.identity?.prefix(16) ?? [])
    boot = Bytes(Host.bootIdentity().filter { $0 != UInt8(ascii: "-") }.prefix(16))
    namespace = Host.processNamespace() ?? 0
    process = Host.processID
    start = Host.start(ofProcess: process) ?? 0
    self.keepsFileLock = keepsFileLock
  }

  /// `lock.HOST_mMACHINE_nNAMESPACE_tSTART_fF_BOOT_PROCESS`
  var name: Bytes {
    let fields = "_m\(machine.shown)_n\(namespace)_t\(start)_f\(keepsFileLock ? 1 : 0)_\(boot.shown)_\(process)"
    return Self.prefix + host + Bytes(fields.utf8)
  }

  /// From a file's name; nil where that is not one of a lock.
  init?(name: Bytes) {
    guard Self.isLock(name) else { return nil }
    let parts = name.dropFirst(Self.prefix.count).split(separator: Self.separator, omittingEmptySubsequences: false)
    guard parts.count >= 3, let process = Int32(Bytes(parts[parts.count - 1]).shown) else { return nil }
    self.process = process
    boot = Bytes(parts[parts.count - 2])
    func field(_ tag: StaticString, _ fromEnd: Int) -> Bytes? {
      guard parts.count > fromEnd, Bytes(parts[parts.count - fromEnd].prefix(1)) == Bytes(tag) else { return nil }
      return Bytes(parts[parts.count - fromEnd].dropFirst())
    }
    if let flag = field("f", 3), let start = field("t", 4).flatMap({ UInt64($0.shown) }),
      let namespace = field("n", 5).flatMap({ UInt64($0.shown) }), let machine = field("m", 6)
    {
      (self.machine, self.namespace, self.start) = (machine, namespace, start)
      keepsFileLock = flag == Bytes("1")
      host = Bytes(parts.dropLast(6).joined(separator: [Self.separator]))
    } else {
      (machine, namespace, start, keepsFileLock) = ([], 0, 0, false)
      host = Bytes(parts.dropLast(2).joined(separator: [Self.separator]))
      isOfOlderForm = true
    }
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."): true
    default: false
    }
  }

  // MARK: - Whether it is over

  enum State: Sendable {
    /// The holder runs.
    case held
    /// Nobody holds it any more.
    case over
    /// That cannot be told from here: another machine, or another container.
    case unknown
  }

  /// By what this machine knows of its processes. `here`: this process. `made`: when the lock was, by its file.
  func state(seenBy here: LockHolder, made: Timestamp) -> State {
    if isOfOlderForm { return olderState(seenBy: here, made: made) }
    if boot != here.boot || boot.isEmpty {
      // The host's name as well: images of containers may have one identity for all.
      return !machine.isEmpty && machine == here.machine && host == here.host && !boot.isEmpty ? .over : .unknown
    }
    guard namespace != 0, namespace == here.namespace else { return .unknown }
    guard Host.isRunning(process: process) else { return .over }
    guard start != 0, let now = Host.start(ofProcess: process) else { return .held }
    return now == start ? .held : .over
  }

  /// A lock of this host's name that is older than the running kernel is from before a restart.
  private func olderState(seenBy here: LockHolder, made: Timestamp) -> State {
    guard host == here.host else { return .unknown }
    if here.boot.starts(with: boot), !boot.isEmpty { return Host.isRunning(process: process) ? .held : .over }
    guard let start = Host.bootTime() else { return .unknown }
    return made < start ? .over : .unknown
  }
}
