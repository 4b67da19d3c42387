/// `restore --delete`: it removes what the point does not have, and nothing else.
import Posix
import TestSupport
import Testing

@Suite struct RestoreDeleteTests {
  private func delete(
    _ f: Fixture, _ more: [Raw] = [], paths: [Raw]? = nil, status: Int32 = 0,
    at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    try f.sheaf(
      ["restore", "-s", Raw(f.store), "--to", "/", "--overwrite", "if-changed", "--delete"] + more
        + (paths ?? [f.inside]),
      status: status, at: location)
  }

  // MARK: Other file systems

  struct MountRow: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Where it is mounted, in the source.
    let place: Raw
    /// The same files once more, and not a file system of its own.
    let isBound: Bool
    /// What happens in the source before.
    var edit: Raw = "true"
    var status: Int32 = 0
  }
  private static let mountRows: [MountRow] = [false, true].flatMap { isBound in
    let kind = isBound ? "bound" : "tmpfs"
    return [
      MountRow(testDescription: "\(kind): an empty folder of the point", place: "void", isBound: isBound),
      MountRow(testDescription: "\(kind): a folder of the point that has files", place: "full", isBound: isBound),
      MountRow(
        testDescription: "\(kind): a folder that the point does not have", place: "new", isBound: isBound,
        edit: "mkdir new"),
      MountRow(
        testDescription: "\(kind): deep in one that it does not have", place: "new/a/b", isBound: isBound,
        edit: "mkdir -p new/a/b; touch new/a/goes"),
      MountRow(
        testDescription: "\(kind): where the point has a file", place: "file", isBound: isBound,
        edit: "rm file; mkdir file", status: 3),
      MountRow(
        testDescription: "\(kind): in a folder where the point has a file", place: "file/in", isBound: isBound,
        edit: "rm file; mkdir -p file/in; touch file/stays", status: 3),
    ]
  }

  @Test(.enabled(if: Mounted.isPossible, "\(Mounted.needs)"), arguments: mountRows)
  func otherFileSystemsStay(row: MountRow) throws {
    let f = try Fixture(
      TestTree(["a": .file("a"), "file": .file("f"), "void": .directory(), "full": .directory(["in": .file("in")])]))
    try f.save()
    try f.edit(row.edit)
    let place = f.source.joined(row.place.bytes)
    let elsewhere = f.scratch.path("elsewhere")
    try TestTree(["mine": .file("mine"), "deep": .directory(["deeper": .file("deeper")])]).make(at: elsewhere)
    let mounted = try row.isBound ? Mounted(elsewhere, boundTo: place) : Mounted(on: place)
    if !row.isBound { try Command("cp", ["-a", Raw("\(elsewhere)/."), Raw(place)]).run().checked() }
    try f.edit("touch extra")
    let output = try delete(f, status: row.status)
    let texts = try ["mine", "deep/deeper"].map { try Bytes.read(place.joined(Bytes($0.utf8))).shown }
    #expect(texts == ["mine", "deeper"], "\(output)")
    withExtendedLifetime(mounted) {}
    let name = row.place.bytes.shown.prefix(4)
    #expect(output.errorText.contains("/source/\(name)"), "\(output)")
    #expect(!exists(f.source.joined(Bytes("extra"))) && !exists(f.source.joined(Bytes("new/a/goes"))))
    // What could not be replaced is left as it was.
    if row.place == "file/in" { #expect(exists(f.source.joined(Bytes("file/stays")))) }
  }

  /// The folder that was asked for may lie on a file system of its own.
  @Test(.enabled(if: Mounted.isPossible, "\(Mounted.needs)")) func theSourceItselfIsMounted() throws {
    let f = try Fixture()
    let mounted = try Mounted(on: f.source)
    try TestTree(["a": .file("a"), "d": .directory(["b": .file("b")])]).make(at: f.source.joined(Bytes("top")))
    try f.save()
    try f.edit("echo x > extra; echo y > top/d/extra")
    let output = try delete(f)
    withExtendedLifetime(mounted) {
      #expect(!exists(f.source.joined(Bytes("extra"))) && !exists(f.source.joined(Bytes("top/d/extra"))), "\(output)")
    }
  }

  /// It was not mounted when the point was made.
  @Test(.enabled(if: Mounted.isPossible, "\(Mounted.needs)")) func anEmptySourceThatIsMountedNow() throws {
    let f = try Fixture()
    try f.save()
    let mounted = try Mounted(on: f.source)
    try f.edit("echo mine > mine")
    let output = try delete(f)
    withExtendedLifetime(mounted) { #expect(exists(f.source.joined(Bytes("mine"))), "\(output)") }
  }

  // MARK: What the point left out

  struct ExclusionRow: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let options: [Raw]
    /// Made after the backup, in the source.
    let edit: Raw
    let stays: [String]
    var goes: [String] = []
  }
  private static let exclusionRows = [
    ExclusionRow(
      testDescription: "a name", options: ["--exclude", "node_modules"],
      edit: "mkdir -p node_modules/a d/node_modules new/node_modules; touch d/node_modules/b new/node_modules/c new/x",
      stays: ["node_modules/a", "d/node_modules/b", "new/node_modules/c"], goes: ["new/x"]),
    ExclusionRow(
      testDescription: "a path below the source", options: ["--exclude", "d/Downloads"],
      edit: "mkdir d/Downloads Downloads; touch d/Downloads/a Downloads/b", stays: ["d/Downloads/a"],
      goes: ["Downloads"]),
    ExclusionRow(
      testDescription: "one that comes back", options: ["--exclude", "*.o", "--exclude", "!keep.o"],
      edit: "touch a.o keep.o d/b.o", stays: ["a.o", "d/b.o"], goes: ["keep.o"]),
    ExclusionRow(
      testDescription: "caches", options: ["--exclude-caches"],
      edit: """
        for i in d new/deep; do mkdir -p $i; echo 'Signature: 8a477f597d28d172789f06886806bc55' > $i/CACHEDIR.TAG
        touch $i/x; done; touch new/goes
        """, stays: ["d/x", "new/deep/x"], goes: ["new/goes", "new/deep/CACHEDIR.TAG"]),
    ExclusionRow(
      testDescription: "a marker", options: ["--exclude-if-present", ".nobackup"],
      edit: "mkdir new; touch d/.nobackup d/x new/.nobackup new/x goes", stays: ["d/x", "new/x"], goes: ["goes"]),
    ExclusionRow(
      testDescription: "large files", options: ["--exclude-larger-than", "1k"],
      edit: "mkdir new; head -c 2000 /dev/zero | tee large new/large > d/large; touch new/small",
      stays: ["large", "new/large", "d/large"], goes: ["new/small"]),
  ]

  @Test(arguments: exclusionRows) func whatWasLeftOutStays(row: ExclusionRow) throws {
    let f = try Fixture(TestTree(["a": .file("a"), "d": .directory(["e": .file("e")])]))
    try f.save(row.options)
    try f.edit(row.edit)
    let dry = try delete(f, ["-n", "--json"])
    let output = try delete(f, ["--json"])
    #expect(try dry.json().last?["files_deleted"] as? Int == output.json().last?["files_deleted"] as? Int)
    for name in row.stays { #expect(exists(f.source.joined(Bytes(name.utf8))), "\(name): \(output)") }
    for name in row.goes { #expect(!exists(f.source.joined(Bytes(name.utf8))), "\(name): \(output)") }
    _ = try delete(f, ["--delete-excluded"])
    let tree = f.newest.tree
    #expect(tree.differences(to: try Snapshot(of: f.source)) == [])
  }

  /// A source in a folder that is left out is saved, and the rest of that folder is left alone.
  /// No point holds sockets, and no restore takes backups away.
  @Test func socketsAndStoresStay() throws {
    let f = try Fixture(TestTree(["a": .file("a"), "d": .directory(["b": .file("b")]), "f": .file("f")]))
    try f.edit("python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"")
    try f.save()
    try f.edit("rm f; mkdir -p new/deep f")
    try f.edit("cd new/deep; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"; echo x >x")
    for place in ["new/store", "store", "f/store"] as [Raw] {
      try Command("cp", ["-a", Raw(f.store), "\(Raw(f.source))/\(place)"]).run().checked()
    }
    let output = try delete(f, status: 3)
    for name in ["socket", "new/deep/socket", "new/store/sheaf.store", "store/restore.sh", "f/store/sheaf.store"] {
      #expect(exists(f.source.joined(Bytes(name.utf8))), "\(name)")
    }
    #expect(!exists(f.source.joined(Bytes("new/deep/x".utf8))))
    #expect(output.errorText.contains("/new/store: it is a store"), "\(output)")
    try f.edit("rm -r f new/store store")
    _ = try delete(f, ["--delete-excluded"])
    #expect(!exists(f.source.joined(Bytes("socket".utf8))) && !exists(f.source.joined(Bytes("new".utf8))))
  }

  @Test func aSourceInWhatWasLeftOut() throws {
    let f = try Fixture(TestTree(["b": .directory(["c": .directory(["in": .file("in")]), "other": .file("o")])]))
    try f.save(["--exclude", "b"], sources: [Raw(f.source), Raw(f.source.joined(Bytes("b/c")))])
    try f.edit("touch b/new b/c/goes extra")
    let output = try delete(f)
    for (name, stays) in ["b/new": true, "b/other": true, "b/c/in": true, "extra": false] {
      #expect(exists(f.source.joined(Bytes(name.utf8))) == stays, "\(name): \(output)")
    }
  }

  /// Nothing is known of what is in a folder that could not be listed.
  @Test(.enabled(if: Host.isRoot)) func whatCouldNotBeListedStays() throws {
    let f = try Fixture(
      TestTree(["shut": .directory(["a": .file("a"), "sub": .directory(["b": .file("b")])]), "d": .directory()]))
    try Command("chown", ["-R", "65534:65534", Raw(f.source), Raw(f.store)]).run().checked()
    try Command("chmod", ["711", Raw(f.scratch.path)]).run().checked()
    for isKnown in [true, false] {
      if isKnown { try f.save(as: .nobody) }
      try f.edit("chown -R 0:0 shut; chmod 700 shut")
      try f.save(isKnown ? [] : ["--full"], status: 3, as: .nobody)
      try f.edit("touch shut/new shut/sub/new d/goes")
      for more in [["-n"], []] as [[Raw]] {
        _ = try delete(f, more)
        for name in ["shut/a", "shut/new", "shut/sub/b", "shut/sub/new"] {
          #expect(exists(f.source.joined(Bytes(name.utf8))), "\(isKnown) \(name)")
        }
      }
      #expect(!exists(f.source.joined(Bytes("d/goes"))))
      try f.edit("rm shut/new shut/sub/new; chown -R 65534:65534 shut")
    }
  }

  // MARK: Counted and named

  @Test func whatIsRemovedIsCountedAndNamed() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    for more in [["-v"], ["--json"], ["-n", "-v"], ["-n", "--json"]] as [[Raw]] {
      try f.edit("mkdir -p new/in; touch new/in/1 new/in/2 'n 3'")
      let output = try delete(f, more)
      for name in ["new", "new/in", "new/in/1", "new/in/2", "n 3"] {
        #expect(output.lines.contains { $0.contains("/source/\(name)") }, "\(more) \(name): \(output)")
      }
      let isCounted = output.text.contains("\"files_deleted\":5") || output.text.contains("5 that the point")
      #expect(isCounted, "\(output)")
      #expect(exists(f.source.joined(Bytes("new"))) == (more[0] == "-n"))
    }
  }

  // MARK: Patterns of the restore

  @Test func exclude() throws {
    let f = try Fixture(
      TestTree([
        "a.txt": .file("a"), "b.log": .file("b"), "d": .directory(["c.log": .file("c"), "c.txt": .file("c")]),
        "cache": .directory(["x": .file("x")]),
      ]))
    try f.save()
    let target = try f.restore(["--exclude", "*.log", "--exclude", "cache/"])
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree.paths.map(\.shown) == ["a.txt", "d", "d/c.txt"])
    // What is left out is left alone, too.
    try f.edit(
      "echo mine > b.log; echo mine > d/new.log; echo mine > cache/y; mkdir e; touch e/z.log e/z; echo x > goes")
    let output = try delete(f, ["--exclude", "*.log", "--exclude", "cache/"])
    for (name, stays) in ["d/new.log": true, "cache/y": true, "e/z.log": true, "e/z": false, "goes": false] {
      #expect(exists(f.source.joined(Bytes(name.utf8))) == stays, "\(name): \(output)")
    }
    #expect(try Bytes.read(f.source.joined(Bytes("b.log"))) == Bytes("mine\n"))
    // What was asked for by name comes whatever matches.
    let one = try f.restore(["--exclude", "*.log", "\(f.inside)/b.log", "\(f.inside)/cache", "--exclude", "cache"])
    #expect(try Snapshot(of: one.joined(f.inside.bytes)).paths.map(\.shown) == ["b.log", "cache", "cache/x"])
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target), "--exclude", "[a"], status: 64)
  }

  @Test func include() throws {
    let f = try Fixture(
      TestTree([
        "a.txt": .file("a"), "b": .file("b"), "void": .directory(),
        "d": .directory(["c.txt": .file("c"), "x": .file()]),
        "e": .directory(["f": .directory(["g": .directory(["h.txt": .file("h")]), "i": .file()])]),
        "docs": .directory(["j": .file("j"), "k": .directory(["l": .file("l")])]),
      ]))
    try f.save()
    let rows: [([Raw], [String])] = [
      (["*.txt"], ["a.txt", "d", "d/c.txt", "e", "e/f", "e/f/g", "e/f/g/h.txt"]),
      (["docs"], ["docs", "docs/j", "docs/k", "docs/k/l"]),
      (["docs/k/", "b"], ["b", "docs", "docs/k", "docs/k/l"]),
      (["*.txt", "!h.txt"], ["a.txt", "d", "d/c.txt"]),
      // In the forms in which paths are shown.
      (["source/docs/k"], ["docs", "docs/k", "docs/k/l"]), (["\(f.inside)/docs/k/"], ["docs", "docs/k", "docs/k/l"]),
      (["/\(f.inside)/docs/j"], ["docs", "docs/j"]), (["source/d/*", "!source/d/x"], ["d", "d/c.txt"]),
    ]
    for (patterns, paths) in rows {
      for whole in [false, true] {
        let target = try f.restore(
          patterns.flatMap { ["--include", $0] as [Raw] } + (whole ? [] : [f.inside]))
        let place = target.joined(f.inside.bytes)
        // The path that was asked for comes in any case.
        #expect(try Snapshot(of: place).paths.map(\.shown) == paths, "\(patterns)")
        let tree = try Snapshot(of: place)
        let wrong = f.newest.tree.differences(to: tree, .ignoring(untimed: [""])).filter { !$0.contains("missing") }
        #expect(wrong == [])
      }
    }
    let both = try f.restore(["--include", "*.txt", "--exclude", "d"])
    #expect(!exists(both.joined(f.inside.bytes).joined(Bytes("d"))))
    #expect(try delete(f, ["--include", "x"], status: 64).errorLines.count == 2)
    let without = try f.restore(["--include", "docs", "--exclude", "source/docs/k"])
    #expect(try Snapshot(of: without.joined(f.inside.bytes)).paths.map(\.shown) == ["docs", "docs/j"])
    let nothing = try f.sheaf(
      ["restore", "-s", Raw(f.store), "--to", Raw(f.scratch.path("no")), "--include", "/docs"], status: 1)
    #expect(nothing.errorText.contains("hint: with a slash in front it is a whole path"), "\(nothing)")
  }
}
