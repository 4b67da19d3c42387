/// Where one file system ends and another begins.
import CLinux
import Glibc

/// The mount that a file lies on, as far as two of them can be told apart.
public struct Mount: Equatable, Sendable {
  /// nil: the kernel does not tell (before 5.8), so a directory bound to another of the same device is not noticed.
  private let id: UInt64?
  private let device: UInt64

  fileprivate init(id: UInt64?, device: UInt64) {
    self.id = id
    self.device = device
  }
}

extension Descriptor {
  /// Of a name in this directory, or where there is none of the directory itself. A name that lies on another mount than
  /// its directory is a mount point, or the top of a subvolume. The corresponding C function is `statx`.
  public func mount(of name: Bytes = []) throws(SystemError) -> Mount {
    var hasID: Int32 = 0
    var id: UInt64 = 0
    var device: UInt64 = 0
    if name.withCString({ sheaf_mount(raw, $0, &hasID, &id, &device) }) == 0 {
      return Mount(id: hasID != 0 ? id : nil, device: device)
    }
    guard errno == ENOSYS || errno == EPERM else { throw .last("look at", path.joined(name)) }
    return Mount(id: nil, device: try name.isEmpty ? status().device : status(of: name).device)
  }
}
