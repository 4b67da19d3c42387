/// What makes a plan run by itself: units of systemd, or a line of a crontab. Texts only; who puts them somewhere is another.
import Posix
import SheafCore

public struct ScheduledRun: Sendable {
  public var plan: String
  /// As the user wrote it.
  public var when: String
  public var schedule: Schedule
  /// The program and its arguments.
  public var words: [Bytes]
  public var environment: [(name: String, value: Bytes)] = []
  public var runsOnBattery = false
  /// Where the store's drive is mounted, for `on-plug`.
  public var mountPoint: Bytes?

  public init(plan: String, when: String, schedule: Schedule, words: [Bytes]) {
    (self.plan, self.when, self.schedule, self.words) = (plan, when, schedule, words)
  }

  public static let mark = "# made by 'sheaf schedule': "
  public static let cronMark = "# sheaf schedule: "

  // MARK: - systemd

  public var unitName: String { "sheaf-\(plan)" }
  /// Which of the units is enabled.
  public var enabledUnit: String { "\(unitName).\(schedule == .onPlug ? "service" : "timer")" }

  /// Names of files, and what is in them.
  public var units: [(name: String, text: Bytes)] {
    guard case .calendar(let hours) = schedule else { return [("\(unitName).service", service)] }
    let timer = """
      \(Self.mark)\(when)
      [Unit]
      Description=When the backup plan \(plan) runs
      Documentation=man:sheaf(1)

      [Timer]
      OnCalendar=\(hours.systemd)
      Persistent=true

      [Install]
      WantedBy=timers.target

      """
    return [("\(unitName).service", service), ("\(unitName).timer", Bytes(timer.utf8))]
  }

  private var service: Bytes {
    var text = Bytes("\(Self.mark)\(when)\n[Unit]\nDescription=Backup plan \(plan)\nDocumentation=man:sheaf(1)\n".utf8)
    if !runsOnBattery { text += Bytes("ConditionACPower=true\n") }
    let mount = mountPoint.map { Self.unit(ofMount: $0) }
    if let mount { text += Bytes("After=\(mount)\n".utf8) }
    text += Bytes("\n[Service]\nType=oneshot\nExecStart=")
    text += Bytes(words.map { Self.quoted($0, isCommand: true) }.joined(separator: [32])) + Bytes("\n")
    for (name, value) in environment {
      text += Bytes("Environment=") + Self.quoted(Bytes("\(name)=".utf8) + value, isCommand: false) + Bytes("\n")
    }
    text += Bytes("Nice=10\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n")
    // A drive that is mounted starts it, whoever mounted it.
    if let mount { text += Bytes("\n[Install]\nWantedBy=\(mount)\n".utf8) }
    return text
  }

  /// The unit of a mount point, as systemd.unit(5) escapes paths.
  static func unit(ofMount path: Bytes) -> String {
    let parts = path.split(separator: 47)
    guard !parts.isEmpty else { return "-.mount" }
    var name = ""
    for (index, byte) in parts.joined(separator: [47]).enumerated() {
      switch byte {
      case 47: name += "-"
      case 48...57, 65...90, 97...122, 58, 95: name.unicodeScalars.append(Unicode.Scalar(byte))
      case 46 where index > 0: name += "."
      default: name += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }
    return name + ".mount"
  }

  /// In double quotes, with specifiers and variables taken for themselves: systemd.service(5), section COMMAND LINES.
  private static func quoted(_ word: Bytes, isCommand: Bool) -> Bytes {
    var result = Bytes("\"")
    for byte in word {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): result += [UInt8(ascii: "\\"), byte]
      case UInt8(ascii: "%"): result += Bytes("%%")
      case UInt8(ascii: "$") where isCommand: result += Bytes("$$")
      case 0..<32, 127: result += Bytes(("\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)).utf8)
      default: result.append(byte)
      }
    }
    return result + Bytes("\"")
  }

  // MARK: - cron

  /// nil: cron knows nothing of drives.
  public var cronLine: Bytes? {
    guard case .calendar(let hours) = schedule else { return nil }
    let variables = environment.filter { $0.name != "HOME" }
    var line = Bytes("\(hours.cron) ".utf8)
    if !variables.isEmpty {
      line += Bytes("env ")
      for (name, value) in variables { line += Self.shellWord(Bytes("\(name)=".utf8) + value) + [32] }
    }
    line += Bytes("nice -n 10 ") + Bytes(words.map(Self.shellWord).joined(separator: [32]))
    // A percent sign would end the command: crontab(5).
    let escaped = line.flatMap { $0 == UInt8(ascii: "%") ? Bytes("\\%") : [$0] }
    return escaped + Bytes(" \(Self.cronMark)\(plan): \(when)".utf8)
  }

  private static func shellWord(_ word: Bytes) -> Bytes {
    [39] + word.flatMap { $0 == 39 ? Bytes("'\\''") : [$0] } + [39]
  }
}
