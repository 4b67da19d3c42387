/// One gitignore(5) pattern: compiled once, then matched against names in place, in bounded time.
import Glibc
import Posix

/// A pattern that cannot be understood.
public struct PatternError: Error {
  /// The pattern as it was given.
  public let pattern: Bytes
  /// What is wrong with it.
  public let reason: String
}

/// One gitignore(5) pattern, compiled.
struct Pattern: Sendable {
  /// Whether it re-includes (`!`) what an earlier pattern excludes.
  let isNegated: Bool
  /// Whether it matches directories only (`/` at the end).
  private let isForDirectories: Bool
  /// Whether `parents` start at the file system's root; if not, at a source.
  private let isRooted: Bool
  private let parents: [PathElement]
  private let name: NamePattern

  init(_ text: Bytes) throws(PatternError) {
    var body = text[...]
    isNegated = body.first == UInt8(ascii: "!")
    if isNegated { body.removeFirst() }
    isForDirectories = body.last == UInt8(ascii: "/")
    if isForDirectories { body.removeLast() }
    let isAnchored = body.contains(UInt8(ascii: "/"))
    isRooted = !isAnchored || body.first == UInt8(ascii: "/")
    if isAnchored && isRooted { body.removeFirst() }
    var parser = PatternParser(pattern: text, rest: body)
    let (parents, name) = try parser.parse()
    // Without a slash, `name` stands for `/**/name`.
    self.parents = isAnchored ? parents : [.anyDepth]
    self.name = name
  }

  /// Whether it matches the entry `name` of `directory`.
  func matches(directory: Bytes, name: UnsafeBufferPointer<UInt8>, isDirectory: Bool, sources: [Bytes]) -> Bool {
    // The name first: it rules out nearly everything, and needs no look at the directory.
    guard isDirectory || !isForDirectories, self.name.matches(name) else { return false }
    return directory.withUnsafeBufferPointer { path in
      if isRooted { return parents.match(PathNames(path: path, below: [])) }
      return sources.contains { directory.isAtOrBelow($0) && parents.match(PathNames(path: path, below: $0)) }
    }
  }
}

/// A part of a pattern: a run takes any number of units (bytes, names), any other element exactly one.
private protocol PatternElement {
  associatedtype Unit
  var isRun: Bool { get }
  func takes(_ unit: Unit) -> Bool
}

extension Array where Element: PatternElement {
  /// Whether the elements take all of `units`.
  ///
  /// After a mismatch only the latest run is made to take one more unit: what comes before that run already matched
  /// as little as it could. So the time is at most the product of both lengths, whatever the number of runs.
  fileprivate func match<Units: Collection>(_ units: Units) -> Bool where Units.Element == Element.Unit {
    var element = 0
    var unit = units.startIndex
    var retry: (element: Int, unit: Units.Index)?
    while unit != units.endIndex {
      if element < count, self[element].isRun {
        element += 1
        if element == count { return true }
        retry = (element, unit)
      } else if element < count, self[element].takes(units[unit]) {
        element += 1
        units.formIndex(after: &unit)
      } else if let last = retry {
        element = last.element
        unit = units.index(after: last.unit)
        retry = (element, unit)
      } else {
        return false
      }
    }
    return self[element...].allSatisfy(\.isRun)
  }
}

/// A part of a path pattern, standing for whole names.
private enum PathElement: PatternElement {
  /// `**` between slashes.
  case anyDepth
  case name(NamePattern)

  var isRun: Bool { if case .anyDepth = self { true } else { false } }

  func takes(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
    if case .name(let pattern) = self { pattern.matches(name) } else { false }
  }
}

/// A part of a name pattern, standing for bytes.
private enum NameElement: PatternElement {
  case byte(UInt8)
  case oneOf(ByteSet)
  /// `*`
  case anyBytes

  var isRun: Bool { if case .anyBytes = self { true } else { false } }

  func takes(_ byte: UInt8) -> Bool {
    switch self {
    case .byte(let own): own == byte
    case .oneOf(let set): set.contains(byte)
    case .anyBytes: false
    }
  }
}

/// The pattern of one name, with the two most usual shapes told apart, as they need no search.
private enum NamePattern {
  case literal(Bytes)
  /// `*.ext`, and `*` alone.
  case suffix(Bytes)
  case wildcard([NameElement])

  init(_ elements: [NameElement]) {
    let bytes = elements.compactMap { if case .byte(let byte) = $0 { byte } else { nil } }
    if bytes.count == elements.count {
      self = .literal(bytes)
    } else if bytes.count == elements.count - 1, elements[0].isRun {
      self = .suffix(bytes)
    } else {
      self = .wildcard(elements)
    }
  }

  func matches(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
    switch self {
    case .literal(let bytes): name.count == bytes.count && name.elementsEqual(bytes)
    case .suffix(let bytes): name.suffix(bytes.count).elementsEqual(bytes)
    case .wildcard(let elements): elements.match(name)
    }
  }
}

/// The names along a path, read in place. An index is where a name starts.
private struct PathNames: Collection {
  private let path: UnsafeBufferPointer<UInt8>
  let startIndex: Int

  /// The names of `path` that come after those of `top`, which it is at or below.
  init(path: UnsafeBufferPointer<UInt8>, below top: Bytes) {
    self.path = path
    startIndex = path.isEmpty ? 1 : top.isEmpty ? 0 : top.count + 1
  }

  /// Where a name would start after one more slash; so an empty path, which has no names, starts there.
  var endIndex: Int { path.count + 1 }

  func index(after start: Int) -> Int { end(from: start) + 1 }

  subscript(start: Int) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(rebasing: path[start..<end(from: start)])
  }

  private func end(from start: Int) -> Int { path[start...].firstIndex(of: UInt8(ascii: "/")) ?? path.count }
}

/// A set of bytes, one bit each.
private struct ByteSet {
  static let all = ByteSet(words: SIMD4(repeating: .max))

  private var words = SIMD4<UInt64>.zero

  init() {}

  private init(words: SIMD4<UInt64>) { self.words = words }

  var inverted: ByteSet { ByteSet(words: ~words) }

  func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }

  mutating func insert(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
  }
}

/// Reads a pattern from left to right, as git does.
private struct PatternParser {
  /// The whole pattern, of which `rest` is a slice.
  let pattern: Bytes
  var rest: ArraySlice<UInt8>

  /// What the names of the directories, and then the last name, have to match.
  mutating func parse() throws(PatternError) -> (parents: [PathElement], name: NamePattern) {
    var parents: [PathElement] = []
    var elements: [NameElement] = []
    var start = rest.startIndex
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "/"):
        let isAnyDepth = isDoubleStar(start..<rest.startIndex - 1)
        parents.append(isAnyDepth ? .anyDepth : .name(NamePattern(elements)))
        elements = []
        start = rest.startIndex
      case UInt8(ascii: "*"):
        if elements.last?.isRun != true { elements.append(.anyBytes) }
      case UInt8(ascii: "?"):
        elements.append(.oneOf(.all))
      case UInt8(ascii: "["):
        elements.append(.oneOf(try byteSet()))
      case UInt8(ascii: "\\"):
        guard let escaped = rest.first else { throw error("nothing after the backslash at the end") }
        // An escaped slash still separates names: the next turn sees it.
        if escaped != UInt8(ascii: "/") { elements.append(.byte(rest.removeFirst())) }
      default:
        elements.append(.byte(byte))
      }
    }
    // `**` at the end takes any number of names, but not none.
    if isDoubleStar(start..<rest.startIndex) { parents.append(.anyDepth) }
    return (parents, NamePattern(elements))
  }

  private func isDoubleStar(_ range: Range<Int>) -> Bool {
    range.count >= 2 && pattern[range].allSatisfy { $0 == UInt8(ascii: "*") }
  }

  /// The rest of a character class, after its `[`.
  private mutating func byteSet() throws(PatternError) -> ByteSet {
    let isNegated = rest.first == UInt8(ascii: "!") || rest.first == UInt8(ascii: "^")
    if isNegated { rest.removeFirst() }
    let first = rest.startIndex
    var set = ByteSet()
    // The byte from which a `-` after it makes a range.
    var low: UInt8?
    // A `]` that comes first is an ordinary byte.
    while rest.first != UInt8(ascii: "]") || rest.startIndex == first {
      if let named = try namedClass() {
        set.insert(named)
        low = nil
      } else if let bottom = low, rest.first == UInt8(ascii: "-"), rest.dropFirst().first != UInt8(ascii: "]") {
        rest.removeFirst()
        let top = try classByte()
        // An upside-down range is empty, as in git.
        if bottom <= top { set.insert(bottom...top) }
        low = nil
      } else {
        let byte = try classByte()
        set.insert(CollectionOfOne(byte))
        low = byte
      }
    }
    rest.removeFirst()
    return isNegated ? set.inverted : set
  }

  /// The next byte of a character class, perhaps after a backslash.
  private mutating func classByte() throws(PatternError) -> UInt8 {
    var byte = rest.popFirst()
    if byte == UInt8(ascii: "\\") { byte = rest.popFirst() }
    guard let byte else { throw error("unclosed character class '['") }
    return byte
  }

  /// The bytes of `[:name:]`, if that is what comes next.
  private mutating func namedClass() throws(PatternError) -> [UInt8]? {
    guard rest.starts(with: Bytes("[:")), let end = rest.firstIndex(of: UInt8(ascii: "]")) else { return nil }
    let inner = rest[rest.startIndex + 2..<end]
    guard inner.last == UInt8(ascii: ":") else { return nil }
    let name = Bytes(inner.dropLast()).shown
    guard let isMember = namedClasses[name] else { throw error("unknown character class '[:\(name):]'") }
    rest = rest[(end + 1)...]
    // ASCII only, so that no locale has a say.
    return (0..<128).filter { isMember(Int32($0)) != 0 }
  }

  private func error(_ reason: String) -> PatternError { PatternError(pattern: pattern, reason: reason) }
}

private let namedClasses: [String: @Sendable (Int32) -> Int32] = [
  "alnum": isalnum, "alpha": isalpha, "blank": isblank, "cntrl": iscntrl, "digit": isdigit, "graph": isgraph,
  "lower": islower, "print": isprint, "punct": ispunct, "space": isspace, "upper": isupper, "xdigit": isxdigit,
]
