/// Differential sets build on the last full one, whatever came between.
import Posix
import TestSupport
import Testing

struct DifferentialTests {
  @Test func buildsOnTheLastFullSet() throws {
    let f = try Fixture(MovesTests.tree)
    try f.save()
    try f.edit("echo one > one; rm -r d; mv a b")
    try f.save()
    try f.edit("echo two > two; mv b c; rm one")
    let summary = try f.save(["--differential"])
    #expect(summary.kind == "differential" && summary.parent == f.points[0].set)
    #expect(f.newest.set.hasSuffix("-diff"))
    // Neither what was stored in between nor what was moved twice is there again.
    #expect(summary.new == 1 && summary.moved >= 8 && summary.bytesWritten < 20_000)
    try f.edit("echo three > three; mv c/sub .")
    #expect(try f.save().parent == f.newest.set || f.points.count == 4)
    try f.edit("touch four; rm two")
    try f.save(["--differential"])
    try f.edit("chmod 700 e")
    try f.save()
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript(f.points)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
    // It does not need what lies between.
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for point in f.points[1...3] where !point.set.hasSuffix("-full") {
      for suffix in [".tar.gz", ".mtree.gz"] { try series.removeFile(Bytes("\(point.set)\(suffix)".utf8)) }
    }
    #expect(try f.differences(at: f.newest) == [])
    #expect(try f.differences(at: f.points[4]) == [])
    try f.expectScript([f.newest])
  }

  @Test func theFirstSetIsFull() throws {
    let f = try Fixture(MovesTests.tree)
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--differential", Raw(f.source)])
    #expect(output.errorText.contains("a full set is written, because there is none yet to build on"))
    #expect(try f.names().contains { $0.hasSuffix("-full.mtree.gz") })
    try f.sheaf(["backup", "-s", Raw(f.store), "--differential", "--full"], status: 64)
  }

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func withSomethingUnseenItIsIncremental() throws {
    let f = try Fixture(MovesTests.tree)
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("echo second > a/one; echo new > shut")
    try f.save(as: .nobody)
    let known = f.newest.tree
    try f.edit("chmod 0 a/one; echo third > e/third")
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--differential"], status: 3, as: .nobody)
    #expect(output.errorText.contains("an incremental set is written, because something could not be looked at"))
    // Told once, not for either attempt.
    #expect(output.errorText.split(separator: "\n").count { $0.contains("a/one") } == 1)
    let names = try f.names().filter { $0.hasSuffix(".mtree.gz") }
    #expect(names.count == 3 && names.allSatisfy { !$0.contains("-diff") })
    let target = try f.restore().joined(f.inside.bytes)
    #expect(try Snapshot(of: target)["a/one"]?.digest == known["a/one"]?.digest)
    try f.edit("chmod 644 a/one")
    #expect(try f.save(["--differential"], as: .nobody).kind == "differential")
    #expect(try f.differences(at: f.newest, .ignoring(.owner)) == [])
  }
}
