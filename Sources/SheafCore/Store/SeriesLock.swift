/// Keeps two runs from changing one directory of a store at a time, a series or the top. A lock is an empty file whose
/// *name* says who holds it, since contents may not fit on a full drive. Where the file system can, the file is locked
/// as well, which the kernel ends with its holder. On another machine the file's time tells that its holder is alive: it
/// gets a new one every few minutes, and whoever comes compares it with the time of his own, in one listing.
import Posix
import Storage

final class SeriesLock {
  private let folder: any StoreFolder
  private let what: String
  private let store: Bytes
  private let name: Bytes
  private var lock: any StoreLock
  private var refresher: LockRefresher?

  /// Of a series; see below.
  convenience init(_ series: Series) throws(Failure) {
    try self.init(series.folder, series.lockedName, store: series.store.path)
  }

  /// Takes the lock, removing those whose holders are known to be gone. Throws a failure of kind `locked`. `what`: the
  /// directory in words. `store`: as the user named it.
  init(_ folder: any StoreFolder, _ what: String, store: Bytes) throws(Failure) {
    (self.folder, self.what, self.store) = (folder, what, store)
    (name, lock) = try Self.make(in: folder, what, store)
    do throws(Failure) { try prevail() } catch {
      release()
      throw error
    }
    refresher = LockRefresher(name, in: folder)
  }

  /// Removes the locks of those who are gone. Both of two that begin together see the other and give way: never do both
  /// go on.
  private func prevail() throws(Failure) {
    let names = try stored { () throws(StoreError) in try folder.names() }
    for other in names where LockHolder.isLock(other) && other != name {
      guard let left = try LeftLock(other, in: folder, age: age(of: other)) else { continue }
      guard left.state == .over else { throw left.failure(what, store) }
      left.remove()
    }
    // Of a far store the listing tells.
    guard folder.traits.isFar ? names.contains(name) : isHeld else { throw Self.taken(what) }
  }

  /// Seconds that another lock had no new time before this one was made, by the clock of whatever keeps the store; nil:
  /// that says nothing.
  private func age(of other: Bytes) throws(Failure) -> Int64? {
    guard folder.traits.lockLease != nil else { return nil }
    let items = try stored { () throws(StoreError) in try folder.list() }
    func time(_ name: Bytes) -> Int64? { items.first { $0.name == name }?.modified.seconds }
    guard let own = time(name), let theirs = time(other) else { return nil }
    return own.subtracting(saturating: theirs)
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

  /// Throws where somebody took the lock away: another run may be writing by now. Where that was because nothing was heard
  /// of this run for long, as of a machine that slept, it is taken again, and nothing else may have changed.
  func confirm() throws(Failure) {
    if isHeld { return }
    guard folder.traits.lockLease != nil else {
      throw Failure(.locked, "the lock in \(Show.path(folder.path)) was taken away while it was in use")
    }
    let before = try namesBesideLocks()
    (_, lock) = try Self.make(in: folder, what, store)
    try prevail()
    guard try namesBesideLocks() == before else {
      throw Failure(
        .locked, "another run took the lock in \(Show.path(folder.path)) away and went on from there",
        hint: "this machine may have slept, or lost its connection for long; run it again")
    }
  }

  private func namesBesideLocks() throws(Failure) -> [Bytes] {
    try stored { () throws(StoreError) in try folder.names() }.filter { !LockHolder.isLock($0) }
  }

  /// Gives the lock back.
  func release() {
    refresher?.end()
    try? folder.remove(name)
    lock.release()
  }
}

/// Gives a lock a new time now and then, where that tells others that its holder is alive.
private final class LockRefresher: Sendable {
  private let isOver = Monitor(false)

  /// nil: nobody goes by that.
  init?(_ name: Bytes, in folder: any StoreFolder) {
    guard let lease = folder.traits.lockLease else { return nil }
    let isOver = isOver
    let pause = max(1, lease / 6)
    _ = Thread {
      var last = Timestamp.monotonicNanoseconds()
      while isOver.look({ !$0 }) {
        isOver.sleep(milliseconds: 1000)
        let now = Timestamp.monotonicNanoseconds()
        guard (now - last) / 1_000_000_000 >= pause, isOver.look({ !$0 }) else { continue }
        try? folder.touch(name)
        last = now
      }
    }
  }

  func end() { isOver.change { $0 = true } }
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

  /// nil: it is gone by now. `age`: seconds since its holder was heard of, by the keeper's clock.
  init?(_ name: Bytes, in folder: any StoreFolder, age: Int64? = nil) {
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
    default:
      let told = holder.state(seenBy: here, made: item.modified)
      let isSilent = folder.traits.lockLease.flatMap { lease in age.map { $0 > lease } } ?? false
      state = told == .unknown && isSilent ? .over : told
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

  func remove() {
    try? folder.remove(name)
    folder.dropUnfinished()
  }
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
