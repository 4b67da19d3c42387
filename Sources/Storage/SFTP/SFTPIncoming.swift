/// The messages that an SFTP server sends, read from its pipe in large pieces.
import Posix

/// Used by one thread at a time.
final class Incoming: @unchecked Sendable {
  private let child: Child
  private let goesOn: @Sendable () -> Bool
  /// Once nobody waits for more than the end, a server that says nothing for so many milliseconds is given up.
  private var patience = 0
  private var held = Bytes()
  /// Where in it the next message begins.
  private var start = 0
  /// The largest message that is taken: 256 KiB is what OpenSSH sends at most.
  private static let messageLimit = 1 << 20
  private static let pieceSize = 64 << 10
  /// Milliseconds after which it is looked whether to wait on.
  private static let pause = 100

  /// `goesOn`: whether more is waited for than an orderly end.
  init(_ child: Child, goesOn: @escaping @Sendable () -> Bool) { (self.child, self.goesOn) = (child, goesOn) }

  /// How a failure begins where a login shell prints something.
  static let noise = "the server sent text where the protocol should begin"

  /// nil: the other side has ended.
  func next() throws(SFTPFailure) -> (type: UInt8, body: Bytes)? {
    guard let length = try nextLength() else { return nil }
    let body = try take(length)
    return (body[0], Bytes(body.dropFirst()))
  }

  /// The next answer, and to what it is one.
  func nextReply() throws(SFTPFailure) -> (id: UInt32, reply: SFTPReply)? {
    guard let length = try nextLength() else { return nil }
    guard length >= 5 else { throw Self.unreadable }
    let head = try take(5)
    let id = head.dropFirst().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    guard let type = SFTPType(rawValue: head[0]) else { throw Self.unreadable }
    return (id, SFTPReply(type: type, body: try take(length - 5)))
  }

  private static let unreadable = SFTPFailure.lost("the server sent a message that cannot be read")

  private func nextLength() throws(SFTPFailure) -> Int? {
    if held.count == start {
      guard try fill() else { return nil }
    }
    let head = try take(4)
    let length = head.reduce(0) { $0 << 8 | Int($1) }
    guard length > 0, length <= Self.messageLimit else {
      // A login shell that prints something puts it before the protocol.
      let isText = head.allSatisfy { $0 == 9 || $0 == 10 || (32..<127).contains($0) }
      throw isText ? .lost("\(Self.noise): a login script prints something ('\(head.shown)…')") : Self.unreadable
    }
    return length
  }

  private func take(_ count: Int) throws(SFTPFailure) -> Bytes {
    while held.count - start < count {
      guard try fill() else { throw .lost("the connection ended within a message") }
    }
    defer { start += count }
    return Bytes(held[start..<(start + count)])
  }

  /// False: the other side has ended.
  private func fill() throws(SFTPFailure) -> Bool {
    var waited = 0
    while try !hasInput() {
      if goesOn() { continue }
      guard waited < patience else { throw .lost("interrupted") }
      waited += Self.pause
    }
    // An end in good order takes some answers.
    patience = 5000
    do throws(SystemError) {
      let more = try child.output.readSome(atMost: Self.pieceSize)
      held = start == held.count ? more : Bytes(held[start...]) + more
      start = 0
      return !more.isEmpty
    } catch { throw .lost(error.cause) }
  }

  private func hasInput() throws(SFTPFailure) -> Bool {
    do throws(SystemError) { return try child.output.hasInput(withinMilliseconds: Int32(Self.pause)) } catch {
      throw .lost(error.cause)
    }
  }
}
