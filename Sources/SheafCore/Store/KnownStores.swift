/// What this machine remembers of stores it has seen: a small file each, beside the user's other state. It notices a
/// store that was set back, and says which drive to fetch. Losing it loses nothing.
import Posix
import Tar

/// What is remembered of one point.
struct SeenPoint: Equatable, Sendable {
  var point: String
  /// The first 16 hexadecimal digits.
  var digest: String
  /// nil: as the name says.
  var started: Timestamp?

  init(_ set: SetName, _ foot: SetFoot, started: Timestamp? = nil) {
    point = set.point
    digest = String(foot.point.hex.prefix(16))
    self.started = started.flatMap {
      (-1...1).contains($0.seconds.subtracting(saturating: set.time.seconds)) ? nil : $0
    }
  }

  /// `POINT:DIGEST` or `POINT:DIGEST:STARTED`
  var text: String { "\(point):\(digest)" + (started.map { ":" + PointName.text($0) } ?? "") }

  init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { String($0) }
    guard parts.count == 2 || parts.count == 3, PointName.time(parts[0]) != nil, parts[1].utf8.count == 16 else {
      return nil
    }
    (point, digest) = (parts[0], parts[1])
    if parts.count == 3 { started = PointName.time(parts[2]) }
  }

  func isSame(_ foot: SetFoot) -> Bool { foot.point.hex.hasPrefix(digest) }
}

/// What a run saves and leaves out.
struct RunLists: Equatable, Sendable {
  var sources: [Bytes]?
  /// The options.
  var exclusions: [Bytes]?
}

public struct KnownStore: Sendable {
  public var uuid: String
  public var label: Bytes
  /// Where it was: absolute, or the address of a store on another machine.
  public var path: Bytes
  /// The part of that path below the file system's root.
  public var pathOnDrive: Bytes
  public var seen: Timestamp
  public var isEncrypted = false
  public var series: [KnownSeries] = []
  /// What runs from here were told, by the names of their series, of which it is not known that they ended. A series need
  /// not have any point yet.
  var begun: [Bytes: RunLists] = [:]
}

public struct KnownStores: Sendable {
  private let directory: Bytes
  private static let suffix = Bytes(".store")

  /// `directory`: where the files lie; made when the first is written.
  public init(_ directory: Bytes) { self.directory = directory }

  /// All stores seen so far, in the order of their labels.
  public func all() -> [KnownStore] {
    guard let folder = try? Descriptor.open(directory, [.read, .directory]), let names = try? folder.sortedNames()
    else { return [] }
    return names.filter { $0.suffix(Self.suffix.count).elementsEqual(Self.suffix) }.compactMap { read($0, folder) }
      .sorted {
        ($0.label.isEmpty ? $0.path : $0.label).lexicographicallyPrecedes($1.label.isEmpty ? $1.path : $1.label)
      }
  }

  public func find(uuid: String) -> KnownStore? {
    guard let folder = try? Descriptor.open(directory, [.read, .directory]), let name = Self.name(uuid) else {
      return nil
    }
    return read(name, folder)
  }

  /// Those that were last seen at a place, the latest first; nothing need be there now.
  public func seen(at place: StoreLocation) -> [KnownStore] {
    var paths = [place.text]
    if case .directory(let path) = place {
      let bare = Bytes(path.reversed().drop { $0 == 47 }.reversed())
      let (parent, name) = bare.splitAtName
      let above = bare.first == 47 ? parent + [47] : parent.isEmpty ? Bytes(".") : parent
      paths.append(bare)
      if let whole = try? Host.resolved(path) {
        paths.append(whole)
      } else if let folder = try? Host.resolved(above) {
        paths.append(folder == [47] ? [47] + name : folder.joined(name))
      }
    }
    return all().filter { paths.contains($0.path) }.sorted { $0.seen > $1.seen }
  }

  /// Throws where an encrypted store was at the place of this one, which is not: somebody may have put it there.
  func checkStillEncrypted(_ store: Store) throws(Failure) {
    guard !store.isEncrypted, let path = try? Host.resolved(store.path) else { return }
    guard let other = all().first(where: { $0.path == path && $0.isEncrypted }) else { return }
    throw Failure(
      .failed, "the store at \(Show.path(store.path)) was encrypted when last seen here: nothing was written",
      hint: "if this is to be: sheaf status --forget \(Show.word(other.label.isEmpty ? other.path : other.label))")
  }

  /// The newest point seen in the series, whether it is still there or not.
  func newestTime(of series: Series) -> Timestamp? {
    find(uuid: series.store.uuid)?.series.first { $0.name == series.name }?.newest.time
  }

  /// What was last backed up to the series from this machine, and what was left out; nil where that is not known.
  /// `begun`: the same of a run that was begun from here and may not have ended.
  func lists(of series: Series) -> (saved: RunLists, begun: RunLists?) {
    let store = find(uuid: series.store.uuid)
    let known = store?.series.first { $0.name == series.name }
    return (RunLists(sources: known?.sources, exclusions: known?.exclusions), store?.begun[series.name])
  }

  /// Remembers what a run is told, before it writes anything: it may be killed, and what it leaves is taken over by the
  /// next, which must know its lists for its own.
  func begin(_ series: Series, _ lists: RunLists, now: Timestamp) throws(Failure) {
    guard let name = Self.name(series.store.uuid), self.lists(of: series).saved != lists else { return }
    try system { () throws(SystemError) in try Descriptor.makeDirectories(directory) }
    let turn = awaitTurn()
    defer { try? turn?.close() }
    var known = try seen(series.store, now)
    known.begun[series.name] = lists
    try write(known, name)
  }

  private func seen(_ store: Store, _ now: Timestamp) throws(Failure) -> KnownStore {
    let isRemote = StoreLocation.isRemote(store.path)
    let path = isRemote ? store.path : try system { () throws(SystemError) in try Host.resolved(store.path) }
    var known =
      find(uuid: store.uuid)
      ?? KnownStore(uuid: store.uuid, label: store.label, path: path, pathOnDrive: [], seen: now)
    known.label = store.label
    known.path = path
    known.pathOnDrive = isRemote ? [] : Self.pathOnDrive(path)
    known.isEncrypted = store.isEncrypted
    known.seen = now
    return known
  }

  /// How a series stands to what was seen of it here; the texts are for people.
  public enum State: Equatable, Sendable {
    case asKnown
    /// Its newest point is one that was seen before others: it was set back, or is another copy. It may go on.
    case older(String)
    /// It contradicts what was seen: nothing may build on it.
    case contradicted(String)

    public var words: String? {
      switch self {
      case .asKnown: nil
      case .older(let words), .contradicted(let words): words
      }
    }
  }

  /// Whether nothing speaks against what was seen of it here.
  public func isAsKnown(_ series: Series) -> Bool { state(of: series) == .asKnown }

  /// Points that went from the middle (pruned, folded), or were dropped by name, are no news.
  public func state(of series: Series) -> State {
    guard let known = find(uuid: series.store.uuid)?.series.first(where: { $0.name == series.name }),
      let sets = try? series.sets()
    else { return .asKnown }
    let gone =
      "the newest point seen in the series '\(Show.path(series.name))' was \(known.newest.text), which is gone: the store was set back"
    let seen = known.seen + known.tips
    let names = Set(seen.map(\.point)).union(known.points.map(\.point))
    // The last one here that was seen before vouches for those before it.
    guard let same = sets.last(where: { names.contains($0.point) })
    else {
      if let newest = sets.last, newest.time >= known.newest.time { return .asKnown }
      return lostManifest(known, series) ?? .contradicted(gone)
    }
    let memories = seen.filter { $0.point == same.point }
    if !memories.isEmpty, let foot = try? series.foot(same), !memories.contains(where: { $0.isSame(foot) }) {
      return .contradicted(
        "the point \(same.text) is not the one that was seen here: its manifest was replaced by another")
    }
    guard let newest = sets.last, newest.time < known.newest.time else { return .asKnown }
    if let lost = lostManifest(known, series) { return lost }
    if known.tips.contains(where: { $0.point == newest.point }) || series.wasDropped(known.newest.point) {
      return .asKnown
    }
    return .older("\(gone) to \(newest.text), or it is another copy")
  }

  private func lostManifest(_ known: KnownSeries, _ series: Series) -> State? {
    guard let lost = try? series.withoutManifest(), lost.contains(where: { $0.point == known.newest.point }) else {
      return nil
    }
    return .contradicted(
      "the newest point, \(known.newest.text), has lost its manifest, which 'sheaf rebuild -s STORE' makes again")
  }

  /// What to do where two copies of a store have one identity.
  public static func copyHint(_ store: Store) -> String {
    "a copy that is used on its own gets its own identity with 'sheaf identify -s \(Show.word(store.path)) --new'"
  }

  /// Remembers the series as it is now. `verified`: everything has been read and is good.
  /// `saved`: the head of what was just backed up to it from here. `damage`, `proofs`: what the store could not take note of.
  public func remember(
    _ series: Series, now: Timestamp, verified: Bool = false, saved: SetHead? = nil, damage: DamageNote? = nil,
    proofs: ProofNote? = nil
  ) throws(Failure) {
    let store = series.store
    guard let name = Self.name(store.uuid) else { return }
    try system { () throws(SystemError) in try Descriptor.makeDirectories(directory) }
    let turn = awaitTurn()
    defer { try? turn?.close() }
    var known = try seen(store, now)
    if saved != nil { known.begun[series.name] = nil }
    let before = known.series.first { $0.name == series.name }
    known.series.removeAll { $0.name == series.name }
    let sets = try series.sets()
    if let newest = sets.last {
      let (head, foot) = (try series.head(newest), try series.foot(newest))
      var entry = KnownSeries(name: series.name, newest: newest, digest: foot.point, started: head.started)
      entry.chainLength = (try? series.chain(of: newest).count) ?? 1
      // Mostly only the newest is new.
      let isOneMore = before.map { $0.points == Array(sets.dropLast()) } ?? false
      entry.storedBytes = isOneMore ? before!.storedBytes : 0
      for set in isOneMore ? [newest] : sets {
        entry.storedBytes.add(saturating: (try? series.foot(set).storedBytes) ?? 0)
      }
      entry.verified = verified ? now : before?.verified
      entry.points = sets
      entry.damage = damage ?? (verified ? DamageNote() : series.damageNote(self))
      entry.damageIsUnwritten = damage != nil || !verified && before?.damageIsUnwritten == true
      entry.proofs = proofs ?? series.proofNote(self)
      remember(sets, newest, head, foot, of: series, before, &entry)
      entry.sources = saved?.sources ?? before?.sources
      entry.exclusions = saved?.exclusions ?? before?.exclusions
      known.series.append(entry)
      known.series.sort { $0.name.lexicographicallyPrecedes($1.name) }
    }
    try write(known, name)
  }

  /// Remembers a store in which there is nothing yet, so that its label names it.
  public func remember(_ store: Store, now: Timestamp) throws(Failure) {
    guard let name = Self.name(store.uuid) else { return }
    try system { () throws(SystemError) in try Descriptor.makeDirectories(directory) }
    let turn = awaitTurn()
    defer { try? turn?.close() }
    try write(seen(store, now), name)
  }

  /// Others of this user may be about to remember another series of the same store.
  private func awaitTurn() -> Descriptor? {
    guard let folder = try? Descriptor.open(directory, [.read, .directory]) else { return nil }
    let nap = Monitor(false)
    for _ in 0..<100 where folder.lockWhole(exclusive: true) == .heldByOther { nap.sleep(milliseconds: 20) }
    return folder
  }

  private static let mostGone = 1024
  private static let mostTips = 16

  /// The points, those that are gone, and the tips of other copies.
  private func remember(
    _ sets: [SetName], _ newest: SetName, _ head: SetHead, _ foot: SetFoot, of series: Series, _ before: KnownSeries?,
    _ entry: inout KnownSeries
  ) {
    var known: [String: SeenPoint] = [:]
    for point in before?.seen ?? [] { known[point.point] = point }
    let (here, old) = (Set(sets.map(\.point)), Set(before?.points ?? []))
    // Not those of another copy that stand for the same moments.
    for set in sets.dropLast() where known[set.point] == nil || !old.contains(set) {
      guard let foot = try? series.foot(set) else { continue }
      known[set.point] = SeenPoint(set, foot, started: known[set.point]?.started)
    }
    known[newest.point] = SeenPoint(newest, foot, started: head.started)
    var gone = known.keys.filter { !here.contains($0) }.sorted()
    gone.removeFirst(max(0, gone.count - Self.mostGone))
    entry.seen = (here.sorted() + gone).compactMap { known[$0] }.sorted { $0.point < $1.point }
    var tips = before?.tips ?? []
    if let before, !here.contains(before.newest.point), !series.wasDropped(before.newest.point),
      let tip = before.seen.last(where: { $0.point == before.newest.point })
    {
      tips.append(tip)
    }
    entry.tips = Array(tips.filter { !here.contains($0.point) }.suffix(Self.mostTips))
  }

  /// Forgets a store.
  public func forget(uuid: String) throws(Failure) {
    guard let name = Self.name(uuid) else { return }
    try system { () throws(SystemError) in try Descriptor.open(directory, [.read, .directory]).removeFile(name) }
  }

  /// A file's name only where the identity is one of ours.
  private static func name(_ uuid: String) -> Bytes? {
    let bytes = Bytes(uuid.utf8)
    return bytes.count == 36 && bytes.allSatisfy { $0 == 45 || (48...57).contains($0) || (97...102).contains($0) }
      ? bytes + suffix : nil
  }

  /// Below the root of the file system it lies on.
  private static func pathOnDrive(_ path: Bytes) -> Bytes {
    guard let device = try? Descriptor.open(path, .pathOnly).status().device else { return [] }
    var root = path
    while !root.isEmpty {
      let above = root.splitAtName.parent
      guard let up = try? Descriptor.open(above.isEmpty ? Bytes("/") : above, .pathOnly).status(), up.device == device
      else { break }
      root = above
    }
    return Bytes(path.dropFirst(root.count).drop { $0 == 47 })
  }

  // MARK: - The file

  /// The sources of several series, each as many as a set's head takes.
  private static let limit = 512 << 20

  private func read(_ name: Bytes, _ folder: Descriptor) -> KnownStore? {
    guard let text = try? folder.open(name, [.read, .noFollow, .nonBlocking]).readAll(atMost: Self.limit) else {
      return nil
    }
    var store = KnownStore(uuid: "", label: [], path: [], pathOnDrive: [], seen: Timestamp(seconds: 0))
    for line in text.split(separator: 10) {
      guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
      let value = Bytes(line[(equals + 1)...])
      switch String(decoding: line[..<equals], as: UTF8.self) {
      case "uuid": store.uuid = value.shown
      case "label": store.label = Escape.decode(value) ?? []
      case "path": store.path = Escape.decode(value) ?? []
      case "encrypted": store.isEncrypted = value == Bytes("1")
      case "on-drive": store.pathOnDrive = Escape.decode(value) ?? []
      case "seen": store.seen = PointName.time(value.shown) ?? store.seen
      case "series": if let series = Self.series(value) { store.series.append(series) }
      // Of the series before it.
      case "seen-points": if !store.series.isEmpty { store.series[store.series.count - 1].seen = Self.points(value) }
      case "damage", "damage-unwritten":
        guard !store.series.isEmpty, let text = Escape.decode(value) else { break }
        store.series[store.series.count - 1].damage = DamageNote(text: text)
        store.series[store.series.count - 1].damageIsUnwritten = line[..<equals].count > 6
      case "proofs":
        guard !store.series.isEmpty, let text = Escape.decode(value) else { break }
        store.series[store.series.count - 1].proofs = ProofNote(text: text)
      case "tips": if !store.series.isEmpty { store.series[store.series.count - 1].tips = Self.points(value) }
      case "sources": Self.addList(value, \.sources, to: &store)
      case "exclusions": Self.addList(value, \.exclusions, to: &store)
      case "begun-sources":
        if let (name, list) = Self.list(value) { store.begun[name, default: .init()].sources = list }
      case "begun-exclusions":
        if let (name, list) = Self.list(value) { store.begun[name, default: .init()].exclusions = list }
      default: break
      }
    }
    return store.uuid.isEmpty ? nil : store
  }

  /// `NAME NEWEST DIGEST STARTED CHAIN BYTES VERIFIED POINT...`
  private static func series(_ text: Bytes) -> KnownSeries? {
    let words = text.split(separator: 32).map { Bytes($0) }
    guard words.count >= 7, let name = Escape.decode(words[0]), let newest = SetName(words[1].shown),
      let digest = Digest(hex: words[2]), let started = PointName.time(words[3].shown), let chain = Int(words[4].shown),
      let bytes = Int64(words[5].shown), bytes >= 0, chain > 0
    else { return nil }
    return KnownSeries(
      name: name, newest: newest, digest: digest, started: started, chainLength: chain, storedBytes: bytes,
      verified: PointName.time(words[6].shown), points: words.dropFirst(7).compactMap { SetName($0.shown) })
  }

  private static func points(_ text: Bytes) -> [SeenPoint] {
    text.split(separator: 32).compactMap { SeenPoint(Bytes($0).shown) }
  }

  /// `NAME ./TEXT...`, behind the series.
  private static func addList(
    _ text: Bytes, _ list: WritableKeyPath<KnownSeries, [Bytes]?>, to store: inout KnownStore
  ) {
    guard let (name, texts) = Self.list(text), let index = store.series.firstIndex(where: { $0.name == name }) else {
      return
    }
    store.series[index][keyPath: list] = texts
  }

  private static func list(_ text: Bytes) -> (name: Bytes, list: [Bytes])? {
    let words = text.split(separator: 32).map { Bytes($0) }
    guard let name = words.first.flatMap({ Escape.decode($0) }) else { return nil }
    return (name, words.dropFirst().compactMap { Escape.decode(Bytes($0.dropFirst(2))) })
  }

  private func write(_ store: KnownStore, _ name: Bytes) throws(Failure) {
    var lines = [
      "format=1", "uuid=\(store.uuid)", "label=\(Escape.encodedPath(store.label))",
      "path=\(Escape.encodedPath(store.path))", "on-drive=\(Escape.encodedPath(store.pathOnDrive))",
      "seen=\(PointName.text(store.seen))",
    ]
    if store.isEncrypted { lines.append("encrypted=1") }
    for s in store.series {
      let points = s.points.map { " " + $0.text }.joined()
      lines.append(
        "series=\(Escape.encodedPath(s.name)) \(s.newest.text) \(s.digest.hex) \(PointName.text(s.started)) \(s.chainLength) \(s.storedBytes) \(s.verified.map(PointName.text) ?? "-")\(points)"
      )
      if !s.damage.isEmpty {
        lines.append("damage\(s.damageIsUnwritten ? "-unwritten" : "")=\(Escape.encodedPath(s.damage.text))")
      }
      if !s.proofs.isEmpty { lines.append("proofs=\(Escape.encodedPath(s.proofs.text))") }
      for (key, points) in [("seen-points", s.seen), ("tips", s.tips)] where !points.isEmpty {
        lines.append("\(key)=\(points.map(\.text).joined(separator: " "))")
      }
    }
    func add(_ key: String, _ name: Bytes, _ list: [Bytes]?) {
      guard let list else { return }
      let texts = list.map { " ./" + Escape.encodedPath($0) }.joined()
      lines.append("\(key)=\(Escape.encodedPath(name))\(texts)")
    }
    for s in store.series {
      add("sources", s.name, s.sources)
      add("exclusions", s.name, s.exclusions)
    }
    for (name, lists) in store.begun.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      add("begun-sources", name, lists.sources)
      add("begun-exclusions", name, lists.exclusions)
    }
    try system { () throws(SystemError) in
      let folder = try Descriptor.open(directory, [.read, .directory])
      let file = try NewFile(name, in: folder)
      try? file.descriptor.setMode(0o600)
      try file.descriptor.write(Bytes((lines.joined(separator: "\n") + "\n").utf8))
      try file.seal()
      // A private file on a file system of this machine: the new one may take the old one's place.
      try folder.rename(name + NewFile.partialSuffix, to: name)
    }
  }
}

/// Where a store is at this moment.
public enum Whereabouts: Sendable {
  /// It was looked at.
  case at(Bytes)
  case notHere
  /// On another machine, which was not asked.
  case remote
  /// On another machine, and why it could not be looked at.
  case unreachable(String)

  /// nil: it was not looked at, or is not there.
  public var place: Bytes? { if case .at(let place) = self { place } else { nil } }
}

extension KnownStore {
  public var isRemote: Bool { StoreLocation.isRemote(path) }

  /// At the path it had, or at the same place below another of `drives`, mount points. `access`: how other machines are asked; nil: they
  /// are not.
  public func whereabouts(drives: [Bytes], asking access: RemoteAccess?) -> Whereabouts {
    if isRemote { return access.map(asked) ?? .remote }
    for candidate in [path] + drives.map({ $0 == Bytes("/") ? $0 + pathOnDrive : $0.joined(pathOnDrive) }) {
      if let there = try? Store.open(candidate), there.uuid == uuid { return .at(candidate) }
    }
    return .notHere
  }

  private func asked(_ access: RemoteAccess) -> Whereabouts {
    do throws(Failure) {
      let there = try Store.open(StoreLocation(path), by: access)
      return there.uuid == uuid ? .at(path) : .unreachable("another store lies there")
    } catch { return .unreachable(error.message) }
  }
}
