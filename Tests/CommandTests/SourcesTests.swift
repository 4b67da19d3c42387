/// What is backed up: several sources, sources inside each other, remembered ones, ones that are not there.
import Posix
import TestSupport
import Testing

@Suite struct SourcesTests {
  private static let tree = TestTree([
    "one": .directory(["a": .file("a"), "in": .directory(["deep": .file("deep")])]),
    "two": .directory(["b": .file("b")]), "three": .file("three"), "beside": .file("not asked for"),
  ])

  private func sources(_ f: Fixture, _ names: Raw...) -> [Raw] { names.map { "\(f.source)/\($0)" } }

  /// The restored point, as if the source's root were the target.
  private func restored(_ f: Fixture, at point: String = "latest") throws -> Snapshot {
    try Snapshot(of: try f.restore(at: point).joined(f.inside.bytes))
  }

  @Test func severalSources() throws {
    let f = try Fixture(Self.tree)
    try f.save(sources: sources(f, "two", "one", "three"))
    let options = Snapshot.Options.ignoring(.changed, skipped: ["beside"])
    #expect(f.newest.tree.differences(to: try restored(f), options) == [])
    #expect(try restored(f)["beside"] == nil)
    try f.edit("rm one/a; echo x > two/x; echo changed > three; echo more >> beside")
    // In another order they are the same sources.
    #expect(try f.save(sources: sources(f, "one", "three", "two")).kind == "incremental")
    #expect(f.newest.tree.differences(to: try restored(f), options) == [])
  }

  @Test func aSourceInsideAnother() throws {
    let f = try Fixture(Self.tree)
    try f.save(sources: sources(f, "one", "one/in", "one/in/deep"))
    let restored = try restored(f)
    #expect(f.newest.tree.subtree("one").differences(to: restored.subtree("one")) == [])
    #expect(restored["two"] == nil)
    // It says nothing new, so the series takes the outer one alone as the same.
    #expect(try f.save(sources: sources(f, "one")).kind == "incremental")
  }

  @Test func theStoreInsideTheSource() throws {
    let f = try Fixture(Self.tree)
    let inner = f.source.joined(Bytes("drive"))
    try f.sheaf(["init", "-s", Raw(inner)])
    for _ in 0..<2 {
      let output = try f.sheaf(["backup", "-s", Raw(inner), Raw(f.source)])
      #expect(output.errorText.contains("the store lies in"), "\(output)")
      #expect(output.errorLines.count == 1, "\(output)")
    }
    let target = f.scratch.path("out")
    try f.sheaf(["restore", "-s", Raw(inner), "--to", Raw(target)])
    let lines = try Snapshot.differences(
      from: f.source, to: target.joined(f.inside.bytes), .ignoring(skipped: ["drive"]))
    #expect(lines == [])
    #expect(!exists(target.joined(f.inside.bytes).joined(Bytes("drive"))))
  }

  @Test func sourcesAreRemembered() throws {
    let f = try Fixture(Self.tree)
    try f.save(sources: sources(f, "one", "two"))
    try f.edit("echo x > two/x")
    let summary = try f.save(sources: [])
    #expect(summary.kind == "incremental" && summary.new == 1)
    #expect(f.newest.tree.subtree("two").differences(to: try restored(f).subtree("two")) == [])
  }

  @Test func anotherListIsRefused() throws {
    let f = try Fixture(Self.tree)
    try f.save(sources: sources(f, "one", "two"))
    let before = try f.names()
    for other in [sources(f, "one"), sources(f, "one", "two", "three"), sources(f, "three")] {
      let output = try f.sheaf(["backup", "-s", Raw(f.store)] + other, status: 64)
      #expect(output.errorLines.count == 2 && output.errorLines[0].hasPrefix("sheaf: error: "), "\(output)")
      #expect(output.errorLines.last?.contains("--change-sources") == true)
      #expect(output.errorLines.last?.contains("--series") == true)
    }
    try f.sheaf(["backup", "--full", "-s", Raw(f.store)] + sources(f, "three"), status: 64)
    #expect(try f.names() == before)
    // Another series may have others.
    try f.sheaf(["backup", "-s", Raw(f.store), "--series", "other"] + sources(f, "three"))
  }

  @Test func sourcesMayBeAddedAndDropped() throws {
    let f = try Fixture(Self.tree)
    try f.save(sources: sources(f, "one"))
    #expect(try f.save(["--change-sources"], sources: sources(f, "one", "two")).kind == "incremental")
    #expect(try f.save(sources: []).kind == "incremental")
    // What is dropped cannot be taken away by a tar record: a full set.
    #expect(try f.save(["--change-sources"], sources: sources(f, "two")).kind == "full")
    let expected: [(one: Bool, two: Bool)] = [(true, false), (true, true), (true, true), (false, true)]
    for (point, there) in zip(f.points, expected) {
      let tree = try restored(f, at: point.set)
      #expect((tree["one/in/deep"] != nil) == there.one && (tree["two/b"] != nil) == there.two, "\(point.set)")
    }
  }

  @Test func aMissingSourceKeepsWhatItHeld() throws {
    let f = try Fixture(Self.tree)
    try f.save(sources: sources(f, "one", "two"))
    let whole = f.newest.tree
    try f.edit("mv one gone; echo x > two/x")
    for more in [[], [], ["--full"]] as [[Raw]] {
      let summary = try f.save(more, sources: [], status: 3)
      #expect(summary.unseen > 0 && summary.problems == 1 && summary.deleted == 0)
      let restored = try restored(f)
      #expect(whole.subtree("one").differences(to: restored.subtree("one")) == [])
      #expect(restored["two/x"] != nil)
    }
    try f.edit("mv gone one; rm one/a")
    #expect(try f.save(sources: []).deleted == 1)
    #expect(f.newest.tree.subtree("one").differences(to: try restored(f).subtree("one")) == [])
  }

  /// What could not be looked at once is seen again: nobody is told otherwise from then on.
  @Test func whatIsSeenAgainIsNotUnseen() throws {
    let f = try Fixture(Self.tree)
    try f.edit("rm beside three")
    try f.save(sources: sources(f, "one", "two"))
    try f.edit("mv one gone")
    #expect(try f.save(sources: [], status: 3).unseen > 0)
    try f.edit("mv gone one")
    #expect(try f.save(sources: []).unseen == 0)
    func unseen() throws -> Int? {
      let target = f.scratch.path("again")
      defer { Scratch.remove(target) }
      return try f.sheaf(["restore", "--json", "-s", Raw(f.store), "--to", Raw(target)]).json().last?["files_unseen"]
        as? Int
    }
    #expect(try unseen() == 0)
    try f.expectRebuilt()
    #expect(try unseen() == 0)
    #expect(try f.differences(at: f.newest) == [])
  }

  @Test func aSourceThatNeverWas() throws {
    let f = try Fixture(Self.tree)
    let output = try f.sheaf(
      ["backup", "-s", Raw(f.store), "--allow-missing"] + sources(f, "one", "nothing"), status: 3)
    #expect(output.errorText.contains("nothing: is not there"), "\(output)")
    #expect(try restored(f)["one/in/deep"] != nil)
    #expect(try restored(f)["nothing"] == nil)
  }

  @Test func withoutAnySourceThereIsNoSet() throws {
    let f = try Fixture(Self.tree)
    let none = try f.sheaf(["backup", "-s", Raw(f.store), "--allow-missing"] + sources(f, "x", "y"), status: 1)
    #expect(none.errorLines.count == 2 && none.stdout.isEmpty, "\(none)")
    #expect(try f.sheaf(["points", "-s", Raw(f.store)]).text.hasPrefix("no points yet"))
    try f.save(sources: sources(f, "one"))
    let before = try f.names()
    try f.edit("mv one gone")
    try f.sheaf(["backup", "-s", Raw(f.store)], status: 1)
    #expect(try f.names() == before)
    // A series that is new remembers nothing.
    try f.sheaf(["backup", "-s", Raw(f.store), "--series", "new"], status: 64)
  }

  @Test func filesFrom0() throws {
    let f = try Fixture(
      TestTree(["new\nline": .file("1"), [0xff, 0x20]: .file("2"), "d": .directory(["x": .file("3")]), "no": .file()]))
    let list = sources(f, "new\nline", [0xff, 0x20], "d").map { $0.bytes + [0] }.joined()
    try f.save(["--files-from0", "-"], sources: [], input: Bytes(list))
    #expect(f.newest.tree.differences(to: try restored(f), .ignoring(skipped: ["no"])) == [])
    // Together with others, from a file, the last without its NUL.
    try f.scratch.write("list", Raw(Bytes(list.dropLast())))
    try f.save(["--change-sources", "--files-from0", Raw(f.scratch.path("list"))], sources: sources(f, "no"))
    #expect(f.newest.tree.differences(to: try restored(f)) == [])
    try f.sheaf(["backup", "-s", Raw(f.store), "--files-from0", "nowhere"], status: 1)
  }

  @Test func sourcesAsTheyAreNamed() throws {
    let f = try Fixture(Self.tree)
    try f.edit("ln -s two link; ln -s ../source/one/in way")
    func set(_ series: Raw, _ source: Raw) throws -> Snapshot {
      try f.sheaf(["backup", "-s", Raw(f.store), "--series", series, source], in: f.source)
      let target = f.scratch.path("out-\(series)")
      try f.sheaf(["restore", "-s", Raw(f.store), "--series", series, "--to", Raw(target)])
      return try Snapshot(of: target.joined(f.inside.bytes))
    }
    #expect(try set("relative", "./one//in/../a").paths == ["one", "one/a"].map { Bytes($0) })
    // A link is itself the source, what it leads to where a slash follows; on the way it is followed.
    #expect(try set("link", "link").paths == [Bytes("link")])
    #expect(try set("target", "link/").paths == ["two", "two/b"].map { Bytes($0) })
    #expect(try set("through", "way/deep").paths == ["one", "one/in", "one/in/deep"].map { Bytes($0) })
    #expect(try set("dot", ".")["three"] != nil)
  }

  @Test func filesThatCannotBeReadThough() throws {
    // Files of the kernel that can be opened and not read, or are shorter than they say.
    let odd: Raw = "/sys/devices/virtual/net/lo/statistics"
    let bad: Raw = "/sys/devices/virtual/net/lo/speed"
    guard exists(odd.bytes), exists(bad.bytes) else { return }
    let f = try Fixture(Self.tree)
    let summary = try f.save(sources: [Raw(f.source), odd, bad], status: 3)
    #expect(summary.problems > 1)
    #expect(try f.differences(at: f.newest) == [])
    let listing = try Reader.gnuTar.list(f.archive(f.newest))
    #expect(listing.succeeded && listing.stderr.isEmpty, "\(listing)")
    #expect(try f.sheaf(["ls", Raw(f.archive(f.newest))]).text.contains("three\n"))
  }

  @Test func whatHappensBesideASourceIsNoChange() throws {
    let f = try Fixture(Self.tree)
    let first = try f.save(sources: sources(f, "one", "three"))
    #expect(first.new == 5)
    try f.edit("echo x > two/x; echo y > y; touch -d @12345 .. .")
    let second = try f.save(["--dry-run"], sources: [])
    #expect(second.new + second.changed + second.deleted == 0)
    let third = try f.save(["--skip-unchanged"], sources: [])
    #expect(third.set == nil)
    // A set that is written takes note of it all the same.
    #expect(try f.save(sources: []).changed == 0)
    #expect(try restored(f)[""]?.modified == Timestamp(seconds: 12345))
  }
}
