/// A file of a store that appears whole or not at all: written under a partial name, made durable, then given its own.
/// It is begun with the first bytes that do not wait: what is given up before that never touched the store.
import Posix

public final class NewStoredFile: StoreOutput {
  private let folder: any StoreFolder
  private let name: Bytes
  /// As long as it is not published.
  public let partial: Bytes
  /// Its end is written; nothing can be appended.
  public private(set) var isSealed = false
  private var output: (any StoreOutput)?
  private var waiting = Bytes()

  public static let partialSuffix = Bytes(".partial")
  private static let waitingLimit = 1 << 16

  /// Begins a file; what an earlier run left under the partial name is replaced. `suffix`: what the partial name has
  /// behind the final one.
  public init(_ name: Bytes, in folder: any StoreFolder, suffix: Bytes = partialSuffix) {
    self.name = name
    self.folder = folder
    partial = name + suffix
  }

  /// Goes on with a file that an earlier run left under the name `partial`, of which the first `size` bytes are kept. Where
  /// the store cannot go on with files it ends there.
  public init(continuing partial: Bytes, from size: Int64, in folder: any StoreFolder) throws(StoreError) {
    self.folder = folder
    self.partial = partial
    name = Self.final(partial)
    // Where nothing can be appended, another file has to go on.
    if folder.traits.appends {
      output = try folder.resume(partial, from: size)
    } else {
      try folder.shorten(partial, to: size)
      isSealed = true
    }
  }

  private static func final(_ partial: Bytes) -> Bytes {
    partial.suffix(partialSuffix.count).elementsEqual(partialSuffix)
      ? Bytes(partial.dropLast(partialSuffix.count)) : partial
  }

  public var path: Bytes { folder.path.joined(partial) }

  private func begun() throws(StoreError) -> any StoreOutput {
    if let output { return output }
    let new = try folder.begin(partial)
    output = new
    if !waiting.isEmpty { try new.append(waiting) }
    waiting = []
    return new
  }

  public func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    if output == nil, waiting.count + bytes.count <= Self.waitingLimit {
      waiting.append(contentsOf: bytes)
    } else {
      try begun().append(bytes)
    }
  }

  /// Writes what waits.
  public func flush() throws(StoreError) { _ = try begun() }

  public func truncate(to size: Int64) throws(StoreError) { try begun().truncate(to: size) }

  /// Ends the file behind its first `size` bytes.
  public func shorten(to size: Int64) throws(StoreError) {
    abandon()
    try folder.shorten(partial, to: size)
    isSealed = true
  }

  public var untilDurable: Int? { output?.untilDurable }
  public func sync() throws(StoreError) { try begun().sync() }

  /// What has been written, to be read.
  public func reopened() throws(StoreError) -> any StoredFile {
    if !isSealed { _ = try begun() }
    return try folder.open(partial)
  }

  /// Makes the contents durable and ends the writing; the file keeps its partial name.
  public func finish() throws(StoreError) {
    guard !isSealed else { return }
    let output = try begun()
    isSealed = true
    try output.finish()
  }

  /// Gives the finished file its name, or another one, which must be new, and makes that durable.
  public func publish(as other: Bytes? = nil) throws(StoreError) {
    guard partial != other ?? name else { return }
    try folder.rename(partial, to: other ?? name)
    try folder.sync()
  }

  /// Leaves what was written under its partial name.
  public func abandon() { if !isSealed { output?.abandon() } }

  /// Removes what was written.
  public func discard() {
    guard output != nil || isSealed else { return }
    abandon()
    try? folder.remove(partial)
  }
}
