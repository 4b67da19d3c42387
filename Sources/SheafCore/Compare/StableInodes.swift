/// Where another inode number means another file.
import Posix

struct StableInodes {
  private let root: SourceRoot
  /// By device.
  private var known: [UInt64: Bool] = [:]

  init(_ root: SourceRoot) { self.root = root }

  /// Whether a file that is in `directory`, on `device`, keeps its number for as long as it is there.
  mutating func areStable(_ device: UInt64, _ directory: Bytes) -> Bool {
    // Each snapshot may have others.
    if root.isMapped(directory) { return false }
    if let known = known[device] { return known }
    guard let here = try? root.openBeneath(directory, [.pathOnly, .directory]), (try? here.status().device) == device
    else { return false }
    let stable = here.isUnixFileSystem
    known[device] = stable
    return stable
  }
}
