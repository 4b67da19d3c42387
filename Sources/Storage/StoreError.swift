/// What a kind of store said when something could not be done. Its kind is what code looks at; its words are for people.
import Posix

public struct StoreError: Error, Equatable, Sendable {
  public enum Kind: Sendable {
    /// Nothing has that name.
    case missing
    /// Something has that name already.
    case exists
    /// The user may not.
    case denied
    /// No room, or a quota that is used up.
    case full
    /// The store takes no larger file.
    case tooLarge
    /// Nothing can be changed: the store is read-only, or was made so after an error.
    case readOnly
    /// The store is not there any more, or fails: nothing is written to it from here on.
    case gone
    /// The machine that keeps it cannot be reached, or not any more: nothing is written to it from here on.
    case unreachable
    /// May go well when it is tried again.
    case temporary
    /// What has the name is something else than was asked for, or the store knows no such thing.
    case unfit
    /// It can be read, but is not what was written.
    case damaged
    /// As many files are open as may be: that tells nothing of the store.
    case exhausted
    case other
  }

  public let kind: Kind
  /// What was tried, as a verb phrase: "open", "write", "make directory".
  public let operation: String
  /// As the user named the store, and the names below it.
  public let path: Bytes
  /// In the words of the system or the server.
  public let cause: String

  public init(_ kind: Kind, _ operation: String, _ path: Bytes, cause: String) {
    self.kind = kind
    self.operation = operation
    self.path = path
    self.cause = cause
  }

  /// Of a store that lies in a file system.
  public init(_ error: SystemError) {
    self.init(Kind(error), error.operation, error.path, cause: error.cause)
  }
}

extension StoreError.Kind {
  init(_ error: SystemError) {
    self =
      if error.detail != nil { .damaged } else if error.isMissing { .missing } else if error.isExisting {
        .exists
      } else if error.isFull {
        .full
      } else if error.isTooLarge { .tooLarge } else if error.isReadOnly { .readOnly } else if error.isDriveFailure {
        .gone
      } else if error.isForbidden { .denied } else if error.isTemporary { .temporary } else if error.isUnfit {
        .unfit
      } else if error.isExhausted { .exhausted } else { .other }
  }
}

extension StoreError {
  /// The store is gone, fails, or can no longer be changed.
  public var isDriveFailure: Bool { kind == .gone || kind == .unreachable || kind == .readOnly }
  /// A file can be read, but is not what was written. `detail`: the end of a sentence about it.
  public static func damaged(_ path: Bytes, _ detail: String) -> StoreError {
    StoreError(.damaged, "read", path, cause: detail)
  }
  /// There is no room, or not as much as is to stay free.
  public static func full(_ operation: String, _ path: Bytes) -> StoreError {
    StoreError(SystemError.full(operation, path))
  }
  /// What is there is not what it has to be.
  public static func unfit(_ operation: String, _ path: Bytes) -> StoreError {
    StoreError(.unfit, operation, path, cause: "it is no plain file")
  }
}

/// Runs system calls as a store's.
func storing<R>(_ body: () throws(SystemError) -> R) throws(StoreError) -> R {
  do throws(SystemError) { return try body() } catch { throw StoreError(error) }
}
