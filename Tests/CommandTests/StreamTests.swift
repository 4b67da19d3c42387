/// What commands and standard input give, saved as files.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

struct StreamTests {
  /// Where the stream lies in a point, in a folder that no file system has.
  static let inside: Raw = "dumps/of/shop.sql"
  static let path: Raw = "/\(inside)"

  private static func command(_ text: Raw) -> [Raw] { ["--command", "\(path)=\(text)"] }

  /// What three roads bring back of the newest point at `path`.
  static func expectOutput(_ f: Fixture, _ wanted: Bytes, at point: String = "latest", _ story: String = "") throws {
    let roads = f.scratch.path("roads")
    try Descriptor.workingDirectory.makeDirectory(roads)
    defer { Scratch.remove(roads) }
    let set = point == "latest" ? f.newest.set : point
    try f.sheaf(["restore", "-q", "-s", Raw(f.store), "--at", Raw(set), "--to", "\(roads)/a"])
    let script = Raw(f.store.joined(Bytes("restore.sh".utf8)))
    try Command("sh", [script, "--at", Raw(set), "--to", "\(roads)/b"] + f.scriptKey).run().checked()
    let target = roads.joined(Bytes("c"))
    try Descriptor.workingDirectory.makeDirectory(target)
    for set in try f.chain(of: set) { try Reader.gnuTar.extract(f.archive(set), into: target).checked() }
    for road in ["a", "b", "c"] {
      let there = try? Bytes.read(roads.joined(Bytes(road.utf8)).joined(inside.bytes))
      #expect(there == wanted, "\(road), \(set), \(wanted.count) bytes, \(there?.count ?? -1) there, \(story)")
    }
  }

  /// Around the ends of blocks and of pieces; each in one point after the other.
  @Test(arguments: [false, true]) func everySizeComesBackByThreeRoads(isEncrypted: Bool) throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]), encrypted: isEncrypted)
    let piece = 1 << 20
    let sizes = [1, 511, 512, 513, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 513, 5_000_000, 3]
    let dump = f.scratch.path("dump")
    for (index, size) in sizes.enumerated() {
      let contents = Bytes((0..<size).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> (7 + index)) })
      try f.scratch.write("dump", Raw(contents))
      let summary = try f.save(Self.command("cat '\(dump)'") + (index == 6 ? ["--full"] : []))
      #expect(summary.unseen == 0 && summary.problems == 0, "\(size)")
      try Self.expectOutput(f, contents)
    }
    // The same through standard input is the same.
    let summary = try f.save(["--stdin-name", Self.path], input: try f.scratch.read("dump"))
    #expect(summary.changed == 0 && summary.unseen == 0)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "2", "--fold"])
    try f.reload()
    try Self.expectOutput(f, f.scratch.read("dump"))
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    // The folded set remembers what came from a command.
    #expect(try f.save(status: 3).unseen == 1)
  }

  @Test func whatIsUnchangedIsStoredOnce() throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    try f.edit("touch -d yesterday a")
    let same = Self.command("seq 1 900000")
    let first = try f.save(same)
    let second = try f.save(same)
    #expect(first.bytesWritten > 1_000_000 && second.bytesWritten < 3000 && second.changed == 0)
    // Not even its time differs, and nothing is worth a set.
    #expect(try f.save(same + ["--skip-unchanged"]).set == nil)
    let full = try f.save(same + ["--full"])
    // The other file was made just now, and counts as changed.
    #expect(full.changed <= 1 && full.new == 0 && full.bytesWritten > 1_000_000)
    #expect(try f.save(Self.command("seq 1 900001")).changed == 1)
    let versions = try f.sheaf(["history", "-s", Raw(f.store), Self.path]).lines
    #expect(versions.filter { $0.contains("full") || $0.contains("incr") }.count == 2, "\(versions)")
  }

  struct Bad: CustomTestStringConvertible {
    var command: Raw
    var says: [String]
    var testDescription: String { "\(command)" }
  }
  static let bad: [Bad] = [
    Bad(command: "echo half; exit 3", says: ["exit code 3"]),
    Bad(command: "echo half; kill -9 $$", says: ["signal 9"]),
    Bad(command: "echo half; kill -TERM $$", says: ["signal 15"]),
    Bad(command: "/no/such/program", says: ["exit code 127", "not found"]),
    Bad(command: "true", says: ["wrote nothing"]),
    Bad(command: "echo why >&2", says: ["wrote nothing: why"]),
    Bad(command: "head -c 100000000 /dev/zero; exit 1", says: ["exit code 1"]),
    Bad(command: "head -c 3000 /dev/urandom >&2; printf '\\n\\033[31mred\\n' >&2; exit 1", says: ["\\033[31mred"]),
    Bad(command: "yes no | head -c 5000000 >&2; echo last >&2; exit 1", says: ["last"]),
    Bad(command: "read answer || exit 9; echo \"$answer\"", says: ["exit code 9"]),
    Bad(command: "read answer </dev/tty || exit 8; echo \"$answer\"", says: ["exit code"]),
    Bad(command: "exec >&-; sleep 0.2; exit 4", says: ["exit code 4"]),
  ]

  /// The last good output stays, and what was there before any was is nothing.
  @Test(arguments: bad) func whatFailsLeavesTheLastGoodOne(_ bad: Bad) throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    try f.save(Self.command(bad.command), status: 3)
    #expect(try !f.sheaf(["ls", "-R", "-s", Raw(f.store)]).text.contains("shop.sql"))
    try f.save(Self.command("echo good"))
    try f.edit("echo more >>a")
    let output = try f.sheaf(["backup", "-q", "-s", Raw(f.store)] + Self.command(bad.command), status: 3)
    for words in bad.says { #expect(output.errorText.contains(words), "\(output)") }
    // A line of bounded length, and nothing that a terminal would obey.
    #expect(output.errorLines.count == 1 && output.stderr.count < 30_000, "\(output.stderr.count)")
    #expect(!output.stderr.contains(27))
    f.points.append(.init(set: try f.latest(), tree: try Snapshot(of: f.source)))
    try Self.expectOutput(f, Bytes("good\n".utf8))
    try f.expectEveryPoint()
    // Once it can be had again, it is as if nothing had been.
    #expect(try f.save(Self.command("echo good")).unseen == 0)
    try Self.expectOutput(f, Bytes("good\n".utf8))
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
  }

  /// What a command says on standard error is shown, also if all went well.
  @Test func whatACommandSaysIsShown() throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    let arguments = ["backup", "-s", Raw(f.store), Raw(f.source)] + Self.command("echo good; echo mind this >&2")
    #expect(try f.sheaf(arguments).errorText.contains("/dumps/of/shop.sql: mind this"))
    #expect(try f.sheaf(arguments + ["-q"]).stderr == [])
  }

  @Test func withoutItsCommandItIsUnseen() throws {
    let f = try Fixture(TestTree(["a": .file("text\n"), "folder": .directory(["b": .file("text\n")])]))
    let inSource: Raw = "\(f.source)/folder/dump"
    let both = Self.command("echo good") + ["--command", "\(inSource)=echo other"]
    try f.save(both)
    let live = try f.sheaf(["diff", "--live", "-s", Raw(f.store)])
    #expect(live.lines == ["0 added, 0 removed, 0 changed, 0 moved"] || live.lines.count == 2, "\(live)")
    for _ in 0..<2 {
      let output = try f.sheaf(["backup", "-q", "-s", Raw(f.store)], status: 3)
      #expect(output.errorLines.count == 2 && output.errorText.contains("--gone /dumps/of/shop.sql"), "\(output)")
    }
    f.points.append(.init(set: try f.latest(), tree: try Snapshot(of: f.source)))
    try Self.expectOutput(f, Bytes("good\n".utf8))
    // What was restored into its place is a file as any other.
    try f.edit("cp a folder/dump")
    #expect(try f.save(status: 3).changed >= 1)
    try f.edit("rm folder/dump")
    #expect(try f.save(status: 3).unseen == 2)
    let gone = try f.save(["--gone", Self.path, "--gone", inSource])
    #expect(gone.unseen == 0 && gone.problems == 0 && gone.deleted == 4)
    #expect(try f.save().unseen == 0)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
  }

  /// Wherever it lies: what leaves out the folder around it does not leave it out.
  @Test func itIsSavedWhateverIsLeftOut() throws {
    let f = try Fixture(
      TestTree([
        "cache": .directory([
          "CACHEDIR.TAG": .file("Signature: 8a477f597d28d172789f06886806bc55"), "b": .file("text\n"),
        ])
      ]))
    let names: [Raw] = ["cache/dump", "new/folder/dump", "cache/deep/er/dump"]
    let commands = names.flatMap { ["--command", "\(f.source)/\($0)=echo '\($0)'"] as [Raw] }
    let options: [Raw] = ["--exclude-caches", "--exclude", "new", "--exclude", "*dump*"]
    for more in [[], [], ["--full"]] as [[Raw]] {
      try f.save(options + commands + more)
      for name in names {
        let path: Raw = "\(f.source)/\(name)"
        #expect(try f.sheaf(["cat", "-s", Raw(f.store), path]).stdout == name.bytes + [10])
      }
      #expect(try f.sheaf(["find", "-s", Raw(f.store), "b"]).text == "")
    }
  }

  /// Folders that lead to it come, go and are renamed.
  @Test func foldersAroundIt() throws {
    let f = try Fixture(TestTree(["a": .file("text\n"), "dumps": .directory(["keep": .file("text\n")])]))
    let command: [Raw] = ["--command", "\(f.source)/dumps/db=echo good"]
    let failing: [Raw] = ["--command", "\(f.source)/dumps/db=exit 1"]
    func expectGood(_ story: String) throws {
      let output = try f.sheaf(["cat", "-s", Raw(f.store), "\(f.source)/dumps/db"])
      #expect(output.text == "good\n", "\(story)")
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    }
    try f.save(command)
    for edit in ["mv dumps other", "mv other dumps", "mv dumps x; mkdir dumps", "rm -r dumps", "rmdir dumps 2>&- || :"]
    {
      try f.edit(Raw(edit))
      try f.save(failing, status: 3)
      try expectGood(edit)
      try f.save(command)
      try expectGood(edit)
    }
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    try expectGood("rebuilt")
  }

  /// Where there is no such folder, nobody can be asked where `..` leads. A path that no reader takes would cost the point.
  @Test(
    arguments: [
      ("/dumps/../x.sql", "x.sql"), ("/no/./such/../../y.sql", "y.sql"), ("/../../z.sql", "z.sql"),
      ("/dumps//deep/w.sql", "dumps/deep/w.sql"), ("/dumps/..", nil), ("/dumps/.", nil), ("/", nil),
      (Raw(Bytes("/dumps/".utf8) + Bytes(repeating: 97, count: 256)), nil),
    ] as [(Raw, Raw?)]) func whereADumpLies(given: Raw, path: Raw?) throws
  {
    let f = try Fixture(TestTree(["file": .file("contents")]))
    for way: [Raw] in [["--command", "\(Raw(given.bytes))=echo dump"], ["--stdin-name", given]] {
      let output = try f.sheaf(
        ["backup", "--full", "-s", Raw(f.store)] + way + [Raw(f.source)], status: path == nil ? 64 : 0,
        input: Bytes("dump\n".utf8))
      guard let path else { continue }
      #expect(try f.sheaf(["cat", "-s", Raw(f.store), path]).text == "dump\n", "\(output)")
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      usleep(1_000_000)
    }
    if path == nil { #expect(try f.sheaf(["ls", "-s", Raw(f.store)], status: 1).stdout.isEmpty) }
  }

  @Test func aSeriesOfDumpsAlone() throws {
    let f = try Fixture()
    let backup: [Raw] = ["backup", "-q", "-s", Raw(f.store), "--series", "dumps"]
    try f.sheaf(backup + ["--stdin-name", Self.path], input: Bytes("one".utf8))
    try f.sheaf(backup + ["--stdin-name", Self.path], input: Bytes("two".utf8))
    #expect(try f.sheaf(["cat", "-s", Raw(f.store), Self.path]).text == "two")
    let refused = try f.sheaf(backup, status: 64)
    #expect(refused.errorText.contains("--stdin-name"), "\(refused)")
    // In a pipe nobody knows how the other program ended, but nothing at all is no dump.
    let empty = try f.sheaf(backup + ["--stdin-name", Self.path], status: 3)
    #expect(empty.errorText.contains("standard input is empty"), "\(empty)")
    #expect(try f.sheaf(["cat", "-s", Raw(f.store), Self.path]).text == "two")
    try f.sheaf(backup + [Raw(f.source), "--stdin-name", Self.path], input: Bytes("three".utf8))
    #expect(try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().filter { $0["set"] != nil }.count == 4)
  }

  static let wrong: [[Raw]] = [
    ["--command", "no command"], ["--command", "=true"], ["--command", "x="], ["--command", "x=  "],
    ["--command", "a/=true"], ["--command", "..=true"], ["--command", "/=true"],
    ["--command", "folder=true"], ["--command", "a=true", "--command", "a=true"],
    ["--command", "x=true", "--command", "x/y=true"], ["--command", "a/y=true"], ["--command", "link/y=true"],
    ["--command", "..//source=true"], ["--stdin-name", ""],
    ["--stdin-name", "x", "--files-from0", "-"], ["--stdin-name", "x", "--exclude-from", "-"],
  ]

  @Test(arguments: wrong) func whatCannotBeOneIsRefused(_ options: [Raw]) throws {
    let f = try Fixture(
      TestTree(["a": .file("text\n"), "folder": .directory(["b": .file("text\n")]), "link": .symlink("a")]))
    // Nothing is run then.
    let mark = f.scratch.path("ran")
    let more: [Raw] = ["--command", "other=touch '\(mark)'"]
    for known in [false, true] {
      let output = try f.sheaf(
        ["backup", "-s", Raw(f.store), Raw(f.source), "folder/b"] + options + more, status: 64,
        input: Bytes("x".utf8), in: f.source)
      #expect(output.errorLines.count <= 2, "\(output)")
      #expect(!exists(mark))
      if !known { try f.save(sources: [Raw(f.source), "\(f.source)/folder/b"]) }
    }
  }

  @Test func aDryRunRunsNothing() throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    let mark = f.scratch.path("ran")
    let options = Self.command("touch '\(mark)'; echo good") + ["-n"]
    try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)] + options)
    try f.save()
    try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)] + options)
    #expect(!exists(mark))
  }

  /// The command and what it has started end with the run.
  @Test(arguments: ["sleep 100", "sleep 100 & sleep 100; wait", "yes", "trap '' TERM; sleep 100; sleep 100"] as [Raw])
  func anInterruptEndsTheCommand(_ command: Raw) throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    try f.save(Self.command("echo good"))
    let ids = f.scratch.path("ids")
    let arguments = ["backup", "-s", Raw(f.store)] + Self.command("echo $$ >'\(ids)'; \(command)")
    let running = try Command.sheaf(arguments, timeout: 60).start()
    while (try? Bytes.read(ids))?.isEmpty ?? true { usleep(10_000) }
    running.signal(SIGINT)
    let output = running.wait()
    #expect(output.status == 130, "\(output)")
    let told = try Bytes.read(ids).shown.split(separator: "\n")[0]
    // What nobody has asked after is there still, but runs no more.
    let left = try Command("ps", ["-o", "stat=", "-s", Raw(String(told))]).run().lines.filter { !$0.hasPrefix("Z") }
    #expect(left == [], "\(command)")
    #expect(try f.save(Self.command("echo good")).changed == 0)
  }

  @Test func whereThereIsNoRoomForIt() throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    let good = Self.command("head -c 5000000 /dev/urandom")
    try f.save(good)
    let missing: [String: Raw?] = ["TMPDIR": "/no/such/folder"]
    let output = try f.sheaf(["backup", "-q", "-s", Raw(f.store)] + good, status: 3, environment: missing)
    #expect(output.errorText.contains("/no/such/folder"), "\(output)")
    guard Mounted.isPossible else { return print("a full spool was not tried: \(Mounted.needs)") }
    let small = f.scratch.path("small")
    try Descriptor.workingDirectory.makeDirectory(small)
    let mounted = try Mounted(on: small, "size=2m")
    try withExtendedLifetime(mounted) {
      let output = try f.sheaf(
        ["backup", "-q", "-s", Raw(f.store)] + good + ["--command", "/other=echo small"], status: 3,
        environment: ["TMPDIR": Raw(small)])
      #expect(output.errorText.contains("No space left on device (TMPDIR says where"), "\(output)")
      #expect(output.errorLines.count == 1)
      #expect(try f.sheaf(["cat", "-s", Raw(f.store), "/other"]).text == "small\n")
    }
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }
}

extension Fixture {
  /// The newest set there is.
  func latest() throws -> String {
    try #require(try sheaf(["points", "--json", "-s", Raw(store)]).json().compactMap { $0["set"] as? String }.last)
  }
}
