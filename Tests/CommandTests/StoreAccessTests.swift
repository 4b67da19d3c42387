/// Who can read a store, and stores on file systems of a network.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct StoreAccessTests {
  /// `PATH MODE` of everything in the store that others than its owner can do something with.
  private func open(_ f: Fixture, beyond mode: String = "077") throws -> [String] {
    try Command("find", [Raw(f.store), "-perm", Raw("/\(mode)"), "-printf", "%P %m\\n"]).run().checked().lines
  }

  private func fixture(umask: Raw) throws -> Fixture {
    let f = try Fixture(TestTree(["a": .file(size: 3_000_000, seed: 1)]))
    Scratch.remove(f.store)
    let script: Raw = """
      umask \(umask); "$0" init -q -s "$1"; "$0" backup -q -s "$1" "$2"; echo b >"$2/b"; "$0" backup -q -s "$1"
      "$0" backup -q --volume-size 2M --full -s "$1"; "$0" protect -q -s "$1" latest; "$0" consolidate -q -s "$1" --at 1y ||:
      "$0" prune -q -s "$1" --keep-last 1 --fold
      """
    try Command("sh", ["-ec", script, Raw(Command.sheafBinary()), Raw(f.store), Raw(f.source)]).run().checked()
    return f
  }

  @Test(arguments: ["000", "022", "027", "077"] as [Raw]) func whateverTheUmask(umask: Raw) throws {
    let f = try fixture(umask: umask)
    #expect(try open(f) == [])
    #expect(try f.names().count > 2)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// A folder that was there already, and one for a group.
  @Test(
    .enabled(if: Host.isRoot, "needs root"),
    arguments: [("755", "077", "700"), ("750", "027", "750"), ("2770", "007", "2770"), ("777", "077", "700")])
  func aFolderThatWasThere(mode: Raw, beyond: String, then: String) throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    Scratch.remove(f.store)
    try Command("sh", ["-ec", "mkdir -m \(mode) \"$0\"; chgrp 4321 \"$0\"", Raw(f.store)]).run().checked()
    try f.sheaf(["init", "-s", Raw(f.store)])
    try f.save()
    #expect(try open(f, beyond: beyond) == [])
    let modes = try Command("find", [Raw(f.store), "-type", "d", "-printf", "%m\\n"]).run().checked().lines
    #expect(Set(modes) == [then])
    if then != "700" {
      let others = try Command("find", [Raw(f.store), "!", "(", "-group", "4321", "-perm", "-040", ")"]).run()
      #expect(try others.checked().text == "")
    }
  }

  /// As versions before made them.
  @Test func aStoreThatEveryoneCouldRead() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    try Command("chmod", ["-R", "go+rX", Raw(f.store)]).run().checked()
    let output = try f.sheaf(["backup", "-s", Raw(f.store)])
    #expect(output.errorText.contains("every user of this machine could read the series"), "\(output)")
    #expect(try open(f) == [])
    #expect(try f.sheaf(["backup", "-s", Raw(f.store)]).errorText == "")
    // Something else lies in the folder, which may be for others: what is the store's is closed all the same.
    try Command("sh", ["-ec", "chmod -R go+rX \"$0\"; echo x >\"$0/else\"", Raw(f.store)]).run().checked()
    try f.sheaf(["backup", "-q", "-s", Raw(f.store)])
    #expect(try open(f).sorted() == [" 755", "else 644"])
    // From now on for a group.
    Scratch.remove(f.store.joined(Bytes("else")))
    try Command("chmod", ["750", Raw(f.store)]).run().checked()
    try f.sheaf(["backup", "-q", "-s", Raw(f.store)])
    #expect(try open(f, beyond: "027") == [])
    #expect(try Command("find", [Raw(f.store), "!", "-perm", "-040"]).run().checked().text == "")
  }

  /// What root writes into someone's series is of use to them.
  @Test(.enabled(if: Host.isRoot, "needs root")) func rootInTheStoreOfAnother() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try Command("chown", ["-R", "nobody:nogroup", Raw(f.store), Raw(f.source)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("echo b >a")
    try f.save()
    try f.save(as: .nobody)
    #expect(try open(f) == [])
    // But what is a series of root's is root's.
    try f.sheaf(["backup", "-q", "--series", "root", "-s", Raw(f.store), Raw(f.source)])
    let output = try Command.sheaf(["points", "--series", "root", "-s", Raw(f.store)], as: .nobody).run()
    #expect(output.status == 1 && output.errorText.contains("Permission denied"), "\(output)")
  }

  private static var hasNetwork: Bool {
    Host.isRoot && Command.find("sshfs") != nil && exists(Bytes("/usr/lib/openssh/sftp-server"))
      && exists(Bytes("/dev/fuse"))
  }

  /// A file system that answers a directory which was rewound with nothing.
  @Test(.enabled(if: hasNetwork, "needs root, sshfs and sftp-server")) func aStoreOnSSHFS() throws {
    let scratch = try Scratch()
    for name in ["real", "mounted"] as [Raw] { try Descriptor.workingDirectory.makeDirectory(scratch.path(name)) }
    try scratch.write("ssh", "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n")
    chmod(scratch.path("ssh").shown, 0o755)
    let mounted = scratch.path("mounted")
    let command: Raw = "ssh_command=\(scratch.path("ssh"))"
    try Command("sshfs", ["-o", "dir_cache=no", "-o", command, "x:\(scratch.path("real"))", Raw(mounted)]).run()
      .checked()
    defer { _ = try? Command("umount", ["-l", Raw(mounted)]).run() }
    let f = try Fixture(TestTree(["a": .file("a"), "b": .file("b")]), store: mounted.joined(Bytes("store")))
    try f.save()
    try f.edit("echo c >c")
    #expect(try f.save(sources: []).kind == "incremental")
    try f.edit("echo d >d")
    #expect(try f.save(sources: []).kind == "incremental")
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "2", "--fold"])
    f.points.removeFirst()
    try f.reload()
    #expect(f.points.count == 2)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectEveryPoint()
  }
}
