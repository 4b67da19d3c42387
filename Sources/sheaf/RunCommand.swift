/// `sheaf run`: does what a plan says.
import ArgumentParser
import Plan
import Posix
import SheafCore

extension PlanStep: ExpressibleByArgument {}

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Do what a plan says.",
    usage: "sheaf run [PLAN ...] [--all] [-n] [OPTION ...]",
    discussion: """
      A plan of sheaf.toml is run in order: its hooks, backup, prune, check, copy, and whoever is to be told. If the file \
      has one plan alone, it need not be named. 'sheaf config init' makes a file to begin with.
      """)

  @Argument(
    help: ArgumentHelp("The plans to run, one after the other.", valueName: "PLAN"))
  var plans: [RawText] = []

  @Flag(help: "Run every plan of the file.")
  var all = false

  @OptionGroup var planFile: PlanFileOptions
  @OptionGroup var store: StoreOptions

  @Flag(help: "Write a full set.")
  var full = false

  @Flag(help: "Read every file and compare contents.")
  var checksum = false

  @Option(help: ArgumentHelp("How hard to compress, 0 (not at all) to 12.", valueName: "N"))
  var level: Int?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Leave out a step: hooks, prune, check, prove, copy, report or tell; may be repeated.", valueName: "STEP"))
  var skip: [PlanStep] = []

  @Flag(help: "Prune again after a run in which much was changed or gone.")
  var acceptSpike = false

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be saved and removed.")
  var dryRun = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    let (path, file) = try planFile.checked()
    let chosen = try choose(from: file, path)
    Console.shared.finishesWork.store(true, ordering: .relaxed)
    let overrides = overrides
    var ends: [(name: String, status: Status)] = []
    let start = Timestamp.monotonicNanoseconds()
    for plan in chosen {
      guard Interruption.progress.goesOn else {
        ends.append((plan.name, .interrupted))
        continue
      }
      if !output.json, !output.quiet { Console.shared.print("plan \(Console.shared.styled(plan.name, .bold))") }
      var run = PlanRun(
        plan, FoundStores(file), overrides, skipping: Set(skip), dryRun: dryRun, acceptsSpike: acceptSpike, output)
      var status = Status.failed
      do { status = try run.run() } catch let failure as Failure {
        status = Status.worst([run.status, Status(failure.kind)])
        Console.shared.error(failure.message, hint: failure.hint)
      }
      ends.append((plan.name, status))
    }
    let status = Status.worst(ends.map(\.status))
    if output.json {
      printJSON(ends, status, Timestamp.monotonicNanoseconds() - start)
    } else if !output.quiet {
      let took = Words.duration(Timestamp.monotonicNanoseconds() - start)
      let bad = ends.filter { $0.status != .success }.map { "\($0.name) (\(PlanReport.word($0.status)))" }
      Console.shared.print(
        bad.isEmpty
          ? "done in \(took)" : "not all is well: \(bad.joined(separator: ", ")); exit code \(status.rawValue)")
    }
    if status != .success { throw status }
  }

  private func choose(from file: PlanFile, _ path: Bytes) throws -> [Plan] {
    let names = file.plans.map(\.name)
    guard !file.plans.isEmpty else { throw Failure(.usage, "\(Show.path(path)) has no plan") }
    if all {
      guard plans.isEmpty else { throw Failure(.usage, "--all runs every plan: name none") }
      return file.plans
    }
    if plans.isEmpty {
      guard file.plans.count == 1 else {
        throw Failure(
          .usage, "there are several plans: name one, or --all", hint: "they are: \(names.joined(separator: ", "))")
      }
      return file.plans
    }
    var chosen: [Plan] = []
    for name in plans {
      guard let plan = file.plans.first(where: { Bytes($0.name.utf8) == name.bytes }) else {
        let near = nearestWords(to: name.bytes.shown, of: names)
        throw Failure(
          .usage, "there is no plan '\(Show.path(name.bytes))' in \(Show.path(path))",
          hint: near.isEmpty
            ? "there are: \(names.joined(separator: ", "))" : "did you mean \(near.joined(separator: " or "))?")
      }
      if !chosen.contains(where: { $0.name == plan.name }) { chosen.append(plan) }
    }
    return chosen
  }

  private var overrides: RunOverrides {
    var overrides = RunOverrides()
    let options = store.keys.words + store.remote.words
    if let given = store.store {
      overrides.store = [Arguments.option("store", given.bytes)] + options
    } else {
      overrides.opening = options
    }
    overrides.series = store.series?.bytes
    if full { overrides.backup.append("--full") }
    if checksum { overrides.backup.append("--checksum") }
    if let level { overrides.backup.append("--level=\(level)") }
    return overrides
  }

  private func printJSON(_ ends: [(name: String, status: Status)], _ status: Status, _ elapsed: Int64) {
    for end in ends {
      var json = JSON("plan")
      json.add("plan", end.name)
      json.add("exit", end.status.rawValue)
      json.print()
    }
    var json = JSON("summary")
    json.add("plans", ends.count)
    json.add("exit", status.rawValue)
    json.add("dry_run", dryRun)
    json.add("seconds", seconds: elapsed)
    json.print()
  }
}
