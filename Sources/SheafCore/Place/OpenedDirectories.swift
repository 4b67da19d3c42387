/// Directories that their owner has shut against writing: opened up while something is restored into them.
import Posix

/// Not for use from several threads.
final class OpenedDirectories {
  private let target: Descriptor
  /// Their own modes, as they are called in the target.
  private var modes: [Bytes: UInt16] = [:]

  private static let isRoot = Host.isRoot
  private static let user = Host.userID

  init(_ target: Descriptor) { self.target = target }

  /// Whether its owner, who is at work, could not write to it.
  static func isNeeded(for status: Status) -> Bool {
    !isRoot && status.kind == .directory && status.uid == user && status.mode & 0o700 != 0o700
  }

  /// Opens up `name` of `parent`, where that is needed; `path` is what it is called in the target.
  func openUp(_ name: Bytes, in parent: Descriptor, _ path: Bytes) throws(SystemError) {
    guard !Self.isRoot else { return }
    let status = try parent.status(of: name)
    guard Self.isNeeded(for: status) else { return }
    try parent.setMode(name, status.mode | 0o700)
    modes[path] = status.mode
  }

  /// As above, for the target itself.
  func openUpTarget() throws(SystemError) {
    let status = try target.status()
    guard Self.isNeeded(for: status) else { return }
    try target.setMode(status.mode | 0o700)
    modes[[]] = status.mode
  }

  /// It has got another mode.
  func forget(_ path: Bytes) { if !modes.isEmpty { modes[path] = nil } }

  func isOpened(_ path: Bytes) -> Bool { modes[path] != nil }

  /// Gives it its own mode back.
  func putBack(_ path: Bytes) {
    guard let mode = modes.removeValue(forKey: path) else { return }
    try? target.openBeneath(path, [.read, .directory, .noFollow]).setMode(mode)
  }

  /// The innermost first.
  func putBackAll() {
    for path in modes.keys.sorted(by: { $0.count > $1.count }) { putBack(path) }
  }
}
