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
    /// The mount point that is named.
    var place = "m"
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
      testDescription: "one that went with the folders around it",
      before: "mkdir -p a/b/m; mount -t tmpfs none a/b/m; echo 1 >a/b/m/f; echo 2 >a/b/g",
      after: "umount a/b/m; rm -r a", kept: ["a/b/m/f", "a/b/g"], place: "a/b/m"),
    Case(
      testDescription: "one in a folder that is a file now",
      before: "mkdir -p a/m; mount -t tmpfs none a/m; echo 1 >a/m/f; echo 2 >a/g",
      after: "umount a/m; rm -r a; echo x >a", kept: ["a/m/f", "a/g"], place: "a/m"),
    Case(
      testDescription: "one in a folder that is a link now",
      before: "mkdir -p a/m; mount -t tmpfs none a/m; echo 1 >a/m/f; echo 2 >a/g",
      after: "umount a/m; mv a ../elsewhere; ln -s ../elsewhere a", kept: ["a/m/f", "a/g"], place: "a/m"),
    Case(
      testDescription: "one in a folder that was renamed without it",
      before: "mkdir -p a/m; mount -t tmpfs none a/m; echo 1 >a/m/f", after: "umount a/m; mv a b",
      kept: ["a/m/f"], place: "a/m"),
    Case(
      testDescription: "another drive, with what each drive has",
      before: "mkdir m; mount -t tmpfs none m; echo 1 >m/f; mkdir m/.Trash-1000 'm/System Volume Information'",
      after: "umount m; mount -t ramfs none m; mkdir m/.Trash-1000 'm/System Volume Information'", kept: ["m/f"]),
    Case(
      testDescription: "another file system, and empty", before: "mkdir m; mount -t tmpfs none m; echo 1 >m/f",
      after: "umount m; mount -t ramfs none m; mkdir m/lost+found", kept: ["m/f"]),
  ]

  /// What a differential set passes over: the full set that it builds on never had it.
  @Test(arguments: [
    ("a mount point", "mkdir m", "mount -t tmpfs none m; echo 1 >m/f", "umount m", "m/f"),
    ("one that went", "true", "mkdir m; mount -t tmpfs none m; echo 1 >m/f", "umount m; rmdir m", "m/f"),
    ("another drive", "mkdir m", "mount -t tmpfs none m; echo 1 >m/f", "umount m; mount -t ramfs none m", "m/f"),
    ("the source", "rm -r *", "echo 1 >f", "rm f", "f"),
  ]) func aDifferentialSetKeepsIt(what: String, full: String, then: String, after: String, kept: String) throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    defer { _ = try? Command("sh", ["-c", "umount -l m m"], in: f.source).run() }
    try f.edit(Raw(full))
    try f.save()
    try f.edit(Raw(then))
    try f.save()
    try f.edit(Raw(after))
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--differential"], status: 3)
    #expect(output.errorText.contains("an incremental set is written, because"), "\(output)")
    #expect(try files(f).contains(kept), "\(what)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

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
    let compared = try f.sheaf(["diff", "--live", "-s", Raw(f.store)], status: 3)
    #expect(!compared.lines.contains { $0.hasPrefix("-") && $0.contains(row.kept[0]) }, "\(compared)")
    #expect(compared.errorText.contains("\(f.source.shown)/\(row.place)"), "\(compared)")
    let below: Raw = "\(f.source)/\(Raw(row.kept[0]))"
    let slice = try f.sheaf(["diff", "--live", "--path", below, "-s", Raw(f.store)], status: 3)
    #expect(!slice.lines.contains { $0.hasPrefix("-") }, "\(slice)")
    for more in [[], ["--full"], ["--differential"], []] as [[Raw]] {
      let summary = try f.save(more, status: 3)
      #expect(summary.deleted <= 1 && summary.unseen > 0)
      #expect(try files(f) == kept)
    }
    try f.sheaf(["verify", "-s", Raw(f.store)])
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1", "--fold"])
    #expect(try files(f) == kept)
    if row.again.isEmpty {
      let summary = try f.save(["--gone", "\(f.source)/\(Raw(row.place))"])
      #expect(summary.unseen == 0)
    } else {
      try f.edit(Raw(row.again))
      try f.save()
    }
    #expect(try f.differences(at: f.newest) == [])
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
  }

  /// A mount point that came along with the folder around it is there still.
  @Test(arguments: [
    ("mv a b", "b/m/f"), ("mkdir z; mv a z/", "z/a/m/f"), ("mkdir -p y/x; mv a y/x/w", "y/x/w/m/f"),
    ("mv o a/; mv a b", "b/m/f"), ("mv a b; mkdir a; echo new >a/g", "b/m/f"),
  ]) func aRenamedFolderTakesItAlong(edit: String, now: String) throws {
    let f = try Fixture(TestTree(["o": .file("o")]))
    defer { Mounting.unmountAll(below: f.source) }
    try f.edit("mkdir -p a/m; mount -t tmpfs none a/m; echo 1 >a/m/f; echo 2 >a/g")
    try f.save()
    try f.edit(Raw(edit))
    let live = try f.sheaf(["diff", "--live", "-s", Raw(f.store)])
    #expect(!live.errorText.contains("is not there"), "\(live)")
    let (first, second) = (try f.save(), try f.save(["--full"]))
    #expect(first.unseen == 0 && second.unseen == 0)
    #expect(try files(f).contains(now))
    try f.expectEveryPoint()
    try f.edit("umount \(Raw(String(now.dropLast(2))))")
    try f.save(status: 3)
    #expect(try files(f).contains(now))
  }

  /// Sets of many gzip members, most of which are copied without a look, with marked folders between them.
  @Test func markedFoldersAreFolded() throws {
    var files: [Raw: Node] = [:]
    for number in 10..<40 { files["f\(number)"] = .file(size: 300_000, seed: UInt64(number)) }
    let f = try Fixture(TestTree(["a": .directory(files), "c": .directory(files), "e": .directory(files)]))
    defer { Mounting.unmountAll(below: f.source) }
    try f.edit("mkdir b d; for m in b d; do mount -t tmpfs none $m; mkdir $m/s; cp a/f1* $m/s; cp a/f2* $m; done")
    try f.save()
    try f.edit("umount b; echo more >>c/f20")
    try f.save(status: 3)
    try f.edit("umount d; mount -t ramfs none d; cp a/f20 d; echo more >>e/f20")
    try f.save(status: 3)
    let before = try Snapshot(of: f.restore().joined(f.inside.bytes))
    for act in [["consolidate"], ["prune", "--fold", "--keep-last", "1"], ["consolidate"]] as [[Raw]] {
      try f.sheaf(act + ["-q", "-s", Raw(f.store)])
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      let lines = before.differences(to: try Snapshot(of: f.restore().joined(f.inside.bytes)))
      #expect(lines == [])
      try f.sheaf(["backup", "-q", "-s", Raw(f.store)], status: 3)
    }
  }

  /// A set that stays for a later one's sake needs others in turn: where the fold that is to spare them all cannot be
  /// made, each point that is left is whole.
  @Test func whatStaysKeepsWhatItNeeds() throws {
    let f = try Fixture(TestTree(["z": .file(size: 3_000_000, seed: 1)]))
    defer { Mounting.unmountAll(below: f.source) }
    try f.edit("mkdir m n; for p in m n; do mount -t tmpfs none $p; head -c 100000 /dev/urandom >$p/f; done")
    try f.save()
    try f.edit("umount m")
    try f.edit("head -c 100000 /dev/urandom >n/f")
    try f.save(["--full"], status: 3)
    let second = f.newest.set
    try f.edit("umount n")
    try f.save(["--full", "--gone", "\(f.source)/m"], status: 3)
    let path = try f.archive(f.newest)
    var archive = try Bytes.read(path)
    for at in archive.count / 2..<archive.count / 2 + 100 { archive[at] ^= 0xff }
    try Descriptor.open(path, [.write, .truncate]).write(archive)
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1", "--fold"], status: 4)
    #expect(try f.names().contains("\(second).mtree.gz"))
    #expect(try files(f, at: second) == ["m/f", "n/f", "z"])
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

  /// A full set that was made meanwhile has it in an older chain; from the next set on tar alone has everything.
  @Test func whatIsBackAfterAFullSet() throws {
    let f = try Fixture(TestTree(["z": .file("z"), "d": .directory(["e": .directory()])]))
    defer { Mounting.unmountAll(below: f.source) }
    let again: Raw = "mount --bind ../drive m; mount --bind ../drive d/e/m"
    try f.edit(
      "mkdir -p m d/e/m ../drive/top/in; echo 1 >../drive/top/in/f; touch -d @1000000000 ../drive ../drive/top")
    try f.edit(again)
    try f.save()
    try f.edit("umount m d/e/m; touch -d @1100000000 . d d/e")
    try f.save(["--full"], status: 3)
    try f.edit(again)
    try f.save()
    f.points.removeFirst(2)
    try f.expectEveryPoint()
    try f.expectReplay()
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
      let compared = try f.sheaf(["diff", "--live", "-s", Raw(f.store)], status: 3)
      #expect(compared.lines.last == "0 added, 0 removed, 0 changed, 0 moved", "\(compared)")
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
    let compared = try f.sheaf(["diff", "--live", "-s", Raw(f.store)])
    #expect(compared.lines.contains { $0.hasPrefix("- ") && $0.hasSuffix("/a") }, "\(compared)")
    #expect(try f.save().deleted == 1)
    // A folder that is looked at by itself is no source.
    try f.edit("echo in >d/in")
    try f.save()
    try f.edit("rm d/in")
    try f.sheaf(["diff", "--live", "--path", "\(f.source)/d", "-s", Raw(f.store)])
    try f.save()
    try f.edit("rmdir d; mkfifo p")
    #expect(try f.save().deleted == 1)
  }
}

/// Subvolumes come and go with their data, and a snapshot has nothing but their names.
@Suite(
  .enabled(
    if: !Volume.mountable([.btrfs]).isEmpty && Command.find("btrfs") != nil, "\(Volume.needs), and those of btrfs"))
struct SubvolumeTests {
  private func fixture(_ script: Raw) throws -> (Fixture, Volume) {
    let volume = try Volume(.btrfs)
    let f = try Fixture()
    try Command("sh", ["-ec", script], in: volume.path).run().checked()
    return (f, volume)
  }

  @Test func theyAreNamedAndCounted() throws {
    let (f, volume) = try fixture(
      "btrfs subvolume create a; btrfs subvolume create b; echo 1 >a/f; mkdir c; echo 2 >c/g")
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--one-file-system", Raw(volume.path)])
    for name in ["a", "b"] { #expect(output.errorText.contains("/\(name): what is mounted there"), "\(output)") }
    #expect(output.text.contains("2 file systems left out") && output.text.contains("holds 1 file"), "\(output)")
  }

  /// One that was deleted is gone, with what was in it.
  @Test func theyAreDeleted() throws {
    let (f, volume) = try fixture(
      "btrfs subvolume create a; echo 1 >a/f; btrfs subvolume create b; echo 2 >b/f; echo 3 >c")
    let source = Raw(volume.path)
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), source])
    try Command("sh", ["-ec", "btrfs subvolume delete a b; mkdir b"], in: volume.path).run().checked()
    let summary = try Summary(try f.sheaf(["backup", "--json", "-s", Raw(f.store), source]))
    #expect(summary.deleted == 3 && summary.unseen == 0)
  }

  /// A snapshot of the folder around them has not what is in them.
  @Test func snapshotsDoNotHaveThem() throws {
    let (f, volume) = try fixture(
      "btrfs subvolume create live; btrfs subvolume create live/sub; mkdir live/sub/d; echo 1 >live/sub/d/f; echo 2 >live/g"
    )
    let source = Raw(volume.path.joined(Bytes("live")))
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), source])
    try Command(
      "sh", ["-ec", "btrfs subvolume snapshot live s; mv live old; mv s live; rm live/g"], in: volume.path
    ).run().checked()
    for more in [[], ["--full"], []] as [[Raw]] {
      let output = try f.sheaf(["backup", "--json", "-s", Raw(f.store), source] + more, status: 3)
      #expect(output.errorText.contains("live/sub: is a subvolume"), "\(output)")
      let names = try f.sheaf(["ls", "-R", "-s", Raw(f.store)]).text
      #expect(names.contains("live/sub/d/f") && !names.contains("live/g"), "\(names)")
    }
    try f.sheaf(["diff", "--live", "-s", Raw(f.store)], status: 3)
    let summary = try Summary(
      try f.sheaf(["backup", "--json", "-s", Raw(f.store), "--gone", "\(source)/sub", source]))
    #expect(summary.deleted > 0)
    #expect(try !f.sheaf(["ls", "-R", "-s", Raw(f.store)]).text.contains("live/sub/d"))
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
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
