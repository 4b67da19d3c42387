/// `sheaf status`: every store this machine knows, plugged in or not.
import ArgumentParser
import Posix
import SheafCore

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show every store this machine knows, plugged in or not.",
    usage: "sheaf status [--at POINT] [--check] [--forget STORE]",
    discussion: """
      Each drive of a rotation has its own chain. With --at it says which drive holds the point for a time.
      """)

  @Option(
    help: ArgumentHelp("Say which drive has this point.", valueName: "POINT"))
  var at: RawText?

  @Option(help: ArgumentHelp("Only this series.", valueName: "NAME"))
  var series: RawText?

  @Option(
    help: ArgumentHelp("Forget the store with this UUID or label.", valueName: "STORE"))
  var forget: RawText?

  @Flag(help: "Ask the machines on which stores lie whether they are there.")
  var check = false

  @OptionGroup var remote: RemoteOptions
  @OptionGroup var output: OutputOptions

  private typealias Found = (store: KnownStore, place: Whereabouts)

  func run() throws {
    guard let memory = Memory.stores else {
      throw Failure(.failed, "there is no place to remember stores", hint: "set HOME or XDG_STATE_HOME")
    }
    let stores = memory.all()
    if let forget { return try self.forget(forget.bytes, stores, memory) }
    let drives = Host.drives()
    if let series, !stores.contains(where: { !wanted($0).isEmpty }) {
      throw Failure(
        .failed, "no store that this machine knows has a series '\(Show.path(series.bytes))'",
        hint: "see 'sheaf status'")
    }
    let access = check ? remote.access : nil
    let known = stores.filter { series == nil || !wanted($0).isEmpty }.map {
      (store: $0, place: $0.whereabouts(drives: drives, asking: access))
    }
    if let at { return try tell(at.bytes, known) }
    let plans = series == nil ? PlanStatus.all() : []
    if output.json {
      for (store, place) in known { printJSON(store, place) }
      for plan in plans { plan.printJSON() }
      var json = JSON("summary")
      json.add("stores", known.count)
      json.print()
      return
    }
    if known.isEmpty, !output.quiet {
      Console.shared.print("this machine has not seen any store yet: plug in a drive, then 'sheaf points -s PATH'")
    }
    for (index, (store, place)) in known.enumerated() {
      if index > 0 { Console.shared.print("") }
      printTable(store, place)
    }
    if !plans.isEmpty { Console.shared.print("") }
    for plan in plans { plan.printWords() }
  }

  private func wanted(_ store: KnownStore) -> [KnownSeries] {
    store.series.filter { series == nil || $0.name == series!.bytes }
  }

  // MARK: - All stores

  private static func words(_ store: KnownStore, _ place: Whereabouts) -> String {
    let console = Console.shared
    let last = "last seen \(Words.ago(store.seen)) at \(Show.path(store.path))"
    switch place {
    case .at(let path):
      return "\(console.styled(store.isRemote ? "reachable" : "plugged in", .green)) at \(Show.path(path))"
    case .notHere: return "\(console.styled("not here", .yellow)), \(last)"
    case .remote: return "on another machine, \(last)"
    case .unreachable(let why): return "\(console.styled("not reachable", .yellow)) (\(why)), \(last)"
    }
  }

  private func printTable(_ store: KnownStore, _ place: Whereabouts) {
    let console = Console.shared
    console.print("\(console.styled(store.shownName, .bold))  \(Self.words(store, place))")
    let rows = wanted(store)
    let names = rows.map { Show.columns(Show.path($0.name)) }.max() ?? 0
    let points = rows.map { Show.columns($0.newest.text) }.max() ?? 0
    let table = Table(
      [
        .left("series", min(max(names, 9), 20)), .left("newest point", max(points, 23)), .right("age", 5),
        .right("points", 6, rank: 2), .right("chain", 5, rank: 3), .right("size", 7, rank: 1),
      ], rest: 10, room: console.columns)
    console.print(console.styled(table.heading("verified"), .dim))
    for s in rows {
      let cells = [
        Show.path(s.name), s.newest.text, Words.age(s.started), Words.count(s.points.count), Words.count(s.chainLength),
        Words.size(s.storedBytes),
      ]
      console.line(table.line(cells, Self.verified(s)))
      if let proved = Words.proved(s.proofs, newest: s.points.last?.point) { console.print("  \(proved)") }
    }
    if wanted(store).isEmpty { console.print("  no points yet") }
  }

  private static func verified(_ s: KnownSeries) -> String {
    if let found = s.damage.found { return Console.shared.styled("damage found \(Words.ago(found))", .red) }
    return s.verified.map(Words.ago) ?? Console.shared.styled("never", .yellow)
  }

  /// A store on another machine that was not asked is neither here nor away.
  private static func add(_ store: KnownStore, _ place: Whereabouts, to json: inout JSON) {
    if case .remote = place { json.addNull("plugged_in") } else { json.add("plugged_in", place.place != nil) }
    json.add("remote", store.isRemote)
    json.add("path", place.place ?? store.path)
  }

  private func printJSON(_ store: KnownStore, _ place: Whereabouts) {
    for s in wanted(store) {
      var json = JSON("series")
      json.add("uuid", store.uuid)
      json.add("label", store.label)
      Self.add(store, place, to: &json)
      json.add("seen", store.seen)
      json.add("series", s.name)
      json.add("newest", s.newest.text)
      json.add("time", s.started)
      json.add("digest", s.digest.hex)
      json.add("chain", s.chainLength)
      json.add("points", s.points.map { Bytes($0.text.utf8) })
      json.add("bytes", s.storedBytes)
      if let found = s.damage.found { json.add("damage_found", found) }
      json.add(s.proofs)
      if let verified = s.verified { json.add("verified", verified) } else { json.addNull("verified") }
      json.print()
    }
  }

  // MARK: - One point

  private func tell(_ text: Bytes, _ known: [Found]) throws {
    var found: [(store: KnownStore, place: Whereabouts, series: Bytes, set: SetName)] = []
    for (store, place) in known {
      for s in wanted(store) {
        do throws(Failure) {
          let set = try PointQuery.find(text, in: s.points, series: s.name, now: .now(), started: s.started)
          found.append((store, place, s.name, set))
        } catch  where error.kind == .usage { throw error } catch {}
      }
    }
    // The latest point first; of equal ones what is plugged in.
    found.sort { ($1.set.time, Self.distance($0.place)) < ($0.set.time, Self.distance($1.place)) }
    if output.json {
      for (store, place, name, set) in found {
        var json = JSON("point")
        json.add("uuid", store.uuid)
        json.add("label", store.label)
        json.add("series", name)
        json.add("set", set.text)
        Self.add(store, place, to: &json)
        json.print()
      }
    }
    guard let best = found.first else {
      throw Failure(.failed, "no store that this machine knows has a point at or before \(Show.path(text))")
    }
    if output.json { return }
    Console.shared.print(Self.sentence(best.store, best.place, best.set))
    for other in found.dropFirst() {
      Console.shared.print(
        "  \(other.store.shownName) has \(other.set.text) of '\(Show.path(other.series))'\(other.place.place == nil || other.store.isRemote ? "" : ", plugged in")"
      )
    }
  }

  private static func distance(_ place: Whereabouts) -> Int {
    switch place {
    case .at: 0
    case .remote: 1
    case .notHere, .unreachable: 2
    }
  }

  private static func sentence(_ store: KnownStore, _ place: Whereabouts, _ set: SetName) -> String {
    let name = store.shownName
    return switch place {
    case .at(let path):
      "\(set.text) is on '\(name)', \(store.isRemote ? "reachable" : "plugged in") at \(Show.path(path))"
    case .remote: "\(set.text) is on '\(name)' at \(Show.path(store.path))"
    case .unreachable(let why):
      "\(set.text) is on '\(name)' at \(Show.path(store.path)), which is not reachable: \(why)"
    case .notHere: "fetch '\(name)': it has \(set.text); last seen at \(Show.path(store.path))"
    }
  }

  private func forget(_ wanted: Bytes, _ stores: [KnownStore], _ memory: KnownStores) throws {
    let matching = stores.filter {
      wanted.count >= 8 && $0.uuid.hasPrefix(wanted.shown) || (!$0.label.isEmpty && $0.label == wanted)
    }
    guard matching.count == 1 else {
      throw Failure(
        .failed,
        matching.isEmpty
          ? "this machine knows no store '\(Show.path(wanted))'"
          : "several stores have the label '\(Show.path(wanted))'",
        hint: matching.isEmpty ? "see 'sheaf status'" : "name one by its UUID; see 'sheaf status --json'")
    }
    try memory.forget(uuid: matching[0].uuid)
    if !output.quiet { Console.shared.print("forgot '\(matching[0].shownName)'; nothing on the drive was changed") }
  }
}
