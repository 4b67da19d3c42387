/// Plans that run by themselves.
import Foundation
import Posix
import TestSupport
import Testing

struct ScheduleTests {
  private static func fixture() throws -> (PlanFixture, Raw) {
    let f = try PlanFixture()
    try f.write(
      "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n[plans.\"a.b-c_d\"]\nstore = \"@T\"\nsources = [\"@S\"]\n[plans.far]\nstore = \"sftp://h/x\"\nsources = [\"@S\"]\n"
    )
    return (f, Raw(f.scratch.path("units")))
  }

  static let times: [(String, systemd: String, cron: String)] = [
    ("hourly", "*-*-* *:00:00", "0 * * * *"), ("daily", "*-*-* 00:00:00", "0 0 * * *"),
    ("daily 02:30", "*-*-* 02:30:00", "30 2 * * *"), ("weekly", "Mon *-*-* 00:00:00", "0 0 * * 1"),
    ("weekly 6:05", "Mon *-*-* 06:05:00", "5 6 * * 1"), ("monthly 23:59", "*-*-01 23:59:00", "59 23 1 * *"),
    ("Mon..Fri 18:00", "Mon,Tue,Wed,Thu,Fri *-*-* 18:00:00", "0 18 * * 1,2,3,4,5"),
    ("sat,SUN", "Sat,Sun *-*-* 00:00:00", "0 0 * * 6,0"),
    ("Sat..Mon 9:00", "Mon,Sat,Sun *-*-* 09:00:00", "0 9 * * 1,6,0"),
    ("7:15", "*-*-* 07:15:00", "15 7 * * *"),
  ]

  @Test(arguments: times) func timesAreWrittenForBoth(_ when: String, _ systemd: String, _ cron: String) throws {
    let (f, units) = try Self.fixture()
    try f.sheaf(["schedule", "home", Raw(when), "--to", units, "--config", Raw(f.config)])
    let timer = f.text("units/sheaf-home.timer")
    #expect(timer.contains("\nOnCalendar=\(systemd)\n") && timer.contains("\nPersistent=true\n"), "\(timer)")
    let line = try f.sheaf(["schedule", "home", Raw(when), "--print", "--cron", "--config", Raw(f.config)]).text
    #expect(line.hasPrefix("\(cron) env ") && line.hasSuffix(" # sheaf schedule: home: \(when)\n"), "\(line)")
    // The next moment, as date(1) has it.
    let json = try f.sheaf(["schedule", "--list", "--to", units, "--json"]).json()
    let next = try #require(json.first?["next"] as? String)
    let text = try Command("date", ["-d", Raw(next), "+%s %u %d %H:%M"]).run().checked().text.split(separator: " ")
    let seconds = try #require(Double(text[0]))
    #expect(seconds > Date().timeIntervalSince1970 - 2 && seconds < Date().timeIntervalSince1970 + 32 * 86400)
    if when.hasPrefix("Mon..Fri") { #expect((Int(text[1]) ?? 9) < 6 && text[3] == "18:00\n") }
    if when.hasPrefix("monthly") { #expect(text[2] == "01" && text[3] == "23:59\n") }
  }

  static let bad: [[Raw]] = [
    ["home", "noon"], ["home", "25:00"], ["home", "daily 7"], ["home", "hourly 7:00"], ["home", "Mon.."],
    ["home", "Mon..Fry"],
    ["home", "daily 1:00 2:00"], ["home", ""], ["home"], ["hom", "daily"], ["far", "on-plug"], ["home", "1:000"],
    ["home", "-1:00"],
    ["--remove", "home"],
  ]

  @Test(arguments: bad) func whatIsNoTimeIsRefused(_ words: [Raw]) throws {
    let (f, units) = try Self.fixture()
    let output = try f.command(["schedule", "--to", units, "--config", Raw(f.config)] + words).run()
    #expect(output.status == (words[0] == "--remove" ? 1 : 64) && output.errorText.contains("error: "), "\(output)")
    #expect(!exists(units.bytes))
  }

  @Test func unitsAreListedAndRemoved() throws {
    let (f, units) = try Self.fixture()
    let config: [Raw] = ["--config", Raw(f.config), "--to", units]
    try f.sheaf(["schedule", "home", "daily"] + config)
    try f.sheaf(["schedule", "a.b-c_d", "Mon..Fri", "18:00", "--on-battery"] + config)
    try f.sh("echo x >units/sheaf-own.service")
    let all = try f.sheaf(["schedule", "--list", "--to", units]).lines
    #expect(all.count == 2 && all[0].hasPrefix("plan a.b-c_d  Mon..Fri 18:00, by systemd, next at "), "\(all)")
    let service = f.text("units/sheaf-home.service")
    for line in ["Type=oneshot", "Nice=10", "IOSchedulingClass=best-effort", "ConditionACPower=true"] {
      #expect(service.contains("\n\(line)\n"), "\(service)")
    }
    #expect(!f.text("units/sheaf-a.b-c_d.service").contains("ConditionACPower"))
    // What it says is what runs.
    let line = service.split(separator: "\n").first { $0.hasPrefix("ExecStart=") }?.dropFirst(10) ?? ""
    try Command(
      "sh", ["-ec", Raw(String(line))], environment: ["HOME": Raw(f.scratch.path), "XDG_STATE_HOME": Raw(f.state)]
    ).run().checked()
    #expect(try f.points().count == 1)
    // Another time takes the place of the first.
    try f.sheaf(["schedule", "home", "weekly"] + config)
    #expect(try f.sheaf(["schedule", "--list", "--to", units]).lines.count == 2)
    try f.sheaf(["schedule", "--remove", "home", "--to", units])
    #expect(try f.sheaf(["schedule", "--list", "--to", units]).lines.count == 1)
    #expect(
      try Descriptor.open(units.bytes, [.read, .directory]).sortedNames().map(\.shown)
        == ["sheaf-a.b-c_d.service", "sheaf-a.b-c_d.timer", "sheaf-own.service"])
  }

  /// systemd takes them, whatever is in the paths.
  @Test(.enabled(if: Command.find("systemd-analyze") != nil, "systemd-analyze is not installed"))
  func systemdAcceptsThem() throws {
    let (f, units) = try Self.fixture()
    let odd = Raw(f.scratch.path("a b%n$HOME\"'\\é"))
    try Descriptor.workingDirectory.makeDirectory(odd.bytes)
    try Command("cp", [Raw(f.config), "\(odd)/sheaf.toml"]).run().checked()
    for when in Self.times.map(\.0) {
      try f.sheaf(["schedule", "home", Raw(when), "--to", units, "--config", "\(odd)/sheaf.toml"])
      let names: [Raw] = ["\(units)/sheaf-home.timer", "\(units)/sheaf-home.service"]
      let output = try Command("systemd-analyze", ["verify", "--man=no"] + names).run()
      #expect(output.status == 0 && !output.errorText.contains("sheaf-home"), "\(when): \(output)")
    }
  }

  /// The crontab of somebody who has other lines as well.
  @Test func aCrontabKeepsItsOtherLines() throws {
    let (f, _) = try Self.fixture()
    try f.sh(
      """
      mkdir bin
      cat >bin/crontab <<'X'
      #!/bin/sh
      tab=$(dirname "$0")/tab
      case $1 in
      -l) [ ! -e "$(dirname "$0")/broken" ] || { echo cannot read >&2; exit 1; }
          [ -e "$tab" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$tab" ;;
      -) cat >"$tab" ;;
      esac
      X
      chmod +x bin/crontab
      """)
    let environment: [String: Raw?] = ["PATH": "\(f.scratch.path("bin")):/usr/bin:/bin"]
    let config: [Raw] = ["--cron", "--config", Raw(f.config)]
    try f.sheaf(["schedule", "home", "daily"] + config, environment: environment)
    try f.sh("printf '# mine\\n1 2 3 4 5 true 100%%\\n' | cat - bin/tab >x; mv x bin/tab")
    try f.sheaf(["schedule", "home", "weekly"] + config, environment: environment)
    let tab = f.text("bin/tab")
    #expect(tab.hasPrefix("# mine\n1 2 3 4 5 true 100%\n0 0 * * 1 ") && tab.split(separator: "\n").count == 3, "\(tab)")
    #expect(try f.sheaf(["schedule", "--list"], environment: environment).text.contains("plan home  weekly, by cron"))
    // What cannot be read is not replaced.
    try f.sh("touch bin/broken")
    let broken = try f.sheaf(["schedule", "home", "daily"] + config, status: 1, environment: environment)
    #expect(broken.errorText.contains("cannot read") && f.text("bin/tab") == tab, "\(broken)")
    try f.sh("rm bin/broken")
    try f.sheaf(["schedule", "--remove", "home"], environment: environment)
    #expect(f.text("bin/tab") == "# mine\n1 2 3 4 5 true 100%\n")
    try f.sheaf(["schedule", "home", "on-plug"] + config, status: 64, environment: environment)
  }

  /// A drive that is mounted starts it.
  @Test(.enabled(if: Scratch.allowsEverything, "nothing can be mounted here")) func aDriveThatIsPluggedIn() throws {
    let (f, units) = try Self.fixture()
    let drive = Raw(f.scratch.path("my drive-1"))
    try Descriptor.workingDirectory.makeDirectory(drive.bytes)
    try Command("mount", ["-t", "tmpfs", "none", drive]).run().checked()
    defer { _ = try? Command("umount", [drive]).run() }
    try f.sheaf(["init", "-q", "-s", "\(drive)/backup"])
    try f.write("[plans.home]\nstore = \"\(drive.bytes.shown)/backup\"\nsources = [\"@S\"]\n")
    try f.run()
    let config: [Raw] = ["--to", units, "--config", Raw(f.config)]
    try f.sheaf(["schedule", "home", "on-plug"] + config)
    let name = try Command("systemd-escape", ["--path", "--suffix=mount", drive]).run()
    let wanted = name.succeeded ? name.lines[0] : "my\\x20drive\\x2d1.mount"
    let service = f.text("units/sheaf-home.service")
    #expect(service.contains("WantedBy=") && service.contains(wanted) && service.contains("After="), "\(service)")
    #expect(!exists(units.bytes.joined(Bytes("sheaf-home.timer".utf8))))
    // It is known also while it is away, where it lies on a file system of its own.
    try Command("umount", [drive]).run().checked()
    let away = try f.sheaf(["schedule", "home", "on-plug"] + config)
    #expect(away.succeeded)
  }
}
