/// Looks for names in all points of a series at once.
import Posix
import Tar

/// A path that some point has, in its newest state.
public struct Finding: Sendable {
  public let entry: Entry
  /// The newest point that has it.
  public let point: SetName
  /// Whether the series' newest point has it.
  public let isThere: Bool
  /// Whether it is the last good copy of what that point could not look at.
  public let isUnseen: Bool
}

public struct Find {
  private let series: Series
  private let reporter: any Reporter
  private let progress: Progress

  public init(_ series: Series, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.reporter = reporter
    self.progress = progress
  }

  /// Calls `body` with each path that matches the pattern, in order. Gives whether everything could be read; what
  /// could not was told to the reporter. Throws `usage` where the pattern cannot be used.
  public func run(
    _ text: Bytes, ignoringCase: Bool = false, _ body: (Finding) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    var isWhole = true
    func damaged(_ failure: Failure) {
      isWhole = false
      reporter.problem(failure.message, path: nil)
    }
    let timeline = try Timeline(series, ahead: true, damaged: damaged)
    let merge = PathLives(timeline)
    // Another of the series' sources each time, as the runs had them.
    var sources: [Bytes] = []
    for step in timeline.steps {
      for source in step.manifest?.head.sources ?? [] where !sources.contains(source) { sources.append(source) }
    }
    let query = try FindQuery(text, sources: sources, ignoresCase: ignoringCase)
    merge.onDamage = damaged
    var directory = Bytes()
    while try merge.next() {
      try progress.checkCancelled()
      let line = merge.line
      if !line.parent.elementsEqual(directory) {
        directory = Bytes(line.parent)
        merge.enter(directory)
      }
      // Whether it is a directory can differ from set to set: the newest state decides, below.
      guard query.matches(directory: directory, name: line.name, isDirectory: true),
        let (point, set, isUnseen) = merge.newest()
      else { continue }
      let found = merge.line(of: set)
      if found.kind != .directory, !query.matches(directory: directory, name: line.name, isDirectory: false) {
        continue
      }
      guard let entry = found.entry() else {
        damaged(
          .damaged("\(timeline.steps[set].set.manifest): the line of \(Show.path(Bytes(line.path))) cannot be read"))
        continue
      }
      try body(
        Finding(
          entry: entry, point: timeline.steps[point].set, isThere: point == timeline.steps.count - 1, isUnseen: isUnseen
        ))
    }
    return isWhole
  }
}

/// All manifests of a series side by side: at each path, which points have it.
private final class PathLives {
  private let timeline: Timeline
  private let merge: ManifestMerge
  /// The place in the timeline of each of the merge's manifests, which come newest first; and the other way round.
  private let places: [Int]
  private var readers: [Int?]
  /// The set that each builds on; -1 where there is none.
  private let parents: [Int]
  /// Directories that went away or became something else, and in which sets.
  private var gone = DirectoryTable<Int>()

  private enum Word { case nothing, entry, unseen, gone }
  /// What each set says of the path at hand.
  private var words: [Word]
  private var spoken: [Int] = []
  /// For each set, the number of the last path that neither it nor the sets it builds on have.
  private var absent: [Int]
  private var path = 0

  init(_ timeline: Timeline) {
    self.timeline = timeline
    places = timeline.steps.indices.reversed().filter { timeline.steps[$0].manifest != nil }
    merge = ManifestMerge(places.map { timeline.steps[$0].manifest! })
    parents = timeline.steps.map { $0.parent ?? -1 }
    readers = Array(repeating: nil, count: timeline.steps.count)
    words = Array(repeating: .nothing, count: timeline.steps.count)
    absent = Array(repeating: 0, count: timeline.steps.count)
    for (reader, place) in places.enumerated() { readers[place] = reader }
  }

  var isEmpty: Bool { places.isEmpty }

  var onDamage: ((Failure) -> Void)? {
    didSet { merge.onDamage = onDamage.map { report in { _, failure in report(failure) } } }
  }

  /// A line of the path at hand.
  var line: Line { _read { yield merge.readers[merge.here[0]].line } }
  /// That of one set, which has an entry of it.
  func line(of place: Int) -> Line { merge.readers[readers[place]!].line }

  func next() throws(Failure) -> Bool {
    guard try merge.next() else { return false }
    path += 1
    // A directory of an older set that is something else here, or another directory, takes all below it along.
    guard merge.here.count > 1 else { return true }
    for (order, reader) in merge.here.enumerated()
    where !isDirectory(reader) || merge.readers[reader].line.isFresh {
      guard merge.readers[reader].line.what != .unseen, merge.here[(order + 1)...].contains(where: isDirectory) else {
        continue
      }
      gone.add(Bytes(merge.readers[reader].line.path), places[reader])
    }
    return true
  }

  /// What follows lies in this directory, or comes after it.
  func enter(_ directory: Bytes) { _ = gone.first(above: directory) { _, _ -> Void? in nil } }

  private func isDirectory(_ reader: Int) -> Bool {
    merge.readers[reader].line.what == .entry && merge.readers[reader].line.kind == .directory
  }

  /// The newest point that has the path at hand, and the set whose line tells of it there; nil where none has it.
  func newest() -> (point: Int, set: Int, isUnseen: Bool)? {
    for place in spoken { words[place] = .nothing }
    spoken.removeAll(keepingCapacity: true)
    for reader in merge.here {
      switch merge.readers[reader].line.what {
      case .entry: say(.entry, places[reader])
      case .deleted: say(.gone, places[reader])
      case .unseen: say(.unseen, places[reader])
      }
    }
    _ = gone.first(above: Bytes(line.parent)) { _, place -> Void? in
      // A directory that is back may have something of this name again.
      if words[place] == .nothing { say(.gone, place) }
      return nil
    }
    for point in parents.indices.reversed() {
      var isUnseen = false
      var place = point
      search: while place >= 0, absent[place] != path {
        absent[place] = path
        switch words[place] {
        case .entry: return (point, place, isUnseen || line(of: place).isCarried)
        case .gone: break search
        case .unseen: isUnseen = true
        case .nothing: break
        }
        place = parents[place]
      }
    }
    return nil
  }

  private func say(_ word: Word, _ place: Int) {
    words[place] = word
    spoken.append(place)
  }
}
