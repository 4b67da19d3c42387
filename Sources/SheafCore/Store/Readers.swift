/// Those who read archives for long, and those who remove them: a reader holds the series' directory locked, which writes
/// nothing and ends with its process. Where the file system has no such locks, what is gone is looked at again.
import Posix

extension Series {
  /// Seconds to wait for the other side, which removes few files or reads many.
  private static let patience = 10

  /// No set is removed as long as this object lives, where the file system has such locks; to be asked for before it is
  /// looked up what is to be read.
  public func holdSets() {
    guard reading == nil, let directory = try? directory.open(Bytes("."), [.read, .directory]) else { return }
    if wait(for: directory, exclusive: false) == .taken { reading = directory }
  }

  /// Held while sets are removed; nil: not known who reads. Throws `locked` where somebody goes on reading.
  func awaitReaders() throws(Failure) -> Descriptor? {
    guard let directory = try? directory.open(Bytes("."), [.read, .directory]) else { return nil }
    guard wait(for: directory, exclusive: true) != .heldByOther else {
      throw Failure(
        .locked, "\(lockedName) is being read by another run, a restore perhaps: nothing is removed meanwhile",
        hint: "try again when that is done")
    }
    return directory
  }

  /// Whether somebody reads archives at this moment.
  var isBeingRead: Bool {
    guard let directory = try? directory.open(Bytes("."), [.read, .directory]) else { return false }
    return directory.lockWhole(exclusive: true) == .heldByOther
  }

  private func wait(for directory: Descriptor, exclusive: Bool) -> Descriptor.LockState {
    let nap = Monitor(false)
    for _ in 0..<(Self.patience * 10) {
      let state = directory.lockWhole(exclusive: exclusive)
      if state != .heldByOther { return state }
      nap.sleep(milliseconds: 100)
    }
    return directory.lockWhole(exclusive: exclusive)
  }
}
