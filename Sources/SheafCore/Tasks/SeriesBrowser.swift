/// A series for someone who looks around in it: folders of points, versions of a file, a search of all points, the first
/// part of a file. Memory grows with the number of folders only, as in a mount.
import Posix
import Tar

/// Not for use from several threads.
public final class SeriesBrowser {
  /// A folder of a point.
  public struct Folder: Sendable {
    public let point: SetName
    /// Without the leading slash; empty: the point's top.
    public let path: Bytes
    fileprivate let number: Int
    fileprivate let rows: Range<Int>
    /// Of what is in it.
    public var count: Int { rows.count }
  }

  /// How far a search has come.
  public struct Search: Sendable {
    public let text: Bytes
    fileprivate let needle: Bytes
    fileprivate var tree: Int?
    fileprivate var next = 0
    public fileprivate(set) var isDone = false

    /// For what has `text` in its name, or in its path where there is a slash in it; the case of letters does not count.
    public init(_ text: Bytes) {
      self.text = text
      needle = text.lowercased
      isDone = text.isEmpty
    }
  }

  private let series: Series
  private let points: ViewedPoints
  private let cache: MemberCache
  private let reporter: any Reporter
  private let progress: Progress

  /// Bytes of gzip members that are kept inflated.
  private static let cacheLimit = 32 << 20

  /// `spilling`: where files without a name are made. `reporter`: told of manifests that cannot be read.
  public init(
    _ series: Series, spilling: Bytes, reporter: any Reporter, progress: Progress,
    report: @escaping @Sendable (String) -> Void
  ) throws(Failure) {
    self.series = series
    self.reporter = reporter
    self.progress = progress
    cache = MemberCache(limit: Self.cacheLimit)
    points = try ViewedPoints(series, cache, spilling: spilling, report: report)
  }

  /// Newest first.
  public func sets() throws(Failure) -> [SetName] { try points.now().map(\.set).reversed() }

  /// What a point holds; nil where that cannot be read.
  public func counts(of point: SetName) -> SetFoot.Counts? { (try? series.foot(point))?.counts }

  /// What was saved in a point; none where that cannot be read.
  public func sources(of point: SetName) -> [Bytes] { (try? series.head(point))?.sources ?? [] }

  private func number(of point: SetName) throws(Failure) -> Int {
    guard let found = try points.now().first(where: { $0.set.point == point.point }) else {
      throw Failure(.failed, "the point \(point.text) is not in the store any more")
    }
    return found.number
  }

  /// nil where the point has no such folder.
  public func folder(_ path: Bytes, in point: SetName) throws(Failure) -> Folder? {
    let number = try number(of: point)
    return try points.look(number) { (tree) throws(Failure) in
      var row: Int?
      if !path.isEmpty {
        row = try tree.find(path)
        if row == nil { return nil }
      }
      return try tree.children(of: row).map { Folder(point: point, path: path, number: number, rows: $0) }
    }
  }

  /// What stands in these places of a folder, in the order of names.
  public func entries(of folder: Folder, _ range: Range<Int>) throws(Failure) -> [Entry] {
    let range = range.clamped(to: 0..<folder.count)
    return try points.look(folder.number) { (tree) throws(Failure) in
      var entries: [Entry] = []
      for place in range { entries.append(try tree.entry(folder.rows.lowerBound + place)) }
      return entries
    }
  }

  /// The place of a name in a folder.
  public func place(of name: Bytes, in folder: Folder) throws(Failure) -> Int? {
    try points.look(folder.number) { (tree) throws(Failure) in
      try tree.find(name, among: folder.rows).map { $0 - folder.rows.lowerBound }
    }
  }

  /// Every version of a path, newest first.
  public func versions(of path: Bytes) throws(Failure) -> [Version] {
    var versions: [Version] = []
    _ = try History(series, reporter: reporter, progress: progress).run(path) { versions.append($0) }
    return versions.reversed()
  }

  /// Looks at the next `count` paths of all points and calls `body` with the newest state of those that are looked for.
  public func go(on search: inout Search, atMost count: Int, _ body: (Entry) -> Void) throws(Failure) {
    guard !search.isDone else { return }
    var (next, isDone) = (search.next, false)
    let needle = search.needle
    let tree = try points.lookVersions(search.tree) { (number, all) throws(Failure) in
      let end = min(next + count, all.paths.count)
      var found: [Entry] = []
      try all.paths.each(next..<end) { (_, line) throws(Failure) in
        if line.holds(needle), let entry = line.entry() { found.append(entry) }
        return true
      }
      for entry in found { body(entry) }
      (next, isDone) = (end, end == all.paths.count)
      return number
    }
    (search.next, search.isDone, search.tree) = (next, isDone, tree)
  }

  /// The first bytes of a file, proved where it is small; of a large one as far as gzip's checksums prove them.
  public func beginning(of entry: Entry, atMost count: Int) throws(Failure) -> Bytes {
    try series.checkReadsContents()
    let file = try RangedFile(entry, cache) { (id) throws(Failure) in try points.archive(id) }
    var bytes = Bytes()
    try file.read(from: 0, count: count) { bytes += $0 }
    return bytes
  }
}

extension Line {
  /// Whether its name has the text, which is in small letters, or its path where there is a slash in the text.
  fileprivate func holds(_ needle: Bytes) -> Bool {
    let place = needle.contains(47) ? path : name
    if !needle.contains(where: { $0 >= 0x80 }) { return place.holds(ascii: needle) }
    return Bytes(place).lowercased.holds(needle)
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// Whether a text of small letters is in it, whatever their case.
  fileprivate func holds(ascii needle: Bytes) -> Bool {
    guard count >= needle.count else { return false }
    return needle.withUnsafeBufferPointer { needle in
      (0...(count - needle.count)).contains { start in
        needle.indices.allSatisfy { offset in
          let byte = self[start + offset]
          return ((65...90).contains(byte) ? byte + 32 : byte) == needle[offset]
        }
      }
    }
  }
}
