/// The parts of `s3://bucket[/prefix]`, with what was written as `%XX` decoded.
import Posix
import Storage

public struct S3Address: Equatable, Sendable {
  static let scheme = Bytes("s3://")

  public var bucket: Bytes
  /// What all keys of the store begin with, without the `/` behind it; empty: the bucket is the store.
  public var prefix: Bytes

  /// Throws a failure of kind `usage`. What may be a key is never repeated.
  public init(_ text: Bytes) throws(Failure) {
    let rest = text.dropFirst(Self.scheme.count)
    let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
    guard !rest[..<slash].contains(where: { $0 == UInt8(ascii: "@") || $0 == UInt8(ascii: ":") }) else {
      throw Failure(
        .usage, "a store's address takes neither keys nor a server: it is written s3://bucket/prefix",
        hint: "give the server with --s3-endpoint, and the keys as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    }
    bucket = try SFTPAddress.decoded(rest[..<slash], "bucket", Self.mistake)
    guard Self.isBucket(bucket) else { throw Self.mistake("'\(Show.path(bucket))' cannot be a bucket's name") }
    let parts = try SFTPAddress.decoded(rest[slash...], "prefix", Self.mistake).split(separator: UInt8(ascii: "/"))
    guard !parts.contains(where: { $0.elementsEqual(Bytes(".")) || $0.elementsEqual(Bytes("..")) }) else {
      throw Self.mistake("a prefix is no path: it has no '.' and '..' in it")
    }
    prefix = Bytes(parts.joined(separator: Bytes("/")))
  }

  /// "Bucket naming rules" in the Amazon S3 user guide; capitals and `_` are in old names.
  private static func isBucket(_ name: Bytes) -> Bool {
    (3...255).contains(name.count) && name.first != UInt8(ascii: ".")
      && name.allSatisfy {
        (48...57).contains($0) || (97...122).contains($0) || (65...90).contains($0) || Bytes("-._").contains($0)
      }
  }

  private static func mistake(_ message: String) -> Failure {
    Failure(.usage, message, hint: "an object store's address is written s3://bucket/prefix")
  }

  public var text: Bytes {
    Self.scheme + bucket + (prefix.isEmpty ? [] : Bytes("/") + SFTPAddress.encoded(prefix, ""))
  }

  func folder(_ access: RemoteAccess) throws(StoreError) -> S3Folder {
    var settings = access.s3
    settings.manners = access.manners
    return try S3Folder(settings, bucket: bucket, key: prefix, path: text, spool: access.spool)
  }

  /// What may help where the store could not be opened.
  static func hint(_ error: StoreError) -> String? {
    func says(_ part: String) -> Bool { error.cause.contains(part) }
    if says("libcurl") { return "'apt install libcurl4' installs it; only stores at s3:// need it" }
    if says("no access key") {
      return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or keep a profile in ~/.aws/credentials"
    }
    if says("has no bucket") { return "make it first, with the server's own tools: sheaf makes no buckets" }
    if says("an endpoint is written") { return "see --s3-endpoint and AWS_ENDPOINT_URL_S3" }
    if says("this machine's clock") { return "set the clock, and have it kept right" }
    if says("is in the region") { return "set AWS_REGION to it" }
    if says("does not know the access key") || says("secret key does not fit") {
      return "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, and which server --s3-endpoint names"
    }
    if says("SSL") || says("certificate") {
      return "for a server with a certificate of its own, name its authority's file in AWS_CA_BUNDLE"
    }
    guard error.kind == .unreachable else { return nil }
    return "see --s3-endpoint or AWS_ENDPOINT_URL_S3, and whether there is a network"
  }
}
