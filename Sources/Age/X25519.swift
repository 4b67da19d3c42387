/// X25519 (RFC 7748), by libcrypto.
import CCrypto
import Posix

/// A secret half. What libcrypto makes of it is kept: to make it anew takes as long as to use it.
final class X25519Key: @unchecked Sendable {
  static let length = 32
  let secret: Secret
  /// The public half.
  let share: Bytes
  private let own: OpaquePointer

  /// A new one.
  convenience init() { self.init(Secret.random(Self.length)) }

  /// `secret`: of 32 bytes.
  init(_ secret: Secret) {
    let own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nil, secret.pointer, secret.count)
    var share = Bytes(repeating: 0, count: Self.length)
    var count = Self.length
    precondition(own != nil && EVP_PKEY_get_raw_public_key(own, &share, &count) == 1 && count == Self.length)
    self.secret = secret
    self.share = share
    self.own = own!
  }

  /// Wipes it.
  deinit { EVP_PKEY_free(own) }

  /// What both sides can know; nil for a share that gives the same whatever the key is.
  func shared(with share: Bytes) -> Secret? {
    guard share.count == Self.length,
      let other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nil, share, share.count)
    else { return nil }
    defer { EVP_PKEY_free(other) }
    guard let context = EVP_PKEY_CTX_new(own, nil) else { return nil }
    defer { EVP_PKEY_CTX_free(context) }
    let out = Secret(count: Self.length)
    var count = Self.length
    guard EVP_PKEY_derive_init(context) == 1, EVP_PKEY_derive_set_peer_ex(context, other, 0) == 1,
      EVP_PKEY_derive(context, out.mutable, &count) == 1, count == Self.length, out.bytes.contains(where: { $0 != 0 })
    else { return nil }
    return out
  }
}
