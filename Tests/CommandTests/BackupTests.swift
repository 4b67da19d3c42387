/// Backups through the command line: full and incremental sets of edited trees, each point restored and compared.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct BackupTests {
  private static let tree = TestTree([
    "a.txt": .file("alpha\n").modified(1_600_000_000, 123_456_789),
    "b.bin": .file(size: 300_000, seed: 1),
    "empty": .file(),
    "link": .symlink("a.txt"),
    "void": .directory().mode(0o700).modified(1_500_000_000),
    "docs": .directory([
      "one": .file("1\n"), "two": .file(size: 5000, seed: 2, .compressible), "deeper": .directory(["x": .file("x")]),
    ]),
    "swap": .file("was a file"), "turn": .directory(["inner": .file("inner")]), "bend": .symlink("nowhere"),
    "name with space": .file("s"),
  ])

  @Test func everyPointOfAnEditedTreeComesBack() throws {
    let f = try Fixture(Self.tree)
    #expect(try f.save().kind == "full")
    try f.edit("echo new > new; rm a.txt; mkdir -p fresh/sub; echo y > fresh/sub/y; echo 2 >> docs/one")
    let second = try f.save()
    #expect(second.kind == "incremental")
    #expect(second.parent == f.points[0].set)
    try f.edit("mv docs/two docs/zwei; mv fresh moved; rm -r docs/deeper; chmod 600 b.bin; touch empty")
    try f.save()
    try f.edit("rm swap; mkdir swap; echo in > swap/in; rm -r turn; ln -s b.bin turn; rm bend; echo file > bend")
    try f.save()
    try f.edit("rm -r swap; ln -s bend swap; rm turn; echo file > turn; rm bend; mkdir bend; echo deep > bend/deep")
    try f.save()
    // Other contents of the same size under the old time: only ctime tells.
    try f.edit(
      """
      touch -r b.bin ../../stamp
      printf X | dd of=b.bin bs=1 seek=7 conv=notrunc 2>/dev/null
      touch -r ../../stamp b.bin
      """)
    #expect(try f.save().changed == 1)
    try f.edit("rm -rf ./* ")
    try f.save(["--gone", Raw(f.source)])
    try f.edit("echo back > a.txt")
    try f.save()
    try f.expectEveryPoint()
  }

  @Test func manySmallEditsInOneChain() throws {
    let f = try Fixture(TestTree(["d": .directory()]))
    try f.edit("for i in $(seq 1 60); do echo $i > d/$i; done")
    try f.save()
    for step in 1...6 {
      try f.edit("rm d/\(step); echo changed > d/\(step + 10); echo new > d/new-\(step)")
      try f.edit("mkdir e\(step); touch e\(step)/f")
      try f.save()
    }
    try f.expectEveryPoint()
  }

  @Test func withoutAChangeASetIsWrittenAndCostsLittle() throws {
    let f = try Fixture(Self.tree)
    // What was written a moment ago is read again.
    usleep(2_300_000)
    let full = try f.save()
    let again = try f.save()
    #expect(again.kind == "incremental")
    #expect(again.set != nil && again.set != full.set)
    #expect(again.new == 0 && again.changed == 0 && again.deleted == 0 && again.bytesRead == 0)
    #expect(again.bytesWritten < 10_000)
    try f.expectEveryPoint()
  }

  @Test func skipUnchangedWritesNothingWhereNothingChanged() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--skip-unchanged"])
    let before = try f.names()
    let skipped = try f.save(["--skip-unchanged"])
    #expect(skipped.set == nil)
    #expect(try f.names() == before)
    let words = try f.sheaf(["backup", "-s", Raw(f.store), "--skip-unchanged"])
    #expect(words.lines == ["nothing changed, no set written"])
    try f.edit("rm empty")
    #expect(try f.save(["--skip-unchanged"]).deleted == 1)
    try f.expectEveryPoint()
  }

  @Test func touchingAndRewritingTheSameContents() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    // Only the inode and ctime are new: read, found equal, nothing stored.
    try f.edit("cp -p b.bin copy; mv copy b.bin; touch -r docs/one ../../stamp; chmod 600 docs/one; chmod 644 docs/one")
    let summary = try f.save()
    #expect(summary.bytesWritten < 20_000)
    try f.edit("touch docs/one; chmod 000 docs/two; chmod 1777 void")
    try f.save()
    try f.expectEveryPoint()
  }

  @Test func checksumFindsWhatStatDoesNotTell() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo ALPHA > a.txt; touch -d @1600000000.123456789 a.txt")
    try f.save(["--checksum"])
    try f.expectEveryPoint()
  }

  @Test(arguments: [0, 1, 2, 3, 9, 12]) func everyLevelRestoresEqual(level: Int) throws {
    let f = try Fixture(
      TestTree([
        "a": .file(size: 2_500_000, seed: 3, .compressible), "b": .file(size: 100_000, seed: 4), "c": .file("c"),
      ]))
    let summary = try f.save(["--level", "\(level)"])
    if level == 0 { #expect(summary.bytesWritten > 2_600_000) } else { #expect(summary.bytesWritten < 1_500_000) }
    try f.edit("echo more >> a")
    try f.save(["--level", "\(level)"])
    try f.expectEveryPoint()
  }

  @Test func fullBeginsANewChain() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo more >> a.txt")
    let full = try f.save(["--full"])
    #expect(full.kind == "full" && full.parent == nil)
    try f.edit("rm b.bin")
    #expect(try f.save().parent == full.set)
    try f.expectEveryPoint()
    // The first chain is not needed for the second.
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for suffix in [".tar.gz", ".mtree.gz"] { try series.removeFile(Bytes("\(f.points[0].set)\(suffix)".utf8)) }
    for point in f.points[1...] { #expect(try f.differences(at: point) == []) }
  }

  @Test func aDryRunWritesNothing() throws {
    let f = try Fixture(Self.tree)
    let untouched = try Snapshot(of: f.store)
    let summary = try f.save(["--dry-run"])
    #expect(summary.set == nil && summary.kind == "full" && summary.new > 5)
    #expect(untouched.differences(to: try Snapshot(of: f.store)) == [])
    try f.save()
    try f.edit("echo more >> a.txt; rm empty; echo n > n")
    let before = try Snapshot(of: f.store)
    let next = try f.save(["-n"])
    #expect(next.set == nil && next.kind == "incremental" && next.deleted == 1)
    let series = Raw(try f.series().splitAtName.name)
    // The lock came and went.
    #expect(before.differences(to: try Snapshot(of: f.store), .ignoring(untimed: [series])) == [])
    let verbose = try f.sheaf(["backup", "-s", Raw(f.store), "-nv"])
    #expect(verbose.lines.contains(">f+++ /\(f.inside.bytes.shown)/n"), "\(verbose)")
    #expect(verbose.lines.contains("*fdel /\(f.inside.bytes.shown)/empty"), "\(verbose)")
    #expect(verbose.lines.contains { $0.hasPrefix("would save an incremental set") })
  }

  @Test func aCommentStaysWithItsPoint() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--comment", "before the “move”\\n to b"])
    try f.save()
    let points = try f.sheaf(["points", "-s", Raw(f.store), "--json"]).json()
    #expect(points[0]["comment"] as? String == "before the “move”\\n to b")
    #expect(points[1]["comment"] == nil)
    #expect(try f.sheaf(["points", "-s", Raw(f.store)]).text.contains("before the “move”"))
  }

  @Test func socketsAreLeftOutWithANote() throws {
    let f = try Fixture(TestTree(["sock": .socket, "file": .file("f")]))
    let output = try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)])
    #expect(output.errorText.contains("sock"))
    let target = try f.restore()
    #expect(try Snapshot(of: target.joined(f.inside.bytes)).paths == [Bytes("file")])
  }

  @Test func theStoreMayBeNamedByTheEnvironment() throws {
    let f = try Fixture(Self.tree)
    try f.sheaf(["backup", Raw(f.source), "-q"], environment: ["SHEAF_STORE": Raw(f.store)])
    #expect(try f.names().count == 2)
  }
}
