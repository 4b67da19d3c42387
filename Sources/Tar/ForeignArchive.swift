/// Reads tar archives that someone else may have written, plain or gzipped, by libarchive: its tar and gzip support
/// and nothing else, since most of its security reports lie in other formats. The locale is never set, so that names
/// stay the bytes they are.
import CArchive
import Glibc
import Posix
import Storage

/// Not for use from several threads.
public final class ForeignArchive {
  public struct Entry {
    public var path: Bytes = []
    public var kind = FileKind.file
    public var mode: UInt16 = 0
    /// Other programs write numbers that no Linux has.
    public var uid: Int64 = 0
    public var gid: Int64 = 0
    public var userName: Bytes = []
    public var groupName: Bytes = []
    public var size: Int64 = 0
    public var modified = Timestamp(seconds: 0)
    public var linkTarget: Bytes = []
    public var hardLink: Bytes?
    public var major: UInt32 = 0
    public var minor: UInt32 = 0
  }
  public struct Failure: Error {
    /// libarchive's words, lower case.
    public let message: String
    /// What reading said, where that failed.
    public var cause: StoreError?

    init(message: String, cause: StoreError? = nil) { (self.message, self.cause) = (message, cause) }

    init(libarchive handle: OpaquePointer) {
      let text = archive_error_string(handle).map { String(cString: $0) } ?? "cannot be read"
      message = text.prefix(1).lowercased() + text.dropFirst()
    }
  }

  private let handle = archive_read_new()!
  private let input: ForeignInput
  /// Bytes that may be read for the headers of one entry, or until the first of its data is there: libarchive keeps all
  /// pieces of a sparse file in memory, and a few bytes of gzip tell of millions.
  private static let headerLimit: Int64 = 16 << 20

  /// `keepsHeaders`: `headers` is asked for.
  public init(_ source: any ByteSource, keepsHeaders: Bool = false) throws(Failure) {
    // One layer of gzip: libarchive would look for more below it, and there are files that inflate to themselves.
    var start: Bytes = [0, 0]
    let isGzip = (try? source.read(into: &start, count: 2, at: 0)) == 2 && start == [0x1f, 0x8b]
    let plain = PlainInput(source)
    input = isGzip ? try InflatedInput(plain) : plain
    if keepsHeaders { input.kept = Buffer(capacity: 4 << 20) }
    guard archive_read_append_filter(handle, ARCHIVE_FILTER_NONE) == ARCHIVE_OK,
      archive_read_support_format_tar(handle) == ARCHIVE_OK, input.open(handle)
    else { throw failure() }
  }

  deinit { archive_read_free(handle) }

  private func failure() -> Failure {
    if let found = input.failure { return found }
    return Failure(libarchive: handle)
  }

  /// Runs a call that may read headers, or the map of a sparse file.
  private func bounded(_ body: () -> Int32) -> Int32 {
    input.left = Self.headerLimit
    defer { input.left = .max }
    return body()
  }

  private var hasEntry = false

  /// The next entry; nil at the end. Any error ends the reading: a fatal one would be repeated for ever, and what
  /// comes after a header that is damaged may be another file's data.
  public func next() throws(Failure) -> Entry? {
    var found: OpaquePointer?
    // The data of the one before may be long.
    if hasEntry, archive_read_data_skip(handle) < ARCHIVE_WARN { throw failure() }
    hasEntry = true
    input.forget(before: position)
    switch bounded({ archive_read_next_header(handle, &found) }) {
    case ARCHIVE_OK, ARCHIVE_WARN: return Self.entry(found!)
    case ARCHIVE_EOF: return nil
    default: throw failure()
    }
  }

  // MARK: - What libarchive passes over

  /// What stands between the beginning of the last header that was read and what comes next.
  private var region: UnsafeRawBufferPointer? {
    input.kept(archive_read_header_position(handle)..<max(archive_read_header_position(handle), position))
  }
  private var position: Int64 { archive_filter_bytes(handle, 0) }

  /// What the headers of the entry just read say beside. Only before its data is read.
  public func headers(owners: OwnerNames) throws(Failure) -> ForeignHeaders {
    guard let region else { throw Failure(message: "the headers of an entry cannot be read again") }
    return ForeignHeaders(region, owners: owners)
  }

  /// After the last entry: whether the archive says that it ends here. What follows is read to its end.
  public func checkEnd() throws(Failure) -> Bool {
    let hasMark = region.map { $0.count >= TarHeader.blockSize && $0.allSatisfy { $0 == 0 } } ?? false
    guard input.readRest() else { throw failure() }
    return hasMark
  }

  // MARK: - Data

  /// Calls `body` with the data of an entry of so many bytes, holes as zeros, also one at the end.
  public func data<E: Error>(
    size: Int64, _ body: (UnsafeRawBufferPointer) throws(E) -> Void
  ) throws(Failure) -> Result<Void, E> {
    var position: Int64 = 0
    let zeros = Bytes(repeating: 0, count: 1 << 16)
    func fill(to end: Int64) throws(E) {
      while position < end {
        let count = Int(min(Int64(zeros.count), end - position))
        var result: Result<Void, E> = .success(())
        zeros.withUnsafeBytes { all in
          do throws(E) { try body(UnsafeRawBufferPointer(rebasing: all[..<count])) } catch { result = .failure(error) }
        }
        try result.get()
        position += Int64(count)
      }
    }
    let result: Result<Void, E> = try blocks(size: size) { (offset, bytes) throws(E) in
      try fill(to: offset)
      try body(bytes)
      position += Int64(bytes.count)
    }
    guard case .success = result else { return result }
    do throws(E) { try fill(to: size) } catch { return .failure(error) }
    return .success(())
  }

  /// Calls `body` with what is there of the data of an entry of so many bytes, in order, each piece with its place.
  /// What lies between is a hole.
  public func blocks<E: Error>(
    size: Int64, _ body: (Int64, UnsafeRawBufferPointer) throws(E) -> Void
  ) throws(Failure) -> Result<Void, E> {
    var position: Int64 = 0
    while true {
      var start: UnsafeRawPointer?
      var count = 0
      var offset: Int64 = 0
      let code = bounded { archive_read_data_block(handle, &start, &count, &offset) }
      guard code == ARCHIVE_OK || code == ARCHIVE_WARN || code == ARCHIVE_EOF else { throw failure() }
      if code == ARCHIVE_EOF { return .success(()) }
      guard offset >= position, offset <= size, Int64(count) <= size - offset else {
        throw Failure(message: "data of an entry lies outside it")
      }
      if let start, count > 0 {
        do throws(E) { try body(offset, UnsafeRawBufferPointer(start: start, count: count)) } catch {
          return .failure(error)
        }
        position = offset + Int64(count)
      }
      input.forget(before: self.position)
    }
  }

  /// Reads the entry's data for the sake of reading it; gives its bytes, holes not counted, which may be endless.
  public func skipData() throws(Failure) -> Int64 {
    var total: Int64 = 0
    while true {
      var start: UnsafeRawPointer?
      var count = 0
      var offset: Int64 = 0
      switch bounded({ archive_read_data_block(handle, &start, &count, &offset) }) {
      case ARCHIVE_OK, ARCHIVE_WARN: total += Int64(count)
      case ARCHIVE_EOF: return total
      default: throw failure()
      }
    }
  }

  private static func bytes(_ text: UnsafePointer<CChar>?) -> Bytes { text.map { Bytes(cString: $0) } ?? [] }

  private static func entry(_ e: OpaquePointer) -> Entry {
    var entry = Entry()
    entry.path = bytes(archive_entry_pathname(e))
    entry.kind = FileKind(archiveType: UInt32(archive_entry_filetype(e)))
    entry.mode = UInt16(truncatingIfNeeded: archive_entry_perm(e))
    entry.uid = archive_entry_uid(e)
    entry.gid = archive_entry_gid(e)
    entry.userName = bytes(archive_entry_uname(e))
    entry.groupName = bytes(archive_entry_gname(e))
    entry.size = archive_entry_size(e)
    entry.modified = Timestamp(
      seconds: Int64(archive_entry_mtime(e)), nanoseconds: Int32(truncatingIfNeeded: archive_entry_mtime_nsec(e)))
    entry.linkTarget = bytes(archive_entry_symlink(e))
    if let link = archive_entry_hardlink(e) { entry.hardLink = Bytes(cString: link) }
    entry.major = UInt32(truncatingIfNeeded: archive_entry_rdevmajor(e))
    entry.minor = UInt32(truncatingIfNeeded: archive_entry_rdevminor(e))
    return entry
  }
}

extension FileKind {
  fileprivate init(archiveType: UInt32) {
    switch archiveType {
    case 0o040000: self = .directory
    case 0o120000: self = .symlink
    case 0o010000: self = .fifo
    case 0o020000: self = .characterDevice
    case 0o060000: self = .blockDevice
    default: self = .file
    }
  }
}
