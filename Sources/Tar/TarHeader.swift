/// Writes the headers of one tar entry: GNU `L` and `K` for long names, a pax `x` for what a ustar header cannot
/// hold, and the ustar header itself, in this order (POSIX.1-2001 pax, tar(5) of libarchive, GNU tar's "Basic tar").
///
/// Names never go into pax records: libarchive normalizes those to NFC in a UTF-8 locale, so that two files become
/// one, and GNU tar recodes them in others. Raw bytes in the header fields mean the same to every reader.
import Glibc
import Posix

public enum TarType: UInt8, Sendable {
  case file = 0x30
  case hardLink, symlink, characterDevice, blockDevice, directory, fifo
  case gnuSparse = 0x53  // 'S'
}

public struct TarHeader: Sendable {
  public static let blockSize = 512

  public var path: Bytes = []
  public var type = TarType.file
  public var mode: UInt16 = 0
  public var uid: UInt32 = 0
  public var gid: UInt32 = 0
  public var userName: Bytes = []
  public var groupName: Bytes = []
  /// Bytes that follow, before padding.
  public var size: Int64 = 0
  public var modified = Timestamp(seconds: 0)
  public var linkTarget: Bytes = []
  public var major: UInt32 = 0
  public var minor: UInt32 = 0
  public var attributes: [Attribute] = []
  /// A pax `GNU.dumpdir` record's value.
  public var dumpdir: Bytes = []
  /// A pax `comment` record, which every reader passes over in silence.
  public var comment: Bytes = []
  /// For `gnuSparse`: the data's segments, and the file's size with its holes.
  public var segments: [Range<Int64>] = []
  public var realSize: Int64 = 0

  private static let gnuMagic = Bytes("ustar  ")[...]
  private static let posixMagic = Bytes("ustar\u{0}00")[...]

  public init() {}

  /// The room taken by a tar entry's data.
  @inline(__always)
  public static func padded(_ size: Int) -> Int { (size + blockSize - 1) & ~(blockSize - 1) }

  /// About how many bytes its headers take, at the least: what tells of it in a manifest is not much more.
  public var roomNeeded: Int {
    attributes.reduce(1024 + 2 * path.count + linkTarget.count + dumpdir.count + comment.count) {
      $0 + 512 + $1.name.count + $1.value.count
    }
  }

  public func append(to out: Buffer) {
    let isOldGNU = type == .gnuSparse
    var name = path[...]
    var prefix = Bytes()[...]
    if path.count > 100 {
      if !isOldGNU, let slash = Self.prefixSplit(path) {
        prefix = path[..<slash]
        name = path[(slash + 1)...]
      } else {
        Self.appendLong(path, type: UInt8(ascii: "L"), to: out)
        name = path[..<100]
      }
    }
    if linkTarget.count > 100 { Self.appendLong(linkTarget, type: UInt8(ascii: "K"), to: out) }
    appendPax(to: out)

    out.reserve(512)
    let block = out.start + out.count
    memset(block, 0, 512)
    Self.put(name, block, 0)
    Self.put(UInt64(mode), block, 100, 8)
    Self.put(UInt64(uid), block, 108, 8)
    Self.put(UInt64(gid), block, 116, 8)
    Self.put(UInt64(size), block, 124, 12)
    if modified.seconds < 0 {
      Self.putNegative(modified.seconds, block, 136, 12)
    } else {
      Self.put(UInt64(modified.seconds), block, 136, 12)
    }
    block.storeBytes(of: type.rawValue, toByteOffset: 156, as: UInt8.self)
    Self.put(linkTarget.prefix(100), block, 157)
    Self.put(isOldGNU ? Self.gnuMagic : Self.posixMagic, block, 257)
    Self.put(userName.prefix(31), block, 265)
    Self.put(groupName.prefix(31), block, 297)
    if type == .characterDevice || type == .blockDevice {
      Self.put(UInt64(major), block, 329, 8)
      Self.put(UInt64(minor), block, 337, 8)
    }
    Self.put(prefix, block, 345)
    if isOldGNU { putSparseMap(block) }
    Self.putChecksum(block)
    out.count += 512
    if isOldGNU { appendSparseExtensions(to: out) }
  }

  /// A global pax header (`g`) with one `comment`: what the archive as a whole says of itself. A long one goes on in
  /// further headers, since libarchive takes none above 1 MiB.
  public static func appendGlobalComment(_ text: Bytes, to out: Buffer) {
    var rest = text[...]
    repeat {
      let records = Buffer()
      appendRecord("comment", Bytes(rest.prefix(commentLimit)), to: records)
      appendSpecial(Bytes("pax_global_header"), type: UInt8(ascii: "g"), records.bytes, to: out)
      rest = rest.dropFirst(commentLimit)
    } while !rest.isEmpty
  }
  private static let commentLimit = 900_000

  /// Two blocks of zeros: the end of an archive.
  public static func appendEnd(to out: Buffer) { out.appendZeros(2 * blockSize) }

  /// How a gigantic number stands in a field: base 256, the first byte 0x80.
  private static func put(_ value: UInt64, _ block: UnsafeMutableRawPointer, _ at: Int, _ width: Int) {
    let digits = width - 1
    if value >> UInt64(3 * digits) == 0 {
      var rest = value
      for index in stride(from: digits - 1, through: 0, by: -1) {
        block.storeBytes(of: UInt8(rest & 7) &+ 48, toByteOffset: at + index, as: UInt8.self)
        rest >>= 3
      }
      return
    }
    var rest = value
    for index in stride(from: width - 1, through: 1, by: -1) {
      block.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: at + index, as: UInt8.self)
      rest >>= 8
    }
    block.storeBytes(of: 0x80, toByteOffset: at, as: UInt8.self)
  }

  private static func putNegative(_ value: Int64, _ block: UnsafeMutableRawPointer, _ at: Int, _ width: Int) {
    var rest = value
    for index in stride(from: width - 1, through: 0, by: -1) {
      block.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: at + index, as: UInt8.self)
      rest >>= 8
    }
  }

  private static func put(_ bytes: ArraySlice<UInt8>, _ block: UnsafeMutableRawPointer, _ at: Int) {
    bytes.withUnsafeBytes { if let base = $0.baseAddress { memcpy(block + at, base, $0.count) } }
  }

  private static func putChecksum(_ block: UnsafeMutableRawPointer) {
    memset(block + 148, 0x20, 8)
    let bytes = block.assumingMemoryBound(to: UInt8.self)
    var sum: UInt32 = 0
    for index in 0..<512 { sum &+= UInt32(bytes[index]) }
    for index in stride(from: 5, through: 0, by: -1) {
      bytes[148 + index] = UInt8(truncatingIfNeeded: sum & 7) &+ 48
      sum >>= 3
    }
    bytes[154] = 0
  }

  /// Where a path can be cut into ustar's prefix (155) and name (100).
  private static func prefixSplit(_ path: Bytes) -> Int? {
    guard path.count <= 256 else { return nil }
    let slash = UInt8(ascii: "/")
    var index = max(1, path.count - 101)
    while index < min(path.count - 1, 156) {
      if path[index] == slash { return index }
      index += 1
    }
    return nil
  }

  /// A header of its own whose data belongs to the entry after it.
  private static func appendSpecial(
    _ name: Bytes, type: UInt8, _ data: UnsafeRawBufferPointer, to out: Buffer
  ) {
    out.reserve(512)
    let block = out.start + out.count
    memset(block, 0, 512)
    put(name[...], block, 0)
    put(0o644, block, 100, 8)
    put(0, block, 108, 8)
    put(0, block, 116, 8)
    put(UInt64(data.count), block, 124, 12)
    put(0, block, 136, 12)
    block.storeBytes(of: type, toByteOffset: 156, as: UInt8.self)
    put(
      type == UInt8(ascii: "L") || type == UInt8(ascii: "K") ? gnuMagic : posixMagic,
      block, 257)
    putChecksum(block)
    out.count += 512
    out.append(data.baseAddress!, data.count)
    out.appendZeros(padded(data.count) - data.count)
  }

  private static func appendLong(_ name: Bytes, type: UInt8, to out: Buffer) {
    (name + [0]).withUnsafeBytes { appendSpecial(Bytes("././@LongLink"), type: type, $0, to: out) }
  }
}

// MARK: - pax records

extension TarHeader {
  private var needsPaxTime: Bool { modified.nanoseconds != 0 || modified.seconds < 0 || modified.seconds >> 33 != 0 }

  private func appendPax(to out: Buffer) {
    let needsIDs = uid >> 21 != 0 || gid >> 21 != 0
    let needsSize = size >> 33 != 0
    guard needsPaxTime || needsIDs || needsSize || !attributes.isEmpty || !dumpdir.isEmpty || !comment.isEmpty else {
      return
    }
    let records = Buffer(capacity: 512)
    if needsPaxTime { Self.appendRecord("mtime", Self.decimal(modified), to: records) }
    if uid >> 21 != 0 { Self.appendRecord("uid", Bytes(String(uid).utf8), to: records) }
    if gid >> 21 != 0 { Self.appendRecord("gid", Bytes(String(gid).utf8), to: records) }
    if needsSize { Self.appendRecord("size", Bytes(String(size).utf8), to: records) }
    for attribute in attributes {
      if let acl = ACLText(attribute) {
        Self.appendRecord(acl.isDefault ? "SCHILY.acl.default" : "SCHILY.acl.access", acl.text, to: records)
      } else {
        Self.appendRecord(Bytes("SCHILY.xattr.") + Self.escapedKey(attribute.name), attribute.value, to: records)
      }
    }
    if !dumpdir.isEmpty { Self.appendRecord("GNU.dumpdir", dumpdir, to: records) }
    if !comment.isEmpty { Self.appendRecord("comment", comment, to: records) }
    Self.appendSpecial(Bytes("PaxHeaders/x"), type: UInt8(ascii: "x"), records.bytes, to: out)
  }

  /// As GNU tar writes attribute names that hold what ends a keyword.
  private static func escapedKey(_ name: Bytes) -> Bytes {
    guard name.contains(where: { $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: "%") }) else { return name }
    return name.flatMap { byte -> Bytes in
      switch byte {
      case UInt8(ascii: "="): Bytes("%3D")
      case UInt8(ascii: "%"): Bytes("%25")
      default: [byte]
      }
    }
  }

  private static func appendRecord(_ key: StaticString, _ value: Bytes, to out: Buffer) {
    appendRecord(Bytes(key), value, to: out)
  }

  /// `LENGTH key=value\n`, LENGTH counting itself.
  private static func appendRecord(_ key: Bytes, _ value: Bytes, to out: Buffer) {
    let rest = key.count + value.count + 3
    var length = rest + String(rest).utf8.count
    length = rest + String(length).utf8.count
    out.append(decimal: UInt64(length))
    out.append(UInt8(ascii: " "))
    out.append(key)
    out.append(UInt8(ascii: "="))
    out.append(value)
    out.append(UInt8(ascii: "\n"))
  }

  /// A decimal fraction with its sign in front: -4.5 s is `-4.5`, unlike in a manifest.
  static func decimal(_ time: Timestamp) -> Bytes {
    var whole = time.seconds
    var nanoseconds = time.nanoseconds
    var text = ""
    if whole < 0, nanoseconds > 0 {
      whole += 1
      nanoseconds = 1_000_000_000 - nanoseconds
      if whole == 0 { text = "-" }
    }
    text += String(whole)
    if nanoseconds > 0 {
      let digits = String(nanoseconds)
      var fraction = String(repeating: "0", count: 9 - digits.count) + digits
      while fraction.hasSuffix("0") { fraction.removeLast() }
      text += "." + fraction
    }
    return Bytes(text.utf8)
  }
}

// MARK: - old GNU sparse entries

extension TarHeader {
  private static func putSegment(_ segment: Range<Int64>, _ block: UnsafeMutableRawPointer, _ at: Int) {
    put(UInt64(segment.lowerBound), block, at, 12)
    put(UInt64(segment.count), block, at + 12, 12)
  }

  private func putSparseMap(_ block: UnsafeMutableRawPointer) {
    for (index, segment) in segments.prefix(4).enumerated() { Self.putSegment(segment, block, 386 + 24 * index) }
    block.storeBytes(of: segments.count > 4 ? 1 : 0, toByteOffset: 482, as: UInt8.self)
    Self.put(UInt64(realSize), block, 483, 12)
  }

  private func appendSparseExtensions(to out: Buffer) {
    var rest = segments.dropFirst(4)
    while !rest.isEmpty {
      out.reserve(512)
      let block = out.start + out.count
      memset(block, 0, 512)
      for (index, segment) in rest.prefix(21).enumerated() { Self.putSegment(segment, block, 24 * index) }
      rest = rest.dropFirst(21)
      block.storeBytes(of: rest.isEmpty ? 0 : 1, toByteOffset: 504, as: UInt8.self)
      out.count += 512
    }
  }
}
