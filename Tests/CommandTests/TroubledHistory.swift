/// The life of a source on a bad machine: parts of it are mounted and unmounted, runs are interrupted and killed, and
/// others read and prune meanwhile.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

/// The same seed gives the same edits and events; at which point of a run they meet it is the machine's choice.
final class TroubledHistory {
  /// A file system of its own that is there at times, mounted into the source.
  struct Drive {
    let name: Raw
    /// Where it always is.
    let place: Bytes
    var history: History
    var isMounted = false
    /// What the newest point must hold of it; nil: nothing but the empty folder it is mounted on.
    var known: Snapshot?
    /// A run that did not come to its end may have saved more of it than is known.
    var isUncertain = false
    /// What it held when it was last there.
    var left: Snapshot?
  }

  let f: Fixture
  let seed: UInt64
  private(set) var story: [String]
  private var random: Random
  private var tree: History
  private var drives: [Drive] = []
  private let environment: [String: Raw?]
  /// Microseconds that a run takes.
  private var usual = 100_000

  init(seed: UInt64) throws {
    self.seed = seed
    f = try Fixture(encrypted: HistoryTests.isEncrypted(seed + 1))
    story = ["seed \(seed)"]
    random = Random(seed: seed ^ 0x6d6f_756e_74)
    tree = History(seed: seed, size: 60)
    environment = seed % 2 == 0 ? ["XDG_STATE_HOME": Raw(f.scratch.path("state"))] : [:]
    try tree.make(at: f.source.joined(Bytes("tree")))
    try f.edit("head -c 4000000 /dev/urandom >large")
    guard Mounting.isPossible else { return }
    for number in 0...random.below(2) {
      let name: Raw = "m\(number)"
      let place = f.scratch.path("drive-\(number)")
      try Descriptor.workingDirectory.makeDirectory(place)
      try Command("mount", ["-t", "tmpfs", "none", Raw(place)]).run().checked()
      var drive = Drive(name: name, place: place, history: History(seed: seed &+ 1000 &* UInt64(number + 1), size: 20))
      try drive.history.make(at: place.joined(Bytes("top")))
      try f.edit("mkdir \(name)")
      drives.append(drive)
      try mount(number)
    }
  }

  deinit { Mounting.unmountAll(below: f.scratch.path) }

  var text: String { story.joined(separator: "\n") }
  private func tell(_ line: String) { story.append(line) }

  // MARK: The source

  func edit() throws {
    if !random.once(in: 5) { for line in try tree.step() { tell(line) } }
    for index in drives.indices where random.once(in: 2) {
      for line in try drives[index].history.step(edits: random.number(in: 1...3)) {
        tell("\(drives[index].name): \(line)")
      }
    }
    if random.once(in: 3) {
      try f.edit("head -c \(random.number(in: 1_000_000...6_000_000)) /dev/urandom >large")
      tell("rewrite large")
    }
    for index in drives.indices where random.once(in: 4) {
      if drives[index].isMounted { try unmount(index) } else { try mount(index) }
    }
  }

  private func mount(_ index: Int) throws {
    let drive = drives[index]
    try Command("mount", ["--bind", Raw(drive.place), Raw(f.source.joined(drive.name.bytes))]).run().checked()
    drives[index].isMounted = true
    tell("mount \(drive.name)")
  }

  private func unmount(_ index: Int) throws {
    drives[index].left = try Snapshot(of: drives[index].place)
    // A run that was killed may be about to go.
    try Command("umount", ["-l", Raw(f.source.joined(drives[index].name.bytes))]).run().checked()
    drives[index].isMounted = false
    tell("unmount \(drives[index].name)")
  }

  // MARK: Runs

  @discardableResult
  func sheaf(_ arguments: [Raw], statuses: [Int32] = [0], at location: SourceLocation = #_sourceLocation) throws
    -> Output
  {
    let output = try command(arguments).run()
    #expect(statuses.contains(output.status), "\(output)\n\(text)", sourceLocation: location)
    return output
  }

  private func command(_ arguments: [Raw]) throws -> Command {
    try Command.sheaf([arguments[0], "-s", Raw(f.store)] + arguments.dropFirst(), environment: environment)
  }

  private var isAnyAway: Bool { drives.contains { !$0.isMounted && ($0.known != nil || $0.isUncertain) } }

  private func kind() -> [Raw] {
    var kinds: [[Raw]] = [[], [], [], ["--full"], ["--differential"], ["--volume-size", "2M"], ["--level", "9"]]
    kinds.append(["--full", "--level", "9"])
    return random.pick(kinds) + (seed % 2 == 0 ? ["--full-entries"] : [])
  }

  /// A run that comes to its end.
  func save() throws {
    var options = kind()
    if let index = drives.indices.first(where: { !drives[$0].isMounted && drives[$0].known != nil }), random.once(in: 6)
    {
      options += ["--gone", Raw(f.source.joined(drives[index].name.bytes))]
      (drives[index].known, drives[index].isUncertain) = (nil, false)
    }
    let start = Timestamp.monotonicNanoseconds()
    let output = try sheaf(
      ["backup", "--json"] + options + [Raw(f.source)], statuses: isAnyAway ? [0, 3] : [0])
    usual = Int((Timestamp.monotonicNanoseconds() - start) / 1000)
    try record(output, options)
  }

  /// What the run has saved, from here on.
  private func record(_ output: Output, _ options: [Raw]) throws {
    guard let set = try Summary(output).set else { return }
    tell("saved \(set) \(options.map(\.description).joined(separator: " ")) -> \(output.status)")
    #expect(!output.errorText.contains("damaged") && !output.errorText.contains("add up"), "\(output)\n\(text)")
    var tree = try Snapshot(of: f.source)
    for index in drives.indices {
      let name = drives[index].name
      if drives[index].isMounted {
        drives[index].known = tree.subtree(name)
        drives[index].isUncertain = false
        continue
      }
      if drives[index].isUncertain { try settle(index, before: set) }
      if let known = drives[index].known {
        #expect(output.status == 3, "\(name) is not there: \(output)\n\(text)")
        tree = tree.replacing(name, with: known)
      }
    }
    f.points.append(Fixture.Point(set: set, tree: tree))
  }

  /// Finds out what the runs that were interrupted have saved of a drive that is away now, and whether all is there that
  /// nobody touched.
  private func settle(_ index: Int, before set: String) throws {
    let sets = try sheaf(["points", "--json"]).json().compactMap { $0["set"] as? String }
    guard let place = sets.firstIndex(of: set), place > 0 else { return }
    let before = try restored(sets[place - 1])
    let now = before.subtree(drives[index].name)
    if let known = drives[index].known, let left = drives[index].left {
      for path in known.paths {
        guard let old = known[Raw(path)], let last = left[Raw(path)], old.isSame(as: last), !old.isSocket else {
          continue
        }
        let new = now[Raw(path)]
        #expect(
          new.map { $0.isDirectory || $0.isSame(as: old) } ?? false, "\(drives[index].name): \(path.shown)\n\(text)")
      }
    }
    // Of an empty one nothing is missed.
    drives[index].known = now.paths.isEmpty ? nil : now
    drives[index].isUncertain = false
  }

  private func restored(_ set: String) throws -> Snapshot {
    let target = f.scratch.path("looked-at")
    defer { Scratch.remove(target) }
    try sheaf(["restore", "--at", Raw(set), "--to", Raw(target)])
    return try Snapshot(of: target.joined(f.inside.bytes))
  }

  /// A run that is told to stop, or is killed, at some point.
  func interrupt() throws {
    let signal = random.pick([SIGINT, SIGKILL, SIGKILL, SIGTERM])
    let options = kind()
    let running = try command(["backup", "--json"] + options + [Raw(f.source)]).start()
    usleep(UInt32(random.below(usual)))
    running.signal(signal)
    let output = running.wait()
    tell("backup \(options.map(\.description).joined(separator: " ")), signal \(signal) -> \(output.status)")
    #expect([0, 3, 130, 128 + signal].contains(output.status), "\(output)\n\(text)")
    if [0, 3].contains(output.status) { return try record(output, options) }
    for index in drives.indices where drives[index].isMounted {
      drives[index].isUncertain = true
      drives[index].left = try Snapshot(of: drives[index].place)
    }
    if random.once(in: 2) { try sheaf(["verify", "-q"]) }
    if random.once(in: 3), !f.points.isEmpty { _ = try restored("latest") }
  }

  // MARK: Others

  /// Points go, sets are folded; at times somebody kills that.
  func tidy() throws {
    let keep: [Raw] = ["--keep-last", "\(random.number(in: 2...4))"]
    let acts: [[Raw]] = [
      ["prune"] + keep, ["prune", "--fold"] + keep, ["prune", "--fold"] + keep,
      ["consolidate", "--at", Raw(random.pick(f.points).set)],
    ]
    let act = random.pick(acts)
    let readers = try (0..<random.below(4)).map { _ in try startReader() }
    usleep(UInt32(random.below(50_000)))
    let running = try command(act).start()
    let isKilled = random.once(in: 3)
    if isKilled {
      usleep(UInt32(random.below(usual)))
      running.signal(random.pick([SIGKILL, SIGINT]))
    }
    let output = running.wait()
    tell("\(act.map(\.description).joined(separator: " ")) -> \(output.status)")
    // Those who read for long are waited for, not for ever.
    #expect(
      output.status == 0 || isKilled && [130, 137].contains(output.status) || !readers.isEmpty && output.status == 11,
      "\(output)\n\(text)")
    for reader in readers { try finish(reader) }
    try f.reload()
    if random.once(in: 2) { try sheaf(["verify", "-q"]) }
  }

  private struct Reader {
    let running: Running
    let arguments: [Raw]
    let target: Bytes?
    let point: Fixture.Point
  }
  private var readers = 0

  private func startReader() throws -> Reader {
    let point = random.pick(f.points)
    let at: [Raw] = ["--at", Raw(point.set)]
    readers += 1
    let target = f.scratch.path("read-\(Raw("\(readers)"))")
    let file = Raw(f.source.joined(Bytes("large")))
    let commands: [[Raw]] = [
      ["verify", "-q"], ["verify", "-q"] + at, ["restore", "--to", Raw(target)] + at,
      ["restore", "--to", Raw(target)] + at,
      ["export", "-o", Raw(target)] + at, ["cat", file] + at, ["ls", "-R"] + at, ["find", "*"], ["history", file],
      ["diff", Raw(point.set)], ["points"], ["manifest"] + at, ["diff", "--live"], ["backup", "--dry-run"],
    ]
    let arguments = random.pick(commands)
    let running = try command(arguments).start()
    usleep(UInt32(random.below(20_000)))
    return Reader(
      running: running, arguments: arguments, target: arguments[0] == "restore" ? target : nil, point: point)
  }

  /// What it asked for may be gone by then, but nothing may look damaged.
  private func finish(_ reader: Reader) throws {
    let output = reader.running.wait()
    let line = "beside it: \(reader.arguments.map(\.description).joined(separator: " ")) -> \(output.status)"
    tell(line)
    let isAway = reader.arguments.contains("--live") || reader.arguments.contains("--dry-run")
    // It had not begun when its point was pruned.
    let isPruned = output.status == 64 && output.errorText.contains("there is no point \(reader.point.set.prefix(18))")
    if isPruned { return #expect(try !f.names().contains("\(reader.point.set).mtree.gz"), "\(output)\n\(text)") }
    #expect(
      [0, 1].contains(output.status) || isAway && output.status == 3 || output.status == 2 && isAway,
      "\(output)\n\(text)")
    #expect(!output.errorText.contains("damage"), "\(output)\n\(text)")
    if output.status == 1 { #expect(output.errorText.contains(reader.point.set.prefix(18)), "\(output)\n\(text)") }
    guard let target = reader.target else { return }
    defer { Scratch.remove(target) }
    guard output.status == 0 else { return }
    let lines = reader.point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)))
    #expect(lines == [], "\(line)\n\(text)")
  }

  // MARK: Looking

  /// Every point by every road.
  func expectAll() throws {
    try sheaf(["verify", "-q"])
    for point in f.points {
      let lines = point.tree.differences(to: try restored(point.set))
      #expect(lines == [], "sheaf restore, \(point.set)\n\(text)")
    }
    try expectEachOverAnother()
    // A full set has what was away when it was made in an older chain only; folders where that lay have other times, and
    // files there fewer names.
    try f.expectReplay(lagging: seed % 2 != 0, text) { line in
      (line.hasSuffix(")") && line.contains(": missing (was") || line.contains(": mtime is ")
        || line.contains(": hard links are "))
        && drives.contains { line.hasPrefix("\"\($0.name.bytes.shown)") }
    }
    try f.expectScript([f.points[f.points.count / 2], f.newest], text)
    try f.expectExport(f.newest, text)
  }

  /// Each point over the one that was restored before it, with what only that one had gone.
  private func expectEachOverAnother() throws {
    let target = f.scratch.path("over-another")
    defer { Scratch.remove(target) }
    var order = f.points
    order.shuffle(using: &random)
    for (point, previous) in zip(order, [nil] + order.map(\.set)) {
      try sheaf(
        ["restore", "-q", "--at", Raw(point.set), "--to", Raw(target), "--overwrite", "always", "--delete"])
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      // Nothing is taken from a drive that was away when the point was made.
      let lines = point.tree.differences(to: tree).filter { line in
        !line.contains(": unexpected (") || !drives.contains { line.hasPrefix("\"\($0.name.bytes.shown)/") }
      }
      #expect(lines == [], "sheaf restore --delete, \(point.set) over \(previous ?? "nothing")\n\(text)")
    }
  }

  func step() throws {
    try edit()
    for _ in 0..<random.pick([0, 0, 1, 1, 2, 3]) {
      try interrupt()
      if random.once(in: 2) { try edit() }
    }
    if f.points.isEmpty || !random.once(in: 6) { try save() }
    if random.once(in: 2) { try tidy() }
  }
}
