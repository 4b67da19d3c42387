/// What open files lie on. Once it has failed nothing more is written to it: an error of the medium that was told once
/// is forgotten by the kernel, and the next call may succeed with the data gone.
import Glibc

public final class Drive: Sendable {
  private let ended = Monitor<SystemError?>(nil)
  private let endsAtInputOutputError: Bool
  private let newAccess = Monitor<Access?>(nil)
  private let endsWhenFull: Bool

  /// `endsAtInputOutputError`: EIO and EROFS from what changes files are the end as well; else only that the drive is
  /// gone. `endsWhenFull`: so is that it has no room; what frees some goes on.
  public init(endsAtInputOutputError: Bool, endsWhenFull: Bool = false) {
    self.endsAtInputOutputError = endsAtInputOutputError
    self.endsWhenFull = endsWhenFull
  }

  /// Who may read what is made on it from here on, whatever the umask; nil: the system's rules count.
  public var access: Access? {
    get { newAccess.look { $0 } }
    set { newAccess.look { $0 = newValue } }
  }

  /// What it ended with; nil while it works.
  public var failure: SystemError? { ended.look { $0 } }

  /// From here on nothing is written; the first reason counts.
  public func end(_ error: SystemError) { ended.look { if $0 == nil { $0 = error } } }

  /// Throws where it has ended: before each call that changes something. `frees`: it makes room.
  func check(_ operation: String, _ path: Bytes, frees: Bool = false) throws(SystemError) {
    if let failure, !(frees && failure.isFull) { throw SystemError(operation, path, failure.code) }
  }

  /// Takes note of what a call gave. `changes`: it would have changed what is stored.
  func note(_ error: SystemError, changes: Bool) {
    if error.isGone || (changes && endsAtInputOutputError && error.isDriveFailure) || (endsWhenFull && error.isFull) {
      end(error)
    }
  }
}

/// Who may read and write what is made in a directory: its owner, and a group to which the owner opened it.
public struct Access: Equatable, Sendable {
  /// Of folders and of files.
  public let directoryMode: UInt16
  public let fileMode: UInt16
  /// The group that is let in, nil where none is.
  public let group: UInt32?

  /// As the directory with this status has it: open for its group where that may enter and all others may not.
  public init(of directory: Status) {
    let isShared = directory.mode & 0o007 == 0 && directory.mode & 0o050 == 0o050
    let isWritable = isShared && directory.mode & 0o020 != 0
    directoryMode = 0o700 | (isShared ? 0o050 : 0) | (isWritable ? 0o020 : 0)
    fileMode = 0o600 | (isShared ? 0o040 : 0) | (isWritable ? 0o020 : 0)
    group = isShared ? directory.gid : nil
  }
}

extension Descriptor {
  /// Sets mode and group as far as the file system has such things; without the group, nobody but the owner is let in.
  /// `directory`: where a file lies. What root makes in another's folder is that one's: it stands beside files of theirs
  /// that are of no use without it.
  public func give(_ access: Access, _ mode: UInt16, in directory: Descriptor? = nil) {
    guard let status = try? status() else { return }
    var mode = mode
    if let directory, Host.isRoot, let owner = try? directory.status().uid, owner != status.uid {
      try? setOwner(uid: owner, gid: UInt32.max)
    }
    if let group = access.group, status.gid != group, (try? setOwner(uid: UInt32.max, gid: group)) == nil {
      mode &= 0o700
    }
    // A folder that hands its group down goes on doing so.
    if status.kind == .directory { mode |= status.mode & 0o2000 }
    if mode != status.mode { try? setMode(mode) }
  }

  /// Before a call that changes what is stored.
  func checkDrive(_ operation: String, _ path: Bytes, frees: Bool = false) throws(SystemError) {
    try drive?.check(operation, path, frees: frees)
  }

  /// The error of the call just made, which the drive takes note of.
  func failed(_ operation: String, _ path: Bytes, changes: Bool) -> SystemError {
    let error = SystemError.last(operation, path)
    drive?.note(error, changes: changes)
    return error
  }
}
