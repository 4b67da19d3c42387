/// An archive file by itself, without its store: ours or anyone's.
import Age
import Posix
import Storage
import Tar

public struct LoneArchive {
  private let path: Bytes
  private let source: any ByteSource
  /// The same, where it is encrypted.
  private let encrypted: AgeReader?

  /// nil where `path` is no tar file of the file system, encrypted or not.
  public init?(_ path: Bytes, keys: Keys) throws(Failure) {
    let endings: [StaticString] = [".tar", ".tar.gz", ".tgz", ".tar.gz.001", ".tar.gz.00001"]
    let isNamedAge = path.hasSuffix(".age")
    let name = isNamedAge ? Bytes(path.dropLast(4)) : path
    guard endings.contains(where: name.hasSuffix),
      let descriptor = try? Descriptor.open(path, [.read, .nonBlocking]), let status = try? descriptor.status(),
      status.kind == .file
    else { return nil }
    let file = LocalFile(descriptor, size: status.size)
    self.path = path
    let beginsAsAge = try Keys.isAge(file)
    encrypted = isNamedAge || beginsAsAge ? try keys.open(file) : nil
    source = encrypted ?? file
  }

  /// At the beginning.
  private func open() throws(Failure) -> ForeignArchive {
    do throws(ForeignArchive.Failure) { return try ForeignArchive(source) } catch { throw damaged(error) }
  }

  private func damaged(_ error: ForeignArchive.Failure, in entry: Bytes? = nil) -> Failure {
    if let cause = error.cause { return Failure(cause) }
    let place = entry.map { "\(Show.path($0)): " } ?? ""
    return .damaged("\(Show.path(path)): \(place)\(Show.path(Bytes(error.message.utf8)))")
  }

  private func next(_ archive: ForeignArchive) throws(Failure) -> Entry? {
    do throws(ForeignArchive.Failure) { return try archive.next().map(Entry.init) } catch { throw damaged(error) }
  }

  /// Owner and group as the archive has them: another program's numbers may be larger than any that Linux has.
  public typealias Owner = (uid: Int64, gid: Int64)

  public func list(_ body: (Entry, Owner) throws(Failure) -> Void) throws(Failure) {
    let archive = try open()
    while true {
      let found: ForeignArchive.Entry?
      do throws(ForeignArchive.Failure) { found = try archive.next() } catch { throw damaged(error) }
      guard let found else { break }
      try body(Entry(found), (found.uid, found.gid))
    }
    if let encrypted { try stored { () throws(StoreError) in try encrypted.checkEnd() } }
  }

  public func read(_ wanted: Bytes, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    try read(wanted, body, links: 0)
  }

  private func read(
    _ wanted: Bytes, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void, links: Int
  ) throws(Failure) {
    let archive = try open()
    while let entry = try next(archive) {
      guard entry.path == wanted else { continue }
      guard entry.kind == .file else { throw Failure(.failed, "\(Show.path(wanted)) is no file") }
      if let first = entry.hardLink {
        // A few links to links are somebody's way of writing; more lead in a circle.
        guard links < 40 else { throw .damaged("\(Show.path(path)): \(Show.path(wanted)) leads to no file") }
        return try read(Entry.plain(first), body, links: links + 1)
      }
      let result: Result<Void, Failure>
      do throws(ForeignArchive.Failure) { result = try archive.data(size: entry.size, body) } catch {
        throw damaged(error)
      }
      return try result.get()
    }
    throw Failure(
      .failed, "\(Show.path(wanted)) is not in \(Show.path(path))",
      hint: "look for it with 'sheaf ls \(Show.word(path))'")
  }

  /// Reads everything: each gzip member's checksum, each entry. Gives how many entries there are.
  public func verify() throws(Failure) -> (entries: Int64, bytes: Int64) {
    if let encrypted { try stored { () throws(StoreError) in try encrypted.check() } }
    var start: Bytes = [0, 0]
    _ = try stored { () throws(StoreError) in try source.read(into: &start, count: 2, at: 0) }
    if start == [0x1f, 0x8b] {
      do throws(GzipStream.Failure) { _ = try GzipStream.check(source) } catch {
        switch error {
        case .unreadable(let error): throw Failure(error)
        case .cutShort: throw .damaged("\(Show.path(path)): is cut short")
        case .corrupt, .notGzip: throw .damaged("\(Show.path(path)): its gzip data is damaged")
        }
      }
    }
    var entries: Int64 = 0
    var bytes: Int64 = 0
    let archive = try open()
    while let entry = try next(archive) {
      entries += 1
      do throws(ForeignArchive.Failure) {
        bytes.add(saturating: try archive.skipData())
      } catch {
        throw damaged(error, in: entry.path)
      }
    }
    return (entries, bytes)
  }
}

extension Entry {
  /// Without leading slashes, `.` and doubled slashes.
  fileprivate static func plain(_ path: Bytes) -> Bytes {
    let plain = Bytes(path.split(separator: 47).filter { $0 != [46] }.joined(separator: [47]))
    return plain.isEmpty ? [46] : plain
  }

  fileprivate init(_ e: ForeignArchive.Entry) {
    self.init(
      path: Self.plain(e.path), kind: e.kind, mode: e.mode, uid: UInt32(clamping: e.uid), gid: UInt32(clamping: e.gid),
      modified: e.modified)
    userName = e.userName
    groupName = e.groupName
    size = e.kind == .file ? max(0, e.size) : 0
    linkTarget = e.linkTarget
    hardLink = e.hardLink
    major = e.major
    minor = e.minor
  }
}
