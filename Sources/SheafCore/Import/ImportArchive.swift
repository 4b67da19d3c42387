/// An archive that is to become a point: where it lies, and when it was made.
import Age
import Posix
import Storage
import Tar

struct ImportArchive {
  let path: Bytes
  private let keys: Keys
  /// As it was found. There may be thousands of archives, so none is held open.
  private let status: Status

  /// Throws where it is no file that can be read.
  init(_ path: Bytes, keys: Keys) throws(Failure) {
    (self.path, self.keys) = (path, keys)
    status = try system { () throws(SystemError) in try Self.opened(path).status() }
    guard status.kind == .file else {
      throw Failure(.usage, "\(Show.path(path)) is no file", hint: "an archive is read twice, so it cannot be a pipe")
    }
  }

  private static func opened(_ path: Bytes) throws(SystemError) -> Descriptor {
    try Descriptor.open(path, [.read, .nonBlocking])
  }

  /// At its beginning.
  func open() throws(Failure) -> ForeignArchive {
    let source = try source()
    do throws(ForeignArchive.Failure) { return try ForeignArchive(source, keepsHeaders: true) } catch {
      throw failure(error)
    }
  }

  /// Compares the checksums in a gzip file: libarchive does not.
  func check() throws(Failure) {
    let source = try source()
    var start: Bytes = [0, 0]
    let count = try stored { () throws(StoreError) in try source.read(into: &start, count: 2, at: 0) }
    guard count == 2, start == [0x1f, 0x8b] else { return }
    do throws(GzipStream.Failure) { _ = try GzipStream.check(source) } catch {
      switch error {
      case .unreadable(let error): throw Failure(error)
      case .cutShort: throw damaged("is cut short")
      case .corrupt, .notGzip: throw damaged("its gzip data is damaged")
      }
    }
  }

  private func source() throws(Failure) -> any ByteSource {
    let descriptor = try system { () throws(SystemError) in try Self.opened(path) }
    let now = try system { () throws(SystemError) in try descriptor.status() }
    guard now.kind == .file, now.size == status.size, now.modified == status.modified else {
      throw damaged("changed while it was read")
    }
    let file = LocalFile(descriptor, size: status.size)
    if try Keys.isAge(file) { return try keys.open(file) }
    return file
  }

  /// What reading it met, with its name.
  func failure(_ error: ForeignArchive.Failure, in entry: Bytes? = nil) -> Failure {
    if let cause = error.cause { return Failure(cause) }
    let place = entry.map { "\(Show.path($0)): " } ?? ""
    return damaged("\(place)\(Show.path(Bytes(error.message.utf8)))")
  }

  func damaged(_ what: String) -> Failure {
    Failure(
      .damaged, "\(Show.path(path)): \(what)", hint: "nothing of it was imported; plain and gzipped tars can be read")
  }

  /// When it was made: what its name tells, else its label, else the file's own time. In whole seconds, as points are
  /// named.
  func date() throws(Failure) -> Timestamp {
    if let told = ArchiveDate.told(by: path.splitAtName.name) { return told }
    let archive = try open()
    do throws(ForeignArchive.Failure) {
      if try archive.next() != nil, let time = try archive.headers(owners: OwnerNames()).labelTime { return time }
    } catch { throw failure(error) }
    return Timestamp(seconds: status.modified.seconds)
  }
}
