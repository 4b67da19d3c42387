/// What a system call said, of which path.
import Glibc

public struct SystemError: Error, Equatable, Sendable {
  /// What was tried, as a verb phrase: "open", "write", "make directory".
  public let operation: String
  public let path: Bytes
  /// `errno`.
  public let code: Int32

  public init(_ operation: String, _ path: Bytes, _ code: Int32) {
    self.operation = operation
    self.path = path
    self.code = code
  }

  /// The error of the call just made.
  static func last(_ operation: String, _ path: Bytes) -> SystemError { SystemError(operation, path, errno) }

  /// The system's words for the code: "No such file or directory".
  public var cause: String { String(cString: strerror(code)) }

  public var isMissing: Bool { code == ENOENT || code == ENOTDIR }
  public var isFull: Bool { code == ENOSPC || code == EDQUOT }
}

/// Repeats a call that a signal interrupted.
@inline(__always)
func retrying<R: FixedWidthInteger & SignedInteger>(_ call: () -> R) -> R {
  while true {
    let result = call()
    if result != -1 || errno != EINTR { return result }
  }
}
