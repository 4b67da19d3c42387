/// Bech32 (BIP 173), as age writes keys with it: of any length.
import Posix

enum Bech32 {
  private static let alphabet = Bytes("qpzry9x8gf2tvdw0s3jn54khce6mua7l")
  private static let digits: [UInt8] = {
    var digits = [UInt8](repeating: 255, count: 256)
    for (value, letter) in alphabet.enumerated() { digits[Int(letter)] = UInt8(value) }
    return digits
  }()

  private static func step(_ sum: UInt32, _ value: UInt8) -> UInt32 {
    let generators: (UInt32, UInt32, UInt32, UInt32, UInt32) = (
      0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3
    )
    let top = sum >> 25
    var next = (sum & 0x1ff_ffff) << 5 ^ UInt32(value)
    if top & 1 != 0 { next ^= generators.0 }
    if top & 2 != 0 { next ^= generators.1 }
    if top & 4 != 0 { next ^= generators.2 }
    if top & 8 != 0 { next ^= generators.3 }
    if top & 16 != 0 { next ^= generators.4 }
    return next
  }

  /// Of the prefix in lower case.
  private static func start(_ prefix: some Sequence<UInt8>) -> UInt32 {
    let prefix = Bytes(prefix)
    var sum: UInt32 = 1
    for byte in prefix { sum = step(sum, byte >> 5) }
    sum = step(sum, 0)
    for byte in prefix { sum = step(sum, byte & 31) }
    return sum
  }

  private static func lower(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte + 32 : byte }

  /// The prefix in lower case and the bytes after it; nil where it is none. All letters are capitals, or none is.
  static func decoded(_ text: UnsafeRawBufferPointer) -> (prefix: Bytes, data: Secret)? {
    let hasCapitals = text.contains { (65...90).contains($0) }
    let hasSmall = text.contains { (97...122).contains($0) }
    guard !(hasCapitals && hasSmall), text.allSatisfy({ (33...126).contains($0) }),
      let separator = text.lastIndex(of: UInt8(ascii: "1")), separator > 0, separator + 7 <= text.count
    else { return nil }
    let prefix = text[..<separator].map(lower)
    var sum = start(prefix)
    let symbols = separator + 1..<text.count - 6
    let data = Secret(count: symbols.count * 5 / 8)
    var word: UInt32 = 0
    var bits = 0
    var written = 0
    for at in separator + 1..<text.count {
      let value = digits[Int(lower(text[at]))]
      guard value < 32 else { return nil }
      sum = step(sum, value)
      guard at < symbols.upperBound else { continue }
      word = (word << 5 | UInt32(value)) & 0xfff
      bits += 5
      if bits >= 8 {
        bits -= 8
        data.mutable[written] = UInt8(truncatingIfNeeded: word >> UInt32(bits))
        written += 1
      }
    }
    // What is left over are zeros, and fewer than a symbol has.
    guard sum == 1, bits < 5, word & (1 << UInt32(bits) - 1) == 0 else { return nil }
    return (prefix, data)
  }

  /// With a prefix in lower case.
  static func encoded(_ prefix: StaticString, _ data: UnsafeRawBufferPointer) -> Bytes {
    let prefix = Bytes(prefix)
    var text = prefix + [UInt8(ascii: "1")]
    var sum = start(prefix)
    func add(_ value: UInt8) {
      text.append(alphabet[Int(value)])
      sum = step(sum, value)
    }
    var word: UInt32 = 0
    var bits = 0
    for byte in data {
      word = (word << 8 | UInt32(byte)) & 0xfff
      bits += 8
      while bits >= 5 {
        bits -= 5
        add(UInt8(truncatingIfNeeded: word >> UInt32(bits) & 31))
      }
    }
    if bits > 0 { add(UInt8(truncatingIfNeeded: word << UInt32(5 - bits) & 31)) }
    var check = sum
    for _ in 0..<6 { check = step(check, 0) }
    check ^= 1
    for index in 0..<6 { text.append(alphabet[Int(check >> UInt32(5 * (5 - index)) & 31)]) }
    return text
  }
}
