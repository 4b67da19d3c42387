/// Every system call that changes something fails once, or is the last: no earlier point is touched, nothing that is
/// there is wrong, and the next run goes on.
///
/// A sample by chance, and all of them where SHEAF_FAULTS is `all`, as `make faults` does.
import Foundation
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Command.canTrace, "needs strace and the right to trace")) struct FaultTests {
  /// How many faults of each scenario are tried; nil: all.
  private static let sample: Int? = ProcessInfo.processInfo.environment["SHEAF_FAULTS"] == "all" ? nil : 16

  @Test(arguments: FaultScenario.all) func everyCallFailsOnce(scenario: FaultScenario) throws {
    let stage = try FaultStage()
    try scenario.prepare(stage)
    try stage.keepStore()
    let calls = try scenario.command(stage)
      .tracedCalls(below: [stage.f.store, stage.target], fixed: stage.target, log: stage.f.scratch.path("log"))
    #expect(calls.count > 5, "\(calls)")
    var faults = calls.flatMap { call in Fault.Effect.allCases.map { Fault(call, $0) } }
    if let sample = Self.sample {
      var random = Random(label: "FaultTests \(scenario.name)")
      faults = random.pick(sample, of: faults)
    }
    var runs = 0
    for fault in faults {
      try stage.bringBackStore()
      let output = try scenario.command(stage).with(fault).run()
      // Calls are counted in each thread: this one was the loader's, before the program began.
      if output.status == 127, output.errorText.contains("shared librar") { continue }
      runs += 1
      var wrong: [String] = []
      // A signal came in between: nothing failed.
      if fault.effect == .interrupted, output.status != 0 { wrong.append("the run failed") }
      if fault.effect != .killed, output.signal != 0 || ![0, 1, 3].contains(output.status) {
        wrong.append("the run ended in another way")
      }
      // The message is written, too.
      if !output.succeeded, output.signal == 0, output.errorText.isEmpty, fault.call.name != "write" {
        wrong.append("nothing was said")
      }
      wrong += try scenario.check(stage, output)
      #expect(wrong.isEmpty, "\(scenario.name), \(fault): \(wrong.joined(separator: "\n"))\n\(output)")
    }
    print("\(scenario.name): \(runs) runs, of \(calls.count) calls")
  }
}

extension FaultTests {
  /// The kernel tells an error of the medium once; a later call may succeed with the data gone.
  @Test(arguments: ["fsync", "write", "renameat2"]) func nothingIsWrittenAfterAnError(call: String) throws {
    let stage = try FaultStage()
    try stage.save()
    try stage.edit()
    let log = stage.f.scratch.path("log")
    let output = try stage.backup().wrapped([
      "strace", "-f", "-qq", "-y", "-o", Raw(log), "-e",
      "trace=write,fsync,openat,renameat,renameat2,unlinkat,mkdirat,ftruncate", "-e",
      "inject=\(call):error=EIO:when=1",
    ]).run()
    #expect(output.status == 1 && output.errorText.contains("hint: the drive may have been pulled out"), "\(output)")
    let lines = try Bytes.read(log).split(separator: 10).map { Bytes($0).shown }
    let failed = try #require(lines.firstIndex { $0.contains("(INJECTED)") }, "\(lines)")
    // Calls of other threads that had begun by then come to the same moment.
    let after = lines[(failed + 1)...].filter {
      $0.contains(stage.f.store.shown) && !$0.contains("(INJECTED)")
        && (!$0.contains("openat") || $0.contains("O_CREAT") || $0.contains("O_TRUNC"))
    }
    #expect(after == [], "\(lines)")
    #expect(try stage.goOn() == [])
  }
}

/// A run that faults are put into, and what must hold afterwards. What comes to the program goes into this table.
struct FaultScenario: Sendable, CustomStringConvertible {
  let name: String
  let prepare: @Sendable (FaultStage) throws -> Void
  let command: @Sendable (FaultStage) throws -> Command
  let check: @Sendable (FaultStage, Output) throws -> [String]

  var description: String { name }

  static let all = [
    FaultScenario(
      name: "init",
      prepare: { Scratch.remove($0.f.store) },
      command: { try $0.sheaf(["init", "-s", Raw($0.f.store)]) },
      check: { stage, output in
        let again = try stage.sheaf(["init", "-s", Raw(stage.f.store)]).run()
        var wrong: [String] = []
        if output.succeeded != again.errorText.contains("there is a store"), output.succeeded {
          wrong.append("there is no store: \(again)")
        }
        if !again.succeeded, !again.errorText.contains("there is a store") { wrong.append("again: \(again)") }
        return wrong + (try stage.goOn())
      }),
    FaultScenario(
      name: "first backup", prepare: { _ in }, command: { try $0.backup() },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "backup",
      prepare: { stage in
        try stage.save()
        try stage.edit()
      },
      command: { try $0.backup() },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "a plan",
      prepare: { stage in
        try stage.save()
        try stage.edit()
      },
      command: { try $0.plan() },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "full backup over a chain, with what lies on the store renewed",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        try stage.save()
        for name in FaultStage.helpers { try stage.f.scratch.write("store/\(name)", "of an older version\n") }
      },
      command: { try $0.backup(["--full"]) },
      check: { stage, output in
        var wrong: [String] = []
        for name in FaultStage.helpers where !stage.helperTexts(name).contains(where: stage.isHelperText) {
          wrong.append("none of the \(name)s is whole")
        }
        wrong += try stage.check(afterBackup: output)
        for name in FaultStage.helpers where stage.helperTexts(name) != [stage.written[name]!] {
          wrong.append("\(name) was not renewed")
        }
        return wrong
      }),
    FaultScenario(
      name: "restore",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        try stage.save()
      },
      command: { stage in
        Scratch.remove(stage.target)
        return try stage.sheaf(["restore", "-s", Raw(stage.f.store), "--to", Raw(stage.target)])
      },
      check: { stage, output in
        var wrong: [String] = []
        let tree = stage.f.newest.tree
        let place = stage.target.joined(stage.f.inside.bytes)
        if output.succeeded { wrong += tree.differences(to: try Snapshot(of: place)) }
        let again = try stage.sheaf([
          "restore", "-s", Raw(stage.f.store), "--to", Raw(stage.target), "--overwrite", "always", "--delete",
        ]).run()
        if !again.succeeded { wrong.append("again: \(again)") }
        wrong += tree.differences(to: try Snapshot(of: place))
        return wrong + (try stage.goOn())
      }),
    FaultScenario(
      name: "take-over",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        try stage.backup().run().checked()
        try stage.interruptNewest()
      },
      command: { try $0.backup() },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "backup in volumes",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        try stage.f.edit("head -c 4500000 /dev/urandom >larger")
      },
      command: { try $0.backup(["--volume-size", "2M"]) },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "backup of what was moved",
      prepare: { stage in
        try stage.save()
        try stage.f.edit("mv folder renamed; mv large a.large; mv text renamed/text; chmod 600 a.large")
      },
      command: { try $0.backup() },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "differential backup",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        try stage.save()
        try stage.f.edit("echo more >> a; rm -r folder")
      },
      command: { try $0.backup(["--differential"]) },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "import",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        // An archive is dated as its file is, and newer than the point.
        let script: Raw = "tar -H posix -czf t.tar.gz -C / '\(stage.f.inside)'; touch -d '+2 hours' t.tar.gz"
        try Command("sh", ["-ec", script], in: stage.f.scratch.path).run().checked()
      },
      command: { stage in
        try stage.sheaf(["import", "-s", Raw(stage.f.store), "--series", "s", Raw(stage.f.scratch.path("t.tar.gz"))])
      },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "discarding what was interrupted",
      prepare: { stage in
        try stage.save()
        try stage.edit()
        try stage.backup().run().checked()
        try stage.interruptNewest()
      },
      command: { try $0.backup(["--discard-interrupted"]) },
      check: { try $0.check(afterBackup: $1) }),
    FaultScenario(
      name: "rebuild",
      prepare: { stage in
        try stage.saveSeveral()
        let series = try Descriptor.open(stage.f.store.joined(Bytes("s")), [.read, .directory])
        for name in try series.sortedNames() where name.shown.hasSuffix(".mtree.gz") { try series.removeFile(name) }
      },
      command: { try $0.rewrite(["rebuild"]) },
      check: { stage, _ in
        let again = try stage.rewrite(["rebuild"]).run()
        return (again.succeeded ? [] : ["again: \(again)"]) + (try stage.checkLeft())
      }),
    FaultScenario(
      name: "protect", prepare: { try $0.saveSeveral() },
      command: { stage in try stage.rewrite(["protect", Raw(stage.f.points[0].set)]) },
      check: { stage, output in
        var wrong: [String] = []
        let prune = try stage.rewrite(["prune", "--keep-last", "1"]).run()
        if !prune.succeeded { wrong.append("prune: \(prune)") }
        let isThere = exists(try stage.f.manifest(stage.f.points[0]))
        if output.succeeded, !isThere { wrong.append("what was protected is gone") }
        return wrong + (try stage.checkLeft())
      }),
    FaultScenario(
      name: "prune", prepare: { try $0.saveSeveral() },
      command: { try $0.rewrite(["prune", "--keep-last", "1"]) }, check: { stage, _ in try stage.checkLeft() }),
    FaultScenario(
      name: "prune with folding", prepare: { try $0.saveSeveral() },
      command: { try $0.rewrite(["prune", "--keep-last", "2", "--fold"]) }, check: { stage, _ in try stage.checkLeft() }
    ),
    FaultScenario(
      name: "consolidate", prepare: { try $0.saveSeveral() },
      command: { try $0.rewrite(["consolidate"]) }, check: { stage, _ in try stage.checkLeft() }),
  ]
}

/// A source and a store that is put back as it was before each fault.
final class FaultStage {
  static let helpers = ["README.txt", "restore.sh"]

  let f: Fixture
  /// What this version writes there.
  let written: [String: Bytes]

  init() throws {
    f = try Fixture(
      TestTree([
        "a": .file("a\n"), "empty": .file(""), "large": .file(size: 2_500_000, seed: 1),
        "text": .file(size: 300_000, seed: 2, .compressible), "link": .symlink("a"), "second": .hardLink("a"),
        "goes": .file("goes\n"), "folder": .directory(["b": .file("b\n"), "c": .file("c\n")]),
        "pipe": .fifo,
      ]))
    let store = f.store
    written = Dictionary(
      uniqueKeysWithValues: try Self.helpers.map { ($0, try Bytes.read(store.joined(Bytes($0.utf8)))) })
  }

  var target: Bytes { f.scratch.path("target") }
  private var kept: Bytes { f.scratch.path("kept") }

  func edit() throws {
    try f.edit("echo more >> a; rm goes; echo new > new; echo d > folder/d; rm -r pipe; mkdir pipe")
  }

  func save(_ more: [Raw] = []) throws { try f.save(["--series", "s"] + more) }

  /// Two chains, the second of three sets.
  private var all: [Fixture.Point] = []
  func saveSeveral() throws {
    for more in [[], ["--full"], [], []] as [[Raw]] {
      try save(more)
      try f.edit("echo more >> a; echo $$ > n$$; rm -f goes")
    }
    all = f.points
  }
  func rewrite(_ arguments: [Raw]) throws -> Command { try sheaf(arguments + ["-s", Raw(f.store), "--series", "s"]) }

  /// Of the points that are left each comes back, and the newest is among them.
  func checkLeft() throws -> [String] {
    f.points = all
    try f.reload()
    defer { f.points = all }
    let isThere = f.points.last.map { $0.set.prefix(18) == all[all.count - 1].set.prefix(18) } ?? false
    return (isThere ? [] : ["the newest point is gone"]) + (try goOn())
  }

  /// The newest set as a run leaves it that ended before its last bytes.
  func interruptNewest() throws {
    let series = try Descriptor.open(f.store.joined(Bytes("s")), [.read, .directory])
    let names = try series.sortedNames().suffix(2)
    for name in names { try series.rename(name, to: name + Bytes(".partial")) }
    let journal = f.store.joined(Bytes("s")).joined(names.first! + Bytes(".partial"))
    let size = try Descriptor.open(journal, .read).status().size
    try Descriptor.open(journal, .readWrite).truncate(to: size - 1)
  }

  func sheaf(_ arguments: [Raw]) throws -> Command { try Command.sheaf(arguments, timeout: 60) }
  func backup(_ more: [Raw] = []) throws -> Command {
    try sheaf(["backup", "-s", Raw(f.store), "--series", "s", Raw(f.source)] + more)
  }

  /// As `backup`, by a plan; nothing is remembered of the run before, which counts for nothing any more.
  func plan() throws -> Command {
    let (file, state) = (f.scratch.path("plan.toml"), f.scratch.path("state"))
    Scratch.remove(state)
    try f.scratch.write(
      "plan.toml", "[plans.p]\nstore = \"\(Raw(f.store))\"\nseries = \"s\"\nsources = [\"\(Raw(f.source))\"]\n")
    return try Command.sheaf(
      ["run", "--config", Raw(file)], environment: ["XDG_STATE_HOME": Raw(state)], timeout: 60)
  }

  /// What is done to the store from here on is undone by `bringBackStore`.
  func keepStore() throws { if exists(f.store) { try Command("cp", ["-a", Raw(f.store), Raw(kept)]).run().checked() } }

  func bringBackStore() throws {
    Scratch.remove(f.store)
    if exists(kept) { try Command("cp", ["-a", Raw(kept), Raw(f.store)]).run().checked() }
  }

  /// What stands under the names that a helper has on its way to another text.
  func helperTexts(_ name: String) -> [Bytes] {
    ["", ".new", ".old"].compactMap { try? Bytes.read(f.store.joined(Bytes((name + $0).utf8))) }
  }
  func isHelperText(_ text: Bytes) -> Bool {
    text == Bytes("of an older version\n") || written.values.contains(text)
  }

  /// What is wrong after a backup that a fault was put into, and after going on.
  func check(afterBackup output: Output) throws -> [String] {
    var wrong: [String] = []
    if output.succeeded { wrong += try differences("latest", try Snapshot(of: f.source)) }
    if exists(f.store.joined(Bytes("s"))), !f.points.isEmpty || output.succeeded { wrong += try verify() }
    for point in f.points { wrong += try differences(point.set, point.tree) }
    return wrong + (try goOn())
  }

  /// The next backup works, and so does every point after it.
  func goOn() throws -> [String] {
    let next = try backup().run()
    var wrong = next.succeeded ? [] : ["the next backup: \(next)"]
    wrong += try differences("latest", try Snapshot(of: f.source))
    for point in f.points { wrong += try differences(point.set, point.tree) }
    wrong += try verify()
    let names = try Descriptor.open(f.store.joined(Bytes("s")), [.read, .directory]).sortedNames().map(\.shown)
    let known = [".tar.gz", ".mtree.gz", ".protected"] + (1...9).map { ".tar.gz.00\($0)" }
    let left = names.filter { name in !known.contains { name.hasSuffix($0) } }
    if !left.isEmpty { wrong.append("left in the series: \(left)") }
    let top = try Descriptor.open(f.store, [.read, .directory]).sortedNames().map(\.shown)
    if top != ["README.txt", "restore.sh", "s", "sheaf.store"] { wrong.append("in the store: \(top)") }
    return wrong
  }

  private func verify() throws -> [String] {
    let output = try sheaf(["verify", "-q", "-s", Raw(f.store)]).run()
    return output.succeeded ? [] : ["verify: \(output)"]
  }

  private func differences(_ point: String, _ tree: Snapshot) throws -> [String] {
    let place = f.scratch.path("restored")
    defer { Scratch.remove(place) }
    let output = try sheaf([
      "restore", "-q", "-s", Raw(f.store), "--series", "s", "--at", Raw(point), "--to", Raw(place),
    ]).run()
    if !output.succeeded { return ["\(point): \(output)"] }
    return tree.differences(to: try Snapshot(of: place.joined(f.inside.bytes))).map { "\(point): \($0)" }
  }
}
