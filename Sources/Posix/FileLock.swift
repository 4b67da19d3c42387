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
    var lock = flock()
    lock.l_type = Int16(exclusive ? F_WRLCK : F_RDLCK)
    lock.l_whence = Int16(SEEK_SET)
    let openFileLock: Int32 = 37  // F_OFD_SETLK
    if retrying({ fcntl(raw, openFileLock, &lock) }) == 0 { return .taken }
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
    var lock = flock()
    lock.l_type = Int16(F_UNLCK)
    lock.l_whence = Int16(SEEK_SET)
    _ = retrying { fcntl(raw, 37, &lock) }  // F_OFD_SETLK
    _ = retrying { sheaf_flock(raw, LOCK_UN) }
  }
}
