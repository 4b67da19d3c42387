/// Runs that are killed, and stores that are damaged: earlier points stay, and what is lost is named.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct SafetyTests {
  /// Enough work to be interrupted in, done again in a moment.
  private static let tree = TestTree([
    "first": .file("1\n"), "large": .file(size: 60_000_000, seed: 1),
    "more": .file(size: 40_000_000, seed: 2, .compressible),
    "small": .directory(Dictionary(uniqueKeysWithValues: (0..<300).map { (Raw("f\($0)"), .file(Raw("\($0)\n"))) })),
  ])

  private func partials(_ f: Fixture) throws -> [String] {
    try f.names().filter { !$0.hasSuffix(".tar.gz") && !$0.hasSuffix(".mtree.gz") }
  }

  private func command(_ f: Fixture) throws -> Command {
    try Command.sheaf(["backup", "-s", Raw(f.store), "--level", "9", "--full"])
  }

  @Test func killedAtAnyMoment() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    for delay in [1, 5, 20, 60, 150, 400] as [UInt32] {
      try f.edit("echo \(delay) >> first")
      let running = try command(f).start()
      usleep(delay * 1000)
      running.signal(SIGKILL)
      let output = running.wait()
      #expect(output.signal == SIGKILL || output.succeeded, "\(output)")
      #expect(try f.differences(at: f.points[0]) == [])
    }
    // What the killed ones left neither counts as a set nor is in the way.
    let summary = try f.save()
    #expect(summary.problems == 0)
    #expect(try partials(f) == [])
    #expect(try f.differences(at: f.newest) == [])
    #expect(try f.differences(at: f.points[0]) == [])
  }

  @Test func aSeriesInUse() throws {
    let f = try Fixture(TestTree(["a": .file("a")]))
    try f.save()
    let before = try f.names()
    /// As versions before named it.
    func lock(_ host: Raw, _ boot: Raw, _ process: Int32) throws -> String {
      let plain = host.bytes.map { byte in
        byte == 45 || byte == 46 || (byte < 128 && Unicode.Scalar(byte).properties.isAlphabetic)
          || (48...57).contains(byte) ? byte : UInt8(ascii: "_")
      }
      let name: Raw = "lock.\(plain)_\(boot)_\(process)"
      try f.scratch.write("store/\(f.series().splitAtName.name)/\(name)", "")
      return name.bytes.shown
    }
    let boot = Raw(Bytes(Host.bootIdentity().prefix(8)))
    // This process holds it.
    let held = try lock(Raw(Host.name()), boot, Host.processID)
    let output = try f.sheaf(["backup", "-s", Raw(f.store)], status: 11)
    #expect(output.errorText.contains("in use by process \(Host.processID)"), "\(output)")
    #expect(try f.names() == (before + [held]).sorted())
    // Reading is not writing.
    #expect(try f.differences(at: f.newest) == [])
    let series = try Descriptor.open(f.series(), [.read, .directory])
    try series.removeFile(Bytes(held.utf8))
    // Another machine may be at it: how to end that is said.
    let elsewhere = try lock("elsewhere", boot, 1)
    #expect(try f.sheaf(["backup", "-s", Raw(f.store)], status: 11).errorText.contains(elsewhere))
    try series.removeFile(Bytes(elsewhere.utf8))
    // Its process is gone; or the machine was started anew.
    let gone = try Command("true").start()
    _ = gone.wait()
    _ = try lock(Raw(Host.name()), boot, gone.processID)
    let earlier = Bytes(try lock(Raw(Host.name()), "00000000", Host.processID).utf8)
    // Made while this kernel runs, it may be of another machine with this name.
    #expect(try f.sheaf(["backup", "-s", Raw(f.store)], status: 11).errorText.contains("sheaf unlock"))
    try series.setModified(earlier, Timestamp(seconds: 1_000_000_000))
    try f.save()
    #expect(try partials(f) == [])
  }

  // MARK: Damage

  private static let plain = TestTree([
    "a": .file(size: 700_000, seed: 1), "b": .file(size: 700_000, seed: 2), "c": .file(size: 700_000, seed: 3),
    "big": .file(size: 3_500_000, seed: 4), "z": .file("z\n"),
  ])

  private func overwrite(_ path: Bytes, at offset: Int64, _ change: (UInt8) -> UInt8 = { $0 ^ 0x55 }) throws {
    let file = try Descriptor.open(path, .readWrite)
    let byte = try file.read(count: 1, at: offset)[0]
    try [change(byte)].withUnsafeBytes { try file.write($0, at: offset) }
  }

  @Test(arguments: ["cut", "flipped", "empty", "text"]) func aDamagedManifest(how: String) throws {
    let f = try Fixture(Self.plain)
    try f.save()
    try f.edit("echo more >> z")
    try f.save()
    let manifest = try f.manifest(f.newest)
    let size = try Descriptor.open(manifest, .read).status().size
    switch how {
    case "cut": try Descriptor.open(manifest, .write).truncate(to: size / 2)
    case "flipped": try overwrite(manifest, at: size / 3)
    case "empty": try Descriptor.open(manifest, .write).truncate(to: 0)
    default: try Descriptor.open(manifest, [.write, .truncate]).write(Bytes("#mtree\n./a type=file\n"))
    }
    let damaged = f.newest
    let named = try f.sheaf(["restore", "-s", Raw(f.store), "--to", "\(f.scratch.path)/x"], status: 4)
    #expect(named.errorText.contains(damaged.set), "\(named)")
    if how != "flipped" {
      // The list of points reads no more than a manifest's head and foot.
      #expect(try f.sheaf(["points", "-s", Raw(f.store)], status: 4).errorText.contains(damaged.set))
    }
    // Never trusted: what is written now stands by itself.
    let summary = try f.save(status: 3)
    #expect(summary.kind == "full" && summary.parent == nil && summary.problems == 1)
    #expect(try f.differences(at: f.newest) == [])
    #expect(try f.differences(at: f.points[0]) == [])
    #expect(try f.save().kind == "incremental")
  }

  @Test func anArchiveThatIsMissing() throws {
    let f = try Fixture(Self.plain)
    try f.save()
    try f.edit("echo more >> z")
    try f.save()
    try Descriptor.open(f.series(), [.read, .directory]).removeFile(f.archive(f.points[0]).splitAtName.name)
    let target = f.scratch.path("target")
    let output = try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)], status: 4)
    // It is named first of all; then what lies in the other archives comes back, and what does not is named.
    let archive = "\(f.points[0].set).tar.gz"
    #expect(output.errorLines.first?.contains("the archive \(archive) is missing") == true, "\(output)")
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree["z"]?.digest == f.newest.tree["z"]?.digest)
    let lost = f.newest.tree.paths.filter { tree[Raw($0)] == nil }
    #expect(!lost.isEmpty)
    for path in lost { #expect(output.errorText.contains(path.shown), "\(path.shown)") }
    // What a file cannot be restored over stays.
    try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target), "--overwrite", "always"], status: 4)
    #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    // A chain that has lost its ground is not built upon.
    #expect(try f.save(status: 3).kind == "full")
    #expect(try f.differences(at: f.newest) == [])
  }

  /// Restores and gives the names that are not as they were.
  private func lost(_ f: Fixture) throws -> [Bytes] {
    let target = f.scratch.path("target")
    let output = try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)], status: 4)
    defer { Scratch.remove(target) }
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    let lost = f.newest.tree.paths.filter { tree[Raw($0)]?.digest != f.newest.tree[Raw($0)]?.digest }
    for path in lost { #expect(output.errorText.contains("/\(path.shown):"), "\(output)") }
    // And a line for the member, where more of it could be had.
    let others = output.errorLines.filter { !$0.contains("what is whole in it is restored") }
    #expect(others.count == lost.count, "\(output)")
    // What is damaged must not look whole.
    for path in lost { #expect(tree[Raw(path)] == nil, "\(path.shown) is there") }
    let rest = Snapshot.Options.ignoring(untimed: [""], skipped: lost.map { Raw($0) })
    #expect(f.newest.tree.differences(to: tree, rest) == [])
    return lost
  }

  @Test func aFlippedByteCostsOnlyWhatLiesThere() throws {
    for (fraction, expected) in [(0.08, ["a"]), (0.35, ["b", "c", "z", "big"]), (0.9, ["big", "c", "z"])] {
      let f = try Fixture(Self.plain)
      try f.save()
      let archive = try f.archive(f.newest)
      let size = try Descriptor.open(archive, .read).status().size
      try overwrite(archive, at: Int64(Double(size) * fraction))
      let lost = try lost(f)
      #expect(!lost.isEmpty && lost.count <= 2, "\(lost.map(\.shown))")
      #expect(lost.allSatisfy { expected.contains($0.shown) }, "\(lost.map(\.shown))")
      let name = try #require(lost.first)
      let whole: Raw = lost.contains(Bytes("a")) ? "c" : "a"
      try f.sheaf(["cat", "-s", Raw(f.store), "\(f.inside)/\(name)"], status: 4)
      #expect(
        try f.sheaf(["restore", "-s", Raw(f.store), "--to", "\(f.scratch.path)/x", "\(f.inside)/\(whole)"]).succeeded)
    }
  }

  @Test func anArchiveThatIsCutShort() throws {
    let f = try Fixture(Self.plain)
    try f.save()
    let archive = try f.archive(f.newest)
    let size = try Descriptor.open(archive, .read).status().size
    try Descriptor.open(archive, .write).truncate(to: size * 2 / 3)
    let target = f.scratch.path("target")
    let output = try f.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)], status: 4)
    #expect(output.errorText.contains(f.newest.set) || output.errorText.contains("/big"), "\(output)")
    #expect(try f.save(status: 3).kind == "full")
    #expect(try f.differences(at: f.newest) == [])
  }
}
