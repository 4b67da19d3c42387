/// What goes and what must stay; chains that are made whole and folded.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct PruneTests {
  private static let tree = TestTree([
    "a": .file("a\n"), "gone": .file("gone\n"), "big": .file(size: 3_500_000, seed: 1),
    "medium": .file(size: 500_000, seed: 2), "links": .directory(["x": .file("x\n")]),
    "dir": .directory(["inner": .file("inner\n"), "sub": .directory(["deep": .file("deep\n")])]),
  ])

  /// A full set and four incremental ones, each with something of its own.
  private func chain() throws -> Fixture {
    let f = try Fixture(Self.tree)
    try f.save()
    for edit in [
      "echo 1 > a; ln links/x links/y; mkdir new; echo n > new/n", "rm gone; echo 2 > dir/inner; chmod 700 links",
      "rm -r dir; echo file > dir; mv medium new/medium", "rm dir new/n; mkdir dir; echo again > dir/again; echo 4 > a",
    ] as [Raw] {
      try f.edit(edit)
      try f.save()
    }
    return f
  }

  private func prune(_ f: Fixture, _ more: [Raw], status: Int32 = 0, at location: SourceLocation = #_sourceLocation)
    throws -> Output
  {
    try f.sheaf(["prune", "-v", "-s", Raw(f.store)] + more, status: status, at: location)
  }

  /// What stays is as it was, and none of it is damaged.
  private func expectGood(_ f: Fixture, points: Int, at location: SourceLocation = #_sourceLocation) throws {
    try f.reload()
    #expect(f.points.count == points, sourceLocation: location)
    try f.expectEveryPoint(at: location)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)], at: location)
  }

  private func bytes(_ f: Fixture, _ suffix: String) throws -> Int64 {
    var sum: Int64 = 0
    for name in try f.names() where name.hasSuffix(suffix) {
      sum += try Descriptor.open(f.series().joined(Bytes(name.utf8)), .read).status().size
    }
    return sum
  }

  /// The last good copy of what became a file, and could not be looked at later, is in the folded set: tar is told so.
  @Test func whatIsUnseenAndFolded() throws {
    let f = try Fixture(
      TestTree(["one": .directory(["f": .file("1\n")]), "two": .directory(["h": .directory(["f": .file("1\n")])])]))
    let sources: [Raw] = ["\(f.source)/one", "\(f.source)/two"]
    try f.save(sources: sources)
    try f.sheaf(["protect", "-q", "-s", Raw(f.store), "latest"])
    try f.edit("rm -r two/h; echo 2 > two/h")
    try f.save(sources: sources)
    let tree = f.newest.tree
    try f.edit("mv two away")
    try f.save(sources: sources, status: 3)
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try f.reload()
    #expect(f.points.count == 2)
    let target = f.scratch.path("replay")
    try Descriptor.workingDirectory.makeDirectory(target)
    for point in f.points { try Reader.gnuTar.extract(f.archive(point), into: target).checked() }
    let replayed = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree.subtree("two").differences(to: replayed.subtree("two"), .ignoring(.modified)) == [])
  }

  /// One point that nobody wants, in the middle of a chain.
  @Test func onePointIsDropped() throws {
    let f = try chain()
    let unwanted = f.points[2].set
    let plan = try prune(f, ["--drop", Raw(unwanted), "-n"])
    #expect(plan.text.contains("keep    \(unwanted)") && plan.text.contains("needed by"), "\(plan)")
    _ = try prune(f, ["--drop", Raw(unwanted), "--fold"])
    try expectGood(f, points: 4)
    #expect(!f.points.contains { $0.set.prefix(18) == unwanted.prefix(18) })
    _ = try prune(f, ["--drop", "2020-01-01"], status: 64)
    try f.sheaf(["protect", "-q", "-s", Raw(f.store), Raw(f.newest.set)])
    let refused = try prune(f, ["--drop", Raw(f.newest.set)], status: 64)
    #expect(refused.errorText.contains("is protected"), "\(refused)")
    // The newest one may go, too.
    try f.sheaf(["protect", "-q", "--remove", "-s", Raw(f.store), Raw(f.newest.set)])
    _ = try prune(f, ["--drop", Raw(f.newest.set)])
    try expectGood(f, points: 3)
    try f.edit("echo more >> a")
    try f.save()
    try f.expectEveryPoint()
  }

  // MARK: Whole chains

  @Test func wholeChainsGo() throws {
    let f = try chain()
    try f.edit("echo 5 > a")
    try f.save(["--full"])
    try f.edit("echo 6 > a")
    try f.save()
    let before = try f.names()
    let plan = try prune(f, ["--keep-last", "2", "--dry-run"])
    #expect(try f.names() == before)
    for point in f.points.prefix(5) { #expect(plan.text.contains("remove  \(point.set)"), "\(plan)") }
    for point in f.points.suffix(2) { #expect(plan.text.contains("keep    \(point.set)"), "\(plan)") }
    #expect(plan.text.contains("would remove 5 sets"), "\(plan)")
    let kept = f.points.suffix(2).map(\.set)
    _ = try prune(f, ["--keep-last", "2"])
    #expect(try f.names() == kept.flatMap { ["\($0).mtree.gz", "\($0).tar.gz"] }.sorted())
    try expectGood(f, points: 2)
  }

  @Test func whatOthersBuildOnStays() throws {
    let f = try chain()
    let output = try prune(f, ["--keep-last", "1", "--json"])
    let rows = try output.json().filter { $0["type"] as? String == "set" }
    #expect(rows.count == 5 && rows.allSatisfy { $0["fate"] as? String == "keep" }, "\(output)")
    for (row, point) in zip(rows, f.points) {
      let reason = point.set == f.newest.set ? "last" : "needed by \(f.newest.set)"
      #expect(row["reasons"] as? [String] == [reason], "\(output)")
    }
    try expectGood(f, points: 5)
  }

  @Test func withoutARuleNothingGoes() throws {
    let f = try chain()
    let before = try f.names()
    let output = try prune(f, [])
    #expect(output.text.contains("no rule was given") && output.text.contains("removed 0 sets"), "\(output)")
    #expect(try f.names() == before)
    for wrong in [
      ["--keep-last", "-1"], ["--keep-within", "soon"], ["--keep-daily", "x"],
      ["--keep-daily-within", "soon"], ["--keep-weekly-within", "0d"], ["--keep-daily", "0"],
    ] as [[Raw]] {
      _ = try prune(f, wrong, status: 64)
    }
    #expect(try f.names() == before)
  }

  @Test func protectedPointsStay() throws {
    let f = try chain()
    let point = f.points[2].set
    func protect(_ more: [Raw]) throws -> String { try f.sheaf(["protect", "-s", Raw(f.store)] + more).text }
    #expect(try protect([Raw(point)]).contains("\(point) is protected"))
    #expect(try protect([Raw(point)]).contains("already"))
    let points = try f.sheaf(["points", "-s", Raw(f.store)]).lines.filter { $0.contains("protected") }
    #expect(points.count == 1 && points[0].contains(point))
    let mark = "\(point.prefix(18)).protected"
    #expect(try f.names().contains(mark))
    // It stays protected whatever set stands for it.
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try expectGood(f, points: 2)
    #expect(f.points[0].set == "\(point.prefix(18))-full-2" && f.points[1].set.contains("-incr"))
    #expect(try protect(["--remove", Raw(point)]).contains("not protected any more"))
    #expect(try !f.names().contains(mark))
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try expectGood(f, points: 1)
    try f.sheaf(["protect", "-s", Raw(f.store), "2020-01-01T000000Z-full"], status: 64)
  }

  @Test func tagsAndAges() throws {
    let f = try chain()
    try f.edit("echo 5 > a")
    try f.save(["--comment", "the move"])
    let tagged = f.newest.set
    try f.edit("echo 6 > a")
    try f.save()
    let output = try prune(f, ["--keep-tag", "move", "--keep-last", "1", "--fold"])
    #expect(output.text.contains("keep    \(tagged)") && output.text.contains("tag"), "\(output)")
    try expectGood(f, points: 2)
    // All are younger than that.
    _ = try prune(f, ["--keep-within", "1d", "--fold"])
    try expectGood(f, points: 2)
  }

  // MARK: Folding

  @Test func aChainOfOnePointIsLeft() throws {
    let f = try chain()
    let output = try prune(f, ["--keep-last", "1", "--fold"])
    #expect(output.text.contains("into \(f.newest.set)"), "\(output)")
    try expectGood(f, points: 1)
    let set = f.newest.set
    #expect(try f.names() == ["\(set).mtree.gz", "\(set).tar.gz"])
    // It is a full set as any other.
    let target = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(target)
    try Reader.gnuTar.extract(f.archive(f.newest), into: target).checked()
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    try f.edit("echo more >> a")
    #expect(try f.save().kind == "incremental")
    try f.expectEveryPoint()
  }

  /// Lines that tell of a place in a set that goes are written anew.
  @Test func placesInSetsThatGo() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo 1 > a; head -c 2000000 /dev/urandom > fresh")
    try f.save()
    // Another change time, the same content: the bytes stay where they are.
    try f.edit("chmod 600 fresh big; chmod 644 fresh big")
    try f.save()
    try f.edit("echo 2 > a")
    try f.save()
    let names = f.points.map(\.set)
    // The second one goes into the third, and with it what the fourth may tell of.
    for point in names.suffix(2) + [names[0]] { try f.sheaf(["protect", "-q", "-s", Raw(f.store), Raw(point)]) }
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try expectGood(f, points: 3)
    #expect(f.points.map { String($0.set.dropFirst(19).prefix(4)) } == ["full", "incr", "incr"])
    try f.sheaf(["consolidate", "-s", Raw(f.store), "--at", Raw(names[2])])
    try f.edit("echo 3 > a; chmod 600 fresh; chmod 644 fresh")
    try f.save()
    try f.sheaf(["consolidate", "-s", Raw(f.store), "--at", Raw(names[3])])
    try f.reload()
    for point in f.points { try f.sheaf(["protect", "-q", "--remove", "-s", Raw(f.store), Raw(point.set)]) }
    _ = try prune(f, ["--keep-last", "2"])
    try expectGood(f, points: 2)
    #expect(f.points.map { String($0.set.dropFirst(19).prefix(4)) } == ["full", "incr"])
    // Its archive keeps its name, which the new manifest tells; and the script finds it.
    #expect(f.newest.set.hasSuffix("-incr-2"))
    #expect(try f.names().contains("\(f.newest.set.dropLast(2)).tar.gz"))
    let target = f.scratch.path("script")
    try Command("sh", [Raw(f.store.joined(Bytes("restore.sh"))), "--to", Raw(target)]).run().checked()
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    // Nothing to be made again: the manifest is there under another number.
    let rebuilt = try f.sheaf(["rebuild", "-s", Raw(f.store)])
    #expect(rebuilt.text.contains("0 manifests rebuilt"), "\(rebuilt)")
  }

  // MARK: Consolidating

  @Test func membersAreCopied() throws {
    // Text that was stored as it is, which packing anew would shrink.
    let f = try Fixture(
      TestTree([
        "big": .file(size: 8_000_000, seed: 1, .compressible),
        "small": .directory(
          Dictionary(
            uniqueKeysWithValues: (0..<200).map {
              (Raw("f\($0)"), .file(size: 40_000, seed: UInt64($0), .compressible))
            })),
      ]))
    try f.save(["--level", "0"])
    try f.edit("echo changed > small/f7; rm small/f100; echo new > small/f50a")
    try f.save()
    let output = try f.sheaf(["consolidate", "-s", Raw(f.store)])
    #expect(output.text.contains("out of 2 sets"), "\(output)")
    let (old, new) = (try bytes(f, "-full.tar.gz"), try bytes(f, "-full-2.tar.gz"))
    #expect(new > old * 8 / 10 && new < old, "\(old) \(new)")
    try f.reload()
    try f.expectEveryPoint()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let again = try f.sheaf(["consolidate", "-s", Raw(f.store)])
    #expect(again.text.contains("is a full set already"), "\(again)")
    try f.edit("echo more > small/f1")
    #expect(try f.save().kind == "incremental")
    try f.expectEveryPoint()
  }

  @Test func damageIsNotCopied() throws {
    let f = try chain()
    let before = try f.names()
    let archive = try Descriptor.open(f.archive(f.points[0]), .readWrite)
    // In the middle of the large file, whose members are copied as they are.
    let byte = try archive.read(count: 1, at: 2_000_000)
    try [byte[0] ^ 1].withUnsafeBytes { try archive.write($0, at: 2_000_000) }
    let output = try f.sheaf(["consolidate", "-s", Raw(f.store)], status: 4)
    #expect(output.errorText.contains("its digest is not what its manifest says"), "\(output)")
    #expect(try f.names() == before)
    let folded = try prune(f, ["--keep-last", "1", "--fold"], status: 4)
    #expect(folded.errorText.contains("\(f.newest.set) is left as it is"), "\(folded)")
    #expect(try f.names() == before)
  }

  // MARK: The last good one

  @Test func theLastSoundChainStays() throws {
    let f = try chain()
    try f.edit("echo 5 > a")
    try f.save(["--full"])
    let newest = f.newest
    try Descriptor.open(f.archive(newest), .write).truncate(to: 1000)
    let output = try prune(f, ["--keep-last", "1"])
    #expect(output.text.contains("the newest that is sound"), "\(output)")
    #expect(output.text.contains("removed 0 sets"), "\(output)")
    // Damage that only reading shows, where that is asked for.
    let g = try chain()
    try g.edit("echo 5 > a")
    try g.save(["--full"])
    let archive = try Descriptor.open(g.archive(g.newest), .readWrite)
    let byte = try archive.read(count: 1, at: 2_000_000)
    try [byte[0] ^ 1].withUnsafeBytes { try archive.write($0, at: 2_000_000) }
    let verified = try prune(g, ["--keep-last", "1", "--verify"])
    #expect(verified.text.contains("the newest that is sound"), "\(verified)")
    #expect(try prune(g, ["--keep-last", "1"]).text.contains("removed 5 sets"))
  }

  @Test func aDamagedManifestKeepsWhatItMayNeed() throws {
    let f = try chain()
    try f.edit("echo 5 > a")
    try f.save(["--full"])
    try Descriptor.open(f.manifest(f.points[4]), .write).truncate(to: 100)
    let before = try f.names()
    let output = try prune(f, ["--keep-last", "1"])
    #expect(output.text.contains("may be needed by \(f.points[4].set)"), "\(output)")
    #expect(try f.names() == before)
  }

  /// A full set carries what it could not look at; a link, a folder, an empty file are not in its archive then, though
  /// a later set tells the very same of them.
  @Test(.enabled(if: Host.isRoot, "only root can become another user"))
  func whatAFullSetCarriedIsNotLookedForInIt() throws {
    let f = try Fixture(
      TestTree([
        "a": .file("a\n"),
        "shut": .directory(["empty": .file(""), "in": .directory(["l": .symlink("x")]), "l": .symlink("y")]),
        "z": .file("z\n"),
      ]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("chmod 000 shut")
    try f.save(["--full"], status: 3, as: .nobody)
    try f.edit("chmod 755 shut")
    try f.save(as: .nobody)
    try f.sheaf(["consolidate", "-s", Raw(f.store)])
    try f.reload()
    #expect(try f.differences(at: f.newest, .ignoring(.owner)) == [])
    try f.edit("echo more > a")
    try f.save(as: .nobody)
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.reload()
    #expect(try f.differences(at: f.newest, .ignoring(.owner)) == [])
  }

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func theLastGoodCopyOfWhatIsUnseenStays() throws {
    let f = try Fixture(
      TestTree(["closed": .file("as it was\n"), "open": .file("o\n"), "link": .symlink("closed"), "more": .file("m\n")])
    )
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("ln closed closed-too; echo changed > closed")
    try f.save(as: .nobody)
    let good = f.newest.tree
    try f.edit("chmod 000 closed; echo 2 > open")
    try f.save(["--full"], status: 3, as: .nobody)
    try f.edit("echo 3 > open")
    try f.save(status: 3, as: .nobody)
    func expectCopy() throws {
      let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
      for name in ["closed", "closed-too"] as [Raw] {
        #expect(tree[name]?.digest == good[name]?.digest && tree[name] != nil)
      }
      let target = f.scratch.path("script")
      try Command("sh", [Raw(f.store.joined(Bytes("restore.sh"))), "--to", Raw(target)]).run().checked()
      #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
      Scratch.remove(target)
    }
    let output = try prune(f, ["--keep-last", "1"])
    #expect(output.text.contains("has the last copy of files that \(f.points[2].set) could not read"), "\(output)")
    #expect(output.text.contains("removed 0 sets"), "\(output)")
    try expectCopy()
    // Written anew, a set takes along what it has elsewhere.
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try f.reload()
    #expect(f.points.count == 1)
    try expectCopy()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let points = try f.sheaf(["points", "-s", Raw(f.store)])
    #expect(points.text.contains("unseen"), "\(points)")
    // It is still what could not be looked at, until it can.
    #expect(try f.save(["--full"], status: 3, as: .nobody).unseen == 2)
    try expectCopy()
    try f.edit("chmod 644 closed")
    try f.save(as: .nobody)
    #expect(try f.differences(at: f.newest, .ignoring(.owner)) == [])
  }

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func aCopyThatTheNewChainDoesNotKnowOf() throws {
    let f = try Fixture(TestTree(["closed": .file("as it was\n"), "open": .file("o\n")]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("echo 1 > open")
    try f.save(as: .nobody)
    // A chain that cannot be built on: the next begins without it.
    try Descriptor.open(f.archive(f.newest), .write).truncate(to: 100)
    try f.edit("chmod 000 closed")
    let full = try f.save(status: 3, as: .nobody)
    #expect(full.kind == "full" && full.unseen == 1)
    let output = try prune(f, ["--keep-last", "1"])
    #expect(output.text.contains("has the last copy of files that were not seen since"), "\(output)")
    #expect(output.text.contains("removed 0 sets"), "\(output)")
    // Once it is seen again there is no need of them.
    try f.edit("chmod 644 closed")
    try f.save(as: .nobody)
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try expectGood(f, points: 1)
  }

  /// A slip, or a variable of a script that is not set.
  @Test(
    arguments: [
      ["--keep-daily", "0"], ["--keep-last", "0"], ["--keep-within", "0d"],
      ["--keep-daily", "0", "--keep-weekly", "0"],
      ["--keep-last", "0", "--keep-hourly", "0", "--keep-within", "0s", "--fold"], ["--keep-tag", "none has it"],
      ["--keep-tag", "none has it", "--keep-yearly", "0"],
    ] as [[Raw]]) func rulesThatKeepNothing(rules: [Raw]) throws
  {
    let f = try Fixture(Self.tree)
    for _ in 0..<2 { try f.save(["--full"]) }
    for more in [[], ["-n"]] as [[Raw]] { _ = try prune(f, rules + more, status: 64) }
    try expectGood(f, points: 2)
    _ = try prune(f, rules + ["--keep-monthly", "1"])
  }

  /// Merging reads what this key cannot read: nothing is damaged by that.
  @Test(.enabled(if: Command.find("age") != nil, "age is not installed")) func foldingNeedsTheWholeKey() throws {
    let f = try Fixture(encrypted: true)
    try f.save()
    try f.edit("echo more >>more")
    try f.save()
    let key = Raw(f.scratch.path("write-only"))
    try f.sheaf(["key", "export", "-q", "-s", Raw(f.store), "--write-only", key])
    let none: [String: Raw?] = ["XDG_CONFIG_HOME": Raw(f.scratch.path("none"))]
    let options: [Raw] = ["-s", Raw(f.store), "--key", key, "--keep-last", "1"]
    let output = try f.sheaf(["prune", "--fold"] + options, status: 1, environment: none)
    #expect(output.errorText.contains("this key can write and list, but not read contents"), "\(output)")
    #expect(try f.names().count == 4)
    try f.sheaf(["prune"] + options, environment: none)
  }

  @Test func otherSeriesAreNamed() throws {
    let f = try Fixture()
    try f.save()
    #expect(try f.sheaf(["prune", "-s", Raw(f.store), "--keep-last", "1"]).errorText == "")
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--series", "other", Raw(f.source)])
    let told = try f.sheaf(["prune", "-s", Raw(f.store), "--keep-last", "1"]).errorText
    #expect(told.hasSuffix("was looked at; --series NAME takes another: other\n"), "\(told)")
    #expect(try f.sheaf(["prune", "-s", Raw(f.store), "--series", "other", "--keep-last", "1"]).errorText == "")
  }

  @Test func whatIsKeptAndWhyIsSaid() throws {
    let f = try chain()
    let output = try f.sheaf(["prune", "-s", Raw(f.store), "--keep-last", "1", "--keep-yearly", "3"])
    let last = output.lines.suffix(3)
    #expect(last.first == "keeps 2 points: yearly (oldest) 1, last 1, yearly 1", "\(output)")
    #expect(last.dropFirst().first?.hasPrefix("  3 more stay because others build on them (") == true, "\(output)")
    #expect(last.dropFirst().first?.contains("--fold") == true, "\(output)")
    let folded = try f.sheaf(["prune", "-s", Raw(f.store), "--keep-last", "1", "--fold"])
    #expect(folded.text.contains("\nkeeps 1 point: last 1\n") && !folded.text.contains("more stay"), "\(folded)")
  }

  // MARK: Full drives and runs that are killed

  /// The full set cannot be written anew, but what was made since can, which makes room.
  @Test(.enabled(if: Scratch.allowsEverything, "only root can mount")) func foldingInSteps() throws {
    let f = try Fixture(TestTree(["full": .file(size: 8_000_000, seed: 1)]))
    let mounted = try Command("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", Raw(f.store)]).run()
    guard mounted.succeeded else { return }
    defer { _ = try? Command("umount", [Raw(f.store)]).run() }
    try f.sheaf(["init", "-s", Raw(f.store)])
    try f.save()
    for _ in 0..<4 {
      try f.edit("head -c 900000 /dev/urandom >changes")
      try f.save()
    }
    let before = try bytes(f, ".tar.gz")
    let output = try prune(f, ["--keep-last", "1", "--fold"], status: 3)
    #expect(output.errorText.contains("is free on the drive"), "\(output)")
    #expect(try bytes(f, ".tar.gz") < before - 2_500_000)
    try expectGood(f, points: 2)
  }

  @Test(.enabled(if: Scratch.allowsEverything, "only root can mount")) func aFullDrive() throws {
    let f = try Fixture(Self.tree)
    let mounted = try Command("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", Raw(f.store)]).run()
    guard mounted.succeeded else { return }
    defer { _ = try? Command("umount", [Raw(f.store)]).run() }
    try f.sheaf(["init", "-s", Raw(f.store)])
    for round in 0..<3 {
      try f.edit("echo \(round) > a")
      try f.save(["--full"])
    }
    try f.edit("echo 9 > a")
    try f.save()
    _ = try Command("sh", ["-c", "cat /dev/zero > \"$1/filler\"", "sh", Raw(f.store)]).run()
    try f.sheaf(["protect", "-s", Raw(f.store), Raw(f.newest.set)])
    let output = try prune(f, ["--keep-last", "1"])
    #expect(output.text.contains("removed 2 sets"), "\(output)")
    try expectGood(f, points: 2)
    // There is no room for a set that is written anew: nothing is lost by trying.
    _ = try Command("sh", ["-c", "cat /dev/zero > \"$1/filler-2\"", "sh", Raw(f.store)]).run()
    let failed = try prune(f, ["--keep-last", "1", "--fold"], status: 3)
    #expect(failed.errorText.contains("is left as it is"), "\(failed)")
    try expectGood(f, points: 2)
    try Command("sh", ["-c", "rm \"$1\"/filler*", "sh", Raw(f.store)]).run().checked()
    _ = try prune(f, ["--keep-last", "1", "--fold"])
    try expectGood(f, points: 1)
  }

  @Test(arguments: [1, 2, 3]) func killedAtAnyMoment(round: Int) throws {
    let f = try chain()
    var random = Random(label: "a prune that is killed, \(round)")
    try f.edit("chmod 600 big new/medium; chmod 644 big new/medium")
    try f.save()
    let wanted = f.newest.tree
    for _ in 0..<12 {
      let running = try Command.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "2", "--fold"]).start()
      usleep(UInt32(random.number(in: 500...40_000)))
      running.signal(SIGKILL)
      let output = running.wait()
      #expect(output.signal == SIGKILL || output.succeeded, "\(output)")
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      try f.reload()
      #expect(f.newest.tree.differences(to: wanted) == [])
      try f.expectEveryPoint()
      if f.points.count == 2 {
        // Done: something new to be folded.
        try f.edit("echo \(random.number(in: 0...999)) > a; rm -f dir/again; date +%N > dir/new")
        try f.save()
        try f.edit("chmod 600 new/medium; chmod 644 new/medium")
        try f.save()
        break
      }
    }
    _ = try prune(f, ["--keep-last", "2", "--fold"])
    try expectGood(f, points: 2)
    // Nothing is left but these.
    let kept = try f.names().filter { !$0.contains(".tar.gz") && !$0.hasSuffix(".mtree.gz") }
    #expect(kept == [])
    #expect(try f.names().count == 4)
  }
}
