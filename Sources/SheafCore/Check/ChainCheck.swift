/// Whether manifests add up to the points they were written for: those of all points that build on one full set are
/// read once, side by side, with a digest for each point.
import Posix
import Tar

struct ChainCheck {
  private let series: Series
  private let lineage: Lineage
  private let progress: Progress

  init(_ series: Series, _ lineage: Lineage, _ progress: Progress) {
    self.series = series
    self.lineage = lineage
    self.progress = progress
  }

  /// What is wrong with each of the points; those that are as they should be are missing. What each builds on must be
  /// known.
  func run(_ points: [SetName]) throws(Failure) -> [SetName: Failure] {
    var families: [SetName: [SetName]] = [:]
    for point in points { families[try lineage.full(of: point), default: []].append(point) }
    let ids = try series.identities()
    var wrong: [SetName: Failure] = [:]
    for (_, points) in families.sorted(by: { $0.key < $1.key }) {
      try progress.checkCancelled()
      let family = try Family(points, series, lineage, ids)
      try family.read(progress)
      for (point, failure) in family.outcome() { wrong[point] = failure }
    }
    return wrong
  }
}

/// All points that build on one full set, and all that is between them and that.
private final class Family {
  /// Oldest first: what a set builds on comes before it.
  private var links: [Link] = []
  private let merge: ManifestMerge
  /// Where in `links` the sets of the readers are.
  private let indices: [Int]
  private let ids: Set<SetID>
  /// Directories that went away or became something else, and the index of the set that says so.
  private var hidden = DirectoryTable<Int>()
  private var directory: Bytes?
  /// The directories of each link's point.
  private var directories: OpenDirectories
  private let foots: [SetName: Digest]

  /// A set of the family, and what it builds on.
  private struct Link {
    let set: SetName
    let parent: Int?
    /// How many sets it builds on.
    let depth: Int
    /// Of a point that was asked for.
    var digest: PointDigest?
    /// Why its manifest cannot be read.
    var failure: Failure?
    /// A set that is not in the store and holds files of the point.
    var missing: SetID?
    /// A path of the point whose directory the point does not have.
    var stray: Bytes?

    // Of the path at hand.
    var told: Told?
    /// The index of the set that tells of the point's entry; nil: the point has none.
    var winner: Int?
    /// It or what it builds on tells of a directory.
    var hasDirectory = false
    /// The depth of the newest set in its chain that hides what older ones hold in the directory at hand; -1: none does.
    var hiding = -1
  }

  private struct Told {
    var what: Line.What
    var canonical: UnsafeRawBufferPointer
    var isDirectory: Bool
    var isFresh: Bool
    /// The set its file lies in is not in the store.
    var missing: SetID?
  }

  init(_ points: [SetName], _ series: Series, _ lineage: Lineage, _ ids: Set<SetID>) throws(Failure) {
    self.ids = ids
    var all: Set<SetName> = []
    for point in points {
      var next: SetName? = point
      while let set = next, all.insert(set).inserted { next = try lineage.parent(of: set) }
    }
    let wanted = Set(points)
    // Of thousands of points each has the less memory.
    let capacity = max(4 << 10, min(64 << 10, (16 << 20) / points.count))
    var family: [Link] = []
    var known: [SetName: Int] = [:]
    var readers: [ManifestReader] = []
    var indices: [Int] = []
    var foots: [SetName: Digest] = [:]
    for set in all.sorted() {
      let parent = try lineage.parent(of: set).flatMap { known[$0] }
      var link = Link(set: set, parent: parent, depth: parent.map { family[$0].depth + 1 } ?? 0)
      if wanted.contains(set) { link.digest = PointDigest(capacity: capacity) }
      do throws(Failure) {
        foots[set] = try series.foot(set).point
        // The oldest are the largest.
        readers.append(try series.manifest(set, ahead: family.count < 4))
        indices.append(family.count)
      } catch { link.failure = error }
      known[set] = family.count
      family.append(link)
    }
    links = family
    directories = OpenDirectories(count: family.count)
    self.foots = foots
    self.indices = indices.reversed()
    merge = ManifestMerge(readers.reversed())
  }

  func read(_ progress: Progress) throws(Failure) {
    merge.onDamage = { [unowned self] reader, failure in links[indices[reader]].failure = failure }
    var count = 0
    while try merge.next() {
      count += 1
      if count % 1024 == 0 { try progress.checkCancelled() }
      try enter(merge.readers[merge.here[0]].line)
      for reader in merge.here { links[indices[reader]].told = told(merge.readers[reader].line) }
      settle()
      for reader in merge.here { links[indices[reader]].told = nil }
    }
  }

  private func told(_ line: Line) -> Told {
    let isEntry = line.what == .entry
    var missing: SetID?
    if isEntry, let place = line.place, !ids.contains(place.extent.set) { missing = place.extent.set }
    return Told(
      what: line.what, canonical: line.canonical, isDirectory: isEntry && line.kind == .directory,
      isFresh: line.isFresh, missing: missing)
  }

  /// The directory of the path at hand: what is hidden in it is the same for all of its names.
  private func enter(_ line: Line) throws(Failure) {
    if let directory, line.parent.elementsEqual(directory) { return }
    let path = Bytes(line.parent)
    directory = path
    directories.enter(path)
    var hiders: Set<Int> = []
    let _: Bool? = hidden.first(above: path) { _, index in
      hiders.insert(index)
      return nil
    }
    for index in links.indices {
      let above = links[index].parent.map { links[$0].hiding } ?? -1
      links[index].hiding = hiders.contains(index) ? links[index].depth : above
    }
  }

  /// As `PointReader` does it for one point: what the lines at hand, all of one path, come to for each.
  private func settle() {
    let line = merge.readers[merge.here[0]].line
    for index in links.indices {
      var winner: Int?
      var hasDirectory = false
      if let parent = links[index].parent {
        (winner, hasDirectory) = (links[parent].winner, links[parent].hasDirectory)
      }
      if let told = links[index].told, told.what != .unseen {
        // What was a directory and went away, or became something else or another one, takes all below it along.
        if hasDirectory, !told.isDirectory || told.isFresh {
          hidden.add(Bytes(line.path), index)
        }
        winner = told.what == .entry ? index : nil
        hasDirectory = hasDirectory || told.isDirectory
      }
      links[index].winner = winner
      links[index].hasDirectory = hasDirectory
      guard let winner, let digest = links[index].digest, links[index].hiding <= links[winner].depth,
        let told = links[winner].told
      else { continue }
      digest.add(told.canonical)
      if !directories.holds(index), links[index].stray == nil { links[index].stray = Bytes(line.path) }
      if told.isDirectory { directories.add(line.name, of: index) }
      if let id = told.missing { links[index].missing = id }
    }
  }

  /// What is wrong with the points that were asked for.
  func outcome() -> [(SetName, Failure)] {
    var wrong: [(SetName, Failure)] = []
    for index in links.indices {
      if links[index].failure == nil, let parent = links[index].parent {
        links[index].failure = links[parent].failure
      }
      let link = links[index]
      guard let digest = link.digest else { continue }
      if let failure = link.failure {
        wrong.append((link.set, failure))
      } else if let id = link.missing {
        let what = "files of it lie in the set with the identity \(id.text), which is not in the store"
        wrong.append((link.set, .damaged("\(link.set.text): \(what)")))
      } else if let stray = link.stray {
        let what = "\(Show.path([47] + stray)) has no folder to lie in"
        wrong.append((link.set, .damaged("the manifests up to \(link.set.text) do not add up: \(what)")))
      } else if digest.finish() != foots[link.set] {
        let what = "do not add up to the point it was written for"
        wrong.append((link.set, .damaged("the manifests up to \(link.set.text) \(what)")))
      }
    }
    return wrong
  }
}
