/// Where an object store is and how it is asked.
import Posix

public struct S3Settings: Sendable {
  /// `https://HOST[:PORT]`, as the user gave it; nil: Amazon's.
  public var endpoint: String?
  /// nil: `us-east-1`, which most servers of others go by.
  public var region: String?
  /// A file with certificates of authorities, instead of the system's.
  public var certificates: Bytes?
  /// Who asks, looked up again when the server says that credentials ran out; nil: none were found.
  public var credentials: @Sendable () -> S3Credentials? = { nil }
  public var manners = LinkManners()

  public init() {}

  public static let defaultRegion = "us-east-1"
}

/// The parts of a server's address that requests need.
package struct S3Endpoint: Sendable {
  /// `https://host[:port]`.
  package let origin: String
  /// As the header `Host` has it.
  package let host: String
  /// The bucket stands in the path, and not before the host's name.
  package let hasBucketInPath: Bool

  /// nil: it cannot be read. With Amazon's own the bucket is a part of the host's name, where that can be.
  package init?(_ settings: S3Settings, bucket: Bytes) {
    let region = settings.region ?? S3Settings.defaultRegion
    if let text = settings.endpoint {
      guard let parts = Self.parts(text) else { return nil }
      (origin, host, hasBucketInPath) = (parts.origin, parts.host, true)
    } else {
      let server = "s3.\(region).amazonaws.com"
      guard region.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "/") }) else { return nil }
      let isName = bucket.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "-") }
      hasBucketInPath = !isName
      host = isName ? "\(bucket.shown).\(server)" : server
      origin = "https://\(host)"
    }
  }

  private static func parts(_ text: String) -> (origin: String, host: String)? {
    guard let colon = text.range(of: "://") else { return nil }
    let scheme = text[..<colon.lowerBound].lowercased()
    var host = text[colon.upperBound...]
    while host.hasSuffix("/") { host = host.dropLast() }
    guard ["http", "https"].contains(scheme), !host.isEmpty,
      host.utf8.allSatisfy({ $0 > 32 && $0 < 127 && !Bytes("/@?#\\").contains($0) })
    else { return nil }
    // What a client leaves out of the header is not signed either.
    let standard = scheme == "http" ? ":80" : ":443"
    let named = host.hasSuffix(standard) ? host.dropLast(standard.count) : host
    return ("\(scheme)://\(host)", String(named))
  }
}

extension String {
  /// Where `part` first stands in it.
  fileprivate func range(of part: String) -> Range<String.Index>? {
    indices.first { self[$0...].hasPrefix(part) }.map { $0..<index($0, offsetBy: part.count) }
  }
}
