/// Makes gzip members: ISA-L deflates at levels 1 and 2, libdeflate at 3 to 12; level 0, and what does not shrink,
/// is stored.
import CDeflate
import CISAL
import Glibc
import Posix

/// Not for use from several threads: each worker has one.
public final class Compressor {
  public static let levels = 0...12
  private let level: Int
  private var stream: UnsafeMutablePointer<isal_zstream>?
  private var levelBuffer: UnsafeMutablePointer<UInt8>?
  private var deflater: OpaquePointer?
  private var sample = Buffer(capacity: 32768)

  public init(level: Int) {
    precondition(Self.levels.contains(level))
    self.level = level
    switch level {
    case 0: break
    case 1, 2:
      stream = .allocate(capacity: 1)
      levelBuffer = .allocate(capacity: Self.levelBufferSize)
    default: deflater = libdeflate_alloc_compressor(Int32(level))
    }
  }

  deinit {
    stream?.deallocate()
    levelBuffer?.deallocate()
    if let deflater { libdeflate_free_compressor(deflater) }
  }

  /// More than ISAL_DEF_LVL1_MEDIUM and ISAL_DEF_LVL2_MEDIUM (the headers give them as expressions). Measured: as fast
  /// as larger ones, a little smaller output, and it leaves the processor's cache to others.
  private static let levelBufferSize = 200 << 10

  /// Appends `input` to `out` as one member.
  public func append(_ input: UnsafeRawBufferPointer, firstHeader: Int?, to out: Buffer) {
    precondition(input.count <= GzipMember.inflatedLimit)
    GzipMember.append(to: out, inflated: input, firstHeader: firstHeader) {
      let at = out.count
      if level > 0, !looksIncompressible(input) {
        let room = input.count + input.count / 8 + 1024
        out.reserve(room)
        if let length = deflate(input, to: out.end, room: room), length < Self.storedLength(input.count) {
          out.count = at + length
          return
        }
      }
      store(input, to: out)
    }
  }

  private func deflate(_ input: UnsafeRawBufferPointer, to output: UnsafeMutableRawPointer, room: Int) -> Int? {
    if let deflater {
      let length = libdeflate_deflate_compress(deflater, input.baseAddress, input.count, output, room)
      return length == 0 ? nil : length
    }
    guard let stream else { return nil }
    isal_deflate_stateless_init(stream)
    stream.pointee.level = UInt32(level)
    stream.pointee.level_buf = levelBuffer
    stream.pointee.level_buf_size = UInt32(Self.levelBufferSize)
    stream.pointee.end_of_stream = 1
    stream.pointee.flush = UInt16(NO_FLUSH)
    stream.pointee.gzip_flag = UInt16(IGZIP_DEFLATE)
    stream.pointee.next_in = UnsafeMutableRawPointer(mutating: input.baseAddress ?? UnsafeRawPointer(output))
      .assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_in = UInt32(input.count)
    stream.pointee.next_out = output.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_out = UInt32(room)
    guard isal_deflate_stateless(stream) == COMP_OK, stream.pointee.avail_in == 0 else { return nil }
    return room - Int(stream.pointee.avail_out)
  }

  /// Deflates three small samples of a large input: media and archives do not shrink, and trying costs more than
  /// reading them.
  private func looksIncompressible(_ input: UnsafeRawBufferPointer) -> Bool {
    let piece = 4096
    guard input.count >= 16 * piece else { return false }
    for part in [2, 5, 8] {
      let at = input.count / 10 * part
      sample.count = 0
      sample.reserve(2 * piece)
      let window = UnsafeRawBufferPointer(rebasing: input[at..<(at + piece)])
      guard let length = deflate(window, to: sample.start, room: 2 * piece) else { continue }
      if length < piece - piece / 32 { return false }
    }
    return true
  }

  private static let storedBlock = 65535
  private static func storedLength(_ count: Int) -> Int { count + 5 * max(1, (count + storedBlock - 1) / storedBlock) }

  /// Deflate's stored blocks (RFC 1951, section 3.2.4).
  private func store(_ input: UnsafeRawBufferPointer, to out: Buffer) {
    out.reserve(Self.storedLength(input.count))
    var done = 0
    repeat {
      let length = min(Self.storedBlock, input.count - done)
      out.append(done + length == input.count ? 1 : 0)
      out.append(UInt8(truncatingIfNeeded: length))
      out.append(UInt8(truncatingIfNeeded: length >> 8))
      out.append(~UInt8(truncatingIfNeeded: length))
      out.append(~UInt8(truncatingIfNeeded: length >> 8))
      if length > 0 { out.append(input.baseAddress! + done, length) }
      done += length
    } while done < input.count
  }
}
