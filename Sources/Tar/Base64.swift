/// Base 64: attribute values in manifests, and the text of age files' headers.
import Posix

/// Base 64 without padding (RFC 4648, section 4).
public enum Base64 {
  private static let alphabet = Bytes("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

  public static func append(_ bytes: Bytes, to out: Buffer) {
    var at = 0
    while at < bytes.count {
      let rest = bytes.count - at
      let word =
        UInt32(bytes[at]) << 16 | (rest > 1 ? UInt32(bytes[at + 1]) << 8 : 0) | (rest > 2 ? UInt32(bytes[at + 2]) : 0)
      for digit in 0..<min(4, rest + 1) { out.append(alphabet[Int(word >> UInt32(18 - 6 * digit) & 63)]) }
      at += 3
    }
  }

  public static func decoded(_ text: UnsafeBufferPointer<UInt8>) -> Bytes? {
    var result = Bytes()
    var word: UInt32 = 0
    var bits = 0
    for byte in text {
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit = byte - 65
      case UInt8(ascii: "a")...UInt8(ascii: "z"): digit = byte - 71
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte + 4
      case UInt8(ascii: "+"): digit = 62
      case UInt8(ascii: "/"): digit = 63
      default: return nil
      }
      word = (word << 6 | UInt32(digit)) & 0xffffff
      bits += 6
      if bits >= 8 {
        bits -= 8
        result.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
      }
    }
    return result
  }

  public static func encoded(_ bytes: Bytes) -> Bytes {
    let out = Buffer()
    append(bytes, to: out)
    return Bytes(out)
  }

  /// Of the one text that encodes the bytes; nil for any other.
  public static func canonical(_ text: ArraySlice<UInt8>) -> Bytes? {
    guard let bytes = text.withUnsafeBufferPointer({ decoded($0) }), encoded(bytes).elementsEqual(text) else {
      return nil
    }
    return bytes
  }
}
