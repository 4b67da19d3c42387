/// What even a quiet run tells, and what a run tells that writes nothing.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct QuietTests {
  /// Contents that changed alone: in files small and large, of one name and of two, told once each and never of folders.
  @Test(arguments: [["-q"], ["--json"], []] as [[Raw]]) func suspectedRot(options: [Raw]) throws {
    let f = try Fixture(
      TestTree([
        "big": .file(size: 1_500_000, seed: 1), "dir": .directory(["in": .file("in")]), "f": .file("good contents\n"),
        "h": .file("two names\n"), "i": .hardLink("h"), "zdir": .directory(),
      ]))
    try f.edit("touch -d '2024-01-01 10:00' big f h")
    usleep(2_100_000)
    try f.save()
    try f.edit(
      """
      for x in big f h; do printf XX | dd of=$x conv=notrunc 2>/dev/null; touch -d '2024-01-01 10:00' $x; done
      chmod 700 dir; chmod 755 dir; chmod 700 zdir; chmod 755 zdir
      """)
    usleep(2_100_000)
    let output = try f.sheaf(["backup", "-s", Raw(f.store)] + options)
    for name in ["big", "f"] {
      #expect(output.errorLines.count { $0.contains("/\(name): its contents changed") } == 1, "\(output)")
    }
    #expect(!output.errorText.contains("dir: its contents"), "\(output)")
    if options == ["--json"] {
      let told = try output.json().filter { $0["type"] as? String == "suspected_rot" }
      #expect(told.count == output.errorLines.count { $0.contains("its contents changed") })
      #expect(try output.json().last?["suspected_rot"] as? Int == told.count)
    } else if options.isEmpty {
      #expect(output.text.contains("may rot, see above"), "\(output)")
    }
  }

  /// Nothing is written, so nothing need be locked.
  @Test(.enabled(if: Host.isRoot, "only root may mount")) func planningOnAStoreThatCanOnlyBeRead() throws {
    let f = try Fixture(TestTree(["a": .file("1")]))
    guard try Command("mount", ["-t", "tmpfs", "-o", "size=20m", "none", Raw(f.store)]).run().succeeded else { return }
    defer { _ = try? Command("umount", [Raw(f.store)]).run() }
    try f.sheaf(["init", "-s", Raw(f.store)])
    try f.save()
    try f.edit("echo 2 > a; echo b > b")
    try Command("mount", ["-o", "remount,ro", Raw(f.store)]).run().checked()
    let output = try f.sheaf(["backup", "-n", "-v", "-s", Raw(f.store)])
    #expect(output.text.contains("1 new") && output.lines.contains { $0.hasSuffix("source/b") }, "\(output)")
    #expect(try Command.sheaf(["backup", "-s", Raw(f.store)]).run().status != 0)
  }

  /// The folder above has its time still after a replay.
  @Test func aFolderThatIsNoLongerLeftOut() throws {
    let f = try Fixture(
      TestTree([
        "p": .directory(["d": .directory(["x": .file("x")]), "e": .file("e")]).modified(1_500_000_000)
      ]))
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--exclude", "d", Raw(f.source)])
    try f.save(["--change-excludes"])
    #expect(try f.differences(at: f.newest) == [])
    let target = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(target)
    for name in try f.names() where name.hasSuffix(".tar.gz") {
      try Reader.gnuTar.extract(f.series().joined(Bytes(name.utf8)), into: target).checked()
    }
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
  }
}
