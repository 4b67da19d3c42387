/// The seam between what a store holds and where it lies: a folder of a store, with few verbs that every kind of store
/// can keep. All that reads or writes a store goes through it.
import Posix

/// What has a name in a folder, as a listing tells it.
public struct StoreItem: Equatable, Sendable {
  public enum Kind: Sendable { case file, folder, other }
  /// One component, not a path.
  public let name: Bytes
  public let kind: Kind
  /// Bytes, of a file.
  public let size: Int64
  /// By the clock of whatever keeps the store.
  public let modified: Timestamp

  public init(name: Bytes, kind: Kind, size: Int64, modified: Timestamp) {
    self.name = name
    self.kind = kind
    self.size = size
    self.modified = modified
  }

  /// A folder of which nothing more is known.
  public init(folder name: Bytes) { self.init(name: name, kind: .folder, size: 0, modified: Timestamp(seconds: 0)) }
}

/// What a kind of store can and cannot do. Callers ask here instead of knowing kinds.
public struct StoreTraits: Equatable, Sendable {
  /// A file can get another name, and gets it without replacing anything.
  public var renames = true
  /// A file that was begun can be gone on with.
  public var appends = true
  /// What was written can be made durable before it is complete.
  public var syncs = true
  /// What was written can be given up and written differently, in the same file.
  public var rewinds = true
  /// Bytes of the largest file; nil: as large as there is room.
  public var largestFile: Int64?
  /// A name may be any bytes; else it is UTF-8.
  public var takesAnyName = true
  /// Of two that mark one name at once only one succeeds; else both may.
  public var marksOnce = true
  /// Each call may take long, so that what was read is worth keeping.
  public var isFar = false
  /// Bytes of one volume, where large archives are better cut; nil: one volume may have any size.
  public var volumeSize: Int64?
  /// Where the store does not rename: a directory of this machine for files without a name, which hold what is not whole
  /// yet.
  public var spool = Bytes("/var/tmp")
  /// What was finished is durable.
  public var finishesDurably = true
  /// What was made durable there came as it was sent: the connection checks every byte.
  public var arrivesWhole = false
  /// Seconds without a `touch` after which a lock counts as left behind, by the clock of the machine that keeps the store.
  /// nil: its times say nothing of that.
  public var lockLease: Int64?
  /// Only this machine uses the store, so the kernel's locks tell who has it.
  public var keepsLocks = false

  public init() {}
}

/// Bytes that can be read from any offset: a file, or an archive's volumes in a row.
public protocol ByteSource: Sendable {
  /// Reads up to `count` bytes at `offset`; fewer only at the end, or where what follows cannot be read: then reading
  /// there throws.
  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int
}

/// A file that is read by ranges.
public protocol StoredFile: AnyObject, ByteSource {
  /// For messages.
  var path: Bytes { get }
  /// Bytes, when it was opened.
  var size: Int64 { get }
  /// Lets the system forget what it holds of the file, so that the next read asks the medium.
  func dropCache()
}

/// A file that is being written. Fed by one thread.
public protocol StoreOutput: AnyObject {
  /// For messages.
  var path: Bytes { get }
  /// Writes all of it at the end. After an error the file may hold a part of it.
  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError)
  /// Gives up what lies behind the first `size` bytes. Throws `unfit` where that cannot be written differently in this file
  /// (only without `traits.rewinds`).
  func truncate(to size: Int64) throws(StoreError)
  /// Makes durable what was written so far. A store that cannot do that before the end (`traits.syncs`) does nothing.
  func sync() throws(StoreError)
  /// Where bytes are held back: how many have to follow for `sync` to make all durable, and readable, that was appended
  /// until now. nil: none are held back.
  var untilDurable: Int? { get }
  /// Makes all of it durable and ends the writing. Nothing can be called after it.
  func finish() throws(StoreError)
  /// Ends the writing; what was written so far stays as it is, as after a kill.
  func abandon()
}

/// A lock in a store, held as long as this value lives or until it is released.
public protocol StoreLock: AnyObject, Sendable {
  /// Whether what is locked still has its name. Where that cannot be told it counts as so.
  var isInPlace: Bool { get }
  /// Ends the lock. What is locked stays.
  func release()
}

/// What came of trying to lock something; `unknown`: the store has no such locks.
public typealias StoreLockState = Descriptor.LockState

/// One folder of a store. Names are single components. Everything in it is reached through what was opened once, so that
/// a store that is exchanged in the middle of a run is noticed, not written beside.
public protocol StoreFolder: AnyObject, Sendable {
  /// As the user named the store, and the folder's name in it, for messages.
  var path: Bytes { get }
  var traits: StoreTraits { get }
  /// What the store ended with: after it nothing more is written. nil while it works.
  var failure: StoreError? { get }
  /// Which directory of this machine it is, where it is one.
  var directory: Status? { get }

  /// Who may read what is made in it; nil: the store has no rule of its own for that.
  var access: Access? { get }

  /// All that is in it, sorted bytewise by name; read anew at each call.
  func list() throws(StoreError) -> [StoreItem]
  /// The names alone, which may take less.
  func names() throws(StoreError) -> [Bytes]
  /// What has this name; nil: nothing.
  func item(_ name: Bytes) throws(StoreError) -> StoreItem?

  /// A file, to be read. Throws `unfit` where the name is something else; waits for no other end of a pipe.
  func open(_ name: Bytes) throws(StoreError) -> any StoredFile
  /// The same of a file that a listing told of, which need not be looked at again.
  func open(listed item: StoreItem) throws(StoreError) -> any StoredFile
  /// The whole of a small file. Throws `tooLarge` where it has more than `limit` bytes.
  func contents(_ name: Bytes, atMost limit: Int) throws(StoreError) -> Bytes
  /// Begins a file; what has that name already is replaced.
  func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput
  /// The same of a name that nothing has. Where the store can tell, finishing it throws `exists` if something has it by
  /// then.
  func begin(new name: Bytes) throws(StoreError) -> any StoreOutput
  /// Goes on with a file, of which the first `size` bytes are kept. Only where `traits.appends`.
  func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput
  /// Makes a file end behind its first `size` bytes, durably. Nothing is appended to it later.
  func shorten(_ name: Bytes, to size: Int64) throws(StoreError)
  /// Makes an empty file. Throws `exists` where there is something: of two that call at once one succeeds.
  func mark(_ name: Bytes) throws(StoreError)
  /// The same, and locks the file for this process.
  func markLocked(_ name: Bytes) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock)
  /// Gives a file that `mark` made the present time, by the keeper's clock. Throws `missing` where there is none.
  func touch(_ name: Bytes) throws(StoreError)
  /// As `markLocked`, and tells what is in the folder from then on.
  func markLockedAndList(
    _ name: Bytes
  ) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock, items: [StoreItem])
  /// Locks an existing file, or the folder (nil), for one or for several. Gives no lock where another has it.
  func lock(_ name: Bytes?, exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?)

  /// Gives a file another name. Throws `exists` where something has it. Without `traits.renames` for small files only, and
  /// for a moment both names may be there.
  func rename(_ name: Bytes, to new: Bytes) throws(StoreError)
  /// Removes a file. Throws `missing` where there is none.
  func remove(_ name: Bytes) throws(StoreError)
  /// Puts bytes in the place of those that a small file has from `offset` on; it may become longer.
  func patch(_ name: Bytes, at offset: Int64, _ bytes: Bytes) throws(StoreError)
  /// Sets the permissions of a file, where the store has such.
  func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError)
  /// Closes the folder to all but its owner, if this user owns it and `isAllOurs` says that nothing else lies in it.
  func closeToOthers(where isAllOurs: () -> Bool)
  /// Gives a file, or the folder itself (nil), the permissions and the group of `access`; gives the permissions before and
  /// after, nil where there are none.
  func mendAccess(of name: Bytes?, isProgram: Bool) -> (before: UInt16, after: UInt16)?
  /// Gives up what runs that were killed began and left in no listing. Only where no other run can be writing.
  func dropUnfinished()
  /// Makes names durable that were given or taken away.
  func sync() throws(StoreError)

  /// Makes a folder in it. Throws `exists` where something has that name.
  func makeFolder(_ name: Bytes) throws(StoreError)
  /// A folder in it, which lies on the same store. Throws `unfit` where the name is a link or a file.
  func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder
  /// The same of one that a listing told of, which need not be looked at again.
  func folder(listed item: StoreItem) throws(StoreError) -> any StoreFolder

  /// Bytes free for this user, and in all; nil where that cannot be told.
  func space() -> (free: Int64, total: Int64)?
}

/// What a kind of store need not do by itself.
extension StoreFolder {
  public var access: Access? { nil }

  public func begin(new name: Bytes) throws(StoreError) -> any StoreOutput { try begin(name) }
  public func dropUnfinished() {}

  public func shorten(_ name: Bytes, to size: Int64) throws(StoreError) {
    let file = try resume(name, from: size)
    try file.finish()
  }

  public func names() throws(StoreError) -> [Bytes] { try list().map(\.name) }

  public func markLocked(_ name: Bytes) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock) {
    try mark(name)
    return (.unknown, MarkAlone(self, name))
  }

  public func touch(_ name: Bytes) throws(StoreError) {}

  public func markLockedAndList(
    _ name: Bytes
  ) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock, items: [StoreItem]) {
    let (state, lock) = try markLocked(name)
    return (state, lock, try list())
  }

  public func open(listed item: StoreItem) throws(StoreError) -> any StoredFile { try open(item.name) }
  public func folder(listed item: StoreItem) throws(StoreError) -> any StoreFolder { try folder(item.name) }

  public func lock(_ name: Bytes?, exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?) {
    (.unknown, nil)
  }
  public func closeToOthers(where isAllOurs: () -> Bool) {}
  public func mendAccess(of name: Bytes?, isProgram: Bool) -> (before: UInt16, after: UInt16)? { nil }

  public func patch(_ name: Bytes, at offset: Int64, _ bytes: Bytes) throws(StoreError) {
    var text = try contents(name, atMost: 1 << 20)
    guard offset >= 0, offset <= Int64(text.count) else {
      throw StoreError(.unfit, "write", path.joined(name), cause: "it is too short")
    }
    text.replaceSubrange(Int(offset)..<min(Int(offset) + bytes.count, text.count), with: bytes)
    let file = try begin(name)
    try file.append(text)
    try file.finish()
  }
}

/// A lock that is nothing but a file's name.
final class MarkAlone: StoreLock {
  private let folder: any StoreFolder
  private let name: Bytes

  init(_ folder: any StoreFolder, _ name: Bytes) { (self.folder, self.name) = (folder, name) }

  var isInPlace: Bool {
    do throws(StoreError) { return try folder.item(name) != nil } catch { return true }
  }
  func release() {}
}

extension StoreFolder {
  /// Whether something has this name.
  public func has(_ name: Bytes) -> Bool { (try? item(name)) != nil }

  public func contents(_ name: Bytes, atMost limit: Int) throws(StoreError) -> Bytes {
    try open(name).contents(atMost: limit)
  }
}

extension StoredFile {
  /// All of it. Throws `tooLarge` where it has more than `limit` bytes.
  public func contents(atMost limit: Int) throws(StoreError) -> Bytes {
    guard size <= Int64(limit) else {
      throw StoreError(.tooLarge, "read", path, cause: "it has more than \(limit) bytes")
    }
    return try read(count: Int(size), at: 0)
  }
}

extension ByteSource {
  /// So many bytes at `offset`; fewer at the end.
  public func read(count: Int, at offset: Int64) throws(StoreError) -> Bytes {
    var failure: StoreError?
    let bytes = Bytes(unsafeUninitializedCapacity: count) { buffer, filled in
      guard let start = buffer.baseAddress else { return }
      do throws(StoreError) { filled = try read(into: start, count: count, at: offset) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }
}

extension StoreOutput {
  public var untilDurable: Int? { nil }

  /// Appends the first `size` bytes of a file. Throws `damaged` where it has fewer.
  func append(contentsOf file: any StoredFile, first size: Int64) throws(StoreError) {
    var offset: Int64 = 0
    while offset < size {
      let piece = try file.read(count: Int(min(1 << 20, size - offset)), at: offset)
      guard !piece.isEmpty else { throw .damaged(file.path, "is cut short") }
      try append(piece)
      offset += Int64(piece.count)
    }
  }

  public func append(_ bytes: Bytes) throws(StoreError) {
    var failure: StoreError?
    bytes.withUnsafeBytes { buffer in
      do throws(StoreError) { try append(buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
