/// Opens age files with what the person has: a key file, a passphrase.
import Age
import Posix
import Storage
import Tar

/// What was given to open encrypted files with.
public struct Keys {
  public typealias Ask = (_ file: Bytes) throws(Failure) -> Secret?
  private let keyFile: Bytes?
  private let passphrase: Ask

  /// `keyFile`: the path of an age key file. `passphrase` is called when a file needs one, and gives nil if nobody can
  /// give one.
  public init(keyFile: Bytes?, passphrase: @escaping Ask) {
    self.keyFile = keyFile
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
    let identities: [any Identity]
    if header.needsPassphrase {
      identities = [try askedPassphrase(for: file.path)]
    } else {
      guard let keyFile else {
        throw Failure(
          .usage, "\(Show.path(file.path)) is encrypted and no key was given",
          hint: "use --key FILE or set SHEAF_KEY")
      }
      identities = try read(keyFile)
    }
    do throws(AgeFailure) {
      return try AgeReader(file, size: file.size, path: file.path, header, identities)
    } catch { throw Self.failure(error, file.path, header) }
  }

  private static func header(of file: LocalFile) throws(Failure) -> Header {
    do throws(AgeFailure) { return try Header(of: file) } catch {
      if case .header = error, (try? file.read(count: 11, at: 0)) == Bytes("-----BEGIN ") {
        throw Failure(
          .failed, "\(Show.path(file.path)) is in ASCII armor, which is not read here",
          hint: "'age --decrypt' takes it off together with the encryption")
      }
      throw failure(error, file.path, nil)
    }
  }

  private func askedPassphrase(for path: Bytes) throws(Failure) -> Passphrase {
    guard let passphrase = try passphrase(path) else {
      throw Failure(
        .usage, "\(Show.path(path)) needs a passphrase, and there is no terminal to ask for it",
        hint: "use --passphrase-file or --passphrase-command")
    }
    return Passphrase(passphrase)
  }

  /// The keys of a key file, which may itself be locked with a passphrase.
  private func read(_ path: Bytes) throws(Failure) -> [any Identity] {
    let file = try Self.openPrivate(path)
    let text: Secret
    let isFile = try system({ () throws(SystemError) in try file.status() }).kind == .file
    if isFile, try Self.isAge(LocalFile(file)) {
      text = try unlocked(LocalFile(file))
    } else {
      text = try system { () throws(SystemError) in try Secret.all(of: file, atMost: KeyFile.limit) }
    }
    Host.forbidDumps()
    do throws(AgeFailure) { return try KeyFile.identities(text) } catch { throw Self.failure(error, path, nil) }
  }

  private func unlocked(_ file: LocalFile) throws(Failure) -> Secret {
    let header = try Self.header(of: file)
    guard header.needsPassphrase else {
      throw Failure(.failed, "the key file \(Show.path(file.path)) is locked with another key, not with a passphrase")
    }
    let passphrase = try askedPassphrase(for: file.path)
    do throws(AgeFailure) {
      let reader = try AgeStreamReader(file, header, [passphrase])
      guard let text = try reader.readAll(atMost: KeyFile.limit) else { throw .key("it is too long for a key file") }
      return text
    } catch { throw Self.failure(error, file.path, header) }
  }

  /// Opens a file with a secret in it, where nobody else can read that.
  public static func openPrivate(_ path: Bytes) throws(Failure) -> Descriptor {
    let file = try system { () throws(SystemError) in try Descriptor.open(path, .read) }
    let status = try system { () throws(SystemError) in try file.status() }
    guard status.kind != .directory else { throw Failure(.failed, "\(Show.path(path)) is a directory, not a key") }
    guard status.kind != .file || status.mode & 0o077 == 0 else {
      throw Failure(
        .failed, "\(Show.path(path)) can be read by others (mode \(String(status.mode & 0o777, radix: 8)))",
        hint: "make it private with 'chmod 600 \(Show.word(path))'")
    }
    return file
  }

  private static func failure(_ error: AgeFailure, _ path: Bytes, _ header: Header?) -> Failure {
    let name = Show.path(path)
    switch error {
    case .unreadable(let error): return Failure(error)
    case .header(let why): return .damaged("\(name) is no age file that can be read: \(why)")
    case .headerChecksum: return .damaged("\(name) is damaged: its header was changed")
    case .payload(let damage): return .damaged("\(name) \(damage.words)")
    case .key(let why): return Failure(.failed, "the key file \(name) cannot be used: \(why)")
    case .noMatch:
      guard let header, !header.needsPassphrase else { return Failure(.failed, "wrong passphrase for \(name)") }
      guard header.takesKeys else {
        let types = Set(header.stanzas.map { Show.path($0.type) }).sorted().joined(separator: ", ")
        return Failure(.failed, "\(name) is for keys of a kind that sheaf does not know (\(types))")
      }
      return .damaged("\(name) does not open with this key: damaged, or made for another")
    }
  }
}
