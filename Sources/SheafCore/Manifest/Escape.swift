/// How paths and names stand in a manifest: mtree(5)'s three-digit octal for every byte but `[A-Za-z0-9_.,/+:@%-]`.
import Glibc
import Posix
import Tar

enum Escape {
  /// True at the bytes that stand for themselves in a path.
  private static let plainInPath = table("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,/+:@%-")
  /// In a tag, commas and colons are ours.
  private static let plainInTag = table("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+%-")

  private static func table(_ plain: StaticString) -> [Bool] {
    var table = [Bool](repeating: false, count: 256)
    for byte in Bytes(plain) { table[Int(byte)] = true }
    return table
  }

  static func append(path: Bytes, to out: Buffer) { append(path, plainInPath, to: out) }
  static func append(tag: Bytes, to out: Buffer) { append(tag, plainInTag, to: out) }

  private static func append(_ bytes: Bytes, _ plain: [Bool], to out: Buffer) {
    out.reserve(bytes.count * 4)
    let base = out.end.assumingMemoryBound(to: UInt8.self)
    var n = 0
    plain.withUnsafeBufferPointer { plain in
      for byte in bytes {
        if plain[Int(byte)] {
          base[n] = byte
          n += 1
        } else {
          base[n] = UInt8(ascii: "\\")
          base[n + 1] = 48 + (byte >> 6)
          base[n + 2] = 48 + (byte >> 3 & 7)
          base[n + 3] = 48 + (byte & 7)
          n += 4
        }
      }
    }
    out.count += n
  }

  /// Undoes either of the above. nil: a backslash that three octal digits of a byte do not follow, or a NUL.
  static func decoded(_ text: UnsafeBufferPointer<UInt8>) -> Bytes? {
    guard let base = text.baseAddress else { return [] }
    if memchr(base, Int32(UInt8(ascii: "\\")), text.count) == nil { return Bytes(text) }
    var result = Bytes(repeating: 0, count: text.count)
    let count = result.withUnsafeMutableBufferPointer { decode(text, into: $0.baseAddress!) }
    guard let count else { return nil }
    result.removeLast(result.count - count)
    return result
  }

  /// As above into memory of at least the text's length; gives the decoded length.
  static func decode(_ text: UnsafeBufferPointer<UInt8>, into out: UnsafeMutablePointer<UInt8>) -> Int? {
    var n = 0
    var at = 0
    while at < text.count {
      let byte = text[at]
      if byte != UInt8(ascii: "\\") {
        out[n] = byte
        at += 1
      } else {
        guard at + 3 < text.count else { return nil }
        let a = text[at + 1] &- 48
        let b = text[at + 2] &- 48
        let c = text[at + 3] &- 48
        guard a < 4, b < 8, c < 8 else { return nil }
        out[n] = a << 6 | b << 3 | c
        if out[n] == 0 { return nil }
        at += 4
      }
      n += 1
    }
    return n
  }

  static func encodedPath(_ bytes: Bytes) -> String {
    let buffer = Buffer()
    append(path: bytes, to: buffer)
    return Bytes(buffer).shown
  }
}
