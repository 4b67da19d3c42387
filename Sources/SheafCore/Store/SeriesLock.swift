/// Keeps two runs from changing one directory of a store at a time, a series or the top. A lock is an empty file whose
/// *name* says who holds it, since contents may not fit on a full drive. Where the file system can, the file is locked
/// as well, which the kernel ends with its holder.
import Posix
import Storage

final class SeriesLock {
  private let folder: any StoreFolder
  private let name: Bytes
  private let lock: any StoreLock

  /// Of a series; see below.
  convenience init(_ series: Series) throws(Failure) {
    try self.init(series.folder, series.lockedName, store: series.store.path)
  }

  /// Takes the lock, removing those whose holders are known to be gone. Throws a failure of kind `locked`. `what`: the
  /// directory in words. `store`: as the user named it.
  init(_ folder: any StoreFolder, _ what: String, store: Bytes) throws(Failure) {
    self.folder = folder
    (name, lock) = try Self.make(in: folder, what, store)
    // Both of two that begin together see the other and give way: never do both go on.
    do throws(Failure) {
      let names = try stored { () throws(StoreError) in try folder.names() }
      for other in names where LockHolder.isLock(other) && other != name {
        guard let left = LeftLock(other, in: folder) else { continue }
        guard left.state == .over else { throw left.failure(what, store) }
        left.remove()
      }
      // Of a far store the listing tells.
      guard folder.traits.isFar ? names.contains(name) : isHeld else { throw Self.taken(what) }
    } catch {
      release()
      throw error
    }
  }

  /// Makes and locks the file of this process.
  private static func make(
    in folder: any StoreFolder, _ what: String, _ store: Bytes
  ) throws(Failure) -> (Bytes, any StoreLock) {
    var keepsFileLock = folder.traits.keepsLocks
    var mayRemove = true
    while true {
      let name = LockHolder(keepsFileLock: keepsFileLock).name
      do throws(StoreError) {
        let (state, lock) = try folder.markLocked(name)
        switch state {
        case .taken: return (name, lock)
        case .unknown where !keepsFileLock: return (name, lock)
        case .unknown:
          try? folder.remove(name)
          keepsFileLock = false
        case .heldByOther: throw StoreError(SystemError.existing("lock", folder.path.joined(name)))
        }
      } catch {
        guard error.kind == .exists else { throw Failure(error) }
        // Of the same process number in a namespace that cannot be told, or judged this moment by one that begins, too.
        guard mayRemove, let left = LeftLock(name, in: folder) else { throw taken(what) }
        guard left.state == .over else { throw left.failure(what, store) }
        left.remove()
        mayRemove = false
      }
    }
  }

  private static func taken(_ what: String) -> Failure {
    Failure(.locked, "\(what) is in use by another run that is just starting", hint: "try again")
  }

  /// Whether the lock is still there under its name: somebody may have taken it away.
  var isHeld: Bool { lock.isInPlace }

  /// Throws where somebody took the lock away: another run may be writing by now.
  func confirm() throws(Failure) {
    if !isHeld { throw Failure(.locked, "the lock in \(Show.path(folder.path)) was taken away while it was in use") }
  }

  /// Gives the lock back.
  func release() {
    try? folder.remove(name)
    lock.release()
  }
}

/// A lock that is there, of whoever it may be.
public struct LeftLock: Sendable {
  private let folder: any StoreFolder
  private let name: Bytes
  /// As long as it is looked at, so that nobody takes it meanwhile for one that is held.
  private let lock: (any StoreLock)?
  let state: LockHolder.State
  let made: Timestamp
  private let host: String
  private let process: Int32
  private let isInContainer: Bool

  /// nil: it is gone by now.
  init?(_ name: Bytes, in folder: any StoreFolder) {
    guard let item = try? folder.item(name) else { return nil }
    (self.name, self.folder, made) = (name, folder, item.modified)
    let (lockState, lock) = item.kind == .file ? folder.lock(name, exclusive: false) : (.unknown, nil)
    self.lock = lock
    guard let holder = LockHolder(name: name) else {
      (state, host, process, isInContainer) = (.unknown, Show.path(Bytes(name.dropFirst(5))), 0, false)
      return
    }
    (host, process) = (Show.path(holder.host), holder.process)
    let here = LockHolder(keepsFileLock: folder.traits.keepsLocks)
    isInContainer = holder.boot == here.boot && ![0, here.namespace].contains(holder.namespace)
    switch lockState {
    case .heldByOther: state = .held
    // Nobody else can have this file system mounted, nor had its holder it over a network.
    case .taken where holder.keepsFileLock && here.keepsFileLock: state = .over
    default: state = holder.state(seenBy: here, made: item.modified)
    }
  }

  public var isHeld: Bool { state == .held }

  /// `process 4711 on nas since 2026-11-24 06:00`.
  public var holder: String {
    let c = made.calendar(local: true)
    func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
    let since = "\(c.year)-\(two(c.month))-\(two(c.day)) \(two(c.hour)):\(two(c.minute))"
    return "process \(process) on \(host)\(isInContainer ? ", in another container," : "") since \(since)"
  }

  func failure(_ what: String, _ store: Bytes) -> Failure {
    Failure(
      .locked, "\(what) is in use by \(holder)",
      hint: state == .held
        ? nil
        : "if that run is over, 'sheaf unlock -s \(Show.word(store))' removes its lock, \(Show.path(folder.path.joined(name)))"
    )
  }

  func remove() { try? folder.remove(name) }
}

extension Series {
  /// In messages.
  var lockedName: String { "the series '\(Show.path(name))'" }
}

extension Store {
  /// What holds or held a lock in the store, at its top and in its series, or in one series alone.
  public struct Locked {
    public let what: String
    public let lock: LeftLock

    /// What another run would be told.
    public func failure(in store: Store) -> Failure {
      let failure = lock.failure(what, store.path)
      return Failure(.locked, failure.message, hint: "'--force' removes the lock even if the run is still going")
    }
    public func remove() { lock.remove() }
  }

  /// All locks that are there.
  public func locks(of series: Bytes?) throws(Failure) -> [Locked] {
    var found = series == nil ? try Self.locks("the store", in: folder) : []
    for name in try stored({ () throws(StoreError) in try folder.names() })
    where Series.isName(name) && (series == nil || series == name) {
      guard let series = try? folder.folder(name) else { continue }
      found += try Self.locks("the series '\(Show.path(name))'", in: series)
    }
    return found
  }

  private static func locks(_ what: String, in folder: any StoreFolder) throws(Failure) -> [Locked] {
    try stored { () throws(StoreError) in try folder.names() }.filter(LockHolder.isLock).compactMap {
      LeftLock($0, in: folder).map { Locked(what: what, lock: $0) }
    }
  }
}
