/// `sheaf schedule`: has a plan run by itself.
import ArgumentParser
import Plan
import Posix
import SheafCore

struct ScheduleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule", abstract: "Have a plan run by itself.",
    usage: "sheaf schedule PLAN WHEN [--on-battery] [--print]\n    sheaf schedule --list | --remove PLAN",
    discussion: """
      WHEN is hourly, daily, weekly, monthly or days as in Mon..Fri, each with a time as in 18:00 if you like; or on-plug, \
      when the store's drive is mounted. It becomes units of systemd, root's for the system and others' for the user, or a \
      line of the crontab where there is no systemd.
      """)

  @Argument(help: ArgumentHelp("The plan.", valueName: "PLAN"))
  var plan: RawText?

  @Argument(help: ArgumentHelp("When it runs: daily, 'Mon..Fri 18:00', on-plug.", valueName: "WHEN"))
  var when: [RawText] = []

  @Flag(help: "Show what runs by itself, and when next.") var list = false

  @Option(
    help: ArgumentHelp("Have this plan not run by itself any more.", valueName: "PLAN"))
  var remove: RawText?

  @Flag(help: "Run also on battery.") var onBattery = false
  @Flag(help: "Take the crontab, also where there is systemd.") var cron = false
  @Flag(help: "Only print the units, or the line of the crontab.") var print = false

  @Option(
    name: .customLong("to"),
    help: ArgumentHelp("Write the units to DIR, or look for them there, and tell no systemd.", valueName: "DIR"))
  var directory: RawText?

  @OptionGroup var planFile: PlanFileOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    if list { return try showAll() }
    if let remove { return try removeSchedule(remove.bytes.shown) }
    guard let plan, !when.isEmpty else {
      throw Failure(
        .usage, "say which plan runs when", hint: "as in 'sheaf schedule home daily' or 'sheaf schedule --list'")
    }
    let scheduled = try scheduledRun(plan, when.map(\.bytes.shown).joined(separator: " "))
    if print { return show(scheduled) }
    if directory != nil {
      try schedules.write(scheduled)
    } else if Schedules.hasSystemd, !cron {
      try enable(scheduled)
    } else {
      _ = try schedules.removeUnits(scheduled.plan)
      try Schedules.writeCron(scheduled)
      if !output.quiet { Console.shared.note("cron does not catch up with what was missed while the machine was off") }
    }
    tell(scheduled)
  }

  private var schedules: Schedules {
    get throws { Schedules(in: try directory.map { [47] + (try Sources.absolute([$0.bytes])[0]) }) }
  }

  private func enable(_ run: ScheduledRun) throws {
    _ = try? Schedules.removeCron(run.plan)
    _ = try schedules.removeUnits(run.plan)
    try schedules.write(run)
    try Schedules.systemctl(["daemon-reload"])
    try Schedules.systemctl(["enable"] + (run.schedule == .onPlug ? [] : ["--now"]) + [run.enabledUnit])
    if !Host.isRoot, !output.quiet {
      Console.shared.note("it runs while you are logged in; 'loginctl enable-linger' lets it run always")
    }
  }

  // MARK: - What is to run

  private func scheduledRun(_ name: RawText, _ when: String) throws -> ScheduledRun {
    let (path, file) = try planFile.checked()
    guard let plan = file.plans.first(where: { Bytes($0.name.utf8) == name.bytes }) else {
      let near = nearestWords(to: name.bytes.shown, of: file.plans.map(\.name))
      throw Failure(
        .usage, "there is no plan '\(Show.path(name.bytes))' in \(Show.path(path))",
        hint: near.isEmpty ? nil : "did you mean \(near.joined(separator: " or "))?")
    }
    guard let schedule = Schedule(when) else {
      throw Failure(
        .usage, "'\(Show.path(Bytes(when.utf8)))' is no time",
        hint: "hourly, daily, weekly, monthly, 'daily 02:30', 'Mon..Fri 18:00', 'Sat,Sun 9:00', or on-plug")
    }
    let program: Bytes
    let whole: Bytes
    do throws(SystemError) {
      program = try Host.resolved(Bytes("/proc/self/exe"))
      whole = try Host.resolved(path)
    } catch { throw Failure(error) }
    var run = ScheduledRun(
      plan: plan.name, when: when, schedule: schedule,
      words: [program, Bytes("run"), Bytes("--quiet"), Bytes("--config"), whole, Bytes(plan.name.utf8)])
    // Services have none of these unless they are told.
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
      if let value = Self.variable(name), value.first == 47 { run.environment.append((name, value)) }
    }
    run.runsOnBattery = onBattery
    if schedule == .onPlug { run.mountPoint = try mountPoint(plan, file) }
    return run
  }

  private static func variable(_ name: String) -> Bytes? {
    switch name {
    case "HOME": Host.environment("HOME")
    case "XDG_CONFIG_HOME": Host.environment("XDG_CONFIG_HOME")
    case "XDG_STATE_HOME": Host.environment("XDG_STATE_HOME")
    default: Host.environment("XDG_CACHE_HOME")
    }
  }

  private func mountPoint(_ plan: Plan, _ file: PlanFile) throws -> Bytes {
    let stores = FoundStores(file)
    let place: FoundStores.Place
    do throws(PlanMistake) { place = try stores.place(plan.store) } catch {
      throw Failure(.usage, error.message, hint: error.hint)
    }
    guard !StoreLocation.isRemote(place.text) else {
      throw Failure(.usage, "the store of plan '\(plan.name)' is on another machine: there is nothing to plug in")
    }
    var found: Bytes?
    if case .at(let path) = place, let whole = try? Host.resolved(path) {
      found = MountTable.current()?.mount(of: Bytes(whole.drop { $0 == 47 })).map { [47] + $0.at }
    } else if let known = stores.known(place), known.path.count > known.pathOnDrive.count {
      found = Bytes(known.path.dropLast(known.pathOnDrive.isEmpty ? 0 : known.pathOnDrive.count + 1))
    }
    guard let found, found != Bytes("/"), !found.isEmpty else {
      throw Failure(
        .usage, "the store of plan '\(plan.name)' lies on no drive of its own",
        hint:
          "'on-plug' is for a drive that is mounted when it is plugged in; plug it in once, so that it is known where")
    }
    return found
  }

  // MARK: - What is shown

  private func show(_ run: ScheduledRun) {
    let console = Console.shared
    if Schedules.hasSystemd && !cron || run.cronLine == nil {
      for (name, text) in run.units {
        console.line("# \(name)")
        console.write(text + [10])
      }
    } else if let line = run.cronLine {
      console.write(line + [10])
    }
  }

  private func tell(_ run: ScheduledRun) {
    let next = InstalledSchedule(plan: run.plan, when: run.when, by: "").next
    if output.json {
      var json = JSON("summary")
      json.add("plan", run.plan)
      json.add("when", run.when)
      if let next { json.add("next", next) } else { json.addNull("next") }
      json.print()
    } else if !output.quiet {
      Console.shared.print(
        "plan \(run.plan) runs \(run.when)\(next.map { ", next at \(Words.time($0))" } ?? "")")
    }
  }

  private func showAll() throws {
    let all = try schedules.installed
    for one in all {
      if output.json {
        var json = JSON("schedule")
        json.add("plan", one.plan)
        json.add("when", one.when)
        json.add("by", one.by)
        if let next = one.next { json.add("next", next) } else { json.addNull("next") }
        json.print()
      } else {
        Console.shared.print(
          "plan \(one.plan)  \(one.when), by \(one.by)\(one.next.map { ", next at \(Words.time($0))" } ?? "")")
      }
    }
    if output.json {
      var json = JSON("summary")
      json.add("schedules", all.count)
      json.print()
    } else if all.isEmpty, !output.quiet {
      Console.shared.print("no plan runs by itself")
    }
  }

  private func removeSchedule(_ plan: String) throws {
    let units = try schedules.removeUnits(plan)
    let hasCron = try directory == nil && Schedules.removeCron(plan)
    guard units || hasCron else {
      throw Failure(
        .failed, "plan '\(Show.path(Bytes(plan.utf8)))' does not run by itself", hint: "see 'sheaf schedule --list'")
    }
    if output.json {
      var json = JSON("summary")
      json.add("plan", plan)
      json.print()
    } else if !output.quiet {
      Console.shared.print("plan \(plan) does not run by itself any more")
    }
  }
}
