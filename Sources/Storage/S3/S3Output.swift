/// An object that is being written. Small ones are sent whole; of large ones parts are sent while the next bytes come,
/// and they are an object only when the server has put them together ("Uploading and copying objects using multipart
/// upload" in the Amazon S3 user guide).
import Posix

final class S3Output: StoreOutput {
  private let server: S3Server
  private let key: Bytes
  let path: Bytes
  /// Nothing may have its name yet.
  private let isNew: Bool
  private let whenFinished: () -> Void
  /// A mark that is sent along with the object. Where an answer was lost, it tells whether the object there is this
  /// one.
  private let token = Host.random(12).hex
  private var waiting = Bytes()
  /// Bytes that were sent before those that wait.
  private var sent: Int64 = 0
  private var upload: Bytes?
  private var tags: [String] = []
  private var parts: [Ahead<Result<String, StoreError>>] = []
  private var isOver = false

  /// Bytes of a part; no store takes smaller ones than 5 MiB, nor more of them than 10,000.
  static let partSize = 16 << 20
  private static let mostParts = 10_000
  /// Parts under way at a time, which with the one that is filled take 48 MiB.
  private static let window = 2

  init(_ server: S3Server, key: Bytes, path: Bytes, isNew: Bool, whenFinished: @escaping () -> Void) {
    (self.server, self.key, self.path, self.isNew, self.whenFinished) = (server, key, path, isNew, whenFinished)
  }

  deinit { abandon() }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    var rest = bytes
    while !rest.isEmpty {
      if waiting.count == Self.partSize { try sendPart() }
      if waiting.isEmpty { waiting.reserveCapacity(min(Self.partSize, max(rest.count, 1 << 16))) }
      let count = min(rest.count, Self.partSize - waiting.count)
      // At once, not by doubling.
      if waiting.count + count > waiting.capacity { waiting.reserveCapacity(Self.partSize) }
      waiting.append(contentsOf: rest[..<count])
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  func truncate(to size: Int64) throws(StoreError) {
    guard size >= sent, size <= sent + Int64(waiting.count) else {
      throw StoreError(.unfit, "set the size of", path, cause: "it was sent already")
    }
    waiting.removeLast(waiting.count - Int(size - sent))
  }

  func sync() throws(StoreError) {}

  // MARK: - Parts

  private func request(_ method: String, _ query: [(name: String, value: Bytes)], _ body: Bytes = []) -> S3Request {
    var request = S3Request()
    (request.method, request.key, request.query, request.body) = (method, key, query, body)
    return request
  }

  private func begunUpload() throws(StoreError) -> Bytes {
    if let upload { return upload }
    var start = request("POST", [("uploads", [])])
    start.headers = [(S3Folder.markHeader, token)]
    do throws(S3Failure) {
      guard let id = try S3Element(document: server.send(start).body)?.text(of: "UploadId"), !id.isEmpty else {
        throw .lost("the server's answer cannot be read")
      }
      upload = id
      return id
    } catch { throw error.error("begin", path, server) }
  }

  private func sendPart() throws(StoreError) {
    let id = try begunUpload()
    let number = tags.count + parts.count + 1
    guard number <= Self.mostParts else {
      throw StoreError(.tooLarge, "write", path, cause: "an object store takes no more than 10,000 parts")
    }
    while parts.count >= Self.window { try takeTag() }
    let part = request(
      "PUT", [("partNumber", Bytes("\(number)".utf8)), ("uploadId", id)], waiting)
    sent += Int64(waiting.count)
    waiting = []
    let (server, path) = (server, path)
    parts.append(
      Ahead {
        Result { () throws(StoreError) in
          do throws(S3Failure) {
            guard let tag = try server.send(part).headers["etag"] else { throw .lost("a part has no tag") }
            return tag
          } catch { throw error.error("write", path, server) }
        }
      })
  }

  private func takeTag() throws(StoreError) { tags.append(try parts.removeFirst().value.get()) }

  // MARK: - The end

  func finish() throws(StoreError) {
    if upload == nil {
      do throws(S3Failure) { try server.put(waiting, key: key, mark: token, isNew: isNew) } catch {
        throw error.error("write", path, server)
      }
    } else {
      if !waiting.isEmpty { try sendPart() }
      while !parts.isEmpty { try takeTag() }
      try complete()
    }
    isOver = true
    waiting = []
    whenFinished()
  }

  private func complete() throws(StoreError) {
    guard let upload else { return }
    var text = "<CompleteMultipartUpload>"
    for (index, tag) in tags.enumerated() {
      let plain = tag.filter { $0 != "<" && $0 != "&" }
      text += "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(plain)</ETag></Part>"
    }
    let end = request("POST", [("uploadId", upload)], Bytes((text + "</CompleteMultipartUpload>").utf8))
    do throws(S3Failure) {
      do throws(S3Failure) {
        // The server may answer 200 before it is done, and tell of an error in the body.
        let answer = try S3Element(document: server.send(end).body)
        guard let answer, answer.name != Bytes("Error") else {
          let code = answer?.text(of: "Code")?.shown ?? "an answer that cannot be read"
          throw .refused(status: 200, code: code, words: "", isRepeated: true)
        }
      } catch {
        // Carried out before an answer was lost: then the object is there, and the upload is gone.
        guard case .refused(_, _, _, true) = error, try server.hasObject(key, mark: token, size: sent) else {
          throw error
        }
      }
    } catch { throw error.error("complete", path, server) }
  }

  func abandon() {
    guard !isOver else { return }
    isOver = true
    waiting = []
    for part in parts { _ = part.value }
    guard let upload else { return }
    _ = try? server.send(request("DELETE", [("uploadId", upload)]))
  }
}
