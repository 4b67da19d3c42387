/// Something mounted on a directory for as long as a test needs it.
import Glibc
import Posix

public final class Mounted {
  private let path: Bytes

  public static let needs = "needs root and the right to mount"
  public static let isPossible: Bool = {
    guard Host.isRoot, let scratch = try? Scratch() else { return false }
    return withExtendedLifetime(scratch) { (try? Mounted(on: scratch.path)) != nil }
  }()

  /// A new file system in memory; `options` as mount(8) has them for tmpfs.
  public convenience init(on path: Bytes, _ options: Raw = "size=8m") throws {
    try self.init(path, ["-t", "tmpfs", "-o", options, "none", Raw(path)])
  }

  /// What is at `source` once more.
  public convenience init(_ source: Bytes, boundTo path: Bytes) throws {
    try self.init(path, ["--bind", Raw(source), Raw(path)])
  }

  private init(_ path: Bytes, _ arguments: [Raw]) throws {
    self.path = path
    try Command("mount", arguments).run().checked()
  }

  deinit { _ = try? Command("umount", ["-l", Raw(path)]).run() }
}
