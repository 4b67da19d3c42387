/// File systems that are not mounted any more, and sources that are empty all of a sudden: what they held is not deleted.
import Posix
import TestSupport
import Testing

/// A source with mount points in it, made of tmpfs and a bind mount, which need no device.
@Suite(.enabled(if: Mounting.isPossible, "nothing can be mounted here"), .serialized)
struct AbsentPlacesTests {
  /// What is mounted, and what happens to it.
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Makes and mounts it, in the source.
    let before: String
    let after: String
    /// Files that stay in the point, below the source.
    let kept: [String]
    var again = ""
  }

  static let cases = [
    Case(
      testDescription: "a mount point that is empty",
      before: "mkdir m; mount -t tmpfs none m; mkdir m/d; echo 1 >m/d/f",
      after: "umount m", kept: ["m/d/f"], again: "mount -t tmpfs none m; mkdir m/d; echo 1 >m/d/f"),
    Case(
      testDescription: "one that holds something of the same name",
      before: "mkdir -p m/d; mount -t tmpfs none m; mkdir m/d; echo 1 >m/d/f",
      after: "umount m; echo 2 >m/d/new", kept: ["m/d/f", "m/d/new"]),
    Case(
      testDescription: "one that went with what was mounted", before: "mkdir m; mount -t tmpfs none m; echo 1 >m/f",
      after: "umount m; rmdir m", kept: ["m/f"]),
    Case(
      testDescription: "one that is a file now", before: "mkdir m; mount -t tmpfs none m; echo 1 >m/f",
      after: "umount m; rmdir m; echo x >m", kept: ["m/f"]),
    Case(
      testDescription: "a bind mount on the same file system", before: "mkdir m o; echo 1 >o/f; mount --bind o m",
      after: "umount m", kept: ["m/f", "o/f"]),
    Case(
      testDescription: "nested ones",
      before: "mkdir m; mount -t tmpfs none m; mkdir m/n; mount -t tmpfs none m/n; echo 1 >m/n/f",
      after: "umount m/n; umount m", kept: ["m/n/f"]),
    Case(
      testDescription: "the inner one of two",
      before: "mkdir m; mount -t tmpfs none m; mkdir m/n; mount -t tmpfs none m/n; echo 1 >m/n/f; echo 2 >m/g",
      after: "umount m/n; rm m/g", kept: ["m/n/f"]),
    Case(
      testDescription: "another file system, and empty", before: "mkdir m; mount -t tmpfs none m; echo 1 >m/f",
      after: "umount m; mount -t ramfs none m; mkdir m/lost+found", kept: ["m/f"]),
  ]

  private func files(_ f: Fixture, at point: String = "latest") throws -> [String] {
    let target = try f.restore(at: point).joined(f.inside.bytes)
    let list = try Command("find", [".", "-type", "f"], in: target).run().checked().text
    return list.split(separator: "\n").map { String($0.dropFirst(2)) }.sorted()
  }

  @Test(arguments: cases) func whatWasMountedIsKept(_ row: Case) throws {
    let f = try Fixture(TestTree(["z": .file("z")]))
    defer { Mounting.unmountAll(below: f.source) }
    try f.edit(Raw(row.before))
    try f.save()
    try f.edit(Raw(row.after))
    let kept = (row.kept + ["z"]).sorted()
    for more in [[], ["--full"], ["--differential"], []] as [[Raw]] {
      let summary = try f.save(more, status: 3)
      #expect(summary.deleted <= 1 && summary.unseen > 0)
      #expect(try files(f) == kept)
    }
    try f.sheaf(["verify", "-s", Raw(f.store)])
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1", "--fold"])
    #expect(try files(f) == kept)
    if row.again.isEmpty {
      let summary = try f.save(["--gone", "\(f.source)/m"])
      #expect(summary.unseen == 0)
    } else {
      try f.edit(Raw(row.again))
      try f.save()
    }
    #expect(try f.differences(at: f.newest) == [])
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
  }

  /// Stock GNU tar does not delete what is kept, nor does the script.
  @Test func aReplayKeepsIt() throws {
    let f = try Fixture(TestTree(["z": .file("z"), "gone": .file("gone")]))
    defer { Mounting.unmountAll(below: f.source) }
    try f.edit(
      "mkdir -p a/m b/m; mount -t tmpfs none a/m; mount -t tmpfs none b/m; echo 1 >a/m/f; echo 2 >b/m/f; echo 3 >b/old")
    try f.save()
    try f.edit("umount a/m b/m; rmdir b/m; rm gone b/old; echo n >a/m/new")
    try f.save(status: 3)
    let target = f.scratch.path("replayed")
    try Command("sh", [Raw(f.store.joined(Bytes("restore.sh".utf8))), "--to", Raw(target)]).run().checked()
    let list = try Command("find", [".", "-type", "f"], in: target.joined(f.inside.bytes)).run().checked().text
    #expect(list.split(separator: "\n").sorted() == ["./a/m/f", "./a/m/new", "./b/m/f", "./z"])
  }

  @Test func aSourceThatIsAMountPoint() throws {
    let f = try Fixture()
    defer { Mounting.unmountAll(below: f.source) }
    try f.edit("mount -t tmpfs none .")
    try f.edit("echo 1 >f")
    try f.save()
    Mounting.unmountAll(below: f.source)
    try f.save(status: 3)
    #expect(try files(f) == ["f"])
    #expect(try f.save(["--gone", Raw(f.source)]).deleted == 1)
  }
}

struct EmptySourceTests {
  @Test func aSourceThatIsEmptyAllOfASudden() throws {
    let f = try Fixture(TestTree(["a": .file("a"), "d": .directory(["b": .file("b")])]))
    try f.save()
    let whole = f.newest.tree
    try f.edit("rm -r a d")
    for more in [[], ["--full"], []] as [[Raw]] {
      let output = try f.sheaf(["backup", "-s", Raw(f.store)] + more, status: 3)
      #expect(output.errorText.contains("is empty") && output.errorText.contains("--gone"), "\(output)")
    }
    let target = try f.restore()
    #expect(whole.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    #expect(try f.save(["--gone", Raw(f.source)]).deleted == 3)
    #expect(try f.differences(at: f.newest) == [])
    #expect(try f.save().unseen == 0)
  }

  /// What is in a source was deleted, but not all of it; or the source was empty before.
  @Test func whatIsNoneOfThis() throws {
    let f = try Fixture(TestTree(["a": .file("a"), "d": .directory([:])]))
    try f.save()
    try f.edit("rm a")
    #expect(try f.save().deleted == 1)
    try f.edit("rmdir d; mkfifo p")
    #expect(try f.save().deleted == 1)
  }
}

/// Mounts, for tests.
enum Mounting {
  static let isPossible: Bool = {
    guard Host.isRoot, let scratch = try? Scratch() else { return false }
    defer { unmountAll(below: scratch.path) }
    return (try? Command("mount", ["-t", "tmpfs", "none", Raw(scratch.path)]).run().status) == 0
  }()

  static func unmountAll(below path: Bytes) {
    let script: Raw = "grep -o \" $1[^ ]*\" /proc/self/mounts | tac | while read -r m; do umount -l \"$m\"; done"
    _ = try? Command("sh", ["-c", script, "sh", Raw(path)]).run()
  }
}
