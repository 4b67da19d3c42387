/// How often a store is asked: over a network each call is a wait.
import Posix
import SheafCore
import Storage
import TestSupport
import Testing

struct Quiet: Reporter {
  func problem(_ message: String, path: Bytes?) { Issue.record("\(message) \(path?.shown ?? "")") }
  func note(_ message: String) {}
  func suspectRot(_ path: Bytes) {}
  func tookOver(_ kept: TakeOverSummary) {}
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) {}
  var wantsItems: Bool { false }
}

/// A store in memory that counts what it is asked, as if each answer took long.
struct CountedStore {
  let memory = MemoryFolder()
  let scratch: Scratch
  let calls = Monitor<[StoreCall]>([])
  let source: Bytes
  let cache: ManifestCache
  var traits = StoreTraits()
  /// Told of each call as well.
  var watch: WatchedFolder.Watch = { _ in }

  init(_ scratch: Scratch) throws {
    self.scratch = scratch
    traits.isFar = true
    source = scratch.path("source")
    cache = ManifestCache(scratch.path("cache"))
    try Descriptor.workingDirectory.makeDirectory(source)
    try write("a", "first")
    _ = try Store.create(in: memory, label: [], now: .now())
  }

  func write(_ name: String, _ text: String) throws {
    let file = try Descriptor.open(source.joined(Bytes(name.utf8)), [.write, .create, .truncate])
    try file.write(Bytes(text.utf8))
    try file.close()
  }

  /// As one command opens it.
  func open() throws -> Store {
    let watched = WatchedFolder(memory, traits: traits) { [calls, watch] call throws(StoreError) in
      calls.look { $0.append(call) }
      try watch(call)
    }
    return try Store.open(watched, cache: cache)
  }

  @discardableResult func save(at time: Int64, skipsUnchanged: Bool = false) throws -> BackupSummary {
    var options = BackupOptions()
    options.sources = [Bytes(source.dropFirst())]
    options.series = Bytes("host")
    options.skipsUnchanged = skipsUnchanged
    return try Backup(
      to: open(), options, known: nil, spillDirectory: scratch.path, reporter: Quiet(), progress: Progress(),
      clock: { Timestamp(seconds: time) }
    ).run()
  }

  /// What is asked while `body` runs.
  func counted(_ body: () throws -> Void) rethrows -> [StoreCall] {
    calls.look { $0 = [] }
    try body()
    return calls.look { $0 }
  }
}

@Suite struct StoreCallsTests {
  /// The number of sets is of no account, so a short chain tells of long ones.
  @Test func manySets() throws {
    try Scratch.with { scratch in
      let store = try CountedStore(scratch)
      let begin: Int64 = 1_700_000_000
      for day in 0..<24 {
        try store.write("a", "day \(day)")
        try store.save(at: begin + Int64(day) * 86400)
      }
      // What is new is read once.
      try store.save(at: begin + 30 * 86400, skipsUnchanged: true)
      let unchanged = try store.counted { try store.save(at: begin + 31 * 86400, skipsUnchanged: true) }
      let points = try store.counted {
        let series = try store.open().series(nil, host: [])
        for set in try series.sets() { _ = try (series.head(set), series.foot(set), series.shortfalls(of: set)) }
      }
      // Of these four open and read the script and its text, while others are under way.
      #expect(unchanged.count <= 10, "\(unchanged)")
      // The marker, the store's folder, the series', and its listing.
      #expect(points.count <= 4, "\(points)")
    }
  }
}
