/// A file on an SFTP server, read by ranges: many pieces are asked for at a time.
import Posix

final class SFTPFile: StoredFile {
  private let server: SFTPServer
  private let place: Bytes
  let path: Bytes
  let size: Int64
  /// On which connection it is open, and as what.
  private let opened = Monitor<(connection: SFTPConnection, handle: Bytes)?>(nil)

  init(_ server: SFTPServer, place: Bytes, path: Bytes, size: Int64) throws(StoreError) {
    self.server = server
    self.place = place
    self.path = path
    self.size = size
    _ = try server.perform("open", path) { (connection, _) throws(SFTPFailure) in try handle(on: connection) }
  }

  deinit {
    guard let (connection, handle) = opened.look({ $0 }), !connection.isLost else { return }
    connection.close(handle)
  }

  private func handle(on connection: SFTPConnection) throws(SFTPFailure) -> Bytes {
    if let opened = opened.look({ $0 }), opened.connection === connection { return opened.handle }
    let reply = try connection.request(.open) {
      $0.add(self.place)
      $0.add(SFTPOpenFlags.read.rawValue)
      $0.addNoAttributes()
    }
    let handle = try SFTPFolder.handle(reply)
    opened.look { $0 = (connection, handle) }
    return handle
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard count > 0, offset >= 0, offset < size else { return 0 }
    let wanted = Int(min(Int64(count), size - offset))
    return try server.perform("read", path) { (connection, _) throws(SFTPFailure) in
      let handle = try handle(on: connection)
      var sent = 0
      var done = 0
      var waiting: [(id: UInt32, at: Int, count: Int)] = []
      while done < wanted {
        while sent < wanted, waiting.count < SFTPConnection.window {
          let count = min(SFTPConnection.pieceSize, wanted - sent)
          waiting.append((try Self.ask(connection, handle, offset + Int64(sent), count), sent, count))
          sent += count
        }
        let (id, at, count) = waiting.removeFirst()
        let read = try Self.take(connection, id, buffer + at, count)
        done += read
        if read == count { continue }
        // A short answer is followed by the rest, or it is the end of a file that was cut since.
        guard read > 0 else { return at }
        waiting.insert(
          (try Self.ask(connection, handle, offset + Int64(at + read), count - read), at + read, count - read), at: 0)
      }
      return done
    }
  }

  private static func ask(
    _ connection: SFTPConnection, _ handle: Bytes, _ offset: Int64, _ count: Int
  ) throws(SFTPFailure) -> UInt32 {
    try connection.send(.read) {
      $0.add(handle)
      $0.add(UInt64(offset))
      $0.add(UInt32(count))
    }
  }

  /// Gives how many bytes came: none at the file's end.
  private static func take(
    _ connection: SFTPConnection, _ id: UInt32, _ buffer: UnsafeMutableRawPointer, _ count: Int
  ) throws(SFTPFailure) -> Int {
    let reply: SFTPReply
    do throws(SFTPFailure) { reply = try connection.answer(id) } catch {
      if case .status(SFTPStatus.endOfFile, _) = error { return 0 }
      throw error
    }
    var parser = SFTPParser(reply.body)
    guard reply.type == .data, let range = parser.range(), range.count <= count else {
      throw .lost("the server sent a message that cannot be read")
    }
    reply.body.withUnsafeBytes { body in
      if let base = body.baseAddress { buffer.copyMemory(from: base + range.lowerBound, byteCount: range.count) }
    }
    return range.count
  }

  func dropCache() {}
}
