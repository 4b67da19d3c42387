/// How much lies in which folder of a point, from one look at its list: the larger ones, in memory that grows with the
/// depth of the tree only.
import Posix

public struct FolderSize: Sendable {
  /// One component, not a path; of the point's top empty.
  public let name: Bytes
  /// Bytes of all files in it and below.
  public var bytes: Int64 = 0
  public var files: Int64 = 0
  /// The largest folders in it, largest first.
  public var folders: [FolderSize] = []
}

struct FolderSizes {
  /// Folders that are not over yet, from the top down.
  private var open: [(path: Bytes, size: FolderSize)] = [([], FolderSize(name: []))]

  /// Of each folder so many folders are kept, and none below this share of it.
  private static let most = 12
  private static let share = 0.004
  private static let depth = 8

  /// Takes entries in the order of the tree.
  mutating func add(_ line: Line) {
    if !line.parent.elementsEqual(open[open.count - 1].path) { enter(Bytes(line.parent)) }
    guard line.kind != .directory else { return }
    open[open.count - 1].size.files += 1
    open[open.count - 1].size.bytes.add(saturating: line.hasHardLink ? 0 : line.size)
  }

  private mutating func enter(_ path: Bytes) {
    while open.count > 1, !path.isAtOrBelow(open[open.count - 1].path) { leave() }
    // Folders between, of which nothing but folders is told.
    let above = open[open.count - 1].path
    guard path != above else { return }
    var reached = above
    for name in path.dropFirst(above.isEmpty ? 0 : above.count + 1).split(separator: 47) {
      reached = reached.joined(Bytes(name))
      open.append((reached, FolderSize(name: Bytes(name))))
    }
  }

  private mutating func leave() {
    guard open.count > 1, let (_, size) = open.popLast() else { return }
    let done = Self.pruned(size, depth: Self.depth)
    let last = open.count - 1
    open[last].size.bytes.add(saturating: done.bytes)
    open[last].size.files.add(saturating: done.files)
    let folders = open[last].size.folders
    if folders.count < 4 * Self.most {
      open[last].size.folders.append(done)
    } else {
      open[last].size.folders = Array((folders + [done]).sorted { $0.bytes > $1.bytes }.prefix(Self.most))
    }
  }

  private static func pruned(_ size: FolderSize, depth: Int) -> FolderSize {
    var size = size
    let least = Int64(saturating: Double(size.bytes) * share)
    let kept = depth == 0 ? [] : size.folders.filter { $0.bytes > 0 && $0.bytes >= least }
    size.folders = kept.sorted { $0.bytes > $1.bytes }.prefix(most).map { pruned($0, depth: depth - 1) }
    return size
  }

  /// The point's top, with the largest folders.
  mutating func finish() -> FolderSize {
    while open.count > 1 { leave() }
    return Self.pruned(open[0].size, depth: Self.depth)
  }
}
