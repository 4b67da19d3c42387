/// HKDF (RFC 5869), HMAC (RFC 2104) and scrypt (RFC 7914), by libcrypto.
import CCrypto
import Posix

enum KeyDerivation {
  static let length = 32

  /// HKDF with SHA-256: 32 bytes.
  static func hkdf(_ key: Secret, salt: Bytes, info: StaticString) -> Secret {
    let out = Secret(count: length)
    let context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nil)
    defer { EVP_PKEY_CTX_free(context) }
    var count = length
    precondition(
      EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1
        && EVP_PKEY_CTX_set1_hkdf_key(context, key.pointer, Int32(key.count)) == 1
        // One that is empty is the same as none.
        && (salt.isEmpty || EVP_PKEY_CTX_set1_hkdf_salt(context, salt, Int32(salt.count)) == 1)
        && EVP_PKEY_CTX_add1_hkdf_info(context, info.utf8Start, Int32(info.utf8CodeUnitCount)) == 1
        && EVP_PKEY_derive(context, out.mutable, &count) == 1 && count == length)
    return out
  }

  /// HMAC with SHA-256: 32 bytes.
  static func hmac(_ key: Secret, _ text: Bytes) -> Bytes {
    var out = Bytes(repeating: 0, count: length)
    var count: UInt32 = 0
    precondition(HMAC(EVP_sha256(), key.pointer, Int32(key.count), text, text.count, &out, &count) != nil)
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
