/// A folder of a store that lies in a file system of this machine: a drive, a mounted share.
import Posix

public final class LocalFolder: StoreFolder {
  private let descriptor: Descriptor
  public let traits: StoreTraits
  private let limits: RateLimits

  /// FAT has 32 bits for a file's size.
  private static let fatLimit: Int64 = 1 << 32 - 1

  /// The directory at `path`. After an error of what it lies on nothing more is written to it.
  public convenience init(_ path: Bytes, _ limits: RateLimits = RateLimits()) throws(StoreError) {
    try self.init(
      storing { () throws(SystemError) in
        try Descriptor.open(path, [.read, .directory], on: Drive(endsAtInputOutputError: true))
      }, limits)
    // What is made in the store is for those whom its folder lets in.
    readAccess()
  }

  private func readAccess() {
    if let status = try? descriptor.status() { descriptor.drive?.access = Access(of: status) }
  }

  /// As above, made where it is missing; its parent must be there.
  public static func make(_ path: Bytes) throws(StoreError) -> LocalFolder {
    do throws(SystemError) { try Descriptor.workingDirectory.makeDirectory(path, mode: 0o700) } catch {
      guard error.isExisting else { throw StoreError(error) }
    }
    return try LocalFolder(path)
  }

  init(_ descriptor: Descriptor, _ limits: RateLimits = RateLimits()) {
    self.descriptor = descriptor
    self.limits = limits
    var traits = StoreTraits()
    if descriptor.isFAT { traits.largestFile = Self.fatLimit }
    traits.keepsLocks = descriptor.isLocalFileSystem
    traits.isFar = !traits.keepsLocks
    self.traits = traits
  }

  public var path: Bytes { descriptor.path }
  public var failure: StoreError? { descriptor.drive?.failure.map(StoreError.init) }
  public var directory: Status? { try? descriptor.status() }
  public var access: Access? { descriptor.drive?.access }

  public func names() throws(StoreError) -> [Bytes] {
    try storing { () throws(SystemError) in try descriptor.sortedNames() }
  }

  public func list() throws(StoreError) -> [StoreItem] {
    let names = try names()
    var items: [StoreItem] = []
    items.reserveCapacity(names.count)
    // What vanished since it was listed is not there.
    for name in names { if let item = try item(name) { items.append(item) } }
    return items
  }

  public func item(_ name: Bytes) throws(StoreError) -> StoreItem? {
    do throws(SystemError) {
      let status = try descriptor.status(of: name)
      let kind: StoreItem.Kind =
        switch status.kind {
        case .file: .file
        case .directory: .folder
        default: .other
        }
      return StoreItem(name: name, kind: kind, size: kind == .file ? status.size : 0, modified: status.modified)
    } catch {
      if error.isMissing { return nil }
      throw StoreError(error)
    }
  }

  public func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    try storing { () throws(SystemError) in
      let file = try descriptor.open(name, [.read, .noFollow, .nonBlocking])
      let status = try file.status()
      guard status.kind == .file else { throw .unfit("open", file.path) }
      return LocalFile(file, size: status.size, limit: limits.download)
    }
  }

  public func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput {
    try storing { () throws(SystemError) in
      LocalOutput(try descriptor.open(name, [.readWrite, .create, .truncate, .noFollow, .nonBlocking]), limits.upload)
    }
  }

  public func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    try storing { () throws(SystemError) in
      let file = try descriptor.open(name, [.readWrite, .noFollow, .nonBlocking, .append])
      guard try file.status().kind == .file else { throw .unfit("open", file.path) }
      try file.truncate(to: size)
      return LocalOutput(file, limits.upload)
    }
  }

  public func mark(_ name: Bytes) throws(StoreError) {
    try storing { () throws(SystemError) in
      try descriptor.open(name, [.write, .create, .exclusive, .noFollow]).close()
    }
  }

  public func markLocked(_ name: Bytes) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock) {
    try storing { () throws(SystemError) in
      let file = try descriptor.open(name, [.write, .create, .exclusive, .noFollow])
      return (file.lock(exclusive: true), LocalLock(file, name, in: descriptor))
    }
  }

  public func lock(_ name: Bytes?, exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?) {
    let file: Descriptor
    do throws(SystemError) {
      if let name {
        file = try descriptor.open(name, [.read, .noFollow, .nonBlocking])
        guard try file.status().kind == .file else { return (.unknown, nil) }
      } else {
        file = try descriptor.open(Bytes("."), [.read, .directory])
      }
    } catch { return (.unknown, nil) }
    let state = name == nil ? file.lockWhole(exclusive: exclusive) : file.lock(exclusive: exclusive)
    return (state, state == .taken ? LocalLock(file, name ?? Bytes("."), in: descriptor) : nil)
  }

  public func patch(_ name: Bytes, at offset: Int64, _ bytes: Bytes) throws(StoreError) {
    try storing { () throws(SystemError) in
      let file = try descriptor.open(name, [.readWrite, .noFollow, .nonBlocking])
      guard try file.status().kind == .file else { throw .unfit("open", file.path) }
      try file.seek(to: offset)
      try file.write(bytes)
      try file.sync()
    }
  }

  public func closeToOthers(where isAllOurs: () -> Bool) {
    guard let status = try? descriptor.status(), status.mode & 0o007 != 0, status.uid == Host.userID,
      // The root of a file system may hold what is not ours.
      let above = try? descriptor.open(Bytes(".."), [.pathOnly, .directory]).status(), above.device == status.device,
      isAllOurs()
    else { return }
    try? descriptor.setMode(0o700)
    readAccess()
  }

  public func mendAccess(of name: Bytes?, isProgram: Bool) -> (before: UInt16, after: UInt16)? {
    guard let access else { return nil }
    guard let name else {
      guard let before = try? descriptor.status() else { return nil }
      if before.mode & 0o777 != access.directoryMode { descriptor.give(access, access.directoryMode) }
      return (try? descriptor.status()).map { (before.mode, $0.mode) }
    }
    guard let file = try? descriptor.open(name, [.read, .noFollow, .nonBlocking]), let before = try? file.status(),
      before.kind == .file
    else { return nil }
    let mode = access.fileMode | (isProgram ? (access.fileMode & 0o444) >> 2 : 0)
    if before.mode & 0o777 != mode { file.give(access, mode, in: descriptor) }
    return (try? file.status()).map { (before.mode, $0.mode) }
  }

  public func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    try storing { () throws(SystemError) in try descriptor.renameToNew(name, new) }
  }

  public func remove(_ name: Bytes) throws(StoreError) {
    try storing { () throws(SystemError) in try descriptor.removeFile(name) }
  }

  public func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) {
    try storing { () throws(SystemError) in try descriptor.setMode(name, mode) }
  }

  public func sync() throws(StoreError) {
    try storing { () throws(SystemError) in try descriptor.sync(directory: true) }
  }

  public func makeFolder(_ name: Bytes) throws(StoreError) {
    try storing { () throws(SystemError) in try descriptor.makeDirectory(name) }
  }

  public func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder {
    try storing { () throws(SystemError) in
      LocalFolder(try descriptor.open(name, [.read, .directory, .noFollow]), limits)
    }
  }

  public func space() -> (free: Int64, total: Int64)? { descriptor.space() }
}

/// A lock that the kernel ends with the process.
private final class LocalLock: StoreLock {
  private let file: Descriptor
  private let name: Bytes
  private let directory: Descriptor

  init(_ file: Descriptor, _ name: Bytes, in directory: Descriptor) {
    (self.file, self.name, self.directory) = (file, name, directory)
  }

  var isInPlace: Bool {
    do throws(SystemError) {
      let named = try directory.status(of: name)
      // (Over a network the numbers of inodes may change.)
      return try named.inode == file.status().inode || !directory.isLocalFileSystem
    } catch { return !error.isMissing }
  }

  func release() {
    if !file.isClosed { file.unlock() }
    try? file.close()
  }

  deinit { release() }
}

/// A file of this machine.
public final class LocalFile: StoredFile {
  private let descriptor: Descriptor
  public let size: Int64
  public let path: Bytes
  private let limit: RateLimit?

  /// `size`: nil asks for it. `path`: for messages, where it is not the file's own.
  public init(_ descriptor: Descriptor, size: Int64? = nil, path: Bytes? = nil, limit: RateLimit? = nil) {
    self.descriptor = descriptor
    self.limit = limit
    self.path = path ?? descriptor.path
    self.size = size ?? (try? descriptor.status().size) ?? 0
  }

  public func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    limit?.pass(count)
    return try storing { () throws(SystemError) in try descriptor.read(into: buffer, count: count, at: offset) }
  }

  public func dropCache() { descriptor.dropCache() }
}

/// A file of this machine that is written from its beginning to its end.
public final class LocalOutput: StoreOutput {
  private let descriptor: Descriptor
  public var path: Bytes { descriptor.path }

  private let limit: RateLimit?

  public init(_ descriptor: Descriptor, _ limit: RateLimit? = nil) {
    (self.descriptor, self.limit) = (descriptor, limit)
  }

  public func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    limit?.pass(bytes.count)
    try storing { () throws(SystemError) in try descriptor.write(bytes) }
  }

  public func truncate(to size: Int64) throws(StoreError) {
    try storing { () throws(SystemError) in
      try descriptor.truncate(to: size)
      try descriptor.seek(to: size)
    }
  }

  public func sync() throws(StoreError) { try storing { () throws(SystemError) in try descriptor.sync() } }

  public func finish() throws(StoreError) {
    try storing { () throws(SystemError) in
      try descriptor.sync()
      try descriptor.close()
    }
  }

  public func abandon() { try? descriptor.close() }
}
