/// Inflates gzip members of ours by libdeflate, which never writes beyond the room it is given.
import CDeflate
import Posix

/// Not for use from several threads: each worker has one.
public final class Decompressor {
  private let inflater = libdeflate_alloc_decompressor()!

  public init() {}
  deinit { libdeflate_free_decompressor(inflater) }

  /// Why a member could not be inflated.
  public enum Failure: Error, Equatable { case notOurs, tooLong, corrupt, wrongChecksum }

  /// Deflate cannot expand more often than this.
  public static let greatestRatio = 1032

  /// Inflates one whole member to `out`, whose contents are replaced.
  public func inflate(_ member: UnsafeRawBufferPointer, into out: Buffer) throws(Failure) {
    guard member.count >= GzipMember.headerLength + GzipMember.trailerLength, let start = member.baseAddress,
      let header = GzipMember(headerAt: start), header.length == member.count
    else { throw .notOurs }
    let size = GzipMember.storedLength(member)
    let deflated = member.count - header.dataOffset - GzipMember.trailerLength
    guard size <= GzipMember.inflatedLimit else { throw .tooLong }
    out.count = 0
    out.reserve(max(size, 1))
    var actual = 0
    var used = 0
    let result = libdeflate_deflate_decompress_ex(
      inflater, start + header.dataOffset, deflated, out.start, size, &used, &actual)
    guard result == LIBDEFLATE_SUCCESS, actual == size, used == deflated else { throw .corrupt }
    out.count = size
    guard GzipMember.crc32(out.bytes) == GzipMember.storedChecksum(member) else { throw .wrongChecksum }
  }
}
