/// The points of a series for those who look into several of them, from several threads and for long: what others add and
/// remove meanwhile shows.
import Fuse
import Posix
import Storage
import Tar

final class ViewedPoints: Sendable {
  struct Point: Sendable {
    /// Its own as long as this program runs.
    let number: Int
    let set: SetName
    var name: Bytes { Bytes(self.set.point.utf8) }
    var time: Timestamp { self.set.time }
    /// In the machine's time zone.
    let day: Bytes
  }

  private let cache: MemberCache
  private let spilling: Descriptor
  private let report: @Sendable (String) -> Void
  private let state: Monitor<State>
  private let told = Monitor<Set<String>>([])
  private let failure = Monitor<Failure?>(nil)

  private struct State {
    let series: Series
    /// By number, those that are gone, too.
    var names: [String] = []
    var numbers: [String: Int] = [:]
    var current: [Point] = []
    /// On the monotonic clock, in nanoseconds.
    var listed = Int64.min
    /// Likewise: when a file of the store was asked for last.
    var used = Int64.min
    var trees: [Int: (tree: PointTree, used: Int64)] = [:]
    var manifests: [SetName: MemberSource] = [:]
    var archives: [SetID: (set: SetName, source: MemberSource)] = [:]
    /// The last is of the points that there were last; each has a number of its own.
    var versions: [(number: Int, sets: [SetName], tree: VersionsTree)] = []
  }

  /// Nanoseconds for which a list of the points is taken for true.
  private static let freshness: Int64 = 1_000_000_000
  /// Nanoseconds after which files of the store are closed that nobody asks for.
  private static let patience: Int64 = 20_000_000_000
  /// Points whose tables are kept: another one takes a look at its whole list once more.
  private static let treesLimit = 16
  /// Trees of all versions that are kept: who is in an older one may go on there.
  private static let versionsLimit = 3
  /// Messages, each told once.
  private static let toldLimit = 200

  init(
    _ series: Series, _ cache: MemberCache, spilling: Bytes, report: @escaping @Sendable (String) -> Void
  ) throws(Failure) {
    self.cache = cache
    self.report = report
    self.spilling = try system { () throws(SystemError) in try Descriptor.open(spilling, [.read, .directory]) }
    nonisolated(unsafe) let series = series
    state = Monitor(State(series: series))
    try state.look { (state) throws(Failure) in try Self.list(&state) }
  }

  /// Why nothing can be read any more; nil: it can.
  var ended: Failure? { failure.look { $0 } }

  /// Tells of what cannot be read, once; `path`: in the point.
  func tell(_ error: Failure, of path: Bytes? = nil) {
    let place = path.map { "\(Show.path($0)): " } ?? ""
    let message = error.message.hasPrefix(place) ? error.message : place + error.message
    let isNew = told.look { $0.count < Self.toldLimit && $0.insert(message).inserted }
    if isNew { report(message) }
    guard let kind = error.cause?.kind, kind == .gone || kind == .unreachable else { return }
    // One bad place on a drive is not its end.
    let isThere = state.look { $0.series.store.isThere }
    if !isThere { failure.look { if $0 == nil { $0 = error } } }
  }

  // MARK: - Points

  /// Those that there are, oldest first.
  func now() throws(Failure) -> [Point] {
    try state.look { (state) throws(Failure) in
      if Timestamp.monotonicNanoseconds() - state.listed > Self.freshness { try Self.list(&state) }
      return state.current
    }
  }

  /// The same for a mount, in which what fails is told and an error.
  func current() throws(ServedError) -> [Point] { try served { () throws(Failure) in try now() } }

  private func served<R>(_ body: () throws(Failure) -> R) throws(ServedError) -> R {
    do throws(Failure) { return try body() } catch {
      tell(error)
      throw .unreadable
    }
  }

  private static func list(_ state: inout State) throws(Failure) {
    state.series.folder.listAnew()
    let sets = try state.series.sets()
    state.listed = Timestamp.monotonicNanoseconds()
    guard sets != state.current.map(\.set) else { return }
    state.current = sets.map { set in
      let number = state.numbers[set.point] ?? state.names.count
      if number == state.names.count {
        state.names.append(set.point)
        state.numbers[set.point] = number
      }
      let c = set.time.calendar(local: true)
      func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
      return Point(number: number, set: set, day: Bytes("\(c.year)-\(two(c.month))-\(two(c.day))".utf8))
    }
    // What is gone is not kept open, or its room would not come free.
    let left = Set(sets)
    state.manifests = state.manifests.filter { left.contains($0.key) }
    state.archives = state.archives.filter { left.contains($0.value.set) }
  }

  /// Calls `body` with a point's tree. Where a set was removed or written anew meanwhile it is tried once more.
  func look<R>(_ number: Int, _ body: (PointTree) throws(Failure) -> R) throws(Failure) -> R {
    let tree = try tree(number)
    do throws(Failure) { return try body(tree) } catch {
      guard try drop(tree, number) else { throw error }
      return try body(self.tree(number))
    }
  }

  /// The same for a mount.
  func read<R>(_ number: Int, _ body: (PointTree) throws(Failure) -> R) throws(ServedError) -> R {
    try served { () throws(Failure) in try look(number, body) }
  }

  private func tree(_ number: Int) throws(Failure) -> PointTree {
    try state.look { (state) throws(Failure) in
      let now = Timestamp.monotonicNanoseconds()
      if let known = state.trees[number] {
        state.trees[number] = (known.tree, now)
        return known.tree
      }
      guard let set = state.current.first(where: { $0.number == number })?.set else {
        let name = number < state.names.count ? state.names[number] : "it"
        throw Failure(.failed, "the point \(name) is not in the store any more")
      }
      let chain = try state.series.chain(of: set)
      let tree = try PointTree.make(set, chain, state.series, cache, spilling: spilling, open: manifest)
      if state.trees.count >= Self.treesLimit, let oldest = state.trees.min(by: { $0.value.used < $1.value.used }) {
        state.trees[oldest.key] = nil
      }
      state.trees[number] = (tree, now)
      return tree
    }
  }

  /// Forgets a tree whose sets are not those of the point any more; false where they are.
  private func drop(_ tree: PointTree, _ number: Int) throws(Failure) -> Bool {
    try state.look { (state) throws(Failure) in
      try Self.list(&state)
      guard let set = state.current.first(where: { $0.number == number })?.set,
        try state.series.chain(of: set) != tree.chain
      else { return false }
      state.trees[number] = nil
      return true
    }
  }

  /// Calls `body` with the tree of all versions that has this number, and nil: with that of the points that there are.
  /// Throws `noEntry` where it is not kept any more.
  func readVersions<R>(
    _ number: Int?, _ body: (Int, VersionsTree) throws(Failure) -> R
  ) throws(ServedError) -> R {
    if number == nil { _ = try current() }
    let found = try served { () throws(Failure) -> R? in
      guard let (number, tree) = try versions(number) else { return nil }
      return try body(number, tree)
    }
    guard let found else { throw .noEntry }
    return found
  }

  /// As `readVersions`, and where that tree is not kept any more with the one of the points that there are.
  func lookVersions<R>(
    _ number: Int?, _ body: (Int, VersionsTree) throws(Failure) -> R
  ) throws(Failure) -> R {
    if let number, let (_, tree) = try versions(number) { return try body(number, tree) }
    _ = try now()
    guard let (now, tree) = try versions(nil) else { throw Failure(.failed, "there is no point") }
    return try body(now, tree)
  }

  private func versions(_ number: Int?) throws(Failure) -> (Int, VersionsTree)? {
    var damages: [Failure] = []
    defer { for damage in damages { tell(damage) } }
    return try state.look { (state) throws(Failure) in
      if let number { return state.versions.first { $0.number == number }.map { ($0.number, $0.tree) } }
      let sets = state.current.map(\.set)
      if let last = state.versions.last, last.sets == sets { return (last.number, last.tree) }
      let tree = try VersionsTree.make(state.series, cache, spilling: spilling, open: manifest) { damages.append($0) }
      let next = (state.versions.last?.number ?? -1) + 1
      state.versions = state.versions.suffix(Self.versionsLimit - 1) + [(next, sets, tree)]
      return (next, tree)
    }
  }

  // MARK: - Files of the store

  /// Closes what has not been asked for in a while. Who has a file of a point open keeps what it lies in.
  func rest() {
    state.look { state in
      guard !state.manifests.isEmpty || !state.archives.isEmpty,
        Timestamp.monotonicNanoseconds() - state.used > Self.patience
      else { return }
      state.manifests = [:]
      state.archives = [:]
    }
  }

  private func manifest(_ set: SetName) throws(Failure) -> MemberSource {
    try state.look { (state) throws(Failure) in
      state.used = Timestamp.monotonicNanoseconds()
      if let known = state.manifests[set] { return known }
      let file = try state.series.manifestFile(set)
      // As many as sets: small ones are held, so that they take no open file.
      let bytes: any ByteSource =
        file.size <= 16 << 10
        ? HeldBytes(try stored { () throws(StoreError) in try file.read(count: Int(file.size), at: 0) }) : file
      let source = MemberSource(bytes, name: set.manifest, size: file.size)
      state.manifests[set] = source
      return source
    }
  }

  /// The archive of the set that has this identity.
  func archive(_ id: SetID) throws(Failure) -> MemberSource {
    try state.look { (state) throws(Failure) in
      state.used = Timestamp.monotonicNanoseconds()
      if let known = state.archives[id] { return known.source }
      guard let set = try state.series.set(id) else {
        throw .damaged("the set with the identity \(id.text) is not in the store")
      }
      let archive = try ArchiveReader(set, in: state.series)
      let source = MemberSource(archive, name: set.archive, size: archive.size)
      // One that lacks volumes may have them another time.
      if archive.shortfalls.isEmpty { state.archives[id] = (set, source) }
      return source
    }
  }
}
