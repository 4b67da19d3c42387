/// What cannot be looked at is reported and keeps its last good copy. Root can read everything, so a user without
/// rights makes these backups.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Host.isRoot, "only root can become a user without rights"))
struct UnseenTests {
  /// Readable by everyone, owned by root; the store belongs to nobody.
  private func fixture() throws -> Fixture {
    let f = try Fixture(
      TestTree([
        "open": .file("open\n"), "closed": .file("as it was\n"), "big": .file(size: 3_000_000, seed: 1),
        "shut": .directory(["in": .file("in"), "sub": .directory(["deep": .file("deep")])]),
        "listed": .directory(["a": .file("a"), "b": .directory(["c": .file("c")])]),
      ]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    return f
  }

  private let options: Snapshot.Options = .ignoring(.owner)

  private func differences(_ f: Fixture, _ tree: Snapshot, at point: String = "latest") throws -> [String] {
    let target = try f.restore(at: point)
    return tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options)
  }

  /// The full set knows nothing of what is in the folder, so a differential would leave it behind.
  @Test func aFolderThatWasFilledSinceTheFullSet() throws {
    let f = try Fixture(TestTree(["filled": .directory([:]), "z": .file("z\n")]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("echo precious > filled/it")
    try f.save(as: .nobody)
    let whole = f.newest.tree
    try f.edit("chmod 000 filled")
    #expect(try f.save(["--differential"], status: 3, as: .nobody).kind == "incremental")
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1"])
    let target = try f.restore()
    let back = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(back["filled/it"]?.size == whole["filled/it"]?.size)
  }

  @Test func anUnreadableFileKeepsItsLastGoodCopy() throws {
    let f = try fixture()
    try f.save(as: .nobody)
    let whole = f.newest.tree
    #expect(try differences(f, whole) == [])
    // New contents that nobody may read: the old ones stay, with the old time.
    try f.edit("chmod 000 closed big; echo NEW > closed; echo X >> big")
    for _ in 0..<2 {
      let summary = try f.save(status: 3, as: .nobody)
      #expect(summary.unseen == 2 && summary.problems == 2 && summary.deleted == 0)
      #expect(try differences(f, whole) == [])
    }
    let full = try f.save(["--full"], status: 3, as: .nobody)
    #expect(full.kind == "full" && full.unseen == 2)
    #expect(try differences(f, whole) == [])
    try f.edit("chmod 644 closed big")
    try f.save(as: .nobody)
    #expect(try differences(f, f.newest.tree) == [])
  }

  @Test func aFolderThatCannotBeListedKeepsWhatItHeld() throws {
    let f = try fixture()
    try f.save(as: .nobody)
    let whole = f.newest.tree
    try f.edit("chmod 700 shut; rm shut/in; echo new > shut/new; echo o >> open")
    let summary = try f.save(status: 3, as: .nobody)
    #expect(summary.problems == 1 && summary.deleted == 0)
    #expect(summary.unseen >= 3)
    for point in [f.newest.set, try #require(try f.save(["--full"], status: 3, as: .nobody).set)] {
      let target = try f.restore(at: point).joined(f.inside.bytes)
      let tree = try Snapshot(of: target)
      for path in ["shut/in", "shut/sub", "shut/sub/deep"] as [Raw] {
        #expect(tree[path]?.digest == whole[path]?.digest && tree[path]?.modified == whole[path]?.modified, "\(path)")
      }
      #expect(tree["shut/new"] == nil && tree["shut"]?.mode == 0o700)
    }
    try f.edit("chmod 755 shut")
    try f.save(as: .nobody)
    #expect(try differences(f, f.newest.tree) == [])
  }

  @Test func aFolderThatMayBeListedButNotEntered() throws {
    let f = try fixture()
    try f.save(as: .nobody)
    let whole = f.newest.tree
    try f.edit("chmod 744 listed; rm listed/a")
    let summary = try f.save(status: 3, as: .nobody)
    #expect(summary.unseen > 0)
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    #expect(tree["listed/b/c"]?.digest == whole["listed/b/c"]?.digest && tree["listed/b/c"] != nil)
    // That this name is gone could be seen in the list.
    #expect(tree["listed/a"] == nil)
    #expect(tree["listed"]?.mode == 0o744)
  }

  @Test func neverSeenAtAll() throws {
    let f = try fixture()
    try f.edit("chmod 600 closed; chmod 700 shut")
    let output = try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)], status: 3, as: .nobody)
    #expect(output.errorText.contains("closed: cannot open: "), "\(output)")
    #expect(output.text.contains(" unseen") && output.text.contains("2 problems"), "\(output)")
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    #expect(tree["closed"] == nil && tree["shut"]?.isDirectory == true && tree["shut/in"] == nil)
    #expect(tree["open"] != nil && tree["listed/b/c"] != nil)
    // Any reader takes the archive.
    for reader in Reader.installed {
      let series = try f.names().first { $0.hasSuffix(".tar.gz") }!
      let listing = try reader.list(f.series().joined(Bytes(series.utf8)))
      #expect(listing.succeeded && listing.stderr.isEmpty, "\(listing)")
    }
  }

  @Test func gnuTarDoesNotDeleteWhatIsUnseen() throws {
    let f = try fixture()
    try f.save(as: .nobody)
    // A deletion beside it, so that the directory says in its tar entry what it holds.
    try f.edit("chmod 700 shut; chmod 000 closed; rm open")
    try f.save(status: 3, as: .nobody)
    let target = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(target)
    for point in f.points { try Reader.gnuTar.extract(f.archive(point), into: target).checked() }
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree["closed"] != nil && tree["shut/sub/deep"] != nil && tree["open"] == nil)
  }
}
