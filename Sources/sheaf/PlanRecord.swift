/// What this machine remembers of a plan's runs, and the lock that keeps two of them apart.
import Posix
import SheafCore

struct PlanRecord {
  /// When the first run began, and the last one that was not skipped.
  var first: Timestamp?
  var began: Timestamp?
  var ended: Timestamp?
  /// Its exit code.
  var exit: Int32?
  /// When the last run began, where its store was not there.
  var skipped: Timestamp?
  /// When a run last ended well.
  var good: Timestamp?
  /// When a check of the store last found no damage.
  var checked: Timestamp?
  /// When some files were last restored by the store's own script for a trial.
  var scripted: Timestamp?
  /// By store, as its UUID names it: the point since which nothing is pruned there.
  var spikes: [String: String] = [:]
  /// When somebody was last told that nothing had been heard for long.
  var toldOfSilence: Timestamp?

  private static let times: [(String, WritableKeyPath<PlanRecord, Timestamp?> & Sendable)] = [
    ("first", \.first), ("began", \.began), ("ended", \.ended), ("skipped", \.skipped), ("good", \.good),
    ("checked", \.checked), ("scripted", \.scripted), ("told-of-silence", \.toldOfSilence),
  ]

  /// Where the records are; nil: there is no home directory.
  private static var directory: Bytes? { Memory.directory?.joined(Bytes("plans")) }
  private static func name(_ plan: String) -> Bytes { Bytes("\(plan).run".utf8) }

  /// Empty where there is none, or none that can be read.
  static func read(_ plan: String) -> PlanRecord {
    var record = PlanRecord()
    guard let directory, let folder = try? Descriptor.open(directory, [.read, .directory]),
      let text = try? folder.open(name(plan), [.read, .noFollow, .nonBlocking]).readAll(atMost: 1 << 16)
    else { return record }
    for line in text.split(separator: 10) {
      let parts = line.split(separator: UInt8(ascii: "="), maxSplits: 1).map { Bytes($0).shown }
      guard parts.count == 2 else { continue }
      if let (_, path) = times.first(where: { $0.0 == parts[0] }) {
        record[keyPath: path] = Int64(parts[1]).map { Timestamp(seconds: $0) }
      } else if parts[0] == "exit" {
        record.exit = Int32(parts[1])
      } else if parts[0] == "spike" {
        let words = parts[1].split(separator: " ").map(String.init)
        if words.count == 2, let set = SetName(words[1]) { record.spikes[words[0]] = set.text }
      }
    }
    return record
  }

  func write(_ plan: String) throws {
    guard let directory = Self.directory else { return }
    var lines = Self.times.compactMap { name, path in self[keyPath: path].map { "\(name)=\($0.seconds)" } }
    if let exit { lines.append("exit=\(exit)") }
    for (store, point) in spikes.sorted(by: { $0.key < $1.key }) { lines.append("spike=\(store) \(point)") }
    do throws(SystemError) {
      let folder = try Descriptor.open(directory, [.read, .directory])
      let name = Self.name(plan)
      let file = try NewFile(name, in: folder, mode: 0o600)
      try file.descriptor.write(Bytes((lines.joined(separator: "\n") + "\n").utf8))
      try file.seal()
      try folder.rename(name + NewFile.partialSuffix, to: name)
    } catch { throw Failure(error) }
  }

  /// Held for as long as the descriptor is open: also by a step that outlives the run that began it.
  static func lock(_ plan: String) throws -> Descriptor {
    guard let directory else {
      throw Failure(.failed, "there is no place to remember the runs of plans", hint: "set HOME or XDG_STATE_HOME")
    }
    let file: Descriptor
    do throws(SystemError) {
      try Descriptor.makeDirectories(directory)
      file = try Descriptor.open(directory, [.read, .directory])
        .open(Bytes("\(plan).lock".utf8), [.readWrite, .create, .noFollow], mode: 0o600)
    } catch { throw Failure(error) }
    switch file.lockWhole(exclusive: true) {
    case .taken: return file
    case .heldByOther: throw Failure(.locked, "the plan '\(plan)' is running already")
    case .unknown:
      throw Failure(.failed, "\(Show.path(file.path)) cannot be locked: its file system has no locks")
    }
  }
}
