/// Files and folders as they were before they changed, in one step.
import Posix
import TestSupport
import Testing

@Suite struct BeforeChangeTests {
  private func before(
    _ f: Fixture, _ path: Raw, _ more: [Raw] = [], status: Int32 = 0
  ) throws -> (point: String?, target: Bytes, output: Output) {
    let target = f.scratch.path("before-\(Raw("\(UInt32.random(in: 0 ... .max))"))")
    let output = try f.sheaf(
      ["restore", "--json", "-s", f.named, "--to", Raw(target), "--before-change", path] + more, status: status)
    let found = try output.json().first { $0["type"] as? String == "before_change" }
    return (found?["point"] as? String, target, output)
  }

  @Test(arguments: [false, true]) func theNewestThatDiffersIsTaken(encrypted: Bool) throws {
    let f = try Fixture(
      TestTree(["a": .file("one\n"), "d": .directory(["e": .directory(["x": .file("one\n")])]), "b": .file("b\n")]),
      encrypted: encrypted)
    try f.save()
    try f.edit("echo more >>b")
    try f.save()
    try f.edit("echo two >a; echo two >d/e/x")
    try f.save(["--full"])
    try f.edit("echo again >>b; rm d/e/x; touch d/e/y; rm d/e/y; echo one >d/e/x")
    try f.save()
    let (first, second, third) = (f.points[0].set, f.points[1].set, f.points[2].set)

    let a = try before(f, "\(f.inside)/a")
    #expect(a.point == second)
    #expect(try Bytes.read(a.target.joined(f.inside.bytes).joined(Bytes("a"))) == Bytes("one\n"))
    #expect(try before(f, "b").point == third, "from a source's folder")
    #expect(try before(f, "b", ["--at", "latest~1"]).point == first)
    let json = try #require(try before(f, "a").output.json().first)
    #expect(json["changed_in"] as? String == third && json["what"] as? [String] == ["content", "time"])
    #expect(json["type"] as? String == "before_change" && json["deleted"] as? Bool == false)

    // A folder changes with anything in it, at whatever depth; and other paths can be asked for as they were then.
    let folder = try before(f, "d")
    #expect(folder.point == third)
    let restored = try Snapshot(of: folder.target.joined(f.inside.bytes).joined(Bytes("d")))
    #expect(f.points[2].tree.subtree("d").differences(to: restored) == [])
    #expect(try before(f, "d", ["--at", Raw(third)]).point == second)
    let other = try before(f, "a", ["\(f.inside)/b"])
    #expect(try Bytes.read(other.target.joined(f.inside.bytes).joined(Bytes("b"))) == Bytes("b\nmore\n"))
    #expect(!exists(other.target.joined(f.inside.bytes).joined(Bytes("a"))))
  }

  @Test func whatIsGoneAndWhatNeverChanged() throws {
    let f = try Fixture(TestTree(["gone": .file("x"), "same": .file("x"), "d": .directory(["x": .file("x")])]))
    try f.save()
    try f.edit("rm gone; echo new >new")
    try f.save()
    let gone = try before(f, "\(f.inside)/gone")
    #expect(gone.point == f.points[0].set)
    #expect(try gone.output.json().first?["deleted"] as? Bool == true)
    for (path, words) in [
      ("\(f.inside)/same", "it is the same in all 2 points"), ("\(f.inside)/d", "it is the same in all 2 points"),
      ("\(f.inside)/new", "one point has it"), ("\(f.inside)/none", "is in no point of the series"),
    ] as [(Raw, String)] {
      let output = try before(f, path, status: 1).output
      #expect(output.errorText.contains(words), "\(output)")
    }
    #expect(try before(f, "/", status: 64).output.errorText.contains("takes a file or a folder"))
    #expect(try before(f, "\(f.inside)/gone", ["--at", Raw(f.points[0].set)], status: 1).point == nil)
    let words = try f.sheaf(
      ["restore", "-s", f.named, "--to", Raw(f.scratch.path("t")), "--before-change", "\(f.inside)/gone"])
    #expect(words.text.contains("is gone in \(f.points[1].set): taking \(f.points[0].set), just now"), "\(words)")
  }

  /// Points that cannot be read are said and passed over; where it is the newest, nothing is guessed.
  @Test func damagedManifests() throws {
    let f = try Fixture(TestTree(["a": .file("one\n")]))
    for word in ["two", "three", "four"] as [Raw] {
      try f.save(["--full"])
      try f.edit("echo \(word) >a")
    }
    try f.save(["--full"])
    func damage(_ point: Fixture.Point) throws {
      let file = try Descriptor.open(f.manifest(point), .readWrite)
      try Bytes(repeating: 0x55, count: 40).withUnsafeBytes { try file.write($0, at: 30) }
    }
    try damage(f.points[2])
    let found = try before(f, "\(f.inside)/a", status: 3)
    #expect(found.point == f.points[1].set, "\(found.output)")
    #expect(try Bytes.read(found.target.joined(f.inside.bytes).joined(Bytes("a"))) == Bytes("two\n"))
    try damage(f.points[3])
    let none = try before(f, "\(f.inside)/a", status: 4)
    #expect(!exists(none.target))
  }
}
