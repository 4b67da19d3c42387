/// What the headers of an entry say that libarchive keeps to itself: GNU tar's lists of directories, labels, attributes
/// and access lists. They are looked at where they lie, after libarchive has taken the entry for sound.
import Posix

public struct ForeignHeaders {
  /// Of the entry's own header, as tar(5) has it.
  public private(set) var type = UInt8(ascii: "0")
  /// Permissions: libarchive makes others of them where there is an access list.
  public private(set) var mode: UInt16 = 0
  /// A pax `mtime`, where there is one: libarchive takes a fraction before 1970 for one after.
  public private(set) var modified: Timestamp?
  /// Sorted by name.
  public private(set) var attributes: [Attribute] = []
  /// The value of a pax `GNU.dumpdir` record (GNU tar's manual, "Dumpdir").
  public private(set) var dumpdir: Bytes?
  /// When a volume with a label was written.
  public private(set) var labelTime: Timestamp?
  /// What the archive as a whole says of itself.
  public private(set) var globalComment = Bytes()
  /// Names in an access list that nobody has here, and lists that cannot be read.
  public private(set) var lostAccess: [Bytes] = []

  /// Of an old GNU entry the data are the list.
  public var hasDumpdirAsData: Bool { type == UInt8(ascii: "D") }
  /// The rest of a file whose beginning is in another archive.
  public var isContinuation: Bool { type == UInt8(ascii: "M") }

  /// `region`: from the first header of an entry to its data.
  init(_ region: UnsafeRawBufferPointer, owners: OwnerNames) {
    var at = 0
    while region.count - at >= 512 {
      let block = UnsafeRawBufferPointer(rebasing: region[at..<(at + 512)])
      at += 512
      type = block[156]
      switch type {
      case UInt8(ascii: "x"), UInt8(ascii: "X"), UInt8(ascii: "g"):
        let body = Self.body(block, region, &at)
        take(body, isGlobal: type == UInt8(ascii: "g"), owners)
      case UInt8(ascii: "L"), UInt8(ascii: "K"): _ = Self.body(block, region, &at)
      case UInt8(ascii: "V"):
        labelTime = Self.number(block, 136, 12).map { Timestamp(seconds: $0) }
        _ = Self.body(block, region, &at)
      default:
        mode = UInt16(truncatingIfNeeded: (Self.number(block, 100, 8) ?? 0) & 0o7777)
        attributes.sort { $0.name.lexicographicallyPrecedes($1.name) }
        return
      }
    }
  }

  private static func body(
    _ block: UnsafeRawBufferPointer, _ region: UnsafeRawBufferPointer, _ at: inout Int
  ) -> UnsafeRawBufferPointer {
    let left = region.count - at
    let size = Int(min(Int64(left), max(0, number(block, 124, 12) ?? 0)))
    let body = UnsafeRawBufferPointer(rebasing: region[at..<(at + size)])
    at += min(left, TarHeader.padded(size))
    return body
  }

  /// Octal, or base 256; nil where it is neither.
  private static func number(_ block: UnsafeRawBufferPointer, _ at: Int, _ width: Int) -> Int64? {
    if block[at] & 0x80 != 0 {
      var value: Int64 = block[at] & 0x40 != 0 ? -1 : 0
      for index in (at + 1)..<(at + width) {
        let (high, isTooLarge) = value.multipliedReportingOverflow(by: 256)
        guard !isTooLarge else { return nil }
        value = high | Int64(block[index])
      }
      return value
    }
    var value: Int64 = 0
    for byte in block[at..<(at + width)].drop(while: { $0 == 32 }) {
      guard (48...55).contains(byte) else { break }
      value = value << 3 | Int64(byte - 48)
    }
    return value
  }

  // MARK: - pax records

  private mutating func take(_ body: UnsafeRawBufferPointer, isGlobal: Bool, _ owners: OwnerNames) {
    var rest = body[...]
    while !rest.isEmpty {
      // `LENGTH key=value\n`, LENGTH counting itself.
      guard let blank = rest.firstIndex(of: 32), blank - rest.startIndex < 12,
        let length = Int(String(decoding: rest[rest.startIndex..<blank], as: UTF8.self)),
        length > blank - rest.startIndex + 2, length <= rest.count
      else { return }
      let end = rest.startIndex + length
      let record = rest[(blank + 1)..<(end - 1)]
      if let equals = record.firstIndex(of: UInt8(ascii: "=")) {
        take(Bytes(record[..<equals]), Bytes(record[(equals + 1)...]), isGlobal: isGlobal, owners)
      }
      rest = rest[end...]
    }
  }

  private mutating func take(_ key: Bytes, _ value: Bytes, isGlobal: Bool, _ owners: OwnerNames) {
    if isGlobal {
      if key == Bytes("comment") { globalComment += value }
      return
    }
    switch key {
    case Bytes("GNU.dumpdir"): dumpdir = value
    case Bytes("mtime"):
      // Nanoseconds are as fine as it gets.
      let dot = value.firstIndex(of: UInt8(ascii: ".")) ?? value.count
      modified = TarReader.time(Bytes(value.prefix(dot + 10)))
    case Bytes("SCHILY.acl.access"): addAccess(value, isDefault: false, owners)
    case Bytes("SCHILY.acl.default"): addAccess(value, isDefault: true, owners)
    case Bytes("RHT.security.selinux"):
      add(Attribute(name: Bytes("security.selinux"), value: value.last == 0 ? value : value + [0]))
    default:
      let (schily, libarchive) = (Bytes("SCHILY.xattr."), Bytes("LIBARCHIVE.xattr."))
      if key.starts(with: schily) {
        add(Attribute(name: Self.unescaped(Bytes(key.dropFirst(schily.count)), all: false), value: value))
      } else if key.starts(with: libarchive),
        let data = value.filter({ $0 != UInt8(ascii: "=") }).withUnsafeBufferPointer({ Base64.decoded($0) })
      {
        add(Attribute(name: Self.unescaped(Bytes(key.dropFirst(libarchive.count)), all: true), value: data))
      }
    }
  }

  private mutating func add(_ attribute: Attribute) {
    guard !attribute.name.isEmpty, !attribute.name.contains(0),
      !attributes.contains(where: { $0.name == attribute.name })
    else { return }
    attributes.append(attribute)
  }

  /// `%3D` and `%25`, as GNU tar writes them in names of attributes; `all`: any byte, as libarchive does.
  private static func unescaped(_ key: Bytes, all: Bool) -> Bytes {
    var result = Bytes()
    var rest = key[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(2)
      if byte == UInt8(ascii: "%"), digits.count == 2, let code = UInt8(Bytes(digits).shown, radix: 16),
        all || code == UInt8(ascii: "=") || code == byte
      {
        result.append(code)
        rest = rest.dropFirst(2)
      } else {
        result.append(byte)
      }
    }
    return result
  }

  /// Other programs write names of users and groups, and perhaps their numbers behind them.
  private mutating func addAccess(_ text: Bytes, isDefault: Bool, _ owners: OwnerNames) {
    var lines: [(rank: Int, text: Bytes)] = []
    for entry in text.split(whereSeparator: { $0 == UInt8(ascii: ",") || $0 == 10 }) {
      // An effective right may follow as a comment.
      let plain = entry.prefix { $0 != UInt8(ascii: "#") }.filter { $0 != 32 && $0 != 9 }
      var fields = plain.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false).map { Bytes($0) }
      if fields.count == 4, UInt32(fields[3].shown) != nil { fields[1] = fields.removeLast() }
      guard fields.count == 3 else {
        lostAccess.append(Bytes(entry))
        continue
      }
      if !fields[1].isEmpty, UInt32(fields[1].shown) == nil {
        let found = fields[0] == Bytes("group") ? owners.groupID(fields[1]) : owners.userID(fields[1])
        guard let found else {
          lostAccess.append(fields[1])
          continue
        }
        fields[1] = Bytes(String(found).utf8)
      }
      // The order that the kernel wants (acl(5)), which not everybody writes.
      let kinds = ["user", "group", "mask", "other"]
      let rank = 2 * (kinds.firstIndex(of: fields[0].shown) ?? 0) + (fields[1].isEmpty ? 0 : 1)
      lines.append((rank, Bytes(fields.joined(separator: [UInt8(ascii: ":")]))))
    }
    let sorted = lines.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }
    let plain = Bytes(sorted.map(\.element.text).joined(separator: [10]))
    guard let attribute = ACLText.attribute(text: plain, isDefault: isDefault) else {
      lostAccess.append(text)
      return
    }
    add(attribute)
  }
}
