/// Signs requests as object stores want it: AWS Signature Version 4, with the digest of what is sent in it ("Authenticating
/// Requests: Using the Authorization Header" in the Amazon S3 API reference).
import Posix

/// Who asks.
public struct S3Credentials: Equatable, Sendable {
  public var keyID: String
  public var secret: Bytes
  /// Of credentials that end after a while.
  public var token: String?

  public init(keyID: String, secret: Bytes, token: String? = nil) {
    (self.keyID, self.secret, self.token) = (keyID, secret, token)
  }
}

package enum S3Signature {
  /// What `Authorization` says. `path`: encoded. `query`: names and values, not encoded. `headers`: all that are to be
  /// signed, among them `host`, `x-amz-date` and `x-amz-content-sha256`; names in small letters.
  package static func authorization(
    _ method: String, path: String, query: [(name: String, value: Bytes)], headers: [(name: String, value: String)],
    payload: String, at time: Timestamp, region: String, _ credentials: S3Credentials
  ) -> String {
    let sorted = headers.sorted { $0.name < $1.name }
    let names = sorted.map(\.name).joined(separator: ";")
    let request = [
      method, path, text(query), sorted.map { "\($0.name):\($0.value)\n" }.joined(), names, payload,
    ].joined(separator: "\n")
    let stamp = stamp(time)
    let day = String(stamp.prefix(8))
    let scope = "\(day)/\(region)/s3/aws4_request"
    let toSign = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(S3Hash.sha256(Bytes(request.utf8)).hex)"
    var key = Bytes("AWS4") + credentials.secret
    for part in [day, region, "s3", "aws4_request", toSign] { key = S3Hash.hmac(key, Bytes(part.utf8)) }
    return "AWS4-HMAC-SHA256 Credential=\(credentials.keyID)/\(scope),SignedHeaders=\(names),Signature=\(key.hex)"
  }

  /// `20130524T000000Z`.
  static func stamp(_ time: Timestamp) -> String {
    let c = time.calendar()
    func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
    return "\(c.year)\(two(c.month))\(two(c.day))T\(two(c.hour))\(two(c.minute))\(two(c.second))Z"
  }

  /// A query as it is sent and signed.
  static func text(_ query: [(name: String, value: Bytes)]) -> String {
    query.map { (encoded(Bytes($0.name.utf8)), encoded($0.value)) }.sorted { $0 < $1 }
      .map { "\($0)=\($1)" }.joined(separator: "&")
  }

  /// RFC 3986, section 2.3: all but the unreserved characters as `%XX`. `keepsSlashes`: of a path.
  package static func encoded(_ bytes: Bytes, keepsSlashes: Bool = false) -> String {
    let digits = Bytes("0123456789ABCDEF")
    var text = Bytes()
    for byte in bytes {
      switch byte {
      case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
        text.append(byte)
      case UInt8(ascii: "/") where keepsSlashes: text.append(byte)
      default: text += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return text.shown
  }
}
