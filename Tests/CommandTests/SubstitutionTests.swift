/// One thing in the place of another: what is known of the first must neither be lost nor given out as the second.
import Posix
import TestSupport
import Testing

struct SubstitutionTests {
  private func asNobody(_ script: Raw, in directory: Bytes) throws {
    try Command("sh", ["-ec", script], in: directory, as: .nobody).run().checked()
  }

  private func fixture(_ script: Raw) throws -> Fixture {
    let f = try Fixture()
    for path in [f.source, f.store] { try Descriptor.open(path, [.read, .directory]).setMode(0o777) }
    try asNobody(script, in: f.source)
    try f.save(as: .nobody)
    return f
  }

  @Test(.enabled(if: Scratch.allowsEverything, "needs root"))
  func aDirectoryWhosePlaceAnUnreadableFileTook() throws {
    let f = try fixture("mkdir d; echo x > d/x")
    try asNobody("rm -r d; echo n > d; chmod 000 d", in: f.source)
    #expect(try f.save(status: 3, as: .nobody).unseen == 2)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    #expect(tree["d/x"]?.digest == f.points[0].tree["d/x"]?.digest)
  }

  @Test(.enabled(if: Scratch.allowsEverything, "needs root"))
  func aHardLinkWhoseFirstNameIsAnotherFileByNow() throws {
    let f = try fixture("mkdir d; echo OLD > a; ln a d/b")
    try asNobody("chmod 000 a; rm a; echo new > a", in: f.source)
    try f.save(status: 3, as: .nobody)
    let target = try f.restore().joined(f.inside.bytes)
    #expect(try Bytes.read(target.joined(Bytes("a".utf8))) == Bytes("new\n".utf8))
    #expect(try Bytes.read(target.joined(Bytes("d/b".utf8))) == Bytes("OLD\n".utf8))
  }

  @Test(.enabled(if: Scratch.allowsEverything, "needs root"))
  func whatWasNeverSeenIsNotDeletedByARestore() throws {
    let f = try fixture("echo a > a; echo s > secret; chmod 600 secret")
    try f.edit("echo s > hidden; chmod 600 hidden; echo more >> a")
    try f.save(status: 3, as: .nobody)
    try f.edit("echo extra > extra")
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", "/", "--overwrite", "always", "--delete", Raw(f.source)])
    let tree = try Snapshot(of: f.source)
    #expect(tree["hidden"] != nil && tree["secret"] != nil && tree["extra"] == nil)
  }

  @Test func aSourceInTheStoreIsRefused() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try Descriptor.open(f.store, [.read, .directory]).makeDirectory(Bytes("mine".utf8))
    for source in [f.store, f.store.joined(Bytes("mine".utf8))] {
      try f.sheaf(["backup", "-s", Raw(f.store), Raw(source)], status: 64)
    }
  }
}
