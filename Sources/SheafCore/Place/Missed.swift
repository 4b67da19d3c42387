/// What a restore could not bring back, counted and in words.
import Posix

extension FileKind {
  /// "1 symbolic link", "3 symbolic links".
  func words(_ count: Int) -> String {
    let word =
      switch self {
      case .file: "file"
      case .directory: "folder"
      case .symlink: "symbolic link"
      case .fifo: "FIFO"
      case .characterDevice: "character device"
      case .blockDevice: "block device"
      case .socket: "socket"
      }
    return "\(count) \(word)" + (count == 1 ? "" : "s")
  }
}

/// Counts files that were not written.
final class Missed: Sendable {
  private let state = Monitor<(files: Int64, bytes: Int64)>((0, 0))

  func add(_ entry: Entry) {
    guard entry.kind != .directory else { return }
    state.look {
      $0.files += 1
      $0.bytes.add(saturating: entry.hardLink == nil ? entry.size : 0)
    }
  }

  var counts: (files: Int64, bytes: Int64) { state.look { $0 } }
}
