/// Which entries of a tree to leave out, by the rules of gitignore(5).
import Posix

/// Patterns in the order they were given, of which the last one to match an entry decides.
///
/// A pattern without a slash (but for one at its end) matches the name at any level; one that starts with a slash is
/// an absolute path; one with a slash in the middle only is a path below any of the sources.
public struct Exclusions: Sendable {
  /// What is backed up, as absolute paths without the leading slash; the empty path is the whole file system.
  public var sources: [Bytes] = []

  private var patterns: [Pattern] = []

  /// No patterns: nothing is excluded.
  public init() {}

  /// Whether there are no patterns.
  public var isEmpty: Bool { patterns.isEmpty }

  /// Adds one pattern, to be taken as it is: neither a comment nor trimmed.
  public mutating func add(pattern: Bytes) throws(PatternError) {
    patterns.append(try Pattern(pattern))
  }

  /// Adds every line of a file written like a `.gitignore`.
  public mutating func add(file: Bytes) throws(PatternError) {
    let byteOrderMark: Bytes = [0xEF, 0xBB, 0xBF]
    let text = file.starts(with: byteOrderMark) ? file.dropFirst(byteOrderMark.count) : file[...]
    for line in text.split(separator: UInt8(ascii: "\n")) where line.first != UInt8(ascii: "#") {
      let pattern = trimmed(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
      if !pattern.isEmpty { try add(pattern: pattern) }
    }
  }

  /// Whether the entry `name`, which is not empty, of `directory` (absolute, without the leading slash) is excluded.
  ///
  /// Asked from the top down: nothing can be re-included below an excluded directory, so nobody asks about that.
  public func excludes(directory: Bytes, name: UnsafeBufferPointer<UInt8>, isDirectory: Bool) -> Bool {
    let deciding = patterns.last {
      $0.matches(directory: directory, name: name, isDirectory: isDirectory, sources: sources)
    }
    return deciding?.isNegated == false
  }

  /// `line` without the spaces at its end, up to one escaped by a backslash.
  private func trimmed(_ line: ArraySlice<UInt8>) -> Bytes {
    var end = line.startIndex
    var isEscaped = false
    for (index, byte) in zip(line.indices, line) {
      if isEscaped || byte != UInt8(ascii: " ") { end = index + 1 }
      isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
    }
    return Bytes(line[..<end])
  }
}
