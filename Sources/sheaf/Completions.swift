/// What a shell proposes for the word at the cursor.
///
/// The parser's own scripts know the words of the program but not the line: an option before the command, a path inside the
/// point that `--at` names, a date beside a point's name are beyond them, and each shell's script would have to be mended
/// by itself. So the scripts of `CompletionScripts` are ours, the same few lines for each shell: they hand over the line as
/// it is typed up to the cursor, and show what comes back.
///
/// A store is asked by another process, for 0.3 s at most: a drive may hang where no signal helps. It is only read, nobody
/// is asked for anything, and other machines are not called at all. Where it does not answer, what this machine remembers
/// of its points and series stands in.
import ArgumentParser
import Posix
import SheafCore

struct Completions {
  struct Proposal: Hashable {
    /// The whole word without quotes. Where it ends with a slash it goes on.
    let value: String
    /// What is shown beside it.
    let about: String

    init(_ value: String, _ about: String = "") { (self.value, self.about) = (value, about) }
  }

  private static let question = "---complete"
  /// The same, asked by ourselves: what a store says.
  private static let storeQuestion = "---complete-from-store"

  /// Milliseconds.
  private static var patience: Int64 {
    Host.environment("SHEAF_COMPLETION_TIME").flatMap { Int64($0.shown) }.map { max(0, min($0, 60_000)) } ?? 300
  }

  let request: CompletionRequest
  private let started = Timestamp.monotonicNanoseconds()

  /// Whether a shell asks; then it has been answered. The first line says which files the shell is to propose itself, the
  /// second what stands before them in their word, and each other one is a proposal, a tab and what it is. For bash, where
  /// it proposes no files, what it is to put in stands before that, quoted, with a tab.
  ///
  ///     ---complete SHELL LINE [TEXT]      TEXT: the end of the line, which is what the shell replaces
  static func answer(_ arguments: [String]) -> Bool {
    guard let first = arguments.first, first == question || first == storeQuestion else { return false }
    guard arguments.count >= 3, let shell = ShellWord.Shell(rawValue: arguments[1]) else { return true }
    let text = arguments.dropFirst(3).first.map { Arguments.unescape($0).count }
    let line = CompletionLine(Arguments.unescape(arguments[2]), shell, replaced: text)
    let completions = Completions(request: CompletionRequest(line.words))
    if first == storeQuestion {
      write(completions.fromStore().map { "\($0.value)\t\($0.about)" })
      return true
    }
    let request = completions.request
    let kind: String
    switch request.wanted {
    case .files: kind = "files"
    case .directories, .stores: kind = "directories"
    default: kind = "none"
    }
    let lines = completions.proposals(arguments).compactMap { proposal -> String? in
      let word = Bytes((request.prefix.shown + proposal.value).utf8)
      guard word.starts(with: line.kept) else { return nil }
      let rest = Bytes(word.dropFirst(line.kept.count))
      let quoted = shell == .bash && kind == "none" ? line.quoted(rest).shown + "\t" : ""
      return "\(quoted)\(rest.shown)\t\(proposal.about)"
    }
    write([kind, request.prefix.shown] + lines)
    return true
  }

  private static func write(_ lines: [String]) {
    try? Descriptor.standardOutput.write(Bytes(lines.map { $0 + "\n" }.joined().utf8))
  }

  private func proposals(_ arguments: [String]) -> [Proposal] {
    switch request.wanted {
    case .nothing, .files, .directories: return []
    case .values(let values): return fitting(values.map { Proposal($0) })
    case .commands: return fitting(Self.named(Sheaf.configuration.subcommands))
    case .actions: return fitting(Self.named(request.actions))
    case .options: return fitting(options)
    case .stores: return stores
    case .labels:
      return fitting(Self.known.map { Proposal($0.label.isEmpty ? String($0.uuid.prefix(8)) : Show.path($0.label)) })
    case .plans: return fitting(plans)
    case .series:
      let found = askStore(arguments)
      return found.isEmpty ? fitting(Self.series(remembered.map(\.name))) : found
    case .points:
      let found = askStore(arguments)
      guard found.isEmpty else { return found }
      let wanted = request.value("--series")
      return fitting(Self.points(remembered.filter { wanted == nil || $0.name == wanted }.flatMap(\.points)))
    case .paths: return askStore(arguments)
    }
  }

  private func fitting(_ proposals: [Proposal]) -> [Proposal] {
    proposals.filter { Bytes($0.value.utf8).starts(with: request.typed) }
  }

  // MARK: - What is known here

  private static func named(_ commands: [any ParsableCommand.Type]) -> [Proposal] {
    commands.compactMap { command in
      command.configuration.commandName.map { Proposal($0, command.configuration.abstract) }
    }
  }

  /// Letters alone where no word says the same.
  private var options: [Proposal] {
    request.lines.flatMap { line in
      let long = line.names.filter { $0.hasPrefix("--") }
      return (long.isEmpty ? line.names : long).map { Proposal($0, line.about) }
    }
  }

  private var plans: [Proposal] {
    let file = try? PlanFilePlace(given: request.value("--config")).read().file
    return (file?.plans ?? []).map { Proposal($0.name, Show.path($0.store.setting.word)) }
  }

  private static var known: [KnownStore] { Memory.stores?.all() ?? [] }

  /// The paths and addresses of the known ones; what is typed may also be the beginning of a label, in the place of which
  /// the path comes.
  private var stores: [Proposal] {
    var seen: Set<Bytes> = []
    return Self.known.filter { store in
      store.path.shown.utf8.elementsEqual(store.path) && Show.path(store.path) == store.path.shown
        && (store.path.starts(with: request.typed) || store.label.starts(with: request.typed))
        && seen.insert(store.path).inserted
    }.map { Proposal($0.path.shown, "\($0.shownName), seen \(Words.ago($0.seen))") }
  }

  /// Of the store on the line where it is a known one, else of all.
  private var remembered: [KnownSeries] {
    let all = Self.known
    guard let text = request.store, request.command != StatusCommand.self else { return all.flatMap(\.series) }
    // Not asked where it leads: a drive may hang there.
    let here = text.first == 47 ? [] : (try? Host.resolved(Bytes("."))) ?? []
    let place = here.joined(Bytes(text.reversed().drop { $0 == 47 }.reversed()))
    let named = all.filter { $0.path == place }
    return (named.isEmpty ? all : named).flatMap(\.series)
  }

  /// Those that can be typed as they are shown.
  private static func series(_ names: [Bytes]) -> [Proposal] {
    Set(names.map { Show.path($0) }).sorted().filter { !$0.contains("\\") }.map { Proposal($0) }
  }

  /// Newest first.
  private static func points(_ sets: [SetName]) -> [Proposal] {
    var seen: Set<String> = []
    let newestFirst = sets.sorted { $0.point > $1.point }.filter { seen.insert($0.point).inserted }
    return [Proposal("latest")]
      + newestFirst.map { Proposal($0.point, "\(Words.time($0.time).dropLast(3)), \(Words.ago($0.time))") }
  }

  // MARK: - What the store says

  /// The answer of another process, or nothing where none comes in time.
  private func askStore(_ arguments: [String]) -> [Proposal] {
    guard let store = request.store, !StoreLocation.isRemote(store), request.command != StatusCommand.self,
      let program = try? Host.resolved(Bytes("/proc/self/exe")),
      let child = try? Child(
        [program, Bytes(Self.storeQuestion.utf8)] + arguments.dropFirst().map { Arguments.unescape($0) },
        kind: .unattended)
    else { return [] }
    let end = started + Self.patience * 1_000_000
    var text = Bytes()
    while true {
      let left = Int32(clamping: (end - Timestamp.monotonicNanoseconds()) / 1_000_000)
      guard left > 0, (try? child.output.hasInput(withinMilliseconds: left)) == true,
        let more = try? child.output.readSome(atMost: 1 << 16)
      else {
        // It is not waited for: a drive that hangs would not let it go.
        child.signalGroup(Self.killing)
        return []
      }
      if more.isEmpty { break }
      text += more
    }
    return text.shown.split(separator: "\n").map { line in
      let parts = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      return Proposal(String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
    }
  }

  /// SIGKILL.
  private static let killing: Int32 = 9

  private func fromStore() -> [Proposal] {
    do { return try asked() } catch { return [] }
  }

  private func asked() throws -> [Proposal] {
    guard let text = request.store, case .directory(let path) = try StoreLocation(text) else { return [] }
    let file = request.value("--key") ?? Host.environment("SHEAF_KEY").flatMap { $0.isEmpty ? nil : $0 }
    let store = try Store.open(path, keys: Keys(keyFile: file, directory: Memory.keys) { _, _ in nil })
    if request.wanted == .series { return fitting(Self.series(try store.seriesNames())) }
    let series = try store.series(request.value("--series"), host: Backup.seriesName(Host.name()))
    if request.wanted == .points { return fitting(Self.points(try series.sets())) }
    let point = try series.find(point: request.value("--at") ?? Bytes("latest"), now: .now())
    return try paths(series, Contents(series, point))
  }

  /// Folder by folder, wherever the command would look for such a path. Names that cannot be typed are proposed as they
  /// are shown, which the commands take.
  private func paths(_ series: Series, _ contents: Contents) throws -> [Proposal] {
    let slash = request.typed.lastIndex(of: 47)
    let folder = Bytes(slash.map { request.typed[...$0] } ?? [])
    let beginning = slash.map { request.typed[($0 + 1)...] } ?? request.typed[...]
    var found: Set<String> = []
    var seen: Set<Bytes> = []
    for place in try RawText.places(folder, below: series.newestSources()) where seen.insert(place).inserted {
      guard try contents.has(place) else { continue }
      try contents.list(place, recursive: false) { (entry, _) throws(Failure) in
        let name = entry.path.splitAtName.name
        let shown = Show.path(name)
        guard entry.path != place, name.starts(with: beginning) || Bytes(shown.utf8).starts(with: beginning),
          !folder.isEmpty || request.isBehindDashes || name.first != 45
        else { return }
        found.insert(folder.shown + shown + (entry.kind == .directory ? "/" : ""))
      }
    }
    return found.sorted().map { Proposal($0) }
  }
}
