/// No lock-in: every archive lists and extracts in other programs, and stock GNU tar replays a whole chain.
import Posix
import TestSupport
import Testing

@Suite struct ReaderTests {
  private static let isRoot = Scratch.allowsEverything

  /// What every reader can hold: no times before 1970, no paths beyond 4096 bytes.
  private static var tree: TestTree {
    var children: [Raw: Node] = [
      "text": .file("text\n").modified(1_600_000_000, 123_456_789), "empty": .file().mode(0o600),
      "large": .file(size: 3_100_000, seed: 1), "even": .file(size: 1 << 20, seed: 2, .compressible),
      "dir": .directory(["in": .file("in"), "void": .directory().mode(0o700)]).modified(1_500_000_000),
      "link": .symlink("text"), "hard": .hardLink("text"), "fifo": .fifo, "caf\u{e9}": .file("c"),
      "cafe\u{301}": .file("d"), "new\nline": .file("n"), "back\\slash": .file("b"), [0xfe, 0x20]: .file("raw"),
      "-dash": .file("-"), Raw(Bytes(repeating: 110, count: 255)): .file("long"),
      "deep": .deep(12, name: Raw(Bytes(repeating: 120, count: 100)), leaf: .file("deep")),
      "holes": .sparse(size: 700_000, data: [300_000..<310_000], seed: 3), "set": .file("s").mode(0o4755),
      "acl": .file("a").acl(AccessList(users: [33: 6])), "attribute": .file("x").attribute("user.key", "v\n=x"),
      "long-link": .symlink(Raw(Bytes(repeating: 116, count: 1000))),
    ]
    if isRoot {
      children["device"] = .characterDevice(1, 3)
      children["owned"] = .file("o").owner(1234, 3_000_000)
    }
    return TestTree(children)
  }

  /// What a reader does not bring back.
  private static func options(_ reader: Reader) -> Snapshot.Options {
    switch reader.name {
    case "GNU tar": return .ignoring(.holes)
    case "bsdtar": return .ignoring(.holes)
    case "busybox tar": return .ignoring(.holes, .attributes, .modified)
    case "python3 tarfile": return .ignoring(.holes, .attributes, .modified)
    // 7-Zip as Debian has it keeps neither owners nor special files.
    default: return .ignoring(.holes, .attributes, .modified, .owner, .mode, .hardLinks, skipped: ["fifo", "device"])
    }
  }

  private func directory(_ f: Fixture, _ name: String) throws -> Bytes {
    let path = f.scratch.path(Raw(name))
    try Descriptor.workingDirectory.makeDirectory(path)
    return path
  }

  @Test(arguments: Reader.installed) func listsEveryArchive(reader: Reader) throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("rm text; echo more >> large; mv dir moved; rm -r deep; mkdir text; ln -s x empty2")
    try f.save()
    try f.save()
    for (index, point) in f.points.enumerated() {
      let output = try reader.list(f.archive(point))
      #expect(output.succeeded, "\(output)")
      if index == 0 || reader.name != "7z" { #expect(output.stderr.isEmpty, "\(output)") }
      if index == 0 { #expect(output.stdout.count > 1000) }
    }
  }

  @Test(arguments: Reader.installed.filter { $0.name != "7z" }) func extractsAFullArchive(reader: Reader) throws {
    let f = try Fixture(Self.tree)
    try f.save(["--level", "6"])
    let target = try directory(f, "out")
    let output = try reader.extract(f.archive(f.newest), into: target)
    #expect(output.succeeded && output.stderr.isEmpty, "\(output)")
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(f.newest.tree.differences(to: tree, Self.options(reader)) == [])
  }

  @Test(arguments: Reader.installed) func extractsAnIncrementalOne(reader: Reader) throws {
    let f = try Fixture(
      TestTree(["a": .file("a"), "d": .directory(["b": .file("b")]), "z": .directory(["y": .file()])]))
    try f.save()
    try f.edit("echo new > new; rm d/b; echo c > d/c")
    try f.save()
    let target = try directory(f, "out")
    try reader.extract(f.archive(f.newest), into: target).checked()
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree["new"]?.digest == f.newest.tree["new"]?.digest && tree["d/c"] != nil && tree["a"] == nil)
  }

  @Test func gnuTarFindsNoDifference() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let output = try Reader.gnuTarCompare(f.archive(f.newest), Bytes("/"))
    // A directory above the source may have changed since; nothing of the source has.
    #expect(!output.text.contains(f.inside.bytes.shown), "\(output)")
  }

  // MARK: Chains

  /// Replays the chain with tar and compares each point.
  private func expectReplay(_ f: Fixture, _ tolerated: (String, Snapshot) -> Bool = { _, _ in false }) throws {
    let target = try directory(f, "replay")
    let here = target.joined(f.inside.bytes)
    for point in f.points {
      let output = try Reader.gnuTar.extract(f.archive(point), into: target)
      // A warning of times before 1970 or in the future is all it may say.
      #expect(output.succeeded, "\(output)")
      let lines = point.tree.differences(to: try Snapshot(of: here), .ignoring(.holes))
      #expect(lines.filter { !tolerated($0, point.tree) } == [], "tar, \(point.set)")
    }
  }

  private func expectManifest(_ f: Fixture, of directory: Bytes, at point: Fixture.Point) throws {
    guard Mtree.isInstalled else { return }
    let manifest = try f.sheaf(["manifest", "-s", Raw(f.store), "--at", Raw(point.set)])
    try f.scratch.write("mtree", Raw(manifest.stdout))
    let check = try Mtree.check(directory, against: f.scratch.path("mtree"))
    #expect(check.succeeded && check.stdout.isEmpty && check.stderr.isEmpty, "\(check)")
  }

  @Test func aChainWithDeletionsAndSwappedTypes() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    for script in [
      "rm text; rm -r deep; echo x > x", "mv dir other; rm large; touch -d @1700000000 .",
      "rm link; mkdir link; echo in > link/in; rm -r other; echo file > other", "rm -r link; ln -s other link; rm hard",
      "rm link fifo; mkfifo link; echo file > fifo; mkdir a; mv even a", "rm -rf ./* ; echo left > left", "rm left",
      "mkdir -p 1/2/3; touch 1/2/3/4", "rm -r 1/2; ln -s . 1/2", "chmod 2770 .; rm 1/2; mkdir 1/2; touch 1/2/a",
    ] {
      try f.edit(Raw(script))
      // A source that is empty all of a sudden counts as unseen unless that is confirmed.
      try f.save(script == "rm left" ? ["--gone", Raw(f.source)] : [])
    }
    try expectReplay(f)
    try f.expectEveryPoint()
    let target = try f.restore()
    try expectManifest(f, of: target, at: f.newest)
    if Rsync.isInstalled { #expect(try Rsync.differences(from: f.source, to: target.joined(f.inside.bytes)) == []) }
  }

  @Test func aDirectoryOfManyNames() throws {
    let f = try Fixture(TestTree(["many": .directory(["zz": .directory(["in": .file("in")])]), "beside": .file("b")]))
    // Long enough names that the list of what is left does not fit into a record of 900,000 bytes.
    try f.edit("cd many; seq -f 'name-%07.0f' 100000 | xargs touch")
    try f.save()
    try f.edit(
      "cd many; rm name-0000001 name-005* name-0100000; rm -r zz; echo z > zz; rm name-0077777; mkdir name-0077777; echo n > new"
    )
    #expect(try f.save().deleted > 10_000)
    try f.edit("rm many/name-0000002; echo x > many/name-0000003")
    try f.save()
    try f.expectEveryPoint()
    try expectReplay(f)
    // mtree compares every name with every other, which takes minutes here.
    let target = try f.restore()
    if Rsync.isInstalled { #expect(try Rsync.differences(from: f.source, to: target.joined(f.inside.bytes)) == []) }
  }
}
