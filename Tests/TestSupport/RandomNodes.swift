/// Names, times, modes, contents and whole files by chance, the odd ones far more often than life has them.
import Glibc
import Posix

extension Random {
  /// Each of them broke some backup program once.
  public static let oddNames: [Bytes] =
    ([
      " ", "two words", " leading", "trailing ", "line\nbreak", "\n", "ends in newline\n", "tab\there", "\r", "\u{7f}",
      "\u{1}\u{1b}[31m", "back\\slash", "\\", "\\n", "\\012", "-rf", "--", "-", "--help", "%", "100%", "%s%n", "%2F",
      "*", "?", "[a-z]", "{a,b}", "!", "!important", "#hash", "~", "$HOME", "`id`", "$(id)", "a;b", "a&b", "a|b",
      "a<b>", "'", "\"quoted\"", "a=b", "a:b", "C:", "a,b", "@", "+", "...", ".hidden", "..x", "x.", "README",
      "readme", "ReadMe", "caf\u{e9}", "cafe\u{301}", "\u{212b}", "\u{c5}", "A\u{30a}", "日本語",
      "\u{1f469}\u{200d}\u{1f467}", "\u{202e}rtl", "\u{feff}bom", "\u{fffd}", "manifest", "PaxHeaders.1", "._a",
      "con.txt", "NUL", "a.tar.gz", "@LongLink", "TRAILER!!!", "0", "null", ".sheaf",
    ] as [String]).map { Bytes($0.utf8) } + [
      // Not UTF-8: a Latin-1 letter, lone bytes, a surrogate, an overlong slash, UTF-8 cut off in a character.
      [0x63, 0x61, 0x66, 0xe9], [0xff], [0xfe, 0xff], [0x80], [0xed, 0xa0, 0x80], [0xc0, 0xaf], [0x61, 0xe2, 0x82],
      // As long as names get, and just too long for one or another field of a tar header.
      Bytes(repeating: 0x78, count: 255), Bytes(repeating: 0xff, count: 255), Bytes(repeating: 0x79, count: 100),
      Bytes(repeating: 0x7a, count: 101), Bytes(repeating: 0x77, count: 154), Bytes(repeating: 0x76, count: 156),
      Bytes(String(repeating: "é", count: 127).utf8), Bytes(repeating: 0x0a, count: 64),
    ]

  /// A name for a file: mostly plain, often odd, now and then any bytes.
  public mutating func name() -> Bytes {
    switch below(8) {
    case 0, 1, 2: return pick(Self.oddNames)
    case 3:
      let bytes = bytes(number(in: 1...24)).map { $0 == 0 || $0 == UInt8(ascii: "/") ? 0xa0 : $0 }
      return bytes == [0x2e] || bytes == [0x2e, 0x2e] ? [0xa0] : bytes
    default:
      let syllables = ["ba", "do", "ki", "lu", "me", "no", "ra", "si", "tu", "ze"]
      let word = (0..<number(in: 1...4)).map { _ in pick(syllables) }.joined()
      return Bytes((once(in: 3) ? word + pick([".txt", ".c", ".jpg", ".log", "~", ".gz"]) : word).utf8)
    }
  }

  /// From before 1970 to after 2038, in whole seconds and in nanoseconds.
  public mutating func time() -> Timestamp {
    let seconds: Int
    switch below(8) {
    case 0: seconds = pick([0, -1, 1, -86_400, -2_147_483_647, 2_147_483_647, 2_147_483_648, 4_294_967_296])
    case 1: seconds = -number(in: 1...2_000_000_000)
    case 2: seconds = number(in: 2_147_483_648...8_000_000_000)
    default: seconds = number(in: 0...1_700_000_000)
    }
    let nanoseconds = once(in: 4) ? pick([0, 1, 999_999_999, 500_000_000]) : below(1_000_000_000)
    return Timestamp(seconds: Int64(seconds), nanoseconds: Int32(nanoseconds))
  }

  /// All twelve bits.
  public mutating func mode() -> UInt16 {
    if once(in: 4) { return UInt16(below(0o10000)) }
    return pick([0o644, 0o600, 0o755, 0o700, 0o400, 0o444, 0o000, 0o777, 0o4755, 0o2755, 0o6755, 0o1777, 0o111, 0o666])
  }

  public mutating func owner() -> (uid: UInt32, gid: UInt32) {
    // Just beyond what seven octal digits hold, and beyond what a signed number does.
    let numbers: [UInt32] = [0, 1, 33, 1000, 1000, 65534, 2_097_151, 2_097_152, 3_000_000_000]
    return (pick(numbers), pick(numbers))
  }

  /// Mostly small, often right beside a multiple of what tar and file systems count in.
  public mutating func size() -> Int64 {
    switch below(40) {
    case 0: Int64(number(in: 100_000...3_000_000))
    case 1...5: 0
    case 6...12: Int64(pick([1, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 10_240, 65_535, 65_536, 65_537]))
    case 13...17: Int64(number(in: 8192...100_000))
    case 18...26: Int64(number(in: 200...8192))
    default: Int64(number(in: 1...200))
    }
  }

  public mutating func contents(size: Int64) -> FileSpec.Source {
    .generated(count: size, seed: next(), pick([.incompressible, .compressible, .compressible, .zeros]))
  }

  public mutating func sparse() -> Node {
    let block: Int64 = 4096
    let blocks = Int64(number(in: 2...2000))
    var ranges: [Range<Int64>] = []
    var position = Int64(below(3)) * Int64(below(50))
    while position < blocks, ranges.count < 6 {
      let length = min(Int64(number(in: 1...8)), blocks - position)
      ranges.append(position * block..<(position + length) * block)
      position += length + Int64(number(in: 1...600))
    }
    // Half of them end in the middle of a block, in a hole or in data.
    let size = blocks * block - (once(in: 2) ? Int64(number(in: 1...4095)) : 0)
    return .sparse(
      size: size, data: ranges.map { $0.lowerBound..<min($0.upperBound, size) }.filter { !$0.isEmpty }, seed: next())
  }

  public mutating func linkTarget() -> Bytes {
    switch below(6) {
    case 0: Bytes(repeating: 0x74, count: pick([99, 100, 101, 255, 1000]))
    case 1: pick(["/", ".", "..", "/etc/passwd", "../../..", "//", "a//b/", "./x"].map { Bytes($0.utf8) })
    case 2: name().joined(name())
    default: name()
    }
  }

  public mutating func accessList() -> AccessList {
    var list = AccessList(owner: 6, group: UInt16(below(8)), mask: UInt16(below(8)), other: UInt16(below(8)))
    for _ in 0...below(3) { list.users[pick([1, 33, 1000, 1001, 65534])] = UInt16(below(8)) }
    if once(in: 2) { list.groups[pick([1, 50, 1000, 65534])] = UInt16(below(8)) }
    return list
  }

  /// In the `user` namespace, or in `trusted` where that may be set.
  public mutating func attribute(trusted: Bool) -> Attribute {
    let names: [Raw] = [
      "user.comment", "user.mime_type", "user.a", "user.b.c", "user.with space", "user.a=b", "user.100%", "user.ü",
      "user.line\nbreak", "user.\([0xff, 0x41] as Bytes)",
    ]
    let name = trusted && once(in: 4) ? pick(["trusted.a", "trusted.md5"]) : pick(names)
    let values: [Bytes] = [
      [], [0], Bytes("text"), Bytes("line\nbreak\n"), Bytes("a=b"), [0xff, 0, 0xfe],
      Bytes(repeating: 0x76, count: 1000), bytes(number(in: 1...64)),
    ]
    return Attribute(name, Raw(pick(values)))
  }
}
