/// Walks a file of gzip members from front to back, one whole member at a time.
import Glibc
import Posix
import Storage

/// A small file's bytes, without the file.
public struct HeldBytes: ByteSource {
  private let bytes: Bytes

  public init(_ bytes: Bytes) { self.bytes = bytes }

  public func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) -> Int {
    guard (0..<Int64(bytes.count)).contains(offset) else { return 0 }
    let part = bytes[Int(offset)...].prefix(count)
    part.withUnsafeBytes { if let start = $0.baseAddress { buffer.copyMemory(from: start, byteCount: $0.count) } }
    return part.count
  }
}

/// Not for use from several threads.
public final class MemberReader {
  private let source: any ByteSource
  private let window: Buffer
  private let windowSize: Int
  private var windowOffset: Int64
  private let limit: Int64

  /// Where the next member begins, in bytes.
  public private(set) var offset: Int64

  /// Reads members that begin at `offset` or after, and before `limit`. `windowSize`: bytes to read at a time, where no
  /// member is longer.
  public init(_ source: any ByteSource, from offset: Int64 = 0, to limit: Int64 = .max, windowSize: Int = 1 << 20) {
    self.windowSize = windowSize
    window = Buffer(capacity: windowSize)
    self.source = source
    self.offset = offset
    self.limit = limit
    windowOffset = offset
  }

  public enum Failure: Error {
    case unreadable(StoreError)
    /// No header of ours where a member should begin.
    case notAMember(offset: Int64)
    /// The file ends within a member.
    case cutShort(offset: Int64)
  }

  /// The next member's header and bytes, valid until the next call; nil at the end.
  public func next() throws(Failure) -> (GzipMember, UnsafeRawBufferPointer)? {
    guard offset < limit else { return nil }
    let available = try fill(GzipMember.headerLength)
    if available == 0 { return nil }
    guard available >= GzipMember.headerLength else { throw .cutShort(offset: offset) }
    guard let member = GzipMember(headerAt: window.start + Int(offset - windowOffset)) else {
      throw .notAMember(offset: offset)
    }
    guard try fill(member.length) >= member.length else { throw .cutShort(offset: offset) }
    let bytes = UnsafeRawBufferPointer(start: window.start + Int(offset - windowOffset), count: member.length)
    offset += Int64(member.length)
    return (member, bytes)
  }

  /// Goes on at another place.
  public func seek(to offset: Int64) {
    self.offset = offset
    if offset < windowOffset || offset > windowOffset + Int64(window.count) {
      windowOffset = offset
      window.count = 0
    }
  }

  /// Has at least `count` bytes from `offset` on in the window where the file has them; gives how many there are.
  private func fill(_ count: Int) throws(Failure) -> Int {
    let have = windowOffset + Int64(window.count) - offset
    if have >= Int64(count) { return Int(have) }
    memmove(window.start, window.start + Int(offset - windowOffset), Int(have))
    window.count = Int(have)
    windowOffset = offset
    window.reserve(max(count, windowSize) - window.count)
    let room = max(count, windowSize)
    do throws(StoreError) {
      repeat {
        let read = try source.read(
          into: window.end, count: room - window.count, at: windowOffset + Int64(window.count))
        if read == 0 { break }
        window.count += read
      } while window.count < count
    } catch { throw .unreadable(error) }
    return window.count
  }
}
