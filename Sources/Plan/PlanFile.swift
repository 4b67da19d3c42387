/// A file of plans: `sheaf.toml`, as sheaf.toml(5) describes it.
import Posix
import SheafCore
import Storage

public struct PlanFile: Sendable {
  public var plans: [Plan] = []
  /// Those that have a table, by name.
  public var stores: [String: PlanStore] = [:]
  /// What is wrong, in the order of the text. With any, no plan of the file is to be run.
  public var mistakes: [PlanMistake] = []

  public init(_ text: Bytes) {
    let found = PlanTable.Mistakes(text)
    do throws(TOMLMistake) {
      let root = PlanTable(try TOMLReader.read(text), name: "", at: 0, found)
      for (name, table) in root.named("stores", "store") { stores[name] = Self.store(name, table) }
      plans = root.named("plans", "plan").compactMap { self.plan($0.name, $0.table) }
      root.finish()
    } catch {
      found.add(error.offset, error.message)
    }
    mistakes = found.all.sorted { $0.at < $1.at }
  }

  // MARK: - Stores

  private static func store(_ name: String, _ table: PlanTable) -> PlanStore? {
    defer { table.finish() }
    let places: [PlanStore.Place?] = [
      table.path("path").map { .at($0) }, table.line("url").map { .at($0) }, table.line("label").map { .known($0) },
    ]
    let options = [
      table.path("key"), table.path("passphrase-file"), table.text("passphrase-command"), table.text("sftp-command"),
      table.line("s3-endpoint"), table.time("retry-for"), table.size("limit-upload", atLeast: RateLimits.least),
      table.size("limit-download", atLeast: RateLimits.least),
    ]
    if options[1] != nil, options[2] != nil {
      table.mistakes.add(table.offset, "a passphrase comes from a file or from a command, not from both")
    }
    let given = places.compactMap { $0 }
    guard given.count == 1 else {
      table.mistakes.add(table.offset, "\(table.name) has one of 'path', 'url' and 'label'")
      return nil
    }
    return PlanStore(name: name, place: given[0], options: options.compactMap { $0 })
  }

  private func store(_ setting: Setting) -> PlanStore {
    if let named = stores[setting.word.shown] { return named }
    let isPath = setting.word.first == 47 || setting.word.starts(with: Bytes("~/"))
    let isAddress = setting.word.shown.contains("://")
    return PlanStore(place: isPath || isAddress ? .at(setting) : .known(setting))
  }

  // MARK: - Plans

  private func plan(_ name: String, _ table: PlanTable) -> Plan? {
    defer { table.finish() }
    let at = table.mistakes.position(table.offset)
    let store = table.line("store").map { self.store($0) }
    var plan = Plan(name: name, at: at, store: store ?? PlanStore(place: .known(Setting("store", .text([]), at: at))))
    plan.series = table.line("series")
    plan.sources = table.paths("sources")
    plan.commands = table.pairs("commands").map { PlanCommand(path: $0.0, command: $0.1) }
    for command in plan.commands where command.path.word.first != 47 {
      table.mistakes.all.append(
        PlanMistake(
          at: command.path.at, "'\(Show.path(command.path.word))' is no absolute path",
          hint: "\"/dumps/shop.sql\" = \"pg_dump shop\" makes a file of what the command prints"))
    }
    plan.skipsMissing = table.choice("if-missing", ["fail", "skip"])?.word == Bytes("skip")
    readOptions(table, &plan)
    readKeep(table, &plan)
    readCheck(table, &plan)
    plan.share = table.share("prove")
    readCopies(table, &plan)
    plan.writesPage = table.flag("report")?.isSet ?? false
    readHooks(table, &plan)
    plan.telling = telling(table)
    let isNamed = { (key: StaticString) in table.table[Bytes(key)] != nil }
    if !isNamed("store") { table.mistakes.add(table.offset, "\(table.name) names no 'store'") }
    if !isNamed("sources"), !isNamed("commands") {
      table.mistakes.add(
        table.offset, "\(table.name) saves nothing", hint: "it takes 'sources', folders and files, or 'commands'")
    }
    return store == nil ? nil : plan
  }

  private func readOptions(_ table: PlanTable, _ plan: inout Plan) {
    plan.options = [
      table.flag("one-file-system"), table.number("level", in: BackupOptions.levels),
      table.size("volume-size", atLeast: BackupOptions.leastVolume), table.age("full-every"),
      table.flag("skip-unchanged"), table.flag("checksum"), table.flag("full-entries"), table.size("keep-free"),
      table.text("comment"), table.flag("allow-missing"), table.flag("no-reread"), table.flag("reread"),
      table.time("command-time-limit"), table.size("compress-above"),
      table.number("modify-window", in: BackupOptions.modifyWindows), table.number("jobs", in: BackupOptions.jobs),
    ].compactMap { $0 }
    plan.exclusions =
      table.texts("exclude") + table.paths("exclude-from") + table.texts("exclude-if-present")
      + [table.flag("exclude-caches"), table.size("exclude-larger-than")].compactMap { $0 }
  }

  private func readKeep(_ table: PlanTable, _ plan: inout Plan) {
    guard let keep = table.table("keep") else { return }
    defer { keep.finish() }
    let periods = ["hourly", "daily", "weekly", "monthly", "yearly"]
    plan.keep =
      (["last"] + periods).compactMap { keep.keepCount($0) }
      + (["within"] + periods.map { "\($0)-within" }).compactMap { keep.age($0) }
      + keep.texts("tag")
    plan.folds = keep.flag("fold")?.isSet ?? false
    if case .number(let percent)? = keep.number("spike", in: 0...100)?.value { plan.spike = percent }
    if !plan.keep.isEmpty, plan.keep.allSatisfy({ $0.word == Bytes("0") }) {
      keep.mistakes.add(keep.offset, "the rules of \(keep.name) keep nothing")
    }
    if plan.keep.isEmpty {
      keep.mistakes.add(keep.offset, "\(keep.name) has no rule", hint: "as in: keep = { daily = 14, monthly = 12 }")
    }
  }

  private func readCheck(_ table: PlanTable, _ plan: inout Plan) {
    guard let check = table.table("check") else { return }
    defer { check.finish() }
    let isQuick = check.choice("how", ["full", "quick"])?.word == Bytes("quick")
    guard let every = check.age("every"), let age = Age(every.word.shown) else {
      if check.table[Bytes("every")] == nil {
        check.mistakes.add(
          check.offset, "\(check.name) does not say how often", hint: "as in: check = { every = \"30d\" }")
      }
      return
    }
    plan.check = PlanCheck(every: age.seconds, isQuick: isQuick)
  }

  private func readCopies(_ table: PlanTable, _ plan: inout Plan) {
    let words = "'copies' of \(table.name)"
    for (text, inner) in table.elements("copies", words) {
      let name = text ?? inner?.line("to")
      let skips = inner?.choice("if-missing", ["fail", "skip"])?.word == Bytes("skip")
      inner?.finish()
      guard let name else {
        if let inner, inner.table[Bytes("to")] == nil {
          inner.mistakes.add(inner.offset, "a copy names its store in 'to'")
        }
        continue
      }
      let store = self.store(name)
      if let other = store.options.first(where: { $0.key != "key" }) {
        table.mistakes.all.append(
          PlanMistake(at: name.at, "the store of a copy is opened by its 'key' alone, not by '\(other.key)'"))
      }
      plan.copies.append(PlanCopy(store: store, skipsMissing: skips))
    }
  }

  private func readHooks(_ table: PlanTable, _ plan: inout Plan) {
    guard let hooks = table.table("hooks") else { return }
    defer { hooks.finish() }
    plan.hooks.before = hooks.texts("before")
    plan.hooks.after = hooks.texts("after")
    plan.hooks.onFailure = hooks.texts("on-failure")
    plan.hooks.timeLimit = hooks.seconds("time-limit") ?? plan.hooks.timeLimit
  }

  private func telling(_ table: PlanTable) -> PlanTelling? {
    guard let tell = table.table("tell") else { return nil }
    defer { tell.finish() }
    var telling = PlanTelling()
    telling.isAlways = tell.choice("on", ["failure", "always"])?.word == Bytes("always")
    telling.silence = tell.age("silence").flatMap { Age($0.word.shown)?.seconds }
    telling.command = tell.text("command")
    telling.mail = tell.line("mail")
    telling.url = tell.line("url")
    telling.usesDesktop = tell.flag("desktop")?.isSet ?? false
    telling.timeLimit = tell.seconds("time-limit") ?? telling.timeLimit
    if let url = telling.url, !["http://", "https://"].contains(where: { url.word.starts(with: Bytes($0.utf8)) }) {
      tell.mistakes.all.append(PlanMistake(at: url.at, "'url' begins with http:// or https://"))
    }
    if telling.command == nil, telling.mail == nil, telling.url == nil, !telling.usesDesktop {
      tell.mistakes.add(
        tell.offset, "\(tell.name) names nobody", hint: "it takes 'command', 'mail', 'url' or 'desktop'")
    }
    return telling
  }
}
