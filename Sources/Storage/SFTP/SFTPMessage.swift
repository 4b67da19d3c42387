/// The messages of the SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02), as bytes.
import Posix

enum SFTPType: UInt8 {
  case initialize = 1
  case version = 2
  case open = 3
  case close = 4
  case read = 5
  case write = 6
  case lstat = 7
  case fstat = 8
  case setstat = 9
  case fsetstat = 10
  case openFolder = 11
  case readFolder = 12
  case remove = 13
  case makeFolder = 14
  case stat = 17
  case rename = 18
  case status = 101
  case handle = 102
  case data = 103
  case name = 104
  case attributes = 105
  case extended = 200
  case extendedReply = 201
}

/// The codes of a `status` message.
enum SFTPStatus {
  static let ok: UInt32 = 0
  static let endOfFile: UInt32 = 1
  static let noSuchFile: UInt32 = 2
  static let permissionDenied: UInt32 = 3
  static let failure: UInt32 = 4
  static let unsupported: UInt32 = 8
}

/// The flags of `open`.
struct SFTPOpenFlags: OptionSet {
  let rawValue: UInt32
  static let read = SFTPOpenFlags(rawValue: 1)
  static let write = SFTPOpenFlags(rawValue: 2)
  static let create = SFTPOpenFlags(rawValue: 8)
  static let truncate = SFTPOpenFlags(rawValue: 16)
  static let exclusive = SFTPOpenFlags(rawValue: 32)
}

/// What a server tells of a file, as far as a store wants it.
struct SFTPAttributes {
  var size: Int64?
  var permissions: UInt32?
  /// Seconds since 1970, by the server's clock.
  var modified: UInt32?

  /// The type is in the permissions' high bits, as in stat(2).
  var kind: StoreItem.Kind {
    switch (permissions ?? 0) & 0o170000 {
    case 0o100000: .file
    case 0o040000: .folder
    default: .other
    }
  }

  func item(_ name: Bytes) -> StoreItem {
    StoreItem(
      name: name, kind: kind, size: kind == .file ? size ?? 0 : 0, modified: Timestamp(seconds: Int64(modified ?? 0)))
  }
}

/// Builds a message.
struct SFTPBody {
  /// The message's length, which is not known yet, its type, and what was added.
  private var bytes: Bytes

  init(_ type: SFTPType) { bytes = [0, 0, 0, 0, type.rawValue] }

  /// The whole message.
  var message: Bytes {
    mutating get {
      let length = UInt32(truncatingIfNeeded: bytes.count - 4)
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: length.bigEndian, as: UInt32.self) }
      return bytes
    }
  }

  mutating func add(_ value: UInt8) { bytes.append(value) }
  mutating func add(_ value: UInt32) { withUnsafeBytes(of: value.bigEndian) { bytes += $0 } }
  mutating func add(_ value: UInt64) { withUnsafeBytes(of: value.bigEndian) { bytes += $0 } }
  mutating func add(_ text: Bytes) {
    add(UInt32(truncatingIfNeeded: text.count))
    bytes += text
  }
  mutating func add(data: UnsafeRawBufferPointer) {
    bytes.reserveCapacity(bytes.count + 4 + data.count)
    add(UInt32(truncatingIfNeeded: data.count))
    bytes += data
  }

  /// Attributes of which only a size or only permissions are set.
  mutating func add(size: Int64) {
    add(UInt32(1))
    add(UInt64(bitPattern: size))
  }
  mutating func add(permissions: UInt32) {
    add(UInt32(4))
    add(permissions)
  }
  mutating func addNoAttributes() { add(UInt32(0)) }
}

/// Reads a message's body, which a server wrote and which may be anything. nil: it is not what it should be.
struct SFTPParser {
  private let bytes: Bytes
  private(set) var position = 0

  init(_ bytes: Bytes) { self.bytes = bytes }

  private var left: Int { bytes.count - position }
  var isAtEnd: Bool { left == 0 }

  mutating func uint32() -> UInt32? {
    guard left >= 4 else { return nil }
    defer { position += 4 }
    return bytes[position..<(position + 4)].reduce(0) { $0 << 8 | UInt32($1) }
  }

  mutating func uint64() -> UInt64? {
    guard let high = uint32(), let low = uint32() else { return nil }
    return UInt64(high) << 32 | UInt64(low)
  }

  /// Where a string stands; it is not copied.
  mutating func range() -> Range<Int>? {
    guard let length = uint32(), left >= Int(length) else { return nil }
    defer { position += Int(length) }
    return position..<(position + Int(length))
  }

  mutating func string() -> Bytes? { range().map { Bytes(bytes[$0]) } }

  mutating func attributes() -> SFTPAttributes? {
    var result = SFTPAttributes()
    guard let flags = uint32() else { return nil }
    if flags & 1 != 0 {
      guard let size = uint64(), size <= UInt64(Int64.max) else { return nil }
      result.size = Int64(size)
    }
    if flags & 2 != 0 { guard uint64() != nil else { return nil } }
    if flags & 4 != 0 {
      guard let permissions = uint32() else { return nil }
      result.permissions = permissions
    }
    if flags & 8 != 0 {
      guard uint32() != nil, let modified = uint32() else { return nil }
      result.modified = modified
    }
    if flags & 0x8000_0000 != 0 {
      guard let count = uint32() else { return nil }
      for _ in 0..<count { guard range() != nil, range() != nil else { return nil } }
    }
    return result
  }
}
