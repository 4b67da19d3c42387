/// A connection to an SFTP server through the pipes of a program, most often `ssh -s sftp`: many requests at a time,
/// answers in any order. When it is lost, all that waits is told so.
import Posix

/// Why a request had no good answer.
enum SFTPFailure: Error {
  /// The server's code and words.
  case status(UInt32, Bytes)
  /// The connection is gone, in words.
  case lost(String)
}

struct SFTPReply {
  let type: SFTPType
  let body: Bytes
}

final class SFTPConnection: Sendable {
  private struct State {
    var nextID: UInt32 = 0
    /// Requests under way; nil: not answered yet.
    var answers: [UInt32: SFTPReply?] = [:]
    var lost: String?
  }

  private let child: Child
  private let state = Monitor(State())
  private let writing = Monitor<Void>(())
  private let said = Said()
  private let limits: RateLimits
  /// Names of what the server can do beyond the protocol.
  let extensions: Set<String>

  /// Bytes of one read or write, which every server takes.
  static let pieceSize = 32 << 10
  /// Pieces under way at a time: 2 MiB, what a link of 30 ms each way needs for 50 MB/s.
  static let window = 64
  /// Parts of a listing that are asked for at a time: OpenSSH puts 100 names into each.
  static let listingWindow = 32

  /// Starts the program and greets the server. Throws `lost` with what the program said where that fails.
  init(_ command: [Bytes], _ manners: LinkManners) throws(SFTPFailure) {
    limits = manners.limits
    do throws(SystemError) { child = try Child(command) } catch {
      throw .lost("cannot start \(command.first?.shown ?? "it"): \(error.cause)")
    }
    var hello = SFTPBody(.initialize)
    hello.add(UInt32(3))
    let said = said
    let child = child
    let incoming = Incoming(child, goesOn: manners.goesOn)
    _ = Thread { said.listen(to: child) }
    do throws(SFTPFailure) {
      // One that has ended cannot be written to; why, it has said.
      do throws(SFTPFailure) { try Self.write(hello.message, to: child) } catch {
        throw SFTPFailure.lost("")
      }
      guard let (type, body) = try incoming.next() else { throw SFTPFailure.lost("") }
      guard type == SFTPType.version.rawValue else { throw SFTPFailure.lost("the server does not speak SFTP") }
      extensions = Self.extensions(body)
    } catch {
      try? child.input.close()
      child.end(afterMilliseconds: manners.goesOn() ? 2000 : 100)
      guard case .lost(let reason) = error else { throw error }
      // What stands before the protocol is the cause, whatever ssh says of the end.
      if reason.hasPrefix(Incoming.noise) { throw error }
      throw .lost(said.lastLine ?? (reason.isEmpty ? "it ended without an answer" : reason))
    }
    let state = state
    let download = limits.download
    _ = Thread { Self.takeAnswers(incoming, child, state, said, download) }
  }

  /// The program ends when its input does; nobody waits for that.
  deinit { try? child.input.close() }

  var isLost: Bool { state.look { $0.lost != nil } }

  // MARK: - Requests

  /// Sends a request. Gives what its answer is asked for by. `isAwaited`: else its answer is passed over.
  @discardableResult func send(
    _ type: SFTPType, isAwaited: Bool = true, _ fill: (inout SFTPBody) -> Void
  ) throws(SFTPFailure) -> UInt32 {
    let id = state.look { s -> UInt32 in
      s.nextID &+= 1
      if isAwaited { s.answers[s.nextID] = .some(nil) }
      return s.nextID
    }
    var body = SFTPBody(type)
    body.add(id)
    fill(&body)
    let message = body.message
    limits.upload?.pass(message.count)
    // Whole messages, one after another.
    let failure: SFTPFailure? = writing.look { _ in
      do throws(SFTPFailure) { try Self.write(message, to: child) } catch { return error }
      return nil
    }
    if let failure {
      state.look { $0.answers[id] = nil }
      // The other side may have said why.
      let reason: String = state.wait(changes: false) { $0.lost }
      guard case .lost = failure else { throw failure }
      throw .lost(reason)
    }
    return id
  }

  /// Waits for the answer. Throws `status` where that is anything but "ok".
  func answer(_ id: UInt32) throws(SFTPFailure) -> SFTPReply {
    let outcome: Result<SFTPReply, SFTPFailure> = state.wait(changes: false) { s in
      if let answered = s.answers[id], let reply = answered {
        s.answers[id] = nil
        return .success(reply)
      }
      if let lost = s.lost {
        s.answers[id] = nil
        return .failure(.lost(lost))
      }
      return nil
    }
    let reply = try outcome.get()
    guard reply.type == .status else { return reply }
    var parser = SFTPParser(reply.body)
    guard let code = parser.uint32() else { throw .lost("the server sent a message that cannot be read") }
    if code == SFTPStatus.ok { return reply }
    throw .status(code, parser.string() ?? [])
  }

  func request(_ type: SFTPType, _ fill: (inout SFTPBody) -> Void) throws(SFTPFailure) -> SFTPReply {
    try answer(send(type, fill))
  }

  /// Has the answers passed over.
  func forget(_ ids: [UInt32]) { state.look { state in for id in ids { state.answers[id] = nil } } }

  /// Closes what was only read, where nobody wants to know how that went.
  func close(_ handle: Bytes) { _ = try? send(.close, isAwaited: false) { $0.add(handle) } }

  // MARK: - The wire

  private static func write(_ message: Bytes, to child: Child) throws(SFTPFailure) {
    do throws(SystemError) { try child.input.write(message) } catch { throw .lost(error.cause) }
  }

  /// Takes answers off the pipe. Where that is slow, as with a limit, the pipe fills, and the machine that sends waits.
  private static func takeAnswers(
    _ incoming: Incoming, _ child: Child, _ state: Monitor<State>, _ said: Said, _ limit: RateLimit?
  ) {
    var reason = ""
    do throws(SFTPFailure) {
      while let (id, reply) = try incoming.nextReply() {
        limit?.pass(reply.body.count)
        // One that nobody asked for is passed over.
        state.change { s in if s.answers[id] != nil { s.answers[id] = .some(reply) } }
      }
    } catch { if case .lost(let why) = error { reason = why } }
    try? child.input.close()
    child.end()
    let words = said.lastLine ?? (reason.isEmpty ? "the connection was closed" : reason)
    state.change { $0.lost = words }
  }

  private static func extensions(_ body: Bytes) -> Set<String> {
    var parser = SFTPParser(body)
    var names: Set<String> = []
    _ = parser.uint32()
    while !parser.isAtEnd, let name = parser.string(), parser.string() != nil { names.insert(name.shown) }
    return names
  }
}

/// What the program says on its standard error; the end of it is kept.
private final class Said: Sendable {
  private let state = Monitor((text: Bytes(), isOver: false))

  func listen(to child: Child) {
    while let more = try? child.errors.readSome(atMost: 4096), !more.isEmpty {
      state.look { $0.text = Bytes(($0.text + more).suffix(8192)) }
    }
    state.change { $0.isOver = true }
  }

  /// After its end. A program that it left behind may hold the pipe open: that is not waited for.
  var lastLine: String? {
    for _ in 0..<20 where state.look({ !$0.isOver }) { state.sleep(milliseconds: 10) }
    let text = state.look { $0.text }
    guard let line = text.split(whereSeparator: { $0 == 10 || $0 == 13 }).last else { return nil }
    // From outside: nothing in it may move the cursor.
    let words = String(String.UnicodeScalarView(Bytes(line).shown.unicodeScalars.filter { !$0.properties.isControl }))
    // Of this ssh tells much, and in the last line only that it ends.
    let hasOtherKey = text.shown.contains("HOST IDENTIFICATION HAS CHANGED")
    return hasOtherKey ? "the host's key has changed (\(words))" : words
  }
}

extension Unicode.Scalar.Properties {
  fileprivate var isControl: Bool { generalCategory == .control || generalCategory == .format }
}
