/// Of a large file whose contents stay, only what changed is written; the script and the program set it.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Scratch.allowsEverything, "needs root"))
struct MetadataTests {
  private func fixture() throws -> Fixture {
    let f = try Fixture(
      TestTree([
        "large": .file(size: 3_000_000, seed: 1).attribute(Attribute("user.old", "value")),
        "sparse": .file(size: 2_000_000, seed: 2), "small": .file(size: 70_000, seed: 3),
        "dir": .directory(["odd 'name' =\n": .file(size: 1_500_000, seed: 4)]),
      ]))
    try f.edit("truncate -s 9M sparse; touch -d @1600000000.5 large")
    return f
  }

  static let edits = [
    "chmod 4711 large", "chown 7:8 large", "touch -d @1234567890.25 large", "touch -d @-7.5 large",
    "setfattr -n user.new -v value large", "setfattr -x user.old large", "setfattr -n 'user.a=b%c' -v '' large",
    "setfacl -m u:5:rwx large", "chmod 600 sparse", "cd dir; chmod 640 *; chown 9 *; touch -d @5 *",
    "chmod 640 large; mv large dir/moved", "mv dir other; chmod 600 other/*; setfacl -m g:7:r other/*",
  ]

  @Test(arguments: edits) func isNotContent(_ script: String) throws {
    let f = try fixture()
    try f.save()
    try f.edit(Raw(script))
    let summary = try f.save()
    #expect(summary.changed == 1 || script.contains("mv "))
    #expect(summary.bytesRead > 1_000_000 && summary.bytesWritten < 10_000)
    try f.expectEveryPoint()
    try f.expectReplay(lagging: true, script)
    try f.expectScript([f.newest], script)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt(script)
  }

  /// One after another, and back again: nothing of it is left.
  @Test func upon() throws {
    let f = try fixture()
    for script in Self.edits.dropLast(2) {
      try f.save()
      try f.edit(Raw(script))
    }
    try f.save()
    try f.edit("setfattr -x user.new large; setfattr -x 'user.a=b%c' large; setfacl -b large; chmod 644 large")
    try f.save()
    try f.expectEveryPoint()
    try f.expectScript([f.points[f.points.count - 2], f.newest])
    try f.expectRebuilt()
  }

  @Test func fullEntriesStoresIt() throws {
    let f = try fixture()
    try f.save()
    try f.edit("chmod 600 large; mv sparse other")
    let summary = try f.save(["--full-entries"])
    // What was moved is exact by tar as well, and is not stored again.
    #expect(summary.bytesWritten > 3_000_000 && summary.bytesWritten < 3_100_000 && summary.moved == 1)
    try f.expectEveryPoint()
    try f.expectReplay()
  }

  /// Same size and time, other contents: that is no change of metadata.
  @Test func contentsAreCompared() throws {
    let f = try fixture()
    try f.save()
    try f.edit(
      "printf x | dd of=large bs=1 seek=2999999 conv=notrunc status=none; touch -d @1600000000.5 large; chmod 600 large"
    )
    let summary = try f.save()
    #expect(summary.bytesWritten > 3_000_000)
    try f.expectEveryPoint()
    try f.expectReplay()
  }

  /// A file with several names is stored again as ever.
  @Test func hardLinksAreStored() throws {
    let f = try fixture()
    try f.edit("ln large dir/second")
    try f.save()
    try f.edit("chmod 600 large")
    #expect(try f.save().bytesWritten > 3_000_000)
    try f.expectEveryPoint()
    try f.expectReplay()
  }
}
