/// What a system call said, of which path.
import Glibc

public struct SystemError: Error, Equatable, Sendable {
  /// What was tried, as a verb phrase: "open", "write", "make directory".
  public let operation: String
  public let path: Bytes
  /// `errno`.
  public let code: Int32
  /// What is wrong with the file's contents, where that and no system call is what failed: the end of a sentence about it.
  public let detail: String?

  public init(_ operation: String, _ path: Bytes, _ code: Int32) {
    self.operation = operation
    self.path = path
    self.code = code
    detail = nil
  }

  private init(damaged path: Bytes, _ detail: String) {
    operation = "read"
    self.path = path
    code = EBADMSG
    self.detail = detail
  }

  /// The file can be read, but is not what was written.
  public static func damaged(_ path: Bytes, _ detail: String) -> SystemError { SystemError(damaged: path, detail) }

  /// The error of the call just made.
  static func last(_ operation: String, _ path: Bytes) -> SystemError { SystemError(operation, path, errno) }

  /// The system's words for the code: "No such file or directory".
  public var cause: String { detail ?? String(cString: strerror(code)) }

  public var isMissing: Bool { code == ENOENT || code == ENOTDIR }
  /// A symbolic link stands where none is followed.
  public var isLoop: Bool { code == ELOOP }
  public var isFull: Bool { code == ENOSPC || code == EDQUOT }
  /// The file system, or a limit of the process, takes no larger file.
  public var isTooLarge: Bool { code == EFBIG }
  public var isExisting: Bool { code == EEXIST }
  public var isForbidden: Bool { code == EPERM || code == EACCES }
  /// The file system has no such thing, or not for this file.
  public var isUnsupported: Bool { code == EPERM || code == ENOTSUP || code == EINVAL || code == ENOSYS }
  /// A hard link that cannot be: too many, across file systems, or none at all here.
  public var isNoLink: Bool {
    code == EMLINK || code == EXDEV || code == EPERM || code == ENOTSUP || code == ENOSYS
  }
  /// In use: a file system is mounted there.
  public var isInUse: Bool { code == EBUSY }
  public var hasNoAttribute: Bool { code == ENODATA || code == ENOTSUP }
  /// The drive, or the program that serves its file system, is not there any more.
  public var isGone: Bool {
    code == ENODEV || code == ENXIO || code == ENOTCONN || code == ESHUTDOWN || code == ECONNABORTED
  }
  public var isInputOutput: Bool { code == EIO }
  /// The name cannot be written in the file system's characters.
  public var isNoName: Bool { code == EILSEQ }
  public var isReadOnly: Bool { code == EROFS }
  /// The drive is gone, fails, or was made read-only for an error.
  public var isDriveFailure: Bool { isGone || isReadOnly || code == EIO }
  /// Something else is there than was asked for, or the file system knows no such thing.
  public var isUnfit: Bool {
    code == EISDIR || code == ELOOP || code == EINVAL || code == ENOTSUP || code == ENOSYS || code == ENXIO
  }
  /// May go well when it is tried again.
  public var isTemporary: Bool { code == EAGAIN || code == EBUSY || code == ETIMEDOUT || code == ESTALE }
  /// This process, or the system, has as many files open as it may.
  public var isExhausted: Bool { code == EMFILE || code == ENFILE }
  /// What is there is not what it has to be.
  public static func unfit(_ operation: String, _ path: Bytes) -> SystemError { SystemError(operation, path, EINVAL) }
  /// The drive has no room, or not as much as is to stay free.
  public static func full(_ operation: String, _ path: Bytes) -> SystemError { SystemError(operation, path, ENOSPC) }
  public static func outOfMemory(_ operation: String, _ path: Bytes) -> SystemError {
    SystemError(operation, path, ENOMEM)
  }
  /// More than is ever read.
  public static func tooLarge(_ path: Bytes) -> SystemError { SystemError("read", path, EFBIG) }
  /// Something in the way is in use: a mounted file system, or the store.
  public static func inUse(_ operation: String, _ path: Bytes) -> SystemError { SystemError(operation, path, EBUSY) }
  /// Something is there already.
  public static func existing(_ operation: String, _ path: Bytes) -> SystemError {
    SystemError(operation, path, EEXIST)
  }
  /// What was listed is something else by now.
  public static func replaced(_ path: Bytes) -> SystemError { SystemError("open", path, ESTALE) }
}

/// Repeats a call that a signal interrupted.
@inline(__always)
func retrying<R: FixedWidthInteger & SignedInteger>(_ call: () -> R) -> R {
  while true {
    let result = call()
    if result != -1 || errno != EINTR { return result }
  }
}
