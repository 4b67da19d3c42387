/// SHA-256 by OpenSSL's libcrypto, which uses the processor's own instructions. It was measured as fast as
/// swift-crypto (whose copy of BoringSSL makes a clean build three times as long) and is in every Debian.
import CCrypto
import Posix

public final class SHA256: @unchecked Sendable {
  private let context: OpaquePointer

  public init() {
    context = EVP_MD_CTX_new()!
    restart()
  }

  private init(copying other: SHA256) {
    context = EVP_MD_CTX_new()!
    precondition(EVP_MD_CTX_copy_ex(context, other.context) == 1)
  }

  deinit { EVP_MD_CTX_free(context) }

  /// Looked up once: by name it costs more than hashing a small file.
  nonisolated(unsafe) private static let algorithm: OpaquePointer = EVP_MD_fetch(nil, "SHA256", nil)!

  public func restart() { precondition(EVP_DigestInit_ex2(context, Self.algorithm, nil) == 1) }

  public func update(_ start: UnsafeRawPointer, _ count: Int) {
    precondition(EVP_DigestUpdate(context, start, count) == 1)
  }

  public func update(_ bytes: Bytes) {
    bytes.withUnsafeBytes { if let base = $0.baseAddress { update(base, $0.count) } }
  }

  /// As if `count` zeros had been given. Of a large hole that takes long: it ends early, with a digest of no use, where
  /// it is not `wanted` any more.
  public func updateZeros(_ count: Int64, while isWanted: () -> Bool = { true }) {
    var left = count
    while left > 0, isWanted() {
      let length = Int(min(left, Int64(Self.zeros.count)))
      Self.zeros.withUnsafeBytes { update($0.baseAddress!, length) }
      left -= Int64(length)
    }
  }
  private static let zeros = Bytes(repeating: 0, count: 1 << 16)

  /// Another that has seen the same so far.
  public func copy() -> SHA256 { SHA256(copying: self) }

  /// 32 bytes. Starts anew.
  public func finish() -> Digest {
    var digest = Digest()
    withUnsafeMutableBytes(of: &digest.words) { raw in
      precondition(EVP_DigestFinal_ex(context, raw.baseAddress!.assumingMemoryBound(to: UInt8.self), nil) == 1)
    }
    restart()
    return digest
  }
}

/// The 32 bytes of a SHA-256.
public struct Digest: Hashable, Sendable {
  public var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  /// Bytes of a digest.
  public static let length = 32

  public init() {}

  /// From 64 hexadecimal digits; nil for anything else.
  @inline(__always)
  public init?(hex: UnsafeBufferPointer<UInt8>) {
    guard hex.count == 64 else { return nil }
    var bad = false
    withUnsafeMutableBytes(of: &words) { raw in
      for index in 0..<32 {
        let high = hexValue(hex[index * 2])
        let low = hexValue(hex[index * 2 + 1])
        if high > 15 || low > 15 {
          bad = true
          return
        }
        raw[index] = high << 4 | low
      }
    }
    if bad { return nil }
  }

  public init?(hex: Bytes) {
    guard let value = hex.withUnsafeBufferPointer({ Digest(hex: $0) }) else { return nil }
    self = value
  }

  public func append(to buffer: Buffer) { withUnsafeBytes(of: words) { buffer.append(hex: $0) } }
  public var bytes: Bytes { withUnsafeBytes(of: words) { Bytes($0) } }
  public var hex: String { bytes.hex }

  public static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }
  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

@inline(__always) private func hexValue(_ digit: UInt8) -> UInt8 {
  switch digit {
  case 48...57: digit &- 48
  case 97...102: digit &- 87
  default: 255
  }
}
