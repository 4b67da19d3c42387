/// Making one system call of a program fail, or killing the program at it: `strace -e inject`.
import Posix

/// One call that changes something on disk, as a traced run made it.
public struct TracedCall: Hashable, Sendable {
  public let name: String
  /// Counted from 1, of the calls of this name that its thread made; where there is a path, of those on that.
  public let number: Int
  /// Of the file, or of the directory in which it names something.
  public let path: Bytes?
}

/// What is done to a call, or to the same of each thread.
public struct Fault: Sendable, CustomStringConvertible {
  public enum Effect: String, CaseIterable, Sendable {
    case inputOutput = "error=EIO"
    case full = "error=ENOSPC"
    case interrupted = "error=EINTR"
    case killed = "signal=KILL"
    /// From this call on, as a drive does that is broken, or full for good.
    case broken = "error=EIO:"
    case staysFull = "error=ENOSPC:"

    /// As `strace` takes it, for the call of this number.
    func injection(at number: Int) -> String {
      rawValue.hasSuffix(":") ? "\(rawValue)when=\(number)+" : "\(rawValue):when=\(number)"
    }
  }
  public let call: TracedCall
  public let effect: Effect

  public init(_ call: TracedCall, _ effect: Effect) {
    self.call = call
    self.effect = effect
  }

  public var description: String {
    "\(call.name) \(call.number)\(call.path.map { " on \($0.shown)" } ?? "") \(effect)"
  }
}

extension Command {
  public static var canTrace: Bool {
    (try? Command("strace", ["-f", "-qq", "-o", "/dev/null", "true"]).run().succeeded) == true
  }

  /// Every call that changes a file or a name.
  private static let mutating = [
    "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "close", "openat", "openat2", "rename", "renameat",
    "renameat2", "link", "linkat", "symlinkat", "mkdir", "mkdirat", "mknodat", "unlink", "unlinkat", "fallocate",
    "syncfs",
  ]

  /// The changing calls on what lies at or below `places` that a run of it makes. Those below `fixed`, where names are
  /// the same in every run, are told by their paths: so none of another thread is hit.
  public func tracedCalls(below places: [Bytes], fixed: Bytes, log: Bytes) throws -> [TracedCall] {
    let traced = try wrapped([
      "strace", "-f", "-qq", "-y", "-o", Raw(log), "-e", "trace=\(Self.mutating.joined(separator: ","))", "-e",
      "signal=none",
    ])
    try traced.run().checked()
    var counts: [String: Int] = [:]
    var calls: [TracedCall] = []
    var known: Set<TracedCall> = []
    let text = try Descriptor.open(log, .read).readAll()
    for line in text.split(separator: UInt8(ascii: "\n")) {
      // `1234 fsync(5</place/file>) = 0`; the second half of a call that another thread interrupted begins with `<`.
      guard let space = line.firstIndex(of: UInt8(ascii: " ")), let bracket = line.firstIndex(of: UInt8(ascii: "("))
      else { continue }
      let thread = Bytes(line[..<space]).shown
      let name = Bytes(line[space..<max(space, bracket)].drop { $0 == UInt8(ascii: " ") }).shown
      let rest = Bytes(line[bracket...]).shown
      guard Self.mutating.contains(name) else { continue }
      counts["\(thread) \(name)", default: 0] += 1
      let path = Self.firstPath(rest).flatMap { Bytes($0.utf8).isAtOrBelow(fixed) ? $0 : nil }
      if let path { counts["\(thread) \(name) \(path)", default: 0] += 1 }
      let isOpening = name == "openat" || name == "openat2"
      let changes = !isOpening || ["O_CREAT", "O_TRUNC", "O_TMPFILE"].contains { rest.contains($0) }
      guard changes, places.contains(where: { rest.contains($0.shown) }) else { continue }
      let call = TracedCall(
        name: name, number: counts["\(thread) \(name)" + (path.map { " \($0)" } ?? "")]!,
        path: path.map { Bytes($0.utf8) })
      if known.insert(call).inserted { calls.append(call) }
    }
    return calls
  }

  /// What `strace -y` says of the first descriptor: `fsync(5</place/file>) = 0`.
  private static func firstPath(_ call: String) -> String? {
    guard let start = call.firstIndex(of: "<"), let end = call[start...].firstIndex(of: ">") else { return nil }
    return String(call[call.index(after: start)..<end])
  }

  /// The same program with the fault put into it.
  public func with(_ fault: Fault) throws -> Command {
    let path: [Raw] = fault.call.path.map { ["-P", Raw($0)] } ?? []
    return try wrapped(
      ["strace", "-f", "-qq", "-o", "/dev/null"] + path + [
        "-e", "trace=\(fault.call.name)", "-e",
        "inject=\(fault.call.name):\(fault.effect.injection(at: fault.call.number))",
      ])
  }
}
