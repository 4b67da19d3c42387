/// The gzip members an archive or a manifest is made of (RFC 1952), each with a header field of ours that says how
/// long it is and where the first tar header in it stands, so that a file can be walked without inflating it.
///
///     10 bytes  fixed header: 1f 8b 08, FLG = 04 (FEXTRA), MTIME = 0, XFL = 0, OS = 255
///      2 bytes  XLEN = 16, or more where other subfields follow
///      4 bytes  'S' 'h', LEN = 12
///      8 bytes  length of the whole member, header and trailer included, little-endian
///      4 bytes  offset of the first tar header in the inflated bytes; ffffffff: none
///           …   deflate data
///      8 bytes  CRC-32 and length of the inflated bytes, little-endian
import CDeflate
import Posix

public struct GzipMember: Equatable, Sendable {
  public static let headerLength = 28
  public static let trailerLength = 8
  /// What one member inflates to at the most; a writer stays far below, a reader refuses more.
  public static let inflatedLimit = 64 << 20
  /// What one member may take: deflate adds five bytes to every 65535 that do not shrink, a header at most 65535.
  public static let lengthLimit = inflatedLimit + inflatedLimit / 8192 + (1 << 17)

  /// Of the whole member, in bytes.
  public var length: Int
  /// Offset, in the inflated bytes, of the first tar header that begins in this member.
  public var firstHeader: Int?
  /// Bytes of further subfields between ours and the deflate data.
  public var extraLength: Int

  /// Where the deflate data begins.
  public var dataOffset: Int { Self.headerLength + extraLength }

  /// Reads the header at `start`; nil where it is not one of ours. Looks at `headerLength` bytes.
  public init?(headerAt start: UnsafeRawPointer) {
    let b = start.assumingMemoryBound(to: UInt8.self)
    let extra = Int(b[10]) | Int(b[11]) << 8
    guard b[0] == 0x1f, b[1] == 0x8b, b[2] == 8, b[3] == 4, extra >= 16,
      b[12] == UInt8(ascii: "S"), b[13] == UInt8(ascii: "h"), b[14] == 12, b[15] == 0
    else { return nil }
    let length = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    let first = UInt32(littleEndian: start.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
    extraLength = extra - 16
    guard length >= UInt64(Self.headerLength + extraLength + Self.trailerLength),
      length <= UInt64(Self.lengthLimit)
    else { return nil }
    self.length = Int(length)
    firstHeader = first == .max ? nil : Int(first)
  }

  /// Appends a whole member with the deflated bytes that `deflate` appends.
  static func append(
    to out: Buffer, inflated: UnsafeRawBufferPointer, firstHeader: Int?, extra: Bytes = [], deflate: () -> Void
  ) {
    let at = out.count
    let xlen = 16 + extra.count
    precondition(xlen < 65536)
    let fixed: Bytes = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, UInt8(xlen & 255), UInt8(xlen >> 8)]
    out.append(fixed)
    out.append("Sh")
    out.append(Bytes([12, 0]))
    out.appendZeros(8)
    append(UInt32(firstHeader ?? Int(UInt32.max)), to: out)
    out.append(extra)
    deflate()
    append(crc32(inflated), to: out)
    append(UInt32(truncatingIfNeeded: inflated.count), to: out)
    out.start.storeBytes(of: UInt64(out.count - at).littleEndian, toByteOffset: at + 16, as: UInt64.self)
  }

  /// Appends a member that holds nothing but a subfield of its own in the header: two letters and a value of at most
  /// `subfieldLimit` bytes.
  public static func append(subfield id: StaticString, _ value: Bytes, to out: Buffer) {
    let extra = Bytes(id) + [UInt8(value.count & 255), UInt8(value.count >> 8)] + value
    append(to: out, inflated: UnsafeRawBufferPointer(start: nil, count: 0), firstHeader: nil, extra: extra) {
      out.append(Bytes([3, 0]))  // an empty last block with fixed codes
    }
  }

  public static let subfieldLimit = 65535 - 16 - 4
  /// Of a member that holds an empty subfield.
  public static let emptyLength = headerLength + 4 + 2 + trailerLength

  /// The value of the first further subfield of a whole member, where it has these letters.
  public static func subfield(_ id: StaticString, of member: UnsafeRawBufferPointer) -> Bytes? {
    guard member.count >= headerLength + 4, let header = GzipMember(headerAt: member.baseAddress!),
      header.extraLength >= 4,
      member.count >= header.dataOffset
    else { return nil }
    let name = Bytes(id)
    let length = Int(member[headerLength + 2]) | Int(member[headerLength + 3]) << 8
    guard member[headerLength] == name[0], member[headerLength + 1] == name[1], length + 4 <= header.extraLength else {
      return nil
    }
    return Bytes(member[(headerLength + 4)..<(headerLength + 4 + length)])
  }

  static func append(_ value: UInt32, to out: Buffer) {
    out.reserve(4)
    out.start.storeBytes(of: value.littleEndian, toByteOffset: out.count, as: UInt32.self)
    out.count += 4
  }

  /// CRC-32 (RFC 1952, section 8) of any bytes.
  public static func crc32(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    UInt32(truncatingIfNeeded: libdeflate_crc32(0, bytes.baseAddress, bytes.count))
  }

  /// How long the inflated bytes are said to be, which inflating proves.
  public static func storedLength(_ member: UnsafeRawBufferPointer) -> Int {
    Int(UInt32(littleEndian: member.loadUnaligned(fromByteOffset: member.count - 4, as: UInt32.self)))
  }

  /// The CRC-32 of the inflated bytes, as the member's trailer has it.
  public static func storedChecksum(_ member: UnsafeRawBufferPointer) -> UInt32 {
    UInt32(littleEndian: member.loadUnaligned(fromByteOffset: member.count - 8, as: UInt32.self))
  }
}
