/// What was moved is not stored again, whatever was moved where; and every road leads to the tree all the same.
import Foundation
import Posix
import TestSupport
import Testing

struct MovesTests {
  static let tree = TestTree([
    "a": .directory([
      "big": .file(size: 3_000_000, seed: 1).modified(1_700_000_000),
      "one": .file(size: 70_000, seed: 2),
      "two": .file(size: 70_000, seed: 3),
      "sub": .directory([
        "x": .file(size: 70_000, seed: 4), "link": .symlink("../one"), "fifo": .fifo,
      ]).modified(1_600_000_000),
    ]),
    "d": .directory([
      "three": .file(size: 70_000, seed: 5),
      "sub": .directory(["four": .file(size: 70_000, seed: 6)]),
      "odd name's \n \\ \u{e9}": .file(size: 70_000, seed: 7),
    ]),
    "e": .directory(["leaf": .directory()]),
    "lone": .file(size: 2_000_000, seed: 8),
  ])

  /// Edits, and how many entries are found moved by them.
  static let edits: [(name: String, script: String, moved: Int)] = [
    ("a file", "mv lone other", 1),
    ("a file into another directory", "mv lone d/sub/lone", 1),
    ("a directory", "mv a b", 8),
    ("a directory into a new one", "mkdir -p n/m; mv a n/m/b", 8),
    ("a directory into another", "mv a e/leaf/a", 8),
    ("two files change places", "mv a/one t; mv d/three a/one; mv t d/three", 2),
    ("two directories change places", "mv a t; mv d a; mv t d", 13),
    ("a cycle of three", "mv a t; mv d a; mv e d; mv t e", 15),
    ("a chain", "mv e f; mv d e; mv a d", 15),
    ("inside out", "mv a/sub t; mv a t/sub; mv t a", 6),
    ("out of a directory that moves", "mv a b; mv b/sub d/sub2; mv b/one lone2", 7),
    ("into a directory that moves", "mv a b; mv d b/d; mv lone b/sub/lone", 12),
    ("over a file", "mv lone a/one", 1),
    ("over a file in a directory that moves", "mv lone a/one; mv a b", 7),
    ("over a directory that is gone", "rm -r d; mv a d", 8),
    ("over a directory in one that moves", "rm -r d/sub; mv a/sub d/sub; mv d g", 6),
    ("a file where a directory was", "rm -r d; mv lone d", 1),
    ("a directory where a file was", "rm lone; mv a lone", 8),
    ("below what was a file", "rm lone; mkdir lone; mv a lone/a", 8),
    ("and an old name is new again", "mv a b; mkdir a; echo new > a/one; mkdir a/sub; echo x > a/sub/y", 8),
    ("and an old name is a file", "mv a b; echo new > a", 8),
    ("and something in it is edited", "mv a b; echo more >> b/one", 7),
    ("and something in it is deleted", "mv a b; rm b/one; rm -r b/sub", 2),
    ("and something in it changes its kind", "mv a b; rm -r b/sub; echo file > b/sub; rm b/one; mkdir b/one", 2),
    ("and something in it is new", "mv a b; echo new > b/new; mkdir b/dir; echo new > b/dir/new", 7),
    ("and it has another mode", "mv a b; chmod 700 b; chmod 600 b/one", 6),
    ("what it was in is gone", "mv d/sub s; rm -r d", 2),
    ("all contents, one by one", "mkdir n; mv a/* n/; rmdir a", 7),
  ]

  @Test(arguments: edits.indices) func isNotStoredAgain(_ index: Int) throws {
    let (name, script, moved) = Self.edits[index]
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit(Raw(script))
    let summary = try f.save()
    #expect(summary.moved == moved, "\(name)")
    #expect(summary.bytesWritten < 150_000, "\(name)")
    // One more on top: nothing of it depends on the move any more.
    try f.edit("touch again")
    try f.save()
    try f.expectEveryPoint()
    try f.expectReplay(name)
    try f.expectScript([f.points[1], f.newest], name)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt(name)
  }

  /// Moves upon moves: what came along twice, and what came along and was moved back.
  @Test func movesUponMoves() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    for script in [
      "mv a b; mv b/sub s", "mv b a; mv s a/sub", "mv a d/a; mv d e/d", "mv e/d/a/sub .; mv e g", "mv g/d/a a",
    ] {
      try f.edit(Raw(script))
      let summary = try f.save()
      #expect(summary.moved > 0 && summary.new == 0, "\(script)")
    }
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript(f.points)
    try f.expectRebuilt()
  }

  /// From one source to another, and where the sources have names in common.
  /// A folder moves, and something that moved takes the place of a folder in it.
  @Test func intoAFolderThatMoved() throws {
    let f = try Fixture(
      TestTree([
        "d": .directory(["b": .directory(["x": .directory(["1": .file("1\n"), "2": .directory([:])])])]),
        "z": .file("zz\n"),
      ]))
    try f.save()
    try f.edit("mv d e; rm -r e/b/x; mv z e/b/x")
    try f.save()
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript([f.newest])
    try f.expectRebuilt()
  }

  @Test func acrossSources() throws {
    let f = try Fixture(Self.tree)
    let sources: [Raw] = ["a", "d", "e"].map { Raw(f.source.joined(Bytes($0.utf8))) }
    try f.save(sources: sources)
    try f.edit("mv a/sub e/; mv a/one d/sub/one; mv d/sub a/sub; mv d/three a/three")
    let summary = try f.save(sources: sources)
    #expect(summary.moved == 7 && summary.bytesWritten < 20_000)
    // What stands beside the sources is not in the points.
    try f.edit("rm lone")
    let target = try f.restore()
    func differences(_ tree: Bytes) throws -> [String] {
      let lines = try Snapshot(of: f.source).differences(to: try Snapshot(of: tree.joined(f.inside.bytes)))
      return lines.filter { !$0.hasPrefix("the root: mtime") }
    }
    #expect(try differences(target) == [])
    let replay = f.scratch.path("replay")
    try Descriptor.workingDirectory.makeDirectory(replay)
    for point in f.points { try Reader.gnuTar.extract(f.archive(point), into: replay).checked() }
    #expect(try differences(replay) == [])
  }

  /// A source that is a file has no directory that could hold GNU tar's records: all is stored.
  @Test func whatCannotBeToldIsStored() throws {
    let f = try Fixture(TestTree(["one": .file("1"), "two": .file(size: 70_000, seed: 1)]))
    let sources: [Raw] = ["one", "two", "three"].map { Raw(f.source.joined(Bytes($0.utf8))) }
    try f.save(["--allow-missing"], sources: sources, status: 3)
    try f.edit("mv two three")
    let summary = try f.save(sources: sources, status: 3)
    #expect(summary.moved == 0 && summary.bytesWritten > 70_000)
  }

  /// Hard links come along with their directory; between two names of one inode nothing is renamed.
  @Test func hardLinks() throws {
    let f = try Fixture(Self.tree)
    try f.edit("ln a/one a/sub/hard; ln a/two d/hard; ln lone lone2")
    try f.save()
    try f.edit("mv a b; mv lone2 lone3")
    let summary = try f.save()
    #expect(summary.moved >= 8)
    try f.edit("mv d c; mv b/sub/hard z")
    try f.save()
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript(f.points)
    try f.expectRebuilt()
  }

  /// Another name of something that came along goes with its directory, which is a link now: the manifest that is made
  /// again does not have it.
  @Test func aHardLinkBelowWhatIsNoDirectoryAnyMore() throws {
    let f = try Fixture(Self.tree)
    try f.edit("ln a/one d/sub/hard")
    try f.save()
    try f.edit("mv a b; rm -r d/sub; ln -s ../b d/sub")
    try f.save()
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectRebuilt()
  }

  /// GNU tar is not asked to move what a full set carries: its replay does not have it.
  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func whatAFullSetCarriesIsStored() throws {
    let f = try Fixture(Self.tree)
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("chmod 0 lone a/one")
    try f.save(["--full"], status: 3, as: .nobody)
    try f.edit("chmod 644 lone a/one; mv lone other; mv d/three a/one; mv e f")
    let summary = try f.save(as: .nobody)
    #expect(summary.bytesWritten > 2_000_000)
    let target = f.scratch.path("replay")
    try Descriptor.workingDirectory.makeDirectory(target)
    for point in f.points.suffix(2) { try Reader.gnuTar.extract(f.archive(point), into: target).checked() }
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    #expect(try f.differences(at: f.newest, .ignoring(.owner)) == [])
  }

  /// Out of and into a directory whose listing is too large for a record, where names are deleted, too.
  @Test func aLargeListing() throws {
    let f = try Fixture(Self.tree)
    let name = String(repeating: "n", count: 200)
    try f.edit(
      "mkdir d/many; cd d/many; for i in $(seq 5000); do echo $i > \(Raw(name))$i; done; cp ../three ../sub/four .")
    try f.save()
    try f.edit("cd d/many; rm *7; mv three ../../lone2; mv ../../lone .; mv four ../sub/five; rm *123")
    let summary = try f.save()
    #expect(summary.moved == 3 && summary.bytesWritten < 20_000)
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript([f.newest])
    try f.expectRebuilt()
  }

  /// Names like those that tar makes room with: older tars leave such folders behind.
  @Test(
    arguments: ["mv .sheaf-purge-0 x; mv f g", "mv .sheaf-purge-1 h; mv f g; mv .sheaf-purge-0 .sheaf-purge-1"] as [Raw]
  )
  func namesOfFoldersThatComeAndGo(edit: Raw) throws {
    let f = try Fixture(
      TestTree([
        ".sheaf-purge-0": .directory(["f": .file("in a folder\n")]), ".sheaf-purge-1": .file("a file\n"),
        "f": .file("another\n"), "stays": .directory(),
      ]))
    try f.save()
    try f.edit(edit)
    #expect(try f.save().moved > 0)
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript([f.newest])
    try f.expectRebuilt()
  }

  /// What could not be looked at in a directory that was moved is kept where it is now.
  @Test(.enabled(if: Scratch.allowsEverything, "needs root")) func unseenInWhatWasMoved() throws {
    let f = try Fixture(Self.tree)
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    let before = try Snapshot(of: f.source.joined(Bytes("a".utf8)))
    try f.edit("mv a b; chmod 0 b/sub b/big")
    let summary = try f.save(status: 3, as: .nobody)
    #expect(summary.unseen > 0)
    func expect(_ tree: Bytes, _ road: String) throws {
      let lines = before.differences(to: try Snapshot(of: tree.joined(Bytes("b".utf8))))
      // The directory's own mode is known, what is in it is not.
      #expect(lines.filter { !$0.contains("mode") } == [], "\(road)")
    }
    try expect(f.restore().joined(f.inside.bytes), "sheaf")
    try f.edit("chmod 755 b/sub; chmod 644 b/big")
    try f.save(as: .nobody)
    try f.expectScript([f.newest])
    for (index, point) in f.points.enumerated() where index == 1 {
      let target = f.scratch.path("script")
      let script = Raw(f.store.joined(Bytes("restore.sh".utf8)))
      try Command("sh", [script, "--at", Raw(point.set), "--to", Raw(target)]).run().checked()
      try expect(target.joined(f.inside.bytes), "restore.sh")
    }
    try f.expectRebuilt()
  }
}
