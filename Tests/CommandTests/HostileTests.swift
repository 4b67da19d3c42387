/// What someone else may have put into a store: every attack of the table is met by every command. None may write
/// outside the target, crash, hang or fill the memory, and each must end in a clear line and the right exit code.
import Glibc
import Posix
import TestSupport
import Testing

/// One row of the table.
struct Attack: Sendable, CustomTestStringConvertible {
  let name: String
  /// How `restore` may end.
  var status: Set<Int32>
  /// What it must say then, on either stream.
  var says: String
  /// More arguments for it.
  var options: [Raw] = []
  var user: Command.User?
  /// Virtual memory for each command, in MiB.
  var memory = 1024
  /// A file outside loses a name that stood in the target, which its ctime shows.
  var loosens = false
  let forge: @Sendable (Stage) throws -> Void
  /// Looks at the target afterwards.
  var check: @Sendable (Stage) throws -> Void = { _ in }

  init(
    _ name: String, _ status: Int32..., says: String = "", options: [Raw] = [], user: Command.User? = nil,
    memory: Int = 1024, check: @escaping @Sendable (Stage) throws -> Void = { _ in },
    forge: @escaping @Sendable (Stage) throws -> Void
  ) {
    self.name = name
    self.status = Set(status)
    self.says = says
    self.options = options
    self.user = user
    self.memory = memory
    self.check = check
    self.forge = forge
  }

  /// With one full set that `change` makes hostile.
  static func set(
    _ name: String, _ status: Int32..., says: String = "", options: [Raw] = [], user: Command.User? = nil,
    memory: Int = 1024, loosens: Bool = false, check: @escaping @Sendable (Stage) throws -> Void = { _ in },
    _ change: @escaping @Sendable (inout ForgedSet, Stage) throws -> Void
  ) -> Attack {
    var attack = Attack(name, says: says, options: options, user: user, memory: memory, check: check) { stage in
      var set = ForgedSet()
      set.directory("box")
      set.file("box/file", "contents")
      try change(&set, stage)
      set.end()
      try stage.store.write(set)
    }
    attack.status = Set(status)
    attack.loosens = loosens
    return attack
  }

  var testDescription: String { name }
}

/// A store, a target, and what lies beside them.
final class Stage: Sendable {
  let scratch: Scratch
  let store: ForgedStore
  let outside: Bytes
  let target: Bytes

  init() throws {
    scratch = try Scratch()
    store = try ForgedStore(at: scratch.path("store"))
    outside = scratch.path("outside")
    try TestTree([
      "file": .file("precious"), "tool": .file("#!/bin/sh\n").mode(0o4755), "link": .symlink("file"),
      "dir": .directory(["inner": .file("inner")]).mode(0o700),
    ]).make(at: outside)
    try Descriptor.workingDirectory.makeDirectory(scratch.path("in"))
    try ForgedStore.write(scratch.path("in").joined(Bytes("beside")), Bytes("beside"))
    target = scratch.path("in").joined(Bytes("target"))
    try Descriptor.workingDirectory.makeDirectory(target)
  }

  /// Everything but what lies in the target.
  func snapshot() throws -> Snapshot { try Snapshot(of: scratch.path) }

  /// Makes a tree inside the target.
  func prepare(_ tree: TestTree) throws { try tree.make(at: target) }
}

@Suite struct HostileTests {
  @Test(arguments: Attack.all) func nothingGetsOut(attack: Attack) throws {
    if attack.user != nil, !Host.isRoot { return }
    let stage = try Stage()
    try attack.forge(stage)
    if let user = attack.user {
      try Descriptor.open(stage.scratch.path("in"), [.read, .directory])
        .setOwner(Bytes("target"), uid: user.uid, gid: user.gid)
    }
    let before = try stage.snapshot()
    let store = Raw(stage.store.path)
    let restore = try run(
      attack, ["restore", "-s", store, "--to", Raw(stage.target)] + attack.options, attack.status)
    let text = restore.errorText + restore.text
    #expect(attack.says.isEmpty || text.contains(attack.says), "\(restore)")
    try attack.check(stage)
    expectSame(attack, before, try stage.snapshot(), "restore")

    let readers: [[Raw]] = [
      ["points"], ["ls", "-lR"], ["ls", "box", "--json"], ["cat", "box/file"], ["manifest"],
      ["restore", "-n", "--to", "/nowhere"], ["find", "*"], ["history", "box/file"], ["diff", "latest", "latest"],
      ["diff"], ["export"], ["export", "-z", "box"],
    ]
    for arguments in readers {
      try run(attack, [arguments[0], "-s", store] + arguments.dropFirst(), [0, 1, 3, 4, 10])
    }
    expectSame(attack, before, try stage.snapshot(), "reading")
    // The damage that it finds is noted in the series.
    try run(attack, ["verify", "-s", store], [0, 1, 3, 4, 10])
    expectSame(attack, before, try stage.snapshot(), "verify", skipping: ["store"])
    let source = Raw(stage.outside)
    try run(attack, ["backup", "-s", store, "--series", "forged", "--change-sources", source], [0, 1, 3, 4, 10])
    expectSame(attack, before, try stage.snapshot(), "backup", skipping: ["store"])
    let writers: [[Raw]] = [
      ["prune", "-n", "--keep-last", "1", "--fold"], ["prune", "-n", "--keep-within", "3d"],
      ["prune", "-n", "--keep-weekly", "2", "--keep-yearly", "1"], ["consolidate"],
      ["prune", "--keep-last", "1", "--fold"], ["rebuild"], ["backup"],
    ]
    for arguments in writers {
      try run(
        attack, [arguments[0], "-s", store, "--series", "forged"] + arguments.dropFirst(), [0, 1, 3, 4, 10, 64])
    }
    expectSame(attack, before, try stage.snapshot(), "writing", skipping: ["store"])
  }

  private func expectSame(
    _ attack: Attack, _ before: Snapshot, _ after: Snapshot, _ what: String, skipping: [Raw] = []
  ) {
    var options = Snapshot.Options.ignoring(skipped: ["in/target"] + skipping)
    if !attack.loosens { options.fields.insert(.changed) }
    let lines = before.differences(to: after, options)
    #expect(lines.isEmpty, "\(what): \(lines.joined(separator: "\n"))")
  }

  @discardableResult
  private func run(_ attack: Attack, _ arguments: [Raw], _ statuses: Set<Int32>) throws -> Output {
    let output = try Command.sheaf(
      arguments, environment: ["SWIFT_BACKTRACE": "enable=no"], as: attack.user, timeout: 10
    )
    .wrapped(["prlimit", "--as=\(attack.memory << 20)"]).run()
    #expect(output.signal == 0 && !output.timedOut && statuses.contains(output.status), "\(output)")
    // A clear line, and nothing a terminal would obey.
    #expect(output.stderr.allSatisfy { $0 >= 0x20 || $0 == 10 }, "\(output)")
    let messages = ["sheaf: error: ", "sheaf: warning: ", "hint: ", "sheaf: "]
    #expect(output.errorLines.allSatisfy { line in messages.contains { line.hasPrefix($0) } }, "\(output)")
    #expect(output.status == 0 || !output.stderr.isEmpty, "\(output)")
    return output
  }

  /// What is forged is taken for a store where nothing in it is hostile: else the rows above would prove nothing.
  @Test func anHonestForgeryIsSound() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.directory("box")
    set.file("box/empty", "")
    set.file("box/file", "contents")
    set.symlink("box/link", "file")
    set.hardLink("box/name", "box/file")
    set.fifo("box/pipe")
    set.directory("box/sub")
    set.file("box/sub/\u{1}\u{2}\\ü", "odd name")
    set.end()
    try stage.store.write(set)
    let store = Raw(stage.store.path)
    for arguments in [["points"], ["verify"], ["restore", "--to", Raw(stage.target)]] as [[Raw]] {
      let output = try Command.sheaf([arguments[0], "-s", store] + arguments.dropFirst()).run()
      #expect(output.status == 0 && output.stderr.isEmpty, "\(output)")
    }
    let tree = try Snapshot(of: stage.target)
    #expect(tree.paths.count == 8 && tree["box/file"]?.size == 8 && tree["box/link"]?.target == Bytes("file"))
  }
}
