/// Inflates a gzip stream whose members are not ours, by zlib, which checks each member's CRC and length: libarchive
/// does not.
import CZlib
import Posix
import Storage

public enum GzipStream {
  public enum Failure: Error, Equatable {
    case unreadable(StoreError)
    case corrupt, cutShort, notGzip
  }

  /// Reads all of `file` from its beginning; gives the inflated length in bytes.
  public static func check(_ file: any ByteSource) throws(Failure) -> Int64 {
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    // 15 + 16: the largest window, gzip headers only.
    guard inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      throw .corrupt
    }
    defer { inflateEnd(stream) }
    let input = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << 18)
    let output = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << 18)
    defer {
      input.deallocate()
      output.deallocate()
    }
    var offset: Int64 = 0
    var total: Int64 = 0
    var isBetween = true
    while true {
      if stream.pointee.avail_in == 0 {
        let count: Int
        do throws(StoreError) { count = try file.read(into: input, count: 1 << 18, at: offset) } catch {
          throw .unreadable(error)
        }
        if count == 0 {
          guard isBetween else { throw .cutShort }
          guard offset > 0 else { throw .notGzip }
          return total
        }
        offset += Int64(count)
        stream.pointee.next_in = input
        stream.pointee.avail_in = UInt32(count)
      }
      isBetween = false
      stream.pointee.next_out = output
      stream.pointee.avail_out = 1 << 18
      let result = inflate(stream, Z_NO_FLUSH)
      total += Int64(1 << 18 - Int(stream.pointee.avail_out))
      switch result {
      case Z_OK, Z_BUF_ERROR: break
      case Z_STREAM_END:
        isBetween = true
        guard inflateReset(stream) == Z_OK else { throw .corrupt }
      default: throw total == 0 && offset <= 1 << 18 ? .notGzip : .corrupt
      }
    }
  }

  /// Inflates as much as can be of deflate data that is cut short or damaged, `limit` bytes at the most, to `out`, whose
  /// contents are replaced. No checksum vouches for it.
  public static func salvage(_ deflated: UnsafeRawBufferPointer, into out: Buffer, atMost limit: Int) {
    out.count = 0
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    // Negative: no header and no trailer.
    guard let start = deflated.baseAddress, deflated.count <= Int(UInt32.max),
      inflateInit2_(stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { return }
    defer { inflateEnd(stream) }
    stream.pointee.next_in = UnsafeMutablePointer(mutating: start.assumingMemoryBound(to: UInt8.self))
    stream.pointee.avail_in = UInt32(deflated.count)
    while out.count < limit {
      let room = min(1 << 18, limit - out.count)
      out.reserve(room)
      stream.pointee.next_out = out.end.assumingMemoryBound(to: UInt8.self)
      stream.pointee.avail_out = UInt32(room)
      let result = inflate(stream, Z_NO_FLUSH)
      out.count += room - Int(stream.pointee.avail_out)
      guard result == Z_OK else { return }
    }
  }
}
