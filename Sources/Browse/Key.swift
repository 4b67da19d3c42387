/// Keys, out of the bytes that a terminal sends for them.
import Posix

public enum Key: Equatable, Sendable {
  case up, down, left, right, pageUp, pageDown, home, end
  case enter, escape, tab, backspace
  /// ^Z.
  case suspend
  /// ^L: draw everything anew.
  case redraw
  case character(Unicode.Scalar)
}

/// Bytes come in any pieces; a key may be several.
public struct KeyReader: Sendable {
  private var waiting = Bytes()

  public init() {}

  /// Whether there is the beginning of a key: an escape by itself looks like one of the others' beginnings.
  public var isWithinKey: Bool { !waiting.isEmpty }

  public mutating func take(_ bytes: Bytes) -> [Key] {
    waiting += bytes
    var keys: [Key] = []
    while let (key, length) = Self.first(of: waiting[...]) {
      if let key { keys.append(key) }
      waiting.removeFirst(length)
    }
    return keys
  }

  /// Nothing came for a while: what is there is all there is.
  public mutating func finish() -> [Key] {
    defer { waiting = [] }
    return waiting.first == 0x1b ? [.escape] : []
  }

  /// The key that the bytes begin with, nil for one that means nothing here, and its length; nil: more has to come.
  private static func first(of bytes: ArraySlice<UInt8>) -> (Key?, Int)? {
    guard let byte = bytes.first else { return nil }
    switch byte {
    case 0x1b: return sequence(bytes)
    case 0x0d, 0x0a: return (.enter, 1)
    case 0x09: return (.tab, 1)
    case 0x08, 0x7f: return (.backspace, 1)
    case 0x0c: return (.redraw, 1)
    case 0x1a: return (.suspend, 1)
    case 0..<0x20: return (nil, 1)
    case 0x20..<0x7f: return (.character(Unicode.Scalar(byte)), 1)
    default: return character(bytes)
    }
  }

  private static func character(_ bytes: ArraySlice<UInt8>) -> (Key?, Int)? {
    let length: Int
    switch bytes.first ?? 0 {
    case 0xc2...0xdf: length = 2
    case 0xe0...0xef: length = 3
    case 0xf0...0xf4: length = 4
    default: return (nil, 1)
    }
    guard bytes.count >= length else { return nil }
    var iterator = bytes.prefix(length).makeIterator()
    var decoder = UTF8()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return (nil, 1) }
    return (.character(scalar), UTF8.width(scalar))
  }

  /// ECMA-48, 5.4: `ESC [`, parameters, and a last byte from `@` on; some terminals send `ESC O` and a letter.
  private static func sequence(_ bytes: ArraySlice<UInt8>) -> (Key?, Int)? {
    let all = Array(bytes.prefix(16))
    guard all.count > 1 else { return nil }
    guard all[1] == UInt8(ascii: "[") || all[1] == UInt8(ascii: "O") else { return (.escape, 1) }
    guard let end = all.dropFirst(2).firstIndex(where: { (0x40...0x7e).contains($0) }) else {
      return all.count < 16 ? nil : (nil, 16)
    }
    let number = all[2..<end].prefix { $0 != UInt8(ascii: ";") }
    return (key(number: Bytes(number).shown, last: all[end]), end + 1)
  }

  private static func key(number: String, last: UInt8) -> Key? {
    switch last {
    case UInt8(ascii: "A"): .up
    case UInt8(ascii: "B"): .down
    case UInt8(ascii: "C"): .right
    case UInt8(ascii: "D"): .left
    case UInt8(ascii: "H"): .home
    case UInt8(ascii: "F"): .end
    case UInt8(ascii: "~"): numbered[number]
    default: nil
    }
  }

  private static let numbered: [String: Key] = [
    "1": .home, "7": .home, "4": .end, "8": .end, "5": .pageUp, "6": .pageDown,
  ]
}
