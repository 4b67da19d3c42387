/// What a run leaves out: the rules as the user gives them, as a set's head keeps them, and as they are applied.
import Posix

/// The options that leave something out. A set's head holds them in the form that the command line has
/// (`--exclude=PATTERN`), one a line, so that a person can read them and a later run can use them again.
public struct ExclusionRules: Sendable {
  private var patterns = Exclusions()
  /// Of a directory with a `CACHEDIR.TAG`, only that file is kept.
  public var excludesCaches = false
  /// Of a directory that holds one of these names, only that name is kept.
  public private(set) var markers: [Bytes] = []
  /// Files above this many bytes are left out.
  public var largest: Int64?
  /// Directories on other file systems than their source stay empty.
  public var oneFileSystem = false
  /// Lines of a head that cannot be understood; a newer version's, perhaps.
  public private(set) var unknown: [Bytes] = []

  /// What is backed up, as absolute paths without the leading slash: patterns may be relative to them. No part of what
  /// is compared or kept.
  var sources: [Bytes] {
    get { patterns.sources }
    set { patterns.sources = newValue }
  }

  /// Nothing is left out.
  public init() {}

  /// Adds one pattern, to be taken as it is: neither a comment nor trimmed.
  public mutating func add(pattern: Bytes) throws(PatternError) { try patterns.add(pattern: pattern) }

  /// Adds every line of a file written like a `.gitignore`.
  public mutating func add(file: Bytes) throws(PatternError) { try patterns.add(file: file) }

  public mutating func add(marker: Bytes) { markers.append(marker) }

  // MARK: In a set's head

  private static let pattern = Bytes("--exclude=")
  private static let marker = Bytes("--exclude-if-present=")
  private static let largest = Bytes("--exclude-larger-than=")
  private static let caches = Bytes("--exclude-caches")
  private static let oneFileSystem = Bytes("--one-file-system")

  /// As a set's head has them. Heads of earlier versions hold the lines of a file of patterns as they stood there: with
  /// carriage returns, blanks at the end, and empty ones.
  public init(lines: [Bytes]) {
    for line in lines where !read(line) { unknown.append(line) }
  }

  private mutating func read(_ line: Bytes) -> Bool {
    func value(_ option: Bytes) -> Bytes? { line.starts(with: option) ? Bytes(line.dropFirst(option.count)) : nil }
    if let value = value(Self.pattern) { return (try? patterns.add(text: value)) != nil }
    if let value = value(Self.marker) {
      markers.append(value)
      return true
    }
    if let value = value(Self.largest) {
      guard let bytes = Int64(value.shown), bytes >= 0 else { return false }
      largest = bytes
      return true
    }
    if line == Self.caches {
      excludesCaches = true
    } else if line == Self.oneFileSystem {
      oneFileSystem = true
    } else {
      return false
    }
    return true
  }

  /// What a set's head says of them; the same rules always give the same lines.
  public var lines: [Bytes] {
    var lines = patterns.texts.map { Self.pattern + $0 }
    if excludesCaches { lines.append(Self.caches) }
    lines += markers.map { Self.marker + $0 }
    if let largest { lines.append(Self.largest + Bytes("\(largest)".utf8)) }
    if oneFileSystem { lines.append(Self.oneFileSystem) }
    return lines + unknown
  }

  /// What these rules leave out that `old` do not, and the other way round, in a sentence; nil where they are the same.
  public func difference(from old: ExclusionRules) -> String? {
    let (before, now) = (old.lines, lines)
    if before == now { return nil }
    func only(_ some: [Bytes], in others: [Bytes]) -> String? {
      let others = Set(others)
      let shown = some.filter { !others.contains($0) }.map(Self.shown)
      let most = 8
      let more = shown.count > most ? ["and \(shown.count - most) more"] : []
      return shown.isEmpty ? nil : (shown.prefix(most) + more).joined(separator: " ")
    }
    let parts = [
      only(now, in: before).map { "newly left out: \($0)" }, only(before, in: now).map { "no longer left out: \($0)" },
    ].compactMap { $0 }
    return parts.isEmpty ? "the patterns of what is left out come in another order now" : parts.joined(separator: "; ")
  }

  /// A line as it would be written in a command; stars and the like alone are left without quotes, to be read easily.
  private static func shown(_ line: Bytes) -> String {
    let needsQuotes = line.contains { $0 <= 32 || $0 == UInt8(ascii: "'") || $0 == UInt8(ascii: "\"") }
    guard needsQuotes, let equals = line.firstIndex(of: UInt8(ascii: "=")) else { return Show.path(line) }
    return Show.path(Bytes(line[...equals])) + Show.word(Bytes(line[(equals + 1)...]))
  }

  // MARK: Applied

  /// The patterns that left nothing out so far.
  public var unusedPatterns: [Bytes] { patterns.unused }

  /// Whether the entry `name` of `directory` (absolute, without the leading slash) is left out by its name, kind or size.
  ///
  /// Asked from the top down: what is below something that is left out is left out with it.
  func leavesOut(_ name: UnsafeBufferPointer<UInt8>, _ status: Status, of directory: Bytes) -> Bool {
    if let largest, status.kind == .file, status.size > largest { return true }
    return !patterns.isEmpty
      && patterns.excludes(directory: directory, name: name, isDirectory: status.kind == .directory)
  }

  /// The names that stay of a directory where a marker among them says that the rest is left out; nil where none does.
  func keptAlone(of names: [UnsafeBufferPointer<UInt8>], in directory: Descriptor) -> [Bytes]? {
    guard hasMarkers else { return nil }
    let present = markers.filter { marker in names.contains { $0.elementsEqual(marker) } }
    if !present.isEmpty { return present }
    let tag = Bytes("CACHEDIR.TAG")
    guard excludesCaches, names.contains(where: { $0.elementsEqual(tag) }),
      let file = try? directory.open(tag, [.read, .noFollow, .nonBlocking]),
      // The Cache Directory Tagging Specification, section 2.
      (try? file.read(count: 43, at: 0)) == Bytes("Signature: 8a477f597d28d172789f06886806bc55")
    else { return nil }
    return [tag]
  }

  /// Whether `keptAlone` can give anything.
  var hasMarkers: Bool { excludesCaches || !markers.isEmpty }
}
