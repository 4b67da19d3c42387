/// An object store's server: signed requests, tried again where that may help.
import Posix

/// Why a request had no good answer.
package enum S3Failure: Error {
  /// The server's status, code and words. `isRepeated`: an earlier try may have been carried out, its answer being lost.
  case refused(status: Int, code: String, words: String, isRepeated: Bool)
  case lost(String)
}

package struct S3Request: Sendable {
  package var method: String
  /// In the bucket; empty: the bucket itself.
  package var key: Bytes
  package var query: [(name: String, value: Bytes)]
  /// Names in small letters.
  var headers: [(name: String, value: String)] = []
  var body: Bytes
  var limit = 64 << 20

  package init(
    method: String = "GET", key: Bytes = [], query: [(name: String, value: Bytes)] = [], body: Bytes = []
  ) {
    (self.method, self.key, self.query, self.body) = (method, key, query, body)
  }
}

package final class S3Server: Sendable {
  let bucket: Bytes
  private let settings: S3Settings
  private let endpoint: S3Endpoint
  private let credentials: Monitor<S3Credentials?>
  private let isKnown = Monitor(false)
  /// False once the server has refused the condition that a name is new (status 501): then the name is looked for first.
  let takesConditions = Monitor(true)
  private let ended = Monitor<StoreError?>(nil)
  let ahead = S3ReadAhead()

  package init(_ settings: S3Settings, bucket: Bytes) throws(StoreError) {
    guard let endpoint = S3Endpoint(settings, bucket: bucket) else {
      throw StoreError(
        .unfit, "use", Bytes((settings.endpoint ?? "the region").utf8),
        cause: "an endpoint is written https://HOST[:PORT]")
    }
    (self.bucket, self.settings, self.endpoint) = (bucket, settings, endpoint)
    credentials = Monitor(settings.credentials())
  }

  var failure: StoreError? { ended.look { $0 } }
  var host: String { endpoint.host }

  // MARK: - Asking

  private enum Outcome {
    case answered(HTTPResponse)
    /// `after`: seconds that the server asks for.
    case failed(S3Failure, mayPass: Bool, after: Int64 = 0)
  }

  /// Sends a request until it is answered. What was sent may then have been carried out more than once. `sink`: where the
  /// body of a good answer goes.
  package func send(
    _ request: S3Request, into sink: UnsafeMutableRawBufferPointer? = nil
  ) throws(S3Failure) -> HTTPResponse {
    guard let library = Curl.library else { throw .lost(Self.noLibrary) }
    if let ended = failure { throw .lost(ended.cause) }
    let digest = S3Hash.sha256(request.body).hex
    let start = Timestamp.monotonicNanoseconds()
    var tries = 0
    var hasRenewed = false
    while true {
      var http = try signed(request, digest)
      http.sink = sink
      switch attempt(http, library, isRepeated: tries > 0) {
      case .answered(let response): return response
      case .failed(let failure, let mayPass, let seconds):
        if !hasRenewed, failure.isExpired, renew() {
          hasRenewed = true
          continue
        }
        guard mayPass else { throw failure }
        tries += 1
        try wait(failure, since: start, tries, atLeast: seconds)
      }
    }
  }

  static let noLibrary = "libcurl.so.4 is not installed"
  static let noCredentials = "no access key was found"

  private func attempt(_ request: HTTPRequest, _ library: Curl, isRepeated: Bool) -> Outcome {
    do throws(HTTPFailure) {
      let response = try library.send(request, settings.manners, certificates: settings.certificates)
      isKnown.look { $0 = true }
      if (200..<300).contains(response.status) { return .answered(response) }
      let failure = refusal(response, isRepeated: isRepeated)
      let after = response.headers["retry-after"].flatMap { Int64($0) } ?? 0
      return .failed(failure, mayPass: failure.mayPass, after: min(60, max(0, after)))
    } catch {
      switch error {
      case .lost(let words, let isLasting, let isUnreached):
        // Of a server that never answered it is more likely that its name is wrong.
        return .failed(.lost(words), mayPass: !isLasting && (!isUnreached || isKnown.look { $0 }))
      }
    }
  }

  private func signed(_ request: S3Request, _ digest: String) throws(S3Failure) -> HTTPRequest {
    guard let who = credentials.look({ $0 }) else { throw .lost(Self.noCredentials) }
    let now = Timestamp.now()
    var headers = request.headers
    headers += [
      ("host", endpoint.host), ("x-amz-content-sha256", digest), ("x-amz-date", S3Signature.stamp(now)),
    ]
    if let token = who.token { headers.append(("x-amz-security-token", token)) }
    if !request.body.isEmpty, let sum = S3Hash.md5Base64(request.body) { headers.append(("content-md5", sum)) }
    let path =
      "/"
      + S3Signature.encoded(
        endpoint.hasBucketInPath ? bucket.joined(request.key) : request.key, keepsSlashes: true)
    let authorization = S3Signature.authorization(
      request.method, path: path, query: request.query, headers: headers, payload: digest, at: now,
      region: settings.region ?? S3Settings.defaultRegion, who)
    headers.append(("authorization", authorization))
    let query = S3Signature.text(request.query)
    return HTTPRequest(
      method: request.method, url: endpoint.origin + path + (query.isEmpty ? "" : "?" + query), headers: headers,
      body: request.body, limit: request.limit)
  }

  /// Full jitter: clients that were turned away together do not come back together.
  private func wait(
    _ failure: S3Failure, since start: Int64, _ tries: Int, atLeast seconds: Int64
  ) throws(S3Failure) {
    let most = min(60_000, 250 << min(tries, 12))
    let pause = max(Int.random(in: 0...most), Int(seconds) * 1000)
    let waited = Int((Timestamp.monotonicNanoseconds() - start) / 1_000_000)
    guard settings.manners.goesOn(), waited + pause <= settings.manners.patience * 1000 else {
      let words = failure.words(of: self)
      ended.look { $0 = $0 ?? StoreError(.unreachable, "reach", Bytes(host.utf8), cause: words) }
      throw .lost(words)
    }
    if pause >= 1000 { settings.manners.notice("\(failure.notice(host)); trying again in \((pause + 500) / 1000) s") }
    let end = Timestamp.monotonicNanoseconds() + Int64(pause) * 1_000_000
    while settings.manners.goesOn(), Timestamp.monotonicNanoseconds() < end { Thread.sleep(nanoseconds: 50_000_000) }
  }

  /// Looks credentials up again. False: there are no others.
  private func renew() -> Bool {
    let new = settings.credentials()
    return credentials.look { current in
      guard let new, new != current else { return false }
      current = new
      return true
    }
  }

  private func refusal(_ response: HTTPResponse, isRepeated: Bool) -> S3Failure {
    let told = S3Element(document: response.body)
    var code = told?.text(of: "Code")?.shown ?? ""
    var words = told?.text(of: "Message")?.shown ?? ""
    if let region = told?.text(of: "Region")?.shown ?? response.headers["x-amz-bucket-region"],
      region != settings.region ?? S3Settings.defaultRegion, [301, 307, 400].contains(response.status)
    {
      (code, words) = (S3Failure.otherRegion, "the bucket is in the region \(region)")
    }
    if response.status == 403, let skew = skew(response), abs(skew) >= 5 * 60 {
      let way = skew < 0 ? "behind" : "ahead of"
      (code, words) = (
        S3Failure.skewed, "this machine's clock is \(abs(skew) / 60) min \(way) \(host)'s; it refuses requests"
      )
    }
    return .refused(status: response.status, code: code, words: words, isRepeated: isRepeated)
  }

  /// Seconds that this machine's clock is ahead of the server's; nil: it did not tell.
  private func skew(_ response: HTTPResponse) -> Int64? {
    guard let date = response.headers["date"], let theirs = Timestamp(httpDate: date) else { return nil }
    return Timestamp.now().seconds.subtracting(saturating: theirs.seconds)
  }
}

extension S3Failure {
  static let skewed = "RequestTimeTooSkewed"
  static let otherRegion = "PermanentRedirect"

  var isExpired: Bool {
    guard case .refused(_, let code, _, _) = self else { return false }
    return ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"].contains(code)
  }

  /// Whether another try may go well.
  var mayPass: Bool {
    guard case .refused(let status, let code, _, _) = self else { return false }
    return [408, 409, 429, 500, 502, 503, 504].contains(status) || code == "RequestTimeout"
  }

  func notice(_ host: String) -> String {
    switch self {
    case .lost(let words): "lost the connection to \(host) (\(words))"
    case .refused(let status, let code, _, _): "\(host) answers \(status)\(code.isEmpty ? "" : " \(code)")"
    }
  }

  func words(of server: S3Server) -> String {
    guard case .refused(let status, let code, let words, _) = self else {
      if case .lost(let words) = self { return words }
      return ""
    }
    switch (status, code) {
    case (_, Self.skewed), (_, Self.otherRegion): return words
    case (_, "NoSuchBucket"): return "\(server.host) has no bucket '\(server.bucket.shown)'"
    case (_, "InvalidAccessKeyId"): return "\(server.host) does not know the access key"
    case (_, "SignatureDoesNotMatch"): return "the secret key does not fit the access key"
    case (404, _): return "nothing has that name"
    case (412, _): return "something has that name already"
    case (403, "") where words.isEmpty, (403, "AccessDenied"): return "\(server.host) does not allow it"
    default:
      // From outside: nothing in it may move the cursor.
      let text = words.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(200)
      let told = String(String.UnicodeScalarView(text))
      return "the server says \(status)\(code.isEmpty ? "" : " \(code.prefix(40))")\(told.isEmpty ? "" : ": \(told)")"
    }
  }

  func error(_ operation: String, _ path: Bytes, _ server: S3Server) -> StoreError {
    let kind: StoreError.Kind =
      switch self {
      case .lost: .unreachable
      case .refused(_, "NoSuchBucket", _, _), .refused(_, "NoSuchUpload", _, _): .other
      case .refused(_, "QuotaExceeded", _, _), .refused(507, _, _, _): .full
      case .refused(_, "EntityTooLarge", _, _), .refused(413, _, _, _): .tooLarge
      case .refused(404, _, _, _): .missing
      case .refused(412, _, _, _): .exists
      case .refused(501, _, _, _), .refused(405, _, _, _): .unfit
      case .refused(401, _, _, _), .refused(403, _, _, _): .denied
      case .refused: .other
      }
    return StoreError(kind, operation, path, cause: words(of: server))
  }
}

extension Timestamp {
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  /// `Fri, 24 May 2013 00:00:00 GMT` (RFC 9110, section 5.6.7).
  package init?(httpDate text: String) {
    let words = text.split(separator: " ")
    guard words.count >= 5, let day = Int(words[1]), let month = Self.months.firstIndex(of: String(words[2])),
      let year = Int(words[3]), let time = Self.clock(words[4]), (1...31).contains(day), (1970...9999).contains(year)
    else { return nil }
    self.init(year: year, month: month + 1, day: day, hour: time.0, minute: time.1, second: time.2)
  }

  /// `2009-10-12T17:50:30.000Z`, as listings have it.
  package init?(listed text: Bytes) {
    let parts = text.shown.split(separator: "T")
    guard parts.count == 2 else { return nil }
    let date = parts[0].split(separator: "-").compactMap { Int($0) }
    let seconds = parts[1].split { $0 == "." || $0 == "Z" || $0 == "+" }
    guard date.count == 3, (1970...9999).contains(date[0]), (1...12).contains(date[1]), (1...31).contains(date[2]),
      let first = seconds.first, let time = Self.clock(first)
    else { return nil }
    self.init(year: date[0], month: date[1], day: date[2], hour: time.0, minute: time.1, second: time.2)
    if seconds.count > 1, let fraction = Int32((seconds[1] + "000000000").prefix(9)), fraction >= 0 {
      nanoseconds = fraction
    }
  }

  private static func clock(_ text: Substring) -> (Int, Int, Int)? {
    let numbers = text.split(separator: ":").compactMap { Int($0) }
    guard numbers.count == 3, (0...23).contains(numbers[0]), (0...59).contains(numbers[1]),
      (0...60).contains(numbers[2])
    else { return nil }
    return (numbers[0], numbers[1], numbers[2])
  }
}
