/// A request of the kernel's, and an answer to it, as bytes.
import CLinux
import Glibc
import Posix

/// A header and what belongs to it, taken from front to back.
final class FuseMessage {
  let start: UnsafeMutableRawPointer
  let capacity: Int
  private(set) var header = fuse_in_header()
  private var position = 0
  private var end = 0

  init(capacity: Int) {
    self.capacity = capacity
    start = .allocate(byteCount: capacity, alignment: 16)
  }

  deinit { start.deallocate() }

  /// Looks at a request of so many bytes; false where it is none.
  func begin(_ count: Int) -> Bool {
    position = 0
    end = count
    guard let header = try? take(fuse_in_header.self), Int(header.len) == count else { return false }
    self.header = header
    return true
  }

  /// The next structure. Throws where the request ends before it does.
  func take<T: BitwiseCopyable>(_ type: T.Type) throws(ServedError) -> T {
    guard end - position >= MemoryLayout<T>.size else { throw .invalid }
    defer { position += MemoryLayout<T>.size }
    return start.loadUnaligned(fromByteOffset: position, as: T.self)
  }

  /// The next name, which ends with a NUL.
  func takeName() throws(ServedError) -> Bytes {
    let rest = UnsafeRawBufferPointer(start: start + position, count: end - position)
    guard let length = rest.firstIndex(of: 0) else { throw .invalid }
    position += length + 1
    return Bytes(rest[..<length])
  }
}

/// An answer that grows.
final class FuseAnswer {
  private(set) var start = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 16)
  private var capacity = 1 << 16
  private(set) var count = 0
  private var code: Int32 = 0

  private static let headerSize = MemoryLayout<fuse_out_header>.size

  deinit { start.deallocate() }

  /// Without the header.
  var bodyCount: Int { count - Self.headerSize }

  func begin() {
    count = Self.headerSize
    code = 0
  }

  /// The answer is an error, whatever was in it.
  func fail(_ code: Int32) {
    count = Self.headerSize
    self.code = code
  }

  func finish(_ request: UInt64) {
    start.storeBytes(
      of: fuse_out_header(len: UInt32(truncatingIfNeeded: count), error: -code, unique: request),
      as: fuse_out_header.self)
  }

  func append<T: BitwiseCopyable>(_ value: T) { withUnsafeBytes(of: value) { append($0) } }
  func append(_ bytes: Bytes) { bytes.withUnsafeBytes { append($0) } }

  func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    reserve(bytes.count)
    (start + count).copyMemory(from: source, byteCount: bytes.count)
    count += bytes.count
  }

  func appendZeros(_ length: Int) {
    reserve(length)
    memset(start + count, 0, length)
    count += length
  }

  private func reserve(_ more: Int) {
    guard count + more > capacity else { return }
    capacity = max(count + more, 2 * capacity)
    let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    larger.copyMemory(from: start, byteCount: count)
    start.deallocate()
    start = larger
  }
}
