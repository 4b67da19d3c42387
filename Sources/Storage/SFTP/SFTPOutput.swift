/// A file on an SFTP server that is being written: many pieces are under way at a time, and what was not answered is sent
/// again where the connection is lost.
import Posix

final class SFTPOutput: StoreOutput {
  private struct Piece {
    let offset: Int64
    let bytes: Bytes
    /// On the connection at hand; nil: to be sent.
    var id: UInt32?
  }

  private let server: SFTPServer
  private let place: Bytes
  let path: Bytes
  private var connection: SFTPConnection?
  private var handle = Bytes()
  /// Where the next bytes go.
  private var end: Int64
  /// In order; those before are on the server.
  private var waiting: [Piece] = []

  /// `keeping`: how many bytes of what is there stay; nil: the flags say.
  init(
    _ server: SFTPServer, place: Bytes, path: Bytes, _ flags: SFTPOpenFlags, keeping: Int64?
  ) throws(StoreError) {
    self.server = server
    self.place = place
    self.path = path
    end = keeping ?? 0
    try server.perform("open", path) { (connection, _) throws(SFTPFailure) in
      try open(connection, flags)
      if let keeping { try setSize(keeping, connection) }
    }
  }

  private func open(_ connection: SFTPConnection, _ flags: SFTPOpenFlags) throws(SFTPFailure) {
    let reply = try connection.request(.open) {
      $0.add(self.place)
      $0.add(flags.rawValue)
      $0.add(permissions: 0o600)
    }
    handle = try SFTPFolder.handle(reply)
    self.connection = connection
  }

  private func setSize(_ size: Int64, _ connection: SFTPConnection) throws(SFTPFailure) {
    _ = try connection.request(.fsetstat) {
      $0.add(self.handle)
      $0.add(size: size)
    }
  }

  /// Has the file open on this connection; what is waiting is to be sent on it.
  private func settle(on connection: SFTPConnection) throws(SFTPFailure) {
    if self.connection === connection { return }
    guard connection.extensions.contains(SFTPFolder.fsync) else {
      // An object is written from its beginning, or not at all.
      guard waiting.first?.offset ?? end == 0 else {
        throw .status(SFTPStatus.failure, Bytes("what was written to \(path.shown) cannot be gone on with".utf8))
      }
      try open(connection, [.write, .create, .truncate])
      for index in waiting.indices { waiting[index].id = nil }
      return
    }
    try open(connection, [.write])
    for index in waiting.indices { waiting[index].id = nil }
    // What the server had answered for must be there still.
    let there = try SFTPFolder.attributes(connection.request(.fstat) { $0.add(self.handle) }).size ?? 0
    guard there >= waiting.first?.offset ?? end else {
      throw .status(SFTPStatus.failure, Bytes("what was written to \(path.shown) is gone".utf8))
    }
  }

  private func send(_ connection: SFTPConnection) throws(SFTPFailure) {
    for index in waiting.indices where waiting[index].id == nil {
      let piece = waiting[index]
      waiting[index].id = try connection.send(.write) { body in
        body.add(self.handle)
        body.add(UInt64(piece.offset))
        piece.bytes.withUnsafeBytes { body.add(data: $0) }
      }
    }
  }

  /// Waits until no more than `most` pieces are under way.
  private func drain(_ connection: SFTPConnection, to most: Int) throws(SFTPFailure) {
    while waiting.count > most {
      guard let id = waiting[0].id else { return try send(connection) }
      do throws(SFTPFailure) { _ = try connection.answer(id) } catch {
        // An answer is given once; what it refuses is not asked for again.
        if case .status = error { waiting.removeFirst() }
        throw error
      }
      waiting.removeFirst()
    }
  }

  private func perform(
    _ operation: String, _ body: (SFTPConnection) throws(SFTPFailure) -> Void
  ) throws(StoreError) {
    do throws(StoreError) {
      try server.perform(operation, path) { (connection, _) throws(SFTPFailure) in
        try settle(on: connection)
        try send(connection)
        try body(connection)
      }
    } catch {
      // "Failure" is what a full disk says.
      guard error.kind == .other, let free = freeSpace(), free < 1 << 20 else { throw error }
      throw StoreError(.full, operation, path, cause: "No space left on device")
    }
  }

  private func freeSpace() -> Int64? {
    let folder = place.splitAtName.parent
    let reply = try? server.perform("look at", path) { (connection, _) throws(SFTPFailure) in
      try connection.request(.extended) {
        $0.add(Bytes(SFTPFolder.statvfs.utf8))
        $0.add(folder)
      }
    }
    return reply.flatMap { SFTPFolder.space($0)?.free }
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = min(rest.count, SFTPConnection.pieceSize)
      waiting.append(Piece(offset: end, bytes: Bytes(rest[..<count]), id: nil))
      end += Int64(count)
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      if waiting.count > SFTPConnection.window {
        try perform("write") { (connection) throws(SFTPFailure) in
          try drain(connection, to: SFTPConnection.window)
        }
      }
    }
    try perform("write") { (_) throws(SFTPFailure) in }
  }

  func truncate(to size: Int64) throws(StoreError) {
    try perform("set the size of") { (connection) throws(SFTPFailure) in
      // What cannot be written any more, as on a full disk, is given up with the rest.
      while let piece = waiting.first {
        if let id = piece.id {
          do throws(SFTPFailure) { _ = try connection.answer(id) } catch { if case .lost = error { throw error } }
        }
        waiting.removeFirst()
      }
      try setSize(size, connection)
    }
    end = size
  }

  func sync() throws(StoreError) {
    try perform("make durable") { (connection) throws(SFTPFailure) in
      guard connection.extensions.contains(SFTPFolder.fsync) else { return try drain(connection, to: 0) }
      // On one handle a server does what it is asked in this order.
      let synced = try connection.send(.extended) {
        $0.add(Bytes(SFTPFolder.fsync.utf8))
        $0.add(self.handle)
      }
      do throws(SFTPFailure) { try drain(connection, to: 0) } catch {
        connection.forget([synced])
        throw error
      }
      _ = try connection.answer(synced)
    }
  }

  func finish() throws(StoreError) {
    try sync()
    try perform("close") { (connection) throws(SFTPFailure) in
      // What is durable already can only be closed; else the server may say here that it could not keep it.
      if connection.extensions.contains(SFTPFolder.fsync) { return connection.close(self.handle) }
      _ = try connection.request(.close) { $0.add(self.handle) }
    }
    connection = nil
  }

  func abandon() {
    guard let connection, !connection.isLost else { return }
    for piece in waiting { if let id = piece.id { _ = try? connection.answer(id) } }
    _ = try? connection.request(.close) { $0.add(self.handle) }
    self.connection = nil
  }
}
