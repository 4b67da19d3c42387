/// What object stores answer: XML of elements and text, as much of it as they use. What cannot be read is nil.
import Posix

package struct S3Element {
  package var name = Bytes()
  package var text = Bytes()
  var children: [S3Element] = []

  /// A document's outermost element. Names come without what stands before a colon.
  package init?(document: Bytes) {
    var parser = S3XMLParser(document)
    guard let root = parser.document() else { return nil }
    self = root
  }

  fileprivate init(name: Bytes) { self.name = name }

  package func all(_ name: StaticString) -> [S3Element] { children.filter { $0.name == Bytes(name) } }
  func text(of name: StaticString) -> Bytes? { children.first { $0.name == Bytes(name) }?.text }
}

private struct S3XMLParser {
  private var rest: ArraySlice<UInt8>
  private static let most = 100_000

  init(_ text: Bytes) { rest = text[...] }

  /// A stack instead of calls, so that depth costs nothing.
  mutating func document() -> S3Element? {
    var open: [S3Element] = []
    var count = 0
    while !rest.isEmpty {
      guard rest.first == UInt8(ascii: "<") else {
        let end = rest.firstIndex(of: UInt8(ascii: "<")) ?? rest.endIndex
        if !open.isEmpty { open[open.count - 1].text += Self.decoded(rest[..<end]) }
        rest = rest[end...]
        continue
      }
      guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return nil }
      let tag = rest[rest.index(after: rest.startIndex)..<end]
      rest = rest[rest.index(after: end)...]
      // Declarations and remarks; nothing that they could hold is used.
      if tag.first == UInt8(ascii: "?") || tag.first == UInt8(ascii: "!") { continue }
      count += 1
      guard count < Self.most else { return nil }
      if tag.first == UInt8(ascii: "/") {
        guard let done = open.popLast(), done.name == Self.name(tag.dropFirst()) else { return nil }
        if open.isEmpty { return done }
        open[open.count - 1].children.append(done)
      } else if tag.last == UInt8(ascii: "/") {
        if open.isEmpty { return S3Element(name: Self.name(tag.dropLast())) }
        open[open.count - 1].children.append(S3Element(name: Self.name(tag.dropLast())))
      } else {
        open.append(S3Element(name: Self.name(tag)))
      }
    }
    return nil
  }

  private static func name(_ tag: ArraySlice<UInt8>) -> Bytes {
    let name = tag.prefix { $0 > 32 }
    return Bytes(name.lastIndex(of: UInt8(ascii: ":")).map { name[name.index(after: $0)...] } ?? name)
  }

  /// The five entities of XML, and characters by their numbers.
  private static func decoded(_ text: ArraySlice<UInt8>) -> Bytes {
    guard text.contains(UInt8(ascii: "&")) else { return Bytes(text) }
    let known: [String: UInt8] = ["lt": 60, "gt": 62, "amp": 38, "quot": 34, "apos": 39]
    var result = Bytes()
    var rest = text
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "&"), let end = rest.prefix(10).firstIndex(of: UInt8(ascii: ";")) else {
        result.append(byte)
        continue
      }
      let entity = Bytes(rest[..<end]).shown
      if let byte = known[entity] {
        result.append(byte)
      } else if entity.hasPrefix("#"), let scalar = scalar(entity.dropFirst()) {
        result += Bytes(String(Character(scalar)).utf8)
      } else {
        result.append(byte)
        continue
      }
      rest = rest[rest.index(after: end)...]
    }
    return result
  }

  private static func scalar(_ digits: Substring) -> Unicode.Scalar? {
    let value = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
    return value.flatMap { Unicode.Scalar($0) }
  }
}
