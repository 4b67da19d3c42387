/// What stands on a terminal: nothing that others wrote may send it an escape sequence. Run under `script`, which gives
/// the program a terminal of its own.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Command.find("script") != nil, "script is not installed")) struct TerminalTests {
  private static let title: Raw = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}"

  /// Runs it on a terminal and gives what was shown, the program's own colours and wiped lines left out.
  private func shown(_ arguments: [Raw]) throws -> Bytes {
    let command = try Command.sheaf(arguments)
    let words = ([command.program] + command.arguments).map { (word: Raw) -> Raw in
      "'\(Raw(Bytes(word.bytes.flatMap { $0 == 39 ? Bytes("'\\''") : [$0] })))'"
    }
    let line = words.dropFirst().reduce(words[0]) { "\($0) \($1)" }
    let output = try Command("script", ["-qec", line, "/dev/null"], environment: ["TERM": "xterm"], timeout: 30).run()
    #expect(output.signal == 0 && !output.timedOut, "\(output)")
    var rest = output.stdout[...]
    var shown = Bytes()
    let own = ["0", "1", "2", "31", "32", "33"].map { Bytes("\u{1b}[\($0)m".utf8) } + [Bytes("\r\u{1b}[K")]
    while let byte = rest.first {
      if let style = own.first(where: { rest.starts(with: $0) }) {
        rest = rest.dropFirst(style.count)
      } else {
        shown.append(byte)
        rest = rest.dropFirst()
      }
    }
    #expect(!shown.isEmpty, "\(output)")
    return shown
  }

  private func expectPlain(_ arguments: [Raw], at location: SourceLocation = #_sourceLocation) throws {
    let shown = try shown(arguments)
    let isPlain = shown.allSatisfy { $0 >= 0x20 || $0 == 10 || $0 == 13 } && !shown.contains(0x7f)
    // As UTF-8, the one-byte escapes of ISO 6429 take two bytes; and a mark that turns the text around three.
    let text = String(decoding: shown, as: UTF8.self).unicodeScalars
    let isQuiet = !text.contains { (0x80..<0xa0).contains($0.value) || $0.value == 0x202e }
    #expect(isPlain && isQuiet, "\(arguments): \(shown.quoted)", sourceLocation: location)
  }

  @Test func namesOfFilesAndEverythingElse() throws {
    let f = try Fixture()
    let name = Raw(Self.title.bytes + [0x9b, 0xff])
    try TestTree([
      name: .file("contents"), "link": .symlink(name), "dir": .directory([name: .file("x")]),
      "unread": .directory([name: .directory([name: .file("x")])]),
    ]).make(at: f.source)
    try f.save(["--comment", Self.title])
    try f.edit("rm -r dir; echo more >> link 2>/dev/null || :")
    let store = Raw(f.store)
    try expectPlain(["backup", "-s", store, "-v", "--comment", Self.title])
    try f.edit("mkdir new; touch \"new/$(printf '\\033]0;owned\\007')\"")
    try expectPlain(["backup", "-s", store, "-nv"])
    for arguments in [
      ["points"], ["ls", "-R"], ["ls", "-lR"], ["ls", "-R", "--json"], ["manifest"], ["verify"], ["ls", name],
      ["cat", name], ["ls", "--at", name], ["ls", "--series", name],
      ["restore", "-v", "--to", Raw(f.scratch.path("restored"))],
      ["restore", "--to", Raw(f.scratch.path("restored"))], ["restore", "--to", "/nowhere/\(name)"],
      ["restore", "--to", Raw(f.scratch.path("other")), name],
      ["restore", "-n", "--to", Raw(f.scratch.path("third")), "--before-change", "\(f.inside)/\(name)"], ["find", "*"],
      ["find", "-l", "*"],
      ["find", "*", "--json"],
      ["find", name], ["history", "\(f.inside)/\(name)"], ["history", name], ["diff", "-v"], ["diff", "--json"],
      ["diff", "--live"], ["diff", "--path", name], ["export"], ["export", "-v", "-o", Raw(f.scratch.path("x.tar"))],
      ["export", "-o", "/nowhere/\(name)"], ["export", "-o", Raw(f.scratch.path("y.tar")), name],
    ] as [[Raw]] {
      try expectPlain([arguments[0], "-s", store] + arguments.dropFirst())
    }
    try expectPlain(["points", "-s", "/nowhere/\(name)"])
    try expectPlain(["verify", "/nowhere/\(name).tar"])
  }

  @Test func whatDamageSays() throws {
    let f = try Fixture()
    let name = Raw(Self.title.bytes + [0xff])
    try TestTree([name: .file("contents"), "dir": .directory([name: .file("more")])]).make(at: f.source)
    let point = try #require(try f.save().set)
    let archive = try f.series().joined(Bytes("\(point).tar.gz".utf8))
    // In the member that holds everything, not the one before.
    try Command(
      "sh",
      [
        "-ec", "s=$(stat -c %s \"$0\"); printf XXXX | dd of=\"$0\" bs=1 seek=$((s - 150)) conv=notrunc 2>&1",
        Raw(archive),
      ]
    ).run().checked()
    let store = Raw(f.store)
    try expectPlain(["verify", "-s", store])
    try expectPlain(["restore", "-s", store, "--to", Raw(f.scratch.path("restored"))])
  }

  @Test func labelsSeriesAndArchives() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.head = set.head.map { $0.bytes.starts(with: Bytes("host")) ? "host: \\033]0;owned\\007" : $0 }
    set.head.append("comment: \\033]0;owned\\007")
    set.directory("box")
    set.file("box/file", "contents") { $0.tags = "u:\\033]0;owned\\007,g:\\233\\061m," }
    set.end()
    try stage.store.write(set)
    try ForgedStore.write(
      stage.store.path.joined(Bytes("sheaf.store")),
      Raw("format=1\nrequires=\nuuid=\(Self.title)\nlabel=\(Self.title)\ncreated=\(Self.title)\n").bytes)
    let store = Raw(stage.store.path)
    for arguments in [["points"], ["points", "--json"], ["ls", "-lR"], ["ls", "-lR", "--json"]] as [[Raw]] {
      try expectPlain([arguments[0], "-s", store] + arguments.dropFirst())
    }
    // Several series, one of them with a name that no run would give.
    let directory = try Descriptor.open(stage.store.path, [.read, .directory])
    try directory.makeDirectory(Self.title.bytes)
    try Command("cp", ["-r", "\(stage.store.path)/forged/.", "\(stage.store.path)/\(Self.title)"]).run().checked()
    for arguments in [["points"], ["ls"], ["verify"]] as [[Raw]] { try expectPlain([arguments[0], "-s", store]) }
    try ForgedStore.write(
      stage.store.path.joined(Bytes("sheaf.store")), Raw("format=\(Self.title)\nuuid=1\n").bytes)
    try expectPlain(["points", "-s", store])
    try ForgedStore.write(
      stage.store.path.joined(Bytes("sheaf.store")), Raw("format=1\nuuid=1\nrequires=\(Self.title)\n").bytes)
    try expectPlain(["points", "-s", store])
    let archive = stage.scratch.path("x.tar")
    try ForgedStore.write(
      archive, ForgedTar.header(Self.title, type: "2", target: Self.title) + ForgedTar.header(Self.title, size: 9999))
    try expectPlain(["ls", "-lR", Raw(archive)])
    try expectPlain(["verify", Raw(archive)])
    try expectPlain(["cat", "--archive", Raw(archive), Self.title])
    try expectPlain(["--\(Self.title)"])
    try expectPlain(["points", "--\(Self.title)"])
    try expectPlain(["ls", "--at"])
    try expectPlain([Self.title])
  }
}
