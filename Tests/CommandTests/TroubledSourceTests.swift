/// Sources that trouble a run while it reads them: they cannot be read to their end, vanish, grow, are larger than any
/// estimate, have numbers at the ends of what there is.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct TroubledSourceTests {
  /// A backup that strace disturbs at `calls` on one file of the source.
  private func disturbed(
    _ f: Fixture, _ file: Raw, _ injection: Raw, calls: Raw = "pread64", _ more: [Raw] = []
  ) throws -> Command {
    try Command.sheaf(["backup", "-s", Raw(f.store)] + more + [Raw(f.source)]).wrapped([
      "strace", "-f", "-qq", "-o", "/dev/null", "-P", Raw(f.source.joined(file.bytes)), "-e", "trace=\(calls)", "-e",
      "inject=\(calls):\(injection)",
    ])
  }

  // MARK: Read errors

  struct ReadError: CustomStringConvertible {
    var error: Raw
    var options: [Raw] = []
    var isNew = false
    var description: String { "\(error) \(options) \(isNew)" }
  }

  /// What could be read of a large file is on the drive by then: nothing of it stays, the last good copy does.
  @Test(
    .enabled(if: Command.canTrace, "needs strace"),
    arguments: [
      ReadError(error: "EIO"), ReadError(error: "ESTALE"), ReadError(error: "EACCES"), ReadError(error: "ENXIO"),
      ReadError(error: "EIO", options: ["--full"]), ReadError(error: "EIO", options: ["--volume-size", "2M"]),
      ReadError(error: "EIO", options: ["--full", "--volume-size", "2M"]), ReadError(error: "EIO", isNew: true),
    ]) func aLargeFileThatCannotBeReadToItsEnd(row: ReadError) throws
  {
    let f = try Fixture(
      TestTree(["a": .file("a"), "film": .file(size: 9_000_000, seed: 1), "z": .file(size: 50_000, seed: 2)]))
    if row.isNew { try f.edit("mv film ../film") }
    try f.save()
    let good = f.newest.tree
    try f.edit(row.isNew ? "mv ../film film; rm a" : "echo more >> film; echo b > b; rm a")
    let output = try disturbed(f, "film", "error=\(row.error):when=3+", row.options).run()
    #expect(output.status == 3 && output.signal == 0, "\(output)")
    #expect(output.errorText.contains("film: cannot read: ") && output.text.contains("1 unseen"), "\(output)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    #expect(tree["film"]?.digest == good["film"]?.digest && tree["a"] == nil && tree["z"] != nil)
    // By hand, too: no archive has an entry that would take its place.
    let set = try #require(
      try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().compactMap { $0["set"] as? String }.last)
    let listing = try Reader.gnuTar.list(f.archive(set)).checked()
    #expect(!listing.text.contains("film"), "\(listing)")
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
    try f.expectRebuilt()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// What cannot be read is no hole.
  @Test(.enabled(if: Command.canTrace, "needs strace"), arguments: [900_000, 9_000_000] as [Int64], [1, 2, 3, 4])
  func aFileWhoseHolesCannotBeRead(size: Int64, call: Int) throws {
    let data = (size / 8)..<(size / 4)
    let f = try Fixture(TestTree(["a": .file("a"), "image": .sparse(size: size, data: [data], seed: 1)]))
    try f.save()
    let good = f.newest.tree
    try f.edit("printf x | dd of=image bs=1 seek=\(Int(size / 2)) conv=notrunc status=none")
    for more in [[], ["--full"]] as [[Raw]] {
      let output = try disturbed(f, "image", "error=EIO:when=\(call)+", calls: "lseek", more).run()
      #expect(output.status == 3 && output.text.contains("1 unseen"), "\(output)")
      let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
      #expect(tree["image"]?.digest == good["image"]?.digest)
    }
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
  }

  // MARK: Hard links

  struct Vanishing: CustomStringConvertible {
    var what: Raw
    var size: Int64 = 1000
    var description: String { "\(what) \(size)" }
  }

  /// A name that is gone when it is to be read leaves its place to the next one of its inode.
  @Test(
    .enabled(if: Command.canTrace, "needs strace"),
    arguments: [
      Vanishing(what: "rm d/b1"), Vanishing(what: "rm d/b1 d/b2"), Vanishing(what: "rm d/b1 d/b2 d/b3 e/b4"),
      Vanishing(what: "rm d/b1; echo another > d/b1"), Vanishing(what: "rm d/b1", size: 3_000_000),
      Vanishing(what: "rm d/b1 d/b2", size: 3_000_000), Vanishing(what: "rm d/b1; mkdir d/b1"),
    ]) func theFirstNameVanishes(row: Vanishing) throws
  {
    let f = try Fixture(
      TestTree([
        "d": .directory([
          "a": .file("gate\n"), "b1": .file(size: row.size, seed: 1), "b2": .hardLink("d/b1"),
          "b3": .hardLink("d/b1"),
        ]), "e": .directory(["b4": .hardLink("d/b1")]), "z": .file("z"),
      ]))
    let before = try Snapshot(of: f.source)
    let running = try disturbed(f, "d/a", "delay_enter=2s:when=1").start()
    usleep(900_000)
    try f.edit(row.what)
    let output = running.wait()
    #expect([0, 3].contains(output.status) && output.signal == 0, "\(output)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    for path in ["d/b1", "d/b2", "d/b3", "e/b4"] as [Raw] where !row.what.bytes.shown.contains(path.bytes.shown) {
      #expect(tree[path]?.digest == before[path]?.digest, "\(path)")
    }
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
    try f.expectRebuilt()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  // MARK: Sizes

  /// Small when they were listed.
  @Test(.enabled(if: Command.canTrace, "needs strace"), arguments: [20, 70] as [Int])
  func smallFilesGrow(megabytes: Int) throws {
    var files: [Raw: Node] = ["a": .file("gate\n")]
    for number in 0..<(megabytes > 32 ? 1 : 5) { files["b\(number)"] = .file("small\n") }
    let f = try Fixture(TestTree(["d": .directory(files), "z": .file("z")]))
    let running = try disturbed(f, "d/a", "delay_enter=2s:when=1").start()
    usleep(900_000)
    try f.edit("for f in d/b*; do head -c \(megabytes)M /dev/zero | tr '\\0' x > $f; done")
    let output = running.wait()
    #expect([0, 3].contains(output.status) && output.signal == 0, "\(output)")
    #expect(try !f.names().contains { $0.hasPrefix("lock") || $0.hasSuffix(".partial") })
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
    try f.expectRebuilt()
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// More attributes than contents.
  @Test(.enabled(if: Host.isRoot, "only root may set such attributes"))
  func attributesLargerThanAnyEstimate() throws {
    let f = try Fixture(TestTree(["d": .directory()]))
    let directory = try Descriptor.open(f.source.joined(Bytes("d")), [.read, .directory])
    func make(_ name: String, attributes: Int, _ size: Int) throws {
      let file = try directory.open(Bytes(name.utf8), [.write, .create])
      for number in 0..<attributes {
        let value = Bytes(repeating: UInt8(truncatingIfNeeded: number), count: size)
        try file.setAttribute(Attribute(name: Bytes("trusted.n\(number)".utf8), value: value))
      }
    }
    // Where the file system has no such attributes, there is nothing to be tried.
    guard (try? make("f0", attributes: 1, 65_000)) != nil else { return }
    for number in 1..<1200 { try make("f\(number)", attributes: 1, 65_000) }
    try make("many", attributes: 1100, 100)
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.edit("touch more")
    try f.save()
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    // More than one gzip member can hold: said, each time.
    try make("monster", attributes: 1100, 65_000)
    for _ in 0..<2 {
      let output = try f.sheaf(["backup", "-q", "-s", Raw(f.store)], status: 3)
      #expect(output.errorText.contains("monster: has 1100 extended attributes"), "\(output)")
    }
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  // MARK: Numbers

  @Test(arguments: [.min, .max, 1 << 62, -(1 << 62), 1 << 54, -(1 << 54), -1, 1 << 33] as [Int64])
  func timesAtTheEnds(seconds: Int64) throws {
    let f = try Fixture(TestTree(["f": .file("f"), "g": .file("g"), "d": .directory(["s": .symlink("x")])]))
    // As far as the file system has them.
    for path in ["f", "d/s", "d"] as [Raw] {
      _ = try Command("touch", ["-h", "-d", "@\(seconds)", path], in: f.source).run()
    }
    try f.save()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    #expect(try f.differences(at: f.newest) == [])
    try f.sheaf(["ls", "-lR", "-s", Raw(f.store)])
    try f.edit("echo more > g")
    try f.save()
    try f.expectRebuilt()
    #expect(try f.differences(at: f.newest) == [])
  }

  // MARK: Holes

  struct Pieces: CustomStringConvertible {
    var count: Int
    var distance: Int64
    var description: String { "\(count) each \(distance)" }
  }

  /// An image in thousands of pieces takes no more room than it did.
  @Test(arguments: [Pieces(count: 3000, distance: 80 << 10), Pieces(count: 16_500, distance: 8 << 10)])
  func manyHoles(row: Pieces) throws {
    let data = (0..<row.count).map { Int64($0) * row.distance..<(Int64($0) * row.distance + 4096) }
    let f = try Fixture(TestTree(["image": .sparse(size: Int64(row.count) * row.distance, data: data, seed: 7)]))
    func blocks(_ path: Bytes) throws -> Int64 { try Descriptor.open(path, .read).status().blocks }
    let name = Bytes("image")
    let there = try blocks(f.source.joined(name))
    try f.save()
    let restored = try f.restore().joined(f.inside.bytes).joined(name)
    #expect(try blocks(restored) <= there + there / 50)
    let isSame = try Command("cmp", [Raw(restored), Raw(f.source.joined(name))]).run().succeeded
    #expect(isSame)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
  }
}
