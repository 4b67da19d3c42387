/// Bytes written as a literal: names, paths, arguments and contents in tests, and how they are shown in messages.
import Glibc
import Posix

/// Bytes that can be written as text (`"a b"`), as numbers (`[0xff, 0x61]`) or as text with bytes inside
/// (`"--target=\(path)"`, every byte of `path` kept).
public struct Raw: Hashable, Comparable, Sendable {
  public var bytes: Bytes

  public init(_ bytes: Bytes) { self.bytes = bytes }
  public init(_ text: String) { bytes = Bytes(text.utf8) }

  // By whole runs of memory: byte by byte, unoptimised, takes seconds for a few thousand long paths.

  public static func < (a: Raw, b: Raw) -> Bool {
    let order = a.bytes.withUnsafeBytes { x in
      b.bytes.withUnsafeBytes { y in
        x.isEmpty || y.isEmpty ? 0 : memcmp(x.baseAddress!, y.baseAddress!, min(x.count, y.count))
      }
    }
    return order < 0 || (order == 0 && a.bytes.count < b.bytes.count)
  }

  public static func == (a: Raw, b: Raw) -> Bool {
    guard a.bytes.count == b.bytes.count, !a.bytes.isEmpty else { return a.bytes.count == b.bytes.count }
    return a.bytes.withUnsafeBytes { x in
      b.bytes.withUnsafeBytes { y in memcmp(x.baseAddress!, y.baseAddress!, x.count) == 0 }
    }
  }

  public func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }

  /// Whether it is `directory` or lies below it; everything lies below the empty path.
  public func isAtOrBelow(_ directory: Raw) -> Bool {
    let count = directory.bytes.count
    if count == 0 { return true }
    guard bytes.count >= count, bytes.count == count || bytes[count] == UInt8(ascii: "/") else { return false }
    return Raw(Bytes(bytes[..<count])) == directory
  }
}

extension Raw: ExpressibleByArrayLiteral {
  public init(arrayLiteral elements: UInt8...) { bytes = elements }
}

extension Raw: ExpressibleByStringInterpolation {
  public struct StringInterpolation: StringInterpolationProtocol {
    var bytes = Bytes()

    public init(literalCapacity: Int, interpolationCount: Int) { bytes.reserveCapacity(literalCapacity) }
    public mutating func appendLiteral(_ literal: String) { bytes += literal.utf8 }
    public mutating func appendInterpolation(_ value: Bytes) { bytes += value }
    public mutating func appendInterpolation(_ value: Raw) { bytes += value.bytes }
    public mutating func appendInterpolation<T>(_ value: T) { bytes += String(describing: value).utf8 }
  }

  public init(stringLiteral value: String) { self.init(value) }
  public init(stringInterpolation: StringInterpolation) { bytes = stringInterpolation.bytes }
}

extension Raw: CustomStringConvertible {
  public var description: String { bytes.quoted }
}

extension Array where Element == UInt8 {
  /// In double quotes, with everything escaped that would be unclear in a test's message; long ones are cut in the
  /// middle.
  public var quoted: String {
    if count > 300 { return Self(self[..<140]).quoted + "…(\(count) bytes)…" + Self(self[(count - 140)...]).quoted }
    // Text that is not wholly UTF-8 has every byte above ASCII escaped: half a character helps no one.
    let isText = String(validating: self, as: UTF8.self) != nil
    var result = "\""
    for scalar in (isText ? shown : "").unicodeScalars { result += Self.escaped(scalar) }
    if !isText { for byte in self { result += byte < 0x80 ? Self.escaped(Unicode.Scalar(byte)) : Self.escape(byte) } }
    return result + "\""
  }

  private static func escaped(_ scalar: Unicode.Scalar) -> String {
    switch scalar {
    case "\"": return "\\\""
    case "\\": return "\\\\"
    case "\n": return "\\n"
    case "\t": return "\\t"
    default:
      // A combining mark would be drawn over the letter before it and look like the composed letter.
      if scalar.value < 0x20 || scalar.value == 0x7f || scalar.properties.isGraphemeExtend {
        return Array(String(scalar).utf8).map(escape).joined()
      }
      return String(scalar)
    }
  }

  private static func escape(_ byte: UInt8) -> String {
    let hex = String(byte, radix: 16)
    return "\\x" + (hex.count == 1 ? "0" : "") + hex
  }
}
