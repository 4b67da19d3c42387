/// The life of a tree that is saved into a store in memory, without a command or a drive: a step takes milliseconds, so
/// that chance has thousands of them.
import Posix
import SheafCore
import Storage
import TestSupport
import Testing

/// Keeps what is said.
private final class Listener: Reporter {
  private let lines = Monitor<[String]>([])
  var problems: [String] { lines.look { $0 } }

  func problem(_ message: String, path: Bytes?) { lines.change { $0.append("\(path?.shown ?? ""): \(message)") } }
  func note(_ message: String) {}
  func suspectRot(_ path: Bytes) {}
  func tookOver(_ kept: TakeOverSummary) {}
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) {}
  var wantsItems: Bool { false }
}

final class MemoryHistory {
  struct Point {
    /// As all sets for it begin.
    let name: String
    let tree: Snapshot
  }

  let memory = MemoryFolder(Bytes("memory"))
  let other = MemoryFolder(Bytes("other"))
  private(set) var points: [Point] = []
  /// What was done, for a message.
  private(set) var story: [String]
  private let scratch: Scratch
  private let source: Bytes
  private var history: TestSupport.History
  var random: Random
  private let seriesName = Bytes("host")

  init(seed: UInt64, _ scratch: Scratch) throws {
    self.scratch = scratch
    source = scratch.path("source")
    history = TestSupport.History(seed: seed, size: 12)
    random = Random(seed: seed ^ 0x6d65_6d6f_7279)
    story = ["seed \(seed)"]
    try history.make(at: source)
    for folder in [memory, other] { _ = try Store.create(in: folder, label: [], now: .now()) }
    try save()
  }

  var told: String { story.joined(separator: "\n") }

  func edit() throws { story += try history.step(edits: random.number(in: 1...6)) }

  private func series(_ folder: any StoreFolder) throws -> Series {
    try Store.open(folder, cache: nil).series(seriesName, host: seriesName)
  }

  private func backup(
    to folder: any StoreFolder, _ change: (inout BackupOptions) -> Void, _ listener: Listener
  ) throws -> BackupSummary {
    var options = BackupOptions()
    options.sources = [Bytes(source.dropFirst())]
    options.series = seriesName
    change(&options)
    return try Backup(
      to: Store.open(folder, cache: nil), options, known: nil, spillDirectory: scratch.path, reporter: listener,
      progress: Progress(), clock: { .now() }
    ).run()
  }

  // MARK: - What befalls the store

  func save(_ word: String = "incremental", _ change: (inout BackupOptions) -> Void = { _ in }) throws {
    let listener = Listener()
    let summary = try backup(to: memory, change, listener)
    let set = try #require(summary.set)
    story.append("saved \(set.text) (\(word))")
    #expect(listener.problems == [], "\(told)")
    points.append(Point(name: set.point, tree: try Snapshot(of: source)))
  }

  /// The store goes at its Nth call, as a drive that is pulled. What the run had saved by then the next one takes over.
  func saveUntilTheStoreGoes() throws {
    let left = Monitor(random.number(in: 1...70))
    let watched = WatchedFolder(memory) { call throws(StoreError) in
      let isOver = left.look { left in
        left -= 1
        return left < 0
      }
      if isOver { throw StoreError(.gone, call.verb, call.path, cause: "it was pulled") }
    }
    let before = Set(try series(memory).sets().map(\.text))
    var end: String
    do {
      let set = try backup(to: watched, { _ in }, Listener()).set
      end = "came to its end: \(set?.text ?? "nothing")"
      if let set { points.append(Point(name: set.point, tree: try Snapshot(of: source))) }
    } catch let failure as Failure {
      end = failure.message
      #expect(failure.kind == .noStore || failure.kind == .failed, "\(failure) \(told)")
      // Its answer to the last call may be lost, and then the point is there.
      for set in try series(memory).sets() where !before.contains(set.text) {
        if try series(memory).foot(set).incompleteAfter == nil {
          points.append(Point(name: set.point, tree: try Snapshot(of: source)))
        }
      }
    }
    story.append("a run was cut: \(end)")
    // Whoever held it is dead.
    let folder = try memory.folder(seriesName)
    for name in try folder.names() where name.starts(with: Bytes("lock.")) { try folder.remove(name) }
  }

  func consolidate() throws {
    let point = random.pick(points)
    guard let set = try set(of: point) else { return }
    let summary = try Consolidate(series(memory), reporter: Listener(), progress: Progress()).run(set)
    story.append("consolidated \(set.text): \(summary.set?.text ?? "was full")")
  }

  func prune() throws {
    var options = PruneOptions()
    options.folds = random.once(in: 2)
    options.verifies = random.once(in: 4)
    if random.once(in: 2) {
      options.rules.last = random.number(in: 1...6)
    } else {
      // Which points go is chance; the newest stays, for its name would be given again at once.
      let older = Array(points.dropLast())
      for point in random.pick(points.count / 2, of: older) { options.rules.drops.insert(point.name) }
      options.rules.last = 100
    }
    let listener = Listener()
    let summary = try Prune(series(memory), options, reporter: listener, progress: Progress()).run { _ in }
    #expect(!summary.isDamaged && listener.problems == [], "\(listener.problems) \(told)")
    let how = options.folds ? "pruned and folded" : "pruned"
    story.append("\(how): removed \(summary.removed.map(\.text)), made \(summary.made.map(\.text))")
    try dropLost()
  }

  /// All points, into another store that has some of them, or others for them.
  func copy() throws {
    let from = try series(memory)
    let listener = Listener()
    let sets = random.once(in: 2) ? try from.sets() : try from.sets().suffix(1)
    let summary = try Copy(
      from, to: Store.open(other, cache: nil), reporter: listener, progress: Progress()
    ).run(sets)
    story.append("copied \(summary.copied.map(\.text)), left \(summary.left.map(\.text))")
    // What is older than the newest there, and went here meanwhile, stays away.
    #expect(listener.problems.isEmpty == summary.left.isEmpty, "\(listener.problems) \(told)")
    if random.once(in: 2), try !series(other).sets().isEmpty {
      var options = PruneOptions()
      options.rules.last = random.number(in: 1...3)
      options.folds = random.once(in: 2)
      let summary = try Prune(series(other), options, reporter: listener, progress: Progress()).run { _ in }
      story.append("pruned there: removed \(summary.removed.map(\.text)), made \(summary.made.map(\.text))")
      #expect(!summary.isDamaged, "\(told)")
    }
  }

  // MARK: - What is to be true

  private func set(of point: Point, in folder: MemoryFolder? = nil) throws -> SetName? {
    try series(folder ?? memory).sets().last { $0.point == point.name }
  }

  private func dropLost() throws {
    let names = Set(try series(memory).sets().map(\.point))
    points.removeAll { !names.contains($0.name) }
  }

  /// The point comes back as the tree was.
  func expectPoint(_ point: Point, in folder: MemoryFolder? = nil) throws {
    let set = try #require(try set(of: point, in: folder), "\(point.name) is gone: \(told)")
    let target = scratch.path("out")
    defer { Scratch.remove(target) }
    var options = RestoreOptions()
    options.target = target
    let listener = Listener()
    _ = try Restore(from: series(folder ?? memory), options, reporter: listener, progress: Progress()).run(set)
    #expect(listener.problems == [], "\(told)")
    let lines = point.tree.differences(to: try Snapshot(of: target.joined(Bytes(source.dropFirst()))))
    #expect(lines == [], "\(set.text) comes back otherwise: \(told)")
  }

  func expectNoDamage(in folder: MemoryFolder? = nil) throws {
    let series = try series(folder ?? memory)
    let damages = Monitor<[String]>([])
    let summary = try Verify(series, isQuick: false, progress: Progress()) { damage in
      damages.look { $0.append("\(damage)") }
    }.run(nil)
    #expect(damages.look { $0 } == [], "\(told)")
    #expect(try summary.points == series.sets().count, "\(told)")
  }

  /// Each point that the other store has, too.
  func expectCopies() throws {
    guard try other.names().contains(seriesName) else { return }
    let there = Set(try series(other).sets().map(\.point))
    for point in points where there.contains(point.name) { try expectPoint(point, in: other) }
    try expectNoDamage(in: other)
  }
}
