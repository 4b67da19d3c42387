/// Stores on another machine: every command on them, connections that end, addresses that are none. What lies there is an
/// ordinary store.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct SFTPStoreTests {
  private static let server = "/usr/lib/openssh/sftp-server"

  private static let tree = TestTree([
    "letters": .directory(["june": .file("hello\n"), "july": .file(size: 300_000, seed: 5)]),
    "link": .symlink("letters/june"),
  ])

  @Test func everyCommand() throws { try expectEveryCommand(Fixture(Self.tree, remote: Remote())) }

  private func expectEveryCommand(_ f: Fixture) throws {
    try f.expectThreePoints()
    try f.expectEveryPoint()
    try f.sheaf(["protect", "-s", f.named, Raw(f.points[0].set)])
    try f.expectThinningOut()
    let manifest = try f.manifest(f.newest)
    try Command("rm", [Raw(manifest)]).run().checked()
    try f.sheaf(["rebuild", "-s", f.named])
    #expect(exists(manifest))
    #expect(try f.sheaf(["unlock", "-s", f.named]).text == "nothing is locked\n")
    #expect(try f.sheaf(["identify", "--new", "-s", f.named]).text.contains("from now on"))
    try f.sheaf(["verify", "-q", "-s", f.named])
    // By its path it is the same store, for the script and for the program.
    try f.expectScript(f.points)
    f.remote = nil
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
    try f.edit("echo by path >> new")
    #expect(try f.save().kind == "incremental")
  }

  // MARK: - A server that keeps objects

  private static let rcloneCommand = "rclone serve sftp --stdio / 2>/dev/null"
  private static let rclone = Remote(options: ["--sftp-command", Raw(rcloneCommand)])

  @Test(.enabled(if: Command.find("rclone") != nil, "needs rclone"))
  func everyCommandThroughRclone() throws { try expectEveryCommand(Fixture(Self.tree, remote: Self.rclone)) }

  @Test(.enabled(if: Command.find("rclone") != nil, "needs rclone"), arguments: [false, true])
  func whatWasKilledThroughRcloneIsMadeGood(isEncrypted: Bool) throws {
    let f = try Fixture(Self.tree, encrypted: isEncrypted, remote: Self.rclone)
    // The server of a run that was killed goes on with what it was told to, beside the next run.
    let serving = f.scratch.path("serving")
    try Descriptor.workingDirectory.makeDirectory(serving)
    let mark = "\(serving.shown)/$$"
    f.remote?.options = ["--sftp-command", Raw(": >\(mark); \(Self.rcloneCommand); rm \(mark)")]
    try f.save()
    for round in 1...8 {
      try f.edit("echo \(round) >>letters/june; head -c 6000000 /dev/urandom > large")
      let command = try f.command(["backup", "-s", f.named, "--volume-size", "2M", Raw(f.source)])
      let running = try command.start()
      usleep(useconds_t(60_000 * round))
      running.signal(SIGKILL)
      _ = running.wait()
      try f.save()
      try f.sheaf(["verify", "-q", "-s", f.named])
    }
    try f.expectEveryPoint()
    let deadline = Timestamp.monotonicNanoseconds() + 60_000_000_000
    while try !Command("ls", [Raw(serving)]).run().text.isEmpty, Timestamp.monotonicNanoseconds() < deadline {
      usleep(20_000)
    }
    try f.edit("echo last >>letters/june")
    try f.save()
    let left = try Command("find", [Raw(f.store), "-name", "*.partial*", "-o", "-name", "*.lock.*"]).run().checked()
    #expect(left.text == "")
  }

  @Test func itsFilesAreItsOwnersAlone() throws {
    let f = try Fixture(Self.tree, remote: Remote())
    try f.save()
    let found = try Command("find", [Raw(f.store), "-perm", "/077"]).run().checked()
    #expect(found.text.isEmpty, "\(found)")
    #expect(try Command("find", [Raw(f.store), "-perm", "700", "-type", "f"]).run().text.contains("restore.sh"))
  }

  // MARK: - What ends in the middle

  /// A connection that carries so many bytes to the server; `then`: what the next ones do.
  private func cut(_ f: Fixture, after count: Int, then: String) -> Raw {
    let pass =
      "python3 -c 'import os; n = \(count)\nwhile n: b = os.read(0, min(n, 65536)); os.write(1, b); n -= len(b) or n'"
    let mark = f.scratch.path("once").shown
    return Raw("if [ -e \(mark) ]; then \(then); else : >\(mark); \(pass) | \(Self.server); fi")
  }

  @Test func aLostConnectionIsMadeAnew() throws {
    let f = try Fixture(Self.tree, remote: Remote())
    try f.edit("head -c 5000000 /dev/urandom > large")
    f.remote?.options = ["--sftp-command", cut(f, after: 2_000_000, then: "exec \(Self.server)")]
    try f.save()
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
  }

  @Test func oneThatStaysLostEndsTheRunAndTheNextGoesOn() throws {
    let f = try Fixture(Self.tree, remote: Remote())
    try f.save()
    try f.edit("for i in 1 2 3 4 5 6 7 8; do head -c 8000000 /dev/urandom > large$i; done")
    f.remote?.options = [
      "--retry-for", "0s", "--sftp-command", cut(f, after: 50_000_000, then: "echo no way through >&2; exit 255"),
    ]
    let output = try f.sheaf(["backup", "-s", f.named, Raw(f.source)], status: 1)
    #expect(output.errorText.contains("no way through"), "\(output)")
    #expect(output.errorText.contains("when that machine can be reached"), "\(output)")
    f.remote = Remote()
    try f.sheaf(["verify", "-q", "-s", f.named])
    let next = try f.sheaf(["backup", "-s", f.named, Raw(f.source)])
    #expect(next.errorText.contains("an interrupted run had saved"), "\(next)")
    try f.sheaf(["verify", "-q", "-s", f.named])
    let target = try f.restore()
    #expect(try Snapshot(of: f.source).differences(to: Snapshot(of: target.joined(f.inside.bytes))) == [])
    try f.expectEveryPoint()
  }

  @Test func aRunThatWasKilledIsTakenOver() throws {
    let f = try Fixture(Self.tree, remote: Remote())
    try f.edit("for i in 1 2 3 4 5 6 7 8; do head -c 20000000 /dev/urandom > large$i; done")
    let running = try Command.sheaf(
      ["backup", "-q", "-s", f.named, "--sftp-command", Raw(Self.server), "--series", "me", Raw(f.source)]
    ).start()
    let archive = f.store.joined(Bytes("me"))
    for _ in 0..<2_000 {
      let found = try Command("find", [Raw(archive), "-name", "*.tar.gz.partial", "-size", "+60M"]).run()
      if !found.stdout.isEmpty { break }
      usleep(10_000)
    }
    running.signal(SIGKILL)
    #expect(running.wait().signal == SIGKILL)
    let next = try f.sheaf(["backup", "-s", f.named, "--series", "me", Raw(f.source)])
    #expect(next.errorText.contains("an interrupted run had saved"), "\(next)")
    try f.sheaf(["verify", "-q", "-s", f.named])
    let target = try f.restore()
    #expect(try Snapshot(of: f.source).differences(to: Snapshot(of: target.joined(f.inside.bytes))) == [])
  }

  // MARK: - Locks of other machines

  private static let otherLock = "lock.elsewhere_m0123456789abcdef_n1_t1_f0_fedcba9876543210_77"

  /// Minutes since its holder was heard of, where it lies, and how a run ends.
  @Test(arguments: [(29, "me", 11), (31, "me", 0), (31, ".", 0), (29, ".", 0), (-600, "me", 11)])
  func aLockIsLeftWhenNothingIsHeardOfItsHolder(_ minutes: Int, _ folder: String, _ status: Int32) throws {
    let f = try Fixture(Self.tree, remote: Remote())
    try f.sheaf(["backup", "-q", "-s", f.named, "--series", "me", Raw(f.source)])
    let lock = f.store.joined(Bytes("\(folder)/\(Self.otherLock)".utf8))
    try Command("touch", ["-d", "\(minutes) minutes ago", Raw(lock)]).run().checked()
    let output = try f.sheaf(["backup", "-s", f.named, "--series", "me", Raw(f.source)], status: status)
    #expect(exists(lock) == (minutes < 30))
    if status == 11 { #expect(output.errorText.contains("in use by process 77 on elsewhere"), "\(output)") }
  }

  // MARK: - An interrupt while another machine is waited for

  /// What speaks instead of a server, and within how many seconds the run is over.
  @Test(arguments: [
    ("exec sleep 60", 2), ("trap '' INT TERM; sleep 60 & wait", 2),
    ("if [ -e MARK ]; then exit 255; fi; : >MARK; PASS | SERVER", 2),
    ("{ PASS; sleep 60; } | SERVER", 8),
  ])
  func anInterruptEndsTheWaiting(_ command: String, _ seconds: Int64) throws {
    let f = try Fixture(Self.tree, remote: Remote())
    let pass =
      "python3 -c 'import os; n = 700\nwhile n: b = os.read(0, min(n, 65536)); os.write(1, b); n -= len(b) or n'"
    let text = command.replacing("MARK", with: f.scratch.path("once").shown).replacing("PASS", with: pass)
      .replacing("SERVER", with: Self.server)
    let running = try Command.sheaf(["backup", "-s", f.named, "--sftp-command", Raw(text), Raw(f.source)]).start()
    usleep(1_500_000)
    let start = Timestamp.monotonicNanoseconds()
    running.signal(SIGINT)
    let output = running.wait()
    #expect(output.status == 130, "\(output)")
    #expect((Timestamp.monotonicNanoseconds() - start) / 1_000_000_000 <= seconds, "\(output)")
  }

  @Test func anUnencryptedStoreThereIsSaidOnce() throws {
    try Scratch.with { scratch in
      for (name, more, isSaid) in [("a", [], true), ("b", ["--encrypt"], false)] as [(Raw, [Raw], Bool)] {
        let store = Raw("sftp://nas\(scratch.path(name).shown)")
        let output = try Command.sheaf(["init", "-s", store, "--sftp-command", Raw(Self.server)] + more).run().checked()
        #expect(output.errorText.contains("whoever runs that machine can read") == isSaid, "\(output)")
      }
    }
  }

  // MARK: - What a machine remembers

  @Test func statusAsksNobodyUnlessItIsToldTo() throws {
    let f = try Fixture(Self.tree, remote: Remote())
    let asked = f.scratch.path("asked")
    f.remote?.options = ["--sftp-command", Raw("echo x >>\(asked.shown); exec \(Self.server)")]
    f.remote?.environment["XDG_STATE_HOME"] = Raw(f.scratch.path("state"))
    try f.save()
    try f.sheaf(["verify", "-q", "-s", f.named])
    let count = try Bytes.read(asked).count
    let plain = try f.sheaf(["status"])
    #expect(plain.text.contains("on another machine, last seen"), "\(plain)")
    #expect(plain.text.contains(" at \(f.named.bytes.shown)\n"), "\(plain)")
    let told = try f.sheaf(["status", "--at", "latest"])
    #expect(told.text.contains("\(f.newest.set) is on "), "\(told)")
    let row = try #require(try f.sheaf(["status", "--json"]).json().first)
    #expect(row["remote"] as? Bool == true)
    #expect(row["plugged_in"] as? Bool == nil)
    #expect(try Bytes.read(asked).count == count)
    #expect(try f.sheaf(["status", "--check"]).text.contains("reachable at \(f.named.bytes.shown)"))
    #expect(try Bytes.read(asked).count == count + 2)
    f.remote?.options = ["--sftp-command", "echo nobody here >&2; exit 255"]
    let away = try f.sheaf(["status", "--check"])
    #expect(away.text.contains("not reachable (") && away.text.contains("nobody here"), "\(away)")
  }

  // MARK: - What is said

  struct Said: Sendable, CustomTestStringConvertible {
    let store: Raw
    /// Instead of ssh.
    var command: Raw?
    let status: Int32
    /// What stands in the message and in its hint.
    let words: [String]
    var testDescription: String { "\(store) \(command.map { "\($0)" } ?? "")" }

    init(_ store: Raw, _ status: Int32, _ words: String..., by command: Raw? = nil) {
      (self.store, self.command, self.status, self.words) = (store, command, status, words)
    }
  }

  private static let failures = [
    Said("sftp://me:secret@nas/x", 64, "takes no password", "ssh-copy-id"),
    Said("sftp://nas", 64, "names no folder", "sftp://nas/path"),
    Said("sftp:///x", 64, "is no address"),
    Said("sftp://na s/x", 64, "is no address"),
    Said("sftp://nas:0/x", 64, "'0' is no port"),
    Said("sftp://nas:ssh/x", 64, "'ssh' is no port"),
    Said("sftp://nas:65536/x", 64, "'65536' is no port"),
    Said("sftp://-oProxyCommand=x/x", 64, "cannot be a host's or a user's name"),
    Said("sftp://-l@nas/x", 64, "cannot be a host's or a user's name"),
    Said("sftp://nas/%zz", 64, "'%' that is not followed by two"),
    Said("sftp://nas/a%00", 64, "'%' that is not followed by two"),
    Said("sftp://nas/%+1", 64, "'%' that is not followed by two"),
    Said("sftp://::1/x", 64, "an IPv6 address in brackets"),
    Said("sftp://[::1/x", 64, "an IPv6 address in brackets"),
    Said("sftp://nosuchhost.invalid/x", 10, "Could not resolve hostname", "check the host's name"),
    Said("sftp://127.0.0.1:1/x", 10, "Connection refused", "is the machine on"),
    Said("sftp://nas/no/such", 10, "no store at sftp://nas/no/such", "'sheaf status' shows", by: Raw(server)),
    Said("sftp://nas/etc/passwd", 10, "Not a directory", by: Raw(server)),
    Said("sftp://nas/x", 10, "a login script prints something", by: "echo Welcome; exec \(server)"),
    Said("sftp://nas/x", 10, "Host key verification failed", by: "echo Host key verification failed. >&2; exit 255"),
    Said("sftp://nas/x", 10, "it ended without an answer", by: "exit 3"),
    Said("sftp://nas/x", 10, "not found", by: "exec no-such-program"),
  ]

  @Test(arguments: failures) func whatCannotBeOpenedIsSaid(_ row: Said) throws {
    let options: [Raw] = row.command.map { ["--sftp-command", $0] } ?? []
    let output = try Command.sheaf(["points", "-s", row.store] + options).run()
    #expect(output.status == row.status, "\(output)")
    for words in row.words { #expect(output.errorText.contains(words), "\(output)") }
    #expect(!output.errorText.contains("secret"))
  }

  /// ssh's last words, and what may help.
  @Test(arguments: [
    ("Host key verification failed.", "run 'ssh nas' once by hand"),
    ("me@nas: Permission denied (publickey,password).", "ssh"),
    ("ssh: connect to host nas port 22: No route to host", "is the machine on"),
    ("subsystem request failed on channel 0", "offers no sftp"),
  ]) func whatHelpsWithSSHIsSaid(_ last: String, _ hint: String) throws {
    try Scratch.with { scratch in
      try scratch.write("ssh", Raw("#!/bin/sh\necho first >&2\necho '\(last)' >&2\nexit 255\n"))
      try Command("chmod", ["+x", Raw(scratch.path("ssh"))]).run().checked()
      let output = try Command.sheaf(
        ["points", "-s", "sftp://nas/x"], environment: ["SHEAF_SSH": Raw(scratch.path("ssh"))]
      ).run()
      #expect(output.status == 10)
      #expect(output.errorText.contains("sftp://nas/x: \(last)\nhint: "), "\(output)")
      #expect(output.errorText.contains(hint), "\(output)")
    }
  }

  /// The words that ssh is given.
  @Test(arguments: [
    ("sftp://nas/x", "-s -- nas sftp"), ("sftp://me@nas:2222/x", "-p 2222 -l me -s -- nas sftp"),
    ("SFTP://a%40b@[fe80::1%25eth0]:22/~/x", "-p 22 -l a@b -s -- fe80::1%eth0 sftp"),
  ]) func howSSHIsCalled(_ store: Raw, _ words: String) throws {
    try Scratch.with { scratch in
      try scratch.write("ssh", Raw("#!/bin/sh\nshift\necho \"$@\" >&2\nexit 255\n"))
      try Command("chmod", ["+x", Raw(scratch.path("ssh"))]).run().checked()
      let output = try Command.sheaf(
        ["points", "-s", store], environment: ["SHEAF_SSH": "\(scratch.path("ssh"))  -4"]
      ).run()
      #expect(output.errorText.contains("-oServerAliveInterval=15 -oServerAliveCountMax=3"), "\(output)")
      #expect(output.errorText.contains(words + "\n"), "\(output)")
    }
  }

  @Test func initRefusesWhatItCannotMake() throws {
    let f = try Fixture(remote: Remote())
    for (store, status, words) in [
      (f.named, 1, "there is a store at"), ("\(f.named)/in/it", 64, "would lie in the store \(f.named.bytes.shown)\n"),
      ("sftp://server/no/such/folder", 1, "the folder above it is not there"),
      ("sftp://server/proc/x", 1, "cannot make directory"),
      ("me@nas:/backup", 64, "write sftp://me@nas/backup"), ("nas:backup", 64, "sftp://nas/~/backup"),
      ("ssh://nas/x", 64, "sftp://USER@HOST/PATH"),
      ("sftp:ann@nas:/backups/ann", 64, "hint: write sftp://ann@nas/backups/ann\n"),
      ("sftp:ann@nas:backups", 64, "hint: write 'sftp://ann@nas/~/backups'\n"),
      ("sftp:[::1]:/x", 64, "hint: write 'sftp://[::1]/x'\n"),
      ("sftp:ann:secret@nas:/x", 64, "hint: write sftp://[user@]host[:port]/path\n"),
      ("s3:nas.example/bucket/ann", 64, "hint: write s3://bucket/ann --s3-endpoint https://nas.example\n"),
      ("s3:http://nas:9000/bucket/", 64, "hint: write s3://bucket --s3-endpoint http://nas:9000\n"),
      ("s3:s3.amazonaws.com/bucket/ann", 64, "hint: write s3://bucket/ann\n"),
      ("rest:https://ann:secret@nas/", 64, "no such kind of store: rest\nhint: there are directories, sftp://"),
      ("b2:bucket:x", 64, "no such kind of store: b2\n"), ("azure:x:/", 64, "no such kind of store: azure\n"),
      ("gs:x:/", 64, "no such kind of store: gs\n"), ("swift:x:/", 64, "no such kind of store: swift\n"),
      (
        "rclone:box:ann", 64,
        "sftp://rclone/ann --sftp-command 'rclone serve sftp --stdio box:': see sheaf-stores(7)\n"
      ),
    ] as [(Raw, Int32, String)] {
      let output = try f.sheaf(["init", "-s", store], status: status)
      #expect(output.errorText.contains(words), "\(output)")
    }
    #expect(!exists(f.store.joined(Bytes("in"))))
  }

  /// Below the home folder, with bytes that an address has to write otherwise.
  @Test func belowTheHomeFolder() throws {
    try Scratch.with { scratch in
      let options: [Raw] = ["--sftp-command", "cd '\(scratch.path)' && exec \(server)"]
      let made = try Command.sheaf(["init", "-s", "sftp://nas/~/a%20b%25"] + options).run().checked()
      #expect(made.text.contains("sheaf backup -s 'sftp://nas/~/a%20b%25' --sftp-command 'cd '"), "\(made)")
      #expect(exists(scratch.path("a b%/sheaf.store")))
      let other = try Command.sheaf(
        ["identify"] + options, environment: ["SHEAF_STORE": "sftp://nas/~/./a b%25/"]
      ).run()
      #expect(other.status == 0, "\(other)")
    }
  }

  private var server: String { Self.server }
}
