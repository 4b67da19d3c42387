/// All paths that any point of a series has, as one tree, and of each path every version once. Made by one look at all
/// manifests side by side; what it takes of memory grows with the directories only.
import Posix
import Storage
import Tar

final class VersionsTree: Sendable {
  /// Of all points, newest first.
  let sets: [SetName]
  /// Each path by its newest line, or by its newest as a directory where it ever was one.
  let paths: PointTree
  /// Every version of what is no directory: those of one path together, oldest first.
  let versions: PointTree
  /// Of directories that were something else at times: where those versions begin.
  private let mixed: [Int: Int]

  private init(
    _ sets: [SetName], _ paths: PointTable, _ versions: PointTable, mixed: [Int: Int], _ cache: MemberCache,
    open: @escaping @Sendable (SetName) throws(Failure) -> MemberSource
  ) {
    self.sets = sets
    self.mixed = mixed
    self.paths = PointTree(paths, chain: sets, top: nil, cache, open: open)
    self.versions = PointTree(versions, chain: sets, top: nil, cache, open: open)
  }

  /// `spilling`: where the tables are made; `open`: gives a set's manifest; `damaged`: told of those that cannot be read.
  static func make(
    _ series: Series, _ cache: MemberCache, spilling: Descriptor,
    open: @escaping @Sendable (SetName) throws(Failure) -> MemberSource, damaged: @escaping (Failure) -> Void
  ) throws(Failure) -> VersionsTree {
    let timeline = try Timeline(series, ahead: true, damaged: damaged)
    let known = timeline.steps.reversed().filter { $0.manifest != nil }
    let merge = ManifestMerge(known.compactMap(\.manifest))
    merge.onDamage = { _, failure in damaged(failure) }
    var paths = try system { () throws(SystemError) in try PointTableBuilder(in: spilling) }
    var versions = try system { () throws(SystemError) in try FlatTableBuilder(in: spilling) }
    var mixed: [Int: Int] = [:]
    while try merge.next() {
      let entries = merge.here.filter { merge.readers[$0].line.what == .entry }
      let directory = entries.first { merge.readers[$0].line.kind == .directory }
      guard let shown = directory ?? entries.first else { continue }
      let first = versions.count
      try add(distinct(entries, merge), merge, to: &versions)
      let number = paths.count
      try paths.add(merge.readers[shown].line, age: shown, merge.readers[shown].place, versions: first)
      if directory != nil, versions.count > first, paths.count > number { mixed[number] = first }
    }
    return VersionsTree(
      known.map(\.set), try paths.finish(), try versions.finish(), mixed: mixed, cache, open: open)
  }

  /// Of the lines at hand those that tell of something else than all before them, oldest first.
  private static func distinct(_ entries: [Int], _ merge: ManifestMerge) -> [Int] {
    let all = entries.filter { merge.readers[$0].line.kind != .directory }
    guard all.count > 1 else { return all }
    var found: [(reader: Int, text: Bytes, entry: Entry?)] = []
    for reader in all.reversed() {
      let line = merge.readers[reader].line
      if found.contains(where: { $0.text.elementsEqual(line.canonical) }) { continue }
      let entry = line.entry()
      let isOther = found.allSatisfy { other in
        guard let old = other.entry, let entry else { return true }
        return !Aspects(from: old, to: entry).ofItsOwn(entry.kind).isEmpty
      }
      if isOther { found.append((reader, Bytes(line.canonical), entry)) }
    }
    return found.map(\.reader)
  }

  /// Each row says in the place of a directory's number how many of the same path follow.
  private static func add(
    _ readers: [Int], _ merge: ManifestMerge, to versions: inout FlatTableBuilder
  ) throws(Failure) {
    for (index, reader) in readers.enumerated() {
      let (member, start) = merge.readers[reader].place
      try versions.add(
        PointTable.Row(
          age: reader, member: member, start: start, kind: merge.readers[reader].line.kind,
          directory: readers.count - 1 - index))
    }
  }

  /// Where the versions of a path are, oldest first; empty where it always was a directory.
  func versions(ofPath number: Int) throws(Failure) -> Range<Int> {
    guard let row = try paths.rows(number..<(number + 1)).first else { return 0..<0 }
    guard let first = row.kind == .directory ? mixed[number] : row.directory,
      let start = try versions.rows(first..<(first + 1)).first
    else { return 0..<0 }
    return first..<(first + start.directory + 1)
  }

  /// The points that versions came with.
  func points(_ range: Range<Int>) throws(Failure) -> [SetName] {
    try versions.rows(range).compactMap { sets.indices.contains($0.age) ? sets[$0.age] : nil }
  }

  /// What a version is called: the time of the first point that has it, and what the file's name ends in, so that
  /// programs know what it is.
  static func name(_ point: SetName, of path: Bytes) -> Bytes {
    Bytes(point.point.utf8) + suffix(path.splitAtName.name)
  }

  private static let longestSuffix = 16

  /// From the last dot on, or the one before where that is one of `.tar.gz` and its like.
  private static func suffix(_ name: Bytes) -> ArraySlice<UInt8> {
    func isPlain(_ byte: UInt8) -> Bool {
      switch byte {
      case 48...57, 65...90, 97...122: true
      default: false
      }
    }
    guard let dot = name.lastIndex(of: 46), dot > 0, (2...longestSuffix).contains(name.count - dot),
      name[(dot + 1)...].allSatisfy(isPlain)
    else { return [] }
    let isArchive = dot > 4 && name[(dot - 4)..<dot].elementsEqual(Bytes(".tar"))
    return name[(isArchive ? dot - 4 : dot)...]
  }
}
