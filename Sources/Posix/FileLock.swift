/// Locks that the kernel holds for an open file and lets go when that is closed, also by a process that was killed.
import CLinux
import Glibc

extension Descriptor {
  public enum LockState: Sendable {
    case taken, heldByOther
    /// The file system has no such locks, or the file is not open for it.
    case unknown
  }

  /// Locks the open file for writing (`exclusive`, which must be open for writing) or for reading. The corresponding C
  /// call is `fcntl` with `F_OFD_SETLK`.
  public func lock(exclusive: Bool) -> LockState {
    if setLock(exclusive ? F_WRLCK : F_RDLCK) { return .taken }
    return errno == EAGAIN || errno == EACCES ? .heldByOther : .unknown
  }

  /// Locks an open directory, or a file, shared by many or for one alone, which needs nothing to be written. The
  /// corresponding C function is `flock`; on a network it may be unknown for directories.
  public func lockWhole(exclusive: Bool) -> LockState {
    if retrying({ sheaf_flock(raw, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) }) == 0 { return .taken }
    return errno == EWOULDBLOCK ? .heldByOther : .unknown
  }

  /// Ends both kinds of lock, also where closing the file is what fails.
  public func unlock() {
    _ = setLock(F_UNLCK)
    _ = retrying { sheaf_flock(raw, LOCK_UN) }
  }

  private func setLock(_ type: Int32) -> Bool {
    var lock = flock()
    lock.l_type = Int16(type)
    lock.l_whence = Int16(SEEK_SET)
    let openFileLock: Int32 = 37  // F_OFD_SETLK
    return retrying { fcntl(raw, openFileLock, &lock) } == 0
  }
}
