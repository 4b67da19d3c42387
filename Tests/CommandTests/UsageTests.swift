/// What the command line says of mistakes, and the forms in which it takes paths and points.
import Posix
import TestSupport
import Testing

@Suite struct UsageTests {
  @Test(
    arguments: [
      ["points", "--nope"], ["backup", "--level", "x"], ["restore"], ["restore", "--nope"],
      ["prune", "--keep-last", "many"],
      ["snapshots"], ["find"], ["init", "--nope"], ["prune", "--keep-last"],
    ] as [[Raw]])
  func mistakesAreObjectsToo(words: [Raw]) throws {
    let output = try Command.sheaf([words[0], "--json", "-s", "/nowhere"] + words.dropFirst()).run()
    #expect(output.status == 64)
    let error = try #require(output.json().last)
    #expect(error["type"] as? String == "error" && error["code"] as? Int == 64, "\(output)")
    #expect((error["message"] as? String)?.isEmpty == false)
  }

  @Test(arguments: [
    ("snapshots", "points"), ("forget", "prune"), ("check", "verify"), ("delete", "prune --drop POINT"),
    ("create", "backup"), ("extract", "restore"), ("bakcup", "backup"), ("vrify", "verify"), ("Restore", "restore"),
  ])
  func otherWordsLeadToTheCommand(word: String, command: String) throws {
    let output = try Command.sheaf([Raw(word)]).run()
    #expect(output.status == 64 && output.errorLines.last == "hint: did you mean 'sheaf \(command)'?", "\(output)")
  }

  @Test(
    arguments: [
      (["stats"], "did you mean 'sheaf points'?"), (["umount", "x"], "fusermount3 -u DIR, or umount DIR"),
      (["help", "forget"], "did you mean 'sheaf prune'?"),
      (["-r", "repo", "snapshots"], "did you mean 'sheaf points -s repo'?"),
      (["-r", "/x", "backup", "a b", "c"], "did you mean 'sheaf backup -s /x 'a b' c'?"),
      (["--repo=/my repo", "-v", "snapshots"], "did you mean 'sheaf points -s '/my repo''?"),
      (["key", "add", "-s", "/x"], "did you mean 'sheaf key lock'?"),
      (["key", "lok", "-s", "/x", "--passphrase"], "did you mean 'sheaf key lock'?"),
      (["key", "passwd"], "did you mean 'sheaf key lock'?"),
      (["key", "nothing-like-it"], "there are show, list, lock, remove, export, import"),
      (["key", "lock", "-s", "/x", "--passphrse"], "did you mean --passphrase?"),
      (["backup", "--prune"], "leave it out: space is freed at once"),
      (["backup", "--host", "h"], "did you mean --series NAME?"), (["backup", "--force"], "did you mean --checksum"),
      (["backup", "--delete"], "leave it out: what is gone"), (["backup", "--backup-dir", "x"], "leave it out: "),
      (["backup", "--files-from", "x"], "did you mean --files-from0 FILE, where a NUL ends each name: tr '\\n' '\\0'"),
      (["backup", "--skip-if-unchanged"], "did you mean --skip-unchanged?"),
      (["backup", "--stdin-filename", "x"], "did you mean --stdin-name PATH?"),
      (["backup", "--password-file", "x"], "did you mean --passphrase-file FILE?"),
      (["backup", "--password-command", "x"], "did you mean --passphrase-command COMMAND?"),
      (["prune", "--group-by", "x"], "leave it out: each series stands by itself"),
      (["prune", "--keep-within-daily", "7d"], "did you mean --keep-daily-within AGE?"),
      (["prune", "--snapshot", "x"], "did you mean --drop POINT?"),
      (["copy", "--from-repo", "x"], "did you mean -s STORE, with the other store behind --to?"),
      (["points", "--tag", "x"], "leave it out: "), (["points", "--latest", "1"], "leave it out: "),
      (["verify", "--read-data"], "leave it out: every byte is read anyway"),
      (["verify", "--read-data-subset", "5%"], "'sheaf prove -s STORE --share PERCENT' reads a part"),
    ] as [([Raw], String)])
  func wordsOfOtherPrograms(words: [Raw], hint: String) throws {
    let output = try Command.sheaf(words).run()
    #expect(output.status == 64 && output.errorText.contains("\nhint: \(hint)"), "\(output)")
  }

  /// Nothing of the program's own insides is shown.
  @Test(arguments: ["--limit-upload", "--limit-download"] as [Raw]) func aLimitThatIsTooSlow(option: Raw) throws {
    let output = try Command.sheaf(["points", "-s", "/x", option, "10"]).run()
    #expect(
      output.status == 64 && output.errorText.hasPrefix("sheaf: error: \(option.bytes.shown) 10 B is too slow"),
      "\(output)")
    #expect(!output.errorText.contains("Failure") && !output.errorText.contains("Optional"), "\(output)")
  }

  @Test func anUnknownOptionIsNotHiddenByOneThatIsMissing() throws {
    let output = try Command.sheaf(["restore", "-s", "/nowhere", "--ovrwrite", "always"]).run()
    #expect(output.errorText.contains("unknown option '--ovrwrite'") && output.errorText.contains("--overwrite"))
  }

  @Test func pathsAreTakenAsTheyAreShown() throws {
    let f = try Fixture(
      TestTree([
        "q\u{1b}z": .file("escape"), "a\\101": .file("backslash"), "a[1]": .file("class"), "a1": .file("one"),
        "letters": .directory(["June.txt": .file("june")]),
      ]))
    try f.save()
    func run(_ command: Raw, _ more: Raw...) throws -> Output { try f.sheaf([command, "-s", Raw(f.store)] + more) }
    for (shown, text) in [("q\\033z", "escape"), ("a\\101", "backslash"), ("a\\\\101", "backslash")] as [(Raw, String)]
    {
      #expect(try run("cat", "/\(f.inside)/\(shown)").text == text)
      #expect(try run("history", "\(f.inside)/\(shown)").lines.count > 1)
      #expect(try run("find", "\(f.inside)/\(shown)").lines.count == 1)
      try f.restore(["\(f.inside)/\(shown)"])
    }
    #expect(try run("find", "\(f.inside)/a[1]").lines.contains { $0.hasSuffix("/a[1]") })
    for form in ["letters/June.txt", "source/letters/June.txt", "\(f.inside)/letters/June.txt"] as [Raw] {
      #expect(try run("find", form).lines == ["\(f.inside.bytes.shown)/letters/June.txt"])
    }
    #expect(try run("find", "june").errorText.contains("'june*'"))
    #expect(try run("find", "-i", "june*").lines.count == 1)
  }

  @Test func pointsByWords() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    try f.edit("echo b > b")
    try f.save()
    func names(_ at: Raw, status: Int32 = 0) throws -> Int {
      try f.sheaf(["ls", "-s", Raw(f.store), "--at", at, f.inside], status: status).lines.count
    }
    #expect(try names("latest~1") == 1 && names("latest~0") == 2 && names("today") == 2)
    #expect(try names(Raw(String(f.newest.set.prefix(7)))) == 2 && names(Raw(String(f.newest.set.prefix(4)))) == 2)
    #expect(try names("yesterday", status: 1) == 0 && names("latest~2", status: 1) == 0)
    #expect(try names("2026-13", status: 64) == 0 && names("latest~x", status: 64) == 0)
  }

  @Test func aTagThatNoPointHasIsSaid() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save(["--comment", "before the move"])
    let output = try f.sheaf(["prune", "-n", "-s", Raw(f.store), "--keep-tag", "mvoe", "--keep-tag", "move"])
    #expect(output.errorText.contains("'mvoe'") && !output.errorText.contains("'move'"), "\(output)")
  }

  /// A store that lies right above or below what was given is named; one that is given without `-s` is understood.
  @Test func whereTheStoreWasMeant() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let series = try f.series()
    let name = series.splitAtName.name
    for command in ["points", "backup", "verify"] as [Raw] {
      let above = try f.sheaf([command, "-s", Raw(f.scratch.path)], status: 10)
      #expect(above.errorText.contains("did you mean -s \(f.store.shown)?"), "\(above)")
      let below = try f.sheaf([command, "-s", Raw(series)], status: 10)
      #expect(below.errorText.contains("-s \(f.store.shown) --series \(name.shown)"), "\(below)")
      let nowhere = try f.sheaf([command, "-s", Raw(f.scratch.path("nowhere"))], status: 10)
      #expect(nowhere.errorText.contains("sheaf init -s") == (command == "backup"), "\(nowhere)")
    }
    let bare = try f.sheaf(["init", Raw(f.scratch.path("new"))], status: 64)
    #expect(bare.errorText.contains("did you mean 'sheaf init -s \(f.scratch.path("new").shown)'?"), "\(bare)")
  }

  /// Nobody is led to make a new store where another is only away.
  @Test func aStoreThatIsAway() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let memory: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("state"))]
    try f.sheaf(["points", "-s", Raw(f.store)], environment: memory)
    try Command("mv", [Raw(f.store), Raw(f.scratch.path("away"))]).run().checked()
    for words in [["points"], ["backup", Raw(f.source)], ["restore", "--to", "/nowhere/x"], ["find", "a"]] as [[Raw]] {
      let output = try f.sheaf(
        [words[0], "-s", Raw(f.store)] + words.dropFirst(), status: 10, environment: memory)
      #expect(output.errorText.contains("was here just now: plug it in\n"), "\(output)")
      #expect(!output.errorText.contains("sheaf init"), "\(output)")
    }
    let new = try f.sheaf(["init", "-s", Raw(f.store)], environment: memory)
    #expect(new.errorText.contains("this store is new and empty: 'store "), "\(new)")
  }

  /// A command in a hint names the store as it was given, and how it is opened.
  @Test func commandsOfHintsCanBeCopied() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let store = f.store.shown
    let target = Raw(f.scratch.path("to"))
    for (words, hint) in [
      (["cat", "x/none"], "hint: look for it with 'sheaf find -s \(store) none'\n"),
      (["cat", "x/no such"], "hint: look for it with 'sheaf find -s \(store) 'no such''\n"),
      (["history", "x/none"], "hint: look for it with 'sheaf find -s \(store) none'\n"),
      (["restore", "--to", target, "x/none"], "hint: look for it with 'sheaf find -s \(store) none'\n"),
      (["restore", "--to", Raw(f.source)], "--overwrite if-changed, if-newer, always or never\n"),
      (["diff"], "hint: 'sheaf diff -s \(store) --live' compares it"),
      (["restore", "--to", target, "--include", "*.x"], "hint: 'sheaf find -s \(store) PATTERN' looks"),
    ] as [([Raw], String)] {
      let output = try f.sheaf([words[0], "-s", Raw(f.store)] + words.dropFirst(), status: 1)
      #expect(output.errorText.contains(hint), "\(output)")
    }
    let remote = try Fixture(TestTree(["a": .file("a")]), remote: Remote())
    try remote.save()
    let output = try remote.sheaf(["cat", "-s", remote.named, "none"], status: 1)
    let options = "--sftp-command /usr/lib/openssh/sftp-server"
    #expect(output.errorText.contains("'sheaf find -s \(remote.named.bytes.shown) \(options) none'"), "\(output)")
  }
}
