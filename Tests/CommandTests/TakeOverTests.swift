/// Runs that end early: what they had saved is kept, nothing is lost by it, and the next run goes on from there.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct TakeOverTests {
  /// Several gzip members, small and large files, in many folders.
  private static func tree(_ seed: UInt64) -> TestTree {
    var folders: [Raw: Node] = [:]
    for folder in 0..<12 {
      var files: [Raw: Node] = [:]
      for file in 0..<12 {
        files["f\(file)"] = .file(size: 20_000 + 3000 * Int64(file), seed: seed &+ UInt64(100 * folder + file))
      }
      files["link"] = .symlink("f0")
      files["deep"] = .directory(["leaf": .file("leaf \(folder)\n")])
      folders["d\(folder)"] = .directory(files)
    }
    folders["m-large"] = .file(size: 5_000_000, seed: seed)
    return TestTree(folders)
  }

  private static let edits: Raw = """
    for d in d2 d5 d6 d9; do rm $d/f3; cat $d/f4 $d/f4 > $d/new; chmod 600 $d/f5; done
    rm -r d7; mkdir d7b; cp d1/* d7b/ 2>/dev/null || true
    rm d3/f1; mkdir d3/f1; echo x > d3/f1/inside
    rm -r d4/deep; echo file > d4/deep
    head -c 3000000 m-large > z-large; ln d8/f1 d10/hard
    """

  /// Every set of a run that ended between two bytes, wherever that was.
  @Test(arguments: [(false, false), (true, false), (false, true), (true, true)])
  func cutAnywhere(isFull: Bool, encrypted: Bool) throws {
    var random = Random(seed: HistoryTests.seeds[0])
    let f = try Fixture(Self.tree(1), encrypted: encrypted)
    let age = Bytes(encrypted ? ".age" : "")
    try f.save()
    try f.edit(Self.edits)
    let whole = try f.save(isFull ? ["--full"] : [])
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let name = Bytes(f.newest.set.utf8)
    let (archiveName, manifestName) = (name + Bytes(".tar.gz") + age, name + Bytes(".mtree.gz") + age)
    let archive = try Bytes.read(f.series().joined(archiveName))
    // A journal is filled up to a chunk's end where it is written; so it is encrypted anew here after it was cut.
    let plain = encrypted ? try f.opened(manifestName) : try Bytes.read(f.series().joined(manifestName))
    let manifest = plain
    var kept = 0
    for round in 0..<14 {
      let story: Comment = "seed \(HistoryTests.seeds[0]), round \(round)"
      for old in try f.names() where !old.hasPrefix(f.points[0].set) { try series.removeFile(Bytes(old.utf8)) }
      let cut = round == 0 ? archive.count : Int(random.next() % UInt64(archive.count))
      let journal = round < 7 ? manifest.count - 1 : Int(random.next() % UInt64(manifest.count))
      try f.scratch.write(Raw(relative(f, archiveName + Bytes(".partial"))), Raw(Bytes(archive[..<cut])))
      let text = Bytes(manifest[..<journal])
      try f.scratch.write(
        Raw(relative(f, manifestName + Bytes(".partial"))), Raw(encrypted ? f.sealedList(text) : text))
      let summary = try Summary(try f.sheaf(["backup", "--json", "-s", Raw(f.store)]))
      #expect(summary.problems == 0, story)
      let left = try f.names().filter { $0.hasSuffix(".partial") || $0.hasPrefix("lock.") }
      #expect(left == [], story)
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      #expect(try f.differences(at: f.points[0]) == [], story)
      let last = Fixture.Point(set: try #require(summary.set), tree: f.newest.tree)
      #expect(try f.differences(at: last) == [], story)
      guard try f.names().contains(manifestName.shown) else { continue }
      kept += 1
      // What was kept is not read again, nor stored.
      if round == 0 { #expect(summary.bytesWritten < 100_000, story) }
      #expect(summary.bytesWritten < whole.bytesWritten + 10_000, story)
      try expectSameByAllRoads(f, at: f.newest.set, isFull: isFull, story)
    }
    #expect(kept >= 4, "\(kept) were kept")
  }

  private func relative(_ f: Fixture, _ name: Bytes) throws -> Bytes {
    Bytes("store/".utf8) + (try f.series()).splitAtName.name.joined(name)
  }

  /// An incomplete point is the same whoever restores it, and has each path as it was before or after.
  private func expectSameByAllRoads(_ f: Fixture, at set: String, isFull: Bool, _ story: Comment) throws {
    let target = try f.restore(at: set)
    defer { Scratch.remove(target) }
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    let script = f.scratch.path("script")
    let words: [Raw] = [Raw(f.store.joined(Bytes("restore.sh".utf8))), "--at", Raw(set), "--to", Raw(script)]
    try Command("sh", words + f.scriptKey).run().checked()
    #expect(tree.differences(to: try Snapshot(of: script.joined(f.inside.bytes)), .ignoring(.holes)) == [], story)
    Scratch.remove(script)
    // An incomplete full set has what it did not reach in an older chain only.
    guard Reader.gnuTar.isInstalled, !isFull else { return }
    let replay = f.scratch.path("replay")
    try Descriptor.workingDirectory.makeDirectory(replay)
    for name in [f.points[0].set, set] {
      try Reader.gnuTar.extract(f.archive(name), into: replay).checked()
    }
    #expect(tree.differences(to: try Snapshot(of: replay.joined(f.inside.bytes)), .ignoring(.holes)) == [], story)
    Scratch.remove(replay)
  }

  /// What a full set carries from an older chain, large files too, is stored as soon as it is seen again: with that the
  /// chain needs no other.
  @Test func whatAnInterruptedFullSetCarriesIsStoredAgain() throws {
    var folders: [Raw: Node] = [:]
    for number in 0..<20 { folders["f\(10 + number)"] = .file(size: 1_500_000, seed: UInt64(number)) }
    let f = try Fixture(TestTree(folders))
    try f.save()
    let old = f.newest.set
    // Written long enough ago to be taken for unchanged by its looks.
    Thread.sleep(forTimeInterval: 2.1)
    try f.save()
    try f.save(["--full"])
    let set = f.newest.set
    let name = Bytes(set.utf8)
    let archive = try Bytes.read(f.archive(f.newest))
    let manifest = try Bytes.read(f.manifest(f.newest))
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for old in try f.names() where old.hasPrefix(set) { try series.removeFile(Bytes(old.utf8)) }
    try f.scratch.write(
      Raw(relative(f, name + Bytes(".tar.gz.partial"))), Raw(Bytes(archive[..<(archive.count / 2)])))
    try f.scratch.write(Raw(relative(f, name + Bytes(".mtree.gz.partial"))), Raw(Bytes(manifest.dropLast())))
    f.points.removeLast()
    try f.save()
    let points = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json()
    #expect(points.contains { $0["set"] as? String == set && $0["incomplete_after"] != nil }, "\(points)")
    let replay = f.scratch.path("replay")
    try Descriptor.workingDirectory.makeDirectory(replay)
    for name in [set, f.newest.set] {
      try Reader.gnuTar.extract(f.series().joined(Bytes("\(name).tar.gz".utf8)), into: replay).checked()
    }
    #expect(f.newest.tree.differences(to: try Snapshot(of: replay.joined(f.inside.bytes))) == [])
    // Before that the incomplete point needs the older chain, and everyone says so when that is damaged.
    for name in try f.names() where name.hasPrefix(old) && name.hasSuffix(".tar.gz") {
      try series.removeFile(Bytes(name.utf8))
    }
    #expect(try f.differences(at: f.newest) == [])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store), "--at", "latest"])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store), "--at", Raw(set)], status: 4)
    let table = try f.sheaf(["points", "-s", Raw(f.store)], status: 4)
    #expect(table.lines.contains { $0.contains(set) && $0.contains("damaged, as it needs \(old)") }, "\(table)")
    #expect(table.lines.contains { $0.contains(f.newest.set) && !$0.contains("damaged") }, "\(table)")
  }

  /// On a full drive the archive gives way to what tells of it.
  @Test(.enabled(if: Scratch.allowsEverything, "only root can mount")) func whatAFullDriveHoldsIsKept() throws {
    var files: [Raw: Node] = [:]
    for number in 0..<20 { files["f\(10 + number)"] = .file(size: 2_000_000, seed: UInt64(number)) }
    let f = try Fixture(TestTree(files))
    let mounted = try Command("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", Raw(f.store)]).run()
    guard mounted.succeeded else { return }
    defer { _ = try? Command("umount", [Raw(f.store)]).run() }
    try f.sheaf(["init", "-s", Raw(f.store)])
    let failed = try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)], status: 1)
    #expect(failed.errorText.contains("hint: what was saved so far is kept"), "\(failed)")
    try Command("mount", ["-o", "remount,size=64m", Raw(f.store)]).run().checked()
    let output = try f.sheaf(["backup", "-s", Raw(f.store)])
    #expect(output.errorText.contains("incomplete"), "\(output)")
    let points = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json()
    #expect(try #require(points[0]["files"] as? Int) >= 8, "\(points)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let target = try f.restore()
    #expect(try Snapshot(of: f.source).differences(to: Snapshot(of: target.joined(f.inside.bytes))) == [])
  }

  /// Before the first point, too, it is said what a run left.
  @Test func aFirstRunThatWasCut() throws {
    let f = try Fixture(TestTree(["large": .file(size: 9_000_000, seed: 1)]))
    try f.save()
    let series = try f.series().shown
    try Command("sh", ["-ec", "cd '\(series)'; rm *.mtree.gz; mv *.tar.gz $(ls *.tar.gz).partial"]).run().checked()
    let output = try f.sheaf(["points", "-s", Raw(f.store)])
    #expect(output.text.contains("no points yet"), "\(output)")
    #expect(output.errorText.contains("an interrupted run left"), "\(output)")
  }

  /// A point that an interrupted run left stands for no day, and is known for what it is however its set is written anew.
  @Test func incompletePointsAndPruning() throws {
    let f = try Fixture(Self.tree(3))
    try f.save()
    try f.edit(Self.edits)
    try f.save()
    let set = f.newest.set
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let archive = try Bytes.read(f.archive(f.newest))
    let manifest = try Bytes.read(f.manifest(f.newest))
    for old in try f.names() where old.hasPrefix(set) { try series.removeFile(Bytes(old.utf8)) }
    let name = Bytes(set.utf8)
    try f.scratch.write(
      Raw(relative(f, name + Bytes(".tar.gz.partial"))), Raw(Bytes(archive[..<(archive.count / 2)])))
    try f.scratch.write(Raw(relative(f, name + Bytes(".mtree.gz.partial"))), Raw(Bytes(manifest.dropLast())))
    f.points.removeLast()
    // Takes over, and goes no further.
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--keep-free", "999T"], status: 1)
    func isIncomplete() throws -> Bool {
      let points = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json()
      return points.contains { ($0["set"] as? String)?.prefix(18) == set.prefix(18) && $0["incomplete_after"] != nil }
    }
    #expect(try isIncomplete())
    for name in try f.names() where name.hasPrefix(set) && name.hasSuffix(".mtree.gz") {
      try series.removeFile(Bytes(name.utf8))
    }
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    #expect(try isIncomplete())
    let plan = try f.sheaf(["prune", "-n", "-s", Raw(f.store), "--keep-daily", "3"])
    #expect(plan.lines.contains { $0.contains(f.points[0].set) && $0.contains("daily") }, "\(plan)")
    #expect(plan.lines.contains { $0.contains(set) && $0.contains("the newest, incomplete") }, "\(plan)")
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    #expect(try isIncomplete())
    try f.save()
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1", "--fold"])
    #expect(try !isIncomplete())
    try f.reload()
    #expect(f.points.count == 1)
    try f.expectEveryPoint()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// A run that had only its names to give.
  @Test func onlyTheNamesWereMissing() throws {
    let f = try Fixture(Self.tree(2))
    try f.save()
    try f.edit(Self.edits)
    try f.save(["--volume-size", "2M"])
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let set = f.newest.set
    let digest = try digests(f)
    for stage in 0..<3 {
      // The volumes get their names before the manifest; the run may have ended between any two of them.
      for (index, name) in try f.names().filter({ $0.hasPrefix(set) }).enumerated()
      where name.hasSuffix(".mtree.gz") || index > stage {
        try series.rename(Bytes(name.utf8), to: Bytes("\(name).partial".utf8))
      }
      let output = try f.sheaf(["backup", "-s", Raw(f.store), "--skip-unchanged"])
      #expect(output.errorText.contains("had saved everything"), "\(output)")
      #expect(try digests(f) == digest)
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    }
    try f.expectEveryPoint()
  }

  private func digests(_ f: Fixture) throws -> [String] {
    try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().compactMap { $0["digest"] as? String }
  }

  /// An archive under its final name was complete: nothing shortens it, whatever lies beside it.
  @Test func whatHasItsNameIsNotCut() throws {
    let f = try Fixture(Self.tree(3))
    try f.save()
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let archive = try Bytes.read(f.archive(f.newest))
    let manifest = try Bytes.read(f.manifest(f.newest))
    try series.removeFile(Bytes("\(f.newest.set).mtree.gz".utf8))
    let journal = Bytes("\(f.newest.set).mtree.gz.partial".utf8)
    try f.scratch.write(Raw(relative(f, journal)), Raw(Bytes(manifest[..<(manifest.count / 2)])))
    // It is no point without its manifest, which is said.
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), Raw(f.source)], status: 3)
    #expect(try Bytes.read(f.archive(f.newest)) == archive)
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    try f.expectEveryPoint()
  }

  /// What an attempt to take a run over added is not the run's own, should the attempt itself have been killed.
  @Test func takenOverTwice() throws {
    guard Command.canTrace else { return }
    let folder = Dictionary(uniqueKeysWithValues: (0..<1500).map { (Raw("f\(1000 + $0)"), Node.file("\($0)\n")) })
    let f = try Fixture(TestTree(["D": .directory(folder.merging(["aaa": .directory(folder)]) { $1 })]))
    let remains = f.scratch.path("remains")
    func killed(_ write: Int) throws {
      _ = try Command.sheaf(["backup", "-q", "-s", Raw(f.store), "--series", "s", Raw(f.source)]).wrapped([
        "strace", "-f", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:signal=SIGKILL:when=\(write)",
      ]).run()
    }
    try killed(10)
    try Command("cp", ["-a", Raw(f.store), Raw(remains)]).run().checked()
    for write in 4...11 {
      Scratch.remove(f.store)
      try Command("cp", ["-a", Raw(remains), Raw(f.store)]).run().checked()
      try killed(write)
      try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--series", "s", Raw(f.source)])
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      let target = try f.restore()
      let tree = try Snapshot(of: f.source)
      #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [], "killed at write \(write)")
      Scratch.remove(target)
    }
  }

  @Test func theChainWentOn() throws {
    let f = try Fixture(Self.tree(4))
    try f.save()
    try f.edit("echo 1 > one")
    try f.save()
    let archive = try Bytes.read(f.archive(f.newest))
    let manifest = try Bytes.read(f.manifest(f.newest))
    let set = Bytes(f.newest.set.utf8)
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for name in try f.names() where name.hasPrefix(f.newest.set) { try series.removeFile(Bytes(name.utf8)) }
    try f.edit("echo 2 > two; rm one")
    try f.sheaf(["backup", "-q", "-s", Raw(f.store)])
    // From another machine, say: the newest point is another one by now.
    try f.scratch.write(Raw(relative(f, set + Bytes(".tar.gz.partial"))), Raw(archive))
    try f.scratch.write(Raw(relative(f, set + Bytes(".mtree.gz.partial"))), Raw(manifest))
    let summary = try f.save()
    #expect(summary.problems == 0)
    #expect(try !f.names().contains { $0.hasSuffix(".partial") })
    #expect(try f.differences(at: f.newest) == [])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  @Test func thrownAway() throws {
    let f = try Fixture(Self.tree(5))
    try f.save()
    let manifest = try Bytes.read(f.manifest(f.newest))
    let archive = try Bytes.read(f.archive(f.newest))
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for name in try f.names() { try series.rename(Bytes(name.utf8), to: Bytes("\(name).partial".utf8)) }
    try f.scratch.write(
      Raw(relative(f, Bytes("\(f.newest.set).mtree.gz.partial".utf8))), Raw(Bytes(manifest.dropLast())))
    let output = try f.sheaf(["backup", "--json", "-s", Raw(f.store), "--discard-interrupted", Raw(f.source)])
    #expect(try Summary(output).new > 100)
    #expect(try !f.names().contains { $0.hasSuffix(".partial") })
    #expect(!archive.isEmpty)
  }

  @Test(arguments: [SIGINT, SIGTERM]) func stoppedByASignal(signal: Int32) throws {
    let f = try Fixture(Self.tree(6))
    try f.save()
    try f.edit("for i in 1 2 3 4 5 6 7 8; do cp m-large new$i; echo $i >> new$i; done")
    var kept = 0
    for (number, delay) in ([20, 100, 200, 300, 500, 800, 1200, 2000] as [UInt32]).enumerated() {
      // The later ones are for machines that have much else to do.
      if number > 3, kept > 0 { break }
      let running = try Command.sheaf(["backup", "-s", Raw(f.store), "--level", "9", "--full"]).start()
      usleep(delay * 1000)
      running.signal(signal)
      let output = running.wait()
      // It may be done by then, or not have begun to listen.
      if output.succeeded || output.signal == signal { continue }
      #expect(output.status == 130 && output.signal == 0, "\(output)")
      #expect(output.errorText.contains("interrupted"), "\(output)")
      #expect(try !f.names().contains { $0.hasSuffix(".partial") || $0.hasPrefix("lock.") })
      if output.errorText.contains("is kept as") {
        kept += 1
        let points = try f.sheaf(["points", "-s", Raw(f.store)])
        #expect(points.lines.last?.contains("incomplete") == true, "\(points)")
      }
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      #expect(try f.differences(at: f.points[0]) == [])
    }
    #expect(kept > 0)
    let summary = try f.save()
    #expect(summary.kind == "incremental")
    #expect(try f.differences(at: f.newest) == [])
  }
}
