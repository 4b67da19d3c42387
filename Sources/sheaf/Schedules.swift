/// Where schedules are kept: units of systemd, and the user's crontab.
import Glibc
import Plan
import Posix
import SheafCore

/// A plan that runs by itself.
struct InstalledSchedule {
  let plan: String
  let when: String
  /// `systemd` or `cron`.
  let by: String

  var next: Timestamp? {
    guard case .calendar(let hours)? = Schedule(when) else { return nil }
    return hours.next(after: .now())
  }
}

struct Schedules {
  /// Where units are looked for and written; nil: there is no such place.
  let unitDirectory: Bytes?
  /// Whether systemd and cron are told: not where the units are for another place.
  let isLive: Bool

  /// `directory`: another place for units than the usual one.
  init(in directory: Bytes? = nil) {
    unitDirectory = directory ?? Self.usualDirectory
    isLive = directory == nil
  }

  /// Root's are the system's.
  private static var usualDirectory: Bytes? {
    if Host.isRoot { return Bytes("/etc/systemd/system") }
    if let place = Host.environment("XDG_CONFIG_HOME"), place.first == 47 { return place.joined(Bytes("systemd/user")) }
    return Host.environment("HOME").map { $0.joined(Bytes(".config/systemd/user")) }
  }

  /// sd_booted(3).
  static var hasSystemd: Bool { Sources.isThere(Bytes("run/systemd/system")) }

  var installed: [InstalledSchedule] {
    let cron = isLive ? (try? Self.cronLines()) ?? [] : []
    let all =
      units().map { InstalledSchedule(plan: $0.plan, when: $0.when, by: "systemd") }
      + cron.compactMap { line in
        Self.cronMark(line).map { InstalledSchedule(plan: $0.plan, when: $0.when, by: "cron") }
      }
    return all.sorted { ($0.plan, $0.by) < ($1.plan, $1.by) }
  }

  // MARK: - systemd

  private func units() -> [(plan: String, when: String)] {
    guard let directory = unitDirectory, let folder = try? Descriptor.open(directory, [.read, .directory]),
      let names = try? folder.sortedNames()
    else { return [] }
    return names.compactMap { name in
      guard name.starts(with: Bytes("sheaf-")), name.hasSuffix(".service"),
        let text = try? folder.open(name, [.read, .nonBlocking]).readAll(atMost: 1 << 16),
        text.starts(with: Bytes(ScheduledRun.mark.utf8))
      else { return nil }
      let when = Bytes(text.dropFirst(ScheduledRun.mark.utf8.count).prefix { $0 != 10 })
      return (Bytes(name.dropFirst(6).dropLast(8)).shown, when.shown)
    }
  }

  func write(_ run: ScheduledRun) throws {
    guard let directory = unitDirectory else {
      throw Failure(.failed, "there is no home directory for units", hint: "set HOME")
    }
    do throws(SystemError) {
      try Descriptor.makeDirectories(directory)
      let folder = try Descriptor.open(directory, [.read, .directory])
      for (name, text) in run.units {
        let file = try NewFile(Bytes(name.utf8), in: folder, mode: 0o644)
        try file.descriptor.write(text)
        try file.seal()
        try folder.rename(Bytes(name.utf8) + NewFile.partialSuffix, to: Bytes(name.utf8))
      }
      // Of an earlier schedule of another kind.
      if run.schedule == .onPlug { try? folder.removeFile(Bytes("\(run.unitName).timer".utf8)) }
    } catch { throw Failure(error) }
  }

  /// False where there were none.
  func removeUnits(_ plan: String) throws -> Bool {
    guard units().contains(where: { $0.plan == plan }), let directory = unitDirectory else { return false }
    let names = ["sheaf-\(plan).timer", "sheaf-\(plan).service"]
    for name in names where Sources.isThere(Bytes(directory.joined(Bytes(name.utf8)).drop { $0 == 47 })) {
      if isLive, Self.hasSystemd { try? Self.systemctl(["disable", "--now", name]) }
      do throws(SystemError) {
        try Descriptor.open(directory, [.read, .directory]).removeFile(Bytes(name.utf8))
      } catch { throw Failure(error) }
    }
    if isLive, Self.hasSystemd { try Self.systemctl(["daemon-reload"]) }
    return true
  }

  static func systemctl(_ words: [String]) throws {
    let all = ["systemctl"] + (Host.isRoot ? [] : ["--user"]) + words
    _ = try output(of: all.map { Bytes($0.utf8) })
  }

  // MARK: - cron

  /// What stands behind the command in a line of ours.
  private static func cronMark(_ line: Bytes) -> (plan: String, when: String)? {
    guard let mark = line.firstRange(of: Bytes(ScheduledRun.cronMark.utf8)) else { return nil }
    let parts = Bytes(line[mark.upperBound...]).shown.split(separator: ": ", maxSplits: 1).map(String.init)
    return parts.count == 2 ? (parts[0], parts[1]) : nil
  }

  private static func cronLines() throws -> [Bytes] {
    do { return try output(of: [Bytes("crontab"), Bytes("-l")]).split(separator: 10).map { Bytes($0) } } catch let
      failure as Failure where failure.message.contains("no crontab")
    { return [] }
  }

  static func writeCron(_ run: ScheduledRun) throws {
    guard let line = run.cronLine else {
      throw Failure(.usage, "cron does not know when a drive is plugged in", hint: "'on-plug' takes systemd")
    }
    try replaceCron(run.plan, with: [line])
  }

  /// False where there was none.
  static func removeCron(_ plan: String) throws -> Bool {
    let lines = (try? cronLines()) ?? []
    guard lines.contains(where: { cronMark($0)?.plan == plan }) else { return false }
    try replaceCron(plan, with: [])
    return true
  }

  private static func replaceCron(_ plan: String, with lines: [Bytes]) throws {
    // Where they cannot be read, this throws, and nothing is written.
    let others = try cronLines().filter { cronMark($0)?.plan != plan }
    let text = Bytes((others + lines).map { $0 + [10] }.joined())
    _ = try output(of: [Bytes("crontab"), Bytes("-")], input: text)
  }

  // MARK: - Programs

  private static func output(of words: [Bytes], input: Bytes = []) throws -> Bytes {
    let child: Child
    do throws(SystemError) { child = try Child(words, kind: .listener) } catch { throw Failure(error) }
    var (text, said) = (Bytes(), Bytes())
    // A crontab of more than a pipe holds is read while it is written.
    try? child.input.write(input)
    try? child.input.close()
    let end = child.follow(atMost: 60, endsGroup: true) { source, more in
      if source == .output { text += more } else if said.count < 1 << 16 { said += more }
    }
    guard end == .code(0) else {
      let words = words.map { Show.word($0) }.joined(separator: " ")
      let line = said.split(separator: 10).first.map { ": \(Show.path(Bytes($0)))" } ?? ""
      throw Failure(.failed, "'\(words)' failed\(line)")
    }
    return text
  }
}
