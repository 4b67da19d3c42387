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
  /// The series that it was saved into, by the stores' UUIDs.
  var series: [String: Bytes] = [:]
  /// When somebody was last told that nothing had been heard for long.
  var toldOfSilence: Timestamp?

  private static let times: [(String, WritableKeyPath<PlanRecord, Timestamp?> & Sendable)] = [
    ("first", \.first), ("began", \.began), ("ended", \.ended), ("skipped", \.skipped), ("good", \.good),
    ("told-of-silence", \.toldOfSilence),
  ]

  /// Where the records are; nil: there is no home directory.
  private static var directory: Bytes? { Memory.directory?.joined(Bytes("plans")) }
  private static func name(_ plan: String) -> Bytes { Bytes("\(plan).run".utf8) }

  /// Empty where there is none, or none that can be read.
  static func read(_ plan: String) -> PlanRecord {
    var record = PlanRecord()
    for (key, value) in lines(of: name(plan)) ?? [] {
      if let (_, path) = times.first(where: { $0.0 == key }) {
        record[keyPath: path] = Int64(value).map { Timestamp(seconds: $0) }
      } else if key == "exit" {
        record.exit = Int32(value)
      } else if key == "series" {
        let words = value.split(separator: " ", maxSplits: 1).map(String.init)
        if words.count == 2 { record.series[words[0]] = Bytes(words[1].utf8) }
      }
    }
    return record
  }

  func write(_ plan: String) throws(Failure) {
    var lines = Self.times.compactMap { name, path in self[keyPath: path].map { "\(name)=\($0.seconds)" } }
    if let exit { lines.append("exit=\(exit)") }
    for (store, name) in series.sorted(by: { $0.key < $1.key }) where Show.isUTF8(name) {
      lines.append("series=\(store) \(name.shown)")
    }
    try Self.write(lines, as: Self.name(plan))
  }

  /// `KEY=VALUE`, a line each; nil where there is no such file, or none that can be read.
  static func lines(of name: Bytes) -> [(key: String, value: String)]? {
    guard let directory, let folder = try? Descriptor.open(directory, [.read, .directory]),
      let text = try? folder.open(name, [.read, .noFollow, .nonBlocking]).readAll(atMost: 1 << 16)
    else { return nil }
    return text.split(separator: 10).compactMap { line in
      let parts = line.split(separator: UInt8(ascii: "="), maxSplits: 1).map { Bytes($0).shown }
      return parts.count == 2 ? (parts[0], parts[1]) : nil
    }
  }

  static func write(_ lines: [String], as name: Bytes) throws(Failure) {
    guard let directory else { return }
    do throws(SystemError) {
      let folder = try Descriptor.open(directory, [.read, .directory])
      let file = try NewFile(name, in: folder, mode: 0o600)
      try file.descriptor.write(Bytes((lines.joined(separator: "\n") + "\n").utf8))
      try file.seal()
      try folder.rename(name + NewFile.partialSuffix, to: name)
    } catch { throw Failure(error) }
  }

  /// Whether a run of the plan is going on.
  static func isRunning(_ plan: String) -> Bool {
    guard let directory, let folder = try? Descriptor.open(directory, [.read, .directory]),
      let file = try? folder.open(Bytes("\(plan).lock".utf8), [.read, .noFollow, .nonBlocking])
    else { return false }
    return file.lockWhole(exclusive: false) == .heldByOther
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
