/// Exclusion patterns against a table that git agrees with, and against git itself on random patterns.
import Foundation
import Posix
import SheafCore
import Testing

extension Exclusions {
  fileprivate init(_ file: Bytes, sources: [Bytes] = [[]]) throws {
    self.init()
    self.sources = sources
    try add(file: file)
  }

  fileprivate func excludes(_ path: Bytes, isDirectory: Bool) -> Bool {
    let (parent, name) = path.splitAtName
    return name.withUnsafeBufferPointer { excludes(directory: parent, name: $0, isDirectory: isDirectory) }
  }

  /// Whether a walk from the top down, starting below `top`, leaves out `path` or a directory above it.
  fileprivate func prunes(_ path: Bytes, below top: Bytes) -> Bool {
    let ends = path.indices.filter { $0 > top.count && path[$0] == UInt8(ascii: "/") }
    return ends.contains { excludes(Bytes(path[..<$0]), isDirectory: true) } || excludes(path, isDirectory: false)
  }
}

private let gitPath = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/git" }
  .first(where: FileManager.default.isExecutableFile)

@Suite struct ExclusionsTests {
  /// An ignore file, a path (a directory with a slash at its end), and whether the path is excluded.
  struct Row: CustomTestStringConvertible, Sendable {
    let file: String
    let path: String
    let isExcluded: Bool

    init(_ file: String, _ path: String, _ isExcluded: Bool) {
      self.file = file
      self.path = path
      self.isExcluded = isExcluded
    }

    var testDescription: String { "\(file.debugDescription) \(path) \(isExcluded)" }
  }

  /// Each row's last column is what `git check-ignore` says of that path with that file as the root's `.gitignore`.
  static let rows = [
    // Names at any level.
    Row("cache", "cache", true), Row("cache", "a/b/cache", true), Row("cache", "a/cached", false),
    Row("cache", "a/xcache", false), Row("Cache", "cache", false),
    Row("cache/", "a/cache/", true), Row("cache/", "a/cache", false), Row("cache//", "cache/", false),
    Row("*.o", "a/b.o", true), Row("*.o", ".o", true), Row("*.o", "a/b.oo", false), Row("*.o", "o", false),
    Row("*", "a", true), Row("**", "a/b", true), Row("**/", "a/", true), Row("**/", "a", false),
    Row("*~", "a/b~", true), Row("core*", "corex", true), Row("core*", "core", true), Row("core*", "cor", false),
    Row("a*b*c", "axxbyyc", true), Row("a*b*c", "axxcyyb", false), Row("a?c", "abc", true), Row("a?c", "ac", false),
    Row("***a", "xa", true), Row("a**b", "axb", true),
    // Slashes at the start or in the middle.
    Row("/a", "a", true), Row("/a", "b/a", false), Row("/a/b", "a/b", true), Row("/a/b", "c/a/b", false),
    Row("a/b", "a/b", true), Row("a/b", "c/a/b", false), Row("/a/*", "a/b", true), Row("/a/*c", "a/b/c", false),
    Row("/*", "a", true), Row("/*/b", "a/b", true), Row("/*/b", "a/c/b", false), Row("/a?b", "a/b", false),
    Row("/a[/]b", "a/b", false), Row("a\\/b", "a/b", true), Row("a//b", "a/b", false), Row("//a", "a", false),
    Row("/a/b/", "a/b/", true), Row("/a/b/", "a/b", false), Row("/", "a/", false), Row("/a/b/", "a/bc/", false),
    // Two stars.
    Row("**/b", "b", true), Row("**/b", "a/c/b", true), Row("**/b/c", "a/b/c", true), Row("**/b/c", "b/a/c", false),
    Row("a/**", "a/", false), Row("a/**", "a/b/c", true), Row("/**", "a", true), Row("a/**/", "a/b/", true),
    Row("a/**/", "a/b", false), Row("a/**/b", "a/b", true), Row("a/**/b", "a/x/y/b", true),
    Row("a/**/b", "a/x/yb", false), Row("/**/a/**/b", "x/a/y/b", true), Row("a/***/b", "a/x/y/b", true),
    Row("/x/a**b", "x/a/b", false), Row("**/**/b", "b", true), Row("a/**/b/**/c", "a/b/x/b/y/c", true),
    // Character classes.
    Row("[abc]", "b", true), Row("[abc]", "d", false), Row("[!a-c]", "d", true), Row("[^a-c]", "b", false),
    Row("[]a]", "]", true), Row("[!]a]", "]", false), Row("[a-]", "-", true), Row("[-a]", "-", true),
    Row("[a\\]b]", "]", true), Row("[\\a-c]", "b", true), Row("[c-a]", "b", false), Row("[a-c-e]", "d", false),
    Row("[a-c-e]", "-", true), Row("[[:alpha:]]", "x", true), Row("[[:alpha:]]", "1", false),
    Row("[![:digit:]_]", "5", false), Row("[![:digit:]_]", "a", true), Row("[[:upper:][:digit:]]", "7", true),
    Row("a[[:]", "a:", true), Row("[[:x]", "x", true), Row("[[]", "[", true), Row("*.[oa]", "x.a", true),
    // Escapes.
    Row("\\*", "*", true), Row("\\*", "a", false), Row("a\\?", "a?", true), Row("\\[a]", "[a]", true),
    Row("\\a", "a", true), Row("\\\\", "\\", true), Row("\\#a", "#a", true), Row("\\!a", "!a", true),
    // Lines.
    Row("#a", "#a", false), Row("a#", "a#", true), Row("\n\r\n  \na\r\n", "a", true), Row("a  \n", "a", true),
    Row("a\\ ", "a ", true), Row("a\\  ", "a ", true), Row("a\\\\ ", "a\\", true), Row(" a", " a", true),
    Row(" a", "a", false), Row("\u{FEFF}a", "a", true), Row("a \r\n", "a", true),
    // The last one to match decides.
    Row("*.o\n!b.o", "b.o", false), Row("!b.o\n*.o", "b.o", true), Row("*.o\n!b.o\nb.o", "b.o", true),
    Row("*\n!*/", "a/", false), Row("*\n!*/", "a", true), Row("/*\n!/a", "a", false), Row("!a", "a", false),
    Row("!!a\n*", "a", true), Row("*\n!!a", "!a", false),
  ]

  @Test(arguments: rows) func agreesWithTheTable(row: Row) throws {
    let isDirectory = row.path.hasSuffix("/")
    let path = Bytes((isDirectory ? row.path.dropLast() : row.path[...]).utf8)
    #expect(try Exclusions(Bytes(row.file.utf8)).excludes(path, isDirectory: isDirectory) == row.isExcluded)
  }

  @Test func namesAreBytes() throws {
    var exclusions = Exclusions()
    #expect(exclusions.isEmpty)
    try exclusions.add(pattern: Bytes("caf?"))
    try exclusions.add(pattern: [0x5B, 0xF0, 0x2D, 0xFF, 0x5D])  // [\xF0-\xFF]
    #expect(!exclusions.isEmpty)
    #expect(exclusions.excludes([0x63, 0x61, 0x66, 0xE9], isDirectory: false))
    #expect(!exclusions.excludes(Bytes("café"), isDirectory: false))
    #expect(exclusions.excludes([0xF8], isDirectory: false))
    #expect(!exclusions.excludes([0xEF], isDirectory: false))
  }

  @Test func onePatternIsTakenAsItIs() throws {
    var exclusions = Exclusions()
    try exclusions.add(pattern: Bytes("#a "))
    #expect(exclusions.excludes(Bytes("#a "), isDirectory: false))
  }

  @Test func aMiddleSlashIsRelativeToEverySource() throws {
    let sources = [Bytes("home/me"), Bytes("srv")]
    let exclusions = try Exclusions(Bytes("build/out\n/srv/tmp\n**/x/y"), sources: sources)
    func excludes(_ path: StaticString) -> Bool { exclusions.excludes(Bytes(path), isDirectory: true) }
    #expect(excludes("home/me/build/out"))
    #expect(excludes("srv/build/out"))
    #expect(!excludes("home/build/out"))
    #expect(!excludes("home/mebuild/out"))
    #expect(!excludes("home/me/a/build/out"))
    #expect(!excludes("build/out"))
    #expect(excludes("srv/tmp"))
    #expect(!excludes("home/me/srv/tmp"))
    #expect(excludes("home/me/a/x/y"))
    #expect(!excludes("home/x/y"))
  }

  @Test(arguments: [
    ("a[b", "unclosed character class '['"), ("[", "unclosed character class '['"),
    ("[]", "unclosed character class '['"), ("[!]", "unclosed character class '['"),
    ("[a-", "unclosed character class '['"), ("[a\\", "unclosed character class '['"),
    ("[a/", "unclosed character class '['"), ("[[:alpha:]", "unclosed character class '['"),
    ("[[:word:]]", "unknown character class '[:word:]'"),
    ("!a\\", "nothing after the backslash at the end"), ("a\\/", "nothing after the backslash at the end"),
  ])
  func malformedPatternsAreErrors(pattern: String, reason: String) {
    var exclusions = Exclusions()
    let error = #expect(throws: PatternError.self) { try exclusions.add(pattern: Bytes(pattern.utf8)) }
    #expect(error?.pattern == Bytes(pattern.utf8))
    #expect(error?.reason == reason)
  }

  @Test(.timeLimit(.minutes(1))) func manyStarsAreNoTrouble() throws {
    let stars = Bytes(String(repeating: "a*", count: 100).utf8) + Bytes("b")
    let anyDepths = Bytes(String(repeating: "**/a/", count: 100).utf8) + Bytes("b/c")
    let exclusions = try Exclusions(stars + Bytes("\n") + anyDepths)
    #expect(!exclusions.excludes(Bytes(repeating: UInt8(ascii: "a"), count: 255), isDirectory: false))
    let deep = Bytes(String(repeating: "a/", count: 2000).utf8)
    #expect(!exclusions.excludes(deep + Bytes("c"), isDirectory: false))
    #expect(exclusions.excludes(deep + Bytes("b/c"), isDirectory: false))
  }

  @Test(.enabled(if: gitPath != nil, "git is missing")) func agreesWithGit() throws {
    let seed = UInt64.random(in: .min ... .max)
    print("ExclusionsTests.agreesWithGit: seed \(seed)")
    var random = SplitMix(state: seed)
    let root = FileManager.default.temporaryDirectory.appending(path: "sheaf-exclusions-\(UUID())")
    defer { try? FileManager.default.removeItem(at: root) }
    // Many small ignore files, one in each directory, so that git has to be asked only once.
    var cases: [(file: Bytes, exclusions: Exclusions, path: Bytes)] = []
    for number in 0..<250 {
      let top = Bytes("top/\(number)".utf8)
      let lines = (0..<Int.random(in: 1...4, using: &random)).map { _ in random.line() }
      let file = Bytes(lines.map { $0.text(root: []) }.joined(separator: Bytes("\n")))
      let rooted = Bytes(lines.map { $0.text(root: Bytes("/") + top) }.joined(separator: Bytes("\n")))
      let exclusions = try Exclusions(rooted, sources: [Bytes("elsewhere"), top])
      let directory = root.appending(path: top.shown)
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      try Data(file).write(to: directory.appending(path: ".gitignore"))
      cases += (0..<60).map { _ in (file, exclusions, top.joined(random.path())) }
    }
    let verdicts = try gitExcludes(cases.map(\.path), root: root)
    try #require(verdicts.count == cases.count)
    for ((file, exclusions, path), verdict) in zip(cases, verdicts) {
      let top = path.indices.filter { path[$0] == UInt8(ascii: "/") }[1]
      #expect(
        exclusions.prunes(path, below: Bytes(path[..<top])) == verdict,
        "seed \(seed): \(path.shown.debugDescription) under \(file.shown.debugDescription)")
    }
  }

  /// What git says of each path, none of which exists: directories above it count as such, it itself as a file.
  private func gitExcludes(_ paths: [Bytes], root: URL) throws -> [Bool] {
    try git(["init", "--quiet"], input: [], root: root)
    let input = Bytes(paths.joined(separator: [0]))
    let output = try git(["check-ignore", "--stdin", "-v", "-n", "-z", "--no-index"], input: input, root: root)
    // Four fields for each path: the ignore file, the line, the pattern, the path.
    let fields = output.split(separator: 0, omittingEmptySubsequences: false)
    return stride(from: 2, to: fields.count - 1, by: 4).map { index in
      !fields[index].isEmpty && fields[index].first != UInt8(ascii: "!")
    }
  }

  @discardableResult private func git(_ arguments: [String], input: Bytes, root: URL) throws -> Data {
    let (inputFile, outputFile) = (root.appending(path: "in"), root.appending(path: "out"))
    try Data(input).write(to: inputFile)
    try Data().write(to: outputFile)
    let process = Process()
    process.executableURL = URL(filePath: try #require(gitPath))
    process.arguments = arguments
    process.currentDirectoryURL = root
    // No configuration of the user's.
    process.environment = ["HOME": root.path, "GIT_CONFIG_NOSYSTEM": "1"]
    process.standardInput = try FileHandle(forReadingFrom: inputFile)
    process.standardOutput = try FileHandle(forWritingTo: outputFile)
    try process.run()
    process.waitUntilExit()
    // 1 is "none of them is ignored".
    try #require(process.terminationReason == .exit && process.terminationStatus <= 1)
    return try Data(contentsOf: outputFile)
  }
}

/// A line of an ignore file, in parts so that a leading slash can be made to mean another root.
private struct Line {
  let isNegated: Bool
  let isRooted: Bool
  let rest: Bytes

  func text(root: Bytes) -> Bytes {
    (isNegated ? Bytes("!") : []) + (isRooted ? root + Bytes("/") : []) + rest
  }
}

/// A seeded generator of numbers, and with them of patterns and paths over a few bytes, so that they often match.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  private mutating func one(in count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }

  private mutating func some<Value>(_ range: ClosedRange<Int>, _ make: (inout SplitMix) -> Value) -> [Value] {
    (0..<Int.random(in: range, using: &self)).map { _ in make(&self) }
  }

  private mutating func letter() -> UInt8 {
    let letters = one(in: 8) ? Bytes("-]!^#* \\") : Bytes("aabbcB1") + [0xE9]
    return letters.randomElement(using: &self)!
  }

  mutating func path() -> Bytes {
    Bytes(some(1...4) { Bytes($0.some(1...3) { $0.letter() }) }.joined(separator: Bytes("/")))
  }

  mutating func line() -> Line {
    var rest = Bytes(some(1...4) { $0.name() }.joined(separator: Bytes("/")))
    if one(in: 5) { rest += Bytes("/") }
    if one(in: 8) { rest += Bytes(" ") }
    if one(in: 8) { rest += Bytes("\r") }
    return Line(isNegated: one(in: 3), isRooted: one(in: 4), rest: rest)
  }

  /// `**`, or a few parts of which no two stars are neighbours.
  private mutating func name() -> Bytes {
    if one(in: 4) { return Bytes("**") }
    var name = Bytes()
    for part in some(1...3, { $0.part() }) where part != Bytes("*") || name.last != UInt8(ascii: "*") { name += part }
    return name
  }

  private mutating func part() -> Bytes {
    switch Int.random(in: 0..<9, using: &self) {
    case 0: return Bytes("?")
    case 1, 2: return Bytes("*")
    case 3:
      let members = some(1...3) { $0.member() }.joined()
      return Bytes("[") + Bytes(["", "!", "^"].randomElement(using: &self)!.utf8) + members + Bytes("]")
    default: return escaped(letter())
    }
  }

  private mutating func member() -> Bytes {
    switch Int.random(in: 0..<6, using: &self) {
    case 0: return escaped(letter()) + Bytes("-") + escaped(letter())
    case 1: return [Bytes("[:alpha:]"), Bytes("[:digit:]"), Bytes("[:upper:]")].randomElement(using: &self)!
    case 2: return Bytes("-")
    default: return escaped(letter())
    }
  }

  /// With a backslash where the byte would mean something, and sometimes where it would not.
  private mutating func escaped(_ byte: UInt8) -> Bytes {
    let isSpecial = Bytes("]!^#* \\").contains(byte)
    return isSpecial || one(in: 6) ? [UInt8(ascii: "\\"), byte] : [byte]
  }
}
