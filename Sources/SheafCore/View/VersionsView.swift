/// The versions of all paths as folders: one tree of the paths that any point has, in which each file is a folder with its
/// versions.
///
/// Points come and go, and then the tree is made anew. Nodes tell which tree they are of, and the last ones stay, so that
/// who is inside one goes on in it.
import Fuse
import Posix

final class VersionsView: Sendable {
  enum Place {
    case top
    /// What any point has: a directory, or a folder with the versions of a file. The tree's number and the path's.
    case path(tree: Int, Int)
    case version(tree: Int, Int)

    private static let mark: UInt64 = 1 << 63
    private static let versionBit: UInt64 = 1 << 33
    private static let treeShift: UInt64 = 34

    /// nil: a node that is not of these.
    init?(_ node: SeriesView.Node) {
      guard node & Self.mark != 0 else { return nil }
      let tree = Int((node & ~Self.mark) >> Self.treeShift)
      let number = Int(node & (Self.versionBit - 1)) - 1
      if number < 0 {
        self = .top
      } else {
        self = node & Self.versionBit != 0 ? .version(tree: tree, number) : .path(tree: tree, number)
      }
    }

    var node: SeriesView.Node {
      switch self {
      case .top: Self.mark
      case .path(let tree, let number): Self.mark | UInt64(tree) << Self.treeShift | UInt64(number + 1)
      case .version(let tree, let number):
        Self.mark | UInt64(tree) << Self.treeShift | Self.versionBit | UInt64(number + 1)
      }
    }

    /// nil: that of the points that there are now.
    fileprivate var tree: Int? {
      switch self {
      case .top: nil
      case .path(let tree, _), .version(let tree, _): tree
      }
    }
  }

  private let points: ViewedPoints
  private let top: NodeStatus

  /// `top`: the folder of all.
  init(_ points: ViewedPoints, top: NodeStatus) {
    self.points = points
    self.top = top
  }

  func status(of place: Place) throws(ServedError) -> NodeStatus {
    switch place {
    case .top: return top
    case .path(let tree, let number):
      return try points.readVersions(tree) { (_, all) throws(Failure) in
        try all.paths.look(at: number) { folder(tree, number, $0) }
      }
    case .version(let tree, let number):
      return try points.readVersions(tree) { (_, all) throws(Failure) in
        NodeStatus(inode: place.node, try all.versions.entry(number))
      }
    }
  }

  /// A directory as it was last; of anything else one that who might read it may open.
  private func folder(_ tree: Int, _ number: Int, _ line: Line) -> NodeStatus {
    let readable = line.mode & 0o444
    var status = NodeStatus(
      inode: Place.path(tree: tree, number).node, kind: .directory,
      mode: line.kind == .directory ? line.mode : readable | readable >> 2, uid: line.uid, gid: line.gid,
      modified: line.modified, changed: line.changed)
    status.isForGood = false
    return status
  }

  func find(_ name: Bytes, in place: Place) throws(ServedError) -> NodeStatus? {
    if case .version = place { throw .notDirectory }
    return try points.readVersions(place.tree) { (tree, all) throws(Failure) -> NodeStatus? in
      var number: Int?
      if case .path(_, let own) = place { number = own }
      if let range = try all.paths.children(of: number), let found = try all.paths.find(name, among: range) {
        return try all.paths.look(at: found) { folder(tree, found, $0) }
      }
      guard let number else { return nil }
      let range = try all.versions(ofPath: number)
      let path = try all.paths.entry(number).path
      for (version, point) in zip(range, try all.points(range)) where VersionsTree.name(point, of: path) == name {
        return NodeStatus(inode: Place.version(tree: tree, version).node, try all.versions.entry(version))
      }
      return nil
    }
  }

  /// As `ServedFiles.list`, without the two links, and from `first` on.
  func list(
    _ place: Place, from first: Int, _ body: (Bytes, NodeStatus, _ index: Int) -> Bool
  ) throws(ServedError) {
    if case .version = place { throw .notDirectory }
    var next = first
    try points.readVersions(place.tree) { (tree, all) throws(Failure) in
      var number: Int?
      if case .path(_, let own) = place { number = own }
      let children = try all.paths.children(of: number) ?? 0..<0
      var goesOn = true
      if next < children.count {
        try all.paths.each((children.lowerBound + next)..<children.upperBound) { (child, line) throws(Failure) in
          goesOn = body(Bytes(line.name), folder(tree, child, line), next)
          if goesOn { next += 1 }
          return goesOn
        }
      }
      guard goesOn, let number else { return }
      let range = try all.versions(ofPath: number)
      guard next - children.count < range.count else { return }
      let path = try all.paths.entry(number).path
      for (version, point) in zip(range, try all.points(range)).dropFirst(next - children.count) {
        let status = NodeStatus(inode: Place.version(tree: tree, version).node, try all.versions.entry(version))
        guard body(VersionsTree.name(point, of: path), status, next) else { return }
        next += 1
      }
    }
  }

  /// Of a version; of a directory as it was last. nil: a folder that no point has.
  func entry(_ place: Place) throws(ServedError) -> Entry? {
    try points.readVersions(place.tree) { (_, all) throws(Failure) -> Entry? in
      switch place {
      case .top: return nil
      case .version(_, let number): return try all.versions.entry(number)
      case .path(_, let number):
        let entry = try all.paths.entry(number)
        return entry.kind == .directory ? entry : nil
      }
    }
  }
}

extension NodeStatus {
  /// What a manifest tells of an entry.
  init(inode: SeriesView.Node, _ entry: Entry) {
    self.init(
      inode: inode, kind: entry.kind, mode: entry.mode, uid: entry.uid, gid: entry.gid, modified: entry.modified,
      changed: entry.changed)
    (major, minor) = (entry.major, entry.minor)
    switch entry.kind {
    case .file:
      size = entry.size
      allocated = entry.holes.reduce(entry.size) { $0 - Int64($1.count) }
    case .symlink: size = Int64(entry.linkTarget.count)
    default: break
    }
  }
}
