/// A checksum of a file's contents that is the same with holes and without, and quick in unoptimised code.
import Glibc
import Posix

/// Two runs of 64 bits over every block that is not all zeros, together with its number: holes are not read, and a
/// file of terabytes with little in it is done at once. Against chance only, not against malice.
public struct Digest: Equatable, Hashable, Sendable, CustomStringConvertible {
  private static let block = 65536
  private var a: UInt64 = 0x6a09_e667_f3bc_c908
  private var b: UInt64 = 0xbb67_ae85_84ca_a73b

  public init() {}

  /// Reads a file; `holes` are taken for zeros.
  init(of file: Int32, size: Int64, holes: [Range<Int64>], _ path: Bytes) throws(SystemError) {
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.block, alignment: 16)
    defer { buffer.deallocate() }
    var hole = 0
    var offset: Int64 = 0
    while offset < size {
      while hole < holes.count, holes[hole].upperBound <= offset { hole += 1 }
      if hole < holes.count, holes[hole].lowerBound <= offset, holes[hole].upperBound - offset >= Self.block {
        // Blocks that lie wholly in the hole.
        offset += (holes[hole].upperBound - offset) / Int64(Self.block) * Int64(Self.block)
        continue
      }
      let length = Int(min(size - offset, Int64(Self.block)))
      var done = 0
      while done < length {
        let n = pread(file, buffer + done, length - done, Int(offset) + done)
        guard n >= 0 else { throw SystemError("read", path, errno) }
        guard n > 0 else { throw SystemError("read (shorter than it was)", path, EIO) }
        done += n
      }
      memset(buffer + length, 0, Self.block - length)
      add(buffer, number: UInt64(offset) / UInt64(Self.block))
      offset += Int64(Self.block)
    }
    a ^= UInt64(size)
  }

  private mutating func add(_ buffer: UnsafeMutableRawPointer, number: UInt64) {
    let bytes = buffer.assumingMemoryBound(to: UInt8.self)
    if bytes[0] == 0, memcmp(buffer, buffer + 1, Self.block - 1) == 0 { return }
    let words = buffer.assumingMemoryBound(to: UInt64.self)
    var x = a ^ (number &* 0x9e37_79b9_7f4a_7c15)
    var y = b &+ number
    var i = 0
    while i < Self.block / 8 {
      x = (x ^ words[i]) &* 0xff51_afd7_ed55_8ccd
      x ^= x >> 32
      y = (y &+ words[i]) &* 0xc4ce_b9fe_1a85_ec53
      y ^= y >> 29
      i += 1
    }
    a = x
    b = y &+ x
  }

  public var description: String { String(a, radix: 16) + String(b, radix: 16) }
}
