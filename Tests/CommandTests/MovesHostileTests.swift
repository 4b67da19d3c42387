/// What a hostile manifest may say of renames: neither the program nor the script is led out of the target by it.
import Posix
import TestSupport
import Testing

struct MovesHostileTests {
  /// A full set with a file, a directory and a link that leads outside, and an incremental one with these lines.
  private func stage(_ notes: [Raw], inFull: Bool = false) throws -> Stage {
    let stage = try Stage()
    var full = ForgedSet()
    full.directory("box")
    full.directory("box/dir")
    full.file("box/file", "contents")
    full.symlink("box/out", Raw(stage.outside))
    full.file("box/dir/inner", "inner")
    if inFull { full.trailing = notes }
    full.end()
    try stage.store.write(full)
    var next = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: full)
    next.directory("box")
    if !inFull { next.notes = notes.map { ("box", $0) } }
    next.end()
    try stage.store.write(next)
    try ForgedStore.write(stage.store.path.joined(Bytes("restore.sh")), script())
    return stage
  }

  /// As it lies on every store.
  private func script() throws -> Bytes {
    let f = try Fixture()
    return try Bytes.read(f.store.joined(Bytes("restore.sh")))
  }

  private func runScript(_ stage: Stage) throws -> Output {
    // It takes none that holds something, and the program may have come to some of the point before the line.
    try Command("find", [Raw(stage.target), "-mindepth", "1", "-delete"]).run().checked()
    return try Command(
      "sh", [Raw(stage.store.path.joined(Bytes("restore.sh"))), "--no-check", "--to", Raw(stage.target)], timeout: 30
    ).run()
  }

  static let malformed: [Raw] = [
    "# renamed ./box/file", "# renamed ./box/file ./box/new ./box/more", "# renamed ./../outside/file ./box/new",
    "# renamed ./box/file ./../outside/new", #"# renamed ./box/file ./box/\056\056/\056\056/new"#,
    "# renamed box/file ./box/new", "# renamed ./box/file /box/new", "# renamed ./ ./box/new",
    "# renamed ./box/file ./", "# renamed ./box//file ./box/new", #"# renamed ./box/file ./box/a\000b"#,
    "# renamed ./box/./file ./box/new",
  ]

  @Test(arguments: malformed.indices) func whatIsMalformedIsRefused(_ index: Int) throws {
    let stage = try stage([Self.malformed[index]])
    let before = try stage.snapshot()
    let output = try Command.sheaf(["restore", "-s", Raw(stage.store.path), "--to", Raw(stage.target)]).run()
    #expect(output.status == 4 && output.errorText.contains("cannot be read"), "\(output)")
    let script = try runScript(stage)
    #expect(script.status == 4 && !script.stderr.isEmpty, "\(script)")
    let lines = before.differences(to: try stage.snapshot(), .ignoring(.changed, skipped: ["in/target"]))
    #expect(lines == [])
  }

  @Test func aFullSetHasNone() throws {
    let stage = try stage(["# renamed ./box/file ./box/new"], inFull: true)
    let output = try Command.sheaf(["restore", "-s", Raw(stage.store.path), "--to", Raw(stage.target)]).run()
    #expect(output.status == 4, "\(output)")
    #expect(try runScript(stage).status == 4)
  }

  static let hostile: [[Raw]] = [
    ["# renamed ./box/out/file ./box/stolen"], ["# renamed ./box/out/dir ./box/stolen"],
    ["# renamed ./box/file ./box/out/planted"], ["# renamed ./box/dir ./box/out/dir"],
    ["# renamed ./box/out ./box/dir/out", "# renamed ./box/file ./box/dir/out/planted"],
    ["# renamed ./box/none ./box/new"], ["# renamed ./box/file ./box/file/in/itself"],
    ["# renamed ./box/dir ./box/dir/in/itself"], ["# renamed ./box ./elsewhere"],
  ]

  /// Whatever comes of it lies in the target.
  @Test(arguments: hostile.indices) func nothingGetsOutOrIn(_ index: Int) throws {
    let stage = try stage(Self.hostile[index])
    let before = try stage.snapshot()
    let script = try runScript(stage)
    #expect([0, 1, 3, 4].contains(script.status), "\(script)")
    let lines = before.differences(to: try stage.snapshot(), .ignoring(.changed, skipped: ["in/target"]))
    #expect(lines == [], "\(script)")
    #expect(!exists(stage.target.joined(Bytes("box/stolen"))), "\(script)")
  }

  @Test(
    arguments: [
      ["# renamed ./box/file ./box/a", "# renamed ./box/file ./box/b"],
      ["# renamed ./box/file ./box/a", "# renamed ./box/dir ./box/a"],
    ] as [[Raw]])
  func nothingIsRenamedTwice(_ notes: [Raw]) throws {
    let stage = try stage(notes)
    let script = try runScript(stage)
    // What the lines of the point say counts; the records are for tar.
    #expect(script.status == 0, "\(script)")
    #expect(!exists(stage.target.joined(Bytes("box/a"))) && exists(stage.target.joined(Bytes("box/file"))))
  }
}
