/// What open files lie on. Once it has failed nothing more is written to it: an error of the medium that was told once
/// is forgotten by the kernel, and the next call may succeed with the data gone.
import Glibc

public final class Drive: Sendable {
  private let ended = Monitor<SystemError?>(nil)
  private let endsAtInputOutputError: Bool

  /// `endsAtInputOutputError`: EIO and EROFS from what changes files are the end as well; else only that the drive is
  /// gone.
  public init(endsAtInputOutputError: Bool) { self.endsAtInputOutputError = endsAtInputOutputError }

  /// What it ended with; nil while it works.
  public var failure: SystemError? { ended.look { $0 } }

  /// From here on nothing is written; the first reason counts.
  public func end(_ error: SystemError) { ended.look { if $0 == nil { $0 = error } } }

  /// Throws where it has ended: before each call that changes something.
  func check(_ operation: String, _ path: Bytes) throws(SystemError) {
    if let failure { throw SystemError(operation, path, failure.code) }
  }

  /// Takes note of what a call gave. `changes`: it would have changed what is stored.
  func note(_ error: SystemError, changes: Bool) {
    if error.isGone || (changes && endsAtInputOutputError && error.isDriveFailure) { end(error) }
  }
}

extension Descriptor {
  /// Before a call that changes what is stored.
  func checkDrive(_ operation: String, _ path: Bytes) throws(SystemError) { try drive?.check(operation, path) }

  /// The error of the call just made, which the drive takes note of.
  func failed(_ operation: String, _ path: Bytes, changes: Bool) -> SystemError {
    let error = SystemError.last(operation, path)
    drive?.note(error, changes: changes)
    return error
  }
}
