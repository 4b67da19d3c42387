/// X25519 (RFC 7748), by libcrypto.
import CCrypto
import Posix

enum X25519 {
  static let length = 32

  /// The public half of a key.
  static func share(of key: Secret) -> Bytes {
    let own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nil, key.pointer, key.count)
    defer { EVP_PKEY_free(own) }
    var share = Bytes(repeating: 0, count: length)
    var count = length
    precondition(own != nil && EVP_PKEY_get_raw_public_key(own, &share, &count) == 1 && count == length)
    return share
  }

  /// What both sides can know; nil for a share that gives the same whatever the key is.
  static func shared(_ key: Secret, with share: Bytes) -> Secret? {
    guard key.count == length, share.count == length,
      let own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nil, key.pointer, key.count)
    else { return nil }
    defer { EVP_PKEY_free(own) }
    guard let other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nil, share, share.count),
      let context = EVP_PKEY_CTX_new(own, nil)
    else { return nil }
    defer {
      EVP_PKEY_free(other)
      EVP_PKEY_CTX_free(context)
    }
    let out = Secret(count: length)
    var count = length
    guard EVP_PKEY_derive_init(context) == 1, EVP_PKEY_derive_set_peer(context, other) == 1,
      EVP_PKEY_derive(context, out.mutable, &count) == 1, count == length, out.bytes.contains(where: { $0 != 0 })
    else { return nil }
    return out
  }
}
