/// What is left out of a backup, by pattern, marker, size and file system; the patterns' own rules are tested where
/// they are written.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct ExclusionTests {
  private static let tree = TestTree([
    "a.o": .file("object"), "a.c": .file("source"), "keep.o": .file("kept"), "notes.txt": .file("n"),
    "build": .directory(["out": .file("o"), "in": .directory(["x.o": .file("x"), "x.c": .file("x")])]),
    "src": .directory(["build": .directory(["y": .file("y")]), "b.o": .file("b"), "b.c": .file("b")]),
    "cache": .directory([
      "CACHEDIR.TAG": .file("Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n"), "junk": .file("junk"),
      "sub": .directory(["more": .file("more")]),
    ]),
    "no-cache": .directory(["CACHEDIR.TAG": .file("something else"), "precious": .file("p")]),
    "marked": .directory([".nobackup": .file(), "junk": .file("junk"), "sub": .directory()]),
    "large": .file(size: 20_001, seed: 1), "medium": .file(size: 20_000, seed: 2), "star*": .file("*"),
    [0xff]: .file("b"),
  ])

  private func paths(_ f: Fixture, at point: String = "latest") throws -> [String] {
    let target = try f.restore(at: point)
    return try Snapshot(of: target.joined(f.inside.bytes)).paths.map(\.shown)
  }

  private func all(_ f: Fixture, without left: (String) -> Bool) throws -> [String] {
    try Snapshot(of: f.source).paths.map(\.shown).filter { !left($0) }
  }

  @Test func patterns() throws {
    let f = try Fixture(Self.tree)
    let summary = try f.save([
      "--exclude", "*.o", "--exclude", "!keep.o", "--exclude", "\(f.source)/build/", "--exclude", "star\\*",
    ])
    #expect(try paths(f) == all(f) { ($0.hasSuffix(".o") && $0 != "keep.o") || $0.hasPrefix("build") || $0 == "star*" })
    #expect(summary.excluded == 4)
  }

  @Test func aPatternThatIsNotUTF8() throws {
    let f = try Fixture(Self.tree)
    #expect(try f.save(["--exclude", [0xff]]).excluded == 1)
    #expect(try Snapshot(of: try f.restore().joined(f.inside.bytes))[[0xff]] == nil)
  }

  @Test func aDirectoryItselfIsNotASource() throws {
    let f = try Fixture(Self.tree)
    // A name without a slash is meant anywhere below the source, not above it and not the source itself.
    try f.save(["--exclude", "build", "--exclude", "source", "--exclude", "tmp", "--exclude", "box"])
    #expect(try paths(f) == all(f) { $0.hasPrefix("build") || $0.hasPrefix("src/build") })
  }

  @Test func excludeFrom() throws {
    let f = try Fixture(Self.tree)
    try f.scratch.write("rules", "# objects\n\n*.o\n!keep.o\n\\#none\ntrailing   \nsrc/*\n!src/build\n")
    try f.save(["--exclude-from", Raw(f.scratch.path("rules")), "--exclude", "notes.txt"])
    #expect(
      try paths(f)
        == all(f) {
          ($0.hasSuffix(".o") && $0 != "keep.o") || ($0.hasPrefix("src/") && !$0.hasPrefix("src/build"))
            || $0 == "notes.txt"
        })
    try f.sheaf(["backup", "-s", Raw(f.store), "--exclude-from", "nowhere"], status: 1)
  }

  @Test func excludeCaches() throws {
    let f = try Fixture(Self.tree)
    #expect(try f.save(["--exclude-caches"]).excluded == 2)
    // The tag stays, so that what is restored is known for a cache again.
    #expect(try paths(f) == all(f) { $0.hasPrefix("cache/") && $0 != "cache/CACHEDIR.TAG" })
  }

  @Test func excludeIfPresent() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--exclude-if-present", ".nobackup", "--exclude-if-present", "y"])
    #expect(try paths(f) == all(f) { $0.hasPrefix("marked/") && $0 != "marked/.nobackup" })
  }

  @Test func excludeLargerThan() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--exclude-larger-than", "20000"])
    #expect(try paths(f) == all(f) { $0 == "large" })
    try f.save(["--exclude-larger-than", "1k"])
    #expect(try paths(f) == all(f) { $0 == "large" || $0 == "medium" })
    for bad in ["4X", "-1", "", "k", "1.2.3"] as [Raw] {
      let output = try f.sheaf(["backup", "-s", Raw(f.store), "--exclude-larger-than", bad], status: 64)
      #expect(output.errorLines.count == 2 && output.errorLines.last?.hasPrefix("hint: ") == true, "\(output)")
    }
  }

  @Test func whatIsNewlyExcludedLeavesThePoint() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let summary = try f.save(["--exclude", "*.o", "--exclude", "build/"])
    #expect(summary.excluded == 5)
    let expected = try all(f) { $0.hasSuffix(".o") || $0.hasPrefix("build") || $0.hasPrefix("src/build") }
    #expect(try paths(f) == expected)
    // Also by the road of tar, which the list of names in each directory tells what to remove.
    let target = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(target)
    for point in f.points { try Reader.gnuTar.extract(f.archive(point), into: target).checked() }
    #expect(try Snapshot(of: target.joined(f.inside.bytes)).paths.map(\.shown) == expected)
    try f.save(["--change-excludes"])
    #expect(try f.differences(at: f.points[0]) == [])
    #expect(try f.differences(at: f.points[2]) == [])
    try f.save(["--full", "--exclude", "*.c"])
    #expect(try paths(f) == all(f) { $0.hasSuffix(".c") })
  }

  /// Ways to say it, and what they leave out.
  struct Way: CustomTestStringConvertible {
    let file: Bytes
    let options: [Raw]
    let left: Set<String>
    var testDescription: String { "\(file.quoted) \(options)" }

    init(_ file: String, _ options: [Raw] = [], left: Set<String>) {
      (self.file, self.options, self.left) = (Bytes(file.utf8), options, left)
    }
  }

  @Test(arguments: [
    Way("*.o\r\n# a remark\r\n\r\nnotes.txt\r\n", left: ["a.o", "notes.txt"]),
    Way("\u{FEFF}*.o\r\nnotes.txt", left: ["a.o", "notes.txt"]),
    Way("*.o   \n\n   \n#*.c\nnotes.txt \t\n", left: ["a.o"]),
    Way("blank\\ \nnotes.txt\\ \n", left: ["blank "]),
    Way("#*.c\n\\#hash\n", left: ["#hash"]),
    Way("", ["--exclude", "blank ", "--exclude", "#hash", "--exclude", "*.o "], left: ["blank ", "#hash"]),
    Way("*.o\n", ["--exclude", "return\r"], left: ["a.o", "return\r"]),
    Way("\r\n", ["--exclude", "return\\\r", "--exclude", "!x"], left: ["return\r"]),
    Way(
      "!a.o\n", ["--exclude", "*.o", "--exclude-larger-than", "5000", "--exclude-if-present", ".no"],
      left: ["large", "marked/x"]),
    Way("", ["--exclude-caches", "--one-file-system"], left: ["cache/x"]),
  ])
  func everyReaderOfTheRulesUnderstandsTheSame(way: Way) throws {
    let f = try Fixture(
      TestTree([
        "a.o": .file("a"), "b.c": .file("b"), "notes.txt": .file("n"), "blank ": .file("b"), "#hash": .file("h"),
        "return\r": .file("r"), "large": .file(size: 5001, seed: 1),
        "marked": .directory([".no": .file(), "x": .file()]),
        "cache": .directory(["CACHEDIR.TAG": .file("Signature: 8a477f597d28d172789f06886806bc55"), "x": .file()]),
      ]))
    try Descriptor.workingDirectory.makeDirectory(f.scratch.path("etc"))
    let file = f.scratch.path("etc").joined(Bytes("rules"))
    try Command("sh", ["-c", "cat >\"$0\"", Raw(file)], input: way.file).run().checked()
    let options = way.options + ["--exclude-from", Raw(file)]
    try f.save(options)
    let expected = try all(f) { way.left.contains($0) }
    #expect(try paths(f) == expected)
    let live = try f.sheaf(["diff", "--live", "-s", Raw(f.store)])
    #expect(live.lines.dropFirst() == ["0 added, 0 removed, 0 changed, 0 moved"], "\(live)")
    // The same rules again, then those that are remembered: nothing changes, and nothing is said.
    for more in [options, []] {
      let again = try f.sheaf(["backup", "-s", Raw(f.store)] + more)
      #expect(!again.errorText.contains("left out"), "\(again)")
      #expect(try paths(f) == expected)
    }
  }

  @Test func whatIsLeftOutIsRememberedUntilOtherOptionsAreGiven() throws {
    let f = try Fixture(Self.tree)
    func run(_ options: [Raw]) throws -> Output { try f.sheaf(["backup", "-s", Raw(f.store)] + options) }
    func head() throws -> [String] {
      let points = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json()
      let newest = try #require(points.compactMap { $0["set"] as? String }.last)
      let manifest = try f.series().joined(Bytes("\(newest).mtree.gz".utf8))
      return try Command("gzip", ["-dc", Raw(manifest)]).run().checked().lines
        .filter { $0.hasPrefix("# left-out: ") }
        .map { String($0.dropFirst(12)).replacing("\\075", with: "=").replacing("\\052", with: "*") }
    }
    #expect(!(try run(["--exclude", "*.o", "--exclude-caches", Raw(f.source)])).errorText.contains("left out"))
    let rules = ["--exclude=*.o", "--exclude-caches"]
    for options in [["--full"], [], ["--differential"], ["-n"], ["--comment", "x"]] as [[Raw]] {
      #expect(!(try run(options)).errorText.contains("left out"))
      #expect(try head() == rules)
      #expect(try paths(f) == all(f) { $0.hasSuffix(".o") || $0.hasPrefix("cache/") && !$0.hasSuffix("TAG") })
    }
    let other = try run(["--exclude", "*.c", "--exclude-caches"])
    #expect(other.errorLines.contains("sheaf: newly left out: --exclude=*.c; no longer left out: --exclude=*.o"))
    #expect(try head() == ["--exclude=*.c", "--exclude-caches"])
    #expect(try run(["-n", "--change-excludes"]).errorText.contains("no longer left out: --exclude=*.c"))
    #expect(try run([]).errorLines == [])
    let none = try run(["--change-excludes"])
    #expect(none.errorLines.contains("sheaf: no longer left out: --exclude=*.c --exclude-caches"), "\(none)")
    #expect(try head() == [] && paths(f) == all(f) { _ in false })
    #expect(try run([]).errorLines == [])
    // A file that holds no pattern is one that says that nothing is left out.
    _ = try run(["--exclude", "*.c"])
    try f.scratch.write("rules", "# none\n")
    #expect(try run(["--exclude-from", Raw(f.scratch.path("rules"))]).errorText.contains("no longer left out"))
  }

  /// What was saved before and is newly left out is still there: it is not counted as deleted.
  @Test func whatIsNewlyLeftOutIsNotDeleted() throws {
    let f = try Fixture(
      TestTree([
        "b c": .directory(["x": .file("x"), "deep": .directory(["y": .file("y")])]), "k.log": .file("k"),
        "gone": .directory(["z": .file("z")]), "stays": .file("s"),
      ]))
    try f.save()
    try f.edit("rm -r gone")
    let words: [Raw] = ["backup", "-s", Raw(f.store), "--exclude", "*.log", "--exclude", "b c"]
    let dry = try f.sheaf(words + ["-n", "-v"])
    // The folder with three entries and the log; the other folder with its file.
    #expect(dry.text.contains("2 deleted, 5 left out from now on"), "\(dry)")
    #expect(dry.text.contains("*fout ") && dry.text.contains("*ddel "), "\(dry)")
    #expect(dry.errorText.contains("newly left out: --exclude=*.log --exclude='b c'"), "\(dry)")
    let summary = try f.sheaf(words + ["--json"]).json().last
    #expect(summary?["files_deleted"] as? Int == 2 && summary?["files_newly_left_out"] as? Int == 5)
    let next = try f.sheaf(["backup", "-s", Raw(f.store)])
    #expect(next.text.contains("0 deleted") && !next.text.contains("from now on"), "\(next)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// What it left is taken over by a run that was told nothing, which goes on by its rules, and says so.
  @Test(
    .enabled(if: Command.canTrace, "needs strace"),
    arguments: [
      ([], ["--exclude", "*.c"], "newly left out: --exclude=*.c"),
      (["--exclude", "*.c"], ["--change-excludes"], "no longer left out: --exclude=*.c"),
      (
        ["--exclude", "*.c"], ["--exclude", "*.o"], "newly left out: --exclude=*.o; no longer left out: --exclude=*.c"
      ),
      (["--exclude-caches"], ["--exclude-caches", "--exclude", "*.o", "--full"], "newly left out: --exclude=*.o"),
    ] as [([Raw], [Raw], String)], [true, false])
  func rulesOfARunThatWasKilled(rules: ([Raw], [Raw], String), isRemembered: Bool) throws {
    let f = try Fixture(Self.tree)
    let (before, killed, words) = rules
    let here: [String: Raw?] = isRemembered ? ["XDG_STATE_HOME": Raw(f.scratch.path("here"))] : [:]
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), Raw(f.source)] + before, environment: here)
    try f.edit("head -c 90000000 /dev/urandom > zz-large")
    let command = try Command.sheaf(["backup", "-s", Raw(f.store)] + killed, environment: here).wrapped([
      "strace", "-f", "-qq", "-o", "/dev/null", "-P", Raw(f.source.joined(Bytes("zz-large"))), "-e", "trace=pread64",
      "-e", "inject=pread64:delay_enter=4s:when=30",
    ])
    let running = try command.start()
    usleep(2_500_000)
    try running.signalChild(SIGKILL)
    #expect(running.wait().errorText.contains(words))
    let next = try f.sheaf(["backup", "-s", Raw(f.store)], environment: here)
    #expect(next.errorText.contains("is kept as") && next.errorLines.contains("sheaf: \(words)"), "\(next)")
    let again = try f.sheaf(["backup", "-s", Raw(f.store)], environment: here)
    #expect(again.errorLines == [], "\(again)")
    let shown = try paths(f)
    #expect(shown.contains { $0.hasSuffix(".c") } == !killed.contains("*.c"))
    #expect(shown.contains { $0.hasSuffix(".o") } == !killed.contains("*.o"))
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  @Test func rulesOutliveTheirSets() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--exclude", "*.o"])
    try f.edit("echo 2 > a.c")
    try f.save()
    try f.sheaf(["consolidate", "-s", Raw(f.store)])
    try f.save()
    let expected = try all(f) { $0.hasSuffix(".o") }
    #expect(try paths(f) == expected)
    // The newest manifest is gone: the one before it knows.
    try f.reload()
    try Command("rm", [Raw(f.manifest(f.newest))]).run().checked()
    try f.save(["--full"], status: 3)
    #expect(try paths(f) == expected)
  }

  @Test func whatIsLeftOutIsNotTouchedByTar() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--exclude", "a.o"])
    try f.edit("rm a.c; echo changed > a.o")
    try f.save(["--exclude", "a.o"])
    let target = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(target)
    try Reader.gnuTar.extract(f.archive(f.points[0]), into: target).checked()
    let here = target.joined(f.inside.bytes)
    try Command("sh", ["-c", "echo mine > a.o"], in: here).run().checked()
    // The list of names that deletes a.c says of a.o that it was left out, not that it is gone.
    try Reader.gnuTar.extract(f.archive(f.points[1]), into: target).checked()
    let tree = try Snapshot(of: here)
    #expect(tree["a.o"]?.size == 5)
    #expect(tree["a.c"] == nil)
  }

  @Test(arguments: ["", "[", "a[", "\\"]) func patternsThatDoNotParse(pattern: String) throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    let output = try Command.sheaf(["backup", "-s", Raw(f.store), "--exclude", Raw(pattern), Raw(f.source)]).run()
    // gitignore(5) gives a meaning to most; what has none is refused before anything is written.
    #expect(output.status == 0 || output.status == 64, "\(output)")
    if output.status == 64 { #expect(try f.sheaf(["points", "-s", Raw(f.store)]).text.hasPrefix("no points yet")) }
  }

  @Test(.enabled(if: Scratch.allowsEverything, "only root can mount")) func oneFileSystem() throws {
    let f = try Fixture(TestTree(["here": .file("h"), "other": .directory(), "after": .directory(["x": .file("x")])]))
    let mount = f.source.joined(Bytes("other"))
    let mounted = try Command("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", Raw(mount)]).run()
    guard mounted.succeeded else { return }
    defer { _ = try? Command("umount", [Raw(mount)]).run() }
    try f.edit("mkdir other/deep; echo o > other/deep/file")
    try f.save(["--one-file-system"])
    #expect(try paths(f) == ["after", "after/x", "here", "other"])
    try f.save(["--change-excludes"])
    #expect(try paths(f) == ["after", "after/x", "here", "other", "other/deep", "other/deep/file"])
    try f.save(["--one-file-system"])
    #expect(try paths(f) == ["after", "after/x", "here", "other"])
    // A mount point that is itself a source is what is asked for.
    try f.save(["--series", "inner", "--one-file-system"], sources: [Raw(mount)])
    let target = f.scratch.path("inner")
    try f.sheaf(["restore", "-s", Raw(f.store), "--series", "inner", "--to", Raw(target)])
    #expect(exists(target.joined(f.inside.bytes).joined(Bytes("other/deep/file"))))
    // Tar must not empty a mount point that was not looked into.
    let tar = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(tar)
    for point in f.points[..<2] { try Reader.gnuTar.extract(f.archiveOfHost(point), into: tar).checked() }
    #expect(exists(tar.joined(f.inside.bytes).joined(Bytes("other/deep/file"))))
  }
}

extension Fixture {
  /// With several series in the store: the one that has the set.
  fileprivate func archiveOfHost(_ point: Point) throws -> Bytes {
    store.joined(Host.name()).joined(Bytes("\(point.set).tar.gz".utf8))
  }
}
