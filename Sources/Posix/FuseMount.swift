/// A directory on which a file system is mounted that this program serves, as fuse(4) describes: by mount(2) where that
/// is allowed, else by the helper that may do it for everyone, fusermount3(1).
import CLinux
import Glibc

public final class FuseMount: Sendable {
  /// What the kernel asks comes from here, and answers go there.
  public let device: Descriptor
  /// The directory, absolute.
  public let path: Bytes
  private let isByHelper: Bool

  public enum Failure: Error {
    /// The kernel has no FUSE, or keeps it from this process.
    case noDevice(SystemError)
    /// The helper is not installed.
    case noHelper
    /// What the helper said.
    case refused(Bytes)
    case system(SystemError)
  }

  private static let devicePath = Bytes("/dev/fuse")
  private static let helper = Bytes("fusermount3")

  private init(_ device: Descriptor, _ path: Bytes, isByHelper: Bool) {
    self.device = device
    self.path = path
    self.isByHelper = isByHelper
  }

  /// Mounts on a directory, read only, for this user alone or for everyone. Others then have the rights that owners and
  /// modes give them.
  public static func make(on directory: Bytes, forOthers: Bool) throws(Failure) -> FuseMount {
    let made: Result<FuseMount, Failure>
    do throws(SystemError) {
      let path = try Host.resolved(directory)
      _ = try Descriptor.open(path, [.read, .directory])
      made = try Host.isRoot ? .success(mounted(on: path, forOthers)) : helped(on: path, forOthers)
    } catch { made = .failure(error.path == devicePath ? .noDevice(error) : .system(error)) }
    return try made.get()
  }

  private static func mounted(on path: Bytes, _ forOthers: Bool) throws(SystemError) -> FuseMount {
    let device = try Descriptor.open(devicePath, .readWrite)
    var options = "fd=\(device.raw),rootmode=40000,user_id=\(geteuid()),group_id=\(getegid())"
    if forOthers { options += ",allow_other,default_permissions" }
    let code = path.withCString { target in
      Bytes(options.utf8).withCString { sheaf_mount_read_only("sheaf", target, "fuse.sheaf", $0) }
    }
    guard code == 0 else { throw .last("mount on", path) }
    return FuseMount(device, path, isByHelper: false)
  }

  /// The helper opens the device, mounts, and sends the descriptor over the socket whose number it is told.
  private static func helped(on path: Bytes, _ forOthers: Bool) throws(SystemError) -> Result<FuseMount, Failure> {
    // The helper does not say which of its steps failed.
    _ = try Descriptor.open(devicePath, .pathOnly)
    var ends: [Int32] = [0, 0]
    guard sheaf_socket_pair(&ends) == 0 else { throw .last("make a socket", []) }
    let ours = Descriptor.adopting(ends[0], path: [])
    let child: Child
    do {
      let theirs = Descriptor.adopting(ends[1], path: [])
      let options =
        "ro,nosuid,nodev,noatime,fsname=sheaf,subtype=sheaf"
        + (forOthers ? ",allow_other,default_permissions" : "")
      do throws(SystemError) {
        child = try Child(
          [helper, Bytes("-o"), Bytes(options.utf8), Bytes("--"), path],
          environment: [Bytes("_FUSE_COMMFD=\(Child.passedNumber)".utf8)], passing: theirs)
      } catch { return .failure(error.code == ENOENT ? .noHelper : .system(error)) }
    }
    let raw = sheaf_receive_descriptor(ours.raw)
    let words = (try? child.errors.readAll(atMost: 4096)) ?? []
    child.wait()
    guard raw >= 0 else { return .failure(.refused(Bytes(words.prefix { $0 != 10 }))) }
    let device = Descriptor.adopting(raw, path: devicePath)
    _ = fcntl(raw, F_SETFL, fcntl(raw, F_GETFL) & ~O_NONBLOCK)
    return .success(FuseMount(device, path, isByHelper: true))
  }

  /// Takes the file system away from its directory. Who has something open in it keeps that until this process ends.
  public func unmount() {
    if isByHelper {
      let child = try? Child([Self.helper, Bytes("-u"), Bytes("-z"), Bytes("-q"), Bytes("--"), path])
      child?.wait()
    } else {
      _ = path.withCString { sheaf_detach_mount($0) }
    }
  }
}
