/// A folder of a store whose every call is told of before it is made, and may be made to fail, to wait, or to end the
/// store: what a test needs to count calls and to let the Nth go wrong.
import Posix
import Storage

/// What was called, of which name.
public struct StoreCall: Sendable, CustomStringConvertible {
  public let verb: String
  public let path: Bytes
  public var description: String { "\(verb) \(path.shown)" }
}

public final class WatchedFolder: StoreFolder {
  public typealias Watch = @Sendable (StoreCall) throws(StoreError) -> Void
  private let inner: any StoreFolder
  private let watch: Watch
  private let given: StoreTraits?

  /// `traits`: others than those of the folder inside.
  public init(_ inner: any StoreFolder, traits: StoreTraits? = nil, watch: @escaping Watch) {
    (self.inner, given, self.watch) = (inner, traits, watch)
  }

  public var path: Bytes { inner.path }
  public var traits: StoreTraits { given ?? inner.traits }
  public var failure: StoreError? { inner.failure }
  public var directory: Status? { inner.directory }
  public var access: Access? { inner.access }

  private func call<R>(_ verb: String, _ name: Bytes = [], _ body: () throws(StoreError) -> R) throws(StoreError) -> R {
    try watch(StoreCall(verb: verb, path: name.isEmpty ? path : path.joined(name)))
    return try body()
  }

  public func list() throws(StoreError) -> [StoreItem] {
    try call("list") { () throws(StoreError) in try inner.list() }
  }
  public func names() throws(StoreError) -> [Bytes] {
    try call("names") { () throws(StoreError) in try inner.names() }
  }
  public func item(_ name: Bytes) throws(StoreError) -> StoreItem? {
    try call("item", name) { () throws(StoreError) in try inner.item(name) }
  }
  public func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    try call("open", name) { () throws(StoreError) in WatchedFile(try inner.open(name), watch) }
  }
  public func contents(_ name: Bytes, atMost limit: Int) throws(StoreError) -> Bytes {
    try call("contents", name) { () throws(StoreError) in try inner.contents(name, atMost: limit) }
  }
  public func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput {
    try call("begin", name) { () throws(StoreError) in WatchedOutput(try inner.begin(name), watch) }
  }
  public func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    try call("resume", name) { () throws(StoreError) in WatchedOutput(try inner.resume(name, from: size), watch) }
  }
  public func mark(_ name: Bytes) throws(StoreError) {
    try call("mark", name) { () throws(StoreError) in try inner.mark(name) }
  }
  public func markLocked(_ name: Bytes) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock) {
    try call("mark", name) { () throws(StoreError) in try inner.markLocked(name) }
  }
  public func lock(_ name: Bytes?, exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?) {
    inner.lock(name, exclusive: exclusive)
  }
  public func touch(_ name: Bytes) throws(StoreError) {
    try call("touch", name) { () throws(StoreError) in try inner.touch(name) }
  }
  public func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    try call("rename", name) { () throws(StoreError) in try inner.rename(name, to: new) }
  }
  public func remove(_ name: Bytes) throws(StoreError) {
    try call("remove", name) { () throws(StoreError) in try inner.remove(name) }
  }
  public func patch(_ name: Bytes, at offset: Int64, _ bytes: Bytes) throws(StoreError) {
    try call("patch", name) { () throws(StoreError) in try inner.patch(name, at: offset, bytes) }
  }
  public func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) {
    try call("setMode", name) { () throws(StoreError) in try inner.setMode(name, mode) }
  }
  public func sync() throws(StoreError) {
    try call("sync") { () throws(StoreError) in try inner.sync() }
  }
  public func makeFolder(_ name: Bytes) throws(StoreError) {
    try call("makeFolder", name) { () throws(StoreError) in try inner.makeFolder(name) }
  }
  public func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder {
    try call("folder", name) { () throws(StoreError) in
      WatchedFolder(try inner.folder(name), traits: given, watch: watch)
    }
  }
  public func space() -> (free: Int64, total: Int64)? { inner.space() }
}

private final class WatchedFile: StoredFile {
  private let inner: any StoredFile
  private let watch: WatchedFolder.Watch
  init(_ inner: any StoredFile, _ watch: @escaping WatchedFolder.Watch) { (self.inner, self.watch) = (inner, watch) }

  var path: Bytes { inner.path }
  var size: Int64 { inner.size }
  func dropCache() { inner.dropCache() }
  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    try watch(StoreCall(verb: "read", path: path))
    return try inner.read(into: buffer, count: count, at: offset)
  }
}

private final class WatchedOutput: StoreOutput {
  private let inner: any StoreOutput
  private let watch: WatchedFolder.Watch
  init(_ inner: any StoreOutput, _ watch: @escaping WatchedFolder.Watch) { (self.inner, self.watch) = (inner, watch) }

  var path: Bytes { inner.path }
  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    try watch(StoreCall(verb: "append", path: path))
    try inner.append(bytes)
  }
  func truncate(to size: Int64) throws(StoreError) {
    try watch(StoreCall(verb: "truncate", path: path))
    try inner.truncate(to: size)
  }
  func sync() throws(StoreError) {
    try watch(StoreCall(verb: "syncFile", path: path))
    try inner.sync()
  }
  func finish() throws(StoreError) {
    try watch(StoreCall(verb: "finish", path: path))
    try inner.finish()
  }
  func abandon() { inner.abandon() }
}
