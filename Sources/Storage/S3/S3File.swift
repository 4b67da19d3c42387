/// An object, read by ranges. What is read from its beginning to its end comes in larger pieces than are asked for.
import Posix

final class S3File: StoredFile {
  private let server: S3Server
  private let key: Bytes
  let path: Bytes
  let size: Int64
  /// As the server tells states of an object apart; nil: it is not known which one was opened.
  private let tag: String?
  /// Where the last read ended.
  private let end = Monitor<Int64>(0)

  init(_ server: S3Server, key: Bytes, path: Bytes, size: Int64, tag: String? = nil) {
    (self.server, self.key, self.path, self.size, self.tag) = (server, key, path, size, tag)
  }

  /// Another file may have the same place in memory later.
  deinit { server.ahead.drop(self) }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard count > 0, offset >= 0, offset < size else { return 0 }
    let wanted = Int(min(Int64(count), size - offset))
    let isNext = end.look { end in
      defer { end = offset + Int64(wanted) }
      return end == offset && offset > 0
    }
    if server.ahead.copy(of: self, at: offset, into: buffer, count: wanted) { return wanted }
    guard isNext, wanted < S3ReadAhead.pieceSize, offset + Int64(wanted) < size else {
      return try fetch(into: UnsafeMutableRawBufferPointer(start: buffer, count: wanted), at: offset)
    }
    let length = Int(min(Int64(S3ReadAhead.pieceSize), size - offset))
    var piece = Bytes(repeating: 0, count: length)
    var failure: StoreError?
    let read = piece.withUnsafeMutableBytes { bytes -> Int in
      do throws(StoreError) { return try fetch(into: bytes, at: offset) } catch { failure = error }
      return 0
    }
    if let failure { throw failure }
    let given = min(wanted, read)
    piece.withUnsafeBytes { if let from = $0.baseAddress { buffer.copyMemory(from: from, byteCount: given) } }
    if read == length { server.ahead.keep(piece, of: self, at: offset) }
    return given
  }

  private func fetch(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(StoreError) -> Int {
    var request = S3Request(key: key)
    request.headers = [("range", "bytes=\(offset)-\(offset + Int64(buffer.count) - 1)")]
    if let tag { request.headers.append(("if-match", tag)) }
    do throws(S3Failure) {
      let response = try server.send(request, into: buffer)
      guard response.status == 206 || offset == 0 else {
        throw .lost("the server does not give parts of what it keeps")
      }
      return response.count
    } catch {
      if case .refused(412, _, _, _) = error { throw .damaged(path, "is another file than when it was opened") }
      throw error.error("read", path, server)
    }
  }

  /// Forgets what was read ahead. Nothing else is kept on this machine.
  func dropCache() { server.ahead.drop(self) }
}

/// The pieces that were read ahead, few at a time whatever is open.
final class S3ReadAhead: Sendable {
  static let pieceSize = 4 << 20
  private static let most = 4
  private let pieces = Monitor<[(file: ObjectIdentifier, offset: Int64, bytes: Bytes)]>([])

  func copy(of file: S3File, at offset: Int64, into buffer: UnsafeMutableRawPointer, count: Int) -> Bool {
    let id = ObjectIdentifier(file)
    let found = pieces.look { pieces in
      pieces.last { $0.file == id && $0.offset <= offset && offset + Int64(count) <= $0.offset + Int64($0.bytes.count) }
    }
    guard let found else { return false }
    found.bytes.withUnsafeBytes { bytes in
      if let start = bytes.baseAddress {
        buffer.copyMemory(from: start + Int(offset - found.offset), byteCount: count)
      }
    }
    return true
  }

  func keep(_ bytes: Bytes, of file: S3File, at offset: Int64) {
    pieces.look { pieces in
      pieces.append((ObjectIdentifier(file), offset, bytes))
      if pieces.count > Self.most { pieces.removeFirst() }
    }
  }

  func drop(_ file: S3File) { pieces.look { $0.removeAll { $0.file == ObjectIdentifier(file) } } }
}
