/// Two machines of one name, and one machine that takes another's place.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Scratch.allowsEverything, "only root can mount")) struct MachineTests {
  private func backup(_ f: Fixture, machine: Raw?, _ more: [Raw] = [], status: Int32 = 0) throws -> Output {
    var command = try Command.sheaf(["backup", "-s", Raw(f.store)] + more)
    if let machine {
      try f.scratch.write("machine-id", machine)
      let script: Raw = """
        for f in /etc/machine-id /var/lib/dbus/machine-id; do if test -e $f; then mount --bind "$0" $f; fi; done; exec "$@"
        """
      command = try command.wrapped(["unshare", "-m", "sh", "-ec", script, Raw(f.scratch.path("machine-id"))])
    }
    let output = try command.run()
    #expect(output.status == status, "\(output)")
    return output
  }

  private static let other: Raw = "0123456789abcdef0123456789abcdef\n"

  @Test(.enabled(if: Host.machineIdentity() != nil, "needs a machine-id")) func anotherMachine() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let before = try f.names()
    for more in [[], ["-n"], ["--full"], [Raw(f.source)]] as [[Raw]] {
      let output = try backup(f, machine: Self.other, more, status: 64)
      #expect(output.errorText.contains("was last written by another machine"), "\(output)")
      #expect(output.errorText.contains("--series NAME") && output.errorText.contains("--take-over"), "\(output)")
    }
    #expect(try f.names() == before)
    // Who names the series means it.
    let series = Raw(try f.series().splitAtName.name)
    let named = try backup(f, machine: Self.other, ["--series", series])
    #expect(named.errorText.contains("another machine"), "\(named)")
    // From now on it is the other one's.
    _ = try backup(f, machine: nil, status: 64)
    _ = try backup(f, machine: nil, ["--take-over"])
    _ = try backup(f, machine: nil)
    // What is made of sets keeps whose they are.
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    _ = try backup(f, machine: Self.other, status: 64)
    for name in try f.names() where name.hasSuffix(".mtree.gz") {
      try Descriptor.open(f.series(), [.read, .directory]).removeFile(Bytes(name.utf8))
    }
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    _ = try backup(f, machine: Self.other, status: 64)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// Containers and rescue systems: what cannot be told is let pass.
  @Test(arguments: ["", "\n", "uninitialized\n", "00000000000000000000000000000000\n", "nonsense"] as [Raw])
  func withoutAnIdentity(machine: Raw) throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    _ = try backup(f, machine: machine, [Raw(f.source)])
    _ = try backup(f, machine: nil)
    _ = try backup(f, machine: machine)
    _ = try backup(f, machine: Self.other)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }
}
