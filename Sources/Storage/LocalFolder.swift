/// A folder of a store that lies in a file system of this machine: a drive, a mounted share.
import Posix

public final class LocalFolder: StoreFolder {
  private let descriptor: Descriptor
  public let traits: StoreTraits

  /// FAT has 32 bits for a file's size.
  private static let fatLimit: Int64 = 1 << 32 - 1

  /// The directory at `path`. After an error of what it lies on nothing more is written to it.
  public convenience init(_ path: Bytes) throws(StoreError) {
    try self.init(
      storing { () throws(SystemError) in
        try Descriptor.open(path, [.read, .directory], on: Drive(endsAtInputOutputError: true))
      })
  }

  init(_ descriptor: Descriptor) {
    self.descriptor = descriptor
    var traits = StoreTraits()
    if descriptor.isFAT { traits.largestFile = Self.fatLimit }
    self.traits = traits
  }

  public var path: Bytes { descriptor.path }
  public var failure: StoreError? { descriptor.drive?.failure.map(StoreError.init) }
  public var directory: Status? { try? descriptor.status() }

  public func list() throws(StoreError) -> [StoreItem] {
    let names = try storing { () throws(SystemError) in try descriptor.sortedNames() }
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
      return LocalFile(file, size: status.size)
    }
  }

  public func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput {
    try storing { () throws(SystemError) in
      LocalOutput(try descriptor.open(name, [.readWrite, .create, .truncate, .noFollow, .nonBlocking]))
    }
  }

  public func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    try storing { () throws(SystemError) in
      let file = try descriptor.open(name, [.readWrite, .noFollow, .nonBlocking, .append])
      guard try file.status().kind == .file else { throw .unfit("open", file.path) }
      try file.truncate(to: size)
      return LocalOutput(file)
    }
  }

  public func mark(_ name: Bytes) throws(StoreError) {
    try storing { () throws(SystemError) in
      try descriptor.open(name, [.write, .create, .exclusive, .noFollow]).close()
    }
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
      LocalFolder(try descriptor.open(name, [.read, .directory, .noFollow]))
    }
  }

  public func space() -> (free: Int64, total: Int64)? { descriptor.space() }
}

private final class LocalFile: StoredFile {
  private let descriptor: Descriptor
  let size: Int64
  var path: Bytes { descriptor.path }

  init(_ descriptor: Descriptor, size: Int64) {
    self.descriptor = descriptor
    self.size = size
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    try storing { () throws(SystemError) in try descriptor.read(into: buffer, count: count, at: offset) }
  }

  func dropCache() { descriptor.dropCache() }
}

private final class LocalOutput: StoreOutput {
  private let descriptor: Descriptor
  var path: Bytes { descriptor.path }

  init(_ descriptor: Descriptor) { self.descriptor = descriptor }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    try storing { () throws(SystemError) in try descriptor.write(bytes) }
  }

  func truncate(to size: Int64) throws(StoreError) {
    try storing { () throws(SystemError) in
      try descriptor.truncate(to: size)
      try descriptor.seek(to: size)
    }
  }

  func sync() throws(StoreError) { try storing { () throws(SystemError) in try descriptor.sync() } }

  func finish() throws(StoreError) {
    try storing { () throws(SystemError) in
      try descriptor.sync()
      try descriptor.close()
    }
  }

  func abandon() { try? descriptor.close() }
}
