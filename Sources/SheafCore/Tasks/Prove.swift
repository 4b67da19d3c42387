/// Really restores a share of a point, what was restored longest ago first, by the road that a restore takes, and compares
/// it with what was saved.
import Posix
import Storage
import Tar

public struct ProveOptions: Sendable {
  /// Of the point, from 0 to 1; each entry counts with its bytes and 4 KiB.
  public var share = 0.05
  /// Where it is restored into: the first that has twice the room. `most`: bytes at a time.
  public var places: [(directory: Bytes, most: Int64)] = []
  /// The first of them by the store's own `restore.sh` as well.
  public var triesScript = false
  /// Of the program, for the note.
  public var version = ""

  public init() {}
}

public struct ProveSummary: Sendable {
  public var set: SetName
  public var files: Int64 = 0
  public var directories: Int64 = 0
  public var bytes: Int64 = 0
  /// Restored by `restore.sh` as well.
  public var byScript: Int64 = 0
  /// Entries that did not come back as they were saved.
  public var different: Int64 = 0
  public var isDamaged = false
  /// What could not be compared, and how often: the target could not take it, or this user may not look.
  public var uncompared: [(what: String, count: Int)] = []
  public var note = ProofNote()
  /// The store took the note.
  public var isNoted = true
}

public struct Prove {
  private let series: Series
  private let options: ProveOptions
  private let reporter: any Reporter
  private let progress: Progress

  public init(_ series: Series, _ options: ProveOptions, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.options = options
    self.reporter = reporter
    self.progress = progress
  }

  /// Entries that are restored at a time, and their bytes where that is not one file alone.
  private static let batchLimit = 8192
  private static let batchBytes: Int64 = 64 << 20
  private static let entryWeight: Int64 = 4096

  /// `known`: what this machine remembers.
  public func run(_ set: SetName, now: Timestamp, _ known: KnownStores?) throws(Failure) -> ProveSummary {
    try series.checkReadsContents(of: set)
    series.holdSets()
    let chain = try series.chain(of: set)
    let trial = options.triesScript ? try ScriptTrial(series, set) : nil
    var summary = ProveSummary(set: set)
    for message in try series.shortfalls(in: chain) {
      reporter.problem(message, path: nil)
      summary.isDamaged = true
    }
    removeLeftovers(before: Timestamp(seconds: now.seconds - Self.settling))
    let cache = MemberCache(limit: 16 << 20)
    nonisolated(unsafe) let series = series
    let tree = try PointTree.make(set, chain, series, cache, spilling: spill()) { (set) throws(Failure) in
      let file = try series.manifestFile(set)
      return MemberSource(file, name: set.manifest, size: file.size)
    }
    let note = series.proofNote(known)
    if let trial { try restore(by: trial, tree, from: note.last?.through ?? [], &summary) }
    var proofs: [ProofNote.Proof] = []
    do throws(Failure) {
      let now = Timestamp(seconds: now.seconds)
      try prove(tree, set, from: note.last?.through ?? [], now: now, &proofs, &summary)
    } catch {
      // What was proved until then is.
      _ = series.write(note.adding(proofs))
      throw error
    }
    summary.note = note.adding(proofs)
    summary.isNoted = series.write(summary.note)
    return summary
  }

  /// What is to be proved next, as far as that is files.
  private func restore(
    by trial: ScriptTrial, _ tree: PointTree, from start: Bytes, _ summary: inout ProveSummary
  ) throws(Failure) {
    var entries: [Entry] = []
    var bytes: Int64 = 0
    var first = start.isEmpty ? 0 : try tree.firstNumber(after: start)
    if first == tree.count { first = 0 }
    for number in first..<tree.count where entries.count < ScriptTrial.most {
      let entry = try tree.entry(number)
      guard ScriptTrial.takes(entry) else { continue }
      if !entries.isEmpty, bytes.adding(saturating: entry.size) > Self.batchBytes { break }
      bytes.add(saturating: entry.size)
      entries.append(entry)
    }
    guard !entries.isEmpty else { return }
    let (above, name, target) = try makeTarget(bytes)
    defer { ProofTarget().remove(name, in: above) }
    for (path, words) in try trial.run(entries, into: above.path.joined(name), target) {
      reporter.problem(words, path: path)
      summary.different += 1
    }
    summary.byScript = Int64(entries.count)
  }

  private func spill() throws(Failure) -> Descriptor {
    guard let place = options.places.last else { throw Failure(.failed, "there is no folder to restore into") }
    return try system { () throws(SystemError) in try Descriptor.open(place.directory, [.read, .directory]) }
  }

  private func prove(
    _ tree: PointTree, _ set: SetName, from start: Bytes, now: Timestamp, _ proofs: inout [ProofNote.Proof],
    _ summary: inout ProveSummary
  ) throws(Failure) {
    let total = tree.dataSize.adding(saturating: Int64(tree.count) * Self.entryWeight)
    var left = max(1, Int64(saturating: Double(total) * min(1, options.share)))
    if options.share >= 1 { left = .max }
    progress.expected.store(Int(min(left, total)), ordering: .relaxed)
    var next = start.isEmpty ? 0 : try tree.firstNumber(after: start)
    var after = start
    if next == tree.count { (next, after) = (0, []) }
    let first = next
    var isRound = false
    while left > 0, tree.count > 0, !(isRound && next >= first) {
      let batch = try batch(tree, from: next, atMost: left, before: isRound ? first : tree.count)
      let isSound = try restore(batch, tree, &summary)
      next = batch.numbers.upperBound
      let isEnd = next == tree.count
      let through = isEnd ? [] : batch.last
      add(
        ProofNote.Proof(
          isSound: isSound, set: set, time: now, version: options.version, entries: Int64(batch.numbers.count),
          of: Int64(tree.count), after: after, through: through), to: &proofs)
      left = left.subtracting(saturating: batch.weight)
      after = through
      if isEnd {
        next = 0
        isRound = true
      }
    }
  }

  /// What follows on what was proved as well is one with it.
  private func add(_ proof: ProofNote.Proof, to proofs: inout [ProofNote.Proof]) {
    guard let last = proofs.last, last.isSound == proof.isSound, last.through == proof.after, !proof.after.isEmpty
    else {
      return proofs.append(proof)
    }
    proofs[proofs.count - 1].through = proof.through
    proofs[proofs.count - 1].entries += proof.entries
  }

  private struct Batch {
    var numbers: Range<Int>
    var weight: Int64 = 0
    var bytes: Int64 = 0
    /// Path of the last one.
    var last = Bytes()
  }

  private func batch(
    _ tree: PointTree, from start: Int, atMost limit: Int64, before end: Int
  ) throws(Failure) -> Batch {
    var batch = Batch(numbers: start..<start)
    try tree.each(start..<min(end, start + Self.batchLimit)) { (number, line) throws(Failure) in
      let size = line.dataSize
      if number > start, batch.bytes.adding(saturating: size) > Self.batchBytes || batch.weight >= limit {
        return false
      }
      batch.bytes.add(saturating: size)
      batch.weight.add(saturating: size.adding(saturating: Self.entryWeight))
      batch.numbers = start..<(number + 1)
      batch.last = Bytes(line.path)
      return true
    }
    return batch
  }

  // MARK: - One batch

  /// Whether all of it came back as it was saved.
  private func restore(_ batch: Batch, _ tree: PointTree, _ summary: inout ProveSummary) throws(Failure) -> Bool {
    let (above, name, target) = try makeTarget(batch.bytes)
    defer { ProofTarget().remove(name, in: above) }
    var options = RestoreOptions()
    options.owners.isNumeric = true
    let head = try series.head(summary.set)
    let roots = head.sources + head.streams
    let rules = try RestoreRules(options, head, summary.set, roots: roots)
    let problems = ProofReporter(reporter)
    let line = try PlaceLine(
      target, series: series, options, roots: roots, sparing: rules.sparing, reporter: problems, progress: progress)
    let skipped = Self.canMakeDevices(in: target) ? [] : [FileKind.characterDevice, .blockDevice]
    do throws(Failure) {
      try feed(batch, tree, line, without: skipped, &summary)
      try line.finish()
    } catch {
      line.abandon()
      throw error
    }
    let placed = line.summary(summary.set)
    summary.isDamaged = summary.isDamaged || placed.isDamaged
    for (what, count) in placed.shortfalls { summary.addUncompared(what, count) }
    let isSame = try compare(
      batch, tree, RestoredComparison(target, lacking: placed.shortfalls), problems, without: skipped, &summary)
    return isSame && problems.count == 0 && !placed.isDamaged
  }

  private func feed(
    _ batch: Batch, _ tree: PointTree, _ line: PlaceLine, without skipped: [FileKind], _ summary: inout ProveSummary
  ) throws(Failure) {
    var parent = Bytes()
    for number in batch.numbers {
      try progress.checkCancelled()
      let entry = try tree.entry(number)
      if skipped.contains(entry.kind) { continue }
      let directory = entry.path.splitAtName.parent
      if directory != parent {
        parent = directory
        // What leads to it may have come in another share.
        var path = Bytes()
        for component in directory.split(separator: 47) {
          path = path.joined(Bytes(component))
          guard let found = try tree.find(path) else { break }
          if !batch.numbers.contains(found) { try line.add(above: try tree.entry(found)) }
        }
      }
      try line.add(entry, isUnseen: false)
      if entry.kind == .directory { summary.directories += 1 } else { summary.files += 1 }
      if entry.hardLink == nil { summary.bytes.add(saturating: entry.size) }
    }
  }

  private func compare(
    _ batch: Batch, _ tree: PointTree, _ comparison: RestoredComparison, _ problems: ProofReporter,
    without skipped: [FileKind], _ summary: inout ProveSummary
  ) throws(Failure) -> Bool {
    var comparison = comparison
    var isSame = true
    for number in batch.numbers {
      try progress.checkCancelled()
      let entry = try tree.entry(number)
      if skipped.contains(entry.kind) {
        summary.addUncompared("device", 1)
        continue
      }
      // That is said already.
      if problems.told.contains(entry.path) { continue }
      let (first, _) = try tree.shared(number, entry)
      let firstPath = first != number && batch.numbers.contains(first) ? entry.hardLink : nil
      do throws(SystemError) {
        let found = try comparison.differences(entry, first: firstPath)
        guard !found.isEmpty else { continue }
        isSame = false
        summary.different += 1
        let words = found == [RestoredComparison.nothing] ? found[0] : "came back with \(found.joined(separator: ", "))"
        reporter.problem(words, path: entry.path)
      } catch {
        guard error.isForbidden, !Host.isRoot else { throw Failure(error) }
        summary.addUncompared("shut file or folder", 1)
      }
    }
    return isSame
  }

  // MARK: - Where it is restored into

  /// What runs that were killed have left of contents.
  private func removeLeftovers(before time: Timestamp) {
    for (directory, _) in options.places {
      guard let above = try? Descriptor.open(directory, [.read, .directory]), let names = try? above.sortedNames()
      else { continue }
      for name in names where name.starts(with: Self.folderPrefix) {
        // That of somebody else is not to be opened, or not to be emptied.
        guard let left = try? above.open(name, [.read, .directory, .noFollow]),
          let status = try? left.status(), status.uid == Host.userID, status.changed < time,
          left.lockWhole(exclusive: true) == .taken
        else { continue }
        ProofTarget().remove(name, in: above)
      }
    }
  }

  /// Seconds in which whoever makes a folder takes its lock.
  private static let settling: Int64 = 5
  private static let folderPrefix = Bytes("sheaf-prove-")

  private func makeTarget(_ bytes: Int64) throws(Failure) -> (above: Descriptor, name: Bytes, Descriptor) {
    var last: Failure?
    for (directory, most) in options.places {
      do throws(SystemError) {
        let above = try Descriptor.open(directory, [.read, .directory])
        let free = above.fileSystem()?.free ?? .max
        guard bytes <= most, bytes <= free / 2 else {
          last = Failure(
            .failed, "there is no room in \(Show.path(directory)) to restore \(Show.size(bytes)) into",
            hint: "name a folder with --scratch")
          continue
        }
        let name = Self.folderPrefix + Bytes(Host.random(8).hex.utf8)
        try above.makeDirectory(name, mode: 0o700)
        let drive = Drive(endsAtInputOutputError: false, endsWhenFull: true)
        let target = try Descriptor.open(directory.joined(name), [.read, .directory, .noFollow], on: drive)
        // Held as long as the folder is open: so it tells whether whoever made it still lives.
        _ = target.lockWhole(exclusive: true)
        return (above, name, target)
      } catch { last = Failure(error) }
    }
    throw last ?? Failure(.failed, "there is no folder to restore into")
  }

  private static func canMakeDevices(in target: Descriptor) -> Bool {
    let name = Names.temporary()
    guard (try? target.makeNode(name, kind: .characterDevice, mode: 0o600, major: 1, minor: 3)) != nil else {
      return false
    }
    try? target.removeFile(name)
    return true
  }
}

extension ProveSummary {
  fileprivate mutating func addUncompared(_ what: String, _ count: Int) {
    if let index = uncompared.firstIndex(where: { $0.what == what }) {
      uncompared[index].count += count
    } else {
      uncompared.append((what, count))
    }
  }
}

/// Removes what was restored. One that was killed leaves a folder `sheaf-prove-…`, which the next one removes.
private final class ProofTarget: RemovalListener {
  func remove(_ name: Bytes, in above: Descriptor) {
    let nothing = SparingRules(excluded: Exclusions(), leftOut: ExclusionRules(), sparesSockets: false)
    var removal = Removal(store: nil, sparing: nothing)
    removal.sparesStores = false
    try? above.setMode(name, 0o700)
    if let target = try? above.open(name, [.read, .directory, .noFollow]) {
      removal.removeAll(in: target, [], keeping: [], telling: self)
    }
    try? above.removeDirectory(name)
  }

  func removed(_ path: Bytes, _ status: Status) {}
  func keptMount(_ path: Bytes) {}
  func keptStore(_ path: Bytes) {}
  func notRemoved(_ path: Bytes, _ error: SystemError) {}
}

/// Passes on what a restore tells, and remembers of which paths it told.
private final class ProofReporter: Reporter {
  private let inner: any Reporter
  private let state = Monitor<(paths: Set<Bytes>, count: Int)>(([], 0))

  init(_ inner: any Reporter) { self.inner = inner }

  var told: Set<Bytes> { state.look { $0.paths } }
  var count: Int { state.look { $0.count } }
  var wantsItems: Bool { inner.wantsItems }

  func problem(_ message: String, path: Bytes?) {
    state.look { state in
      state.count += 1
      if let path { state.paths.insert(path) }
    }
    inner.problem(message, path: path)
  }
  func note(_ message: String) { inner.note(message) }
  func suspectRot(_ path: Bytes) { inner.suspectRot(path) }
  func tookOver(_ kept: TakeOverSummary) { inner.tookOver(kept) }
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) { inner.item(mark, path, kind) }
}
