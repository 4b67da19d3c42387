/// Reads an age file from front to back, a chunk at a time, however long it is.
import Glibc
import Posix
import Storage
import Tar

/// Not for use from several threads.
public final class AgeStreamReader {
  private let source: any ByteSource
  private let cipher: ChunkCipher
  private let sealed = Buffer(capacity: Chunk.outer + 1)
  private let plain = Buffer(capacity: Chunk.inner)
  private var offset: Int64
  private var number: Int64 = 0
  private var isAtEnd = false
  private var damage: PayloadDamage?

  /// Reads what stands behind the header.
  public init(_ source: any ByteSource, _ header: Header, _ identities: [any Identity]) throws(AgeFailure) {
    self.source = source
    cipher = ChunkCipher(try header.payloadKey(of: source, identities), seals: false)
    offset = header.payloadOffset
  }

  deinit { memset(plain.start, 0, plain.capacity) }

  /// The next bytes, valid until the next call; nil at the end, which is told only where the last chunk was seen.
  public func next() throws(AgeFailure) -> UnsafeRawBufferPointer? {
    if let damage { throw .payload(damage) }
    if isAtEnd { return nil }
    // With the first byte of the next one, which tells whether there is any.
    do throws(StoreError) {
      let wanted = Chunk.outer + 1 - sealed.count
      let count = try source.read(into: sealed.end, count: wanted, at: offset)
      sealed.count += count
      offset += Int64(count)
    } catch { throw .unreadable(error) }
    let count = min(sealed.count, Chunk.outer)
    isAtEnd = sealed.count <= Chunk.outer
    guard count > 0 else { throw .payload(.cutShort) }
    do throws(PayloadDamage) {
      damage = try cipher.openChunk(sealed.start, count, number: number, isLast: isAtEnd, to: plain.start)
    } catch {
      damage = error
      throw .payload(error)
    }
    number += 1
    sealed.count -= count
    memmove(sealed.start, sealed.start + count, sealed.count)
    return UnsafeRawBufferPointer(start: plain.start, count: count - Chunk.tag)
  }

  /// Everything, where it is not more than `limit` bytes.
  public func readAll(atMost limit: Int) throws(AgeFailure) -> Secret? {
    let all = Secret(count: limit)
    var count = 0
    while let bytes = try next() {
      guard bytes.count <= limit - count else { return nil }
      if let start = bytes.baseAddress { memcpy(all.mutable + count, start, bytes.count) }
      count += bytes.count
    }
    all.truncate(to: count)
    return all
  }
}
