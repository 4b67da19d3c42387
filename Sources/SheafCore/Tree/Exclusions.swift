/// Which entries of a tree to leave out, by the rules of gitignore(5).
import Posix

/// Patterns in the order they were given, of which the last one to match an entry decides.
///
/// A pattern without a slash (but for one at its end) matches the name at any level; one that starts with a slash is
/// an absolute path; one with a slash in the middle only is a path below any of the sources.
public struct Exclusions: Sendable {
  /// What is backed up, as absolute paths without the leading slash; the empty path is the whole file system.
  public var sources: [Bytes] = []

  /// The patterns in one form, whichever way they were given: as a line of a `.gitignore` that is no comment, without
  /// what is ignored at its end.
  public private(set) var texts: [Bytes] = []

  private var patterns: [Pattern] = []
  /// Which of `texts` each of them stands for.
  private var owners: [Int] = []

  /// Which of the texts decided about an entry that they were asked about; copies share it.
  private let used = Monitor<Set<Int>>([])

  /// No patterns: nothing is excluded.
  public init() {}

  /// Whether there are no patterns.
  public var isEmpty: Bool { patterns.isEmpty }

  /// Adds one pattern, to be taken as it is: neither a comment nor trimmed. `others`: what it may mean as well.
  public mutating func add(pattern: Bytes, orAs others: [Bytes] = []) throws(PatternError) {
    for form in [pattern] + others {
      patterns.append(try Pattern(form))
      owners.append(texts.count)
    }
    texts.append(Self.asLine(pattern))
  }

  /// Adds every line of a file written like a `.gitignore`.
  public mutating func add(file: Bytes) throws(PatternError) {
    let text = Self.withoutMark(file[...])
    for line in text.split(separator: UInt8(ascii: "\n")) where line.first != UInt8(ascii: "#") { try add(line: line) }
  }

  /// Adds a pattern as `texts` has it, or as the first line of a file does.
  mutating func add(text: Bytes) throws(PatternError) { try add(line: Self.withoutMark(text[...])) }

  private mutating func add(line: ArraySlice<UInt8>) throws(PatternError) {
    let pattern = Self.trimmed(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
    guard !pattern.isEmpty else { return }
    patterns.append(try Pattern(pattern))
    owners.append(texts.count)
    texts.append(pattern)
  }

  /// Whether the entry `name`, which is not empty, of `directory` (absolute, without the leading slash) is excluded.
  ///
  /// Asked from the top down: nothing can be re-included below an excluded directory, so nobody asks about that.
  public func excludes(directory: Bytes, name: UnsafeBufferPointer<UInt8>, isDirectory: Bool) -> Bool {
    let deciding = patterns.lastIndex {
      $0.matches(directory: directory, name: name, isDirectory: isDirectory, sources: sources)
    }
    guard let deciding else { return false }
    let owner = owners[deciding]
    used.look { _ = $0.insert(owner) }
    return !patterns[deciding].isNegated
  }

  /// The patterns that decided about nothing so far.
  public var unused: [Bytes] {
    let used = used.look { $0 }
    return texts.indices.filter { !used.contains($0) }.map { texts[$0] }
  }

  /// Which some editors put in front of a file.
  private static let byteOrderMark: Bytes = [0xEF, 0xBB, 0xBF]

  private static func withoutMark(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    text.starts(with: byteOrderMark) ? text.dropFirst(byteOrderMark.count) : text
  }

  /// `line` without the spaces at its end, up to one escaped by a backslash.
  private static func trimmed(_ line: ArraySlice<UInt8>) -> Bytes {
    var end = line.startIndex
    var isEscaped = false
    for (index, byte) in zip(line.indices, line) {
      if isEscaped || byte != UInt8(ascii: " ") { end = index + 1 }
      isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
    }
    return Bytes(line[..<end])
  }

  /// A pattern of the same meaning that survives being read as a line.
  private static func asLine(_ pattern: Bytes) -> Bytes {
    var line = pattern
    if line.last == UInt8(ascii: "\r") {
      line.removeLast()
      let backslashes = line.reversed().prefix { $0 == UInt8(ascii: "\\") }.count
      if backslashes % 2 == 1 { line.removeLast() }
      line += Bytes("[\r]")
    }
    if line.starts(with: byteOrderMark) { line.insert(UInt8(ascii: "\\"), at: 0) }
    if trimmed(line[...]) != line { line.insert(UInt8(ascii: "\\"), at: line.count - 1) }
    return line
  }
}
