/// A folder of a store in an object store's bucket: the objects whose keys begin alike. Objects appear whole, are replaced
/// whole, and get no other name.
import Posix

public final class S3Folder: StoreFolder {
  private let server: S3Server
  /// What the keys begin with: nothing, or all up to a `/`.
  private let prefix: Bytes
  public let path: Bytes
  private let ownTraits: StoreTraits
  /// Names that were written through this value: they need not be looked for before they are removed.
  private let written = Monitor<Set<Bytes>>([])

  /// Bytes; what an interrupted run has to send again at most.
  static let volumeSize: Int64 = 256 << 20
  static let markHeader = "x-amz-meta-sheaf"

  /// `key`: the folder in the bucket; empty: the whole bucket. `path`: as the user named it. `spool`: where files without a
  /// name may be made for what is not sent before it is whole.
  public convenience init(
    _ settings: S3Settings, bucket: Bytes, key: Bytes, path: Bytes, spool: Bytes
  ) throws(StoreError) {
    let server = try S3Server(settings, bucket: bucket)
    self.init(server, prefix: key.isEmpty ? [] : key + [47], path: path, spool: spool)
  }

  private init(_ server: S3Server, prefix: Bytes, path: Bytes, spool: Bytes) {
    (self.server, self.prefix, self.path) = (server, prefix, path)
    var traits = StoreTraits()
    traits.renames = false
    traits.appends = false
    traits.syncs = false
    traits.rewinds = false
    traits.takesAnyName = false
    traits.spool = spool
    traits.volumeSize = Self.volumeSize
    traits.isFar = true
    traits.arrivesWhole = true
    traits.lockLease = 30 * 60
    ownTraits = traits
  }

  /// A server that knows no conditions tells so when it meets the first.
  public var traits: StoreTraits {
    var traits = ownTraits
    traits.marksOnce = server.takesConditions.look { $0 }
    return traits
  }

  public var failure: StoreError? { server.failure }
  public var directory: Status? { nil }
  public func space() -> (free: Int64, total: Int64)? { nil }
  public func sync() throws(StoreError) {}
  public func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) {}

  private func key(_ name: Bytes) -> Bytes { prefix + name }

  private func perform<R>(
    _ operation: String, _ name: Bytes?, _ body: () throws(S3Failure) -> R
  ) throws(StoreError) -> R {
    do throws(S3Failure) { return try body() } catch {
      throw error.error(operation, name.map { path.joined($0) } ?? path, server)
    }
  }

  /// The nearest folder above this one that has something of this name; nil: none.
  public func above(holding name: Bytes) throws(StoreError) -> Bytes? {
    var above = Bytes(prefix.dropLast())
    var shown = path
    while !above.isEmpty {
      (above, shown) = (above.splitAtName.parent, shown.splitAtName.parent)
      let there = try perform("look at", nil) { () throws(S3Failure) in
        try server.head(above.isEmpty ? name : above.joined(name))
      }
      if there != nil { return shown }
    }
    return nil
  }

  // MARK: - Looking

  public func list() throws(StoreError) -> [StoreItem] {
    try perform("list", nil) { () throws(S3Failure) in
      var items: [Bytes: StoreItem] = [:]
      try server.list(prefix) { page throws(S3Failure) in
        for folder in page.folders { items[folder] = items[folder] ?? StoreItem(folder: folder) }
        for file in page.files { items[file.name] = file }
      }
      return items.values.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }
  }

  public func item(_ name: Bytes) throws(StoreError) -> StoreItem? {
    try perform("look at", name) { () throws(S3Failure) in
      if let head = try server.head(key(name)) {
        return StoreItem(name: name, kind: .file, size: head.size, modified: head.modified)
      }
      return try server.hasFolder(key(name)) ? StoreItem(folder: name) : nil
    }
  }

  private func missing(_ operation: String, _ name: Bytes) -> StoreError {
    StoreError(.missing, operation, path.joined(name), cause: "nothing has that name")
  }

  public func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    let head = try perform("open", name) { () throws(S3Failure) in try server.head(key(name)) }
    guard let head else {
      let isFolder = try perform("open", name) { () throws(S3Failure) in try server.hasFolder(key(name)) }
      guard isFolder else { throw missing("open", name) }
      throw StoreError(.unfit, "open", path.joined(name), cause: "it is no file")
    }
    return S3File(server, key: key(name), path: path.joined(name), size: head.size, tag: head.tag)
  }

  public func open(listed item: StoreItem) throws(StoreError) -> any StoredFile {
    let path = path.joined(item.name)
    guard item.kind == .file else { throw StoreError(.unfit, "open", path, cause: "it is no file") }
    return S3File(server, key: key(item.name), path: path, size: item.size)
  }

  /// In one request.
  public func contents(_ name: Bytes, atMost limit: Int) throws(StoreError) -> Bytes {
    var request = S3Request(key: key(name))
    request.headers = [("range", "bytes=0-\(limit)")]
    request.limit = limit + 1
    let bytes: Bytes
    do throws(S3Failure) { bytes = try server.send(request).body } catch {
      // An empty object has no range of bytes that could be asked for.
      if case .refused(416, _, _, _) = error { return [] }
      throw error.error("open", path.joined(name), server)
    }
    guard bytes.count <= limit else {
      throw StoreError(.tooLarge, "read", path.joined(name), cause: "it has more than \(limit) bytes")
    }
    return bytes
  }

  // MARK: - Changing

  private func check(_ name: Bytes, _ operation: String) throws(StoreError) {
    guard String(validating: name, as: UTF8.self) == nil else { return }
    throw StoreError(.unfit, operation, path.joined(name), cause: "an object store's names are UTF-8")
  }

  public func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput { try output(name, isNew: false) }
  public func begin(new name: Bytes) throws(StoreError) -> any StoreOutput { try output(name, isNew: true) }

  private func output(_ name: Bytes, isNew: Bool) throws(StoreError) -> S3Output {
    try check(name, "write")
    return S3Output(server, key: key(name), path: path.joined(name), isNew: isNew) { [written] in
      written.look { _ = $0.insert(name) }
    }
  }

  public func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    guard try item(name) != nil else { throw missing("open", name) }
    throw StoreError(.unfit, "go on with", path.joined(name), cause: "an object is written once")
  }

  /// Writes its beginning anew, which replaces it when that is whole.
  public func shorten(_ name: Bytes, to size: Int64) throws(StoreError) {
    let file = try open(name)
    guard size < file.size else { return }
    let output = try begin(name)
    try output.append(contentsOf: file, first: size)
    try output.finish()
  }

  public func mark(_ name: Bytes) throws(StoreError) {
    try perform("make", name) { () throws(S3Failure) in
      try server.put([], key: key(name), mark: Host.random(12).hex, isNew: true)
    }
    written.look { _ = $0.insert(name) }
  }

  /// What is written anew has the server's time. One that somebody took away does not come back.
  public func touch(_ name: Bytes) throws(StoreError) {
    try perform("touch", name) { () throws(S3Failure) in
      guard try server.head(key(name)) != nil else {
        throw .refused(status: 404, code: "", words: "", isRepeated: false)
      }
      try server.put([], key: key(name), mark: Host.random(12).hex, isNew: false)
    }
  }

  /// A copy that the server makes, and then the old name goes: for small files, where both may be there for a moment.
  public func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    try perform("rename to", new) { () throws(S3Failure) in
      guard try server.head(key(new)) == nil else {
        throw .refused(status: 412, code: "", words: "", isRepeated: false)
      }
      try server.copy(key(name), to: key(new))
    }
    written.look { _ = $0.insert(name) }
    try remove(name)
    written.look { _ = $0.insert(new) }
  }

  public func remove(_ name: Bytes) throws(StoreError) {
    let isOwn = written.look { $0.remove(name) != nil }
    try perform("remove", name) { () throws(S3Failure) in
      if !isOwn, try server.head(key(name)) == nil {
        throw .refused(status: 404, code: "", words: "", isRepeated: false)
      }
      try server.remove(key(name))
    }
  }

  /// Object stores have no folders. An empty object stands for one that nothing lies in yet.
  public func makeFolder(_ name: Bytes) throws(StoreError) {
    try check(name, "make folder")
    try perform("make folder", name) { () throws(S3Failure) in
      try server.put([], key: key(name) + [47], mark: Host.random(12).hex, isNew: true)
    }
  }

  public func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder {
    let isThere = try perform("open", name) { () throws(S3Failure) in try server.hasFolder(key(name)) }
    guard isThere else { throw missing("open", name) }
    return try folder(listed: StoreItem(folder: name))
  }

  public func folder(listed item: StoreItem) throws(StoreError) -> any StoreFolder {
    guard item.kind == .folder else {
      throw StoreError(.unfit, "open", path.joined(item.name), cause: "it is no folder")
    }
    return S3Folder(server, prefix: key(item.name) + [47], path: path.joined(item.name), spool: traits.spool)
  }

  /// Parts that were sent and never put together take room, and no listing shows them.
  public func dropUnfinished() { try? server.abortUploads(below: prefix) }
}
