/// What an archive alone cannot tell, and what is known all the same once manifests are made again from it.
import Posix
import TestSupport
import Testing

@Suite struct MendedTests {
  /// Names of one inode stay names of one inode, also where the chain is rewritten afterwards.
  @Test func hardLinksAfterARebuild() throws {
    let f = try Fixture(TestTree(["d": .file("hi\n"), "e": .directory(["g": .hardLink("d")]), "other": .file("1\n")]))
    try f.save()
    try f.edit("ln d later; echo 2 > other")
    try f.save()
    try f.expectRebuilt()
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    try f.reload()
    try f.expectEveryPoint()
    try f.expectScript([f.newest])
    try f.expectRebuilt()
  }

  /// A manifest that was written anew for an archive of another number, and is lost.
  @Test func aDamagedManifestOfAnArchiveOfAnotherNumber() throws {
    let f = try Fixture(TestTree(["a": .file("a\n"), "large": .file(size: 1_500_000, seed: 3), "z": .file("z\n")]))
    try f.save()
    for step in 1...4 {
      try f.edit("touch -d @\(step) large; echo \(step) >> a")
      try f.save()
    }
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--fold", "--keep-last", "2"])
    try f.reload()
    for name in try f.names() where name.hasSuffix(".mtree.gz") {
      let text = try Bytes.read(f.series().joined(Bytes(name.utf8)))
      try f.scratch.write(
        Raw(Bytes("store/".utf8) + f.series().splitAtName.name.joined(Bytes(name.utf8))),
        Raw(Bytes(text[..<(text.count / 2)])))
    }
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    try f.reload()
    try f.expectEveryPoint()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// A folded set's archive does not tell whose further name a file was that could not be looked at: who mends it is told
  /// that what builds on it does not fit any more.
  @Test func aLinkWhoseFirstNameIsGone() throws {
    let f = try Fixture(
      TestTree(["a": .directory(["x": .file("1\n"), "z": .file("1\n")]), "b": .directory(["y": .hardLink("a/x")])]))
    let sources: [Raw] = ["\(f.source)/a", "\(f.source)/b"]
    try f.save(sources: sources)
    try f.edit("rm a/x; mv b away")
    try f.save(sources: sources, status: 3)
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    try f.edit("echo 2 > a/z")
    try f.save(sources: sources, status: 3)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for name in try f.names() where name.hasSuffix("-full-2.mtree.gz") { try series.removeFile(Bytes(name.utf8)) }
    let output = try f.sheaf(["rebuild", "-s", Raw(f.store)], status: 4)
    #expect(output.errorText.contains("was rebuilt as another state of the point"), "\(output)")
  }

  /// An archive without its manifest is no point, but nobody who looks for the newest point misses it.
  @Test func aLostManifestIsTold() throws {
    let f = try Fixture(TestTree(["a": .file("a\n")]))
    try f.save()
    try f.edit("echo more >> a")
    try f.save()
    let lost = f.newest
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let names = try f.names()
    try series.removeFile(Bytes("\(lost.set).mtree.gz".utf8))
    for command in [["points"], ["ls"], ["verify"], ["restore", "--to", Raw(f.scratch.path("target"))]] as [[Raw]] {
      let output = try f.sheaf(command + ["-s", Raw(f.store)])
      #expect(output.errorText.contains(lost.set) && output.errorText.contains("sheaf rebuild"), "\(output)")
    }
    let asked = try f.sheaf(["ls", "-s", Raw(f.store), "--at", Raw(lost.set)], status: 4)
    #expect(asked.errorText.contains("has no manifest\nhint: 'sheaf rebuild -s \(f.store.shown)' makes"), "\(asked)")
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    #expect(try f.names() == names)
    for command in [["points"], ["ls"], ["verify"]] as [[Raw]] {
      #expect(try f.sheaf(command + ["-s", Raw(f.store)]).stderr.isEmpty)
    }
  }

  /// Nothing is left that tells of the sources, nor is it all new: also where this machine remembers the series.
  @Test(arguments: [true, false]) func allManifestsAreLost(isRemembered: Bool) throws {
    let f = try Fixture(TestTree(["a": .file("a\n")]))
    let state: [String: Raw?] = isRemembered ? ["XDG_STATE_HOME": Raw(f.scratch.path("state"))] : [:]
    let backup: [Raw] = ["backup", "-s", Raw(f.store)]
    try f.sheaf(backup + [Raw(f.source)], environment: state)
    try f.edit("echo more >> a")
    try f.sheaf(backup, environment: state)
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for name in try f.names() where name.hasSuffix(".mtree.gz") { try series.removeFile(Bytes(name.utf8)) }
    for more in [[], ["-n"]] as [[Raw]] {
      let output = try f.sheaf(backup + more, status: 4, environment: state)
      #expect(output.errorText.contains("have no manifests\nhint: 'sheaf rebuild -s /"), "\(output)")
      #expect(!output.errorText.contains("a full set is written"), "\(output)")
    }
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    try f.sheaf(backup, environment: state)
  }

  /// What lies behind a volume that is missing is checked all the same.
  @Test func aMissingVolumeHidesNoOther() throws {
    let f = try Fixture(
      TestTree(
        Dictionary(uniqueKeysWithValues: (0..<14).map { (Raw("f\(10 + $0)"), .file(size: 900_000, seed: UInt64($0))) }))
    )
    try f.save(["--volume-size", "3M"])
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let volumes = try f.names().filter { $0.contains(".tar.gz.") }
    #expect(volumes.count >= 4)
    try series.removeFile(Bytes(volumes[1].utf8))
    let output = try f.sheaf(["verify", "-s", Raw(f.store)], status: 4)
    #expect(output.errorText.contains("--volume-dir"), "\(output)")
    let named = (10..<24).filter { output.errorText.contains("f\($0):") }
    #expect(!named.contains(23) && !named.contains(10) && !named.isEmpty, "\(output)")
  }
}
