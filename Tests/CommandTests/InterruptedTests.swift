/// Runs that end at random moments in the middle of random histories, and sources that never stand still: whatever is
/// published adds up and comes back.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct InterruptedTests {
  /// The directory that was moved from, and the one above it, are gone; the run ended before it came to either.
  @Test(.enabled(if: Command.canTrace, "needs strace")) func whatWasBelowADeletedFolder() throws {
    let f = try Fixture(
      TestTree([
        "a": .directory(["k": .file("k")]), "m": .directory(),
        "z1": .directory(["sub": .directory(["b": .file("hello\n"), "c": .file("other\n")])]),
      ]))
    try f.save()
    try f.edit("mv z1/sub/b a/x; rm -r z1; echo new > m/a-small; head -c 30000000 /dev/urandom > m/big")
    let command = try Command.sheaf(["backup", "-s", Raw(f.store)]).wrapped([
      "strace", "-f", "-qq", "-o", "/dev/null", "-P", Raw(f.source.joined(Bytes("m/big"))), "-e", "trace=pread64", "-e",
      "inject=pread64:delay_enter=3s:when=1",
    ])
    let running = try command.start()
    usleep(1_000_000)
    try running.signalChild(SIGINT)
    let output = running.wait()
    #expect(output.status == 130, "\(output)")
    #expect(
      !output.errorText.contains("is kept as") || output.errorText.contains("m/big was not finished"), "\(output)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.edit("rm m/big; echo next > a/k")
    try f.save()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    #expect(try f.differences(at: f.newest) == [])
    try f.edit("echo third > a/k")
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
    try f.expectScript([f.newest])
  }

  /// `SHEAF_ROUNDS`: how many, where it is to go on for longer.
  private static var rounds: Int {
    Host.environment("SHEAF_ROUNDS").flatMap { Int($0.shown) } ?? 15
  }

  @Test(arguments: [false, true]) func atRandomMoments(encrypted: Bool) throws {
    let f = try Fixture(encrypted: encrypted)
    var history = History(label: "interrupted", size: 150)
    var random = Random(seed: history.seed ^ 77)
    try history.make(at: f.source)
    try f.edit("for i in 1 2 3 4 5 6; do head -c 1500000 /dev/urandom > large$i; done")
    try f.save()
    for round in 0..<(encrypted ? Self.rounds / 2 : Self.rounds) {
      var story = "round \(round): "
      for _ in 0...random.below(3) {
        story += try history.step().joined(separator: "; ")
        // What a test user may not read is another matter.
        guard random.once(in: 2) else { continue }
        let signal = random.pick([SIGINT, SIGKILL, SIGTERM])
        let options: [Raw] = random.once(in: 4) ? ["--full", "--level", "9"] : ["--level", "9"]
        let running = try Command.sheaf(["backup", "-s", Raw(f.store)] + options).start()
        usleep(UInt32(5000 + random.below(120_000)))
        running.signal(signal)
        let output = running.wait()
        story += " [\(signal) -> \(output.status)] "
        #expect([0, 3, 130, 128 + signal].contains(output.status), "\(story)\n\(output)")
        if output.status == 130 { try f.sheaf(["verify", "-q", "-s", Raw(f.store)]) }
      }
      let output = try f.sheaf(["backup", "--json", "-s", Raw(f.store)])
      #expect(!output.errorText.contains("damaged") && !output.errorText.contains("add up"), "\(story)\n\(output)")
      let target = try f.restore()
      let lines = try Snapshot(of: f.source).differences(to: try Snapshot(of: target.joined(f.inside.bytes)))
      #expect(lines.isEmpty, "\(story)\n\(lines.joined(separator: "\n"))")
      Scratch.remove(target)
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    }
  }

  /// Files grow, shrink, vanish, are replaced and change their kind while runs read them.
  @Test func inAStorm() throws {
    var random = Random(label: "storm")
    var files: [Raw: Node] = [:]
    for number in 0..<40 { files["f\(number)"] = .file(size: 30_000, seed: UInt64(number)) }
    let f = try Fixture(
      TestTree(["a": .directory(files), "b": .directory(files), "large": .file(size: 4_000_000, seed: 1)]))
    let done = Monitor(false)
    let threads = (0..<2).map { number in
      let seed = random.next() ^ UInt64(number)
      let source = f.source
      return Thread {
        var random = Random(seed: seed)
        guard let root = try? Descriptor.open(source, [.read, .directory]) else { return }
        while !done.look({ $0 }) {
          Self.disturb(root, &random)
          usleep(500)
        }
      }
    }
    defer {
      done.change { $0 = true }
      for thread in threads { thread.join() }
    }
    for _ in 0..<max(6, Self.rounds / 2) {
      let output = try Command.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).run()
      #expect([0, 3].contains(output.status) && output.signal == 0, "\(output)")
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      let target = try f.restore()
      Scratch.remove(target)
    }
    #expect(try !f.names().contains { $0.hasSuffix(".partial") })
  }

  private static func disturb(_ root: Descriptor, _ random: inout Random) {
    func name() -> Bytes { Bytes("\(random.pick(["a", "b"]))/f\(random.below(45))".utf8) }
    let path = random.once(in: 12) ? Bytes("large") : name()
    let (parent, last) = path.splitAtName
    guard let directory = parent.isEmpty ? root : try? root.openBeneath(parent, [.read, .directory]) else { return }
    let other = Bytes("f\(random.below(45))".utf8)
    switch random.below(8) {
    case 0: try? directory.open(last, [.write, .create]).truncate(to: Int64(random.below(6_000_000)))
    case 1: try? directory.open(last, [.write, .create]).truncate(to: Int64(random.below(2000)))
    case 2: try? directory.removeFile(last)
    case 3: try? directory.rename(last, to: other)
    case 4:
      if let file = try? directory.open(last, [.write, .create]) {
        let bytes = random.bytes(5000)
        _ = try? bytes.withUnsafeBytes { try file.write($0, at: Int64(random.below(100_000))) }
      }
    case 5:
      try? directory.removeFile(last)
      try? directory.makeDirectory(last)
    case 6: try? directory.removeDirectory(last)
    default: _ = last.withCString { old in other.withCString { linkat(directory.raw, old, directory.raw, $0, 0) } }
    }
  }
}
