/// What there is to tell of a series at a glance: for a page that shows it.
import Posix

public struct Overview: Sendable {
  public struct Point: Sendable {
    public let set: SetName
    /// By the clock when its run began.
    public let started: Timestamp
    /// Bytes of its set's archive.
    public let added: Int64
    public let counts: SetFoot.Counts
    public let comment: Bytes
    public let isIncomplete: Bool
    public let isProtected: Bool
    /// Damage touches it.
    public let isDamaged: Bool
  }

  public let series: Bytes
  public let host: Bytes
  public let sources: [Bytes]
  /// Oldest first.
  public let points: [Point]
  /// Sets whose manifests cannot be read.
  public let unreadable: [SetName]
  /// The files that the newest point's chain lies in, in the order in which tar unpacks them: of each set all volumes.
  public private(set) var archives: [[Bytes]] = []
  public let damage: DamageNote
  public let proofs: ProofNote
  /// What the newest point could not look at, the first of them.
  public private(set) var unseen: [Bytes] = []
  /// Folders of the newest point; nil where nobody asked for them.
  public private(set) var folders: FolderSize?

  private static let unseenLimit = 50

  /// `names`: also what is in the newest point, which takes a look at all of its list.
  public init(_ series: Series, names: Bool, _ known: KnownStores?, progress: Progress) throws(Failure) {
    series.holdSets()
    damage = series.damageNote(known)
    proofs = series.proofNote(known)
    self.series = series.name
    let protected = try series.protectedPoints()
    var points: [Point] = []
    var unreadable: [SetName] = []
    var newest: SetHead?
    for set in try series.sets() {
      guard let head = try? series.head(set), let foot = try? series.foot(set) else {
        unreadable.append(set)
        continue
      }
      let isShort = (try? series.shortfalls(of: set).isEmpty) != true
      points.append(
        Point(
          set: set, started: head.started, added: foot.storedBytes, counts: foot.counts, comment: head.comment,
          isIncomplete: foot.incompleteAfter != nil, isProtected: protected.contains(set.point),
          isDamaged: isShort || damage.touches(set)))
      newest = head
    }
    self.points = points
    self.unreadable = unreadable
    host = newest?.host ?? []
    sources = newest?.sources ?? []
    if let last = points.last, let chain = try? series.chain(of: last.set) {
      archives = chain.reversed().compactMap { set in (try? series.foot(set))?.volumes.map { Bytes($0.fileName.utf8) } }
    }
    if names, let last = points.last { try look(series, last.set, progress) }
  }

  private mutating func look(_ series: Series, _ set: SetName, _ progress: Progress) throws(Failure) {
    let tree = try series.tree(series.chain(of: set))
    var sizes = FolderSizes()
    while try tree.next() {
      try progress.checkCancelled()
      if tree.isUnseen, unseen.count < Self.unseenLimit { unseen.append(Bytes(tree.line.path)) }
      sizes.add(tree.line)
    }
    folders = sizes.finish()
  }
}
