/// `sheaf config`: the file of plans: checked, begun, shown.
import ArgumentParser
import Plan
import Posix
import SheafCore

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Check, begin and show the file of plans.",
    usage: "sheaf config ACTION [--config FILE] ...",
    discussion: """
      Plans are kept in ~/.config/sheaf/sheaf.toml, or for the whole system in /etc/sheaf/sheaf.toml. The manual page \
      sheaf.toml(5) has every key.
      """,
    subcommands: [ConfigCheckCommand.self, ConfigInitCommand.self, ConfigShowCommand.self])

  func run() throws { throw Failure(.usage, "say what to do with the file of plans: check, init or show") }
}

struct ConfigCheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Say what is wrong with the file of plans, and where.",
    usage: "sheaf config check [--config FILE]")

  @OptionGroup var planFile: PlanFileOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let (path, file) = try planFile.place.read()
    let mistakes = PlanCheckup(file, parsesLines: true).mistakes
    for mistake in mistakes {
      if output.json { printJSON(mistake, path) }
      Console.shared.error(mistake.message(in: path), hint: mistake.hint)
    }
    if output.json {
      var json = JSON("summary")
      json.add("file", path)
      json.add("plans", file.plans.map { Bytes($0.name.utf8) })
      json.add("mistakes", mistakes.count)
      json.print()
    }
    guard mistakes.isEmpty else { throw Status.usage }
    if !output.json, !output.quiet {
      Console.shared.list(
        Console.shared.path(path), "\(Words.count(file.plans.count, "plan")), no mistake", between: ": ")
    }
  }

  private func printJSON(_ mistake: PlanMistake, _ path: Bytes) {
    var json = JSON("mistake")
    json.add("file", path)
    json.add("line", mistake.at.line)
    json.add("column", mistake.at.column)
    json.add("message", mistake.message)
    json.add("hint", mistake.hint)
    json.print()
  }
}

struct ConfigShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show what counts, and where it stands.",
    usage: "sheaf config show [PLAN ...] [--config FILE]")

  @Argument(
    help: ArgumentHelp("Only these plans.", valueName: "PLAN"))
  var plans: [RawText] = []

  @OptionGroup var planFile: PlanFileOptions
  @OptionGroup var output: OutputOptions

  /// A value that counts, and the line that says so; nil: no line does.
  private typealias Row = (key: String, value: String, line: Int?)

  func run() throws {
    let (path, file) = try planFile.checked()
    let why = try planFile.place.found().why
    for name in plans where !file.plans.contains(where: { Bytes($0.name.utf8) == name.bytes }) {
      throw Failure(.usage, "there is no plan '\(Show.path(name.bytes))' in \(Show.path(path))")
    }
    if !output.json { Console.shared.list(Console.shared.path(path), "(\(why))") }
    let stores = FoundStores(file)
    for plan in file.plans where plans.isEmpty || plans.contains(where: { $0.bytes == Bytes(plan.name.utf8) }) {
      let place = try? stores.place(plan.store)
      let rows = Self.rows(plan, place)
      let line = PlanLine(plan, at: place?.text ?? [], RunOverrides())
      if output.json { printJSON(plan, rows, path) } else { printWords(plan, rows, line) }
    }
    if output.json {
      var json = JSON("summary")
      json.add("file", path)
      json.add("why", why)
      json.add("plans", file.plans.map { Bytes($0.name.utf8) })
      json.print()
    }
  }

  private static func rows(_ plan: Plan, _ place: FoundStores.Place?) -> [Row] {
    func row(_ setting: Setting, prefix: String = "") -> Row {
      (prefix + setting.key, Show.path(setting.word), setting.at.line)
    }
    var rows: [Row] = []
    switch place {
    case .at(let path): rows.append(("store", Show.path(path), plan.store.setting.at.line))
    case .away(let path): rows.append(("store", "\(Show.path(path)), not plugged in", plan.store.setting.at.line))
    case nil: break
    }
    rows += plan.store.options.map { row($0, prefix: "store.") }
    rows.append(plan.series.map { row($0) } ?? ("series", Show.path(Backup.seriesName(Host.name())), nil))
    rows += plan.sources.map { ("source", Show.path(PlanLine.expanded($0.word)), $0.at.line) }
    rows += plan.commands.map {
      ("command", "\(Show.path($0.path.word)) = \(Show.path($0.command.word))", $0.path.at.line)
    }
    rows += plan.options.map { row($0) } + plan.exclusions.map { row($0) }
    rows += plan.keep.map { row($0, prefix: "keep.") }
    if !plan.keep.isEmpty {
      rows += [("keep.fold", plan.folds ? "true" : "false", nil), ("keep.spike", "\(plan.spike) %", nil)]
    }
    if let check = plan.check {
      rows.append(
        ("check", "\(check.isQuick ? "quick" : "full"), every \(Words.duration(check.every * 1_000_000_000))", nil))
    }
    if let share = plan.share { rows.append(row(share)) }
    if plan.writesPage { rows.append(("report", "true", nil)) }
    rows += plan.copies.map { copy in
      (
        "copy to", Show.path(copy.store.setting.word) + (copy.skipsMissing ? ", if it is there" : ""),
        copy.store.setting.at.line
      )
    }
    rows.append(("if-missing", plan.skipsMissing ? "skip" : "fail", nil))
    for (name, hooks) in [
      ("before", plan.hooks.before), ("after", plan.hooks.after), ("on-failure", plan.hooks.onFailure),
    ] {
      rows += hooks.map { ("hooks.\(name)", Show.path($0.word), $0.at.line) }
    }
    func seconds(_ count: Int64) -> String { Words.duration(count * 1_000_000_000) }
    if !(plan.hooks.before + plan.hooks.after + plan.hooks.onFailure).isEmpty {
      rows.append(("hooks.time-limit", seconds(Int64(plan.hooks.timeLimit)), nil))
    }
    if let telling = plan.telling {
      rows.append(("tell.on", telling.isAlways ? "always" : "failure", nil))
      if telling.usesDesktop { rows.append(("tell.desktop", "true", nil)) }
      if let silence = telling.silence { rows.append(("tell.silence", seconds(silence), nil)) }
      rows.append(("tell.time-limit", seconds(Int64(telling.timeLimit)), nil))
      rows += [telling.command, telling.mail, telling.url].compactMap { $0 }.map { row($0, prefix: "tell.") }
    }
    return rows
  }

  private func printWords(_ plan: Plan, _ rows: [Row], _ line: PlanLine) {
    let console = Console.shared
    console.print("")
    console.print("plan \(console.styled(plan.name, .bold)), line \(plan.at.line)")
    let table = Table([.left("", 16), .right("", 8)], room: console.columns)
    for row in rows { console.line(table.line([row.key, row.line.map { "line \($0)" } ?? "-"], row.value)) }
    for words in [line.backup(), line.prune()].compactMap({ $0 }) {
      let text = words.filter { $0 != "--json" }.map { Show.word(Arguments.unescape($0)) }.joined(separator: " ")
      console.print("  sheaf \(text)")
    }
  }

  private func printJSON(_ plan: Plan, _ rows: [Row], _ path: Bytes) {
    for row in rows {
      var json = JSON("setting")
      json.add("plan", plan.name)
      json.add("key", row.key)
      json.add("value", row.value)
      json.add("file", path)
      if let line = row.line { json.add("line", line) } else { json.addNull("line") }
      json.print()
    }
  }
}

struct ConfigInitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Write a file of plans to begin with.",
    usage: "sheaf config init [--config FILE] [--yes] [-s STORE]\n    [SOURCE ...]",
    discussion: "Asks for what is not given, unless --yes takes what is usual. What is there is never overwritten.")

  @Argument(help: ArgumentHelp("What to save.", valueName: "SOURCE")) var sources: [RawText] = []

  @Option(
    name: [.customShort("s", allowingJoined: true), .long], help: ArgumentHelp("The store.", valueName: "STORE"))
  var store: RawText?

  @Option(help: ArgumentHelp("The address that is told by mail of what fails.", valueName: "ADDRESS")) var mail:
    RawText?

  @Flag(name: [.customShort("y"), .long], help: "Ask nothing.") var yes = false

  @Option(help: ArgumentHelp("The file, instead of ~/.config/sheaf/sheaf.toml.", valueName: "FILE")) var config:
    RawText?

  @OptionGroup var output: OutputOptions

  func run() throws {
    let place =
      config?.bytes
      ?? (Host.isRoot ? Bytes("/etc/sheaf/sheaf.toml") : Memory.configuration?.joined(Bytes("sheaf.toml")))
    guard let place else { throw Failure(.failed, "there is no home directory to write to", hint: "use --config FILE") }
    let whole = [47] + (try Sources.absolute([place])[0])
    let (parent, name) = whole.splitAtName
    guard !name.isEmpty, !Sources.isThere(Bytes(whole.dropFirst())) else {
      throw Failure(
        .usage, "\(Show.path(place)) is there already",
        hint: "another plan is another [plans.NAME] in it; 'sheaf config show\(GivenStore.config)' shows what it has")
    }
    var starter = Starter(
      sources: try absolute(sources.map(\.bytes)), store: try store.map { try Self.whole($0.bytes) })
    starter.mail = mail?.bytes
    if !yes { try ask(&starter) }
    if starter.sources.isEmpty { starter.sources = Starter.usualSources }
    let text = starter.text
    if let mistake = PlanFile(text).mistakes.first {
      throw Failure(.usage, mistake.message, hint: mistake.hint)
    }
    do throws(SystemError) {
      try Descriptor.makeDirectories(parent)
      let folder = try Descriptor.open(parent.isEmpty ? Bytes("/") : parent, [.read, .directory])
      let file = try NewFile(name, in: folder, mode: 0o600)
      try file.descriptor.write(text)
      try file.seal()
      try file.publish()
    } catch { throw Failure(error) }
    if output.json {
      var json = JSON("summary")
      json.add("file", place)
      json.print()
    } else if !output.quiet {
      Console.shared.list(Bytes("wrote"), Show.path(place), between: " ")
      if starter.store == nil { Console.shared.print("name your store in it, where it says so") }
      let file = GivenStore.config
      if let store = starter.store, !StoreLocation.isRemote(store), store.first == 47, !FoundStores.isStore(store) {
        Console.shared.print("there is no store yet: 'sheaf init -s \(Show.word(store))' makes it")
      }
      Console.shared.print("then: 'sheaf config check\(file)', 'sheaf run\(file) -n', 'sheaf run\(file)'")
    }
  }

  private func absolute(_ paths: [Bytes]) throws -> [Bytes] { try Sources.absolute(paths).map { [47] + $0 } }

  private static func whole(_ store: Bytes) throws -> Bytes {
    guard !StoreLocation.isRemote(store), !store.shown.contains("://") else { return store }
    let path = try Sources.absolute([store])[0]
    return store.contains(47) || Sources.isThere(path) ? [47] + path : store
  }

  private func ask(_ starter: inout Starter) throws {
    guard let terminal = Terminal.open() else {
      throw Failure(.usage, "there is no terminal to ask on", hint: "--yes asks nothing")
    }
    if starter.sources.isEmpty {
      let usual = Starter.usualSources.map { Show.word($0) }.joined(separator: " ")
      let answer = try Self.answer("Which folders are to be saved? [\(usual)] ", terminal)
      starter.sources = try absolute(Self.words(answer))
      for source in starter.sources where !Sources.isThere(Bytes(source.dropFirst())) {
        Console.shared.say("\(Show.path(source)) is not there")
      }
    }
    if starter.store == nil {
      let seen = Memory.stores?.all().first { $0.whereabouts(drives: [], asking: nil).place != nil }?.path
      let answer = try Self.answer(
        "Where is the store, or is it to be? [\(Show.path(seen ?? Starter.someStore))] ", terminal)
      starter.store = try Self.words(answer).first.map(Self.whole) ?? seen
    }
    if starter.mail == nil {
      let answer = try Self.answer("Who gets a mail when something fails? [nobody] ", terminal)
      starter.mail = answer.isEmpty ? nil : answer
    }
  }

  private static func answer(_ question: String, _ terminal: Descriptor) throws -> Bytes {
    let isCancelled = { Interruption.progress.isCancelled.load(ordering: .relaxed) }
    let line: Bytes?
    do throws(SystemError) {
      try terminal.write(Bytes(question.utf8))
      line = try terminal.waitForInput(unless: isCancelled) ? try terminal.readSome(atMost: 4096) : nil
    } catch { throw Failure(error) }
    guard let line else { throw Failure(.interrupted, "interrupted") }
    // The end of input, ^D, which Enter is not.
    guard !line.isEmpty else {
      Console.shared.say("")
      throw Failure(.interrupted, "stopped: nothing was written")
    }
    return Bytes(line.prefix { $0 != 10 && $0 != 13 })
  }

  /// The words of an answer as a shell takes them: quotes go, and `~` at the beginning is the home folder. A `$` is one.
  private static func words(_ text: Bytes) -> [Bytes] {
    var words: [Bytes] = []
    var rest = text[...].drop(while: ShellWord.isBlank)
    while let first = rest.first {
      let word = ShellWord(at: rest, .bash, expands: false)
      let isHome = first == UInt8(ascii: "~")
      words.append(isHome ? PlanLine.expanded(word.text == Bytes("~") ? Bytes("~/") : word.text) : word.text)
      rest = text[word.end...].drop(while: ShellWord.isBlank)
    }
    return words
  }
}
