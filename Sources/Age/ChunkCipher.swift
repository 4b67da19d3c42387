/// ChaCha20-Poly1305 (RFC 8439) with one key, by libcrypto: one context for all that is sealed or opened with it.
import CCrypto
import Glibc
import Posix

/// Where a payload's chunks lie. Each is 64 KiB and a tag, the last one may be shorter.
enum Chunk {
  /// Of plain bytes.
  static let inner = 65536
  static let tag = 16
  static let outer = inner + tag
}

/// Not for use from several threads.
final class ChunkCipher {
  private let context: OpaquePointer
  private let seals: Bool
  private var nonce: (UInt32, UInt32, UInt32) = (0, 0, 0)

  /// Looked up once.
  nonisolated(unsafe) private static let algorithm: OpaquePointer = EVP_CIPHER_fetch(nil, "ChaCha20-Poly1305", nil)!

  init(_ key: Secret, seals: Bool) {
    self.seals = seals
    context = EVP_CIPHER_CTX_new()!
    precondition(EVP_CipherInit_ex2(context, Self.algorithm, key.pointer, nil, seals ? 1 : 0, nil) == 1)
  }

  /// Wipes the key.
  deinit { EVP_CIPHER_CTX_free(context) }

  /// The nonce of a payload's chunk: its number in eleven bytes, big-endian, and whether it is the last.
  private func setNonce(_ number: Int64, isLast: Bool) {
    withUnsafeMutableBytes(of: &nonce) { raw in
      raw.storeBytes(of: UInt64(number).bigEndian, toByteOffset: 3, as: UInt64.self)
      raw[11] = isLast ? 1 : 0
      let start = raw.baseAddress!.assumingMemoryBound(to: UInt8.self)
      precondition(EVP_CipherInit_ex2(context, nil, nil, start, -1, nil) == 1)
    }
  }

  /// Writes `count` bytes and 16 of the tag to `out`, which may be `start`.
  func seal(
    _ start: UnsafeRawPointer, _ count: Int, number: Int64 = 0, isLast: Bool = false, to out: UnsafeMutableRawPointer
  ) {
    setNonce(number, isLast: isLast)
    let target = out.assumingMemoryBound(to: UInt8.self)
    var written: Int32 = 0
    var more: Int32 = 0
    if count > 0 {
      precondition(
        EVP_CipherUpdate(context, target, &written, start.assumingMemoryBound(to: UInt8.self), Int32(count)) == 1)
    }
    precondition(EVP_CipherFinal_ex(context, target + count, &more) == 1 && Int(written) == count)
    precondition(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Chunk.tag), target + count) == 1)
  }

  /// Opens `count` bytes, 16 of them a tag at the end, to `out`. False: they were not sealed so, and `out` has zeros.
  func open(
    _ start: UnsafeRawPointer, _ count: Int, number: Int64 = 0, isLast: Bool = false, to out: UnsafeMutableRawPointer
  ) -> Bool {
    let inner = count - Chunk.tag
    guard inner >= 0 else { return false }
    setNonce(number, isLast: isLast)
    let tag = UnsafeMutableRawPointer(mutating: start + inner)
    precondition(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Chunk.tag), tag) == 1)
    let target = out.assumingMemoryBound(to: UInt8.self)
    var written: Int32 = 0
    var more: Int32 = 0
    var isOpen = true
    if inner > 0 {
      isOpen =
        EVP_CipherUpdate(context, target, &written, start.assumingMemoryBound(to: UInt8.self), Int32(inner)) == 1
    }
    // Where there is nothing to be written, it still wants a place.
    var none: UInt8 = 0
    isOpen = isOpen && EVP_CipherFinal_ex(context, &none, &more) == 1
    if !isOpen, inner > 0 { memset(out, 0, inner) }
    return isOpen
  }
}

extension ChunkCipher {
  /// Opens a chunk of a payload as what it should be by where it stands. It may be sound and stand at a wrong place:
  /// then it is given out, and what is wrong with what comes after it is returned.
  func openChunk(
    _ start: UnsafeRawPointer, _ count: Int, number: Int64, isLast: Bool, to out: UnsafeMutableRawPointer
  ) throws(PayloadDamage) -> PayloadDamage? {
    // Only where there is nothing at all is the last one empty.
    if isLast, count == Chunk.tag, number > 0 { throw .badEnd }
    if open(start, count, number: number, isLast: isLast, to: out) { return nil }
    if count == Chunk.outer, open(start, count, number: number, isLast: !isLast, to: out) {
      return isLast ? .cutShort : .trailing
    }
    throw isLast ? .badEnd : .changed(chunk: number)
  }
}
