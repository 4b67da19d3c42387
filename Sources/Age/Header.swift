/// The text before an age file's payload: who can open it.
///
///     age-encryption.org/v1
///     -> TYPE ARGUMENT ...
///     BODY, in base 64 and lines of 64 columns, the last one shorter
///     --- HMAC
import CCrypto
import Posix
import Storage
import Tar

/// One way to the file key.
public struct Stanza: Equatable, Sendable {
  /// The type, and what it needs.
  public var arguments: [Bytes]
  public var body: Bytes

  public var type: Bytes { arguments[0] }
}

public struct Header: Sendable {
  public static let magic: StaticString = "age-encryption.org/v1\n"
  /// Of bytes that are read as a header.
  public static let limit = 64 << 10

  public var stanzas: [Stanza]
  let checksum: Bytes
  /// What the checksum is of: everything up to and with `---`.
  private let text: Bytes
  /// In bytes.
  public let length: Int

  /// Reads the header that `bytes` begin with, which hold all of it or its first `limit` bytes.
  public init(_ bytes: Bytes) throws(AgeFailure) {
    var lines = LineReader(bytes: bytes)
    let first = try lines.next()
    guard first.elementsEqual(Bytes(Self.magic).dropLast()) else {
      throw .header(
        first.starts(with: Bytes("age-encryption.org/"))
          ? "its version of the format is not known" : "it does not begin as an age file")
    }
    var stanzas: [Stanza] = []
    while true {
      let start = lines.offset
      let line = try lines.next()
      if line.starts(with: Bytes("---")) {
        guard line.starts(with: Bytes("--- ")), let checksum = Base64.canonical(line.dropFirst(4)), checksum.count == 32
        else { throw .header("its last line is none") }
        self.checksum = checksum
        text = Bytes(bytes[..<(start + 3)])
        break
      }
      guard line.starts(with: Bytes("-> ")) else { throw .header("a stanza does not begin as one") }
      let arguments = line.dropFirst(3).split(separator: 32, omittingEmptySubsequences: false).map { Bytes($0) }
      guard arguments.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (33...126).contains($0) } }) else {
        throw .header("a stanza has an argument that is none")
      }
      stanzas.append(Stanza(arguments: arguments, body: try Self.body(&lines)))
    }
    guard !stanzas.isEmpty else { throw .header("it has no stanza") }
    guard stanzas.count == 1 || !stanzas.contains(where: { $0.type == Bytes("scrypt") }) else {
      throw .header("a passphrase may not stand beside other keys")
    }
    self.stanzas = stanzas
    length = lines.offset
  }

  private static func body(_ lines: inout LineReader) throws(AgeFailure) -> Bytes {
    var body = Bytes()
    while true {
      let line = try lines.next()
      guard line.count <= 64, let piece = Base64.canonical(line) else {
        throw .header("a stanza's body is not in base 64")
      }
      body += piece
      if line.count < 64 { return body }
    }
  }

  /// A new one for a file key.
  init(_ stanzas: [Stanza], _ fileKey: Secret) {
    var text = Bytes(Self.magic)
    for stanza in stanzas {
      text += Bytes("-> ") + stanza.arguments.joined(separator: [32]) + [10]
      let body = Base64.encoded(stanza.body)
      // Where the last line is full, an empty one follows.
      for at in stride(from: 0, through: body.count, by: 64) { text += body[at..<min(at + 64, body.count)] + [10] }
    }
    text += Bytes("---")
    self.stanzas = stanzas
    self.text = text
    checksum = Self.checksum(text, fileKey)
    length = text.count + 1 + 43 + 1
  }

  /// As it stands in the file.
  var bytes: Bytes { text + [32] + Base64.encoded(checksum) + [10] }

  private static func checksum(_ text: Bytes, _ fileKey: Secret) -> Bytes {
    KeyDerivation.hmac(KeyDerivation.hkdf(fileKey, salt: [], info: "header"), text)
  }

  /// The file key, by the first identity that gives it.
  func open(_ identities: [any Identity]) throws(AgeFailure) -> Secret {
    for identity in identities {
      guard let key = try identity.open(stanzas) else { continue }
      guard CRYPTO_memcmp(Self.checksum(text, key), checksum, checksum.count) == 0 else { throw .headerChecksum }
      return key
    }
    throw .noMatch
  }

  static let nonceLength = 16

  /// Where the chunks begin.
  var payloadOffset: Int64 { Int64(length + Self.nonceLength) }

  /// The header that a file begins with.
  public init(of source: any ByteSource) throws(AgeFailure) {
    var bytes = Bytes(repeating: 0, count: Self.limit)
    do throws(StoreError) {
      let count = try source.read(into: &bytes, count: bytes.count, at: 0)
      bytes.removeLast(bytes.count - count)
    } catch { throw .unreadable(error) }
    try self.init(bytes)
  }

  /// The key of all chunks.
  func payloadKey(of source: any ByteSource, _ identities: [any Identity]) throws(AgeFailure) -> Secret {
    let fileKey = try open(identities)
    var nonce = Bytes(repeating: 0, count: Self.nonceLength)
    let count: Int
    do throws(StoreError) {
      count = try source.read(into: &nonce, count: nonce.count, at: Int64(length))
    } catch { throw .unreadable(error) }
    guard count == nonce.count else { throw .header("it ends within its header") }
    return KeyDerivation.hkdf(fileKey, salt: nonce, info: "payload")
  }

  /// Whether it opens with a passphrase, and with nothing else.
  public var needsPassphrase: Bool { stanzas[0].type == Bytes("scrypt") }

  /// Whether a key of the one kind that is known here can open it.
  public var takesKeys: Bool { stanzas.contains { $0.type == Bytes("X25519") } }
}

private struct LineReader {
  let bytes: Bytes
  private(set) var offset = 0

  init(bytes: Bytes) { self.bytes = bytes }

  /// Without its end.
  mutating func next() throws(AgeFailure) -> ArraySlice<UInt8> {
    let rest = bytes[offset...]
    guard let end = rest.firstIndex(of: 10), end < Header.limit else {
      throw .header(bytes.count < Header.limit ? "it ends within its header" : "its header is too long")
    }
    offset = end + 1
    return rest[..<end]
  }
}
