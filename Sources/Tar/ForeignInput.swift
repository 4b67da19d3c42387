/// What libarchive reads a tar from, front to back: a file's bytes as they are, or inflated. It is told how much it may
/// read, since it takes whatever an archive says into memory.
import CArchive
import Posix
import Storage

class ForeignInput {
  /// Bytes that may be read before reading fails.
  final var left = Int64.max
  final var failure: ForeignArchive.Failure?
  /// The last bytes that were read, where they are wanted again; and how many came before the next ones.
  final var kept: Buffer?
  private(set) final var position: Int64 = 0

  /// The next bytes, which stay until the next call; empty at the end, nil where they cannot be read.
  func read() -> UnsafeRawBufferPointer? { nil }
  /// Passes over so many bytes without reading them; gives how many it were.
  func skip(_ count: Int64) -> Int64 { 0 }
  /// Reads to the end, for what is checked there. False where that cannot be read.
  func readRest() -> Bool { true }

  /// Has `handle` read from here. Must stay for as long as that.
  final func open(_ handle: OpaquePointer) -> Bool {
    archive_read_set_read_callback(
      handle,
      { _, input, start in
        guard let input, let bytes = Unmanaged<ForeignInput>.fromOpaque(input).takeUnretainedValue().next() else {
          return -1
        }
        start?.pointee = bytes.baseAddress
        return bytes.count
      }) == ARCHIVE_OK
      && archive_read_set_skip_callback(
        handle,
        { _, input, count in
          guard let input else { return 0 }
          return Unmanaged<ForeignInput>.fromOpaque(input).takeUnretainedValue().pass(count)
        }) == ARCHIVE_OK
      && archive_read_set_callback_data(handle, Unmanaged.passUnretained(self).toOpaque()) == ARCHIVE_OK
      && archive_read_open1(handle) == ARCHIVE_OK
  }

  private final func next() -> UnsafeRawBufferPointer? {
    guard left > 0 else {
      failure = ForeignArchive.Failure(message: "the headers of an entry, or its list of holes, are too long")
      return nil
    }
    guard let bytes = read() else { return nil }
    if left < .max { left -= Int64(bytes.count) }
    position += Int64(bytes.count)
    if let kept, let start = bytes.baseAddress { kept.append(start, bytes.count) }
    return bytes
  }

  private final func pass(_ count: Int64) -> Int64 {
    let passed = skip(count)
    position += passed
    if passed > 0 { kept?.count = 0 }
    return passed
  }

  /// What was kept of this stretch; nil where it is not all there.
  final func kept(_ stretch: Range<Int64>) -> UnsafeRawBufferPointer? {
    guard let kept else { return nil }
    let first = position - Int64(kept.count)
    guard stretch.lowerBound >= first, stretch.upperBound <= position else { return nil }
    return UnsafeRawBufferPointer(
      rebasing: kept.bytes[Int(stretch.lowerBound - first)..<Int(stretch.upperBound - first)])
  }

  /// Nothing before `offset` is wanted again.
  final func forget(before offset: Int64) {
    guard let kept, kept.count >= Self.keptLimit else { return }
    let rest = Int(max(0, min(Int64(kept.count), position - offset)))
    let text = Bytes(kept.bytes.suffix(rest))
    kept.count = 0
    kept.append(text)
  }
  private static let keptLimit = 2 << 20
}

final class PlainInput: ForeignInput {
  private let source: any ByteSource
  private let buffer = UnsafeMutableRawPointer.allocate(byteCount: PlainInput.length, alignment: 64)
  private var offset: Int64 = 0
  private static let length = 1 << 18

  init(_ source: any ByteSource) { self.source = source }
  deinit { buffer.deallocate() }

  override func read() -> UnsafeRawBufferPointer? {
    do throws(StoreError) {
      let count = try source.read(into: buffer, count: Self.length, at: offset)
      offset += Int64(count)
      return UnsafeRawBufferPointer(start: buffer, count: count)
    } catch {
      failure = ForeignArchive.Failure(message: "cannot be read", cause: error)
      return nil
    }
  }

  override func skip(_ count: Int64) -> Int64 {
    let (sum, isTooFar) = offset.addingReportingOverflow(count)
    guard count > 0, !isTooFar else { return 0 }
    offset = sum
    return count
  }
}

/// By libarchive's own gzip filter, so that what is read of a damaged file is what bsdtar reads.
final class InflatedInput: ForeignInput {
  private let handle = archive_read_new()!
  private let compressed: ForeignInput
  private var isAtEnd = false

  init(_ compressed: ForeignInput) throws(ForeignArchive.Failure) {
    self.compressed = compressed
    super.init()
    guard archive_read_append_filter(handle, ARCHIVE_FILTER_GZIP) == ARCHIVE_OK,
      archive_read_support_format_raw(handle) == ARCHIVE_OK, archive_read_support_format_empty(handle) == ARCHIVE_OK,
      compressed.open(handle)
    else { throw compressed.failure ?? ForeignArchive.Failure(libarchive: handle) }
    var entry: OpaquePointer?
    switch archive_read_next_header(handle, &entry) {
    case ARCHIVE_OK, ARCHIVE_WARN: break
    case ARCHIVE_EOF: isAtEnd = true
    default: throw compressed.failure ?? ForeignArchive.Failure(libarchive: handle)
    }
  }

  deinit { archive_read_free(handle) }

  override func readRest() -> Bool {
    while let bytes = read() { if bytes.isEmpty { return true } }
    return false
  }

  override func read() -> UnsafeRawBufferPointer? {
    var start: UnsafeRawPointer?
    var count = 0
    var offset: Int64 = 0
    while !isAtEnd {
      switch archive_read_data_block(handle, &start, &count, &offset) {
      case ARCHIVE_OK, ARCHIVE_WARN: if count > 0 { return UnsafeRawBufferPointer(start: start, count: count) }
      case ARCHIVE_EOF: isAtEnd = true
      default:
        failure = compressed.failure ?? ForeignArchive.Failure(libarchive: handle)
        return nil
      }
    }
    return UnsafeRawBufferPointer(start: nil, count: 0)
  }
}
