/// Which file of plans counts, and what it says; see sheaf.toml(5).
import ArgumentParser
import Plan
import Posix
import SheafCore

struct PlanFileOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The file of plans, instead of ~/.config/sheaf/sheaf.toml or /etc/sheaf/sheaf.toml.", valueName: "FILE"))
  var config: RawText?

  var place: PlanFilePlace { PlanFilePlace(given: config?.bytes) }

  /// Only where nothing is wrong with it: the first mistakes are shown and the last is thrown.
  func checked() throws -> (path: Bytes, file: PlanFile) {
    let (path, file) = try place.read()
    let mistakes = PlanCheckup(file).mistakes
    for mistake in mistakes.dropLast() { Console.shared.error(mistake.message(in: path), hint: mistake.hint) }
    if let last = mistakes.last { throw Failure(.usage, last.message(in: path), hint: last.hint) }
    return (path, file)
  }
}

struct PlanFilePlace {
  /// nil: one of the usual places.
  var given: Bytes?

  /// The file that counts, and why.
  func found() throws -> (path: Bytes, why: String) {
    if let given { return (given, "given with --config") }
    let own = Memory.configuration?.joined(Bytes("sheaf.toml"))
    let system = Bytes("/etc/sheaf/sheaf.toml")
    if let own, Sources.isThere(Bytes(own.drop { $0 == 47 })) { return (own, "the user's own") }
    if Sources.isThere(Bytes(system.drop { $0 == 47 })) { return (system, "the system's") }
    let places = ([own, system].compactMap { $0 }).map { Show.path($0) }.joined(separator: " nor at ")
    throw Failure(.usage, "there is no file of plans at \(places)", hint: "'sheaf config init' makes one")
  }

  /// Bytes: no plan is longer.
  private static let limit = 1 << 20

  func read() throws -> (path: Bytes, file: PlanFile) {
    let path = try found().path
    let text: Bytes
    let status: Posix.Status
    do throws(SystemError) {
      let file = try Descriptor.open(path, [.read, .nonBlocking])
      status = try file.status()
      text = try file.readAll(atMost: Self.limit + 1)
    } catch { throw Failure(error) }
    // What it says is run: nobody else is to write it.
    guard status.mode & 0o002 == 0, status.uid == 0 || status.uid == Host.userID else {
      throw Failure(
        .usage, "\(Show.path(path)) can be written by others, who could have any command run",
        hint: "chmod o-w, or chown, the file")
    }
    guard text.count <= Self.limit else {
      throw Failure(.usage, "\(Show.path(path)) holds more than \(Words.size(Self.limit))")
    }
    return (path, PlanFile(text))
  }
}

extension PlanMistake {
  /// `FILE:LINE:COLUMN: …`, as compilers have it.
  func message(in path: Bytes) -> String { "\(Show.path(path)):\(at.line):\(at.column): \(message)" }
}

/// What can be seen of a file's plans without running them: beyond what stands in the text, whether this machine knows the
/// stores and, where it `parsesLines`, whether the commands take what they are given. A run finds that out by itself.
struct PlanCheckup {
  let mistakes: [PlanMistake]

  init(_ file: PlanFile, parsesLines: Bool = false) {
    var mistakes = file.mistakes
    let stores = FoundStores(file)
    for plan in file.plans {
      let all = [plan.store] + plan.copies.map(\.store)
      for store in all where !store.setting.word.isEmpty {
        do throws(PlanMistake) { _ = try stores.place(store) } catch { mistakes.append(error) }
      }
      let line = PlanLine(plan, at: Bytes("/nowhere"), RunOverrides())
      if parsesLines, mistakes.isEmpty, let words = Self.complaint(line.backup()) ?? Self.complaint(line.prune() ?? [])
      {
        mistakes.append(PlanMistake(at: plan.at, "plan '\(plan.name)': \(words)"))
      }
    }
    // A store that several plans name is looked for once for each.
    var seen: Set<String> = []
    self.mistakes = mistakes.sorted { $0.at < $1.at }.filter { seen.insert($0.message(in: [])).inserted }
  }

  private static func complaint(_ words: [String]) -> String? {
    guard !words.isEmpty else { return nil }
    do { _ = try Sheaf.parseAsRoot(words) } catch { return String(Sheaf.message(for: error).prefix { $0 != "\n" }) }
    return nil
  }
}

/// Where the stores of a file's plans are.
struct FoundStores {
  let file: PlanFile
  private let known = Memory.stores?.all() ?? []

  init(_ file: PlanFile) { self.file = file }

  enum Place {
    /// A path or an address.
    case at(Bytes)
    /// A drive that is not plugged in, where it was last.
    case away(Bytes)

    var text: Bytes {
      switch self {
      case .at(let text), .away(let text): text
      }
    }
  }

  /// Throws where no such store is known.
  func place(_ store: PlanStore) throws(PlanMistake) -> Place {
    let setting = store.setting
    guard case .known = store.place else {
      let text = PlanLine.expanded(setting.word)
      let location: StoreLocation
      do throws(Failure) { location = try StoreLocation(text) } catch {
        throw PlanMistake(at: setting.at, error.message, hint: error.hint)
      }
      if case .directory = location, text.shown.contains("://") {
        throw PlanMistake(at: setting.at, "\(Show.path(text)) is an address of a kind that is not known")
      }
      return location.isRemote || Self.isStore(text) ? .at(text) : .away(text)
    }
    let matching = self.matching(setting.word)
    guard let found = matching.first else {
      let names = file.stores.keys.sorted() + known.map { $0.label.shown }.filter { !$0.isEmpty }
      let near = nearestWords(to: setting.word.shown, of: names)
      throw PlanMistake(
        at: setting.at, "unknown store '\(Show.path(setting.word))'",
        hint: near.isEmpty
          ? "it is a path, an address, a table [stores.NAME] of the file, or the label of a store that was seen here"
          : "did you mean \(near.joined(separator: " or "))?")
    }
    guard matching.count == 1 else {
      throw PlanMistake(
        at: setting.at, "several stores have the label '\(Show.path(setting.word))'",
        hint: "name one by its UUID; see 'sheaf status --json'")
    }
    if found.isRemote { return .at(found.path) }
    return found.whereabouts(drives: Host.drives(), asking: nil).place.map { .at($0) } ?? .away(found.path)
  }

  private func matching(_ word: Bytes) -> [KnownStore] {
    known.filter { $0.label == word || word.count >= 8 && $0.uuid.hasPrefix(word.shown) }
  }

  static func isStore(_ path: Bytes) -> Bool {
    (try? Descriptor.open(path, [.pathOnly, .directory]).status(of: Bytes("sheaf.store"))) != nil
  }

  /// When the store was last seen from here; nil: never.
  func seen(_ place: Place) -> Timestamp? { known(place)?.seen }

  func known(_ place: Place) -> KnownStore? {
    let path = place.text
    let resolved = (try? Host.resolved(path)) ?? path
    return known.first { $0.path == path || $0.path == resolved }
  }
}
