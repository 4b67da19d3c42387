/// Shares of a point that are really restored: all of it comes round, and what does not come back as it was is found.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct ProveTests {
  private func percent(_ output: Output) throws -> Int? { try output.json().last?["proved_percent"] as? Int }

  @Test(arguments: [false, true]) func allOfItComesRound(encrypted: Bool) throws {
    let f = try Fixture(encrypted: encrypted)
    Scratch.remove(f.source)
    var history = History(label: "prove")
    try history.make(at: f.source)
    // A store that was saved is no store that is to be kept.
    try f.edit("mkdir shut; echo x >shut/sheaf.store; chmod 0 shut")
    try f.save()
    _ = try history.step()
    try f.save()
    let scratch = f.scratch.path("tried")
    try Descriptor.workingDirectory.makeDirectory(scratch)
    let home: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("state"))]
    var shares: [Int] = []
    while shares.last != 100 {
      let output = try f.sheaf(
        ["prove", "--json", "-s", f.named, "--share", "30%", "--scratch", Raw(scratch)], environment: home)
      shares.append(try #require(try percent(output)))
      #expect(try Descriptor.open(scratch, [.read, .directory]).sortedNames() == [], "\(output)")
      guard shares.count < 9 else { break }
    }
    #expect(shares == shares.sorted() && (3...6).contains(shares.count) && shares.last == 100, "\(shares)")
    for command in ["points", "status"] {
      let output = try f.sheaf([Raw(command)] + (command == "points" ? ["-s", f.named] : []), environment: home)
      #expect(output.text.contains("  all of it was really restored just now\n"), "\(output)")
    }
    let file = try f.names().first { $0.hasPrefix("proved.txt") }
    #expect(file == (encrypted ? "proved.txt.age" : "proved.txt"))
    // What nothing needs any more is left out.
    try f.sheaf(["prove", "-q", "-s", f.named, "--all", "--scratch", Raw(scratch)])
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
  }

  /// As somebody restores who has no Sheaf: whatever that somebody, or the script, does wrong shows.
  @Test func byTheStoresScriptAsWell() throws {
    let f = try Fixture(encrypted: false)
    Scratch.remove(f.source)
    var history = History(label: "prove by script")
    try history.make(at: f.source)
    try f.save()
    for _ in 0..<2 {
      _ = try history.step()
      try f.save()
    }
    let line: [Raw] = ["prove", "--script", "-s", f.named]
    let good = try f.sheaf(line + ["--json"])
    let tried = try #require(good.json().last?["files_by_script"] as? Int)
    #expect(tried > 20, "\(good)")
    #expect(try f.sheaf(line).text.contains("  by restore.sh as well: "))
    let script = f.store.joined(Bytes("restore.sh"))
    let text = try Bytes.read(script)
    func replace(_ end: String) throws {
      try Descriptor.open(script, [.write, .truncate]).write(text + Bytes(end.utf8))
    }
    for (end, words) in [
      ("\nexit 3\n", "restore.sh ended with 3"), ("\nfind \"$to\" -type f -exec chmod 751 {} +\n", "mode 751"),
      ("\nfind \"$to\" -type f -exec sh -c 'echo more >>\"$1\"' x {} \\;\n", "other contents"),
      ("\nrm -r \"$to\"\n", "No such file"),
    ] {
      try replace(end)
      let output = try f.sheaf(line, status: words == "No such file" ? 1 : 4)
      #expect(output.errorText.contains(words), "\(output)")
    }
    try f.sheaf(["prove", "-q", "-s", f.named])
    let sealed = try Fixture(encrypted: true)
    try sealed.save()
    let refused = try sealed.sheaf(["prove", "--script", "-s", sealed.named], status: 64)
    #expect(refused.errorText.contains("not encrypted"), "\(refused)")
  }

  /// What was opened for a trial does not stay behind.
  @Test func whatAKilledOneLeft() throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    try f.save()
    let scratch = f.scratch.path("tried")
    try Command(
      "sh",
      [
        "-ec",
        "mkdir -p \(Raw(scratch))/sheaf-prove-0123456789abcdef/x; cd \(Raw(scratch)); echo secret >sheaf-prove-0123456789abcdef/x/y; mkdir sheaf-prove-held; sleep 6",
      ]
    ).run().checked()
    let held = try Descriptor.open(scratch.joined(Bytes("sheaf-prove-held")), [.read, .directory])
    #expect(held.lockWhole(exclusive: true) == .taken)
    try f.sheaf(["prove", "-q", "-s", f.named, "--scratch", Raw(scratch)])
    let left = try Descriptor.open(scratch, [.read, .directory]).sortedNames()
    #expect(left.map(\.shown) == ["sheaf-prove-held"])
    withExtendedLifetime(held) {}
  }

  @Test func damageIsFoundAndNotCounted() throws {
    let f = try Fixture(
      TestTree(["a": .file(size: 3_000_000, seed: 1), "b": .file("text\n"), "c": .symlink("b")]), encrypted: false)
    try f.save()
    try f.sheaf(["prove", "-q", "-s", f.named, "--share", "1%"])
    let archive = try f.archive(f.newest)
    let file = try Descriptor.open(archive, .readWrite)
    let before = try file.read(count: 1, at: 2_000_000)
    try [before[0] ^ 1].withUnsafeBytes { try file.write($0, at: 2_000_000) }
    let output = try f.sheaf(["prove", "--json", "-s", f.named, "--all"], status: 4)
    #expect(output.errorText.contains("/a: "), "\(output)")
    #expect(try (percent(output) ?? 0) < 100, "\(output)")
    #expect(try Bytes.read(f.series().joined(Bytes("proved.txt"))).shown.contains("\nfailed "))
    try before.withUnsafeBytes { try file.write($0, at: 2_000_000) }
    #expect(try percent(f.sheaf(["prove", "--json", "-s", f.named, "--all"])) == 100)
  }

  /// Whatever a system call claims to have done: what is there is looked at.
  @Test(
    .enabled(if: Scratch.allowsEverything && Command.find("strace") != nil, "needs root and strace"),
    arguments: [
      ("fchmod", "mode 600"), ("fchown", "owner 0:0"), ("utimensat", "another time"), ("fsetxattr", "attribute user.a"),
      ("linkat", "did not come back"),
    ]) func whatIsNotAsItWasIsFound(call: String, words: String) throws
  {
    let f = try Fixture(
      TestTree([
        "a": .file("text\n").mode(0o640).owner(7, 8).attribute("user.a", "x").modified(1_000_000_000),
        "b": .hardLink("a"),
      ]))
    try f.save()
    let command = try Command.sheaf(["prove", "-s", f.named, "--all", "--scratch", Raw(f.scratch.path)])
    let traced = try command.wrapped(["strace", "-f", "-o", "/dev/null", "-e", "inject=\(Raw(call)):retval=0"]).run()
    #expect(traced.status == 4 && traced.errorText.contains(words), "\(traced)")
  }

  /// What the note says, and what that comes to.
  @Test(arguments: [
    ("", nil), ("proved", nil), ("proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 5 10 ./ ./m", 50),
    ("proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 5 10 ./ ./", 100),
    ("failed 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 5 10 ./ ./", nil),
    (
      """
      proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 5 10 ./ ./m
      proved 2026-11-25T060000Z-incr 2026-11-25T060000Z 0.1.0 5 10 ./m ./
      """, 100
    ),
    (
      """
      proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 6 10 ./ ./m
      proved 2026-11-25T060000Z-incr 2026-11-25T060000Z 0.1.0 6 10 ./n ./
      """, 99
    ),
    ("proved 2026-11-24T060000Z-full 2026-11-24T060000Z \u{1B}[31m 9 9 ./ ./\n\u{0}\u{0}\n", 100),
    ("proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 -5 10 ./ ./", nil),
    ("proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 9223372036854775807 9223372036854775807 ./a ./b", 99),
    ("proved 2026-11-24T060000Z-full 2026-11-24T060000Z 0.1.0 99999999999999999999 1 ./ ./", nil),
    ("proved 2026-11-24T060000Z-full 9999-99-99T060000Z 0.1.0 1 1 ./ ./", nil),
  ]) func notesOfAnyKind(text: String, expected: Int?) throws {
    let f = try Fixture(encrypted: false)
    try f.save()
    let folder = try Descriptor.open(f.series(), [.read, .directory])
    try folder.open(Bytes("proved.txt"), [.write, .create, .truncate]).write(Bytes(text.utf8))
    let home: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("state"))]
    let points = try f.sheaf(["points", "-s", f.named], environment: home)
    #expect(points.text.contains("really restored") == (expected != nil), "\(points)")
    let status = try f.sheaf(["status", "--json"], environment: home)
    #expect(try status.json().first?["proved_percent"] as? Int == expected, "\(status)")
    try f.sheaf(["prove", "-q", "-s", f.named])
  }

  @Test func whereThereIsNoRoomItIsSaid() throws {
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    try f.save()
    let words: [Raw] = ["prove", "-s", f.named, "--scratch", Raw(f.scratch.path("none"))]
    #expect(try f.sheaf(words, status: 1).errorText.contains("No such file"))
    try f.sheaf(["prove", "-s", f.named, "--share", "0"], status: 64)
    try f.sheaf(["prove", "-s", f.named, "--share", "101%"], status: 64)
    try f.sheaf(["prove", "-s", f.named, "--share", "5%", "--all"], status: 64)
  }
}
