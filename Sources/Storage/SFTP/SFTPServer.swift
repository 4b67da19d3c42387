/// An SFTP server, by a connection that is made anew when it is lost.
import Posix

final class SFTPServer: Sendable {
  private let command: [Bytes]
  /// For messages.
  let name: String
  private let manners: LinkManners
  private let current = Monitor<SFTPConnection?>(nil)
  /// Why no more is tried.
  private let ended = Monitor<StoreError?>(nil)

  init(_ command: [Bytes], name: String, _ manners: LinkManners) throws(StoreError) {
    self.command = command
    self.name = name
    self.manners = manners
    do throws(SFTPFailure) {
      let connection = try SFTPConnection(command, manners)
      current.look { $0 = connection }
    } catch { throw Self.error(error, "connect to", Bytes(name.utf8)) }
  }

  var failure: StoreError? { ended.look { $0 } }
  var extensions: Set<String> { current.look { $0?.extensions ?? [] } }

  /// Runs requests, again on a new connection where the one at hand is lost. `body` is told whether it may have been
  /// carried out before, its answer being lost.
  func perform<R>(
    _ operation: String, _ path: Bytes, _ body: (SFTPConnection, _ isRepeated: Bool) throws(SFTPFailure) -> R
  ) throws(StoreError) -> R {
    var isRepeated = false
    while true {
      let connection = try connected(operation, path)
      do throws(SFTPFailure) { return try body(connection, isRepeated) } catch {
        guard case .lost = error, connection.isLost else { throw Self.error(error, operation, path) }
        isRepeated = true
      }
    }
  }

  private func connected(_ operation: String, _ path: Bytes) throws(StoreError) -> SFTPConnection {
    let outcome: Result<SFTPConnection, StoreError> = current.look { connection in
      if let ended = ended.look({ $0 }) {
        return .failure(StoreError(ended.kind, operation, path, cause: ended.cause))
      }
      if let connection, !connection.isLost { return .success(connection) }
      do throws(StoreError) {
        let made = try reconnected(operation, path)
        connection = made
        return .success(made)
      } catch {
        ended.look { $0 = error }
        return .failure(error)
      }
    }
    return try outcome.get()
  }

  private func reconnected(_ operation: String, _ path: Bytes) throws(StoreError) -> SFTPConnection {
    let start = Timestamp.monotonicNanoseconds()
    var pause = 1
    while true {
      do throws(SFTPFailure) { return try SFTPConnection(command, manners) } catch {
        let waited = Int((Timestamp.monotonicNanoseconds() - start) / 1_000_000_000)
        guard waited + pause <= manners.patience, manners.goesOn() else { throw Self.error(error, operation, path) }
        if case .lost(let why) = error {
          manners.notice("lost the connection to \(name) (\(why)); trying again in \(pause) s")
        }
        for _ in 0..<(pause * 10) where manners.goesOn() { Thread.sleep(nanoseconds: 100_000_000) }
        pause = min(pause * 2, 60)
      }
    }
  }

  /// What a server's answer means where nothing more is known.
  static func error(_ failure: SFTPFailure, _ operation: String, _ path: Bytes) -> StoreError {
    switch failure {
    case .lost(let why): return StoreError(.unreachable, operation, path, cause: why)
    case .status(let code, let words):
      let kind: StoreError.Kind =
        switch code {
        case SFTPStatus.noSuchFile: .missing
        case SFTPStatus.permissionDenied: .denied
        case SFTPStatus.unsupported: .unfit
        default: .other
        }
      let cause =
        switch code {
        case SFTPStatus.noSuchFile: "No such file or directory"
        case SFTPStatus.permissionDenied: "Permission denied"
        default: words.isEmpty ? "the server refuses it (code \(code))" : "the server says '\(words.shown)'"
        }
      return StoreError(kind, operation, path, cause: cause)
    }
  }
}
