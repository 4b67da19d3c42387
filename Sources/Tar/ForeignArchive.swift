/// Reads tar archives that someone else may have written, plain or gzipped, by libarchive: its tar and gzip support
/// and nothing else, since most of its security reports lie in other formats. The locale is never set, so that names
/// stay the bytes they are.
import CArchive
import Glibc
import Posix

/// Not for use from several threads.
public final class ForeignArchive {
  public struct Entry {
    public var path: Bytes = []
    public var kind = FileKind.file
    public var mode: UInt16 = 0
    public var uid: UInt32 = 0
    public var gid: UInt32 = 0
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
  }

  private let handle = archive_read_new()!
  private let file: Descriptor

  public init(_ file: Descriptor) throws(Failure) {
    self.file = file
    guard archive_read_support_filter_gzip(handle) == ARCHIVE_OK, archive_read_support_format_tar(handle) == ARCHIVE_OK,
      archive_read_open_fd(handle, file.raw, 1 << 18) == ARCHIVE_OK
    else { throw failure() }
  }

  deinit { archive_read_free(handle) }

  private func failure() -> Failure {
    let text = archive_error_string(handle).map { String(cString: $0) } ?? "cannot be read"
    return Failure(message: text.prefix(1).lowercased() + text.dropFirst())
  }

  /// The next entry; nil at the end. Any error ends the reading: a fatal one would be repeated for ever, and what
  /// comes after a header that is damaged may be another file's data.
  public func next() throws(Failure) -> Entry? {
    var found: OpaquePointer?
    switch archive_read_next_header(handle, &found) {
    case ARCHIVE_OK, ARCHIVE_WARN: return Self.entry(found!)
    case ARCHIVE_EOF: return nil
    default: throw failure()
    }
  }

  /// Calls `body` with the entry's data, holes as zeros.
  public func data<E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> Void) throws(Failure) -> Result<Void, E> {
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    while true {
      let count = archive_read_data(handle, buffer, 1 << 18)
      if count == 0 { return .success(()) }
      guard count > 0 else { throw failure() }
      do throws(E) { try body(UnsafeRawBufferPointer(start: buffer, count: Int(count))) } catch {
        return .failure(error)
      }
    }
  }

  /// Reads the entry's data for the sake of reading it; gives its bytes, holes not counted, which may be endless.
  public func skipData() throws(Failure) -> Int64 {
    var total: Int64 = 0
    while true {
      var start: UnsafeRawPointer?
      var count = 0
      var offset: Int64 = 0
      switch archive_read_data_block(handle, &start, &count, &offset) {
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
    entry.uid = UInt32(truncatingIfNeeded: archive_entry_uid(e))
    entry.gid = UInt32(truncatingIfNeeded: archive_entry_gid(e))
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
