/// Those who read archives for long, and those who remove them: a reader holds the series' directory locked, which writes
/// nothing and ends with its process. Where the file system has no such locks, what is gone is looked at again.
import Posix
import Storage

extension Series {
  /// Seconds to wait for the other side, which removes few files or reads many.
  private static let patience = 10

  /// No set is removed as long as this object lives, where the store has such locks; to be asked for before it is looked
  /// up what is to be read.
  public func holdSets() {
    if reading == nil { reading = wait(exclusive: false).lock }
  }

  /// Held while sets are removed; nil: not known who reads. Throws `locked` where somebody goes on reading.
  func awaitReaders() throws(Failure) -> (any StoreLock)? {
    let (state, lock) = wait(exclusive: true)
    guard state != .heldByOther else {
      throw Failure(
        .locked, "\(lockedName) is being read by another run, a restore perhaps: nothing is removed meanwhile",
        hint: "try again when that is done")
    }
    return lock
  }

  /// Whether somebody reads archives at this moment.
  var isBeingRead: Bool { folder.lock(nil, exclusive: true).state == .heldByOther }

  private func wait(exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?) {
    let nap = Monitor(false)
    for _ in 0..<(Self.patience * 10) {
      let result = folder.lock(nil, exclusive: exclusive)
      if result.state != .heldByOther { return result }
      nap.sleep(milliseconds: 100)
    }
    return folder.lock(nil, exclusive: exclusive)
  }
}
