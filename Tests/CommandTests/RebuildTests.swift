/// What any command calls damaged of a manifest, `rebuild` mends; and a run that finds archives whose manifests are
/// lost does not pass over them.
import Posix
import TestSupport
import Testing

@Suite struct RebuildTests {
  /// What happened to a manifest, told by a shell script: `$1` is the manifest, `$2` that of the point before.
  static let damages: [(what: String, script: Raw)] = [
    ("its last byte is lost", #"truncate -s -1 "$1""#),
    ("its last 40 bytes are lost", #"truncate -s -40 "$1""#),
    ("its index is lost", #"truncate -s -$((44 + 60)) "$1""#),
    ("a byte more at the end", #"printf x >>"$1""#),
    ("a member more at the end", #"printf x | gzip -n >>"$1""#),
    ("its first bytes are lost", #"tail -c +20 "$1" >t; mv t "$1""#),
    ("its first bytes are zeros", #"dd if=/dev/zero of="$1" bs=16 count=1 conv=notrunc 2>/dev/null"#),
    ("it is cut to half", #"truncate -s $(($(stat -c %s "$1") / 2)) "$1""#),
    ("it is empty", #": >"$1""#),
    ("it is zeros", #"n=$(stat -c %s "$1"); : >"$1"; truncate -s $n "$1""#),
    ("it is another point's", #"cat "$2" >"$1""#),
    ("it is its archive", #"cat "${1%.mtree.gz}.tar.gz" >"$1""#),
    ("it is text", #"gzip -dc "$1" >t; mv t "$1""#),
    ("it is packed by someone else", #"gzip -dc "$1" | gzip -n >t; mv t "$1""#),
    ("it is gone", #"rm "$1""#),
  ]

  @Test(arguments: damages.indices) func whatIsCalledDamagedIsMended(row: Int) throws {
    let f = try Fixture(TestTree(["a": .file("a\n"), "d": .directory(["b": .file("b\n")])]))
    for step in 0...2 {
      try f.edit("echo \(step) >>a; rm -f d/c; touch d/new\(step)")
      try f.save()
    }
    let good = try f.names()
    for victim in f.points {
      let other = f.points[victim.set == f.points[0].set ? 1 : 0]
      try Command(
        "sh", ["-ec", Self.damages[row].script, "sh", Raw(f.manifest(victim)), Raw(f.manifest(other))],
        in: f.scratch.path
      ).run().checked()
      try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
      for command in ["verify", "points"] { try f.sheaf([Raw(command), "-q", "-s", Raw(f.store)]) }
      try f.sheaf(["verify", "-q", "--quick", "-s", Raw(f.store)])
      try f.expectEveryPoint()
      // A file that cannot be read is kept aside, once.
      try Command("sh", ["-c", "rm -f *.damaged"], in: f.series()).run().checked()
      #expect(try f.names() == good, "\(Self.damages[row].what)")
    }
    try f.save()
    try f.expectEveryPoint()
  }

  /// Whatever bit of a manifest flips: where a command says so, `rebuild` mends it.
  @Test func everyFlippedByteIsMended() throws {
    let f = try Fixture(TestTree(["a": .file("a\n")]))
    try f.save()
    let manifest = try f.manifest(f.newest)
    let good = try Bytes.read(manifest)
    var found = 0
    for at in stride(from: 0, to: good.count, by: 23) + [good.count - 1] {
      var bad = good
      bad[at] ^= 0x10
      try ForgedStore.write(manifest, bad)
      let isFound = try Command.sheaf(["verify", "-q", "-s", Raw(f.store)]).run().status != 0
      found += isFound ? 1 : 0
      try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    }
    #expect(found > 10)
  }

  /// With all manifests gone there is no point, but archives: no run ends as if there had never been one.
  @Test func archivesWithoutManifestsAreTold() throws {
    let f = try Fixture(TestTree(["a": .file("a\n")]))
    try f.save()
    try f.edit("echo more >>a")
    try f.save()
    let kept = f.scratch.path("kept")
    try Command("cp", ["-a", Raw(f.series()), Raw(kept)]).run().checked()
    for name in try f.names() where name.hasSuffix(".mtree.gz") {
      try Descriptor.open(f.series(), [.read, .directory]).removeFile(Bytes(name.utf8))
    }
    let without = try f.sheaf(["backup", "-s", Raw(f.store)], status: 4)
    #expect(without.errorText.contains("no manifest") && without.errorText.contains("rebuild"), "\(without)")
    try f.edit("echo most >>a")
    let with = try f.save(status: 3)
    #expect(with.kind == "full" && with.problems == 1)
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectEveryPoint()
    try f.save()
    // A lost one that something newer stands beside is no longer the run's concern.
    try Descriptor.open(f.series(), [.read, .directory])
      .removeFile(Bytes("\(f.points[1].set).mtree.gz".utf8))
    try f.save()
    try Descriptor.open(f.series(), [.read, .directory]).removeFile(Bytes("\(f.newest.set).mtree.gz".utf8))
    let newest = try f.sheaf(["backup", "-s", Raw(f.store)], status: 3)
    #expect(newest.errorText.contains("\(f.newest.set) has no manifest"), "\(newest)")
  }
}
