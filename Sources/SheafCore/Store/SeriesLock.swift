/// Keeps two runs from changing one directory of a store at a time, a series or the top. A lock is an empty file whose *name* says who holds it, since
/// contents may not fit on a full drive, and not every file system has flock.
import Posix

final class SeriesLock {
  private let directory: Descriptor
  private let name: Bytes

  private static let prefix = Bytes("lock.")

  /// Whether a file of this name is a lock, held or left.
  static func isLock(_ name: Bytes) -> Bool { name.starts(with: prefix) }

  /// Of a series; see below.
  convenience init(_ series: Series) throws(Failure) {
    try self.init(series.directory, "the series '\(Show.path(series.name))'")
  }

  /// Takes the lock, removing one whose holder is known to be gone. Throws a failure of kind `locked`.
  init(_ directory: Descriptor, _ what: String) throws(Failure) {
    self.directory = directory
    let host = Host.name().map { Self.isPlain($0) ? $0 : UInt8(ascii: "_") }
    let boot = Bytes(Host.bootIdentity().prefix(8))
    name = Self.prefix + host + Bytes("_".utf8) + boot + Bytes("_\(Host.processID)".utf8)
    let name = name
    do throws(SystemError) {
      try directory.open(name, [.write, .create, .exclusive, .noFollow]).close()
    } catch {
      guard error.isExisting else { throw Failure(error) }
      // A process of this number in another container, or one of an earlier time.
      throw Failure(
        .locked,
        "\(what) is in use by another process \(Host.processID) on \(Show.path(host))",
        hint: "if no other run is writing, remove \(Show.path(directory.path.joined(name)))")
    }
    // Both of two that begin together see the other and give way: never do both go on.
    do throws(Failure) {
      for other in try system({ () throws(SystemError) in try directory.sortedNames() })
      where Self.isLock(other) && other != name {
        let parts = other.dropFirst(Self.prefix.count).split(
          separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
        let process = parts.last.flatMap { Int32(String(decoding: $0, as: UTF8.self)) }
        let holder = parts.dropLast(2).joined(separator: [UInt8(ascii: "_")])
        let isHere = parts.count >= 3 && Bytes(holder) == host
        // After a restart, or with its process gone, nobody holds it any more.
        if isHere, Bytes(parts[parts.count - 2]) != boot || process.map({ !Host.isRunning(process: $0) }) == true {
          try? directory.removeFile(other)
          continue
        }
        throw Failure(
          .locked,
          "\(what) is in use by process \(process ?? 0) on \(Show.path(Bytes(holder)))",
          hint: isHere
            ? nil : "if that machine is not writing here any more, remove \(Show.path(directory.path.joined(other)))")
      }
    } catch {
      try? directory.removeFile(name)
      throw error
    }
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."): true
    default: false
    }
  }

  /// Gives the lock back.
  func release() { try? directory.removeFile(name) }
}
