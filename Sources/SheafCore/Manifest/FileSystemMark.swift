/// Which file system a directory's contents were found on: where that is not mounted any more, they are not deleted.
import Posix
import Tar

public struct FileSystemMark: Equatable, Sendable {
  /// Another file system is mounted on the directory itself; else it is a source that lies on one.
  public var isTop: Bool
  /// Tells one file system from another, as far as the system can; the same after every boot.
  public var identity: Bytes

  init(isTop: Bool, identity: Bytes) {
    self.isTop = isTop
    self.identity = identity
  }

  /// From what follows `b:` in a line's tag; nil where it is malformed.
  init?(tag: UnsafeBufferPointer<UInt8>) {
    guard let colon = tag.firstIndex(of: UInt8(ascii: ":")),
      let identity = Escape.decoded(UnsafeBufferPointer(rebasing: tag[(colon + 1)...]))
    else { return nil }
    switch Bytes(tag[..<colon]) {
    case Bytes("top"): isTop = true
    case Bytes("in"): isTop = false
    default: return nil
    }
    self.identity = identity
  }

  func append(to out: Buffer) {
    out.append(isTop ? ",b:top:" : ",b:in:")
    Escape.append(tag: identity, to: out)
  }
}
