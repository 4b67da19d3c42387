/// Stores behind a real ssh server: what it refuses, what it cannot do, and connections that end.
import Glibc
import Posix
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: SSHServer.isPossible, Comment(rawValue: SSHServer.needs))) struct SSHTests {
  private static let tree = TestTree([
    "letters": .directory(["june": .file("hello\n"), "july": .file(size: 300_000, seed: 5)])
  ])

  private func fixture(_ server: SSHServer, store: Bytes? = nil) throws -> Fixture {
    let remote = Remote(address: "sftp://store", options: [], environment: ["SHEAF_SSH": server.command])
    return try Fixture(Self.tree, store: store, remote: remote)
  }

  @Test func aStoreBehindSSH() throws {
    let server = try SSHServer()
    let f = try fixture(server)
    try f.save()
    try f.edit("rm letters/june; echo new > new")
    #expect(try f.save().kind == "incremental")
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
    try f.sheaf(["prune", "--keep-last", "1", "--fold", "-s", f.named])
    try f.reload()
    try f.expectEveryPoint()
    try f.expectScript(f.points)
    // A server does not end a run of its own accord: ssh is killed.
    try f.edit("head -c 80000000 /dev/urandom > large")
    let backup = try Command.sheaf(
      ["backup", "-s", f.named, Raw(f.source)], environment: ["SHEAF_SSH": server.command]
    ).start()
    for _ in 0..<1_000 {
      let found = try Command("find", [Raw(f.store), "-name", "*.tar.gz.partial", "-size", "+4M"]).run()
      if !found.stdout.isEmpty { break }
      usleep(5_000)
    }
    try backup.signalChild(SIGKILL)
    let output = backup.wait()
    #expect(output.status == 0, "\(output)")
    try f.sheaf(["verify", "-q", "-s", f.named])
  }

  /// The user's key and the one that the host is known by, and what is said.
  @Test(
    arguments: [
      ("id", nil, ["Host key verification failed", "run 'ssh store' once by hand"]),
      ("id", "other", ["the host's key has changed", "ssh-keygen -R store"]),
      ("other", "host", ["Permission denied", "ssh-copy-id store"]),
    ] as [(String, String?, [String])])
  func whatSSHRefusesIsSaid(_ key: String, _ known: String?, _ words: [String]) throws {
    let server = try SSHServer()
    try server.writeConfiguration(key: key, known: known)
    // Without a terminal.
    let output = try Command.sheaf(
      ["points", "-s", "sftp://store/x"], environment: ["SHEAF_SSH": server.command], timeout: 30
    ).wrapped(["setsid", "-w"]).run()
    #expect(output.status == 10, "\(output)")
    for word in words { #expect(output.errorText.contains(word), "\(output)") }
  }

  @Test func aShellThatTalksIsSaid() throws {
    let server = try SSHServer(subsystem: "/bin/echo Welcome to this machine")
    let output = try Command.sheaf(
      ["points", "-s", "sftp://store/x"], environment: ["SHEAF_SSH": server.command], timeout: 30
    ).run()
    #expect(output.status == 10, "\(output)")
    #expect(output.errorText.contains("a login script prints something"), "\(output)")
  }

  @Test func anotherWriterIsLockedOut() throws {
    let server = try SSHServer()
    let f = try fixture(server)
    try f.save()
    try f.edit("head -c 60000000 /dev/urandom > large")
    let environment: [String: Raw?] = ["SHEAF_SSH": server.command]
    // On a busy machine the other one takes a while to get there.
    let slowly: [Raw] = ["backup", "--limit-upload", "10M", "-s", f.named, Raw(f.source)]
    let first = try Command.sheaf(slowly, environment: environment).start()
    for _ in 0..<1_000 {
      if try !Command("find", [Raw(f.store), "-name", "*.tar.gz.partial"]).run().stdout.isEmpty { break }
      usleep(5_000)
    }
    let second = try f.sheaf(["backup", "-s", f.named, Raw(f.source)], status: 11)
    #expect(second.errorText.contains("in use by process"), "\(second)")
    #expect(first.wait().status == 0)
    try f.sheaf(["verify", "-q", "-s", f.named])
  }

  /// Mount options of the file system there, and what a run says.
  @Test(
    .enabled(if: Mounted.isPossible, Comment(rawValue: Mounted.needs)),
    arguments: [("full", "No space left on device"), ("read-only", "cannot open")])
  func aDriveThereThatTakesNothing(_ kind: String, _ words: String) throws {
    let server = try SSHServer()
    let place = server.scratch.path("mounted")
    try Descriptor.workingDirectory.makeDirectory(place)
    let mounted = try Mounted(on: place, "size=4m")
    defer { withExtendedLifetime(mounted) {} }
    let f = try fixture(server, store: place.joined(Bytes("store")))
    try f.save()
    try f.edit("head -c 8000000 /dev/urandom > large")
    if kind == "read-only" { try Command("mount", ["-o", "remount,ro", Raw(place)]).run().checked() }
    let output = try f.sheaf(["backup", "-s", f.named, Raw(f.source)], status: 1)
    #expect(output.errorText.contains(words), "\(output)")
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
  }
}
