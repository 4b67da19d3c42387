/// What `sheaf status` says of plans: when each ran last and how that ended, and when it runs next.
import Plan
import Posix
import SheafCore

struct PlanStatus {
  let name: String
  private let record: PlanRecord
  private let schedules: [InstalledSchedule]

  /// Those of the file of plans, and those that run by themselves.
  static func all() -> [PlanStatus] {
    let installed = Schedules().installed
    var names = (try? PlanFilePlace().read())?.file.plans.map(\.name) ?? []
    for one in installed where !names.contains(one.plan) { names.append(one.plan) }
    return names.map { name in
      PlanStatus(name: name, record: .read(name), schedules: installed.filter { $0.plan == name })
    }
  }

  private var next: Timestamp? { schedules.compactMap(\.next).min() }

  func printWords() {
    let console = Console.shared
    var parts: [String] = []
    if let began = record.began {
      let end = record.exit.flatMap { Status(rawValue: $0) }
      let words =
        switch end {
        case .success?: console.styled("done", .green)
        case let end?: console.styled("\(PlanReport.word(end)) (exit code \(end.rawValue))", .yellow)
        case nil where PlanRecord.isRunning(name): "it is going on"
        case nil: console.styled("it did not come to its end", .yellow)
        }
      parts.append("last run \(Words.ago(began)): \(words)")
      if end != .success, let good = record.good { parts.append("the last good one \(Words.ago(good))") }
    } else if record.skipped == nil {
      parts.append("never run")
    }
    if let skipped = record.skipped { parts.append("skipped \(Words.ago(skipped)): its store was not there") }
    for one in schedules { parts.append(one.next.map { "next at \(Words.time($0))" } ?? "runs \(one.when)") }
    for (store, series) in record.series.sorted(by: { $0.key < $1.key }) {
      guard let point = SeriesRecord(uuid: store, series: series).spike else { continue }
      let label = Memory.stores?.find(uuid: store)?.label ?? []
      parts.append("nothing is pruned\(label.isEmpty ? "" : " on '\(Show.path(label))'") since \(point)")
    }
    console.print("plan \(console.styled(name, .bold))  \(parts.joined(separator: "; "))")
  }

  func printJSON() {
    var json = JSON("plan")
    json.add("plan", name)
    if let began = record.began { json.add("last_run", began) } else { json.addNull("last_run") }
    json.add("running", PlanRecord.isRunning(name))
    if let exit = record.exit { json.add("exit", exit) } else { json.addNull("exit") }
    if let skipped = record.skipped { json.add("skipped", skipped) } else { json.addNull("skipped") }
    if let good = record.good { json.add("last_good", good) } else { json.addNull("last_good") }
    if let next { json.add("next_run", next) } else { json.addNull("next_run") }
    json.add("when", schedules.map { Bytes($0.when.utf8) })
    json.print()
  }
}
