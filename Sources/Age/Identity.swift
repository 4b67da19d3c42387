/// What opens files: an X25519 key or a passphrase; and what files are written for.
import Posix
import Storage
import Tar

/// Opens the stanzas that were made for it.
public protocol Identity: Sendable {
  /// The file key; nil where no stanza is for it.
  func open(_ stanzas: [Stanza]) throws(AgeFailure) -> Secret?
}

/// Makes a stanza that one identity opens.
public protocol Recipient: Sendable {
  func stanza(for fileKey: Secret) throws(AgeFailure) -> Stanza
}

enum FileKey {
  static let length = 16

  /// Opens a stanza's body, or gives nil.
  static func open(_ body: Bytes, _ key: Secret) -> Secret? {
    let out = Secret(count: length)
    return ChunkCipher(key, seals: false).open(body, body.count, to: out.mutable) ? out : nil
  }

  static func seal(_ fileKey: Secret, _ key: Secret) -> Bytes {
    var body = Bytes(repeating: 0, count: fileKey.count + Chunk.tag)
    ChunkCipher(key, seals: true).seal(fileKey.pointer, fileKey.count, to: &body)
    return body
  }
}

/// The key of one file, remembered by whoever wrote it.
public struct KnownFileKey: Identity {
  private let key: Secret

  public init(_ key: Secret) { self.key = key }

  public func open(_ stanzas: [Stanza]) throws(AgeFailure) -> Secret? { key }
}

/// `age1…`: a key that files are written for.
public struct X25519Recipient: Recipient, Equatable {
  let share: Bytes

  /// nil where it is none.
  public init?(_ text: Bytes) {
    guard let (prefix, data) = text.withUnsafeBytes({ Bech32.decoded($0) }), prefix == Bytes("age"),
      data.count == X25519Key.length
    else { return nil }
    share = data.copy
  }

  init(share: Bytes) { self.share = share }

  public var text: Bytes { share.withUnsafeBytes { Bech32.encoded("age", $0) } }

  public func stanza(for fileKey: Secret) throws(AgeFailure) -> Stanza {
    let own = X25519Key()
    guard let shared = own.shared(with: share) else { throw .key("it is no key that can be written for") }
    let key = Self.wrapKey(shared, own.share, share)
    return Stanza(arguments: [Bytes("X25519"), Base64.encoded(own.share)], body: FileKey.seal(fileKey, key))
  }

  static func wrapKey(_ shared: Secret, _ ephemeral: Bytes, _ share: Bytes) -> Secret {
    KeyDerivation.hkdf(shared, salt: ephemeral + share, info: "age-encryption.org/v1/X25519")
  }
}

/// `AGE-SECRET-KEY-1…`.
public struct X25519Identity: Identity {
  private let key: X25519Key
  public var recipient: X25519Recipient { X25519Recipient(share: key.share) }

  /// A new one.
  public init() { key = X25519Key() }

  /// nil where it is none.
  public init?(_ text: Secret) {
    defer { withExtendedLifetime(text) {} }
    self.init(text.bytes)
  }

  init?(_ text: UnsafeRawBufferPointer) {
    guard text.first == UInt8(ascii: "A"), let (prefix, data) = Bech32.decoded(text),
      prefix == Bytes("age-secret-key-"), data.count == X25519Key.length
    else { return nil }
    key = X25519Key(data)
  }

  /// As a key file has it.
  public var text: Secret {
    var text = Bech32.encoded("age-secret-key-", key.secret.bytes).map { (97...122).contains($0) ? $0 - 32 : $0 }
    return Secret(moving: &text)
  }

  public func open(_ stanzas: [Stanza]) throws(AgeFailure) -> Secret? {
    for stanza in stanzas where stanza.type == Bytes("X25519") {
      guard stanza.arguments.count == 2, let ephemeral = Base64.canonical(stanza.arguments[1][...]),
        ephemeral.count == X25519Key.length, stanza.body.count == FileKey.length + Chunk.tag,
        let shared = key.shared(with: ephemeral)
      else { throw .header("an X25519 stanza is none") }
      let wrapKey = X25519Recipient.wrapKey(shared, ephemeral, key.share)
      if let fileKey = FileKey.open(stanza.body, wrapKey) { return fileKey }
    }
    return nil
  }
}

/// Opens what was written for it and nothing else.
public struct Passphrase: Identity, Recipient {
  /// More takes more than 4 GiB of memory and a quarter of a minute.
  static let greatestWork = 22
  private let passphrase: Secret
  private let work: Int

  /// `work`: 2 to the power of it is how often what is done; each takes 1 KiB. 18 takes a second. For writing.
  public init(_ passphrase: Secret, work: Int = 18) {
    self.passphrase = passphrase
    self.work = min(max(work, 1), Self.greatestWork)
  }

  private func wrapKey(_ salt: Bytes, _ work: Int) throws(AgeFailure) -> Secret {
    let label = Bytes("age-encryption.org/v1/scrypt")
    guard let key = KeyDerivation.scrypt(passphrase, salt: label + salt, logN: work) else {
      throw .unreadable(StoreError(SystemError.outOfMemory("allocate memory for", Bytes("the passphrase"))))
    }
    return key
  }

  public func stanza(for fileKey: Secret) throws(AgeFailure) -> Stanza {
    let salt = Secret.random(16).copy
    return Stanza(
      arguments: [Bytes("scrypt"), Base64.encoded(salt), Bytes("\(work)".utf8)],
      body: FileKey.seal(fileKey, try wrapKey(salt, work)))
  }

  public func open(_ stanzas: [Stanza]) throws(AgeFailure) -> Secret? {
    guard let stanza = stanzas.first, stanza.type == Bytes("scrypt") else { return nil }
    guard stanza.arguments.count == 3, let salt = Base64.canonical(stanza.arguments[1][...]), salt.count == 16,
      stanza.body.count == FileKey.length + Chunk.tag
    else { throw .header("its scrypt stanza is none") }
    let digits = stanza.arguments[2]
    guard digits.count <= 2, digits.first != UInt8(ascii: "0"), digits.allSatisfy({ (48...57).contains($0) }) else {
      throw .header("its scrypt stanza has a work factor that is none")
    }
    let work = digits.reduce(0) { $0 * 10 + Int($1 - 48) }
    guard work <= Self.greatestWork else {
      throw .header("its passphrase takes more work than is ever done (2^\(work), at most 2^\(Self.greatestWork))")
    }
    return FileKey.open(stanza.body, try wrapKey(salt, work))
  }
}
