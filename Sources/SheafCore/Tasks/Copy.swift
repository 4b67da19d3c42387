/// Copies sets from one store to another: whole, compared with their digests as they pass, never in the place of anything.
/// What was stopped is gone on with.
import Posix
import Storage
import Tar

public struct CopySummary: Sendable {
  public var series: Bytes
  /// Oldest first.
  public var copied: [SetName] = []
  /// Of those that were asked for.
  public var thereAlready = 0
  /// That cannot be whole there.
  public var left: [SetName] = []
  /// Bytes of archives that were copied.
  public var bytes: Int64 = 0
}

public struct Copy {
  private let from: Series
  private let store: Store
  private let isDryRun: Bool
  private let reporter: any Reporter
  private let progress: Progress

  /// `store`: where a series of the same name takes the sets.
  public init(
    _ from: Series, to store: Store, dryRun: Bool = false, reporter: any Reporter, progress: Progress
  ) throws(Failure) {
    (self.from, self.store, isDryRun, self.reporter, self.progress) = (from, store, dryRun, reporter, progress)
    guard store.isEncrypted || !from.store.isEncrypted else {
      throw Failure(
        .usage, "\(Show.path(from.store.path)) is encrypted and \(Show.path(store.path)) is not: nothing was copied",
        hint: "a store made with 'sheaf init --encrypt' takes it; it has a key of its own")
    }
    try store.checkKey()
    // What is encrypted for another key has to be read.
    if from.store.isEncrypted { try from.checkReadsContents() }
  }

  /// Copies these points, with all that they need.
  public func run(_ points: [SetName]) throws(Failure) -> CopySummary {
    var summary = CopySummary(series: from.name)
    from.holdSets()
    let isNew = try stored { () throws(StoreError) in try !store.folder.names().contains(from.name) }
    if isDryRun, isNew {
      try copy(points, CopyPlan(from, nil), &summary) { _ in 0 }
      return summary
    }
    let to = try Series.create(from.name, in: store)
    let lock = isDryRun ? nil : try SeriesLock(to)
    defer { lock?.release() }
    if !isDryRun { _ = store.mendAccess(of: to) }
    let writer = SetCopy(from, to, progress)
    try copy(points, CopyPlan(from, to), &summary) { (set) throws(Failure) in
      try isDryRun ? 0 : writer.copy(set) { () throws(Failure) in try lock?.confirm() }
    }
    if !isDryRun { try store.refreshHelpers() }
    return summary
  }

  private func copy(
    _ points: [SetName], _ plan: CopyPlan, _ summary: inout CopySummary, _ body: (SetName) throws(Failure) -> Int64
  ) throws(Failure) {
    var left: [(point: SetName, failure: Failure)] = []
    defer { tell(left) }
    var tasks: [(point: SetName, sets: [SetName])] = []
    var expected: Int64 = 0
    for point in points.sorted() {
      do throws(Failure) {
        let sets = try plan.missing(for: point)
        if sets.isEmpty { summary.thereAlready += 1 } else { tasks.append((point, sets)) }
        for set in sets where plan.add(set) { expected.add(saturating: (try? from.foot(set).storedBytes) ?? 0) }
      } catch { try leave(point, error, &left) }
    }
    progress.expected.store(Int(clamping: expected), ordering: .relaxed)
    var done: Set<SetName> = []
    var failed: [SetName: Failure] = [:]
    for (point, sets) in tasks {
      do throws(Failure) {
        for set in sets where !done.contains(set) {
          try progress.checkCancelled()
          do throws(Failure) {
            if let broken = try plan.needs(of: set).first(where: { failed[$0] != nil }), let failure = failed[broken] {
              throw Failure(failure.kind, "it needs \(broken.text), which was not copied")
            }
            summary.bytes.add(saturating: try body(set))
          } catch {
            failed[set] = error
            throw error
          }
          done.insert(set)
          summary.copied.append(set)
        }
      } catch { try leave(point, error, &left) }
    }
    summary.left = left.map(\.point).sorted()
  }

  /// One that is damaged, or cannot be whole there, is said; what goes wrong otherwise ends the run.
  private func leave(
    _ point: SetName, _ failure: Failure, _ left: inout [(point: SetName, failure: Failure)]
  ) throws(Failure) {
    let isOwn = failure.kind == .damaged || failure.kind == .failed && failure.cause == nil
    guard isOwn || failure.cause?.kind == .missing || failure.cause?.kind == .tooLarge else { throw failure }
    left.append((point, failure))
  }

  /// What has one cause is one message.
  private func tell(_ left: [(point: SetName, failure: Failure)]) {
    var rest = left[...]
    while let first = rest.first {
      let same = rest.prefix { $0.failure.message == first.failure.message }.count
      let what = same == 1 ? "\(first.point.text) was" : "\(first.point.text) and \(same - 1) more were"
      let hint = first.failure.hint.map { " (\($0))" } ?? ""
      reporter.problem("\(what) not copied: \(first.failure.message)\(hint)", path: nil)
      rest = rest.dropFirst(same)
    }
  }
}

/// What of one series another has, and what it lacks.
private final class CopyPlan {
  private let from: Series
  private let lineage: Lineage
  /// Of the other: the digests of its points, and the identities of its sets.
  private var points: [String: Digest] = [:]
  private var sets: [SetName: SetID] = [:]
  private var ids: Set<SetID> = []
  private var holders: [SetName: [SetName]] = [:]
  /// The newest point there that is none here.
  private var foreign: SetName?

  /// `to`: nil where there is no such series yet.
  init(_ from: Series, _ to: Series?) throws(Failure) {
    self.from = from
    lineage = try Lineage(from)
    guard let to else { return }
    for set in try to.allSets() {
      let id = try to.head(set).id
      sets[set] = id
      ids.insert(id)
    }
    let own = Dictionary(uniqueKeysWithValues: lineage.sets.map { ($0.point, $0) })
    for set in try to.sets() {
      let digest = try to.foot(set).point
      points[set.point] = digest
      if let twin = own[set.point], (try? from.foot(twin).point) == digest { continue }
      foreign = set
    }
  }

  /// It will be there from now on. False: it was to be already.
  func add(_ set: SetName) -> Bool {
    guard sets[set] == nil, let id = try? from.head(set).id, let digest = try? from.foot(set).point else {
      return false
    }
    sets[set] = id
    ids.insert(id)
    points[set.point] = digest
    return true
  }

  /// The sets that a point needs and that are not there, in the order in which they are copied: each after what it builds
  /// on. Throws where they cannot be told, or not be put there.
  func missing(for point: SetName) throws(Failure) -> [SetName] {
    var found: Set<SetName> = []
    var open = [point]
    while let start = open.popLast() {
      var next: SetName? = start
      while let set = next {
        // Files lie in a holder itself, which another set for the same point does not stand in for.
        let isHolder = set == start && set != point
        if try isHolder ? ids.contains(from.head(set).id) : hasPoint(of: set) { break }
        guard found.insert(set).inserted else { break }
        try checkPlace(for: set)
        next = try lineage.parent(of: set)
        // What was moved lies in older sets. There another set may stand for the same point, which does not hold it.
        open += try holders(for: set)
      }
    }
    return found.sorted()
  }

  /// What must be there before it.
  func needs(of set: SetName) throws(Failure) -> [SetName] {
    try (lineage.parent(of: set).map { [$0] } ?? []) + holders(for: set)
  }

  private func holders(for set: SetName) throws(Failure) -> [SetName] {
    if let known = holders[set] { return known }
    let found = try from.allHolders(for: set)
    holders[set] = found
    return found
  }

  private func hasPoint(of set: SetName) throws(Failure) -> Bool { try points[set.point] == from.foot(set).point }

  private func checkPlace(for set: SetName) throws(Failure) {
    if let id = sets[set], try id != from.head(set).id {
      throw Failure(.failed, "another set has the name \(set.text) there, and nothing is replaced")
    }
    if let there = points[set.point], try there != from.foot(set).point {
      throw Failure(.failed, "another point has the name \(set.point) there, and nothing is replaced")
    }
    if let foreign, set < foreign {
      throw Failure(
        .failed, "the series there goes on with points of its own, up to \(foreign.text)",
        hint: "copy into another store")
    }
  }
}
