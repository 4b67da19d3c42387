/// The requests that object stores know, one function each (the Amazon S3 API reference).
import Posix

extension S3Server {
  struct Head {
    var size: Int64
    var modified: Timestamp
    var tag: String?
    var mark: String?
  }

  /// nil: there is none.
  func head(_ key: Bytes) throws(S3Failure) -> Head? {
    do throws(S3Failure) {
      let headers = try send(S3Request(method: "HEAD", key: key)).headers
      return Head(
        size: headers["content-length"].flatMap { Int64($0) } ?? 0,
        modified: headers["last-modified"].flatMap { Timestamp(httpDate: $0) } ?? Timestamp(seconds: 0),
        tag: headers["etag"], mark: headers[S3Folder.markHeader])
    } catch {
      if case .refused(404, _, _, _) = error { return nil }
      throw error
    }
  }

  /// Whether it is what was sent with this mark.
  func hasObject(_ key: Bytes, mark: String, size: Int64) throws(S3Failure) -> Bool {
    guard let head = try head(key) else { return false }
    return head.mark == mark && head.size == size
  }

  /// Sends an object whole. `isNew`: throws with status 412 where something has that name.
  func put(_ body: Bytes, key: Bytes, mark: String, isNew: Bool) throws(S3Failure) {
    var request = S3Request(method: "PUT", key: key, body: body)
    request.headers = [(S3Folder.markHeader, mark)]
    guard isNew else {
      _ = try send(request)
      return
    }
    if takesConditions.look({ $0 }) {
      var conditional = request
      conditional.headers.append(("if-none-match", "*"))
      do throws(S3Failure) {
        _ = try send(conditional)
        return
      } catch {
        switch error {
        // Our own, its answer being lost.
        case .refused(412, _, _, true) where try hasObject(key, mark: mark, size: Int64(body.count)): return
        case .refused(501, _, _, _): takesConditions.look { $0 = false }
        default: throw error
        }
      }
    }
    if try head(key) != nil { throw .refused(status: 412, code: "", words: "", isRepeated: false) }
    _ = try send(request)
  }

  func remove(_ key: Bytes) throws(S3Failure) { _ = try send(S3Request(method: "DELETE", key: key)) }

  func copy(_ key: Bytes, to new: Bytes) throws(S3Failure) {
    var request = S3Request(method: "PUT", key: new)
    request.headers = [("x-amz-copy-source", S3Signature.encoded(bucket.joined(key), keepsSlashes: true))]
    let answer = try S3Element(document: send(request).body)
    guard answer?.name != Bytes("Error") else {
      throw .refused(status: 200, code: answer?.text(of: "Code")?.shown ?? "", words: "", isRepeated: true)
    }
  }

  // MARK: - Listings

  struct Page {
    /// Names without what their keys begin with.
    var files: [StoreItem] = []
    var folders: [Bytes] = []
  }

  /// Calls `body` with what lies right in a folder, up to 1000 names at a time.
  func list(_ prefix: Bytes, _ body: (Page) throws(S3Failure) -> Void) throws(S3Failure) {
    var token: Bytes?
    while true {
      var request = S3Request()
      request.query = [
        ("list-type", Bytes("2")), ("prefix", prefix), ("delimiter", Bytes("/")), ("encoding-type", Bytes("url")),
      ]
      if let token { request.query.append(("continuation-token", token)) }
      guard let answer = try S3Element(document: send(request).body), answer.name == Bytes("ListBucketResult") else {
        throw Self.unreadable
      }
      try body(try page(answer, below: prefix))
      guard answer.text(of: "IsTruncated") == Bytes("true") else { return }
      guard let next = answer.text(of: "NextContinuationToken"), next != token else { throw Self.unreadable }
      token = next
    }
  }

  private static let unreadable = S3Failure.lost("the server's listing cannot be read")

  private func page(_ answer: S3Element, below prefix: Bytes) throws(S3Failure) -> Page {
    let isEncoded = answer.text(of: "EncodingType") == Bytes("url")
    /// nil: what stands for the folder itself.
    func name(_ text: Bytes?) throws(S3Failure) -> Bytes? {
      guard let text, let key = isEncoded ? Self.decoded(text) : text, key.starts(with: prefix) else {
        throw Self.unreadable
      }
      return key.count == prefix.count ? nil : Bytes(key.dropFirst(prefix.count))
    }
    var page = Page()
    for object in answer.all("Contents") {
      guard let name = try name(object.text(of: "Key")) else { continue }
      guard let size = object.text(of: "Size").flatMap({ Int64($0.shown) }), size >= 0,
        let modified = object.text(of: "LastModified").flatMap({ Timestamp(listed: $0) }), !name.contains(47)
      else { throw Self.unreadable }
      page.files.append(StoreItem(name: name, kind: .file, size: size, modified: modified))
    }
    for folder in answer.all("CommonPrefixes") {
      // A key with two slashes in a row tells of a folder without a name, which is passed over.
      guard let name = try name(folder.text(of: "Prefix")), name.last == 47, name.count > 1 else { continue }
      page.folders.append(Bytes(name.dropLast()))
    }
    return page
  }

  /// `%XX`, and `+` for a blank.
  private static func decoded(_ text: Bytes) -> Bytes? {
    var result = Bytes()
    var rest = text[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        result.append(byte == UInt8(ascii: "+") ? 32 : byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(Bytes(rest.prefix(2)).shown, radix: 16) else { return nil }
      result.append(value)
      rest = rest.dropFirst(2)
    }
    return result
  }

  /// Whether something lies below a key, taken for a folder's.
  func hasFolder(_ key: Bytes) throws(S3Failure) -> Bool {
    var request = S3Request()
    request.query = [("list-type", Bytes("2")), ("prefix", key + [47]), ("max-keys", Bytes("1"))]
    guard let answer = try S3Element(document: send(request).body) else { throw Self.unreadable }
    return !answer.all("Contents").isEmpty
  }

  /// Gives up what was begun right in a folder and never completed.
  func abortUploads(below prefix: Bytes) throws(S3Failure) {
    var request = S3Request()
    request.query = [("uploads", []), ("prefix", prefix)]
    guard let answer = try S3Element(document: send(request).body) else { throw Self.unreadable }
    for upload in answer.all("Upload") {
      guard let key = upload.text(of: "Key"), let id = upload.text(of: "UploadId"), key.starts(with: prefix),
        !key.dropFirst(prefix.count).contains(47)
      else { continue }
      _ = try send(S3Request(method: "DELETE", key: key, query: [("uploadId", id)]))
    }
  }
}
