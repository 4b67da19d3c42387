/// The key of an encrypted store. It is two age identities: one opens archives (`contents`), the other manifests and
/// notes (`lists`). A host that has only the latter, and the recipient of the former, writes backups that it cannot read.
///
/// Its file is an age identity file, so that `age -d -i FILE` opens everything that the key opens:
///
///     # sheaf key
///     # store: UUID
///     # plain-until: TIME      (sets up to then may lie there unencrypted)
///     # contents
///     AGE-SECRET-KEY-1...
///     # lists
///     AGE-SECRET-KEY-1...
///
/// In a write-only key `# contents: age1...` stands in the place of the first identity.
import Age
import Posix

public struct StoreKey: Sendable {
  /// nil: the key is write-only.
  let contents: X25519Identity?
  let contentsRecipient: X25519Recipient
  let lists: X25519Identity
  /// Of the store that it is for; nil: the file does not say so.
  public var store: String?
  /// Sets of a store that was a plain one before count up to this time.
  public var plainUntil: Timestamp?

  public var canReadContents: Bool { contents != nil }

  /// A new one.
  init(store: String, plainUntil: Timestamp?) {
    let contents = X25519Identity()
    self.contents = contents
    contentsRecipient = contents.recipient
    lists = X25519Identity()
    self.store = store
    self.plainUntil = plainUntil
  }

  /// From the text of a key file. Throws `failed` where it is none.
  init(text: Secret, path: Bytes) throws(Failure) {
    func failure(_ why: String) -> Failure {
      Failure(.failed, "the key file \(Show.path(path)) cannot be used: \(why)")
    }
    let parts: KeyFile.Parts
    do throws(AgeFailure) { parts = try KeyFile.parts(text) } catch { throw Keys.failure(error, path, nil) }
    var parsed = (contents: X25519Identity?.none, recipient: X25519Recipient?.none, lists: X25519Identity?.none)
    var rest: [X25519Identity] = []
    for (identity, title) in parts.identities {
      switch title {
      case Bytes("contents"): parsed.contents = identity
      case Bytes("lists"): parsed.lists = identity
      default: rest.append(identity)
      }
    }
    for comment in parts.comments {
      guard let colon = comment.firstIndex(of: UInt8(ascii: ":")) else { continue }
      let value = Bytes(comment[(colon + 1)...].drop { $0 == 32 })
      switch Bytes(comment[..<colon]) {
      case Bytes("store"): store = value.shown
      case Bytes("plain-until"): plainUntil = PointName.time(value.shown)
      case Bytes("contents"): parsed.recipient = X25519Recipient(value)
      default: break
      }
    }
    // Identities without titles count by their order: the one for contents comes first, then the one for lists.
    if parsed.contents == nil, parsed.recipient == nil, rest.count > 1 { parsed.contents = rest.removeFirst() }
    if parsed.lists == nil, !rest.isEmpty { parsed.lists = rest.removeFirst() }
    guard let lists = parsed.lists, let recipient = parsed.contents?.recipient ?? parsed.recipient else {
      throw failure("a store's key is two age keys, one for contents and one for lists")
    }
    contents = parsed.contents
    contentsRecipient = recipient
    self.lists = lists
  }

  /// As its file has it. `writeOnly`: without what opens contents.
  func text(writeOnly: Bool, label: Bytes = []) -> Secret {
    var text = Bytes("# sheaf key".utf8) + (label.isEmpty ? [] : Bytes(" of the store ".utf8) + label) + [10]
    if let store { text += Bytes("# store: \(store)\n".utf8) }
    if let plainUntil { text += Bytes("# plain-until: \(PointName.text(plainUntil))\n".utf8) }
    if let contents, !writeOnly {
      text += Bytes("# contents\n") + contents.text.copy + [10]
    } else {
      text += Bytes("# write-only: this key cannot read contents\n# contents: ") + contentsRecipient.text + [10]
    }
    text += Bytes("# lists\n") + lists.text.copy + [10]
    return Secret(moving: &text)
  }
}
