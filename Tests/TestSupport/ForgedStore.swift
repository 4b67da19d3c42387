/// Stores written by hand, byte for byte, as an attacker would: gzip members, tar headers, manifests with right
/// digests and a right index, and a lie wherever a test wants one. None of the code under test has a part in it.
import Glibc
import Posix

/// A gzip member with the header field of this format, its data stored, not deflated, unless given.
public struct ForgedMember: Sendable {
  public var inflated: Bytes
  /// Of the first tar header; nil: none.
  public var firstHeader: UInt32? = 0
  /// Raw deflate data in the place of a stored copy of `inflated`.
  public var deflated: Bytes?
  /// Lies about the member's whole length and about what it inflates to.
  public var length: UInt64?
  public var inflatedLength: UInt32?
  public var checksum: UInt32?
  /// A further subfield: two letters and its value.
  public var subfield: (id: Raw, value: Bytes)?

  public init(_ inflated: Bytes) { self.inflated = inflated }

  public var bytes: Bytes {
    var data = deflated ?? []
    if deflated == nil {
      var rest = inflated[...]
      repeat {
        let block = rest.prefix(65535)
        rest = rest.dropFirst(block.count)
        let count = UInt64(block.count)
        data += [rest.isEmpty ? 1 : 0] + ForgedStore.little(count, 2) + ForgedStore.little(count ^ 0xffff, 2) + block
      } while !rest.isEmpty
    }
    let extra = subfield.map { $0.id.bytes + ForgedStore.little(UInt64($0.value.count), 2) + $0.value } ?? []
    let whole = UInt64(28 + extra.count + data.count + 8)
    var out: Bytes = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]
    out += ForgedStore.little(UInt64(16 + extra.count), 2) + Bytes("Sh") + [12, 0]
    out += ForgedStore.little(length ?? whole, 8) + ForgedStore.little(UInt64(firstHeader ?? .max), 4) + extra + data
    out += ForgedStore.little(UInt64(checksum ?? Checksums.crc32(inflated)), 4)
    return out + ForgedStore.little(UInt64(inflatedLength ?? UInt32(truncatingIfNeeded: inflated.count)), 4)
  }
}

/// A manifest's line for one entry, every part of which can be replaced.
public struct ForgedLine: Sendable {
  /// As the reader is to see it; lines are sorted by it.
  public var path: Bytes
  /// As it stands in the line, `./` included; nil: the path in the format's encoding.
  public var name: Raw?
  public var type: Raw = "file"
  public var mode: Raw = "0644"
  public var uid: Raw = Raw(String(getuid()))
  public var gid: Raw = Raw(String(getgid()))
  public var size: Raw?
  public var time: Raw = "1.000000000"
  /// ` link=…` or ` device=…`.
  public var more: Raw = ""
  public var digest: Raw?
  /// Canonical tags, each with its comma.
  public var tags: Raw = ""
  public var local: Raw = "c:1.000000000,i:1"
  /// Each `set:offset:member:inner:length`.
  public var extents: [Raw] = []

  public init(_ path: Raw) { self.path = path.bytes }

  /// Up to the tag `@`.
  public var canonical: Bytes {
    var out = (name ?? "./\(ForgedStore.encoded(path))").bytes
    out += Raw(" type=\(type) uid=\(uid) gid=\(gid) mode=\(mode)").bytes
    if let size { out += Raw(" size=\(size)").bytes }
    out += Raw(" time=\(time)").bytes + more.bytes
    if let digest { out += Raw(" sha256=\(digest)").bytes }
    return out + Raw(" tags=\(tags)").bytes
  }

  public var text: Bytes { canonical + Raw("@,\(local)").bytes + extents.flatMap { Raw(",p:\($0)").bytes } }
}

/// A directory that looks like a store.
public struct ForgedStore: Sendable {
  public let path: Bytes
  public var series: Bytes { path.joined(Bytes("forged")) }

  public init(at path: Bytes) throws {
    self.path = path
    try Descriptor.workingDirectory.makeDirectory(path)
    try Descriptor.workingDirectory.makeDirectory(path.joined(Bytes("forged")))
    try Self.write(path.joined(Bytes("sheaf.store")), Bytes("format=1\nrequires=\nuuid=forged\nlabel=\ncreated=\n"))
  }

  public func write(_ set: ForgedSet) throws {
    try Self.write(series.joined(Bytes("\(set.name).tar.gz".utf8)), set.volume)
    try Self.write(series.joined(Bytes("\(set.name).mtree.gz".utf8)), set.manifest)
  }

  public static func write(_ path: Bytes, _ bytes: Bytes) throws {
    try Descriptor.open(path, [.write, .create, .truncate]).write(bytes)
  }

  // MARK: Notations

  static func little(_ value: UInt64, _ count: Int) -> Bytes {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }

  static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// mtree's octal for every byte but letters, digits and a few.
  public static func encoded(_ path: Bytes) -> Bytes {
    let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+%-".utf8)
    var out = Bytes()
    for byte in path {
      out += plain.contains(byte) ? [byte] : [0x5c, 48 + (byte >> 6), 48 + (byte >> 3 & 7), 48 + (byte & 7)]
    }
    return out
  }

  /// Sorts as the format's order does: directory by directory, `/` before every other byte.
  static func order(_ path: Bytes) -> Raw {
    let (parent, name) = path.splitAtName
    func key(_ bytes: Bytes) -> Bytes { bytes.flatMap { $0 == 47 ? [1] : [2, $0] } }
    return Raw(key(parent) + [0] + key(name))
  }
}
