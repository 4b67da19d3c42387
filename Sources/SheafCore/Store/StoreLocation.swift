/// Where a store lies: a directory of this machine, a folder of another one that speaks SFTP, or an object store's bucket.
import Posix
import Storage

public enum StoreLocation: Equatable, Sendable {
  case directory(Bytes)
  case sftp(SFTPAddress)
  case s3(S3Address)

  /// As a user writes it: a path, `sftp://[user@]host[:port]/path` or `s3://bucket[/prefix]`. Throws a failure of kind
  /// `usage` where it begins as an address and is none, or as another program's.
  public init(_ text: Bytes) throws(Failure) {
    if Self.has(text, SFTPAddress.scheme) {
      self = .sftp(try SFTPAddress(text))
    } else if Self.has(text, S3Address.scheme) {
      self = .s3(try S3Address(text))
    } else {
      if let mistake = ForeignAddress.mistake(text) { throw mistake }
      self = .directory(text)
    }
  }

  /// Whether the text names a store on another machine.
  public static func isRemote(_ text: Bytes) -> Bool { has(text, SFTPAddress.scheme) || has(text, S3Address.scheme) }

  private static func has(_ text: Bytes, _ scheme: Bytes) -> Bool {
    text.prefix(scheme.count).elementsEqual(scheme) {
      // Schemes are the same in capitals (RFC 3986, section 3.1).
      ((65...90).contains($0) ? $0 | 0x20 : $0) == $1
    }
  }

  /// As it is shown and remembered.
  public var text: Bytes {
    switch self {
    case .directory(let path): path
    case .sftp(let address): address.text
    case .s3(let address): address.text
    }
  }

  public var isRemote: Bool { if case .directory = self { false } else { true } }

  /// The folder, which must be there.
  func folder(_ access: RemoteAccess) throws(StoreError) -> any StoreFolder {
    switch self {
    case .directory(let path): try LocalFolder(path, access.manners.limits)
    case .sftp(let address): try address.folder(access)
    case .s3(let address): try address.folder(access)
    }
  }

  /// What may help where it could not be opened.
  func hint(_ error: StoreError, _ access: RemoteAccess) -> String? {
    switch self {
    case .directory: return nil
    case .s3: return S3Address.hint(error)
    case .sftp(let address):
      guard error.kind == .unreachable, access.shellCommand == nil else { return nil }
      return SSHFailure.hint(error.cause, host: Show.word(address.host), isUnattended: access.isUnattended)
    }
  }
}

/// The parts of `sftp://[user@]host[:port]/path`, with what was written as `%XX` decoded.
public struct SFTPAddress: Equatable, Sendable {
  static let scheme = Bytes("sftp://")

  public var user: Bytes?
  public var host: Bytes
  public var port: UInt16?
  /// On the server: absolute, or below the home folder, which is itself the empty path.
  public var path: Bytes

  /// Throws a failure of kind `usage`. What may be a password is never repeated.
  public init(_ text: Bytes) throws(Failure) {
    let rest = text.dropFirst(Self.scheme.count)
    let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
    var authority = rest[..<slash]
    user = nil
    if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
      let name = authority[..<at]
      guard !name.contains(UInt8(ascii: ":")) else {
        throw Failure(
          .usage, "a store's address takes no password: others could read it from the command line",
          hint: "give ssh a key for the host ('ssh-copy-id'), or let it ask for the password")
      }
      user = try Self.decoded(name, "user")
      authority = authority[authority.index(after: at)...]
    }
    (host, port) = try Self.hostAndPort(authority, text)
    for part in [host, user ?? [1]] where part.first == UInt8(ascii: "-") {
      throw Self.mistake("'\(Show.path(part))' cannot be a host's or a user's name")
    }
    let path = try Self.decoded(rest[slash...], "path")
    guard !path.isEmpty else {
      throw Failure(
        .usage, "\(Show.path(text)) names no folder on that machine",
        hint:
          "write \(Show.word(text + Bytes("/path"))), or \(Show.word(text + Bytes("/~/path"))) below the home folder")
    }
    let parts = path.split(separator: UInt8(ascii: "/")).filter { $0 != [UInt8(ascii: ".")] }
    let isBelowHome = parts.first == [UInt8(ascii: "~")]
    let joined = Bytes((isBelowHome ? parts.dropFirst() : parts[...]).joined(separator: Bytes("/")))
    self.path = isBelowHome ? joined : Bytes("/") + joined
  }

  private static func hostAndPort(
    _ authority: ArraySlice<UInt8>, _ text: Bytes
  ) throws(Failure) -> (Bytes, UInt16?) {
    var name = authority
    var port: ArraySlice<UInt8>?
    if authority.first == UInt8(ascii: "["), let end = authority.firstIndex(of: UInt8(ascii: "]")) {
      name = authority[authority.index(after: authority.startIndex)..<end]
      let behind = authority[authority.index(after: end)...]
      guard behind.isEmpty || behind.first == UInt8(ascii: ":") else { throw notAnAddress(text) }
      port = behind.isEmpty ? nil : behind.dropFirst()
    } else if let colon = authority.lastIndex(of: UInt8(ascii: ":")) {
      (name, port) = (authority[..<colon], authority[authority.index(after: colon)...])
      guard !name.contains(UInt8(ascii: ":")) else { throw notAnAddress(text) }
    }
    let host = try decoded(name, "host")
    guard host.allSatisfy({ $0 > 32 && $0 != 127 && $0 != UInt8(ascii: "/") }), !host.isEmpty else {
      throw notAnAddress(text)
    }
    guard let port, !port.isEmpty else { return (host, nil) }
    guard port.allSatisfy({ (48...57).contains($0) }), let number = UInt16(Bytes(port).shown), number > 0 else {
      throw mistake("'\(Show.path(Bytes(port)))' is no port")
    }
    return (host, number)
  }

  private static func mistake(_ message: String) -> Failure {
    Failure(.usage, message, hint: "an address is written sftp://[user@]host[:port]/path")
  }

  private static func notAnAddress(_ text: Bytes) -> Failure {
    mistake("\(Show.path(text)) is no address: a host has a name without blanks, or an IPv6 address in brackets")
  }

  /// `%XX` is a byte (RFC 3986, section 2.1).
  static func decoded(
    _ text: ArraySlice<UInt8>, _ what: String, _ mistake: (String) -> Failure = mistake
  ) throws(Failure) -> Bytes {
    var result = Bytes()
    var rest = text
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        result.append(byte)
        continue
      }
      let digits = rest.prefix(2)
      guard digits.count == 2, digits.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
        let value = UInt8(Bytes(digits).shown, radix: 16), value != 0
      else {
        throw mistake("the \(what) in the store's address has a '%' that is not followed by two hexadecimal digits")
      }
      result.append(value)
      rest = rest.dropFirst(2)
    }
    guard !result.contains(0) else { throw mistake("the \(what) in the store's address holds a zero byte") }
    return result
  }

  static func encoded(_ bytes: Bytes, _ special: StaticString) -> Bytes {
    let special = Set(Bytes(special) + Bytes("%"))
    let digits = Bytes("0123456789ABCDEF")
    return bytes.flatMap { byte -> Bytes in
      guard byte <= 32 || byte == 127 || special.contains(byte) else { return [byte] }
      return [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
  }

  public var text: Bytes {
    var text = Self.scheme
    if let user { text += Self.encoded(user, "@:/") + Bytes("@") }
    let isNumber = host.contains(UInt8(ascii: ":"))
    text += isNumber ? Bytes("[") + Self.encoded(host, "[]") + Bytes("]") : Self.encoded(host, "@")
    if let port { text += Bytes(":\(port)".utf8) }
    if path.first != UInt8(ascii: "/") { text += Bytes(path.isEmpty ? "/~" : "/~/") }
    return text + Self.encoded(path, "")
  }

  /// `isThere`: it has to be, else it can be made.
  func folder(_ access: RemoteAccess, isThere: Bool = true) throws(StoreError) -> SFTPFolder {
    try SFTPFolder(
      access.command(for: self), place: path.isEmpty ? Bytes(".") : path, path: text, isThere: isThere, access.manners,
      spool: access.spool)
  }
}

/// How machines are reached on which stores lie.
public struct RemoteAccess: Sendable {
  /// The program and its first arguments.
  public var ssh = [Bytes("ssh")]
  /// What the shell runs instead: a program that speaks SFTP on its standard input and output.
  public var shellCommand: Bytes?
  /// Nobody is there to be asked for a password.
  public var isUnattended = false
  /// How object stores are asked.
  public var s3 = S3Settings()
  /// Where files without a name may be made, of what a store gets whole.
  public var spool = Bytes("/var/tmp")
  public var manners = LinkManners()

  public init() {}

  /// What speaks SFTP with that machine on its standard input and output.
  public func command(for address: SFTPAddress) -> [Bytes] {
    if let shellCommand { return [Bytes("/bin/sh"), Bytes("-c"), shellCommand] }
    // A connection that carries nothing any more is noticed within 45 s.
    var words = ssh + [Bytes("-oServerAliveInterval=15"), Bytes("-oServerAliveCountMax=3")]
    if isUnattended { words.append(Bytes("-oBatchMode=yes")) }
    if let port = address.port { words += [Bytes("-p"), Bytes("\(port)".utf8)] }
    if let user = address.user { words += [Bytes("-l"), user] }
    return words + [Bytes("-s"), Bytes("--"), address.host, Bytes("sftp")]
  }
}

/// What may help after ssh ended, by its last words.
enum SSHFailure {
  static func hint(_ words: String, host: String, isUnattended: Bool) -> String? {
    func says(_ part: String) -> Bool { words.contains(part) }
    if says("key has changed") {
      return
        "if the machine was set up anew, 'ssh-keygen -R \(host)' forgets its old key; else somebody may be in between"
    }
    if says("Host key verification failed") || says("host key is known") {
      return "run 'ssh \(host)' once by hand, and compare the key it shows"
    }
    if says("Permission denied") || says("Too many authentication failures") {
      return isUnattended
        ? "nobody is here to be asked for a password: give ssh a key for this machine, with 'ssh-copy-id \(host)'"
        : "see whether 'ssh \(host)' lets you in"
    }
    if says("resolve hostname") { return "check the host's name, and whether there is a network" }
    if says("Connection refused") || says("timed out") || says("No route to host") || says("unreachable") {
      return "is the machine on, and does its ssh server listen on that port?"
    }
    if says("subsystem request failed") {
      return "the machine's ssh server offers no sftp: see 'Subsystem' in sshd_config(5)"
    }
    if says("a login script prints") {
      return
        "the shell's start-up files on \(host) must print nothing where no terminal is: see 'ssh \(host) true'"
    }
    return nil
  }
}
