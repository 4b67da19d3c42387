/// What a plan's run shows of its steps.
import Posix
import SheafCore

enum PlanReport {
  static func show(_ step: StepResult, _ plan: String, _ output: OutputOptions) {
    if output.json {
      var json = JSON("step")
      json.add("plan", plan)
      json.add("step", step.name)
      json.add("exit", step.status.rawValue)
      json.add("message", step.words)
      json.add("seconds", seconds: step.elapsed)
      if let summary = step.summary, Show.isUTF8(summary.text) { json.add("summary", json: summary.text.shown) }
      json.print()
    } else if !output.quiet {
      Console.shared.print(line(step))
    }
  }

  static func line(_ step: StepResult) -> String {
    let state = step.status == .success ? "" : "\(word(step.status)): "
    return "  \(Words.left(step.name, 7)) \(state)\(step.words)"
  }

  static func word(_ status: Status) -> String {
    switch status {
    case .success: "done"
    case .failed, .usage: "failed"
    case .incomplete: "incomplete"
    case .damaged: "damage found"
    case .noStore: "no store"
    case .locked: "in use"
    case .interrupted: "interrupted"
    }
  }

  static func backup(_ s: SummaryLine, _ rotting: Int, isDryRun: Bool) -> String {
    var counts = ["new", "changed", "deleted", "moved", "unseen"].compactMap { word -> String? in
      let count = s.number("files_\(word)")
      return count == 0 ? nil : "\(Words.count(count)) \(word)"
    }
    if rotting > 0 { counts.append("\(Words.count(rotting)) that may rot") }
    let what = counts.isEmpty ? "nothing new, changed or deleted" : counts.joined(separator: ", ")
    if isDryRun { return "would save \(what)" }
    guard let set = s.word("set") else { return "no set written: \(what)" }
    let reason = s.word("full_because").flatMap { $0 == "asked for" ? nil : ", because \($0)" } ?? ""
    return "saved \(set)\(reason): \(what); wrote \(Words.size(s.number("bytes_written")))"
  }

  static func prune(_ s: SummaryLine, _ isDryRun: Bool) -> String {
    let needed = s.number("sets_needed")
    let more = needed == 0 ? "" : ", and \(Words.count(needed)) that others build on"
    let kept = Words.count(s.number("points_kept"), "point")
    if isDryRun { return "would keep \(kept)\(more)" }
    let removed = "\(Words.count(s.count("removed"), "set")), \(Words.size(s.number("bytes_freed")))"
    let made = s.count("made")
    let done = made == 0 ? "removed \(removed)" : "made \(Words.count(made, "set")) out of \(removed)"
    return "\(kept) kept\(more); \(done)"
  }

  static func verify(_ s: SummaryLine) -> String {
    let points = Words.count(s.number("points"), "point")
    return s.number("damages") == 0 ? "no damage in \(points)" : "\(Words.count(s.number("damages"), "finding"))"
  }

  static func prove(_ s: SummaryLine) -> String {
    let what = "\(Words.count(s.number("files"), "file")), \(Words.size(s.number("bytes")))"
    let other = s.number("different")
    let script = s.number("files_by_script")
    let also = script == 0 ? "" : ", \(Words.count(script)) of them by restore.sh as well"
    let end = other == 0 ? "came back as they were saved" : "were tried, \(Words.count(other)) came back otherwise"
    return "\(what) \(end)\(also)"
  }

  static func page(_ s: SummaryLine) -> String { "a page of \(Words.size(s.number("bytes")))" }

  static func copy(_ s: SummaryLine, _ target: Bytes) -> String {
    "\(Words.count(s.number("sets"), "set")), \(Words.size(s.number("bytes"))) to \(Show.path(target))"
  }
}

/// What somebody is told of a run.
struct PlanMessage {
  let plan: String
  let status: Status
  let steps: [StepResult]
  let silences: [String]
  /// Nanoseconds.
  let elapsed: Int64

  /// In a line of ASCII that fits into a mail's header, RFC 5322.
  var subject: String {
    let host = Host.name().filter { (33...126).contains($0) }.shown
    let what = silences.isEmpty || status != .success ? PlanReport.word(status) : "long not run"
    return "sheaf: \(plan) on \(host): \(what)\(status == .success ? "" : " (exit code \(status.rawValue))")"
  }

  var text: String {
    var lines = ["plan \(plan), \(Words.time(.now())): \(PlanReport.word(status)), exit code \(status.rawValue)", ""]
    lines += silences
    lines += steps.map(PlanReport.line)
    let said = steps.flatMap(\.said)
    if !said.isEmpty { lines += ["", "What was said:"] + said.map { "  \($0)" } }
    lines += ["", "It took \(Words.duration(elapsed))."]
    return lines.joined(separator: "\n") + "\n"
  }
}

extension Status {
  /// From the least to the worst. What may have been lost comes before what was not done, and that before what was done
  /// in part; who interrupts knows it.
  private static let ranks: [Status] = [
    .success, .incomplete, .locked, .noStore, .usage, .failed, .damaged, .interrupted,
  ]

  static func worst(_ all: [Status]) -> Status {
    ranks.last { all.contains($0) } ?? .success
  }
}
