/// Hard links within and across sets, and sparse files.
import Posix
import TestSupport
import Testing

@Suite struct LinksAndHolesTests {
  private func differencesByTar(_ f: Fixture, at index: Int) throws -> [String] {
    let target = f.scratch.path("tar-\(index)")
    try Descriptor.workingDirectory.makeDirectory(target)
    for point in f.points[...index] { try Reader.gnuTar.extract(f.archive(point), into: target).checked() }
    return f.points[index].tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), .ignoring(.holes))
  }

  /// By both roads.
  private func expectBack(_ f: Fixture, at location: SourceLocation = #_sourceLocation) throws {
    try f.expectEveryPoint(at: location)
    for index in f.points.indices {
      let lines = try differencesByTar(f, at: index)
      #expect(lines == [], "GNU tar, point \(index)", sourceLocation: location)
    }
  }

  @Test func hardLinksOfEveryKind() throws {
    let f = try Fixture(
      TestTree([
        "a": .file("text"), "b": .hardLink("a"), "d": .directory(["c": .hardLink("a"), "l2": .hardLink("l1")]),
        "l1": .symlink("a"), "p1": .fifo, "p2": .hardLink("p1"), "big": .file(size: 2_500_000, seed: 1),
        "z": .directory(["big": .hardLink("big")]), "e1": .file(), "e2": .hardLink("e1"),
      ]))
    try f.save()
    let archive = try f.archive(f.newest)
    try f.save()
    // The contents are there once.
    #expect(try Bytes.read(archive).count < 2_600_000)
    try expectBack(f)
  }

  @Test(arguments: [
    "ln a new", "ln a d/0; ln a z", "ln b new; rm a", "rm a", "rm b", "rm a b", "rm a b d/c", "mv a y",
    "echo more >> b", "rm a; echo own > a", "cp -p a t; mv t a", "rm b; ln other b", "chmod 600 a",
    "touch -d @7 d/c", "echo more >> a; ln a new; rm d/c", "rm a; ln b a", "ln other 0-first; echo x >> other",
    "mv d d2",
    "rm -r d; mkdir d", "rm b; mkdir b; ln a b/a", "ln s s2; ln p p2", "rm s; ln -s b s", "ln big big2; rm big",
    "printf X >> big; ln big 0",
    "ln big 0; rm big; printf X >> 0; ln 0 d/1",
  ]) func hardLinksAcrossSets(script: String) throws {
    let f = try Fixture(
      TestTree([
        "a": .file("text\n"), "b": .hardLink("a"), "d": .directory(["c": .hardLink("a")]), "other": .file("other\n"),
        "s": .symlink("a"), "p": .fifo, "big": .file(size: 1_500_000, seed: 1),
      ]))
    try f.save()
    try f.edit(Raw(script))
    try f.save()
    try f.save()
    try f.edit("echo last > last; ln other zz; echo 1 >> other")
    try f.save()
    try expectBack(f)
  }

  @Test func linksThatLeadOutOfTheSource() throws {
    let f = try Fixture(TestTree(["in": .directory(["a": .file("a"), "b": .file("b")]), "out": .hardLink("in/a")]))
    try f.save(sources: ["\(f.source)/in"])
    try f.edit("rm out; ln in/b out")
    try f.save(sources: [])
    for point in f.points {
      let target = try f.restore(at: point.set)
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      #expect(point.tree.subtree("in").differences(to: tree.subtree("in")) == [])
    }
  }

  /// Of a file whose first name is not among what is restored, the others are names of one file still.
  @Test func linksWithoutTheirFirstName() throws {
    let f = try Fixture(
      TestTree(["a": .file(size: 3_000_000, seed: 1), "d": .directory(["b": .hardLink("a"), "c": .hardLink("a")])]))
    try f.save()
    let target = try f.restore(["\(f.inside)/d"]).joined(f.inside.bytes)
    let wanted = f.newest.tree.subtree("d")
    #expect(wanted.differences(to: try Snapshot(of: target).subtree("d")) == [])
    let cut = try f.restore(
      ["\(f.inside)/d"], ["--strip-components", "\(f.inside.bytes.split(separator: 47).count + 1)"])
    #expect(wanted.differences(to: try Snapshot(of: cut), .ignoring(untimed: [""])) == [])
  }

  @Test func smallHolesAreRestoredAsHoles() throws {
    let kibi: Int64 = 1024
    let f = try Fixture(
      TestTree([
        "all": .sparse(size: 500 * kibi), "start": .sparse(size: 300 * kibi, data: [200 * kibi..<300 * kibi], seed: 1),
        "end": .sparse(size: 900 * kibi, data: [0..<64 * kibi], seed: 2),
        "middle": .sparse(size: 5000 * kibi, data: [0..<4 * kibi, 4096 * kibi..<4100 * kibi], seed: 3),
        "ragged": .sparse(size: 333_333, data: [100_001..<100_500, 300_000..<300_001], seed: 4),
        "zeros": .file(size: 400_000, seed: 0, .zeros), "tiny": .sparse(size: 10),
        "many": .sparse(size: 3_000_000, data: (0..<150).map { $0 * 16_384..<$0 * 16_384 + 4096 }, seed: 5),
      ]))
    try f.save()
    #expect(try f.restoredBlocks("middle") < 100)
    try f.edit(
      """
      printf X | dd of=all bs=1 seek=300000 conv=notrunc 2>/dev/null; truncate -s 100k end; truncate -s 6M middle
      fallocate -p -o 204800 -l 8192 start || true
      """)
    try f.save()
    try expectBack(f)
    #expect(try f.sheaf(["cat", "-s", Raw(f.store), "\(f.inside)/all"]).stdout.count == 512_000)
  }

  @Test func largeHolesAreStoredSparse() throws {
    let gibi: Int64 = 1 << 30
    let f = try Fixture(
      TestTree([
        "large": .sparse(size: 3 * gibi, data: [0..<4096, gibi..<gibi + 70_000, 3 * gibi - 4096..<3 * gibi], seed: 1),
        "hollow": .sparse(size: gibi + 100_000), "linked": .hardLink("large"),
        "tail": .sparse(size: gibi + 123_456, data: [8192..<20_000], seed: 2),
      ]))
    let summary = try f.save()
    #expect(summary.bytesWritten < 300_000)
    // GNU tar knows what such an entry means.
    try f.edit("printf X | dd of=large bs=1 seek=2000000000 conv=notrunc 2>/dev/null; echo x > x")
    try f.save()
    try expectBack(f)
    for point in f.points {
      for reader in [Reader.gnuTar, .bsdtar, .pythonTar] where reader.isInstalled {
        let listing = try reader.list(f.archive(point))
        #expect(listing.succeeded && listing.stderr.isEmpty, "\(listing)")
      }
    }
  }
}

extension LinksAndHolesTests {
  /// Holes come out as zeros, which need room where standard output is a file.
  @Test(.enabled(if: Mounting.isPossible, "nothing can be mounted here")) func holesThatAreFilled() throws {
    let gibi: Int64 = 1 << 30
    let f = try Fixture(TestTree(["large": .sparse(size: 2 * gibi, data: [0..<4096], seed: 1)]))
    try f.save()
    let small = f.scratch.path("small")
    try Command("sh", ["-ec", "mkdir \"$0\"; mount -t tmpfs -o size=50m none \"$0\"", Raw(small)]).run().checked()
    defer { Mounting.unmountAll(below: small) }
    let script: Raw = "\"$0\" cat -s \"$1\" \"$2\" > out; s=$?; stat -c %s out; exit $s"
    let arguments: [Raw] = ["-c", script, Raw(try Command.sheafBinary()), Raw(f.store), "\(f.inside)/large"]
    let output = try Command("sh", arguments, in: small).run()
    #expect(output.status == 1 && output.errorText.contains("with its holes filled"), "\(output)")
    #expect(output.lines == ["0"])
  }
}

extension Fixture {
  /// What the restored file takes, in KiB.
  fileprivate func restoredBlocks(_ name: Raw) throws -> Int64 {
    let target = try restore(["\(inside)/\(name)"]).joined(inside.bytes)
    return try Descriptor.open(target, [.read, .directory]).status(of: name.bytes).blocks / 2
  }
}
