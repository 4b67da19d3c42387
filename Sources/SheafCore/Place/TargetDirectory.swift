/// A directory that is restored into, and what its file system makes of names: some take two for one, or keep another
/// than the one they were given.
import Posix

/// Used by several threads.
final class TargetDirectory: Sendable {
  let descriptor: Descriptor
  /// On a file system that may not keep owners, modes and times as they were: what was set is looked at again.
  let isForeign: Bool
  /// nil where it does not tell.
  let fileSystem: FileSystem?
  /// Listed when a name is in the way for the first time.
  private let names = Monitor<Set<Bytes>?>(nil)

  init(_ descriptor: Descriptor) {
    self.descriptor = descriptor
    fileSystem = descriptor.fileSystem()
    isForeign = fileSystem?.isUnix != true
  }

  /// Whether a name under which something is found stands here in exactly these bytes.
  func lists(_ name: Bytes) throws(SystemError) -> Bool {
    if names.look({ $0?.contains(name) }) == true { return true }
    // Not known, or made since: there are few of either.
    let listed = Set(try descriptor.sortedNames())
    names.look { $0 = listed }
    return listed.contains(name)
  }

  /// The name here that the file system takes for `name`, as far as letters tell.
  func likeness(of name: Bytes) -> Bytes? {
    let folded = foldedName(name)
    return (try? descriptor.sortedNames())?.first { $0 != name && foldedName($0) == folded }
  }

  /// Whether a file of a plain name can be made here and written to; why not, where it cannot.
  func refusal() -> SystemError? {
    let name = Names.temporary()
    do throws(SystemError) {
      let file = try descriptor.open(name, [.write, .create, .exclusive, .noFollow], mode: 0o600)
      do throws(SystemError) {
        try file.write(Bytes("."))
        try file.close()
      } catch {
        try? descriptor.removeFile(name)
        throw error
      }
      try descriptor.removeFile(name)
      return nil
    } catch { return error }
  }
}

extension Timestamp {
  /// Whether a file that should have this time may have `other` because its file system keeps times less exactly:
  /// to 100 nanoseconds, a microsecond, 10 milliseconds, a second or two.
  func isKept(as other: Timestamp) -> Bool {
    if self == other { return true }
    if other.nanoseconds == 0, seconds == other.seconds || (other.seconds % 2 == 0 && seconds == other.seconds &+ 1) {
      return true
    }
    return seconds == other.seconds
      && [100, 1000, 10_000_000].contains { nanoseconds - nanoseconds % $0 == other.nanoseconds }
  }
}
