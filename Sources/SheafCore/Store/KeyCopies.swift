/// Copies of an encrypted store's key that lie on the store itself, each locked: with a passphrase, or for another age
/// key.
import Age
import Posix
import Storage
import Tar

/// A copy of the key on the store.
public struct KeyCopy: Sendable {
  public var name: Bytes
  /// A passphrase opens it; else the key that it was made for does.
  public var opensWithPassphrase: Bool
}

extension Store {
  private static func file(_ name: Bytes) -> Bytes { name + SealedName.suffix }

  /// The copies on the store, by name.
  public func keyCopies() throws(Failure) -> [KeyCopy] {
    guard let folder = try? folder.folder(Layout.keys) else { return [] }
    let names = try stored { () throws(StoreError) in try folder.names() }
    return names.filter { $0.hasSuffix(".age") }.compactMap { name in
      guard let file = try? folder.open(name), let header = try? Keys.header(of: file) else { return nil }
      return KeyCopy(name: Bytes(name.dropLast(4)), opensWithPassphrase: header.needsPassphrase)
    }
  }

  /// Puts a copy of the key on the store. Throws where there is one of this name.
  public func addKeyCopy(as name: Bytes, for recipient: any Recipient) throws(Failure) {
    try checkKey()
    guard let key else { throw Failure(.usage, "the store at \(Show.path(path)) is not encrypted: it has no key") }
    guard key.canReadContents else {
      throw Failure(.usage, "this key can write and list, but not read contents: a copy of it would not help")
    }
    guard Series.isName(name), name.first != UInt8(ascii: "-") else {
      throw Failure(.usage, "'\(Show.path(name))' cannot be a copy's name", hint: Series.nameHint)
    }
    let text = Buffer()
    do throws(AgeFailure) {
      let writer = try AgeWriter(for: [recipient], to: text)
      key.text(writeOnly: false, label: label).withBytes { writer.write($0, to: text) }
      writer.finish(to: text)
    } catch { throw Keys.failure(error, Layout.keys.joined(Self.file(name)), nil) }
    try stored { () throws(StoreError) in
      if try !folder.names().contains(Layout.keys) { try folder.makeFolder(Layout.keys) }
      let folder = try folder.folder(Layout.keys)
      if folder.has(Self.file(name)) {
        throw StoreError(.exists, "make", folder.path.joined(Self.file(name)), cause: "File exists")
      }
      let file = NewStoredFile(Self.file(name), in: folder)
      try file.append(text.bytes)
      try file.finish()
      try file.publish()
    }
  }

  /// Takes a copy away. Whoever has made one of it before still has the key.
  public func removeKeyCopy(_ name: Bytes) throws(Failure) {
    guard Series.isName(name) else { throw Failure(.usage, "'\(Show.path(name))' cannot be a copy's name") }
    do throws(StoreError) {
      let folder = try folder.folder(Layout.keys)
      try folder.remove(Self.file(name))
      try folder.sync()
    } catch {
      guard error.kind == .missing else { throw Failure(error) }
      throw Failure(.failed, "there is no copy of the key named '\(Show.path(name))' on the store")
    }
  }

  /// Where this user keeps its key; nil: nowhere.
  public func keyFile(_ keys: Keys?) -> Bytes? {
    keys?.ownFile(uuid).flatMap { path in (try? Descriptor.open(path, .pathOnly)).map { _ in path } }
  }

  /// Its key as a file has it; `writeOnly`: without what reads contents.
  public func keyText(writeOnly: Bool) throws(Failure) -> Secret {
    try checkKey()
    guard let key else { throw Failure(.usage, "the store at \(Show.path(path)) is not encrypted: it has no key") }
    guard key.canReadContents || writeOnly else {
      throw Failure(
        .usage, "this key can write and list, but not read contents",
        hint: "'sheaf key export -s STORE --write-only FILE' writes what there is")
    }
    return key.text(writeOnly: writeOnly, label: label)
  }

  /// Keeps the key in a file for the store where this user has its keys. Throws where it is another store's, or where there
  /// is one.
  public func importKey(_ file: Bytes, _ keys: Keys) throws(Failure) {
    guard isEncrypted else { throw Failure(.usage, "the store at \(Show.path(path)) is not encrypted: it has no key") }
    if let there = keyFile(keys) {
      throw Failure(
        .failed, "there is a key for this store already: \(Show.path(there))",
        hint: "where another one is to take its place, move that file to a safe place first: contents may need it")
    }
    let key = try keys.key(in: file)
    if let other = key.store, other != uuid {
      throw Failure(.failed, "the key file \(Show.path(file)) is for another store, \(Show.path(Bytes(other.utf8)))")
    }
    try keys.keep(key, uuid, label: label)
  }
}
