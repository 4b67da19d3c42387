/// The digests that requests to an object store carry, of small texts and of parts that lie in memory.
import CCrypto
import Posix

package enum S3Hash {
  package static func sha256(_ bytes: Bytes) -> Bytes { digest(bytes, EVP_sha256()) }

  /// RFC 1864, for `Content-MD5`; nil where the system's rules forbid MD5.
  package static func md5Base64(_ bytes: Bytes) -> String? {
    let digest = digest(bytes, EVP_md5())
    guard digest.count == 16 else { return nil }
    var text = Bytes(repeating: 0, count: 25)
    let count = EVP_EncodeBlock(&text, digest, 16)
    return Bytes(text.prefix(Int(count))).shown
  }

  /// Empty where the library does not have it.
  private static func digest(_ bytes: Bytes, _ algorithm: OpaquePointer?) -> Bytes {
    var result = Bytes(repeating: 0, count: 64)
    var length: UInt32 = 0
    guard EVP_Digest(bytes, bytes.count, &result, &length, algorithm, nil) == 1 else { return [] }
    return Bytes(result.prefix(Int(length)))
  }

  /// RFC 2104.
  package static func hmac(_ key: Bytes, _ bytes: Bytes) -> Bytes {
    var result = Bytes(repeating: 0, count: 32)
    var length: UInt32 = 0
    HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &result, &length)
    return Bytes(result.prefix(Int(length)))
  }
}
