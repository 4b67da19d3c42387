/// Tar written by hand.
import Glibc
import Posix

/// Tar headers and archives of any make.
public enum ForgedTar {
  public static func padded(_ data: Bytes) -> Bytes {
    data + Bytes(repeating: 0, count: (512 - data.count % 512) % 512)
  }

  /// A ustar header; `fields` are written over it, the checksum is right in the end.
  public static func header(
    _ path: Raw, type: Raw = "0", mode: UInt16 = 0o644, size: Int = 0, target: Raw = "",
    fields: [(at: Int, bytes: Bytes)] = []
  ) -> Bytes {
    var block = Bytes(repeating: 0, count: 512)
    func put(_ bytes: Bytes, _ at: Int) { block.replaceSubrange(at..<(at + bytes.count), with: bytes) }
    func octal(_ value: Int, _ digits: Int) -> Bytes {
      let text = String(value, radix: 8)
      return Bytes((String(repeating: "0", count: digits - text.count) + text).utf8)
    }
    put(Bytes(path.bytes.prefix(100)), 0)
    put(octal(Int(mode), 7), 100)
    put(octal(Int(getuid()), 7), 108)
    put(octal(Int(getgid()), 7), 116)
    put(octal(size, 11), 124)
    put(octal(1, 11), 136)
    put(type.bytes, 156)
    put(Bytes(target.bytes.prefix(100)), 157)
    put(Bytes("ustar\u{0}00"), 257)
    for (at, bytes) in fields { put(bytes, at) }
    put(Bytes(repeating: 32, count: 8), 148)
    put(octal(block.reduce(0) { $0 + Int($1) }, 6) + [0], 148)
    return block
  }

  /// A header of pax records, `x` or `g`.
  public static func pax(_ type: Raw, _ records: [(key: Raw, value: Bytes)]) -> Bytes {
    let data = records.flatMap { key, value in
      let rest = key.bytes.count + value.count + 3
      let length = rest + String(rest + String(rest).utf8.count).utf8.count
      return Raw("\(length) \(key)=\(value)\n").bytes
    }
    return header("pax", type: type, size: data.count) + padded(data)
  }

  public static let end = Bytes(repeating: 0, count: 1024)
}
