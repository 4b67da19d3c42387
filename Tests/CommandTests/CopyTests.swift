/// `sheaf copy`: sets of one store in another, of whatever kinds.
import Glibc
import Posix
import TestSupport
import Testing

/// From what to what, and whether that can be.
struct CopyWay: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var fromEncrypted = false
  var fromRemote = false
  var toEncrypted = false
  var toRemote = false
  var isRefused = false

  static let all = [
    CopyWay(testDescription: "plain to plain"),
    CopyWay(testDescription: "plain to sftp", toRemote: true),
    CopyWay(testDescription: "sftp to plain", fromRemote: true),
    CopyWay(testDescription: "plain to encrypted", toEncrypted: true),
    CopyWay(testDescription: "encrypted to encrypted", fromEncrypted: true, toEncrypted: true),
    CopyWay(testDescription: "encrypted to encrypted by sftp", fromEncrypted: true, toEncrypted: true, toRemote: true),
    CopyWay(testDescription: "encrypted to plain", fromEncrypted: true, isRefused: true),
  ]
}

@Suite struct CopyTests {
  private static let tree = TestTree([
    "letters": .directory(["june": .file("hello\n"), "july": .file(size: 3_000_000, seed: 5)]),
    "link": .symlink("letters/june"),
  ])

  private func other(_ f: Fixture, _ way: CopyWay, _ name: Raw = "other") throws -> Raw {
    let place = f.scratch.path(name)
    let named = way.toRemote ? Raw("sftp://server\(place.shown)") : Raw(place)
    let server: [Raw] = ["--sftp-command", "/usr/lib/openssh/sftp-server"]
    try f.sheaf(["init", "-q", "-s", named] + (way.toEncrypted ? ["--encrypt"] : []) + (f.remote == nil ? server : []))
    return named
  }

  private func fixture(_ way: CopyWay) throws -> Fixture {
    let f = try Fixture(Self.tree, encrypted: way.fromEncrypted, remote: way.fromRemote ? Remote() : nil)
    try f.save(["--volume-size", "2M"])
    try f.edit("rm letters/june; mv letters/july letters/august; echo new > new")
    try f.save()
    try f.edit("echo more >> new")
    try f.save()
    return f
  }

  private func copy(_ f: Fixture, to store: Raw, _ more: [Raw] = [], status: Int32 = 0) throws -> Output {
    let server: [Raw] = f.remote == nil ? ["--sftp-command", "/usr/lib/openssh/sftp-server"] : []
    return try f.sheaf(["copy", "-s", f.named, "--to", store] + server + more, status: status)
  }

  /// The other store has these points, and each is whole.
  private func expect(_ store: Raw, _ f: Fixture, _ points: [Fixture.Point], isEncrypted: Bool = false) throws {
    let path = store.bytes.starts(with: Bytes("sftp:")) ? Bytes(store.bytes.dropFirst(13)) : store.bytes
    let g = try Fixture(f, store: path, encrypted: isEncrypted, points: points)
    try g.sheaf(["verify", "-q", "-s", g.named])
    let shown = try g.sheaf(["points", "--json", "-s", g.named]).json()
    #expect(shown.compactMap { $0["set"] as? String } == points.map(\.set))
    try g.expectEveryPoint()
    try g.expectScript(points)
  }

  @Test(arguments: CopyWay.all) func everyWay(_ way: CopyWay) throws {
    let f = try fixture(way)
    let store = try other(f, way)
    if way.isRefused {
      let output = try copy(f, to: store, status: 64)
      #expect(output.errorText.contains("is encrypted and"), "\(output)")
      #expect(try Command("find", [store, "-name", "*.gz*"]).run().stdout.isEmpty)
      return
    }
    #expect(try copy(f, to: store).text.contains("copied 3 sets"))
    try expect(store, f, f.points, isEncrypted: way.toEncrypted)
    #expect(try copy(f, to: store).text.contains("copied 0 sets"))
    try f.edit("echo again >> new")
    try f.save()
    let again = try copy(f, to: store, ["--json"]).json()
    #expect(again.last?["sets"] as? Int == 1)
    #expect(again.last?["points_there"] as? Int == 3)
    try expect(store, f, f.points, isEncrypted: way.toEncrypted)
  }

  @Test func onePointComesWithWhatItNeeds() throws {
    let f = try fixture(CopyWay.all[0])
    let store = try other(f, CopyWay.all[0])
    let would = try copy(f, to: store, ["-n", "--at", Raw(f.points[1].set)])
    #expect(would.text.contains("would copy 2 sets"), "\(would)")
    #expect(!exists(store.bytes.joined(Bytes(Host.name()))))
    try copy(f, to: store, ["--at", Raw(f.points[1].set)]).checked()
    try expect(store, f, Array(f.points[..<2]))
    try copy(f, to: store, ["--since", Raw(f.points[2].set)]).checked()
    try expect(store, f, f.points)
  }

  /// What lies there goes on by itself: nothing of it is touched.
  @Test func pointsOfAnotherHistoryAreLeftAlone() throws {
    let f = try fixture(CopyWay.all[0])
    let store = try other(f, CopyWay.all[0])
    try copy(f, to: store, ["--at", Raw(f.points[1].set)]).checked()
    usleep(1_100_000)
    try f.sheaf(["backup", "-q", "-s", store])
    func files() throws -> [String] {
      try Command("sh", ["-c", "find . -type f | sort | xargs sha256sum"], in: store.bytes).run().checked().lines
    }
    let before = try files()
    let output = try copy(f, to: store, status: 3)
    // Its point may have the very name of the one that comes.
    let isSaid = ["goes on with points of its own", "nothing is replaced"].contains { output.errorText.contains($0) }
    #expect(isSaid, "\(output)")
    #expect(try files() == before)
  }

  /// Another set stands for a point there, which holds no file under the identity of the one here.
  @Test(arguments: ["mv letters/august letters/moved", "chmod 600 letters/august", "ln letters/august other"])
  func anotherSetForThePoint(edit: Raw) throws {
    let f = try fixture(CopyWay.all[0])
    let store = try other(f, CopyWay.all[0])
    try copy(f, to: store).checked()
    try f.sheaf(["consolidate", "-q", "-s", store])
    try f.sheaf(["prune", "-q", "-s", store, "--keep-last", "1"])
    try f.edit(edit)
    try f.save()
    try copy(f, to: store).checked()
    try f.sheaf(["verify", "-q", "-s", store])
    let out = f.scratch.path("out")
    try f.sheaf(["restore", "-q", "-s", store, "--to", Raw(out)])
    #expect(f.newest.tree.differences(to: try Snapshot(of: out.joined(f.inside.bytes))) == [])
  }

  /// Two drives, saved to in the same second: the same name and the same contents, and yet two sets.
  @Test func aTwinOfTheSameName() throws {
    let f = try Fixture(TestTree(["large": .file(Raw([UInt8](repeating: 7, count: 3_000_000)))]))
    let store = try other(f, CopyWay.all[0])
    func points(_ store: Raw) throws -> [String] {
      try f.sheaf(["points", "--json", "-s", store]).json().compactMap { $0["set"] as? String }
    }
    for _ in 0..<20 where try f.points.isEmpty || points(store).last != f.points.last?.set {
      try f.sheaf(["backup", "-q", "--full", "-s", store, Raw(f.source)])
      try f.save(["--full"])
    }
    try #require(points(store).last == f.points.last?.set)
    try f.edit("mv large moved")
    try f.save()
    let output = try copy(f, to: store, ["--at", "latest"], status: 3)
    #expect(output.errorText.contains("another set has the name"), "\(output)")
    try f.sheaf(["verify", "-q", "-s", store])
  }

  @Test func whatIsDamagedIsSaidAndTheRestCopied() throws {
    let f = try fixture(CopyWay.all[0])
    try f.edit("head -c 100000 /dev/urandom > whole")
    try f.save(["--full"])
    let store = try other(f, CopyWay.all[0])
    let archive = try f.archive(f.points[1])
    try Command("dd", ["if=/dev/zero", Raw("of=\(archive.shown)"), "bs=1", "seek=60", "count=9", "conv=notrunc"]).run()
      .checked()
    let output = try copy(f, to: store, status: 3)
    #expect(output.errorText.contains("\(f.points[1].set) was not copied: "), "\(output)")
    #expect(output.errorText.contains("its digest is not what its manifest says"), "\(output)")
    #expect(output.errorText.contains("\(f.points[2].set) was not copied: it needs \(f.points[1].set)"), "\(output)")
    try expect(store, f, [f.points[0], f.points[3]])
  }

  /// Also where what was left is not what was sent.
  @Test(arguments: [false, true]) func whatWasKilledIsGoneOnWith(_ isChanged: Bool) throws {
    let f = try Fixture(Self.tree)
    try f.edit("head -c 60000000 /dev/urandom > large")
    try f.save()
    let store = try other(f, CopyWay.all[0])
    let running = try Command.sheaf(["copy", "-s", f.named, "--to", store]).start()
    var partial = ""
    for _ in 0..<2_000 where partial.isEmpty {
      partial = try Command("find", [store, "-name", "*.tar.gz.partial", "-size", "+8M"]).run().text
      usleep(2_000)
    }
    running.signal(SIGKILL)
    #expect(running.wait().signal == SIGKILL)
    let path = Bytes(partial.split(separator: "\n").first.map { String($0) }?.utf8 ?? "".utf8)
    try #require(!path.isEmpty)
    if isChanged {
      try Command("dd", ["if=/dev/zero", Raw("of=\(path.shown)"), "bs=1", "seek=600", "count=9", "conv=notrunc"]).run()
        .checked()
    }
    let next = try copy(f, to: store)
    #expect(next.text.contains("copied 1 set"), "\(next)")
    try expect(store, f, f.points)
    #expect(try Command("find", [store, "-name", "*.partial", "-o", "-name", "lock.*"]).run().stdout.isEmpty)
  }

  @Test func whatCannotBeIsSaid() throws {
    let f = try fixture(CopyWay.all[0])
    for (more, words) in [
      (["--to", f.named], "cannot be copied to itself"), (["--to", "sftp://"], "is no address"),
      (["--to", f.named, "--at", "latest", "--since", "1d"], "choose one"),
    ] as [([Raw], String)] {
      let output = try f.sheaf(["copy", "-s", f.named] + more, status: 64)
      #expect(output.errorText.contains(words), "\(output)")
    }
    let output = try f.sheaf(["copy", "-s", f.named, "--to", Raw(f.scratch.path("none"))], status: 10)
    #expect(output.errorText.contains("no store at"), "\(output)")
  }
}
