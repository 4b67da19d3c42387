/// A series as folders: its points by name and by day, each with all that is in it.
///
///     latest                       a link to the newest point
///     points/2026-11-24T060000Z/   a point
///     by-day/2026-11-24            a link to the last point of that day
///     versions/PATH/               each path of all points: a directory with its children, or a file's versions
///
/// Nodes have numbers that tell where they are, so none of them has to be remembered: a point's number and an entry's.
/// Sets are not locked, since a mount may stay for weeks: what is pruned meanwhile cannot be read any more.
import Fuse
import Posix
import Storage
import Tar

public final class SeriesView: ServedFiles {
  private let points: ViewedPoints
  private let versions: VersionsView
  private let files = Monitor(Files())
  private let cache: MemberCache
  private let owner: (uid: UInt32, gid: UInt32)
  private let begun = Timestamp.now()

  private struct Files {
    var next: UInt64 = 1
    var open: [UInt64: RangedFile] = [:]
  }

  /// Bytes of gzip members that are kept inflated.
  private static let cacheLimit = 32 << 20

  /// `spilling`: where files without a name are made. `owner`: whose the folders are that no point has. `report`: told of
  /// what could not be read, each once.
  public init(
    _ series: Series, spilling: Bytes, owner: (uid: UInt32, gid: UInt32), report: @escaping @Sendable (String) -> Void
  ) throws(Failure) {
    try series.checkReadsContents()
    cache = MemberCache(limit: Self.cacheLimit)
    self.owner = owner
    points = try ViewedPoints(series, cache, spilling: spilling, report: report)
    var top = NodeStatus(
      inode: VersionsView.Place.top.node, kind: .directory, mode: 0o555, uid: owner.uid, gid: owner.gid,
      modified: begun, changed: begun)
    top.isForGood = false
    versions = VersionsView(points, top: top)
  }

  /// Why nothing can be read any more; nil: it can.
  public var ended: Failure? { points.ended }

  /// To be called now and then: what nobody has asked for in a while is not kept open, so that the room of what others
  /// prune comes free.
  public func rest() { points.rest() }

  // MARK: - Nodes

  private enum Place {
    case top, points, days
    /// The link to a point that is the newest, and that of the day that a point is the last one of. Each point has its
    /// own: the kernel keeps where a link of one number leads to.
    case latest(Int)
    case day(Int)
    case point(Int)
    case entry(point: Int, Int)
    case versions(VersionsView.Place)

    private static let pointShift: UInt64 = 36
    private static let dayBit: UInt64 = 1 << 62
    private static let latestBit: UInt64 = 1 << 61

    init?(_ node: Node) {
      switch node {
      case 1: self = .top
      case 2: self = .points
      case 3: self = .days
      default:
        if let place = VersionsView.Place(node) {
          self = .versions(place)
          return
        }
        if node & Self.dayBit != 0 {
          self = .day(Int(node & ~Self.dayBit))
          return
        }
        if node & Self.latestBit != 0 {
          self = .latest(Int(node & ~Self.latestBit))
          return
        }
        let point = Int(node >> Self.pointShift) - 1
        let row = Int(node & (1 << Self.pointShift - 1)) - 1
        guard point >= 0 else { return nil }
        self = row < 0 ? .point(point) : .entry(point: point, row)
      }
    }

    var node: Node {
      switch self {
      case .top: 1
      case .points: 2
      case .days: 3
      case .latest(let point): Self.latestBit | UInt64(point)
      case .day(let point): Self.dayBit | UInt64(point)
      case .point(let point): UInt64(point + 1) << Self.pointShift
      case .entry(let point, let row): UInt64(point + 1) << Self.pointShift | UInt64(row + 1)
      case .versions(let place): place.node
      }
    }
  }

  private func place(_ node: Node) throws(ServedError) -> Place {
    guard let place = Place(node) else { throw .noEntry }
    return place
  }

  private func folder(_ place: Place, isLink: Bool = false, size: Int64 = 0, at time: Timestamp) -> NodeStatus {
    var status = NodeStatus(
      inode: place.node, kind: isLink ? .symlink : .directory, mode: isLink ? 0o777 : 0o555, uid: owner.uid,
      gid: owner.gid, modified: time, changed: time)
    status.size = size
    status.isForGood = false
    return status
  }

  private func status(_ place: Place) throws(ServedError) -> NodeStatus {
    switch place {
    case .top, .points, .days: return folder(place, at: begun)
    case .latest, .day:
      let target = try target(place)
      return folder(place, isLink: true, size: Int64(target.count), at: begun)
    case .point(let number): return try points.read(number) { (tree) throws(Failure) in top(number, tree) }
    case .entry(let number, let row):
      return try points.read(number) { (tree) throws(Failure) in
        try status(number, row, try tree.entry(row), tree)
      }
    case .versions(let place): return try versions.status(of: place)
    }
  }

  private func top(_ number: Int, _ tree: PointTree) -> NodeStatus {
    var status = folder(.point(number), at: tree.chain[0].time)
    status.isForGood = true
    guard let top = tree.top else { return status }
    (status.mode, status.uid, status.gid, status.modified) = (top.mode, top.uid, top.gid, top.modified)
    return status
  }

  private func status(_ point: Int, _ row: Int, _ entry: Entry, _ tree: PointTree) throws(Failure) -> NodeStatus {
    let (row, entry) = try tree.shared(row, entry)
    var status = NodeStatus(inode: Place.entry(point: point, row).node, entry)
    status.links = max(1, entry.links)
    return status
  }

  /// What most lines tell at once; of others the entry is asked for.
  private func status(_ point: Int, _ row: Int, _ line: Line, _ tree: PointTree) throws(Failure) -> NodeStatus {
    if line.kind == .symlink || line.hasHardLink || line.hasHoles {
      guard let entry = line.entry() else { throw .damaged("a line of \(tree.chain[0].text) cannot be read") }
      return try status(point, row, entry, tree)
    }
    var status = NodeStatus(
      inode: Place.entry(point: point, row).node, kind: line.kind, mode: line.mode, uid: line.uid, gid: line.gid,
      modified: line.modified, changed: line.changed)
    status.links = line.kind == .directory ? 1 : max(1, line.links)
    (status.size, status.allocated) = (line.size, line.size)
    (status.major, status.minor) = (line.major, line.minor)
    return status
  }

  // MARK: - What is asked

  public func status(of node: Node) throws(ServedError) -> NodeStatus { try status(place(node)) }

  public func isForGood(_ directory: Node) -> Bool {
    switch Place(directory) {
    case .point, .entry, .versions(.path): true
    default: false
    }
  }

  public func find(_ name: Bytes, in directory: Node) throws(ServedError) -> NodeStatus? {
    switch try place(directory) {
    case .top:
      switch name {
      case Bytes("points"): return try status(.points)
      case Bytes("by-day"): return try status(.days)
      case Bytes("versions"): return try status(.versions(.top))
      case Bytes("latest"):
        return try points.current().last.map { (point) throws(ServedError) in try status(.latest(point.number)) }
      default: return nil
      }
    case .points:
      let found = try points.current().first { $0.name == name }
      return try found.map { (point) throws(ServedError) in try status(.point(point.number)) }
    case .days:
      let found = try points.current().last { $0.day == name }
      return try found.map { (point) throws(ServedError) in try status(.day(point.number)) }
    case .latest, .day: throw .notDirectory
    case .point(let number): return try find(name, number, nil)
    case .entry(let number, let row): return try find(name, number, row)
    case .versions(let place): return try versions.find(name, in: place)
    }
  }

  private func find(_ name: Bytes, _ number: Int, _ row: Int?) throws(ServedError) -> NodeStatus? {
    let isDirectory: Bool
    let found: NodeStatus?
    (isDirectory, found) = try points.read(number) { (tree) throws(Failure) in
      guard let range = try tree.children(of: row) else { return (false, nil) }
      guard let found = try tree.find(name, among: range) else { return (true, nil) }
      return (true, try status(number, found, try tree.entry(found), tree))
    }
    guard isDirectory else { throw .notDirectory }
    return found
  }

  public func list(
    _ directory: Node, from start: UInt64, _ body: (_ name: Bytes, NodeStatus, _ next: UInt64) -> Bool
  ) throws(ServedError) {
    let place = try place(directory)
    if start == 0 {
      guard body([46], folder(place, at: begun), 1) else { return }
    }
    if start < 2 {
      // Whatever it is, the kernel knows better.
      guard body([46, 46], folder(.top, at: begun), 2) else { return }
    }
    let first = Int(clamping: start < 2 ? 0 : start - 2)
    switch place {
    case .top:
      var all: [(StaticString, Place)] = [("by-day", .days), ("points", .points), ("versions", .versions(.top))]
      if let newest = try points.current().last { all.append(("latest", .latest(newest.number))) }
      for (index, (name, place)) in all.enumerated() where index >= first {
        guard body(Bytes(name), try status(place), UInt64(index + 3)) else { return }
      }
    case .points:
      for point in try points.current() where point.number >= first {
        // Its tree is not looked at for this.
        guard body(point.name, folder(.point(point.number), at: point.time), UInt64(point.number + 3)) else { return }
      }
    case .days:
      let all = try points.current()
      for (index, point) in all.enumerated() where point.number >= first {
        if index + 1 < all.count, all[index + 1].day == point.day { continue }
        guard body(point.day, try status(.day(point.number)), UInt64(point.number + 3)) else { return }
      }
    case .latest, .day: throw .notDirectory
    case .point(let number): try list(number, nil, from: first, body)
    case .entry(let number, let row): try list(number, row, from: first, body)
    case .versions(let place):
      try versions.list(place, from: first) { name, status, index in body(name, status, UInt64(index + 3)) }
    }
  }

  private func list(
    _ number: Int, _ row: Int?, from first: Int, _ body: (Bytes, NodeStatus, UInt64) -> Bool
  ) throws(ServedError) {
    var first = first
    let isDirectory = try points.read(number) { (tree) throws(Failure) in
      guard let range = try tree.children(of: row) else { return false }
      guard first < range.count else { return true }
      try tree.each((range.lowerBound + first)..<range.upperBound) { (child, line) throws(Failure) in
        guard body(Bytes(line.name), try status(number, child, line, tree), UInt64(first + 3)) else { return false }
        first += 1
        return true
      }
      return true
    }
    if !isDirectory { throw .notDirectory }
  }

  private func target(_ place: Place) throws(ServedError) -> Bytes {
    let all = try points.current()
    switch place {
    case .latest(let number), .day(let number):
      guard let point = all.first(where: { $0.number == number }) else { throw .noEntry }
      if case .latest = place { return Bytes("points").joined(point.name) }
      return Bytes("../points").joined(point.name)
    default: throw .invalid
    }
  }

  public func target(of node: Node) throws(ServedError) -> Bytes {
    switch try place(node) {
    case .entry, .versions: return try entry(node).linkTarget
    case let place: return try target(place)
    }
  }

  private func entry(_ node: Node) throws(ServedError) -> Entry {
    switch try place(node) {
    case .entry(let number, let row):
      return try points.read(number) { (tree) throws(Failure) in try tree.entry(row) }
    case .versions(let place):
      guard let entry = try versions.entry(place) else { throw .invalid }
      return entry
    default: throw .invalid
    }
  }

  public func attributes(of node: Node) throws(ServedError) -> [Attribute] {
    switch try place(node) {
    case .entry: return try entry(node).attributes
    case .point(let number): return try points.read(number) { (tree) throws(Failure) in tree.top?.attributes ?? [] }
    case .versions(let place): return try versions.entry(place)?.attributes ?? []
    default: return []
    }
  }

  // MARK: - Files

  public func open(_ node: Node) throws(ServedError) -> UInt64 {
    let file: RangedFile
    switch try place(node) {
    case .entry(let number, let row):
      file = try points.read(number) { (tree) throws(Failure) in try self.file(of: try tree.entry(row)) }
    case .versions(.version(let tree, let number)):
      file = try points.readVersions(tree) { (_, all) throws(Failure) in
        try self.file(of: try all.versions.entry(number))
      }
    default: throw .isDirectory
    }
    return files.look { files in
      files.next += 1
      files.open[files.next] = file
      return files.next
    }
  }

  private func file(of entry: Entry) throws(Failure) -> RangedFile {
    try RangedFile(entry, cache) { (id) throws(Failure) in try points.archive(id) }
  }

  private func file(_ number: UInt64) throws(ServedError) -> RangedFile {
    guard let file = files.look({ $0.open[number] }) else { throw .notOpen }
    return file
  }

  public func read(
    _ file: UInt64, from offset: Int64, count: Int, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(ServedError) {
    let file = try self.file(file)
    do throws(Failure) { try file.read(from: offset, count: count) { body($0) } } catch {
      points.tell(error, of: file.entry.path)
      throw .unreadable
    }
  }

  public func next(data: Bool, in file: UInt64, from offset: Int64) throws(ServedError) -> Int64? {
    try self.file(file).next(data: data, from: offset)
  }

  public func close(_ file: UInt64) { files.look { _ = $0.open.removeValue(forKey: file) } }
}
