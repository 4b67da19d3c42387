/// Bringing files back: which ones, of when, where to, over what.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct RestoreTests {
  private static let tree = TestTree([
    "a.txt": .file("alpha\n").modified(1_600_000_000), "b.txt": .file("beta\n").modified(1_600_000_000),
    "docs": .directory(["one": .file("1\n"), "sub": .directory(["two": .file("2\n")]).modified(1_400_000_000)])
      .modified(1_500_000_000),
    "void": .directory(), "first": .file("linked\n"), "second": .hardLink("first"), "name\n": .file("n"),
    [0xff]: .file("r"),
  ])

  /// Restores into a directory of the test's own making.
  @discardableResult
  private func restore(
    _ f: Fixture, into target: Bytes, _ more: [Raw] = [], status: Int32 = 0,
    at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)] + more, status: status, at: location)
  }

  private func below(_ f: Fixture, _ target: Bytes) throws -> Snapshot {
    try Snapshot(of: target.joined(f.inside.bytes))
  }

  /// A folder that is there already ends up with the point's attributes and no others.
  @Test(.enabled(if: Command.find("setfacl") != nil && Command.find("setfattr") != nil))
  func attributesOfAFolderThatIsThere() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit(
      """
      setfacl -m u:1000:rwx docs; setfacl -d -m u:1000:rwx docs; setfattr -n user.a -v 1 docs
      touch -d @1500000000 docs
      """)
    #expect(f.newest.tree.differences(to: try Snapshot(of: f.source)) != [])
    try restore(f, into: Bytes("/"), ["--overwrite", "always", "--delete"])
    let lines = f.newest.tree.differences(to: try Snapshot(of: f.source))
    #expect(lines == [])
  }

  /// A dry run says what the real one does, and does none of it.
  @Test(arguments: ["never", "if-changed", "if-newer", "always"] as [Raw], [[], ["--delete"]] as [[Raw]])
  func aDryRunIsAsTheRealOne(overwrite: Raw, more: [Raw]) throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit(
      """
      echo changed > a.txt; touch -d @1700000000 a.txt; rm b.txt; mkdir b.txt; echo x > b.txt/x; rm -r void; echo new > new
      mkdir -p docs/more/of; touch docs/two; rm -r docs/sub; echo file > docs/sub; rm first
      """)
    let before = try Snapshot(of: f.source)
    let arguments = ["--overwrite", overwrite, "--json", "-v", Raw(f.inside.bytes)] + more
    func counts(_ output: Output) throws -> [String: Int] {
      var counts: [String: Int] = [:]
      for line in try output.json() {
        // Folders are told when they are done, which a dry run does not.
        if let action = line["action"] as? String, action == "deleted" { counts[action, default: 0] += 1 }
        for key in ["files", "directories", "bytes", "files_deleted", "files_kept"] {
          if let count = line[key] as? Int { counts[key] = count }
        }
      }
      return counts
    }
    // Where a folder stands in the way of a file, or the other way round, and is to stay, the real one has more to say.
    let status: Int32 = ["never", "if-newer"].contains(overwrite) ? 3 : 0
    let dry = try f.sheaf(["restore", "-s", Raw(f.store), "--to", "/", "-n"] + arguments)
    #expect(before.differences(to: try Snapshot(of: f.source)) == [])
    let real = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", "/"] + arguments).run()
    #expect(real.status == 0 || real.status == status, "\(real)")
    if real.status == 0 { #expect(try counts(dry) == counts(real), "\(dry)\n\(real)") }
  }

  @Test func chosenPaths() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let whole = f.newest.tree
    for slash in ["", "/"] as [Raw] {
      let one = try below(f, try f.restore(["\(slash)\(f.inside)/docs/sub"]))
      #expect(one.paths == ["docs", "docs/sub", "docs/sub/two"].map { Bytes($0) })
      // Directories on the way come with what is known of them.
      #expect(one["docs"]?.modified == whole["docs"]?.modified)
      #expect(whole.subtree("docs/sub").differences(to: one.subtree("docs/sub")) == [])
    }
    let two = try below(f, try f.restore(["\(f.inside)/name\n", "\(f.inside)/\(Raw([0xff]))", "\(f.inside)/docs/one"]))
    #expect(two.paths.count == 4 && two[[0xff]]?.digest == whole[[0xff]]?.digest)
    // One within the other, and one twice.
    let three = try below(f, try f.restore(["\(f.inside)/docs/sub/two", "\(f.inside)/docs", "\(f.inside)/docs"]))
    #expect(whole.subtree("docs").differences(to: three.subtree("docs")) == [])
    #expect(try below(f, try f.restore(["\(f.inside)/void/"])).paths == [Bytes("void")])
  }

  @Test func pathsOfAChain() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo 3 > docs/three; rm docs/one; rm -r void; echo v > void")
    try f.save()
    try f.edit("rm void; mkdir void; echo in > void/in; chmod 700 docs")
    try f.save()
    for point in f.points {
      let target = try f.restore(["\(f.inside)/docs", "\(f.inside)/void"], at: point.set)
      let tree = try below(f, target)
      #expect(tree.paths.allSatisfy { $0.starts(with: Bytes("docs")) || $0.starts(with: Bytes("void")) })
      for path in ["docs", "void"] as [Raw] {
        #expect(point.tree.subtree(path).differences(to: tree.subtree(path)) == [], "\(point.set)")
      }
    }
  }

  @Test func aPathThatIsNotInThePoint() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("rm a.txt")
    try f.save()
    for path in ["\(f.inside)/a.txt", "\(f.inside)/docs/on", "nowhere", "\(f.inside)/b.txt/x"] as [Raw] {
      let target = f.scratch.path("nothing")
      let output = try restore(f, into: target, ["\(f.inside)/b.txt", path], status: 1)
      #expect(output.errorLines.count == 2 && output.errorLines[0].hasPrefix("sheaf: error: "), "\(output)")
      #expect(!exists(target))
    }
    try f.restore(["\(f.inside)/a.txt"], at: f.points[0].set)
  }

  @Test func formsOfAPoint() throws {
    let f = try Fixture(TestTree(["n": .file("0")]))
    for n in 1...3 {
      try f.edit("echo \(n) > n")
      try f.save()
    }
    func number(_ point: String, status: Int32 = 0) throws -> String {
      try f.sheaf(["cat", "-s", Raw(f.store), "--at", Raw(point), "\(f.inside)/n"], status: status).text
    }
    let sets = f.points.map(\.set)
    for (index, set) in sets.enumerated() {
      #expect(try number(set) == "\(index + 1)\n")
      let stamp = String(set.prefix(18))
      #expect(try number(stamp) == "\(index + 1)\n")
      // 2026-11-24T060102Z with colons.
      var time = Array(stamp)
      time.insert(":", at: 15)
      time.insert(":", at: 13)
      #expect(try number(String(time)) == "\(index + 1)\n")
    }
    #expect(try number("latest") == "3\n")
    #expect(try number(String(sets[2].prefix(10)) + "T23:59:59Z") == "3\n")
    #expect(try number("9999-12-31") == "3\n")
    #expect(try number("0s", status: 0).isEmpty == false)
    for old in ["yesterday", "2001-01-01", "2001-01-01T06:00", "30y"] {
      let output = try f.sheaf(["ls", "-s", Raw(f.store), "--at", Raw(old)], status: 1)
      #expect(output.errorLines.count == 2, "\(output)")
    }
    for bad in ["the day before", "2026-13-01", "2026-1-1", "", "5x", "2026-11-24T25:00", sets[0] + "x"] {
      let output = try f.sheaf(["ls", "-s", Raw(f.store), "--at", Raw(bad)], status: 64)
      #expect(output.errorLines.count == 2 && output.errorLines[1].hasPrefix("hint: "), "\(output)")
    }
  }

  @Test func aTargetThatIsNotEmptyIsRefused() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let target = f.scratch.path("target")
    try TestTree(["mine": .file("mine")]).make(at: target)
    let before = try Snapshot(of: target)
    let output = try restore(f, into: target, status: 1)
    #expect(output.errorLines.count == 2 && output.errorText.contains("--overwrite"), "\(output)")
    #expect(before.differences(to: try Snapshot(of: target)) == [])
    try f.scratch.write("file", "a file")
    try restore(f, into: f.scratch.path("file"), status: 1)
    try restore(f, into: f.scratch.path("no/such/parent"), status: 1)
    #expect(try f.scratch.read("file") == Bytes("a file"))
  }

  private func edited(_ f: Fixture) throws -> Bytes {
    let target = try f.restore()
    let script: Raw = """
      echo mine > a.txt; touch -d @1700000000 a.txt; echo older > b.txt; touch -d @1500000000 b.txt; rm docs/one
      echo extra > extra; rm first second; mkdir first; echo in > first/in; rm -r void; echo v > void
      """
    try Command("sh", ["-ec", script], in: target.joined(f.inside.bytes)).run().checked()
    return target
  }

  @Test func overwriteAlwaysAndIfChanged() throws {
    for when in ["always", "if-changed"] as [Raw] {
      let f = try Fixture(Self.tree)
      try f.save()
      let target = try edited(f)
      try restore(f, into: target, ["--overwrite", when])
      let tree = try below(f, target)
      #expect(tree["extra"] != nil)
      #expect(f.newest.tree.differences(to: tree, .ignoring(untimed: [""], skipped: ["extra"])) == [], "\(when)")
    }
  }

  @Test func overwriteIfNewer() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let target = try edited(f)
    try restore(f, into: target, ["--overwrite", "if-newer"], status: 0)
    let tree = try below(f, target)
    // The point's are of 1,600,000,000.
    #expect(tree["a.txt"]?.modified.seconds == 1_700_000_000)
    #expect(tree["b.txt"]?.digest == f.newest.tree["b.txt"]?.digest && tree["docs/one"] != nil)
  }

  @Test func overwriteNever() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let target = try edited(f)
    let before = try below(f, target)
    _ = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "never"]).run()
    let tree = try below(f, target)
    for path in ["a.txt", "b.txt", "extra", "first", "first/in", "void"] as [Raw] {
      #expect(tree[path]?.digest == before[path]?.digest && tree[path]?.type == before[path]?.type, "\(path)")
    }
    #expect(tree["docs/one"] != nil && tree["second"] != nil)
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "perhaps"], status: 64)
  }

  /// Whatever a point has in its place.
  @Test func theStoreIsNeverRemoved() throws {
    let f = try Fixture(TestTree(["a": .file("a"), "b": .file("b")]))
    try f.save()
    for place in ["b", "c"] {
      let target = try f.restore()
      let above = target.joined(f.inside.bytes)
      try Command("sh", ["-ec", "rm -f b; mkdir -p \(place)/in; mv \(f.store) \(place)/in/store", "sh"], in: above)
        .run().checked()
      let store = above.joined(Bytes("\(place)/in/store".utf8))
      let before = try Snapshot(of: store)
      _ = try Command.sheaf(
        ["restore", "-s", Raw(store), "--to", Raw(target), "--overwrite", "always", "--delete"]
      ).run()
      #expect(before.differences(to: try Snapshot(of: store)) == [])
      try Command("mv", [Raw(store), Raw(f.store)]).run().checked()
    }
  }

  @Test func deleteLeavesExactlyThePoint() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let target = try edited(f)
    try restore(f, into: target, ["--delete"], status: 64)
    try TestTree(["beside": .file("b")]).make(at: target)
    try restore(f, into: target, ["--overwrite", "always", "--delete"])
    #expect(f.newest.tree.differences(to: try below(f, target)) == [])
    // Only below what is restored: not beside the source, and not beside a chosen path.
    #expect(exists(target.joined(Bytes("beside"))))
    let here = target.joined(f.inside.bytes)
    try Command("sh", ["-ec", "echo x > x; echo y > docs/y; mkdir docs/sub/z; echo z > docs/sub/z/z"], in: here).run()
      .checked()
    try restore(f, into: target, ["--overwrite", "always", "--delete", "\(f.inside)/docs"])
    let tree = try below(f, target)
    #expect(tree["x"] != nil && tree["docs/y"] == nil && tree["docs/sub/z"] == nil)
  }

  @Test func stripComponents() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let depth = f.inside.bytes.split(separator: 47).count
    let target = f.scratch.path("stripped")
    try restore(f, into: target, ["--strip-components", "\(depth)"])
    #expect(f.newest.tree.differences(to: try Snapshot(of: target), .ignoring(untimed: [""])) == [])
    let docs = f.scratch.path("docs")
    try restore(f, into: docs, ["--strip-components", "\(depth + 1)", "\(f.inside)/docs"])
    let tree = f.newest.tree.subtree("docs")
    #expect(tree.differences(to: try Snapshot(of: docs), .ignoring(untimed: [""])) == [])
    try restore(f, into: f.scratch.path("x"), ["--strip-components", "-1"], status: 64)
  }

  @Test func aDryRunWritesNothing() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let target = f.scratch.path("target")
    let output = try restore(f, into: target, ["-n", "-v"])
    #expect(!exists(target))
    #expect(output.lines.contains { $0.hasSuffix("/docs/sub/two") } && output.lines.last!.hasPrefix("would restore "))
  }

  @Test func aHardLinkWithoutItsFirstName() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let tree = try below(f, try f.restore(["\(f.inside)/second"]))
    #expect(tree.paths == [Bytes("second")] && tree["second"]?.digest == f.newest.tree["first"]?.digest)
    #expect(tree["second"]?.modified == f.newest.tree["second"]?.modified)
    let both = try below(f, try f.restore(["\(f.inside)/second", "\(f.inside)/first"]))
    #expect(f.newest.tree.differences(to: both, .ignoring(untimed: [""])).filter { !$0.contains("missing") } == [])
  }

  @Test func aSymlinkInTheTargetIsNotFollowed() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let outside = f.scratch.path("outside")
    try TestTree(["sub": .directory(["keep": .file("keep")]), "file": .file("untouched")]).make(at: outside)
    let before = try Snapshot(of: outside)
    let target = try f.restore()
    let script: Raw = "rm -r docs b.txt; ln -s \(outside) docs; ln -s \(outside)/file b.txt"
    try Command("sh", ["-ec", script], in: target.joined(f.inside.bytes)).run().checked()
    try restore(f, into: target, ["--overwrite", "always", "--delete"])
    #expect(before.differences(to: try Snapshot(of: outside)) == [])
    #expect(f.newest.tree.differences(to: try below(f, target)) == [])
    // Above the source as well.
    let other = f.scratch.path("other")
    try TestTree([Raw(Bytes(f.inside.bytes.split(separator: 47)[0])): .symlink(Raw(outside))]).make(at: other)
    _ = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(other), "--overwrite", "always"]).run()
    #expect(before.differences(to: try Snapshot(of: outside)) == [])
  }

  @Test(.enabled(if: Scratch.allowsEverything, "only root can make what others may not"))
  func asAUserWithoutRights() throws {
    var tree = Self.tree
    guard case .directory(var children) = tree.root.content else { return }
    children["device"] = .characterDevice(1, 3)
    children["capable"] = .file("c").mode(0o755).attribute(.capability(13))
    children["setuid"] = .file("s").mode(0o4755)
    tree.root = .directory(children)
    let f = try Fixture(tree)
    try f.save()
    try f.edit("chmod -R go+rX \(f.store)")
    let target = f.scratch.path("target")
    try TestTree(.directory().owner(65534, 65534)).make(at: target)
    let output = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)], as: .nobody).run()
    #expect(output.status == 0 || output.status == 3, "\(output)")
    // A line for each kind of thing, not for each file.
    #expect(output.errorLines.filter { $0.contains("owner") }.count == 1, "\(output)")
    #expect(output.errorLines.count <= 5, "\(output)")
    var options = Snapshot.Options.ignoring(.owner, skipped: ["device"])
    options.skippedAttributes.append(Bytes("security.capability"))
    let lines = f.newest.tree.differences(to: try below(f, target), options)
    #expect(lines.filter { !$0.hasPrefix("\"setuid\": mode") } == [])
    // Someone else's program must not become one that runs as whoever restored it.
    #expect(try below(f, target)["setuid"].map { $0.mode & 0o7000 } == 0)
  }
}
