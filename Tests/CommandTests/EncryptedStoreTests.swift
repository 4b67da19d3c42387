/// Encrypted stores: what opens them, what they show without a key, and what damage and attacks come to.
import Foundation
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Command.find("age") != nil, "age is not installed")) struct EncryptedStoreTests {
  private func fixture(points: Int = 2) throws -> Fixture {
    var random = Random(label: "encrypted store")
    let f = try Fixture(
      TestTree([
        "quaint-name": .directory([
          "small": .file("a secret sentence\n"), "middle": .file(Raw(random.bytes(200_000))),
          "large": .file(Raw(random.bytes(3_000_000))), "link": .symlink("hidden-target"),
        ])
      ]), encrypted: true)
    try f.save(["--comment", "unspeakable words"])
    for point in 1..<points {
      try f.edit("echo \(point) > quaint-name/small; mv quaint-name/middle quaint-name/mid\(point) 2>/dev/null || :")
      try f.save()
    }
    return f
  }

  private func key(_ f: Fixture) throws -> Raw { Raw(try Command.key(of: f.store)) }

  // MARK: - What opens it

  @Test func standardToolsOpenEverything() throws {
    let f = try fixture()
    let readers: [Raw] = ["tar -tzf -", "bsdtar -tzf -", "busybox tar -tzf -"]
    for name in try f.names() {
      let file = Raw(try f.series().joined(Bytes(name.utf8)))
      #expect(name.hasSuffix(".age"), "\(name)")
      if name.contains(".mtree") {
        let text = try Command("sh", ["-c", "age -d -i \(key(f)) \(file) | gzip -dc"]).run().checked().text
        #expect(text.hasPrefix("#mtree\n# sheaf: 1\n") && text.contains("\n# layers: gzip age\n"), "\(name)")
        continue
      }
      for reader in readers where Command.find(Raw(Bytes(reader.bytes.prefix { $0 != 32 }))) != nil {
        let script: Raw = try "set -o pipefail; age -d -i \(key(f)) \(file) | \(reader)"
        let listed = try Command("bash", ["-c", script]).run().checked().text
        #expect(listed.contains("quaint-name/small"), "\(reader)")
      }
    }
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.expectScript(f.points)
    try f.expectExport(f.newest)
    try f.expectRebuilt()
  }

  @Test(arguments: ["busybox tar", "none", "bsdtar", "tar"]) func theScript(tar: Raw) throws {
    let f = try fixture(points: 3)
    try f.save(["--full", "--volume-size", "2M"])
    for point in f.points {
      let target = f.scratch.path("by-script")
      let script = Raw(f.store.joined(Bytes("restore.sh")))
      let output = try Command(
        "sh", [script, "--key", key(f), "--at", Raw(point.set), "--to", Raw(target)], environment: ["TAR": tar]
      ).run()
      #expect(output.succeeded, "\(output)")
      let lines = point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), .ignoring(.holes))
      #expect(lines == [])
      Scratch.remove(target)
    }
  }

  @Test func theScriptSaysThatAKeyIsWrong() throws {
    let f = try fixture(points: 1)
    let script = Raw(f.store.joined(Bytes("restore.sh")))
    let other = Raw(f.scratch.path("other"))
    try Command("age-keygen", ["-o", other]).run().checked()
    let refused = try Command("sh", [script, "--key", other, "--list"]).run()
    #expect(refused.status == 1 && refused.errorText.contains("it is the key of another store"), "\(refused)")
    // An age that asks nobody for the passphrase.
    let run: Raw = """
      mkdir "$1"; cd "$1"; echo age-encryption.org/v1 >locked
      printf '#!/bin/sh\\necho age: error: incorrect passphrase >&2\\necho age: report it >&2\\nexit 1\\n' >age
      chmod +x age; PATH=$PWD:$PATH sh "$2" --key locked --list
      """
    let locked = try Command("sh", ["-c", run, "sh", Raw(f.scratch.path("tools")), script]).run()
    #expect(locked.status == 1 && locked.errorText.contains("wrong passphrase for "), "\(locked)")
    #expect(locked.errorLines.count == 1, "\(locked)")
  }

  /// Nothing of what was saved can be read in the store, nor who saved it.
  @Test func nothingIsInClear() throws {
    let f = try fixture()
    var known = ["quaint-name", "secret sentence", "hidden-target", "unspeakable", "root", "large"].map {
      Bytes($0.utf8)
    }
    known += [Host.name(), f.source.splitAtName.name]
    known += try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().compactMap { line in
      (line["digest"] as? String).map { Bytes($0.utf8) }
    }
    #expect(known.count == 10)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    for name in try f.names() {
      let bytes = try Bytes.read(try f.series().joined(Bytes(name.utf8)))
      for word in known where word.count > 3 {
        #expect(Data(bytes).range(of: Data(word)) == nil, "\(word.shown) in \(name)")
      }
    }
  }

  // MARK: - Keys

  @Test func aHostThatCannotRead() throws {
    let f = try fixture()
    let host = Raw(f.scratch.path("host.key"))
    try f.sheaf(["key", "export", "-q", "-s", Raw(f.store), "--write-only", host])
    let environment: [String: Raw?] = [
      "SHEAF_KEY": host, "XDG_CONFIG_HOME": Raw(f.scratch.path("none")), "XDG_STATE_HOME": Raw(f.scratch.path("state")),
    ]
    func onHost(_ arguments: [Raw], _ status: Int32 = 0) throws -> Output {
      try f.sheaf(arguments + ["-s", Raw(f.store)], status: status, environment: environment)
    }
    for day in 1...10 {
      try f.edit("echo day \(day) > quaint-name/day\(day); rm -f quaint-name/day\(day - 2)")
      let output = try onHost(["backup", "--json", "-q"])
      let set = try #require(try output.json().last?["set"] as? String)
      f.points.append(.init(set: set, tree: try Snapshot(of: f.source)))
    }
    #expect(try onHost(["ls", "\(f.inside)/quaint-name"]).lines.contains("day10"))
    #expect(try onHost(["verify"]).text.split { " \n".contains($0) }.joined(separator: " ").contains("cannot read"))
    _ = try onHost(["find", "day3"])
    _ = try onHost(["diff"])
    for command: [Raw] in [
      ["cat", "\(f.inside)/quaint-name/day10"], ["restore", "--to", Raw(f.scratch.path("out"))],
      ["export", "-o", Raw(f.scratch.path("out"))],
      ["consolidate"], ["rebuild"],
    ] {
      let output = try onHost(command, 1)
      #expect(output.errorText.contains("this key can write and list, but not read contents"), "\(output)")
    }
    #expect(!exists(f.scratch.path("out")))
    _ = try onHost(["prune", "--keep-last", "9", "-n"])
    try f.expectEveryPoint()
    try f.expectScript([f.newest])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  @Test func withoutTheRightKey() throws {
    let f = try fixture()
    let g = try Fixture(encrypted: true)
    let none: [String: Raw?] = ["XDG_CONFIG_HOME": Raw(f.scratch.path("none"))]
    let open = f.scratch.path("open")
    let pass = Raw(f.scratch.path("pass"))
    let wrong = Raw(f.scratch.path("wrong"))
    try Command(
      "sh",
      [
        "-ec",
        "cp \(key(f)) \(Raw(open)); chmod 644 \(Raw(open)); cp \(key(f)) \(Raw(open)).bare; sed -i '/^#/d' \(Raw(open)).bare",
      ]
    )
    .run().checked()
    try Command("sh", ["-ec", "umask 077; echo word > \(pass); echo other > \(wrong)"]).run().checked()
    for (arguments, status, says): ([Raw], Int32, String) in [
      ([], 1, "is encrypted and its key is not here"),
      (["--key", try key(g)], 1, "is for another store"),
      (["--key", Raw(open)], 1, "can be read by others"),
      (["--key", Raw(f.scratch.path("missing"))], 1, "cannot open"),
      (["--key", "\(Raw(open)).bare"], 0, ""),
      (["--passphrase-file", pass], 1, "its key is not here"),
      (["--key", "\(Raw(open)).bare", "--passphrase-file", "/nonexistent"], 1, "/nonexistent"),
    ] {
      for command: [Raw] in [["points"], ["verify"], ["backup"], ["ls"]] {
        let command = command + ["-s", Raw(f.store)] + arguments
        let output = try f.sheaf(command, status: status, environment: none)
        #expect(says.isEmpty || output.errorText.contains(says), "\(output)")
      }
    }
    try f.sheaf(["key", "lock", "-q", "-s", Raw(f.store), "--passphrase", "--passphrase-file", pass])
    #expect(try f.sheaf(["key", "list", "-s", Raw(f.store)]).text.contains("on the store: passphrase"))
    let refused = try f.sheaf(["points", "-s", Raw(f.store), "--passphrase-file", wrong], status: 1, environment: none)
    #expect(refused.errorText.contains("wrong passphrase for"))
    #expect(refused.errorText.contains("keys/passphrase.age"))
    try f.sheaf(["verify", "-q", "-s", Raw(f.store), "--passphrase-file", pass], environment: none)
    try f.sheaf(["key", "remove", "-q", "-s", Raw(f.store), "passphrase"])
    #expect(try f.sheaf(["key", "list", "-s", Raw(f.store)]).text.contains("no copy"))
    let again = try f.sheaf(["key", "export", "-s", Raw(f.store), Raw(open)], status: 1)
    #expect(again.errorText.contains("open"))
  }

  /// As with ssh and sudo: three may be typed.
  @Test(.enabled(if: TerminalSession.isPossible, "\(TerminalSession.needs)"), arguments: [1, 3])
  func aWrongPassphraseIsAskedForAgain(wrong: Int) throws {
    let f = try fixture(points: 1)
    try f.scratch.write("pass", "open sesame\n")
    let pass = f.scratch.path("pass")
    try Descriptor.open(pass, .read).setMode(0o600)
    try f.sheaf(["key", "lock", "-q", "-s", Raw(f.store), "--passphrase", "--passphrase-file", Raw(pass)])
    let command = try Command.sheaf(
      ["points", "-s", Raw(f.store)], environment: ["XDG_CONFIG_HOME": Raw(f.scratch.path("none"))])
    let session = try TerminalSession(command, columns: 80, rows: 24, in: f.scratch)
    let question = "once more:"
    func wait(forQuestion number: Int) throws {
      try session.wait(until: "question \(number)") { screen in
        let text = screen.joined()
        return text.contains("passphrase for ") && text.components(separatedBy: question).count == number
      }
    }
    for attempt in 1...wrong {
      try wait(forQuestion: attempt)
      try session.type("wrong")
      try session.press("Enter")
    }
    if wrong < 3 {
      try wait(forQuestion: wrong + 1)
      try session.type("open sesame")
      try session.press("Enter")
    }
    #expect(try session.end() == (wrong < 3 ? 0 : 1))
    let screen = try session.screen().joined(separator: "\n")
    #expect(screen.contains(wrong < 3 ? ": 1 point" : "wrong passphrase for"), "\(screen)")
    #expect(!screen.contains("sesame"))
  }

  /// A passphrase that is given to `init` opens the store afterwards; what it has no use for is refused.
  @Test func whatInitTakes() throws {
    let scratch = try Scratch()
    let pass = Raw(scratch.path("pass"))
    try scratch.write("pass", "open sesame\n")
    try Descriptor.open(pass.bytes, .read).setMode(0o600)
    let rows: [(options: [Raw], status: Int32, words: String)] = [
      (["--encrypt", "--passphrase-file", pass], 0, ""),
      (["--encrypt", "--passphrase-command", "echo open sesame"], 0, ""),
      (["--encrypt", "--passphrase", "--passphrase-file", pass], 0, ""),
      (["--encrypt", "--passphrase-file", "/nonexistent"], 1, "/nonexistent"),
      (["--encrypt", "--passphrase-command", "exit 3"], 1, "ended with"),
      (["--encrypt", "--key", pass], 64, "init makes a new key"),
      (["--passphrase-file", pass], 64, "--encrypt"), (["--passphrase"], 64, "--encrypt"),
    ]
    for (number, row) in rows.enumerated() {
      let store = Raw(scratch.path("store\(number)"))
      let home: [String: Raw?] = ["XDG_CONFIG_HOME": Raw(scratch.path("config\(number)"))]
      let made = try Command.sheaf(["init", "-s", store] + row.options, environment: home).run()
      #expect(made.status == row.status && (row.words.isEmpty || made.errorText.contains(row.words)), "\(row) \(made)")
      guard row.status == 0 else {
        #expect(!exists(store.bytes), "\(row)")
        continue
      }
      let elsewhere: [String: Raw?] = ["XDG_CONFIG_HOME": Raw(scratch.path("nothing"))]
      try Command.sheaf(["verify", "-q", "-s", store, "--passphrase-file", pass], environment: elsewhere).run()
        .checked()
    }
  }

  /// Neither a key nor a passphrase is where anybody could see it.
  @Test func secretsStayWhereTheyAre() throws {
    let f = try fixture()
    let secrets = try Bytes.read(Command.key(of: f.store)).split(separator: 10).filter { $0.first != UInt8(ascii: "#") }
    #expect(secrets.count == 2)
    let state = f.scratch.path("state")
    let environment: [String: Raw?] = ["XDG_STATE_HOME": Raw(state)]
    var texts: [String] = []
    for command: [Raw] in [
      ["backup", "--json"], ["points", "--json"], ["status", "--json"], ["key", "list", "--json"], ["verify", "-v"],
    ] {
      let output = try f.sheaf(
        command + (command[0] == "status" ? [] : ["-s", Raw(f.store)]), environment: environment)
      texts.append(output.text + output.errorText)
    }
    texts.append(
      try Command("sh", ["-c", "cat \(Raw(state))/*/* \(Raw(f.store))/*/* \(Raw(f.store))/* 2>/dev/null; :"]).run().text
    )
    for text in texts { for secret in secrets { #expect(!text.contains(Bytes(secret).shown)) } }
  }

  // MARK: - Damage and attacks

  private struct Attack: CustomTestStringConvertible {
    var testDescription: String
    /// With `full` and `incr`, the sets' names, in the series' folder.
    var script: Raw
    /// How `verify`, `restore` and restore.sh end; what `verify` or `restore` says.
    var verify: Int32 = 4
    var restore: Int32 = 4
    var restoreScript: Int32 = 4
    var says: String
  }

  private static let attacks = [
    Attack(
      testDescription: "flipped bytes", script: "printf SPOILT | dd of=$full.tar.gz.age bs=1 seek=150000 conv=notrunc",
      says: "does not open"),
    Attack(
      testDescription: "cut at a chunk", script: "truncate -s $((200 + 2 * 65552)) $full.tar.gz.age",
      says: "of contents, its manifest says"),
    Attack(
      testDescription: "cut inside a chunk", script: "truncate -s 100000 $full.tar.gz.age",
      says: "of contents, its manifest says"),
    Attack(
      testDescription: "a chunk that is missing",
      script: "{ head -c 65752 $full.tar.gz.age; tail -c +131305 $full.tar.gz.age; } >t; mv t $full.tar.gz.age",
      says: "does not open"),
    Attack(
      testDescription: "two files in a row", script: "cat $incr.tar.gz.age >>$full.tar.gz.age", says: "does not open"),
    Attack(
      testDescription: "archives swapped",
      script: "mv $full.tar.gz.age t; mv $incr.tar.gz.age $full.tar.gz.age; mv t $incr.tar.gz.age",
      says: "belongs to another set"),
    Attack(
      testDescription: "manifests swapped",
      script: "mv $full.mtree.gz.age t; mv $incr.mtree.gz.age $full.mtree.gz.age; mv t $incr.mtree.gz.age",
      says: "holds the manifest of another set"),
    Attack(
      testDescription: "a manifest's bytes",
      script: "printf SPOILT | dd of=$incr.mtree.gz.age bs=1 seek=300 conv=notrunc",
      says: "damaged"),
    Attack(
      testDescription: "a manifest for another key",
      script: "age-keygen -o k; age -r $(age-keygen -y k) -o $incr.mtree.gz.age k; rm k",
      says: "does not open with this store's key: damaged, or put there by someone"),
    Attack(
      testDescription: "a plain set slipped in", script: "cp ../../plain/*/* .", verify: 0, restore: 0,
      restoreScript: 0,
      says: "is not encrypted in an encrypted store: passed over"),
    Attack(
      testDescription: "the marker does not say it", script: "sed -i s/requires=age/requires=/ ../sheaf.store",
      restoreScript: 0, says: "its marker does not say so any more"),
    Attack(
      testDescription: "another identity", script: "sed -i s/^uuid=./uuid=x/ ../sheaf.store", verify: 1, restore: 1,
      restoreScript: 0, says: "its key is not here"),
  ]

  /// Never a byte that was not saved where a command ends with 0, and what happened is said.
  @Test(arguments: attacks) private func isNoticed(_ attack: Attack) throws {
    let f = try fixture()
    let plain = Raw(f.scratch.path("plain"))
    let series = Raw(try f.series().splitAtName.name)
    try f.sheaf(["init", "-q", "-s", plain])
    try f.sheaf(["backup", "-q", "-s", plain, "--series", series, Raw(f.source)])
    let key = try key(f)
    let script: Raw = "full=\(Raw(f.points[0].set)) incr=\(Raw(f.points[1].set))\n\(attack.script)"
    try Command("sh", ["-ec", script], in: f.series()).run().checked()
    func expectSaved(_ target: Bytes, _ status: Int32) throws {
      guard status == 0 else { return }
      #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    }
    let verified = try f.sheaf(["verify", "-s", Raw(f.store)], status: attack.verify)
    let target = f.scratch.path("out")
    let restored = try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)], status: attack.restore)
    try expectSaved(target, attack.restore)
    #expect((verified.errorText + restored.errorText).contains(attack.says), "\(verified)\n\(restored)")
    let other = f.scratch.path("by-script")
    let words: [Raw] = [Raw(f.store.joined(Bytes("restore.sh"))), "--key", key, "--to", Raw(other)]
    let byScript = try Command("sh", words).run()
    #expect(byScript.status == attack.restoreScript, "\(byScript)")
    try expectSaved(other, byScript.status)
    for name in ["small", "mid1", "large"] as [Raw] {
      let read = try Command.sheaf(["cat", "-s", Raw(f.store), "\(f.inside)/quaint-name/\(name)"]).run()
      let saved = try Bytes.read(f.source.joined(Bytes("quaint-name")).joined(name.bytes))
      #expect(saved.starts(with: read.stdout), "\(name): \(read.errorText)")
      #expect(read.status != 0 || read.stdout == saved, "\(name): \(read.errorText)")
    }
    try expectNoLies(f)
  }

  /// Whatever can be made of what is left: no file is another one than it was.
  private func expectNoLies(_ f: Fixture) throws {
    let rebuilt = try Command.sheaf(["rebuild", "-s", Raw(f.store)]).run()
    #expect(rebuilt.signal == 0 && [0, 1, 3, 4].contains(rebuilt.status), "\(rebuilt)")
    let target = f.scratch.path("rebuilt")
    let restored = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)]).run()
    guard restored.status == 0 else { return }
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    let trees = f.points.map { $0.tree.differences(to: tree).filter { $0.contains(": contents is ") } }
    #expect(trees.contains([]), "\(rebuilt)\n\(restored)\n\(trees)")
  }

  // MARK: - A store that was plain

  @Test func fromNowOn() throws {
    let f = try Fixture(TestTree(["a": .file("1"), "b": .file("2")]), encrypted: false)
    try f.save()
    try f.edit("echo 3 > a")
    try f.save()
    let said = try f.sheaf(["init", "-s", Raw(f.store), "--encrypt"])
    #expect(said.text.contains("is encrypted from now on"))
    try f.edit("echo 4 > a")
    let first = try f.save()
    #expect(first.kind == "full")
    try f.edit("echo 5 > b")
    #expect(try f.save().kind == "incremental")
    #expect(try f.names().filter { $0.hasSuffix(".age") }.count == 4)
    try f.expectEveryPoint()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    for point in [f.points[1], f.newest] {
      let target = f.scratch.path("mixed-\(point.set)")
      let script = Raw(f.store.joined(Bytes("restore.sh")))
      try Command("sh", [script, "--key", key(f), "--at", Raw(point.set), "--to", Raw(target)]).run().checked()
      #expect(point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    }
    let again = try f.sheaf(["init", "-s", Raw(f.store), "--encrypt"], status: 1)
    #expect(again.errorText.contains("encrypted already"))
  }
}
