/// A restore changes only what it was asked to, and what it leaves is true.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct RestoreHarmTests {
  private func restore(
    _ f: Fixture, _ more: [Raw], to target: Bytes = Bytes("/"), status: Int32 = 0, as user: Command.User? = nil,
    at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)] + more, status: status, as: user, at: location)
  }

  // MARK: What lies above

  @Test(arguments: ["ln -s usr/bin bin", "echo file > bin", "mkfifo bin", "ln -s nowhere bin", "ln -s . bin"] as [Raw])
  func whatOnlyLeadsThereIsNotReplaced(edit: Raw) throws {
    let f = try Fixture(
      TestTree([
        "bin": .directory(["tool": .file("tool"), "sub": .directory(["deep": .file("deep")])]),
        "usr": .directory(["bin": .directory()]),
      ]))
    try f.save()
    try f.edit("mv bin/* usr/bin; rmdir bin; \(edit)")
    let before = try Snapshot(of: f.source)
    for when in ["always", "if-changed", "if-newer", "never"] as [Raw] {
      for more in [[], ["-n"]] as [[Raw]] {
        let output = try restore(
          f, ["--overwrite", when, "\(f.inside)/bin/tool", "\(f.inside)/bin/sub"] + more, status: 3)
        #expect(output.errorText.contains("/bin: it is") && output.errorLines.count == 1, "\(output)")
      }
    }
    #expect(before.differences(to: try Snapshot(of: f.source)) == [])
  }

  /// Of a whole point, what lies above its sources.
  @Test func whatLeadsToASourceIsNotReplaced() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let target = try f.restore()
    let first = Raw(Bytes(f.inside.bytes.split(separator: 47)[0]))
    try Command("sh", ["-ec", "mv \(first) moved; ln -s moved \(first)"], in: target).run().checked()
    let before = try Snapshot(of: target)
    _ = try restore(f, ["--overwrite", "always"], to: target, status: 3)
    #expect(before.differences(to: try Snapshot(of: target)) == [])
  }

  // MARK: Killed

  @Test(.enabled(if: Command.canTrace), arguments: ["never", "if-newer", "if-changed", "always"] as [Raw])
  func killedAndDoneAgain(when: Raw) throws {
    let f = try Fixture(
      TestTree([
        "large": .file(size: 3_000_000, seed: 1), "small": .file("s\n").mode(0o640), "empty": .file(""),
        "link": .symlink("small"), "pipe": .fifo, "d": .directory(["in": .file("in")]),
      ]))
    try f.save()
    for call in ["pwrite64", "fchown", "fchownat", "fchmod", "utimensat", "linkat", "renameat2"] as [String] {
      for number in [1, 3] {
        let target = f.scratch.path("target")
        Scratch.remove(target)
        _ = try Command.sheaf(["restore", "-q", "-s", Raw(f.store), "--to", Raw(target)]).wrapped([
          "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(Raw(call))", "-e",
          "inject=\(Raw(call)):signal=KILL:when=\(number)",
        ]).run()
        let place = target.joined(f.inside.bytes)
        // What stands under its name is whole.
        if exists(place) {
          let tree = try Snapshot(of: place)
          for path in tree.paths where !path.contains(UInt8(ascii: ".")) && tree[Raw(path)]?.isDirectory == false {
            #expect(
              f.newest.tree.subtree(Raw(path)).differences(to: tree.subtree(Raw(path))) == [], "\(call) \(number)")
          }
        }
        _ = try Command.sheaf(
          ["restore", "-q", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", when]
        ).run().checked()
        let after = try Snapshot(of: place)
        #expect(after.paths == f.newest.tree.paths, "\(call) \(number)")
        // Folders that were there stay as they are with `never`.
        let options: Snapshot.Options = when == "never" ? .ignoring(.mode, .modified, .owner) : .init()
        #expect(f.newest.tree.differences(to: after, options) == [], "\(call) \(number)")
      }
    }
  }

  /// Where a file cannot be without a name, it has one of its own until it is whole.
  @Test(
    .enabled(if: Command.canTrace && !Volume.mountable([.vfat, .exfat, .ntfs]).isEmpty, "\(Volume.needs), strace"),
    arguments: Volume.mountable([.vfat, .exfat, .ntfs]))
  func aRestoreThatIsKilledOnADrive(kind: Volume.Kind) throws {
    let volume = try Volume(kind, megabytes: 80)
    let f = try Fixture(
      TestTree(["d": .directory(["big": .file(size: 9_000_000, seed: 1), "small": .file("s")]), "e": .file("e")]))
    try f.save()
    let target = volume.path.joined(Bytes("out"))
    var leftovers = 0
    for number in [1, 2, 3, 5, 8] {
      _ = try Command.sheaf(["restore", "-q", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "if-changed"])
        .wrapped([
          "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,renameat2", "-e",
          "inject=pwrite64,renameat2:signal=KILL:when=\(number)",
        ]).run()
      let files = try Command("find", [Raw(target), "-name", ".sheaf-*"]).run().text
      leftovers += files.split(separator: "\n").count
      try f.sheaf(["restore", "-q", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "if-changed"])
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      #expect(
        f.newest.tree.differences(to: tree, .ignoring(.mode, .modified, .owner, .holes, .attributes)) == [], "\(number)"
      )
      Scratch.remove(target)
    }
    #expect(leftovers > 0)
  }

  /// Only what a restore itself made goes.
  @Test func whatLooksLikeALeftoverStays() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let names = [
      ".sheaf-restore-", ".sheaf-restore-0123456789abcdef01234567-0123456789abcdef", ".sheaf-0123456789ab", ".sheaf",
      ".sheaf-restore-notes.txt",
    ]
    for name in names { try f.edit("echo mine > \(Raw(name))") }
    _ = try restore(f, ["--overwrite", "always", f.inside])
    for name in names { #expect(exists(f.source.joined(Bytes(name.utf8))), "\(name)") }
  }

  // MARK: Hard links

  /// What another name is joined to is what was saved.
  @Test(
    arguments: [
      "printf BAD! > a", "printf BAD! > a; rm b", "printf BAD! > a; rm b c",
      "rm a; printf BAD! > b; touch -r k b; rm c",
      "rm a b c",
    ] as [Raw]) func aLinkToWhatWasLeftAlone(edit: Raw) throws
  {
    let f = try Fixture(
      TestTree(["a": .file("good").modified(1_600_000_000), "b": .hardLink("a"), "c": .hardLink("a"), "k": .file("k")]))
    try f.edit("touch -r a k")
    try f.save()
    let target = try f.restore()
    let place = target.joined(f.inside.bytes)
    try Command("sh", ["-ec", "cp -a a old; \(edit); [ ! -e a ] || touch -r k a"], in: place).run().checked()
    _ = try restore(f, ["--overwrite", "if-changed"], to: target)
    let (tree, before) = (try Snapshot(of: place), edit.bytes.shown)
    for name in ["a", "b", "c"] as [Raw] {
      // Only what was there before, of the same size and time, may be wrong.
      let text = try Bytes.read(place.joined(name.bytes)).shown
      let isMissing =
        before.contains("rm a b c") || before.contains("rm \(name)") || (name != "a" && before.contains("rm b c"))
      #expect(text == "good" || !isMissing, "\(edit) \(name): \(text)")
    }
    #expect(tree["old"] != nil)
  }

  // MARK: Whose it is

  /// Programs that run as their owner do so only where the owner is the one they had.
  @Test(
    .enabled(if: Scratch.allowsEverything && Command.find("setpriv") != nil),
    arguments: [0o4755, 0o2755, 0o6755, 0o1777, 0o755] as [UInt16])
  func setuidWithoutItsOwner(mode: UInt16) throws {
    let f = try Fixture(
      TestTree([
        "file": .file("f").mode(mode).owner(1234, 1234), "folder": .directory().mode(mode).owner(0, 1234),
        "own": .file("f").mode(mode).attribute(.capability(13)),
        "capable": .file("f").owner(1234, 0).attribute(.capability(13)),
      ]))
    try f.save()
    let target = f.scratch.path("target")
    let output = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)])
      .wrapped(["setpriv", "--bounding-set=-chown", "--inh-caps=-chown"]).run().checked()
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree["file"]?.mode == mode & ~0o6000 && tree["folder"]?.mode == mode & ~0o6000, "\(output)")
    #expect(tree["own"]?.mode == mode && tree["own"]?.attributes.count == 1)
    #expect(tree["capable"]?.attributes.isEmpty == true)
    #expect(output.errorText.contains("the owner could not be restored"))
  }

  @Test(.enabled(if: Scratch.allowsEverything)) func ownersByName() throws {
    let f = try Fixture(
      TestTree([
        "a": .file("a").owner(1, 1), "d": .directory(["link": .symlink("x").owner(1, 1)]).owner(1, 1),
        "n": .file("n").owner(54321, 54321),
      ]))
    try f.save()
    // Another machine, where user and group 1 have other names, and theirs have other numbers.
    let rows: [([Raw], [UInt32], [UInt32])] = [
      ([], [7777, 54321], [8888, 54321]), (["--numeric-owner"], [1, 54321], [1, 54321]),
      (["--owner-map", "daemon:5"], [5, 54321], [8888, 54321]),
      (["--owner-map", "54321:root", "--group-map", "1:0"], [7777, 0], [0, 54321]),
      (["--numeric-owner", "--owner-map", "daemon:other"], [1000, 54321], [1, 54321]),
    ]
    let passwd =
      "root:x:0:0::/root:/bin/sh\nother:x:1000:1::/:/bin/sh\nelse:x:1:1::/:/bin/sh\ndaemon:x:7777:1::/:/bin/sh\n"
    try f.scratch.write("passwd", Raw(passwd))
    try f.scratch.write("group", "root:x:0:\nelse:x:1:\ndaemon:x:8888:\n")
    let script: Raw = """
      mount --bind \(f.scratch.path)/passwd /etc/passwd; mount --bind \(f.scratch.path)/group /etc/group; exec "$@"
      """
    for (more, users, groups) in rows {
      let target = f.scratch.path("target")
      try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)] + more)
        .wrapped(["unshare", "-m", "sh", "-ec", script, "sh"]).run().checked()
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      for path in ["a", "d", "d/link"] as [Raw] {
        #expect(tree[path]?.uid == users[0] && tree[path]?.gid == groups[0], "\(more) \(path)")
      }
      #expect(tree["n"]?.uid == users[1] && tree["n"]?.gid == groups[1], "\(more)")
      Scratch.remove(target)
    }
    for bad in ["daemon", "daemon:", ":1", "a:b:c", "1:no such user"] as [Raw] {
      for option in ["--owner-map", "--group-map"] as [Raw] {
        _ = try restore(f, [option, bad], to: f.scratch.path("x"), status: 64)
      }
    }
  }

  // MARK: Attributes

  @Test(.enabled(if: Command.find("setfacl") != nil)) func defaultListsOfTheTarget() throws {
    let f = try Fixture(
      TestTree([
        "pipe": .fifo.mode(0o660), "link": .symlink("pipe"), "file": .file("f").mode(0o660), "empty": .file(""),
        "folder": .directory(["pipe": .fifo.mode(0o600), "file": .file("f")]),
        "own": .directory(["in": .file("i")]).defaultACL(AccessList()),
      ]))
    if Scratch.allowsEverything {
      try f.edit("mknod -m 640 device c 1 3; mknod -m 660 block b 7 200")
    }
    try f.save()
    for more in [[], ["--overwrite", "if-changed"]] as [[Raw]] {
      let target = f.scratch.path("target")
      try Descriptor.workingDirectory.makeDirectory(target)
      try Command("setfacl", ["-d", "-m", "u:1234:rwx", Raw(target)]).run().checked()
      _ = try restore(f, more, to: target)
      #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
      Scratch.remove(target)
    }
  }

  @Test(.enabled(if: Scratch.allowsEverything && Command.find("setfattr") != nil))
  func attributesOfTheSystemGo() throws {
    let f = try Fixture(TestTree(["folder": .directory(["a": .file("a")])]))
    try f.save()
    for name in ["security.sheaf", "trusted.sheaf", "user.sheaf"] as [Raw] {
      try f.edit("setfattr -n \(name) -v 1 folder")
    }
    _ = try restore(f, ["--overwrite", "always", f.inside])
    #expect(try Snapshot(of: f.source)["folder"]?.attributes.isEmpty == true)
  }

  @Test(.enabled(if: Host.isRoot)) func attributesOfWhatMayNotBeWritten() throws {
    let f = try Fixture()
    let tree = TestTree(
      .directory([
        "file": .file("f").mode(0o444).attribute("user.a", "b"), "none": .file("f").mode(0).attribute("user.a", "b"),
        "empty": .file("").mode(0o400).attribute("user.a", "b"),
        "folder": .directory(["in": .file("i").mode(0o444).attribute("user.a", "c")]).mode(0o555)
          .attribute("user.a", "b"),
        "shut": .directory().mode(0).attribute("user.a", "b"),
      ]))
    Scratch.remove(f.source)
    try tree.make(at: f.source)
    try Command("chown", ["-R", "65534:65534", Raw(f.source)]).run().checked()
    try f.save()
    try f.edit("chmod -R go+rX \(f.store)")
    let target = try f.restore(as: .nobody)
    let options = Snapshot.Options.ignoring(untimed: [""])
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options) == [])
    // And once more over it.
    let output = try restore(f, ["--overwrite", "always", f.inside], to: target, as: .nobody)
    #expect(!output.errorText.contains("could not"), "\(output)")
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options) == [])
  }

  // MARK: Folders that are shut

  @Test(.enabled(if: Host.isRoot), arguments: ["555", "000", "300", "500"] as [Raw], ["always", "never"] as [Raw])
  func foldersThatTheirOwnerShut(mode: Raw, when: Raw) throws {
    let f = try Fixture(
      TestTree(["d": .directory(["a": .file("a"), "e": .directory(["b": .file("b")])]), "c": .file("c")]))
    try f.save()
    try f.edit("chmod -R go+rX \(f.store)")
    let target = try f.restore()
    let place = target.joined(f.inside.bytes)
    let script: Raw = "rm d/a d/e/b; touch d/e/extra; chmod \(mode) d/e d; chown -R 65534:65534 \(target)"
    try Command("sh", ["-ec", script], in: place).run().checked()
    let before = try Snapshot(of: place)
    let more: [Raw] = when == "always" ? ["--delete"] : []
    _ = try restore(f, ["--overwrite", when] + more, to: target, as: .nobody)
    let tree = try Snapshot(of: place)
    #expect(tree["d/a"] != nil && tree["d/e/b"] != nil)
    #expect((tree["d/e/extra"] == nil) == (when == "always"))
    // Back as they were, or as the point has them.
    for path in ["d", "d/e"] as [Raw] {
      #expect(tree[path]?.mode == (when == "always" ? f.newest.tree : before)[path]?.mode, "\(path)")
    }
    // Only on the way to what is asked for.
    try Command("sh", ["-ec", "chmod 755 d d/e; rm -f d/e/b; chmod \(mode) d/e d"], in: place).run().checked()
    _ = try restore(f, ["--overwrite", when, "\(f.inside)/d/e/b"], to: target, as: .nobody)
    let again = try Snapshot(of: place)
    #expect(again["d/e/b"] != nil && again["d"]?.mode == before["d"]?.mode && again["d/e"]?.mode == before["d/e"]?.mode)
  }

  // MARK: Room

  struct RoomRow: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let edit: Raw
    var options: Raw = "size=4m"
    var fits = false
  }

  @Test(
    .enabled(if: Mounted.isPossible, "\(Mounted.needs)"),
    arguments: [
      RoomRow(testDescription: "one large file", edit: "head -c 6000000 /dev/zero | tr '\\0' x > large"),
      RoomRow(testDescription: "small files", edit: "for i in $(seq 1500); do echo $i > f$i; done"),
      RoomRow(testDescription: "too many files", edit: "for i in $(seq 60); do : > f$i; done", options: "nr_inodes=40"),
      RoomRow(testDescription: "a hole", edit: "truncate -s 1G hole; echo x >> hole", fits: true),
      RoomRow(
        testDescription: "one file of many names",
        edit: "head -c 2000000 /dev/zero | tr '\\0' x > a; for i in 1 2 3 4; do ln a b$i; done", fits: true),
    ])
  func whatDoesNotFit(row: RoomRow) throws {
    let f = try Fixture()
    try f.edit(row.edit)
    try f.save()
    let place = f.scratch.path("mount")
    try Descriptor.workingDirectory.makeDirectory(place)
    let mounted = try Mounted(on: place, row.options)
    try withExtendedLifetime(mounted) {
      let target = place.joined(Bytes("target"))
      for more in [["-n"], []] as [[Raw]] {
        let output = try restore(f, more, to: target, status: row.fits ? 0 : 1)
        if !row.fits {
          #expect(output.errorText.contains("the target needs") && output.errorLines.count == 2, "\(output)")
          #expect(!exists(target))
        }
      }
      if row.fits { return }
      // Told once, and not again for each file.
      let output = try restore(f, ["--force"], to: target, status: 1)
      #expect(output.errorLines.filter { $0.contains("No space left") }.count == 1, "\(output)")
      #expect(output.errorLines.count <= 3, "\(output)")
    }
  }

  /// What is replaced or left alone gives its room.
  @Test(.enabled(if: Mounted.isPossible, "\(Mounted.needs)")) func whatIsThereAlready() throws {
    let f = try Fixture(TestTree(["a": .file(size: 1_500_000, seed: 1), "b": .file(size: 1_000_000, seed: 2)]))
    try f.save()
    let place = f.scratch.path("mount")
    try Descriptor.workingDirectory.makeDirectory(place)
    let mounted = try Mounted(on: place, "size=5m")
    try withExtendedLifetime(mounted) {
      let target = place.joined(Bytes("target"))
      _ = try restore(f, [], to: target)
      _ = try restore(f, ["--overwrite", "if-changed"], to: target)
      _ = try restore(f, ["--overwrite", "always"], to: target)
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      #expect(f.newest.tree.differences(to: tree) == [])
    }
  }

  // MARK: New disks

  @Test(
    arguments: [
      (["mkdir lost+found"], 0), (["mkdir lost+found", "touch other"], 1), (["touch lost+found"], 1),
      (["mkdir found"], 1),
    ] as [([Raw], Int32)]) func lostAndFoundAlone(edits: [Raw], status: Int32) throws
  {
    let f = try Fixture(TestTree(["a": .file("a"), "lost+found": .directory(["#12": .file("12")])]))
    try f.save()
    let depth = f.inside.bytes.split(separator: 47).count
    for more in [[], ["--strip-components", "\(depth)"], ["-n"]] as [[Raw]] {
      let target = f.scratch.path("target")
      try Descriptor.workingDirectory.makeDirectory(target)
      for edit in edits { try Command("sh", ["-ec", edit], in: target).run().checked() }
      _ = try restore(f, more, to: target, status: status)
      if status == 0, more.isEmpty || more[0] != "-n" {
        let place = more.isEmpty ? target.joined(f.inside.bytes) : target
        #expect(f.newest.tree.differences(to: try Snapshot(of: place), .ignoring(untimed: [""])) == [])
      }
      Scratch.remove(target)
    }
  }

  // MARK: Cut short

  /// What lies whole in a gzip member that is not whole comes back.
  @Test(arguments: ["cut", "flipped"]) func whatIsWholeInAMember(damage: String) throws {
    var files: [Raw: Node] = [:]
    for n in 0..<40 { files["f\(n + 10)"] = .file(size: 3000, seed: UInt64(n)) }
    let f = try Fixture(TestTree(files))
    try f.save()
    let archive = try f.archive(f.newest)
    let size = try Descriptor.open(archive, .read).status().size
    let file = try Descriptor.open(archive, .readWrite)
    if damage == "cut" {
      try file.truncate(to: size * 3 / 4)
    } else {
      try Bytes("damaged!").withUnsafeBytes { try file.write($0, at: size * 3 / 4) }
    }
    let target = f.scratch.path("target")
    let output = try restore(f, [], to: target, status: 4)
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    let whole = tree.paths.filter { tree[Raw($0)]?.digest == f.newest.tree[Raw($0)]?.digest }
    #expect(whole.count == tree.paths.count && whole.count >= 25 && whole.count < 40, "\(whole.count) \(output)")
    #expect(output.errorText.contains("gzip member"))
  }
}
