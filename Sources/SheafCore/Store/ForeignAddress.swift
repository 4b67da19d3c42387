/// Addresses of stores as other programs write them, and what is to be written here.
import Posix

enum ForeignAddress {
  /// nil: `text` begins as none, or there is a folder of that name. What may be a password is never repeated.
  static func mistake(_ text: Bytes) -> Failure? {
    guard let colon = text.firstIndex(of: UInt8(ascii: ":")), (try? Descriptor.open(text, .pathOnly)) == nil else {
      return nil
    }
    let scheme = Bytes(text[..<colon]).shown
    let rest = Bytes(text[(colon + 1)...])
    switch scheme {
    case "sftp":
      let words = server(rest).map { Show.word($0) } ?? "sftp://[user@]host[:port]/path"
      return Failure(.usage, "behind 'sftp:' a store's address has two slashes", hint: "write \(words)")
    case "s3":
      return Failure(
        .usage, "behind 's3:' a store's address has two slashes, the bucket and no server",
        hint: "write \(bucket(rest) ?? "s3://bucket/prefix --s3-endpoint https://HOST")")
    case "rclone":
      return Failure(.usage, noSuchKind(scheme), hint: "what rclone reaches is given as \(remote(rest))")
    case "rest", "b2", "azure", "gs", "swift":
      return Failure(.usage, noSuchKind(scheme), hint: "there are directories, sftp:// and s3://")
    default: return nil
    }
  }

  private static func noSuchKind(_ scheme: String) -> String { "no such kind of store: \(scheme)" }

  /// Of `[USER@]HOST:PATH`; a path without a slash in front begins in the home folder.
  private static func server(_ text: Bytes) -> Bytes? {
    // An IPv6 address has colons of its own.
    let start = text.firstIndex(of: UInt8(ascii: "]")) ?? 0
    guard let colon = text[start...].firstIndex(of: UInt8(ascii: ":")) else { return nil }
    let path = Bytes(text[(colon + 1)...])
    guard !path.isEmpty, !path.prefix(while: { $0 != 47 }).contains(UInt8(ascii: "@")) else { return nil }
    var address = SFTPAddress.scheme
    address += text[..<colon]
    if path.first != 47 { address += Bytes("/~/") }
    address += SFTPAddress.encoded(path, "")
    return (try? SFTPAddress(address)) == nil ? nil : address
  }

  /// Of `[https://]HOST/BUCKET[/PREFIX]`; Amazon's server need not be named.
  private static func bucket(_ text: Bytes) -> String? {
    let schemes = [Bytes("https://"), Bytes("http://")]
    let start = schemes.first { text.starts(with: $0) }?.count ?? 0
    let slash = text[start...].firstIndex(of: 47) ?? text.endIndex
    let host = Bytes(text[start..<slash])
    let place = SFTPAddress.encoded(Bytes(text[slash...].drop { $0 == 47 }), "")
    guard !host.isEmpty, !host.contains(UInt8(ascii: "@")) else { return nil }
    guard let address = try? S3Address(S3Address.scheme + place) else { return nil }
    let words = Show.word(address.text)
    if host == Bytes("s3.amazonaws.com") { return words }
    let server = start == 0 ? schemes[0] + host : Bytes(text[..<slash])
    return "\(words) --s3-endpoint \(Show.word(server))"
  }

  /// Of `REMOTE:PATH`.
  private static func remote(_ text: Bytes) -> String {
    let name = Bytes(text.prefix { $0 != UInt8(ascii: ":") })
    let path = SFTPAddress.encoded(Bytes(text.dropFirst(name.count + 1).drop { $0 == 47 }), "")
    var address = Bytes("sftp://rclone/")
    address += path.isEmpty ? Bytes("PATH") : path
    var command = Bytes("rclone serve sftp --stdio ")
    command += name.isEmpty ? Bytes("REMOTE") : name
    command.append(UInt8(ascii: ":"))
    return "\(Show.word(address)) --sftp-command \(Show.word(command)): see sheaf-stores(7)"
  }
}
