/// Stores, sources and targets on the file systems of external drives.
import Glibc
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: !Volume.mountable().isEmpty, "\(Volume.needs)")) struct DriveTests {
  private static let tree = TestTree([
    "a": .file("a\n"), "large": .file(size: 2_500_000, seed: 1), "link": .symlink("a"), "second": .hardLink("a"),
    "goes": .file("goes\n"), "folder": .directory(["b": .file("b\n")]), "x:y": .file("names are in the archive\n"),
  ])

  // MARK: Stores

  @Test(arguments: Volume.mountable()) func aStore(on kind: Volume.Kind) throws {
    let volume = try Volume(kind, megabytes: 32)
    let f = try Fixture(Self.tree, store: volume.path.joined(Bytes("store")))
    try f.save()
    let texts = try ["README.txt", "restore.sh"].map { try Bytes.read(f.store.joined(Bytes($0.utf8))) }
    try f.edit("echo more >> a; rm goes; echo new > folder/new")
    for name in ["README.txt", "restore.sh"] {
      try Descriptor.open(f.store.joined(Bytes(name.utf8)), [.write, .truncate]).write(Bytes("old"))
    }
    #expect(try f.save().kind == "incremental")
    try volume.remount()
    #expect(try ["README.txt", "restore.sh"].map { try Bytes.read(f.store.joined(Bytes($0.utf8))) } == texts)
    #expect(try Descriptor.open(f.store, [.read, .directory]).sortedNames().count == 4)
    #expect(try f.names().count == 4 && f.names().allSatisfy { !$0.contains(":") })
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectEveryPoint()
    for point in f.points {
      let target = f.scratch.path("by-script")
      try Command(
        "sh", ["\(f.store)/restore.sh", "--at", Raw(point.set), "--to", Raw(target)], in: f.scratch.path
      ).run().checked()
      #expect(point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
      Scratch.remove(target)
    }
    // A live lock keeps others out, a stale one does not.
    let boot = Raw(Bytes(Host.bootIdentity().prefix(8)))
    let host = Raw(Host.name().map { $0 == 45 || $0 == 46 || isalnum(Int32($0)) != 0 ? $0 : UInt8(ascii: "_") })
    let series = try f.series()
    let live = series.joined(Raw("lock.\(host)_\(boot)_\(Host.processID)").bytes)
    try Descriptor.open(live, [.write, .create]).close()
    let output = try f.sheaf(["backup", "-s", Raw(f.store)], status: 11)
    #expect(output.errorText.contains("in use by process \(Host.processID) on"))
    unlink(live.shown)
    let gone = try Command("true").start()
    _ = gone.wait()
    try Descriptor.open(series.joined(Raw("lock.\(host)_\(boot)_\(gone.processID)").bytes), [.write, .create]).close()
    try f.save()
    #expect(try f.names().count == 6)
  }

  @Test(.enabled(if: !Volume.mountable([.exfat, .vfat]).isEmpty, "\(Volume.needs)"))
  func aSeriesInOtherLetters() throws {
    let volume = try Volume(Volume.mountable([.exfat, .vfat])[0])
    let f = try Fixture(TestTree(["a": .file("a")]), store: volume.path.joined(Bytes("store")))
    try f.save(["--series", "Laptop"])
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--series", "laptop", Raw(f.source)], status: 64)
    #expect(output.errorText.contains("Laptop"), "\(output)")
    #expect(try f.names().count == 2)
    try f.save(["--series", "LAPTOP 2"])
  }

  /// A drive that a rescue system reads, which has no series there.
  @Test(arguments: Volume.mountable([.exfat, .fuse2fs, .ext4])) func readByAnotherHost(on kind: Volume.Kind) throws {
    let volume = try Volume(kind)
    let f = try Fixture(TestTree(["a": .file("a")]), store: volume.path.joined(Bytes("store")))
    try f.save()
    let target = Raw(f.scratch.path("target"))
    for words in [["points"], ["ls"], ["find", "a"], ["restore", "--to", target], ["verify"]] as [[Raw]] {
      let output = try f.command([words[0], "-s", Raw(f.store)] + words.dropFirst())
        .wrapped(["unshare", "-u", "sh", "-c", "hostname rescue; exec \"$@\"", "sh"]).run()
      #expect(output.status == 0, "\(kind) \(output)")
    }
  }

  // MARK: Sources

  @Test(arguments: Volume.mountable()) func aSource(on kind: Volume.Kind) throws {
    let volume = try Volume(kind)
    let f = try Fixture()
    let source = volume.path.joined(Bytes("source"))
    try TestTree([
      "a": .file("a\n"), "large": .file(size: 2_500_000, seed: 1), "folder": .directory(["b": .file("b\n")]),
    ])
    .make(at: source)
    usleep(4_100_000)
    func save() throws -> Summary { try f.save(sources: [Raw(source)]) }
    #expect(try save().new > 0)
    for _ in 0..<2 {
      let same = try save()
      #expect(same.new + same.changed + same.deleted == 0 && same.bytesRead == 0, "\(same)")
    }
    try volume.remount()
    // Change times may be others now: what was only read proves the same, and is not read again.
    let first = try save()
    #expect(first.new + first.changed + first.deleted == 0, "\(first)")
    let second = try save()
    #expect(second.new + second.changed + second.deleted == 0 && second.bytesRead == 0, "\(second)")
    try Descriptor.open(source.joined(Bytes("a")), [.write, .truncate]).write(Bytes("b\n"))
    let last = try save()
    #expect(last.changed == 1 && last.new + last.deleted == 0, "\(last)")
    let target = try f.restore()
    let options = Snapshot.Options.ignoring(.mode, .owner, .holes)
    #expect(
      try Snapshot.differences(from: source, to: target.joined(Bytes(source.dropFirst())), options) == [])
  }

  // MARK: Targets

  /// What the point has that a drive's file system may not take.
  private static let awkward: [Raw: Node] = [
    "Foo": .file("upper\n"), "foo": .file("lower\n"),
    "Dir": .directory(["x": .file("1\n")]), "dir": .directory(["y": .file("2\n")]),
    "a:b": .file("colon\n"), "q?d": .directory(["in": .file("below\n")]), [0xff, 0xfe]: .file("no text\n"),
    "link": .symlink("Foo"), "link2": .symlink("x"), "pipe": .fifo, "device": .characterDevice(1, 3),
    "hard": .hardLink("Foo"), "last.": .file("dot\n"), "empty": .file(""),
    "time": .file("t\n").modified(1_000_000_001, 123_456_789), "mode": .file("m\n").mode(0o640).owner(1234, 1234),
    "attribute": .file("x\n").attribute("user.a", "b"), "large": .file(size: 2_500_000, seed: 1),
  ]

  @Test(arguments: Volume.mountable([.exfat, .vfat, .ntfs])) func aTarget(on kind: Volume.Kind) throws {
    let volume = try Volume(kind, megabytes: 32)
    let f = try Fixture(TestTree(Self.awkward))
    try f.save()
    let target = volume.path.joined(Bytes("target"))
    let output = try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)], status: 3)
    try volume.remount()
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    var lost: [Raw] = [[0xff, 0xfe]]
    if kind != .ntfs {
      lost += ["dir", "a:b", "q?d", "link", "link2", "pipe", "device"]
      // Which of the two comes first is not said.
      lost.append(tree["Foo"] == nil ? "Foo" : "foo")
      #expect(output.errorText.contains("2 symbolic links could not be restored"), "\(output)")
      #expect(output.errorText.contains("1 FIFO could not be restored"))
      #expect(output.errorText.contains("1 character device could not be restored"))
      #expect(output.errorText.contains("the hard link (restored as a file of its own)"))
      #expect(output.errorText.contains("an extended attribute could not be restored"))
      #expect(output.errorText.contains("/dir: the target's file system takes its name for that of 'Dir'"))
      #expect(output.errorText.contains("/a:b: the target's file system cannot hold this name"))
      #expect(output.errorText.contains("/q?d/in: the folder it belongs in could not be restored"))
      #expect(output.errorText.contains("oo: the target's file system takes its name for that of"))
    }
    if kind == .vfat { lost.append("last.") }
    #expect(output.errorText.contains("\\377\\376: the target's file system cannot hold this name"), "\(output)")
    #expect(output.errorText.contains("the mode could not be restored"))
    #expect(output.errorText.contains("the owner could not be restored"))
    for path in lost { #expect(tree[path] == nil, "\(path)") }
    var options = Snapshot.Options.ignoring(.mode, .owner, .attributes, .hardLinks, .modified, .holes, skipped: lost)
    #expect(f.newest.tree.differences(to: tree, options) == [])
    #expect(abs(tree["time"]!.modified.seconds - 1_000_000_001) <= 1)

    // Done again, nothing is changed, nothing of it is taken for superfluous, and what is superfluous goes.
    try Descriptor.open(target.joined(f.inside.bytes).joined(Bytes("more")), [.write, .create]).write(Bytes("m"))
    let again = try f.sheaf(
      ["restore", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "if-changed", "--delete"], status: 3)
    #expect(again.text.contains("restored 0 files"), "\(again)")
    #expect(again.text.contains("removed 1 "), "\(again)")
    options = .ignoring(.changed)
    #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options) == [])
    // Always: every file that has its name is written anew, and no other.
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "always", "--delete"], status: 3)
    options = .ignoring(.changed, .modified)
    #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options) == [])
  }

  /// A loss of what the file system has no place for is told, and is no failure.
  @Test(arguments: Volume.mountable([.exfat, .vfat, .ntfs])) func aTargetWithoutModes(on kind: Volume.Kind) throws {
    let volume = try Volume(kind)
    let f = try Fixture(TestTree(["a": .file("a").mode(0o640).owner(1234, 1234), "d": .directory(["b": .file("b")])]))
    try f.save()
    let target = volume.path.joined(Bytes("target"))
    let output = try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)])
    #expect(output.errorText.contains("the mode could not be restored for"), "\(output)")
    #expect(output.errorText.contains("the owner could not be restored for"), "\(output)")
    let options = Snapshot.Options.ignoring(.mode, .owner, .modified)
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options) == [])
  }

  // MARK: Sizes

  @Test func filesLargerThanTheFileSystemTakes() throws {
    let f = try Fixture(TestTree(["a": .file("a"), "large": .file(size: 2_500_000, seed: 1), "z": .file("z")]))
    try f.save()
    let target = f.scratch.path("target")
    let restore = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)])
    let output = try restore.wrapped(["prlimit", "--fsize=1000000"]).run()
    #expect(output.status == 3 && output.errorText.contains("/large: "), "\(output)")
    #expect(output.errorText.contains("File too large"), "\(output)")
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(f.newest.tree.differences(to: tree, .ignoring(untimed: [""], skipped: ["large"])) == [])
    #expect(tree["large"] == nil)
    let full = try Command.sheaf(["backup", "-s", Raw(f.store), "--full"]).wrapped(["prlimit", "--fsize=1000000"]).run()
    #expect(full.status == 1 && full.errorText.contains("File too large"), "\(full)")
    try f.expectEveryPoint()
    try f.save(["--full"])
    try f.expectEveryPoint()
  }

  // MARK: What lies on a store

  @Test func initTakesNobodysFile() throws {
    let f = try Fixture()
    for name in ["README.txt", "restore.sh"] {
      let place = f.scratch.path("place-\(name)")
      try Descriptor.workingDirectory.makeDirectory(place)
      let file = place.joined(Bytes(name.utf8))
      try Descriptor.open(file, [.write, .create]).write(Bytes("mine\n"))
      let output = try f.sheaf(["init", "-s", Raw(place)], status: 1)
      #expect(output.errorText.contains(name) && output.errorText.contains("hint: "), "\(output)")
      #expect(try Bytes.read(file) == Bytes("mine\n"))
      #expect(try Descriptor.open(place, [.read, .directory]).sortedNames().count == 1)
    }
  }
}
