/// What a pruning takes away and what it leaves, and why. Nothing is changed while it is made.
import Posix
import Tar

public struct PrunePlan: Sendable {
  /// Why a point stays where nobody said which are to be kept.
  public static let noRule = "no rule was given"

  public enum Fate: Sendable, Equatable {
    case keep
    case remove
    /// Its files go into a new set, which stands for this point.
    case fold(into: SetName)
  }
  public struct Row: Sendable {
    public var set: SetName
    public var fate: Fate
    /// In words.
    public var reasons: [String]
    /// Of its files.
    public var bytes: Int64
    /// No rule keeps it: it stays for the sake of others.
    public var isOnlyNeeded = false
  }
  /// Of all sets, oldest first.
  public internal(set) var rows: [Row] = []
  /// Oldest first. Each is a set that is written anew, then those that are folded into it.
  public internal(set) var folds: [[SetName]] = []

  func sets(_ fate: (Fate) -> Bool) -> [SetName] { rows.filter { fate($0.fate) }.map(\.set) }
  public var removed: [SetName] { sets { $0 == .remove } }

  /// How many points are kept for themselves, and for each reason how many, the first reason first.
  public var kept: (points: Int, reasons: [(reason: String, points: Int)]) {
    var counts: [(reason: String, points: Int)] = []
    let own = rows.filter { $0.fate == .keep && !$0.isOnlyNeeded }
    for reason in own.flatMap(\.reasons) {
      if let index = counts.firstIndex(where: { $0.reason == reason }) {
        counts[index].points += 1
      } else {
        counts.append((reason, 1))
      }
    }
    return (own.count, counts)
  }
  /// What only stays because others build on it.
  public var needed: [Row] { rows.filter { $0.fate == .keep && $0.isOnlyNeeded } }
}

/// Makes a plan.
struct PrunePlanner {
  private let series: Series
  private let rules: KeepRules
  private let folds: Bool
  private let isSound: (SetName) throws(Failure) -> Bool

  /// The sets that count, oldest first, and what each builds on.
  private let points: [SetName]
  private let lineage: Lineage
  /// Why a set is kept for itself.
  private var reasons: [SetName: [String]] = [:]
  /// What stays for the sake of others, and why.
  private var needed: [SetName: Need] = [:]

  private enum Need {
    /// It is in that set's chain.
    case builtOn(SetName)
    /// It holds files of that one.
    case holds(SetName)
    /// That one cannot be read.
    case maybe(SetName)

    var text: String {
      switch self {
      case .builtOn(let set): "needed by \(set.text)"
      case .holds(let set): "has the last copy of files that \(set.text) could not read"
      case .maybe(let set): "may be needed by \(set.text)"
      }
    }
  }

  /// `folds`: what only others need may go. `isSound`: whether a point can be restored.
  init(
    _ series: Series, _ rules: KeepRules, folds: Bool, isSound: @escaping (SetName) throws(Failure) -> Bool
  ) throws(Failure) {
    self.series = series
    self.rules = rules
    self.folds = folds
    self.isSound = isSound
    lineage = try Lineage(series)
    points = lineage.sets
  }

  mutating func plan() throws(Failure) -> PrunePlan {
    try chooseByRules()
    try keepWhatCannotBeJudged()
    try keepLastSound()
    try keepLastCopies()
    try keepWhatIsNeeded()
    var plan = PrunePlan()
    let folded = try foldable(&plan)
    let counting = Set(points)
    for set in try series.allSets() {
      var row = PrunePlan.Row(set: set, fate: .remove, reasons: [], bytes: series.size(of: set))
      if let own = reasons[set] {
        row.fate = .keep
        row.reasons = own
      } else if let head = folded[set] {
        row.fate = .fold(into: head)
      } else if let reason = needed[set] {
        row.fate = .keep
        row.reasons = [reason.text]
        row.isOnlyNeeded = true
      } else if !counting.contains(set) {
        let successor = points.first { $0.point == set.point }
        if (try? series.head(set)) == nil {
          row.fate = .keep
          row.reasons = ["cannot be read"]
        } else {
          row.reasons = ["\(successor?.text ?? "another set") stands for it"]
        }
      } else {
        row.reasons = [rules.drops.contains(set.point) ? "to be dropped" : "no rule keeps it"]
      }
      plan.rows.append(row)
    }
    return plan
  }

  // MARK: - What stays

  private mutating func chooseByRules() throws(Failure) {
    let protected = try series.protectedPoints()
    var judged: [KeepRules.Point] = []
    for (index, set) in points.enumerated() {
      if protected.contains(set.point) { reasons[set, default: []].append("protected") }
      if rules.drops.contains(set.point) {
        guard !protected.contains(set.point) else {
          throw Failure(.usage, "\(set.text) is protected", hint: "sheaf protect --remove \(set.text)")
        }
        continue
      }
      if rules.isEmpty { reasons[set, default: []].append(PrunePlan.noRule) }
      // What an interrupted run left stands for no day or month: only as long as nothing newer does.
      if isIncomplete(set) {
        if index == points.count - 1, reasons[set] == nil { reasons[set] = ["the newest, incomplete"] }
        continue
      }
      guard let head = try? series.head(set) else { continue }
      judged.append(KeepRules.Point(set: set, started: head.started, comment: head.comment))
    }
    let kept = rules.reasons(judged)
    guard !kept.isEmpty || rules.isEmpty || judged.isEmpty else {
      throw Failure(
        .usage, "the rules keep none of the points",
        hint:
          "what is to go can be named with --drop; 'sheaf points -s STORE' shows the comments that --keep-tag looks at")
    }
    for (set, why) in kept { reasons[set, default: []] += why }
  }

  private func isIncomplete(_ set: SetName) -> Bool { (try? series.foot(set).incompleteAfter) ?? nil != nil }

  /// What cannot be read may be mended by a rebuild, and may need whatever is older, down to a full set.
  private mutating func keepWhatCannotBeJudged() throws(Failure) {
    for (index, set) in points.enumerated() where !lineage.isKnown(set) {
      reasons[set, default: []].append("damaged")
      guard set.kind != .full else { continue }
      for older in points[..<index].reversed() {
        needed[older] = .maybe(set)
        if older.kind == .full { break }
      }
    }
  }

  /// The newest point whose whole chain is as it should be never goes; one that is complete and wanted, where there is.
  private mutating func keepLastSound() throws(Failure) {
    let newestFirst = points.reversed().filter(lineage.isKnown)
    func isSecond(_ set: SetName) -> Bool { rules.drops.contains(set.point) || isIncomplete(set) }
    for set in newestFirst.filter({ !isSecond($0) }) + newestFirst.filter(isSecond) {
      if try isSound(set) {
        if reasons[set] == nil { reasons[set] = ["the newest that is sound"] }
        return
      }
    }
  }

  /// What the newest point could not look at, and knows no copy of, may be in an older chain: the last point of the
  /// first that has any of it stays.
  private mutating func keepLastCopies() throws(Failure) {
    guard let newest = points.last(where: lineage.isKnown), try series.foot(newest).counts.unseen > 0 else {
      return
    }
    var missing: [Bytes] = []
    let chain = try lineage.chain(of: newest)
    let tree = try series.tree(chain)
    tree.onUnseen = { missing.append($0) }
    while try tree.next() {}
    var seen = Set(chain)
    for set in points.reversed() {
      guard !missing.isEmpty else { return }
      // Also what branches off below the newest.
      guard !seen.contains(set), let chain = try? lineage.chain(of: set) else { continue }
      seen.formUnion(chain)
      let older = try series.tree(chain)
      var found: Set<Bytes> = []
      var next = 0
      while next < missing.count, try older.next() {
        let path = Bytes(older.line.path)
        while next < missing.count, PathOrder.compare(missing[next], path) < 0 { next += 1 }
        if next < missing.count, missing[next] == path { found.insert(path) }
      }
      guard !found.isEmpty else { continue }
      reasons[set, default: []].append("has the last copy of files that were not seen since")
      missing.removeAll(where: found.contains)
    }
  }

  /// What others build on, or have files in.
  private mutating func keepWhatIsNeeded() throws(Failure) {
    var open = Array(reasons.keys) + Array(needed.keys)
    var looked: Set<SetName> = []
    var walked: Set<SetName> = []
    while let set = open.popLast() {
      guard looked.insert(set).inserted, lineage.isKnown(set) else { continue }
      // What was walked to before has been walked to its end.
      var older = try lineage.parent(of: set)
      while let one = older {
        if needed[one] == nil { needed[one] = .builtOn(set) }
        open.append(one)
        older = walked.insert(one).inserted ? try lineage.parent(of: one) : nil
      }
      // A set that is written anew takes along what it has elsewhere.
      guard set.kind == .full, !folds else { continue }
      for holder in try series.holders(for: set) {
        if needed[holder] == nil { needed[holder] = .holds(set) }
        open.append(holder)
      }
    }
  }

  // MARK: - Folding

  /// What only one other set builds on, and nobody wants for itself, goes into that one. Gives for each into which.
  private mutating func foldable(_ plan: inout PrunePlan) throws(Failure) -> [SetName: SetName] {
    guard folds else { return [:] }
    var folded: [SetName: SetName] = [:]
    let staying = points.filter { reasons[$0] != nil || needed[$0] != nil }
    var children: [SetName: Int] = [:]
    for set in staying { if let parent = try? lineage.parent(of: set) { children[parent, default: 0] += 1 } }
    func isFoldable(_ set: SetName) -> Bool {
      guard reasons[set] == nil, case .builtOn? = needed[set] else { return false }
      return children[set] == 1
    }
    for set in staying where !isFoldable(set) {
      guard lineage.isKnown(set) else { continue }
      var rest: [SetName] = []
      while let older = try lineage.parent(of: rest.last ?? set), isFoldable(older) { rest.append(older) }
      let elsewhere: Set<SetID> = set.kind == .full ? try series.idsElsewhere(set) : []
      guard !rest.isEmpty || !elsewhere.isEmpty else { continue }
      plan.folds.append([set] + rest)
      for older in rest { folded[older] = set }
    }
    return folded
  }
}

extension Series {
  /// Whether all that a point needs is there in its size, its manifests can be read to their ends, and they fit together.
  func isSound(_ set: SetName) throws(Failure) -> Bool {
    do throws(Failure) {
      let chain = try chain(of: set)
      guard try mismatches(in: chain).isEmpty else { return false }
      for set in try chain + holders(for: chain.last!) { if try !shortfalls(of: set).isEmpty { return false } }
      let tree = try tree(chain, checked: true)
      let digest = PointDigest()
      while try tree.next() { digest.add(tree.line.canonical) }
      return try digest.finish() == foot(set).point
    } catch {
      guard error.kind == .damaged || error.kind == .failed else { throw error }
      return false
    }
  }
}
