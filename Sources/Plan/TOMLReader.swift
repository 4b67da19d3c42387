/// Reads TOML 1.0 (https://toml.io/en/v1.0.0). The packages there are for this either do not tell where a value stands, or
/// bring Foundation, which doubles the time that a program takes to start.
import Posix

public struct TOMLReader {
  let text: Bytes
  var at = 0
  private var depth = 0
  private static let deepest = 64

  private init(_ text: Bytes) { self.text = text }

  public static func read(_ text: Bytes) throws(TOMLMistake) -> TOMLTable {
    var reader = TOMLReader(text)
    try reader.checkText()
    return try reader.document()
  }

  // MARK: - Bytes

  func byte(_ ahead: Int = 0) -> UInt8? { at + ahead < text.count ? text[at + ahead] : nil }

  func begins(with word: StaticString) -> Bool { text[min(at, text.count)...].starts(with: Bytes(word)) }

  mutating func skip(_ word: StaticString) -> Bool {
    guard begins(with: word) else { return false }
    at += word.utf8CodeUnitCount
    return true
  }

  func mistake(_ message: String, at offset: Int? = nil) -> TOMLMistake {
    TOMLMistake(offset: offset ?? at, message: message)
  }

  /// It has to be UTF-8, and of control characters there are only tabs and line breaks.
  private func checkText() throws(TOMLMistake) {
    var place = 0
    for (index, byte) in text.enumerated() {
      let isBreak = byte == 10 || byte == 13 && index + 1 < text.count && text[index + 1] == 10
      if byte < 32 && byte != 9 && !isBreak || byte == 127 {
        throw mistake("a control character, which may not stand in the text", at: index)
      }
    }
    var decoder = UTF8()
    var iterator = text.makeIterator()
    while true {
      switch decoder.decode(&iterator) {
      case .scalarValue(let scalar): place += UTF8.width(scalar)
      case .emptyInput: return
      case .error: throw mistake("this is not UTF-8", at: place)
      }
    }
  }

  private mutating func skipBlanks() { while byte() == 32 || byte() == 9 { at += 1 } }

  private mutating func skipComment() {
    if byte() == UInt8(ascii: "#") { while let next = byte(), next != 10 { at += 1 } }
  }

  /// Blanks, comments and line breaks, as they may stand in lists and between lines.
  private mutating func skipLines() {
    while true {
      skipBlanks()
      skipComment()
      if byte() == 13 { at += 1 }
      guard byte() == 10 else { return }
      at += 1
    }
  }

  /// Nothing but a comment may follow on the line.
  private mutating func endLine() throws(TOMLMistake) {
    skipBlanks()
    skipComment()
    if byte() == 13 { at += 1 }
    guard let next = byte() else { return }
    guard next == 10 else { throw mistake("there is more on the line than belongs here") }
    at += 1
  }

  // MARK: - Tables

  private mutating func document() throws(TOMLMistake) -> TOMLTable {
    let root = TOMLTable(.header)
    var current = root
    while true {
      skipLines()
      guard let next = byte() else { return root }
      if next == UInt8(ascii: "[") {
        current = try header(root)
      } else {
        try pair(into: current)
      }
      try endLine()
    }
  }

  private mutating func header(_ root: TOMLTable) throws(TOMLMistake) -> TOMLTable {
    let start = at
    let isList = skip("[[")
    if !isList { at += 1 }
    let path = try dottedKey()
    guard isList ? skip("]]") : skip("]") else { throw mistake("the name of a table ends with ']'") }
    var table = root
    for part in path.dropLast() { table = try self.table(part, in: table, making: .implied) }
    guard let last = path.last else { throw mistake("a table has a name", at: start) }
    let new = TOMLTable(.header)
    let node = TOMLNode(value: .table(new), offset: start)
    guard let old = table[last.key] else {
      if isList { table.growingLists.insert(last.key) }
      table.add(last.key, at: last.offset, isList ? TOMLNode(value: .array([node]), offset: start) : node)
      return new
    }
    if isList, table.growingLists.contains(last.key) {
      table.append(node, to: last.key)
      return new
    }
    if !isList, case .table(let there) = old.node.value, there.origin == .implied {
      there.origin = .header
      return there
    }
    throw mistake("'\(last.key.shown)' is there already", at: last.offset)
  }

  private typealias Part = (key: Bytes, offset: Int)

  /// The table of that name in another, made where there is none.
  private func table(
    _ part: Part, in outer: TOMLTable, making origin: TOMLTable.Origin
  ) throws(TOMLMistake) -> TOMLTable {
    guard let old = outer[part.key] else {
      let new = TOMLTable(origin)
      outer.add(part.key, at: part.offset, TOMLNode(value: .table(new), offset: part.offset))
      return new
    }
    switch old.node.value {
    case .table(let there) where there.origin != .inline: return there
    case .array(let list) where outer.growingLists.contains(part.key):
      if case .table(let there)? = list.last?.value { return there }
    default: break
    }
    throw mistake("'\(part.key.shown)' is there already and takes nothing more", at: part.offset)
  }

  private mutating func pair(into table: TOMLTable) throws(TOMLMistake) {
    let path = try dottedKey()
    var inner = table
    for part in path.dropLast() {
      inner = try self.table(part, in: inner, making: .dotted)
      guard inner.origin == .dotted || inner.origin == .implied else {
        throw mistake("'\(part.key.shown)' is a table of its own already", at: part.offset)
      }
      inner.origin = .dotted
    }
    guard skip("=") else { throw mistake("after a key comes '='") }
    skipBlanks()
    let node = try value()
    guard let last = path.last else { return }
    guard inner[last.key] == nil else { throw mistake("'\(last.key.shown)' is there already", at: last.offset) }
    inner.add(last.key, at: last.offset, node)
  }

  /// Names with dots between them, and the blanks around them.
  private mutating func dottedKey() throws(TOMLMistake) -> [Part] {
    var path: [Part] = []
    repeat {
      skipBlanks()
      path.append(try key())
      skipBlanks()
      if path.count > Self.deepest { throw mistake("too many names in one key") }
    } while skip(".")
    return path
  }

  private mutating func key() throws(TOMLMistake) -> Part {
    let start = at
    if begins(with: "\"\"\"") || begins(with: "'''") { throw mistake("a key stands on one line") }
    if byte() == UInt8(ascii: "\"") || byte() == UInt8(ascii: "'") { return (try string(), start) }
    while let next = byte(), Self.isBare(next) { at += 1 }
    guard at > start else { throw mistake("here a key is missing: letters, digits, '_' and '-', or a text in quotes") }
    return (Bytes(text[start..<at]), start)
  }

  private static func isBare(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "-"): true
    default: false
    }
  }

  // MARK: - Values

  private mutating func value() throws(TOMLMistake) -> TOMLNode {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.deepest else { throw mistake("lists and tables lie too deep in one another") }
    let start = at
    let value: TOMLNode.Value
    switch byte() {
    case UInt8(ascii: "\""), UInt8(ascii: "'"): value = .string(try string())
    case UInt8(ascii: "["): value = .array(try array())
    case UInt8(ascii: "{"): value = .table(try inlineTable())
    case nil, 10, 13, UInt8(ascii: "#"): throw mistake("here a value is missing")
    default: value = try scalar()
    }
    return TOMLNode(value: value, offset: start)
  }

  private mutating func array() throws(TOMLMistake) -> [TOMLNode] {
    let start = at
    at += 1
    var list: [TOMLNode] = []
    while true {
      skipLines()
      if skip("]") { return list }
      if byte() == nil { throw mistake("the list that begins here does not end", at: start) }
      list.append(try value())
      skipLines()
      if skip(",") { continue }
      if skip("]") { return list }
      throw byte() == nil
        ? mistake("the list that begins here does not end", at: start) : mistake("between values of a list stands ','")
    }
  }

  private mutating func inlineTable() throws(TOMLMistake) -> TOMLTable {
    let start = at
    at += 1
    let table = TOMLTable(.inline)
    skipBlanks()
    if skip("}") { return table }
    while true {
      try pair(into: table)
      skipBlanks()
      if skip("}") { break }
      guard skip(",") else {
        throw byte() == nil || byte() == 10 || byte() == 13
          ? mistake("the table that begins here does not end on its line", at: start)
          : mistake("between keys of a table stands ','")
      }
    }
    Self.close(table)
    return table
  }

  /// What dotted keys made in it takes nothing more either.
  private static func close(_ table: TOMLTable) {
    table.origin = .inline
    for entry in table.entries {
      if case .table(let inner) = entry.node.value, inner.origin != .inline { close(inner) }
    }
  }

  /// Words without quotes: true and false, numbers, dates.
  private mutating func scalar() throws(TOMLMistake) -> TOMLNode.Value {
    let start = at
    let ends = Set(Bytes(",]}#\n\r\t \"'=["))
    while let next = byte(), !ends.contains(next) { at += 1 }
    // A date and a time may have a blank between them.
    if byte() == 32, TOMLScalar.isDate(text[start..<at]), let next = byte(1), (48...57).contains(next) {
      at += 1
      while let next = byte(), !ends.contains(next) { at += 1 }
    }
    let word = text[start..<at]
    if word.isEmpty { throw mistake("here a value is missing") }
    if let value = TOMLScalar.value(Bytes(word)) { return value }
    throw mistake("'\(Bytes(word).shown)' is no value: a text stands in quotes", at: start)
  }
}
