/// Paths as people have them at hand: from the folder they are in, from what they saved, or as `tar` would have them.
import Posix
import TestSupport
import Testing

struct RelativePathTests {
  private static let tree = TestTree([
    "letters": .directory(["june": .file("hello\n"), "may": .file("hi\n")]), "notes": .file("n"),
  ])

  @Test func wherePathsBegin() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo more >>letters/june")
    try f.save()
    let store: [Raw] = ["-s", Raw(f.store)]
    let places: [(Bytes, Raw)] = [
      (Bytes("/"), "\(f.source)/letters/june"), (Bytes("/"), "\(f.inside)/letters/june"), (f.source, "letters/june"),
      (f.source, "./letters/../letters/june"), (f.source.joined(Bytes("letters")), "june"),
      (f.source.joined(Bytes("letters")), "../letters/june"), (Bytes("/"), "letters/june"),
    ]
    for (number, (directory, path)) in places.enumerated() {
      #expect(try f.sheaf(["cat"] + store + [path], in: directory).stdout == Bytes("hello\nmore\n"), "\(path)")
      #expect(try f.sheaf(["ls"] + store + [path], in: directory).lines.count == 1)
      #expect(try f.sheaf(["history"] + store + [path], in: directory).lines.count == 3)
      #expect(try f.sheaf(["diff", "--path", path] + store, in: directory).lines.count >= 2)
      try f.sheaf(["export", "-o", Raw(f.scratch.path("\(number).tar"))] + store + [path], in: directory)
      let out = f.scratch.path("out\(number)")
      try f.sheaf(["restore", "-q", "--to", Raw(out)] + store + [path], in: directory)
      #expect(try Bytes.read(out.joined(f.inside.bytes).joined(Bytes("letters/june"))) == Bytes("hello\nmore\n"))
    }
  }

  /// Neither means the whole point: with `--delete` that would take away what nobody named.
  @Test(arguments: ["", ".", "./", "..", "../.."] as [Raw]) func neverEverything(path: Raw) throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let elsewhere = f.scratch.path("elsewhere/a/b")
    try Command("mkdir", ["-p", Raw(elsewhere)]).run().checked()
    try f.edit("echo new >new")
    for command: [Raw] in [
      ["restore", "--to", "/", "--overwrite", "if-changed", "--delete"], ["ls"], ["cat"], ["history"],
      ["restore", "--to", Raw(f.scratch.path("out"))], ["export", "-o", Raw(f.scratch.path("out.tar"))],
    ] {
      let output = try f.command(command + ["-s", Raw(f.store), path], in: elsewhere).run()
      #expect(output.status == (path == "" ? 64 : 1), "\(output)")
      #expect(output.errorText.contains(path == "" ? "an empty path names nothing" : "elsewhere"), "\(output)")
    }
    #expect(exists(f.source.joined(Bytes("new"))) && !exists(f.scratch.path("out")))
    // In a folder that was saved it is that folder.
    guard path == "." || path == "./" else { return }
    let letters = f.source.joined(Bytes("letters"))
    #expect(try f.sheaf(["ls", "-s", Raw(f.store), path], in: letters).lines.count == 2)
    try f.edit("rm letters/may; echo new >letters/new")
    try f.sheaf(
      ["restore", "-q", "-s", Raw(f.store), "--to", "/", "--overwrite", "if-changed", "--delete", path], in: letters)
    #expect(exists(f.source.joined(Bytes("new"))) && !exists(letters.joined(Bytes("new"))))
    #expect(exists(letters.joined(Bytes("may"))))
  }

  @Test(
    arguments: [
      ("june*", ["letters/june", "letters/june-2"]), ("letters/*", ["letters/june", "letters/june-2", "letters/may"]),
      ("/**/letters", ["letters/june", "letters/june-2", "letters/may"]), ("[n]otes", ["notes"]),
      ("?otes", ["notes"]), ("letters/[n]otes", ["letters/[n]otes"]), ("*.txt", nil),
    ] as [(String, [String]?)]) func patterns(pattern: String, files: [String]?) throws
  {
    let f = try Fixture(Self.tree)
    try f.edit("echo 2 >letters/june-2")
    if files?.contains("letters/[n]otes") == true { try f.edit("echo n >'letters/[n]otes'") }
    try f.save()
    let out = f.scratch.path("out")
    let output = try f.sheaf(
      ["restore", "-q", "-s", Raw(f.store), "--to", Raw(out), Raw(pattern)], status: files == nil ? 1 : 0)
    guard let files else {
      #expect(output.errorLines.first?.contains("\(pattern) is not in the point") == true, "\(output)")
      return
    }
    let found = try Command("sh", ["-c", "cd out/\(f.inside) && find * -type f"], in: f.scratch.path).run().checked()
      .lines
    #expect(Set(found) == Set(files), "\(found)")
  }

  /// What stands in the point by that very name comes first; what is nowhere is named as it was given.
  @Test func whatComesFirst() throws {
    let f = try Fixture(Self.tree)
    let inner = f.source.joined(f.inside.bytes)
    try TestTree([:]).make(at: f.scratch.path("unused"))
    try Command("mkdir", ["-p", Raw(inner)]).run().checked()
    try f.edit("echo other >\(f.inside)/notes")
    try f.save()
    #expect(try f.sheaf(["cat", "-s", Raw(f.store), "\(f.inside)/notes"], in: f.source).stdout == Bytes("n"))
    let output = try f.sheaf(["cat", "-s", Raw(f.store), "letters/july"], status: 1, in: f.source)
    #expect(output.errorLines.first?.contains("letters/july is not in the point") == true, "\(output)")
  }
}
