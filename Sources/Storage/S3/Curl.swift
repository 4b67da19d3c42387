/// HTTP by libcurl, which is loaded when the first request is made: linked, it would cost every start of the program 5 ms.
import CCurl
import Glibc
import Posix

/// Why there was no answer.
enum HTTPFailure: Error {
  /// In words. `isLasting`: another try would end the same way. `isUnreached`: there was no connection.
  case lost(String, isLasting: Bool, isUnreached: Bool = false)
}

struct HTTPRequest {
  var method: String
  var url: String
  var headers: [(name: String, value: String)]
  var body: Bytes
  /// Bytes of an answer that are taken; a longer one is an error.
  var limit = 64 << 20
  /// Where the body of a good answer goes instead.
  var sink: UnsafeMutableRawBufferPointer?
}

package struct HTTPResponse {
  var status = 0
  /// Names in small letters.
  var headers: [String: String] = [:]
  /// Empty where it went into the sink.
  package var body = Bytes()
  /// Bytes of the body, wherever it went.
  var count = 0
}

/// The library's functions, and connections that are kept open. For use from many threads.
final class Curl: @unchecked Sendable {
  /// nil: the library is not there.
  static let library = Curl()

  private typealias Handle = UnsafeMutableRawPointer
  private let initialize: @convention(c) () -> UnsafeMutableRawPointer?
  private let perform: @convention(c) (UnsafeMutableRawPointer) -> Int32
  private let reset: @convention(c) (UnsafeMutableRawPointer) -> Void
  private let describe: @convention(c) (Int32) -> UnsafePointer<CChar>?
  private let appendLine: @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>) -> UnsafeMutableRawPointer?
  private let freeLines: @convention(c) (UnsafeMutableRawPointer?) -> Void
  private let setOption: UnsafeMutableRawPointer
  private let getInfo: UnsafeMutableRawPointer
  private let idle = Monitor<[UnsafeMutableRawPointer]>([])

  /// Both are the same library with another TLS.
  private static let names = ["libcurl.so.4", "libcurl-gnutls.so.4"]

  private init?() {
    guard let library = Self.names.lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first else { return nil }
    func find<T>(_ name: String, _ type: T.Type) -> T? { dlsym(library, name).map { unsafeBitCast($0, to: type) } }
    guard let begin = find("curl_global_init", (@convention(c) (Int) -> Int32).self), begin(3) == 0,
      let initialize = find("curl_easy_init", (@convention(c) () -> UnsafeMutableRawPointer?).self),
      let perform = find("curl_easy_perform", (@convention(c) (UnsafeMutableRawPointer) -> Int32).self),
      let reset = find("curl_easy_reset", (@convention(c) (UnsafeMutableRawPointer) -> Void).self),
      let describe = find("curl_easy_strerror", (@convention(c) (Int32) -> UnsafePointer<CChar>?).self),
      let appendLine = find(
        "curl_slist_append",
        (@convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>) -> UnsafeMutableRawPointer?).self),
      let freeLines = find("curl_slist_free_all", (@convention(c) (UnsafeMutableRawPointer?) -> Void).self),
      let setOption = dlsym(library, "curl_easy_setopt"), let getInfo = dlsym(library, "curl_easy_getinfo")
    else { return nil }
    (self.initialize, self.perform, self.reset, self.describe) = (initialize, perform, reset, describe)
    (self.appendLine, self.freeLines, self.setOption, self.getInfo) = (appendLine, freeLines, setOption, getInfo)
  }

  /// Numbers of curl/curl.h, which do not change.
  private enum Option {
    static let url: Int32 = 10002, headers: Int32 = 10023
    static let method: Int32 = 10036, certificates: Int32 = 10065, data: Int32 = 10001, headerData: Int32 = 10029
    static let give: Int32 = 20012, giveData: Int32 = 10009, seek: Int32 = 20167, seekData: Int32 = 10168
    static let take: Int32 = 20011, takeHeader: Int32 = 20079, progress: Int32 = 20219, progressData: Int32 = 10057
    static let userAgent: Int32 = 10018
    static let lowSpeedLimit: Int32 = 19, lowSpeedTime: Int32 = 20, noProgress: Int32 = 43, noBody: Int32 = 44
    static let hasBody: Int32 = 47
    static let connectTimeout: Int32 = 78, httpVersion: Int32 = 84, noSignal: Int32 = 99, protocols: Int32 = 181
    static let keepAlive: Int32 = 213
    static let bodySize: Int32 = 30120
    static let responseCode: Int32 = 0x200002
  }

  /// `certificates`: a file with those of authorities, instead of the system's.
  func send(
    _ request: HTTPRequest, _ manners: LinkManners, certificates: Bytes?
  ) throws(HTTPFailure) -> HTTPResponse {
    guard let handle = idle.look({ $0.popLast() }) ?? initialize() else {
      throw .lost("libcurl cannot begin", isLasting: true)
    }
    defer {
      // The connection stays open.
      reset(handle)
      idle.look { $0.append(handle) }
    }
    let exchange = Exchange(request, manners)
    var lines: UnsafeMutableRawPointer?
    defer { freeLines(lines) }
    // Without these it would say that a form is sent, and wait for leave to send it.
    for line in request.headers.map({ "\($0.name): \($0.value)" }) + ["Content-Type:", "Expect:"] {
      lines = appendLine(lines, line)
    }
    set(handle, manners, certificates)
    sheaf_curl_set_pointer(setOption, handle, Option.headers, lines)
    let context = Unmanaged.passUnretained(exchange).toOpaque()
    for option in [Option.data, Option.headerData, Option.progressData, Option.giveData, Option.seekData] {
      sheaf_curl_set_pointer(setOption, handle, option, context)
    }
    let code = request.url.withCString { url in
      request.method.withCString { method in
        sheaf_curl_set_pointer(setOption, handle, Option.url, url)
        if request.method == "HEAD" {
          sheaf_curl_set_long(setOption, handle, Option.noBody, 1)
        } else if request.method != "GET" {
          sheaf_curl_set_long(setOption, handle, Option.hasBody, 1)
          sheaf_curl_set_offset(setOption, handle, Option.bodySize, Int64(request.body.count))
        }
        if request.method != "HEAD" { sheaf_curl_set_pointer(setOption, handle, Option.method, method) }
        return perform(handle)
      }
    }
    guard code == 0 else { throw failure(code, exchange) }
    var status = 0
    sheaf_curl_get_long(getInfo, handle, Option.responseCode, &status)
    exchange.response.status = status
    return exchange.response
  }

  private func set(_ handle: UnsafeMutableRawPointer, _ manners: LinkManners, _ certificates: Bytes?) {
    // Seconds without a byte after which a connection counts as lost.
    let stall = min(60, max(5, manners.patience / 4))
    let numbers: [(Int32, Int)] = [
      (Option.noSignal, 1), (Option.protocols, 3), (Option.httpVersion, 2), (Option.connectTimeout, 15),
      (Option.lowSpeedLimit, 1), (Option.lowSpeedTime, stall), (Option.noProgress, 0), (Option.keepAlive, 1),
    ]
    for (option, value) in numbers { sheaf_curl_set_long(setOption, handle, option, value) }
    "sheaf".withCString { _ = sheaf_curl_set_pointer(setOption, handle, Option.userAgent, $0) }
    certificates?.withCString { _ = sheaf_curl_set_pointer(setOption, handle, Option.certificates, $0) }
    let take: @convention(c) (UnsafeMutablePointer<CChar>, Int, Int, UnsafeMutableRawPointer) -> Int = {
      Unmanaged<Exchange>.fromOpaque($3).takeUnretainedValue().take(UnsafeRawBufferPointer(start: $0, count: $1 * $2))
    }
    let header: @convention(c) (UnsafeMutablePointer<CChar>, Int, Int, UnsafeMutableRawPointer) -> Int = {
      let line = UnsafeRawBufferPointer(start: $0, count: $1 * $2)
      return Unmanaged<Exchange>.fromOpaque($3).takeUnretainedValue().take(header: line)
    }
    let progress: @convention(c) (UnsafeMutableRawPointer, Int, Int, Int, Int) -> Int32 = {
      Unmanaged<Exchange>.fromOpaque($0).takeUnretainedValue().goesOn(moved: $2 + $4) ? 0 : 1
    }
    let give: @convention(c) (UnsafeMutablePointer<CChar>, Int, Int, UnsafeMutableRawPointer) -> Int = {
      let room = UnsafeMutableRawBufferPointer(start: $0, count: $1 * $2)
      return Unmanaged<Exchange>.fromOpaque($3).takeUnretainedValue().give(into: room)
    }
    let seek: @convention(c) (UnsafeMutableRawPointer, Int64, Int32) -> Int32 = {
      Unmanaged<Exchange>.fromOpaque($0).takeUnretainedValue().seek(to: $1, from: $2) ? 0 : 1
    }
    let functions: [(Int32, UnsafeRawPointer)] = [
      (Option.give, unsafeBitCast(give, to: UnsafeRawPointer.self)),
      (Option.seek, unsafeBitCast(seek, to: UnsafeRawPointer.self)),
      (Option.take, unsafeBitCast(take, to: UnsafeRawPointer.self)),
      (Option.takeHeader, unsafeBitCast(header, to: UnsafeRawPointer.self)),
      (Option.progress, unsafeBitCast(progress, to: UnsafeRawPointer.self)),
    ]
    for (option, function) in functions { sheaf_curl_set_pointer(setOption, handle, option, function) }
  }

  /// With a small first letter, but for words in capitals such as SSL.
  private static func plain(_ words: String) -> String {
    guard let first = words.first, words.dropFirst().first?.isLowercase == true else { return words }
    return first.lowercased() + words.dropFirst()
  }

  /// As libcurl-errors(3): what is wrong with a URL, a certificate or this machine does not pass by itself.
  private func failure(_ code: Int32, _ exchange: Exchange) -> HTTPFailure {
    if exchange.isTooLong { return .lost("its answer is too long", isLasting: true) }
    if exchange.isCalledOff { return .lost("interrupted", isLasting: true) }
    let words = Self.plain(describe(code).map { Bytes(cString: $0).shown } ?? "libcurl's error \(code)")
    // A host's name that is not known, a connection that is refused or takes too long.
    let isUnreached = [5, 6, 7, 28, 35].contains(code) && exchange.response.status == 0
    return .lost(
      words, isLasting: [1, 2, 3, 4, 27, 53, 58, 59, 60, 66, 77, 83, 90, 91].contains(code),
      isUnreached: isUnreached)
  }
}

/// One request and its answer; used by the thread that makes it.
private final class Exchange {
  var response = HTTPResponse()
  private let request: HTTPRequest
  private let manners: LinkManners
  /// Bytes of the body that were sent.
  private var sent = 0
  private(set) var isTooLong = false
  private(set) var isCalledOff = false
  private var moved = (bytes: 0, at: Timestamp.monotonicNanoseconds())

  init(_ request: HTTPRequest, _ manners: LinkManners) { (self.request, self.manners) = (request, manners) }

  /// Gives the next bytes of what is sent; 0: that was all.
  func give(into room: UnsafeMutableRawBufferPointer) -> Int {
    let limit = manners.limits.upload
    let count = min(room.count, request.body.count - sent, limit?.piece ?? .max)
    guard count > 0 else { return 0 }
    limit?.pass(count)
    request.body.withUnsafeBytes { room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sent..<(sent + count)])) }
    sent += count
    return count
  }

  /// A connection that was closed while it was idle is made anew, and the body sent from its beginning.
  func seek(to offset: Int64, from origin: Int32) -> Bool {
    guard origin == SEEK_SET, (0...Int64(request.body.count)).contains(offset) else { return false }
    sent = Int(offset)
    return true
  }

  /// Gives how many bytes were taken; fewer than there are ends the transfer.
  func take(_ bytes: UnsafeRawBufferPointer) -> Int {
    let isGood = (200..<300).contains(response.status)
    let room = isGood ? request.sink?.count ?? request.limit : request.limit
    guard bytes.count <= room - response.count else {
      isTooLong = true
      return bytes.isEmpty ? 1 : 0
    }
    manners.limits.download?.pass(bytes.count)
    if isGood, let sink = request.sink {
      UnsafeMutableRawBufferPointer(rebasing: sink[response.count...]).copyMemory(from: bytes)
    } else {
      response.body.append(contentsOf: bytes)
    }
    response.count += bytes.count
    return bytes.count
  }

  func take(header bytes: UnsafeRawBufferPointer) -> Int {
    let line = Bytes(bytes).shown
    if line.hasPrefix("HTTP/") {
      // Of several, as after "100 Continue", the last counts.
      response = HTTPResponse()
      let words = line.split(separator: " ")
      response.status = words.count > 1 ? Int(words[1].prefix(3)) ?? 0 : 0
    } else if let colon = line.firstIndex(of: ":"), response.headers.count < 200 {
      let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
      response.headers[line[..<colon].lowercased()] = String(value.prefix { !$0.isNewline })
    }
    return bytes.count
  }

  /// An interrupt ends what carries nothing any more, and lets the rest come to its end.
  func goesOn(moved bytes: Int) -> Bool {
    let now = Timestamp.monotonicNanoseconds()
    if bytes != moved.bytes || manners.goesOn() { moved = (bytes, now) }
    isCalledOff = now - moved.at > 2_000_000_000
    return !isCalledOff
  }
}
