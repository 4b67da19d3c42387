/// Every state that one path had in the points of a series.
import Posix
import Tar

/// One of them, as the point that has it first tells.
public struct Version: Sendable {
  /// By the words that are shown, in `--json` too.
  public enum Event: String, Sendable {
    case new, changed, deleted
    /// It could not be looked at: the last good copy stays, where there is one.
    case unseen
  }
  public let event: Event
  /// The first point that has it.
  public let point: SetName
  /// nil where it was deleted, or unseen and never seen before.
  public let entry: Entry?
  /// Of `changed`: in what it differs from the state before.
  public let aspects: Aspects
  public let isSuspectedRot: Bool
  /// The set whose archive holds the contents; nil where there are none, or where that set is not in the store.
  public let stored: SetName?
  /// Of what is new, the path it was moved from; of what is gone, the one it was moved to.
  public let moved: Bytes?
}

public struct History {
  private let series: Series
  private let reporter: any Reporter
  private let progress: Progress

  public init(_ series: Series, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.reporter = reporter
    self.progress = progress
  }

  /// What is at the path in a point, as far as its set and those before it tell.
  enum State {
    case absent
    case present(Entry, isUnseen: Bool)
    /// It could not be looked at, and there is no copy.
    case unseen
    /// Its manifest, or one that it builds on, cannot be read.
    case unknown
  }

  /// Calls `body` with each version, oldest first. Gives whether everything could be read; what could not was told to
  /// the reporter. Throws `failed` where no point has the path.
  public func run(_ path: Bytes, _ body: (Version) throws(Failure) -> Void) throws(Failure) -> Bool {
    var last = State.absent
    var isKnown = false
    let isWhole = try visit(path) { (timeline, step, _, state) throws(Failure) in
      if let version = try version(step.set, of: path, from: last, to: state, timeline) {
        isKnown = true
        try body(version)
      }
      last = state
    }
    if !isKnown, isWhole { throw unknown(path) }
    return isWhole
  }

  func unknown(_ path: Bytes) -> Failure {
    Failure(
      .failed, "\(Show.path(path)) is in no point of the series '\(Show.path(series.name))'",
      hint: Failure.wayToFind(path))
  }

  /// Calls `body` with what is at the path in each point, oldest first, and with what the point's own set says of it;
  /// not for points whose manifests cannot be read, which are told to the reporter. Gives whether there were none.
  func visit(
    _ path: Bytes, _ body: (Timeline, Timeline.Step, ManifestReader.Word, State) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    var isWhole = true
    func damaged(_ failure: Failure) {
      isWhole = false
      reporter.problem(failure.message, path: nil)
    }
    let timeline = try Timeline(series, ahead: false, damaged: damaged)
    var states: [State] = []
    for step in timeline.steps {
      try progress.checkCancelled()
      var known: (word: ManifestReader.Word, state: State)?
      if let manifest = step.manifest {
        do throws(Failure) {
          let word = try manifest.word(on: path, series.index(step.set))
          known = (word, state(word, after: step.parent.map { states[$0] } ?? .absent))
        } catch { damaged(error) }
      }
      states.append(known?.state ?? .unknown)
      guard let known else { continue }
      if case .unknown = known.state { continue }
      try body(timeline, step, known.word, known.state)
    }
    return isWhole
  }

  private func state(_ word: ManifestReader.Word, after parent: State) -> State {
    switch word {
    case .entry(let entry): return .present(entry, isUnseen: entry.isCarried)
    case .gone: return .absent
    case .nothing: return parent
    case .unseen:
      switch parent {
      case .present(let entry, _): return .present(entry, isUnseen: true)
      case .absent, .unseen: return .unseen
      case .unknown: return .unknown
      }
    }
  }

  /// nil where nothing worth a line happened.
  private func version(
    _ point: SetName, of path: Bytes, from old: State, to new: State, _ timeline: Timeline
  ) throws(Failure) -> Version? {
    func version(_ event: Version.Event, _ entry: Entry?, since before: Entry? = nil, moved: Bytes? = nil) -> Version {
      Version(
        event: event, point: point, entry: entry,
        aspects: before.map { Aspects(from: $0, to: entry!) } ?? [],
        isSuspectedRot: before.map { entry!.isSuspectedRot(since: $0) } ?? false,
        stored: entry?.extents.first.flatMap { timeline.set($0.set) }, moved: moved)
    }
    switch (old, new) {
    case (.present(let before, let wasUnseen), .present(let entry, let isUnseen)):
      if isUnseen { return wasUnseen ? nil : version(.unseen, entry) }
      return Aspects(from: before, to: entry).isEmpty ? nil : version(.changed, entry, since: before)
    case (_, .present(let entry, isUnseen: true)): return version(.unseen, entry)
    case (_, .present(let entry, isUnseen: false)):
      return try version(.new, entry, moved: moves(of: point)?.before(path))
    case (.present, .absent):
      let after = try moves(of: point)?.after(path)
      return version(.deleted, nil, moved: after == path ? nil : after)
    case (.unseen, .unseen): return nil
    case (_, .unseen): return version(.unseen, nil)
    default: return nil
    }
  }
}

extension History {
  /// What was moved between the point that a set builds on and its own; nil: nothing.
  private func moves(of set: SetName) throws(Failure) -> Moves? {
    guard set.kind != .full else { return nil }
    var moves: [Move] = []
    let manifest = try series.manifest(set)
    manifest.onMove = { moves.append($0) }
    // They stand together, and before what is deleted; but an archive's own writer is not the only one there may be.
    while try manifest.next() {}
    return moves.isEmpty ? nil : Moves(moves)
  }
}

extension ManifestReader {
  /// What one set by itself says of a path.
  enum Word {
    case entry(Entry)
    /// It went away, or one of the directories above it did.
    case gone
    case unseen
    case nothing
  }

  /// Reads no more than the members that may tell of the path and of the directories above it.
  func word(on path: Bytes, _ index: ManifestIndex) throws(Failure) -> Word {
    var step = Bytes()
    var isHidden = false
    for component in path.split(separator: UInt8(ascii: "/")) {
      step = step.joined(Bytes(component))
      guard try seek(to: step, index), step.elementsEqual(line.path) else { continue }
      if line.what == .deleted { return .gone }
      if step.count == path.count {
        if line.what == .unseen { return .unseen }
        guard let entry = line.entry() else { throw .damaged("\(name): the line of \(Show.path(path)) cannot be read") }
        return .entry(entry)
      }
      if line.what == .entry, line.kind != .directory { return .gone }
      // Another directory than the one older sets tell of.
      if line.what == .entry, line.isFresh { isHidden = true }
    }
    return isHidden ? .gone : .nothing
  }

  /// Whether this set by itself says anything of what is below a directory; to be asked after `word`.
  func tells(below directory: Bytes, _ index: ManifestIndex) throws(Failure) -> Bool {
    try seek(to: directory + [47], index) && Bytes(line.parent).isAtOrBelow(directory)
  }
}
