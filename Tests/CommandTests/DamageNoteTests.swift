/// Damage that verify found is not forgotten until it is mended or gone.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct DamageNoteTests {
  /// A full set with a damaged file, an incremental one that needs it, and a memory.
  private func damaged() throws -> (Fixture, archive: Bytes, good: Bytes) {
    let f = try Fixture(TestTree(["f": .file(size: 300_000, seed: 1), "g": .file("g")]))
    try run(f, ["backup", Raw(f.source)])
    let archive = try f.series().joined(Bytes(try #require(f.names().first { $0.hasSuffix(".tar.gz") }).utf8))
    try f.edit("echo g2 >g")
    try run(f, ["backup"])
    let good = try Bytes.read(archive)
    try flip(archive)
    #expect(try run(f, ["verify"], status: 4).text.contains("'sheaf backup -s \(f.store.shown) --full' begins"))
    return (f, archive, good)
  }

  private func flip(_ archive: Bytes) throws {
    let file = try Descriptor.open(archive, .readWrite)
    let byte = try file.read(count: 1, at: 150_000)[0] ^ 0x55
    try [byte].withUnsafeBytes { try file.write($0, at: 150_000) }
  }

  @discardableResult
  private func run(
    _ f: Fixture, _ arguments: [Raw], status: Int32 = 0, state: String = "state", at: SourceLocation = #_sourceLocation
  ) throws -> Output {
    let store: [Raw] = arguments[0] == "status" ? [] : ["-s", Raw(f.store)]
    let output = try Command.sheaf(
      arguments + store, environment: ["XDG_STATE_HOME": Raw(f.scratch.path(Raw(state)))]
    ).run()
    #expect(output.status == status, "\(output)", sourceLocation: at)
    return output
  }

  /// Where a list is damaged, nothing of the points that need it comes back before a rebuild, which is said.
  @Test func pointsWithoutTheirLists() throws {
    let f = try Fixture(TestTree(["f": .file(size: 300_000, seed: 1), "g": .file("g")]))
    try f.save()
    for round in 1...3 {
      try f.edit("seq \(round) 4000 >list; head -c 300000 /dev/urandom >f")
      try f.save()
    }
    let sets = f.points.map(\.set)
    try flip(f.series().joined(Bytes("\(sets[3]).tar.gz".utf8)))
    let manifest = f.scratch.path("manifest")
    let lists = try f.series().joined(Bytes("\(sets[2]).mtree.gz".utf8))
    let text = try Bytes.read(lists)
    try Descriptor.open(manifest, [.write, .create]).write(text)
    var torn = text
    torn[text.count / 3] ^= 0xff
    try Descriptor.open(lists, [.write, .truncate]).write(torn)
    let output = try run(f, ["verify"], status: 4)
    for set in sets[2...] { #expect(output.text.contains("\(set)  (cannot be restored"), "\(output)") }
    #expect(output.text.contains("the newest point that can be restored is \(sets[1])"), "\(output)")
    #expect(!output.text.contains("what is not damaged still comes back"), "\(output)")
    try run(f, ["restore", "--at", Raw(sets[2]), "--to", Raw(f.scratch.path("no"))], status: 4)
    try run(f, ["restore", "--at", Raw(sets[1]), "--to", Raw(f.scratch.path("yes"))])
    try Descriptor.open(lists, [.write, .truncate]).write(text)
    #expect(try run(f, ["verify"], status: 4).text.contains("what is not damaged still comes back"))
  }

  /// Here, and on another machine, which has the store's note alone.
  @Test(arguments: ["state", "elsewhere"]) func whoTellsOfIt(state: String) throws {
    let (f, _, _) = try damaged()
    let rows: [(command: [Raw], status: Int32)] = [
      (["points"], 4), (["ls"], 0), (["restore", "-n", "--to", Raw(f.scratch.path("x"))], 0),
      (["verify", "--quick"], 4),
      (["verify", "--quick", "--at", "latest"], 4), (["backup"], 3), (["backup", "-q"], 3),
    ]
    for (command, status) in rows {
      let output = try run(f, command, status: status, state: state)
      #expect(output.errorText.contains("found damage"), "\(output)")
      #expect(!output.text.contains("no damage"), "\(output)")
    }
    #expect(try run(f, ["status"], state: state).text.contains("damage found"))
    let points = try run(f, ["points", "--json"], status: 4, state: state).json()
    #expect(points.filter { $0["damaged"] is String }.count == 4, "the points that need the file, of later runs too")
    // A chain that does not build on it is not concerned.
    #expect(try run(f, ["backup", "--full"], state: state).errorText.contains("found damage in older sets"))
    #expect(try run(f, ["backup"], state: state).errorText.contains("found damage in older sets"))
    let verify = try run(f, ["verify"], status: 4, state: state)
    #expect(verify.text.contains("the newest point is not touched"), "\(verify)")
    // It goes with its sets.
    try run(f, ["prune", "-q", "--keep-last", "1"], state: state)
    for command in [["points"], ["verify", "--quick"], ["backup"], ["ls"]] as [[Raw]] {
      #expect(try run(f, command, state: state).errorText == "")
    }
    #expect(try !run(f, ["status"], state: state).text.contains("damage found"))
  }

  @Test func aVerifyThatFindsNone() throws {
    let (f, archive, good) = try damaged()
    #expect(try f.names().contains("damage.txt"))
    try Descriptor.open(archive, .write).write(good)
    // A quick one does not look, and one of another scope does not know.
    try run(f, ["verify", "--quick"], status: 4)
    try run(f, ["points"], status: 4)
    #expect(try run(f, ["verify", "--at", "latest"]).text.contains("no damage"))
    #expect(try !f.names().contains("damage.txt"))
    for command in [["points"], ["verify", "--quick"], ["backup"]] as [[Raw]] {
      #expect(try run(f, command).errorText == "")
    }
  }

  /// What cannot be written there is remembered here.
  @Test(.enabled(if: Scratch.allowsEverything, "only root can mount")) func aStoreThatCannotBeWritten() throws {
    let f = try Fixture(TestTree(["f": .file(size: 300_000, seed: 1)]))
    try run(f, ["backup", Raw(f.source)])
    let archive = try f.series().joined(Bytes(try #require(f.names().first { $0.hasSuffix(".tar.gz") }).utf8))
    try flip(archive)
    let bind: Raw = "mount --bind \"$0\" \"$0\"; mount -o remount,ro,bind \"$0\""
    guard try Command("sh", ["-ec", bind, Raw(f.store)]).run().succeeded else { return }
    try run(f, ["verify"], status: 4)
    try Command("umount", ["-l", Raw(f.store)]).run().checked()
    #expect(try !f.names().contains("damage.txt"))
    try run(f, ["points"], status: 4)
    try run(f, ["verify", "--quick"], status: 4)
    try flip(archive)
    try run(f, ["verify"])
    try run(f, ["points"])
  }

  @Test func aNoteThatIsNone() throws {
    let (f, archive, good) = try damaged()
    try Descriptor.open(archive, .write).write(good)
    let names = try f.series()
    for text in ["", "found\n", "found x 1 2 3\n", "touched\n", "found \(String(repeating: "9", count: 5000)) 1 y z\n"]
    {
      let note = try Descriptor.open(names.joined(Bytes("damage.txt")), [.write, .truncate, .create])
      try note.write(Bytes(text.utf8))
      #expect(try run(f, ["points"]).errorText == "")
    }
    unlink(names.joined(Bytes("damage.txt")).shown)
    #expect(mkfifo(names.joined(Bytes("damage.txt")).shown, 0o600) == 0)
    try run(f, ["points"])
    try run(f, ["backup"])
  }

  // MARK: Readers beside removals

  /// Reads while somebody prunes; stopped where it has begun.
  @Test(arguments: [["verify"], ["restore", "--to"]] as [[Raw]]) func aReaderBesideAPrune(command: [Raw]) throws {
    for delay in [0, 3_000, 20_000, 60_000] as [UInt32] {
      let f = try Fixture(TestTree(["f": .file(size: 20_000_000, seed: 1)]))
      try f.save(["--full"])
      try f.edit("echo more >g")
      try f.save()
      try f.edit("echo still >h")
      try f.save()
      let more: [Raw] = command.count > 1 ? [Raw(f.scratch.path("to"))] : []
      let reader = try Command.sheaf(command + more + ["-s", Raw(f.store)]).start()
      usleep(delay)
      reader.signal(SIGSTOP)
      let prune = try Command.sheaf(["prune", "-q", "--fold", "--keep-last", "1", "-s", Raw(f.store)]).start()
      if command.count == 1 { #expect(prune.wait().status == 0) } else { usleep(300_000) }
      reader.signal(SIGCONT)
      let output = reader.wait()
      #expect(output.status == 0 && !output.errorText.contains("damage"), "\(output)")
      let pruned = prune.wait()
      #expect(pruned.status == 0, "\(pruned)")
      try f.reload()
      #expect(f.points.count == 1)
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    }
  }

  /// Stopped in the middle of its output, each is given what it goes on to need.
  @Test(
    arguments: [
      ["ls", "-R"], ["find", "*"], ["cat", "many/large"], ["export"], ["manifest"], ["diff"], ["diff", "--live"],
    ] as [[Raw]])
  func aReaderThatIsInTheMiddle(command: [Raw]) throws {
    let f = try Fixture(TestTree(["many": .directory(["large": .file(size: 3_000_000, seed: 1)])]))
    try f.edit("cd many; seq -f '%0200.0f' 2000 | xargs touch")
    try f.save()
    try f.edit("cd many; rm *1; echo 2 >>large")
    try f.save()
    try f.edit("cd many; touch ./0*")
    try f.save()
    try f.edit("cd many; touch -d @1000000000 ./0*")
    try Command("mkfifo", ["fifo"], in: f.scratch.path).run().checked()
    let program = Raw(try Command.sheafBinary())
    let path: [Raw] = command.map { $0 == "many/large" ? "\(Raw(f.source))/\($0)" : $0 }
    let reader = try Command(
      "sh", ["-c", "exec \"$0\" \"$@\" >fifo", program, path[0], "-s", Raw(f.store)] + path.dropFirst(),
      environment: ["HOME": Raw?.none, "XDG_STATE_HOME": Raw?.none], in: f.scratch.path
    ).start()
    let output = try Command(
      "sh", ["-c", "exec 3<fifo; touch opened; until [ -e go ]; do sleep 0.1; done; cat <&3 | wc -c"],
      in: f.scratch.path
    ).start()
    while !exists(f.scratch.path("opened")) { usleep(10_000) }
    usleep(500_000)
    #expect(reader.isRunning)
    let before = try f.names()
    let prune = try Command.sheaf(["prune", "-q", "--keep-last", "1", "--fold", "-s", Raw(f.store)]).start()
    usleep(1_500_000)
    let during = try f.names()
    #expect(Set(before).isSubset(of: during), "\(during)")
    try f.scratch.write("go", "")
    let ended = reader.wait()
    #expect(ended.status == 0 && ended.stderr.isEmpty, "\(ended)")
    #expect(Int(output.wait().lines.first ?? "") ?? 0 > 100_000)
    let pruned = prune.wait()
    #expect(pruned.status == 0, "\(pruned)")
    try f.reload()
    #expect(f.points.count == 1)
  }

  /// Nobody is kept from saving by somebody who restores.
  @Test func aReaderBesideABackup() throws {
    let f = try Fixture(TestTree(["f": .file(size: 20_000_000, seed: 1)]))
    try f.save()
    let reader = try Command.sheaf(["restore", "--to", Raw(f.scratch.path("to")), "-s", Raw(f.store)]).start()
    usleep(5_000)
    reader.signal(SIGSTOP)
    let start = Timestamp.monotonicNanoseconds()
    try f.save()
    #expect(Timestamp.monotonicNanoseconds() - start < 5_000_000_000)
    reader.signal(SIGCONT)
    #expect(reader.wait().status == 0)
  }
}
