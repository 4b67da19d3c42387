/// Opens age files with what the person has: a key file, a passphrase.
import Age
import Posix
import Storage
import Tar

/// What was given to open encrypted files with.
public struct Keys {
  /// `attempt`: how many passphrases did not fit the file.
  public typealias Ask = (_ file: Bytes, _ attempt: Int) throws(Failure) -> Secret?
  private let keyFile: Bytes?
  private let directory: Bytes?
  /// Where this machine remembers stores.
  let memory: Bytes?
  private let passphrase: Ask

  /// `keyFile`: the path of an age key file. `directory`: where this user keeps the keys of stores. `passphrase` is
  /// called when a file needs one, and gives nil if nobody can give one, or another one.
  public init(keyFile: Bytes?, directory: Bytes? = nil, memory: Bytes? = nil, passphrase: @escaping Ask) {
    self.keyFile = keyFile
    self.directory = directory
    self.memory = memory
    self.passphrase = passphrase
  }

  /// Whether the file begins as an age file does.
  static func isAge(_ file: LocalFile) throws(Failure) -> Bool {
    let start = Bytes(Header.magic).prefix { $0 != UInt8(ascii: "/") }
    return try stored { () throws(StoreError) in try file.read(count: start.count, at: 0) }.elementsEqual(start)
  }

  /// The contents of an encrypted file.
  func open(_ file: LocalFile) throws(Failure) -> AgeReader {
    let header = try Self.header(of: file)
    func opened(_ identities: [any Identity]) throws(AgeFailure) -> AgeReader {
      try AgeReader(file, size: file.size, path: file.path, header, identities)
    }
    if header.needsPassphrase {
      return try unlocked(file.path, header) { (passphrase) throws(AgeFailure) in try opened([passphrase]) }
    }
    guard let keyFile else {
      throw Failure(
        .usage, "\(Show.path(file.path)) is encrypted and no key was given", hint: "use --key FILE or set SHEAF_KEY")
    }
    let identities = try read(keyFile)
    do throws(AgeFailure) { return try opened(identities) } catch { throw Self.failure(error, file.path, header) }
  }

  static func header(of file: any StoredFile) throws(Failure) -> Header {
    do throws(AgeFailure) { return try Header(of: file) } catch {
      if case .header = error, (try? file.read(count: 11, at: 0)) == Bytes("-----BEGIN ") {
        throw Failure(
          .failed, "\(Show.path(file.path)) is in ASCII armor, which is not read here",
          hint: "'age --decrypt' takes it off together with the encryption")
      }
      throw failure(error, file.path, nil)
    }
  }

  /// What `open` makes of a file with the passphrase that fits it.
  private func unlocked<R>(
    _ path: Bytes, _ header: Header, _ open: (Passphrase) throws(AgeFailure) -> R
  ) throws(Failure) -> R {
    let opened = try asked(for: path) { (passphrase) throws(Failure) -> R? in
      do throws(AgeFailure) { return try open(passphrase) } catch {
        if case .noMatch = error { return nil }
        throw Self.failure(error, path, header)
      }
    }
    guard let opened else {
      throw Failure(
        .usage, "\(Show.path(path)) needs a passphrase, and there is no terminal to ask for it",
        hint: "use --passphrase-file or --passphrase-command")
    }
    return opened
  }

  /// Asks until `body` takes a passphrase: it gives nil for one that does not fit. Gives nil if nobody can give one.
  private func asked<R>(for path: Bytes, _ body: (Passphrase) throws(Failure) -> R?) throws(Failure) -> R? {
    var attempt = 0
    while let given = try passphrase(path, attempt) {
      if let result = try body(Passphrase(given)) { return result }
      attempt += 1
    }
    if attempt > 0 { throw Failure(.failed, "wrong passphrase for \(Show.path(path))") }
    return nil
  }

  /// The keys of a key file, which may itself be locked with a passphrase.
  private func read(_ path: Bytes) throws(Failure) -> [any Identity] {
    let text = try text(of: path)
    do throws(AgeFailure) { return try KeyFile.identities(text) } catch { throw Self.failure(error, path, nil) }
  }

  private func text(of path: Bytes) throws(Failure) -> Secret {
    Host.forbidDumps()
    let file = try Self.openPrivate(path)
    let isFile = try system({ () throws(SystemError) in try file.status() }).kind == .file
    if isFile, try Self.isAge(LocalFile(file)) {
      return try unlocked(LocalFile(file))
    }
    return try system { () throws(SystemError) in try Secret.all(of: file, atMost: KeyFile.limit) }
  }

  private func unlocked(_ file: any StoredFile) throws(Failure) -> Secret {
    let header = try Self.header(of: file)
    guard header.needsPassphrase else {
      throw Failure(.failed, "the key file \(Show.path(file.path)) is locked with another key, not with a passphrase")
    }
    return try unlocked(file.path, header) { (passphrase) throws(AgeFailure) in
      try Self.text(of: file, header, passphrase)
    }
  }

  private static func text(
    of file: any StoredFile, _ header: Header, _ passphrase: Passphrase
  ) throws(AgeFailure) -> Secret {
    let reader = try AgeStreamReader(file, header, [passphrase])
    guard let text = try reader.readAll(atMost: KeyFile.limit) else { throw .key("it is too long for a key file") }
    return text
  }

  /// Opens a file with a secret in it, where nobody else can read that.
  public static func openPrivate(_ path: Bytes) throws(Failure) -> Descriptor {
    let file = try system { () throws(SystemError) in try Descriptor.open(path, .read) }
    let status = try system { () throws(SystemError) in try file.status() }
    guard status.kind != .directory else { throw Failure(.failed, "\(Show.path(path)) is a directory, not a file") }
    guard status.kind != .file || status.mode & 0o077 == 0 else {
      throw Failure(
        .failed, "\(Show.path(path)) can be read by others (mode \(String(status.mode & 0o777, radix: 8)))",
        hint: "make it private with 'chmod 600 \(Show.word(path))'")
    }
    return file
  }

  static func failure(_ error: AgeFailure, _ path: Bytes, _ header: Header?) -> Failure {
    let name = Show.path(path)
    switch error {
    case .unreadable(let error): return Failure(error)
    case .header(let why): return .damaged("\(name) is no age file that can be read: \(why)")
    case .headerChecksum: return .damaged("\(name) is damaged: its header was changed")
    case .payload(let damage): return .damaged("\(name) \(damage.words)")
    case .key(let why): return Failure(.failed, "the key file \(name) cannot be used: \(why)")
    case .noMatch:
      guard let header, header.takesKeys else {
        guard let header else { return Failure(.failed, "\(name) does not open with this key") }
        let types = Set(header.stanzas.map { Show.path($0.type) }).sorted().joined(separator: ", ")
        return Failure(.failed, "\(name) is for keys of a kind that sheaf does not know (\(types))")
      }
      return .damaged("\(name) does not open with this key: damaged, or made for another")
    }
  }
}

// MARK: - Keys of stores

extension Keys {
  /// The key of a store; nil: it is not here, or the store needs none. Throws where what was given is no key for it, and
  /// where a store that this user has a key for does not say that it is encrypted.
  func storeKey(_ uuid: String, of store: any StoreFolder, isEncrypted: Bool) throws(Failure) -> StoreKey? {
    let own = ownFile(uuid).flatMap { path in (try? Descriptor.open(path, .pathOnly)).map { _ in path } }
    guard isEncrypted else {
      guard own != nil else { return nil }
      throw .damaged(
        "the store at \(Show.path(store.path)) was encrypted when last seen here, and its marker does not say so any more: nothing was done"
      )
    }
    if let path = keyFile ?? own {
      let key = try key(in: path)
      if let other = key.store, other != uuid {
        throw Failure(
          .failed, "the key file \(Show.path(path)) is for another store, \(Show.path(Bytes(other.utf8)))",
          hint: "this store is \(uuid)")
      }
      return key
    }
    return try lockedCopy(in: store, uuid)
  }

  /// The key in a file.
  func key(in path: Bytes) throws(Failure) -> StoreKey { try StoreKey(text: text(of: path), path: path) }

  /// Where this user keeps the key of a store; nil: there is no home directory.
  func ownFile(_ uuid: String) -> Bytes? { directory?.joined(Bytes("\(uuid).key".utf8)) }

  /// Puts a store's key where this user keeps such; nobody else's is replaced.
  func keep(_ key: StoreKey, _ uuid: String, label: Bytes) throws(Failure) {
    guard let directory, let path = ownFile(uuid) else {
      throw Failure(.failed, "there is no home directory to keep the key in", hint: "set HOME or XDG_CONFIG_HOME")
    }
    try Self.write(key.text(writeOnly: false, label: label), to: path, making: directory)
  }

  /// Makes a private file, which must be new.
  public static func write(_ text: Secret, to path: Bytes, making directory: Bytes? = nil) throws(Failure) {
    Host.forbidDumps()
    try system { () throws(SystemError) in
      if let directory {
        try Descriptor.makeDirectories(directory)
        try? Descriptor.open(directory, [.read, .directory]).setMode(0o700)
      }
      let (parent, name) = path.splitAtName
      let folder = try Descriptor.open(
        parent.isEmpty ? Bytes(path.first == 47 ? "/" : ".") : parent, [.read, .directory])
      let file = try NewFile(name, in: folder, mode: 0o600)
      try file.descriptor.setMode(0o600)
      try text.write(to: file.descriptor)
      try file.seal()
      do throws(SystemError) { try file.publish() } catch {
        file.discard()
        throw error
      }
    }
  }

  /// The key out of one of the copies on the store that a passphrase opens.
  private func lockedCopy(in store: any StoreFolder, _ uuid: String) throws(Failure) -> StoreKey? {
    guard let folder = try? store.folder(Layout.keys), let names = try? folder.names() else { return nil }
    var copies: [(file: any StoredFile, header: Header)] = []
    for name in names where name.hasSuffix(".age") {
      guard let file = try? folder.open(name), file.size <= KeyFile.limit, let header = try? Self.header(of: file),
        header.needsPassphrase
      else { continue }
      copies.append((file, header))
    }
    guard let first = copies.first else { return nil }
    return try asked(for: first.file.path) { (passphrase) throws(Failure) -> StoreKey? in
      for (file, header) in copies {
        let text: Secret
        do throws(AgeFailure) { text = try Self.text(of: file, header, passphrase) } catch {
          if case .noMatch = error { continue }
          throw Self.failure(error, file.path, header)
        }
        let key = try StoreKey(text: text, path: file.path)
        // Somebody else may have put it there.
        guard key.store == uuid else {
          throw .damaged("\(Show.path(file.path)) is the key of another store: damaged, or put there by someone")
        }
        return key
      }
      return nil
    }
  }
}
