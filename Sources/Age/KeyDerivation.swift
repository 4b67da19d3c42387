/// HKDF (RFC 5869), HMAC (RFC 2104) and scrypt (RFC 7914), by libcrypto.
import CCrypto
import Posix

enum KeyDerivation {
  static let length = 32

  /// HKDF with SHA-256: 32 bytes, which are one block of it (sections 2.2 and 2.3).
  static func hkdf(_ key: Secret, salt: Bytes, info: StaticString) -> Secret {
    // No salt stands for as many zeros as a digest has bytes.
    var salt = salt.isEmpty ? Bytes(repeating: 0, count: length) : salt
    var extracted = hmac(Secret(moving: &salt), key.bytes)
    let block = Bytes(UnsafeRawBufferPointer(start: info.utf8Start, count: info.utf8CodeUnitCount)) + [1]
    var expanded = hmac(Secret(moving: &extracted), block)
    return Secret(moving: &expanded)
  }

  /// HMAC with SHA-256: 32 bytes.
  static func hmac(_ key: Secret, _ text: Bytes) -> Bytes { text.withUnsafeBytes { hmac(key, $0) } }

  /// Of some key. Looking the algorithms up by their names takes longer than a short text does.
  nonisolated(unsafe) private static let prepared: OpaquePointer = {
    let algorithm = EVP_MAC_fetch(nil, "HMAC", nil)
    defer { EVP_MAC_free(algorithm) }
    let context = EVP_MAC_CTX_new(algorithm)
    var name = Array("SHA256".utf8CString)
    let isReady = name.withUnsafeMutableBufferPointer { name in
      let parameters = [
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name.baseAddress, 0), OSSL_PARAM_construct_end(),
      ]
      return EVP_MAC_init(context, Bytes(repeating: 0, count: length), length, parameters) == 1
    }
    precondition(isReady, "libcrypto has no HMAC with SHA-256")
    return context!
  }()

  private static func hmac(_ key: Secret, _ text: UnsafeRawBufferPointer) -> Bytes {
    var out = Bytes(repeating: 0, count: length)
    var count = 0
    let context = EVP_MAC_CTX_dup(prepared)
    defer { EVP_MAC_CTX_free(context) }
    precondition(
      EVP_MAC_init(context, key.pointer, key.count, nil) == 1
        && EVP_MAC_update(context, text.assumingMemoryBound(to: UInt8.self).baseAddress, text.count) == 1
        && EVP_MAC_final(context, &out, &count, length) == 1 && count == length)
    return out
  }

  /// scrypt with N = 2^`logN`, r = 8, p = 1: 32 bytes. Takes 1 KiB of memory times N; nil where that is not to be had.
  static func scrypt(_ passphrase: Secret, salt: Bytes, logN: Int) -> Secret? {
    let out = Secret(count: length)
    let n = UInt64(1) << UInt64(logN)
    let done = passphrase.pointer.withMemoryRebound(to: CChar.self, capacity: max(passphrase.count, 1)) {
      EVP_PBE_scrypt($0, passphrase.count, salt, salt.count, n, 8, 1, n * 1024 + (1 << 20), out.mutable, length)
    }
    return done == 1 ? out : nil
  }
}
