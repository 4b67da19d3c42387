/// What `restore.sh` on a store makes of it without the program, by each tar it knows.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct RestoreScriptTests {
  /// A shell and a tar, with whatever else they need.
  enum Road: String, CaseIterable, CustomStringConvertible {
    case gnu, bsd, busybox

    var description: String { rawValue }
    static var installed: [Road] { allCases.filter(\.isInstalled) }

    private var isInstalled: Bool {
      switch self {
      case .gnu: Command.find("tar") != nil
      case .bsd: Command.find("bsdtar") != nil && Command.find("bash") != nil
      case .busybox: Command.find("busybox") != nil
      }
    }

    /// Each has a shell of its own, so that several are tried.
    var shell: [Raw] {
      switch self {
      case .gnu: ["sh"]
      case .bsd: ["bash"]
      case .busybox: ["busybox", "sh"]
      }
    }

    /// Runs the store's `restore.sh`; with busybox, nothing but its own commands can be found.
    func run(in store: Bytes, _ arguments: [Raw], _ scratch: Scratch, as user: Command.User? = nil) throws -> Output {
      var environment: [String: Raw?] = ["TAR": self == .bsd ? "bsdtar" : "tar"]
      if self == .busybox {
        let tools = scratch.path("tools")
        if !exists(tools) {
          let links: Raw = "mkdir $0; for i in $(busybox --list); do ln -s $(command -v busybox) $0/$i; done"
          try Command("sh", ["-ec", links, Raw(tools)]).run().checked()
        }
        environment["PATH"] = Raw(tools)
      }
      let script = Raw(store.joined(Bytes("restore.sh")))
      return try Command(
        shell[0], shell.dropFirst() + [script] + arguments, environment: environment, as: user
      ).run()
    }

    /// What the tar cannot do, and says so.
    var limits: Snapshot.Options {
      switch self {
      case .gnu, .bsd: .ignoring(.holes)
      case .busybox: .ignoring(.holes, .attributes, .modified)
      }
    }
  }

  /// A folder that a full set carried, and that has another owner since.
  @Test(.enabled(if: Host.isRoot), arguments: Road.installed) func theOwnerOfACarriedFolder(road: Road) throws {
    let f = try Fixture(
      TestTree(["one": .directory(["f": .file("1\n")]), "two": .directory(["dir": .directory(["f": .file("1\n")])])]))
    try f.edit("chown 1000 two/dir")
    let sources: [Raw] = ["\(f.source)/one", "\(f.source)/two"]
    try f.save(sources: sources)
    try f.edit("mv two away")
    try f.save(["--full"], sources: sources, status: 3)
    try f.edit("mv away two; chown 0 two/dir")
    try f.save(sources: sources)
    let target = f.scratch.path("target")
    try run(f, road, ["--to", Raw(target)]).checked()
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(f.newest.tree.subtree("two").differences(to: tree.subtree("two"), road.limits) == [])
  }

  /// Names of an inode that were not seen when its first name became something else.
  @Test(arguments: Road.installed) func lastGoodCopiesOfOneInode(road: Road) throws {
    let f = try Fixture(
      TestTree([
        "a": .directory(["f": .file("one\n")]), "b": .directory(["g": .hardLink("a/f"), "h": .hardLink("a/f")]),
      ]))
    let sources: [Raw] = ["\(f.source)/a", "\(f.source)/b"]
    try f.save(sources: sources)
    let tree = f.newest.tree
    for edit in ["mv b away; touch a/f", "echo two >> a/f"] as [Raw] {
      try f.edit(edit)
      try f.save(["--full"], sources: sources, status: 3)
      let target = f.scratch.path("target")
      try run(f, road, ["--to", Raw(target)]).checked()
      let restored = try Snapshot(of: target.joined(f.inside.bytes))
      var limits = road.limits
      limits.fields.subtract([.modified])
      // Two names of three are left.
      #expect(
        tree.subtree("b/g").differences(to: restored.subtree("b/g"), limits).filter { !$0.contains("hard link") } == [])
      #expect(restored["b/g"]?.digest == restored["b/h"]?.digest && restored["a/f"] != nil)
      #expect(try Bytes.read(target.joined(f.inside.bytes).joined(Bytes("b/h"))) == Bytes("one\n"))
      Scratch.remove(target)
    }
    let target = try f.restore()
    #expect(try Bytes.read(target.joined(f.inside.bytes).joined(Bytes("b/g"))) == Bytes("one\n"))
  }

  func run(
    _ f: Fixture, _ road: Road, _ arguments: [Raw], store: Bytes? = nil, as user: Command.User? = nil
  ) throws -> Output {
    try road.run(in: store ?? f.store, arguments, f.scratch, as: user)
  }

  private func restore(
    _ f: Fixture, _ road: Road, _ arguments: [Raw] = [], status: Int32? = 0, store: Bytes? = nil,
    as user: Command.User? = nil, at location: SourceLocation = #_sourceLocation
  ) throws -> (Bytes, Output) {
    let box = f.scratch.path("by-script")
    Scratch.remove(box)
    try Descriptor.workingDirectory.makeDirectory(box)
    if let user {
      try Descriptor.open(f.scratch.path, .read).setOwner(Bytes("by-script"), uid: user.uid, gid: user.gid)
    }
    let target = box.joined(Bytes("it's \n*"))
    let output = try run(f, road, arguments + ["--to", Raw(target)], store: store, as: user)
    #expect(status == nil || output.status == status, "\(road): \(output)", sourceLocation: location)
    return (target, output)
  }

  /// Every point comes back as the source was, but for what the tar cannot do.
  private func expectEveryPoint(
    _ f: Fixture, _ roads: [Road] = Road.installed, limits: Snapshot.Options? = nil,
    at location: SourceLocation = #_sourceLocation
  ) throws {
    for road in roads {
      for point in f.points {
        let (target, _) = try restore(f, road, ["--at", Raw(point.set)], at: location)
        let restored = try Snapshot(of: target.joined(f.inside.bytes))
        let lines = point.tree.differences(to: restored, limits ?? road.limits)
        #expect(lines.isEmpty, "\(road), \(point.set): \(lines.joined(separator: "\n"))", sourceLocation: location)
        guard road == .busybox else { continue }
        // Whole seconds stay, but for links.
        for path in point.tree.paths.map({ Raw($0) }) {
          guard let was = point.tree[path], let now = restored[path], was.target.isEmpty, !was.isSocket,
            was.modified.seconds != -1  // which busybox's touch takes for an error
          else { continue }
          let (wanted, found) = (was.modified.seconds, now.modified.seconds)
          #expect(wanted == found, "\(road), \(point.set): \(path)", sourceLocation: location)
        }
      }
    }
  }

  @Test func deletionsAndTypes() throws {
    let f = try Fixture(
      TestTree([
        "file": .file("f").modified(1_000_000_000, 5), "becomes-dir": .file("x"), "becomes-link": .file("y"),
        "dir": .directory(["a": .file("a"), "b": .directory(["c": .file("c").modified(5)])]).modified(7, 8),
        "dir-becomes-file": .directory(["x": .directory(["y": .file("z")])]),
        "dir-becomes-link": .directory(["x": .file("1")]), "link-becomes-dir": .symlink("dir"),
        "link-becomes-file": .symlink("/etc/passwd"), "goes": .directory(["all": .directory(["of": .file("it")])]),
        "comes-back": .directory(["old": .file("old"), "sub": .directory(["older": .file()])]),
        "setgid": .directory(["x": .file()]).mode(0o2775), "one": .file("linked"), "two": .hardLink("one"),
        "quiet": .directory(["gone": .file(), "stays": .file()]).modified(1_111_111_111, 111_111_111),
      ]))
    try f.save()
    try f.edit(
      """
      rm becomes-dir becomes-link link-becomes-dir link-becomes-file quiet/gone; rm -r dir-becomes-* goes comes-back/*
      mkdir becomes-dir link-becomes-dir; echo 1 > becomes-dir/in; ln -s dir becomes-link; echo 2 > dir-becomes-file
      ln -s dir/b dir-becomes-link; echo 3 > link-becomes-file; chmod 00755 setgid; ln one dir/three
      touch -d @1234567890.123456789 quiet
      """)
    try f.save()
    try f.edit(
      """
      rm -r comes-back becomes-dir; echo file > comes-back; rm two; mv dir moved; echo 4 >> one; ln one two
      mkdir goes; echo again > goes/all; rm dir-becomes-link; mkdir dir-becomes-link; echo 5 > dir-becomes-link/x
      """)
    try f.save()
    try f.edit(
      "rm comes-back; mkdir -p comes-back/sub; echo new > comes-back/sub/new; rm -r moved goes; chmod 700 setgid")
    try f.save()
    try expectEveryPoint(f)
  }

  @Test func oddNames() throws {
    var names: [Raw] = [
      "-rf", "--", "*", "[a]", "a\nb", "\n", " ", "tab\t", "it's", "\"", "$(touch x)", "`x`", "\\", "\\n", "\\101",
      "#x", "~", "a;b", "a&b", "%s%n", "=", "@,s", "é", "e\u{301}", [0xff, 0xfe], [1, 0x7f, 0x81, 0x88], "... ", "-",
      "{a,b}", "!x", "..a", ".sheaf-purge-0", "with 'quotes' in\nit", "esac",
    ]
    names.append(Raw(Bytes(repeating: 0xe9, count: 255)))
    var children: [Raw: Node] = [:]
    for (index, name) in names.enumerated() {
      children["file-\(name)"] = name.bytes.count > 200 ? nil : .file("\(index)")
      children[name] =
        index % 3 == 0
        ? .file("f\(index)")
        : .directory([name: .directory([name: .file("deep \(index)")]).modified(Int64(index), 1), "other": .file()])
    }
    let f = try Fixture(TestTree(children))
    try f.save()
    // Everything below the odd names goes, one name at a time; then the names themselves change their kind.
    try f.edit("find . -mindepth 2 -type f -name '*[a-z]*' -delete")
    try f.save()
    try f.edit("find . -mindepth 1 -maxdepth 1 -type f ! -name 'file-*' -exec rm {} + -exec mkdir {} +")
    try f.save()
    try f.edit("find . -mindepth 2 -maxdepth 2 -type d -exec rm -r {} + -exec ln -s ../x {} ';'")
    try f.save()
    try f.edit("find . -mindepth 1 -delete")
    try f.save(["--gone", Raw(f.source)])
    try expectEveryPoint(f)
  }

  @Test(arguments: 1...2) func randomHistories(_ number: Int) throws {
    let f = try Fixture()
    var history = History(label: "restore.sh \(number)", size: 50)
    try history.make(at: f.source)
    try f.save()
    for _ in 0..<4 {
      _ = try history.step(edits: 6)
      try f.save()
    }
    try expectEveryPoint(f)
  }

  @Test func archivesInPieces() throws {
    let f = try threePoints()
    for point in f.points { try split(point, f) }
    try expectEveryPoint(f)
    try remove("\(f.points[1].set).tar.gz.002", f)
    try expectRefused(f, status: 1, "an archive is missing: \(f.points[1].set).tar.gz.002")
  }

  /// Cuts the set's archive into volumes and tells its manifest.
  private func split(_ point: Fixture.Point, _ f: Fixture) throws {
    let script = """
      import gzip, hashlib, os, re, sys
      archive, manifest = sys.argv[1:]
      data = open(archive, "rb").read()
      volumes = b""
      for number, start in enumerate(range(0, len(data), 300)):
        name, piece = "%s.%03d" % (archive, number + 1), data[start:start + 300]
        open(name, "wb").write(piece)
        digest = hashlib.sha256(piece).hexdigest()
        volumes += b"# volume: %s %d %s\\n" % (os.path.basename(name).encode(), len(piece), digest.encode())
      os.remove(archive)
      text = re.sub(b"(?m)^# volume: .*\\n", lambda _: volumes, gzip.open(manifest).read())
      text = text[:text.rindex(b"# end: ")]
      gzip.open(manifest, "wb").write(text + b"# end: %s\\n" % hashlib.sha256(text).hexdigest().encode())
      """
    try Reader.python(script, [Raw(f.archive(point)), Raw(f.manifest(point))]).checked()
  }

  // MARK: What it refuses

  private static let small = TestTree(["a": .file("a"), "d": .directory(["b": .file("b")]), "l": .symlink("d")])

  /// Three points of a small tree.
  private func threePoints() throws -> Fixture {
    let f = try Fixture(Self.small)
    try f.save()
    try f.edit("echo 2 > a; rm d/b")
    try f.save()
    try f.edit("echo 3 > a")
    try f.save()
    return f
  }

  /// Every road refuses, says why, and neither makes the target nor touches the store.
  private func expectRefused(
    _ f: Fixture, _ arguments: [Raw] = [], status: Int32, _ message: String,
    at location: SourceLocation = #_sourceLocation
  ) throws {
    let before = try Snapshot(of: f.store)
    var unchanged = Snapshot.Options()
    unchanged.fields.insert(.changed)
    for road in Road.installed {
      let (target, output) = try restore(f, road, arguments, status: status, at: location)
      #expect(output.errorText.contains(message), "\(road): \(output)", sourceLocation: location)
      #expect(!exists(target), "\(road)", sourceLocation: location)
    }
    #expect(before.differences(to: try Snapshot(of: f.store), unchanged) == [], sourceLocation: location)
  }

  private func remove(_ name: String, _ f: Fixture) throws {
    try Descriptor.open(f.series(), [.read, .directory]).removeFile(Bytes(name.utf8))
  }

  @Test func aMissingSetIsNamed() throws {
    let f = try threePoints()
    try remove("\(f.points[1].set).mtree.gz", f)
    try expectRefused(f, status: 1, "a set is missing: \(f.points[2].set) builds on the point")
    try expectRefused(f, status: 1, "comes back with --at \(f.points[0].set)\n")
    // What does not build on it comes back.
    for road in Road.installed { _ = try restore(f, road, ["--at", Raw(f.points[0].set)]) }
  }

  @Test func aMissingArchiveIsNamed() throws {
    let f = try threePoints()
    try remove("\(f.points[0].set).tar.gz", f)
    try expectRefused(f, status: 1, "an archive is missing: \(f.points[0].set).tar.gz")
  }

  /// With `--no-check`, what lies in the others.
  @Test func aGapInAChain() throws {
    let f = try threePoints()
    try remove("\(f.points[1].set).tar.gz", f)
    try expectRefused(f, status: 1, "comes back with --at \(f.points[0].set)\n")
    for road in Road.installed {
      let (target, output) = try restore(f, road, ["--no-check"], status: 4)
      #expect(output.errorText.contains("an archive is missing: \(f.points[1].set).tar.gz"), "\(road): \(output)")
      #expect(output.errorText.contains("all of \(f.newest.set) is restored"), "\(road): \(output)")
      #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), road.limits) == [])
      let (older, said) = try restore(f, road, ["--no-check", "--at", Raw(f.points[1].set)], status: 4)
      #expect(said.errorText.contains("could not be restored: ") && said.errorText.contains("/source/a\n"), "\(said)")
      let tree = try Snapshot(of: older.joined(f.inside.bytes))
      #expect(tree["a"] == nil && tree["l"] != nil, "\(road)")
    }
  }

  @Test func damageIsFound() throws {
    let f = try threePoints()
    let path = try f.archive(f.points[1])
    var archive = try Bytes.read(path)
    let size = archive.count
    // Where gzip sees it: not in a member's header.
    for at in size / 2..<size {
      archive[at] ^= 1
      try Descriptor.open(path, [.write, .truncate]).write(archive)
      if try !Command("gzip", ["-tq", Raw(path)]).run().succeeded { break }
      archive[at] ^= 1
    }
    try expectRefused(f, status: 4, "\(f.points[1].set).tar.gz is damaged: its digest does not match")
    for road in Road.installed { _ = try restore(f, road, ["--at", Raw(f.points[0].set)]) }
    // As far as it goes, and not in silence: of the newest point nothing lies in that archive.
    for road in Road.installed {
      let (target, _) = try restore(f, road, ["--no-check"])
      #expect(try Bytes.read(target.joined(f.inside.bytes).joined(Bytes("a"))) == Bytes("3\n"))
    }
    // (A flipped bit may lie where the file does not: then the file comes back, and its own digest vouches for it.)
    // Zeros, too: gzip passes over those that begin where a member could.
    let whole = archive
    let members = (1..<size - 2).filter { archive[$0] == 0x1f && archive[$0 + 1] == 0x8b && archive[$0 + 2] == 8 }
    try #require(members.count > 1)
    for start in members + [size / 3] {
      archive = whole
      for at in start..<size { archive[at] = 0 }
      try Descriptor.open(path, [.write, .truncate]).write(archive)
      for road in Road.installed {
        let (_, output) = try restore(f, road, ["--no-check", "--at", Raw(f.points[1].set)], status: nil)
        #expect(output.status == 4 || (output.succeeded && start > size / 3), "\(start): \(output)")
        #expect(output.succeeded || output.errorText.contains("but there is damage"), "\(start): \(output)")
      }
    }
    try Descriptor.open(path, [.write, .truncate]).write(archive + [1, 2, 3])
    try expectRefused(f, status: 4, "\(f.points[1].set).tar.gz is damaged: it has \(size + 3) bytes")
  }

  @Test func aDamagedManifestIsFound() throws {
    let f = try threePoints()
    let path = try f.manifest(f.points[1])
    let whole = try Bytes.read(path)
    let text = try Command("gzip", ["-dc", Raw(path)]).run().checked().stdout
    let writing = { (bytes: Bytes) in try Descriptor.open(path, [.write, .truncate]).write(bytes) }
    try writing(Bytes(whole.prefix(whole.count / 2)))
    try expectRefused(f, status: 4, "\(f.points[1].set).mtree.gz")
    // Well-formed, with another mode in it.
    let changed = text.shown.replacing("mode=0755", with: "mode=0777")
    #expect(changed != text.shown)
    try writing(try Command("gzip", ["-c"], input: Bytes(changed.utf8)).run().checked().stdout)
    try expectRefused(f, status: 4, "\(f.points[1].set).mtree.gz is damaged: its digest does not match")
  }

  /// What lies in front of the cut comes back, where that is asked for.
  @Test func anArchiveThatIsCutShort() throws {
    var files: [Raw: Node] = [:]
    for number in 100..<300 { files["f\(number)"] = .file(size: 12_000, seed: UInt64(number)) }
    let f = try Fixture(TestTree(files))
    try f.save()
    let path = try f.archive(f.newest)
    let size = try Bytes.read(path).count
    try Command("truncate", ["-s", Raw("\(size / 2)"), Raw(path)]).run().checked()
    try expectRefused(f, status: 4, "(--no-check restores what can be restored)")
    for road in Road.installed {
      let (target, output) = try restore(f, road, ["--no-check"], status: 4)
      #expect(output.errorText.contains("and should have \(size)"), "\(road): \(output)")
      let restored = try Snapshot(of: target.joined(f.inside.bytes))
      let there = f.newest.tree.paths.filter { restored[Raw($0)] != nil }
      let whole = there.filter { f.newest.tree[Raw($0)]?.digest == restored[Raw($0)]?.digest }
      #expect(whole.count > 80 && whole.count == there.count, "\(road): \(whole.count) of \(there.count)")
    }
  }

  /// No other contents than what was saved, under no name.
  @Test(arguments: Road.installed) func whatIsDamagedIsNamedAndRemoved(road: Road) throws {
    let f = try Fixture(
      TestTree([
        "a": .file(size: 2_000_000, seed: 1).mode(0o4755), "b": .hardLink("a"), "c": .file("c\n"),
      ]))
    try f.save()
    let path = try f.archive(f.newest)
    let whole = try Bytes.read(path)
    var archive = whole
    for at in whole.count / 2..<whole.count / 2 + 4 { archive[at] ^= 0x55 }
    try Descriptor.open(path, [.write, .truncate]).write(archive)
    let (target, output) = try restore(f, road, ["--no-check"], status: 4)
    let said = output.errorText
    #expect(said.contains("damaged, and removed: ") && said.contains("/source/a\n"), "\(said)")
    #expect(said.contains("could not be restored: ") && said.contains("/source/b\n"), "\(said)")
    #expect(!said.contains("No such file"), "\(said)")
    let restored = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(restored["a"] == nil && restored["b"] == nil)
    // Without a tar, what lies behind it comes back.
    #expect(road != .busybox || restored["c"]?.digest == f.newest.tree["c"]?.digest)
    // What is whole is no damage.
    try Descriptor.open(path, [.write, .truncate]).write(whole)
    let (all, _) = try restore(f, road, ["--no-check"])
    #expect(f.newest.tree.differences(to: try Snapshot(of: all.joined(f.inside.bytes)), road.limits) == [])
  }

  @Test func onlyAnEmptyDirectory() throws {
    let f = try threePoints()
    let target = f.scratch.path("full")
    try Descriptor.workingDirectory.makeDirectory(target)
    for road in Road.installed {
      #expect(try run(f, road, ["--to", Raw(target)]).status == 0)
      let before = try Snapshot(of: target)
      let output = try run(f, road, ["--to", Raw(target)])
      #expect(output.status == 1 && output.errorText.contains("is not empty"), "\(output)")
      #expect(before.differences(to: try Snapshot(of: target)) == [])
      Scratch.remove(target)
      try Descriptor.makeDirectories(target.joined(Bytes("lost+found")))
      #expect(try run(f, road, ["--to", Raw(target)]).status == 0)
      Scratch.remove(target)
      try Descriptor.workingDirectory.makeDirectory(target)
    }
    try f.scratch.write("file", "")
    #expect(try run(f, .gnu, ["--to", Raw(f.scratch.path("file"))]).status == 1)
  }

  @Test func wrongUsage() throws {
    let f = try threePoints()
    for arguments in [["--at", "yesterday"], ["--at", "2026-13x"], ["--serie", "x"], ["--series"]] as [[Raw]] {
      #expect(try run(f, .gnu, ["--to", Raw(f.scratch.path("new"))] + arguments).status == 64, "\(arguments)")
    }
    #expect(try run(f, .gnu, []).status == 64)
    try expectRefused(f, ["--at", "1999"], status: 1, "the oldest is \(f.points[0].set)")
    try expectRefused(f, ["--series", "other"], status: 1, "there is no series other")
    try f.sheaf(["backup", "-s", Raw(f.store), "--series", "other", Raw(f.source)])
    let output = try run(f, .gnu, ["--to", Raw(f.scratch.path("new"))])
    #expect(output.status == 64 && output.errorText.contains("choose one with --series: "), "\(output)")
    try expectRefused(f, ["--series", "third"], status: 1, "; there is: ")
  }

  @Test func pointsAreNamedInManyWays() throws {
    let f = try threePoints()
    let set = f.points[1].set
    let point = String(set.prefix(18))
    let colons = "\(point.prefix(13)):\(point.dropFirst(13).prefix(2)):\(point.dropFirst(15))"
    for (name, expected) in [(set, 1), (point, 1), (colons, 1), ("latest", 2), ("2999", 2), ("2999-01-01T06", 2)] {
      let (target, _) = try restore(f, .gnu, ["--at", Raw(name)])
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      #expect(f.points[expected].tree.differences(to: tree) == [], "\(name)")
    }
  }

  // MARK: Hostile archives

  @Test func nothingGoesThroughALinkOfAnEarlierSet() throws {
    // What the second set has in the directory `l`, and which of its entries are then taken out of the archive.
    let hostile: [(edit: Raw, dropped: String)] = [
      ("printf x > l/new", "l/"), ("printf x > l/secret", "l/"), ("mkdir l/sub", "l/"), ("ln -s x l/link", "l/"),
      ("printf x > l/secret; mkdir z; ln l/secret z/stolen", "l/(secret)?"),
    ]
    for (index, row) in hostile.enumerated() {
      // A set in which `l` is a link to a place outside, then one in which it is a directory; its manifest is then
      // made to say nothing of that.
      let f = try Fixture()
      let outside = f.scratch.path("outside")
      try Descriptor.workingDirectory.makeDirectory(outside)
      try Descriptor.open(outside.joined(Bytes("secret")), [.write, .create]).write(Bytes("secret"))
      try f.edit("ln -s \(outside) l; touch x")
      try f.save()
      try f.edit("rm l; mkdir l; \(row.edit)")
      try f.save()
      try takeOut(row.dropped, f)
      let before = try Snapshot(of: outside)
      var unchanged = Snapshot.Options()
      unchanged.fields.insert(.changed)
      for road in Road.installed {
        Scratch.remove(f.scratch.path("new"))
        let output = try run(f, road, ["--no-check", "--to", Raw(f.scratch.path("new"))])
        #expect(output.status == 4 && output.errorText.contains("lies below a symbolic link"), "\(index): \(output)")
        #expect(before.differences(to: try Snapshot(of: outside), unchanged) == [], "\(road), \(index)")
        #expect(!exists(f.scratch.path("new")))
      }
    }
  }

  /// Takes entries out of the newest set's archive, and the directory `l` out of its manifest.
  private func takeOut(_ pattern: String, _ f: Fixture) throws {
    let script = """
      import gzip, re, sys, tarfile, io
      archive, manifest, pattern = sys.argv[1:]
      data = gzip.open(archive).read()
      out, at = b"", 0
      with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
          name = member.name + ("/" if member.isdir() else "")
          if not re.search("/" + pattern + "$", name): out += data[at:tar.offset]
          at = tar.offset
      stored = gzip.compress(out + bytes(1024))
      open(archive, "wb").write(stored)
      text = gzip.open(manifest).read().decode("latin-1")
      text = re.sub(r"(?m)^[.]/\\S*/l type=dir.*\\n", "", text)
      text = re.sub(r"(?m)^(# volume: \\S+) \\d+", r"\\1 %d" % len(stored), text)
      gzip.open(manifest, "wb").write(text.encode("latin-1"))
      """
    try Reader.python(script, [Raw(f.archive(f.newest)), Raw(f.manifest(f.newest)), Raw(pattern)]).checked()
  }

  @Test func pathsThatLeadOutAreRefused() throws {
    let f = try threePoints()
    let path = try f.manifest(f.points[1])
    let text = try Command("gzip", ["-dc", Raw(path)]).run().checked().stdout.shown
    for name in ["../../x", "a/../../x", "\\056\\056/x", "a\\057..\\057..\\057x", "/etc/x", "a//b", "x\\000", "x\\9"] {
      let hostile = text.replacing(#/# deleted .*/#, with: "# deleted ./\(name)")
      let packed = try Command("gzip", ["-c"], input: Bytes(hostile.utf8)).run().checked().stdout
      try Descriptor.open(path, [.write, .truncate]).write(packed)
      try expectRefused(f, ["--no-check"], status: 4, "\(f.points[1].set).mtree.gz: line")
    }
  }

  // MARK: Without rights

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func aUserWithoutRights() throws {
    let f = try Fixture(
      TestTree([
        "closed": .directory(["a": .file("a"), "sub": .directory(["b": .file("b")]).mode(0o500)]).mode(0o500),
        "going": .directory(["x": .directory(["y": .file()]).mode(0o555)]).mode(0o555), "f": .file("f").mode(0o400),
        "attributes": .directory(["x": .file()]).attribute("user.a", "1").attribute("user.b", "2"),
      ]))
    try f.save()
    try f.edit("rm closed/sub/b; echo c > closed/sub/c; rm -r going; echo 2 > f; setfattr -x user.a attributes")
    try f.save()
    try f.edit("rm -r closed/sub; touch closed/n")
    try f.save()
    try Command("chmod", ["-R", "a+rX", Raw(f.store)]).run().checked()
    for road in Road.installed {
      for point in f.points {
        // busybox makes directories as closed as they are to be, and then has no way into them.
        if road == .busybox { continue }
        let (target, _) = try restore(f, road, ["--at", Raw(point.set)], as: .nobody)
        var limits = road.limits
        limits.fields.remove(.owner)
        let lines = point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), limits)
        #expect(lines == [], "\(road), \(point.set)")
      }
    }
  }

  /// The last good copy of what a full set could not look at lies in an older set.
  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func whatWasUnseenComesFromOlderSets() throws {
    let f = try Fixture(
      TestTree([
        "open": .file("open"), "closed [*]": .file("as it was"), "twin": .hardLink("closed [*]"),
        "shut": .directory([
          "in\n": .file("in"), "sub": .directory(["deep": .file("deep")]).modified(5, 6), "empty": .file().modified(3),
          "link": .symlink("nowhere").modified(1, 2), "fifo": .fifo.mode(0o640),
          "device": Scratch.allowsEverything ? .characterDevice(1, 3).mode(0o600) : .fifo,
        ]).attribute("user.a", "1"),
        "gone": .directory(["x": .file("x")]),
      ]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("echo new >> open")
    try f.save(as: .nobody)
    let whole = f.newest.tree
    try f.edit("chmod 000 'closed [*]' shut gone")
    try f.save(["--full"], status: 3, as: .nobody)
    let full = f.newest
    try f.edit("chmod 755 gone; rm gone/x; rm open")
    try f.save(status: 3, as: .nobody)
    for road in Road.installed {
      for point in [full, f.newest] {
        let (target, _) = try restore(f, road, ["--at", Raw(point.set)])
        let tree = try Snapshot(of: target.joined(f.inside.bytes))
        let lost: [Raw] = point.set == full.set ? [] : ["open", "gone"]
        var limits = road.limits
        limits.skipped = lost
        limits.untimed = [""]
        limits.fields.remove(.mode)
        #expect(whole.differences(to: tree, limits) == [], "\(road), \(point.set)")
        #expect((tree["gone/x"] == nil) == !lost.isEmpty && (tree["open"] == nil) == !lost.isEmpty)
      }
    }
    // Without the older set, all else.
    try remove("\(f.points[0].set).mtree.gz", f)
    for road in Road.installed {
      let (target, output) = try restore(f, road, status: 3)
      #expect(output.errorText.contains("that is not here; they will be missing"), "\(output)")
      #expect(output.errorText.contains("/shut/in\\012"), "\(output)")
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      #expect(tree["shut/in\n"] == nil && tree["shut/link"] != nil && tree["shut/sub"]?.modified.seconds == 5)
    }
  }
}
