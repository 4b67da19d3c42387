/// A kind of store that exists to show how little one takes: it keeps all bytes turned over in another store.
import Posix
import Storage

final class FlippedFolder: StoreFolder {
  private let inner: any StoreFolder

  init(_ inner: any StoreFolder) { self.inner = inner }

  var path: Bytes { inner.path }
  var traits: StoreTraits { inner.traits }
  var failure: StoreError? { inner.failure }
  var directory: Status? { nil }

  func list() throws(StoreError) -> [StoreItem] { try inner.list() }
  func item(_ name: Bytes) throws(StoreError) -> StoreItem? { try inner.item(name) }
  func open(_ name: Bytes) throws(StoreError) -> any StoredFile { FlippedFile(try inner.open(name)) }
  func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput { FlippedOutput(try inner.begin(name)) }
  func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    FlippedOutput(try inner.resume(name, from: size))
  }
  func mark(_ name: Bytes) throws(StoreError) { try inner.mark(name) }
  func rename(_ name: Bytes, to new: Bytes) throws(StoreError) { try inner.rename(name, to: new) }
  func remove(_ name: Bytes) throws(StoreError) { try inner.remove(name) }
  func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) { try inner.setMode(name, mode) }
  func sync() throws(StoreError) { try inner.sync() }
  func makeFolder(_ name: Bytes) throws(StoreError) { try inner.makeFolder(name) }
  func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder { FlippedFolder(try inner.folder(name)) }
  func space() -> (free: Int64, total: Int64)? { inner.space() }
}

private final class FlippedFile: StoredFile {
  private let inner: any StoredFile
  var path: Bytes { inner.path }
  var size: Int64 { inner.size }

  init(_ inner: any StoredFile) { self.inner = inner }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    let read = try inner.read(into: buffer, count: count, at: offset)
    for byte in UnsafeMutableRawBufferPointer(start: buffer, count: read).indices {
      UnsafeMutableRawBufferPointer(start: buffer, count: read)[byte] ^= 0xff
    }
    return read
  }

  func dropCache() { inner.dropCache() }
}

private final class FlippedOutput: StoreOutput {
  private let inner: any StoreOutput
  var path: Bytes { inner.path }

  init(_ inner: any StoreOutput) { self.inner = inner }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) { try inner.append(bytes.map { $0 ^ 0xff }) }
  func truncate(to size: Int64) throws(StoreError) { try inner.truncate(to: size) }
  func sync() throws(StoreError) { try inner.sync() }
  func finish() throws(StoreError) { try inner.finish() }
  func abandon() { inner.abandon() }
}
