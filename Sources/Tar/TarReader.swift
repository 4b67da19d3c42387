/// Parses tar headers that this program wrote, strictly: what another reader could understand differently is an error.
import Glibc
import Posix

public struct TarEntry: Sendable {
  public var header = TarHeader()
  /// Where the entry's first header begins, in the bytes given.
  public var start = 0
  /// Where its data begins.
  public var data = 0
}

public struct TarReader {
  public enum Failure: Error, Equatable {
    case malformed(offset: Int, String)
    /// The bytes end within headers.
    case cutShort
  }

  private let bytes: UnsafeRawBufferPointer
  private var position: Int

  /// Reads headers in `bytes` from `offset` on.
  public init(_ bytes: UnsafeRawBufferPointer, from offset: Int = 0) {
    self.bytes = bytes
    position = offset
  }

  /// The next entry; its data may reach beyond the bytes. nil at their end or at an archive's end.
  /// Global headers are passed over; their comments, one behind the other, go to `globalComment`.
  public private(set) var globalComment = Bytes()
  public private(set) var sawEnd = false

  public mutating func next() throws(Failure) -> TarEntry? {
    var entry = TarEntry()
    var longName: Bytes?
    var longLink: Bytes?
    var pax: [(key: Bytes, value: Bytes)] = []
    var isInside = false
    entry.start = position
    while true {
      if position >= bytes.count {
        if isInside { throw .cutShort }
        return nil
      }
      guard bytes.count - position >= 512 else { throw .cutShort }
      let block = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + 512)])
      if block[0] == 0, block.allSatisfy({ $0 == 0 }) {
        if isInside { throw malformed("headers without an entry") }
        guard bytes.count - position == 1024, bytes[position...].allSatisfy({ $0 == 0 }) else {
          throw malformed("the mark of an archive's end in its middle")
        }
        position = bytes.count
        sawEnd = true
        return nil
      }
      try checkSum(block)
      let size = try number(block, 124, 12)
      let type = block[156]
      switch type {
      case UInt8(ascii: "L"): longName = try special(size, terminated: true)
      case UInt8(ascii: "K"): longLink = try special(size, terminated: true)
      case UInt8(ascii: "x"): pax = try records(special(size, terminated: false))
      case UInt8(ascii: "g"):
        globalComment += try records(special(size, terminated: false)).first { $0.key == Bytes("comment") }?.value ?? []
        entry.start = position
        continue
      default:
        try fill(&entry.header, block, size)
        if let longName { entry.header.path = longName }
        if let longLink { entry.header.linkTarget = longLink }
        position += 512
        if entry.header.type == .gnuSparse { try readSparse(&entry.header, block) }
        try apply(pax, &entry.header)
        entry.data = position
        let padded = (Int64(entry.header.size) + 511) / 512 * 512
        position = padded > Int64(bytes.count - position) ? bytes.count : position + Int(padded)
        return entry
      }
      isInside = true
    }
  }

  private func malformed(_ what: String) -> Failure { .malformed(offset: position, what) }

  private func checkSum(_ block: UnsafeRawBufferPointer) throws(Failure) {
    // All bytes in a loop without a branch, which the compiler makes wide; then blanks for the sum's own bytes.
    var bytes: UInt32 = 0
    for index in 0..<512 { bytes &+= UInt32(block[index]) }
    for index in 148..<156 { bytes = bytes &- UInt32(block[index]) &+ 32 }
    let sum = Int64(bytes)
    guard try number(block, 148, 8) == sum else { throw malformed("a header with a wrong checksum") }
  }

  private func number(_ block: UnsafeRawBufferPointer, _ at: Int, _ width: Int) throws(Failure) -> Int64 {
    if block[at] == 0x80 || block[at] == 0xff {
      var value: Int64 = block[at] == 0xff ? -1 : 0
      for index in (at + 1)..<(at + width) {
        let (high, isTooLarge) = value.multipliedReportingOverflow(by: 256)
        guard !isTooLarge else { throw malformed("a number that is too large") }
        value = high | Int64(block[index])
      }
      return value
    }
    var value: Int64 = 0
    var index = at
    while index < at + width, block[index] != 0, block[index] != 32 {
      guard (48...55).contains(block[index]) else { throw malformed("a number that is none") }
      value = value << 3 | Int64(block[index] - 48)
      index += 1
    }
    return value
  }

  /// The data of an `L`, `K`, `x` or `g` header.
  private mutating func special(_ size: Int64, terminated: Bool) throws(Failure) -> Bytes {
    guard size > 0, size <= Int64(bytes.count) else { throw malformed("a header with an impossible size") }
    let start = position + 512
    let length = Int(size)
    let end = start + TarHeader.padded(length)
    guard end <= bytes.count else { throw .cutShort }
    var value = Bytes(bytes[start..<(start + length)])
    if terminated {
      guard value.last == 0, !value.dropLast().contains(0) else { throw malformed("a long name that does not end") }
      value.removeLast()
    }
    position = end
    return value
  }

  private func records(_ data: Bytes) throws(Failure) -> [(key: Bytes, value: Bytes)] {
    var result: [(Bytes, Bytes)] = []
    var at = 0
    while at < data.count {
      var length = 0
      var digit = at
      while digit < data.count, data[digit] != 32 {
        guard (48...57).contains(data[digit]), length < 1 << 32 else {
          throw malformed("a pax record without a length")
        }
        length = length * 10 + Int(data[digit] - 48)
        digit += 1
      }
      guard length > digit - at + 2, at + length <= data.count, data[at + length - 1] == 10 else {
        throw malformed("a pax record with a wrong length")
      }
      let record = data[(digit + 1)..<(at + length - 1)]
      guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else { throw malformed("a pax record without '='") }
      result.append((Bytes(record[..<equals]), Bytes(record[(equals + 1)...])))
      at += length
    }
    return result
  }

  private func fill(_ header: inout TarHeader, _ block: UnsafeRawBufferPointer, _ size: Int64) throws(Failure) {
    guard let type = TarType(rawValue: block[156]) else { throw malformed("an entry of unknown type") }
    guard size >= 0 else { throw malformed("a negative size") }
    func text(_ at: Int, _ width: Int) -> Bytes { Bytes(block[at..<(at + width)].prefix { $0 != 0 }) }
    header.type = type
    header.path = text(0, 100)
    let prefix = text(345, 155)
    if type != .gnuSparse, !prefix.isEmpty { header.path = prefix + [47] + header.path }
    header.size = size
    let mode = try number(block, 100, 8)
    let uid = try number(block, 108, 8)
    let gid = try number(block, 116, 8)
    guard mode >= 0, uid >= 0, gid >= 0, uid <= Int64(UInt32.max), gid <= Int64(UInt32.max) else {
      throw malformed("an owner or mode out of range")
    }
    header.mode = UInt16(mode & 0o7777)
    header.uid = UInt32(uid)
    header.gid = UInt32(gid)
    header.modified = Timestamp(seconds: try number(block, 136, 12))
    header.linkTarget = text(157, 100)
    header.userName = text(265, 32)
    header.groupName = text(297, 32)
    if type == .characterDevice || type == .blockDevice {
      header.major = UInt32(truncatingIfNeeded: try number(block, 329, 8))
      header.minor = UInt32(truncatingIfNeeded: try number(block, 337, 8))
    }
  }

  private mutating func readSparse(_ header: inout TarHeader, _ first: UnsafeRawBufferPointer) throws(Failure) {
    header.realSize = try number(first, 483, 12)
    try segments(first, 386, 4, &header)
    var more = first[482] != 0
    while more {
      guard bytes.count - position >= 512 else { throw .cutShort }
      let block = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + 512)])
      position += 512
      try segments(block, 0, 21, &header)
      more = block[504] != 0
    }
  }

  private func segments(_ block: UnsafeRawBufferPointer, _ at: Int, _ count: Int, _ header: inout TarHeader)
    throws(Failure)
  {
    for index in 0..<count {
      let offset = try number(block, at + 24 * index, 12)
      let length = try number(block, at + 24 * index + 12, 12)
      if length == 0 { continue }
      guard offset >= header.segments.last?.upperBound ?? 0, length > 0, offset <= header.realSize,
        length <= header.realSize - offset
      else {
        throw malformed("a sparse map out of order")
      }
      header.segments.append(offset..<(offset + length))
    }
  }

  private func apply(_ pax: [(key: Bytes, value: Bytes)], _ header: inout TarHeader) throws(Failure) {
    for (key, value) in pax {
      switch key.shown {
      case "mtime":
        guard let time = Self.time(value) else { throw malformed("a time that is none") }
        header.modified = time
      case "size", "uid", "gid":
        // They repeat what the header says: a reader that ignores them must not read differently.
        let told = key == Bytes("size") ? header.size : Int64(key == Bytes("uid") ? header.uid : header.gid)
        guard Int64(value.shown) == told else { throw malformed("a pax \(key.shown) that is not the header's") }
      case "SCHILY.acl.access", "SCHILY.acl.default":
        guard let acl = ACLText.attribute(text: value, isDefault: key == Bytes("SCHILY.acl.default")) else {
          throw malformed("an ACL that cannot be read")
        }
        header.attributes.append(acl)
      case "GNU.dumpdir": header.dumpdir = value
      case "comment": header.comment = value
      default:
        let prefix = Bytes("SCHILY.xattr.")
        if key.starts(with: prefix) {
          header.attributes.append(Attribute(name: Self.unescapedKey(Bytes(key.dropFirst(prefix.count))), value: value))
        }
      }
    }
    header.attributes.sort { $0.name.lexicographicallyPrecedes($1.name) }
  }

  private static func unescapedKey(_ key: Bytes) -> Bytes {
    var result = Bytes()
    var rest = key[...]
    while let byte = rest.first {
      if rest.starts(with: Bytes("%3D")) {
        result.append(UInt8(ascii: "="))
        rest = rest.dropFirst(3)
      } else if rest.starts(with: Bytes("%25")) {
        result.append(UInt8(ascii: "%"))
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
        rest = rest.dropFirst()
      }
    }
    return result
  }

  static func time(_ text: Bytes) -> Timestamp? {
    // With its sign, since there is one more number below zero than above.
    let isNegative = text.first == UInt8(ascii: "-")
    let parts = (isNegative ? text.dropFirst() : text[...]).split(
      separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), parts[0].allSatisfy({ (48...57).contains($0) }),
      let whole = Int64((isNegative ? "-" : "") + String(decoding: parts[0], as: UTF8.self))
    else { return nil }
    var nanoseconds: Int32 = 0
    if parts.count == 2 {
      guard (1...9).contains(parts[1].count), parts[1].allSatisfy({ (48...57).contains($0) }) else { return nil }
      for index in 0..<9 {
        nanoseconds =
          nanoseconds * 10 + (index < parts[1].count ? Int32(parts[1][parts[1].startIndex + index] - 48) : 0)
      }
    }
    guard isNegative, nanoseconds > 0 else { return Timestamp(seconds: whole, nanoseconds: nanoseconds) }
    guard whole > .min else { return nil }
    return Timestamp(seconds: whole - 1, nanoseconds: 1_000_000_000 - nanoseconds)
  }
}
