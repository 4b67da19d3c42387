/// The command lines that a plan stands for. What runs them is what runs those that are typed, so both are checked alike.
import Plan
import Posix
import SheafCore

/// What a command line of `sheaf run` says in the place of the plan.
struct RunOverrides {
  /// Options that name and open the store, in the place of the plan's own.
  var store: [String]?
  /// Options that open the store which the plan names.
  var opening: [String] = []
  var series: Bytes?
  /// Behind the plan's options, so that these count.
  var backup: [String] = []
}

struct PlanLine {
  let plan: Plan
  /// A path or an address.
  let store: Bytes
  let overrides: RunOverrides

  init(_ plan: Plan, at store: Bytes, _ overrides: RunOverrides) {
    (self.plan, self.store, self.overrides) = (plan, store, overrides)
  }

  /// With the home folder in the place of `~` at the beginning.
  static func expanded(_ path: Bytes) -> Bytes {
    guard path.starts(with: Bytes("~/")), let home = Host.environment("HOME") else { return path }
    return home + path.dropFirst()
  }

  private static let paths: Set = ["key", "passphrase-file", "exclude-from"]

  private static func words(_ settings: [Setting], prefix: String = "") -> [String] {
    settings.filter(\.isSet).map { setting in
      if case .flag = setting.value { return "--\(prefix)\(setting.key)" }
      return Arguments.option(prefix + setting.key, paths.contains(setting.key) ? expanded(setting.word) : setting.word)
    }
  }

  private var storeOptions: [String] {
    overrides.store ?? [Arguments.option("store", store)] + Self.words(plan.store.options) + overrides.opening
  }
  private var opening: [String] {
    storeOptions + ((overrides.series ?? plan.series?.word).map { [Arguments.option("series", $0)] } ?? [])
  }

  var series: Bytes { overrides.series ?? plan.series?.word ?? Backup.seriesName(Host.name()) }

  /// A command that only needs the store, to be typed.
  func typed(_ command: String) -> String {
    ([command] + opening).map { Show.word(Arguments.unescape($0)) }.joined(separator: " ")
  }

  func backup(dryRun: Bool = false) -> [String] {
    // The plan is what names the sources, and what says what is left out; what the drive remembers of others does not count.
    var line = ["backup", "--json"] + opening + ["--change-sources", "--change-excludes"]
    line += Self.words(plan.options) + Self.words(plan.exclusions) + overrides.backup
    line += plan.commands.map { Arguments.option("command", $0.path.word + Bytes("=") + $0.command.word) }
    if dryRun { line.append("--dry-run") }
    return line + ["--"] + plan.sources.map { Arguments.escape(Self.expanded($0.word)) }
  }

  /// nil: nothing is pruned. `canFold`: the key can read what would be merged.
  func prune(canFold: Bool = true, dryRun: Bool = false) -> [String]? {
    guard !plan.keep.isEmpty else { return nil }
    let fold = plan.folds && canFold ? ["--fold"] : []
    return ["prune", "--json"] + opening + Self.words(plan.keep, prefix: "keep-") + fold
      + (dryRun ? ["--dry-run"] : [])
  }

  func verify(isQuick: Bool) -> [String] {
    ["verify", "--json"] + opening + [Arguments.option("series", series)] + (isQuick ? ["--quick"] : [])
  }

  /// What is different between a point and the newest.
  func diff(since point: String) -> [String] {
    ["diff", "--json"] + opening + [Arguments.option("series", series), "--", point, "latest"]
  }

  func prove(_ share: Setting, byScript: Bool) -> [String] {
    ["prove", "--json"] + opening + [Arguments.option("series", series), Arguments.option("share", share.word)]
      + (byScript ? ["--script"] : [])
  }

  /// Of the whole store, whatever series it has.
  func report() -> [String] { ["report", "--json"] + storeOptions }

  func copy(to target: Bytes, _ store: PlanStore) -> [String] {
    let key = store.options.first { $0.key == "key" }.map { [Arguments.option("to-key", Self.expanded($0.word))] } ?? []
    return ["copy", "--json"] + opening + [Arguments.option("series", series), Arguments.option("to", target)] + key
  }
}
