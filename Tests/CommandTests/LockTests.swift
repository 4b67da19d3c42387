/// Who may write beside whom: locks of this machine, of others, of containers, of older versions.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct LockTests {
  /// A run that is stopped while it holds the lock, and the name of that.
  private func stopped(_ f: Fixture) throws -> (Running, String) {
    let running = try Command.sheaf(["backup", "-q", "--full", "-s", Raw(f.store)]).start()
    for _ in 0..<20_000 {
      if let name = try f.names().first(where: { $0.hasPrefix("lock.") }) {
        // One that is not locked yet counts as left behind: its holder would give way.
        usleep(5_000)
        running.signal(SIGSTOP)
        return (running, name)
      }
      usleep(200)
    }
    throw Unexpected(description: "the run was over before it was seen: \(running.wait())")
  }

  private func fixture() throws -> Fixture {
    let f = try Fixture(TestTree(["a": .file(size: 60_000_000, seed: 1)]))
    try f.save()
    return f
  }

  @Test func aRunThatGoesOnAndOneThatWasKilled() throws {
    let f = try fixture()
    let (running, name) = try stopped(f)
    for command in [["backup"], ["prune", "--keep-last", "1"], ["consolidate"], ["rebuild"], ["unlock"]] {
      let output = try f.sheaf(command.map { Raw($0) } + ["-s", Raw(f.store)], status: 11)
      #expect(output.errorText.contains("in use by process \(running.processID) on"), "\(output)")
      #expect(output.errorText.contains(" since 20"), "\(output)")
    }
    #expect(try f.names().contains(name))
    // The word of a person is stronger; the run that lost its lock does not publish beside another.
    try f.sheaf(["unlock", "--force", "-s", Raw(f.store)])
    #expect(try !f.names().contains(name))
    running.signal(SIGCONT)
    #expect(running.wait().status == 11)
    let (killed, _) = try stopped(f)
    killed.signal(SIGKILL)
    _ = killed.wait()
    try f.save()
    #expect(try !f.names().contains { $0.hasPrefix("lock.") })
    #expect(try f.differences(at: f.newest) == [])
    #expect(try f.sheaf(["unlock", "-s", Raw(f.store)]).text == "nothing is locked\n")
  }

  /// The fields of a lock's name, which a test turns into those of another holder.
  struct Holder {
    var host: Raw
    var machine: String
    var namespace: String
    var start: String
    var keepsFileLock: String
    var boot: String
    var process: String

    init(_ name: String) throws {
      let parts = name.dropFirst(5).split(separator: "_", omittingEmptySubsequences: false).map { String($0) }
      guard parts.count >= 7 else { throw Unexpected(description: name) }
      host = Raw(parts.dropLast(6).joined(separator: "_"))
      let fields = Array(parts.suffix(6))
      (machine, namespace, start) = (fields[0], fields[1], fields[2])
      (keepsFileLock, boot, process) = (fields[3], fields[4], fields[5])
    }

    var name: Raw {
      "lock.\(host)_\(Raw(machine))_\(Raw(namespace))_\(Raw(start))_\(Raw(keepsFileLock))_\(Raw(boot))_\(Raw(process))"
    }
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// What the next run ends with, and `unlock` after one that was refused.
    let status: Int32
    var unlock: Int32 = 0
    let change: @Sendable (inout Holder) -> Void

    init(_ name: String, _ status: Int32, unlock: Int32 = 0, _ change: @escaping @Sendable (inout Holder) -> Void) {
      (testDescription, self.status, self.unlock, self.change) = (name, status, unlock, change)
    }
  }

  private static let own = "\(Host.processID)"
  private static let rows = [
    Row("its process is gone", 0) { _ in },
    Row("its number is another's by now", 0) { $0.process = own },
    Row("its number is in use, and when that began is not known", 11, unlock: 11) {
      ($0.process, $0.start) = (own, "t0")
    },
    Row("of another container", 11) { $0.namespace = "n1" },
    Row("of a container that is not known", 11) { $0.namespace = "n0" },
    Row("of this machine, before a restart", 0) { $0.boot = "0123456789abcdef" },
    Row("of another machine with this host's name", 11) {
      ($0.machine, $0.boot) = ("m0123456789abcdef", "0123456789abcdef")
    },
    Row("of a machine without an identity", 11) { ($0.machine, $0.boot) = ("m", "0123456789abcdef") },
    Row("of an image with this machine's identity", 11) { ($0.host, $0.boot) = ("web-1", "0123456789abcdef") },
    Row("of a kernel that does not tell", 11) { ($0.machine, $0.boot) = ("m", "") },
    // Whose machine has the drive itself would keep the file locked.
    Row("of another machine that had this drive", 0) {
      ($0.machine, $0.boot, $0.keepsFileLock) = ("m0123456789abcdef", "0123456789abcdef", "f1")
    },
    Row("of another container here", 0) { ($0.namespace, $0.keepsFileLock) = ("n1", "f1") },
  ]

  @Test(arguments: rows) func aLockThatWasLeft(row: Row) throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let series = try Descriptor.open(f.series(), [.read, .directory])
    var holder = try Self.template.get()
    holder.keepsFileLock = "f0"
    row.change(&holder)
    try series.open(holder.name.bytes, [.write, .create]).close()
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--json"], status: row.status)
    guard row.status != 0 else { return #expect(try f.names().count == 4) }
    let isHeld = row.unlock != 0
    #expect(output.errorText.contains("sheaf unlock -s ") == !isHeld, "\(output)")
    #expect(output.errorText.contains("in use by process \(holder.process) on \(holder.host.bytes.shown)"), "\(output)")
    try f.sheaf(["unlock", "-s", Raw(f.store)], status: row.unlock)
    try f.sheaf(["backup", "-q", "-s", Raw(f.store)], status: isHeld ? 11 : 0)
    // Reading is not writing.
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// Of a process that is gone.
  private static let template = Result {
    let f = try Fixture(TestTree(["a": .file(size: 60_000_000, seed: 1)]))
    try f.save()
    let (running, name) = try LockTests().stopped(f)
    running.signal(SIGKILL)
    _ = running.wait()
    return try Holder(name)
  }

  /// Whoever it is by its name: the file is locked, so somebody is there.
  @Test func aFileThatIsLocked() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let series = try Descriptor.open(f.series(), [.read, .directory])
    var holder = try Self.template.get()
    holder.boot = "0123456789abcdef"
    for flag in ["f0", "f1"] {
      holder.keepsFileLock = flag
      let file = try series.open(holder.name.bytes, [.write, .create])
      #expect(file.lock(exclusive: true) == .taken)
      try f.sheaf(["backup", "-q", "-s", Raw(f.store)], status: 11)
      try f.sheaf(["unlock", "-s", Raw(f.store)], status: 11)
      try file.close()
      try f.sheaf(["backup", "-q", "-s", Raw(f.store)])
    }
  }

  @Test func unlockTakesWhatItIsAskedFor() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    for name in ["one", "two"] {
      try f.save(["--series", Raw(name)])
      try f.scratch.write("store/\(Raw(name))/lock.elsewhere_00000000_1", "")
    }
    try f.scratch.write("store/lock.elsewhere_00000000_1", "")
    let output = try f.sheaf(["unlock", "--series", "one", "-s", Raw(f.store)])
    #expect(output.lines.count == 1 && output.text.contains("'one'"), "\(output)")
    try f.sheaf(["backup", "-q", "--series", "two", "-s", Raw(f.store)], status: 11)
    let rest = try f.sheaf(["unlock", "--json", "-s", Raw(f.store)]).json()
    #expect((rest.last?["removed"] as? [String])?.count == 2)
    try f.sheaf(["backup", "-q", "--series", "two", "-s", Raw(f.store)])
  }
}
