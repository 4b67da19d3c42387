/// The assembly line of a restore: makes directories in the order of the tree, hands files to unpackers by the gzip
/// member they lie in, and attends to hard links and directories' own metadata when all before them is in place.
import Posix
import Tar

/// Fed by one thread.
final class PlaceLine: Placing {
  private let target: Descriptor
  private let options: RestoreOptions
  /// Below these, what is not in the point goes where that is asked for.
  private let roots: [Bytes]
  private let store: Status?
  /// The store's and the target's.
  private let drives: [Drive]
  private let placer: Placer
  private let shelf: ArchiveShelf
  private let reporter: any Reporter
  private let progress: Progress
  private let counted = Shortfalls()
  private let isDamaged = Monitor(false)

  /// The directory whose entries are coming, as it is called in the target.
  private var directory: (path: Bytes, target: TargetDirectory, isBelowRoot: Bool)?
  /// Names of the directory at hand that belong there, for `--delete`.
  private var names: Set<Bytes> = []
  /// Names of directories still to come that stay whatever happens.
  private var spared: [Bytes: Set<Bytes>] = [:]
  /// Directories made whose metadata is still to come and whose names have not come yet, as called in the target.
  private var waiting: [Bytes: Entry?] = [:]
  /// Those whose names are coming, the innermost last, with the directories made in each.
  private var open: [(path: Bytes, entry: Entry?, children: [Bytes])] = [([], nil, [])]

  private enum Later {
    case hardLink(Entry, name: Bytes, directory: TargetDirectory)
    case directory(Entry, target: Bytes)
    case prune(target: Bytes, keeping: Set<Bytes>)
  }
  private var later: [(sequence: Int, what: Later)] = []
  private var laterHead = 0
  private var sequence = 0
  private var pending: [SetID: PlaceJob] = [:]
  /// Where the first name of an inode is not restored: the first of its other names, as called in the target.
  private var standIns: [Bytes: Bytes] = [:]

  private struct Under {
    /// The first sequence of each job that is not finished.
    var jobs: [Int] = []
  }
  private let under = Monitor(Under())
  private let queue: BoundedQueue<PlaceJob>
  private var threads: [Thread] = []

  /// Directories that could not be made, as called in the target: what is below them has no place.
  private var blocked: [Bytes] = []
  /// Kinds of which the target's file system has none, and how many entries that cost.
  private var unheld: [FileKind: Int] = [:]
  /// Entries that could not be restored.
  private let missed = Missed()
  /// Those that are there already and were to be left alone.
  private let kept = Missed()
  private var files: Int64 = 0
  private var directories: Int64 = 0
  private var bytes: Int64 = 0
  private var deleted: Int64 = 0
  private var unseen: Int64 = 0

  init(
    _ target: Descriptor, series: Series, _ options: RestoreOptions, roots: [Bytes], reporter: any Reporter,
    progress: Progress
  ) {
    self.target = target
    self.options = options
    self.roots = roots
    store = try? series.store.directory.status()
    self.reporter = reporter
    self.progress = progress
    drives = [target.drive, series.directory.drive].compactMap { $0 }
    let inherits = target.attributesOrNone().contains { $0.name == Bytes("system.posix_acl_default") }
    placer = Placer(
      overwrite: options.overwrite, spared: store, inheritsACLs: inherits, shortfalls: counted
    )
    shelf = ArchiveShelf(series)
    queue = BoundedQueue(limit: 2 * processorCount())
    for _ in 0..<processorCount() {
      nonisolated(unsafe) let unpacker = Unpacker(
        placer, shelf, drives: drives, reporter: reporter, progress: progress,
        damage: { [isDamaged] in isDamaged.change { $0 = true } }, failed: { [missed] in missed.add($0) },
        kept: { [kept] in kept.add($0) })
      threads.append(
        Thread { [queue, under] in
          while let job = queue.take() {
            unpacker.run(job)
            under.change { under in
              if let index = under.jobs.firstIndex(of: job.oldest) { under.jobs.remove(at: index) }
            }
          }
        })
    }
  }

  /// A directory above what was asked for: made where it is missing.
  func add(above entry: Entry) throws(Failure) {
    guard let path = stripped(entry.path), waiting[path] == nil, !open.contains(where: { $0.path == path }) else {
      return
    }
    try checkDrive()
    try addDirectory(entry, path, isAbove: true)
  }

  /// What the point could not look at is neither in it nor deleted: it stays.
  func spare(_ path: Bytes) {
    guard options.deletes, let target = stripped(path) else { return }
    let (parent, name) = target.splitAtName
    if directory?.path == parent { names.insert(name) } else { spared[parent, default: []].insert(name) }
  }

  /// Entries come in the order of the tree.
  func add(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    sequence += 1
    if isUnseen { unseen += 1 }
    guard let path = stripped(entry.path) else { return }
    if entry.kind == .directory { directories += 1 } else { files += 1 }
    if entry.hardLink == nil { bytes.add(saturating: entry.size) }
    if entry.kind == .directory { return try addDirectory(entry, path) }
    let (parent, name) = path.splitAtName
    guard let directory = enter(parent, of: entry) else { return try checkDrive() }
    names.insert(name)
    if entry.hardLink != nil {
      postpone(.hardLink(entry, name: name, directory: directory))
    } else if entry.kind == .file {
      addFile(entry, name, directory, sequence)
    } else {
      placeOther(entry, name, directory)
    }
    try checkDrive()
    try drain(force: false)
  }

  /// Everything but files, directories and hard links that can be.
  private func placeOther(_ entry: Entry, _ name: Bytes, _ directory: TargetDirectory) {
    do throws(SystemError) {
      guard try placer.mayPlace(entry, name, in: directory) else { return kept.add(entry) }
      if try placer.place(entry, name, in: directory) {
        if reporter.wantsItems { reporter.item(.restored, entry.path, entry.kind) }
      } else {
        missed.add(entry)
        unheld[entry.kind, default: 0] += 1
      }
    } catch { miss(entry, error, name, directory) }
  }

  /// Throws where the store is gone, or nothing more can be written to the target.
  private func checkDrive() throws(Failure) { if let failure = driveFailure { throw Failure(failure) } }

  private var driveFailure: SystemError? {
    for drive in drives { if let failure = drive.failure { return failure } }
    return nil
  }

  private func miss(_ entry: Entry, _ message: String) {
    missed.add(entry)
    reporter.problem(message, path: entry.path)
  }

  private func miss(_ entry: Entry, _ error: SystemError, _ name: Bytes, _ directory: TargetDirectory) {
    let reason = placer.reason(error, name, in: directory)
    // The end of the drive is told once.
    if driveFailure == nil { miss(entry, reason) }
  }

  private func stripped(_ path: Bytes) -> Bytes? { options.stripped(path) }

  // MARK: - Directories

  private func addDirectory(_ entry: Entry, _ path: Bytes, isAbove: Bool = false) throws(Failure) {
    let (parent, name) = path.splitAtName
    guard let directory = enter(parent, of: entry) else { return try checkDrive() }
    names.insert(name)
    do throws(SystemError) {
      // A file in its place that is to be left alone is; what belongs into the directory then finds no room.
      if let there = try? directory.descriptor.status(of: name), there.kind != .directory,
        try !placer.mayPlace(entry, name, in: directory)
      {
        return
      }
      let isNew = try placer.makeDirectory(name, in: directory)
      // What was there above the restored paths, or is to be left alone, keeps its mode and time.
      waiting[path] = .some(isNew || !(isAbove || options.overwrite == .never) ? entry : nil)
      open[open.count - 1].children.append(path)
    } catch {
      blocked.append(path)
      miss(entry, error, name, directory)
    }
    try checkDrive()
  }

  /// Goes to a directory, leaving those that are complete. nil where the entry has no place: that has been told then.
  private func enter(_ path: Bytes, of entry: Entry) -> TargetDirectory? {
    if let directory, directory.path == path { return directory.target }
    leave(until: path)
    if blocked.contains(where: { path.isAtOrBelow($0) }) {
      miss(entry, "the folder it belongs in could not be restored")
      return nil
    }
    let target: TargetDirectory
    do throws(SystemError) {
      target = TargetDirectory(try self.target.openBeneath(path, [.read, .directory, .noFollow]))
    } catch {
      if driveFailure == nil { miss(entry, error.asProblem) }
      return nil
    }
    let source = entry.path.splitAtName.parent
    directory = (path, target, roots.contains { source.isAtOrBelow($0) })
    if open.last!.path != path { open.append((path, waiting.removeValue(forKey: path) ?? nil, [])) }
    return target
  }

  /// Directories that are not above the next one are complete, each after those in it.
  private func leave(until next: Bytes?) {
    if let directory, options.deletes, directory.isBelowRoot {
      postpone(.prune(target: directory.path, keeping: names.union(spared.removeValue(forKey: directory.path) ?? [])))
    }
    directory = nil
    names = []
    while let last = open.last, next.map({ !$0.isAtOrBelow(last.path) }) ?? true {
      open.removeLast()
      for child in last.children {
        guard let found = waiting.removeValue(forKey: child), let entry = found else { continue }
        // Nothing came for it: it is empty.
        if options.deletes, roots.contains(where: { entry.path.isAtOrBelow($0) }) {
          postpone(.prune(target: child, keeping: spared.removeValue(forKey: child) ?? []))
        }
        postpone(.directory(entry, target: child))
      }
      if let entry = last.entry { postpone(.directory(entry, target: last.path)) }
    }
  }

  // MARK: - Files

  /// `isCopy`: its bytes were written once already, and not for another file's sake.
  private func addFile(
    _ entry: Entry, _ name: Bytes, _ directory: TargetDirectory, _ sequence: Int, isCopy: Bool = false
  ) {
    guard let extent = entry.extents.first else {
      return addEmpty(entry, name, directory)
    }
    let archive: ArchiveReader
    do throws(Failure) {
      archive = try shelf.archive(extent.set)
      if !isCopy { try shelf.take(entry.extents) }
    } catch {
      if error.kind == .damaged { isDamaged.change { $0 = true } }
      miss(entry, error.message)
      return
    }
    if let job = pending[extent.set], job.offset != extent.offset || job.files.count >= 2048 { dispatch(extent.set) }
    let job = pending[extent.set] ?? PlaceJob(archive, extent.offset)
    job.add(.init(entry: entry, name: name, directory: directory, sequence: sequence))
    pending[extent.set] = job
  }

  /// An empty file lies in no member: it goes with whatever is at hand.
  private func addEmpty(_ entry: Entry, _ name: Bytes, _ directory: TargetDirectory) {
    guard entry.digest == Self.emptyDigest else {
      isDamaged.change { $0 = true }
      return miss(entry, "its contents are not what was saved")
    }
    do throws(SystemError) {
      guard try placer.mayPlace(entry, name, in: directory) else { return kept.add(entry) }
      try placer.replacing(name, in: directory) { name throws(SystemError) in
        let file = try directory.descriptor.open(name, [.write, .create, .exclusive, .noFollow], mode: 0o600)
        try placer.finish(entry, file, in: directory)
        try file.close()
      }
      progress.add(files: 1)
      if reporter.wantsItems { reporter.item(.restored, entry.path, .file) }
    } catch { miss(entry, error, name, directory) }
  }

  private static let emptyDigest = SHA256().finish()

  private func dispatch(_ set: SetID) {
    guard let job = pending.removeValue(forKey: set) else { return }
    under.change { $0.jobs.append(job.oldest) }
    progress.current = job.files[0].entry.path
    queue.put(job)
  }

  // MARK: - What comes later

  private func postpone(_ what: Later) { later.append((sequence, what)) }

  /// Does what can be done by now.
  private func drain(force: Bool) throws(Failure) {
    guard laterHead < later.count else { return }
    if force || later.count - laterHead > 20_000 {
      for set in Array(pending.keys) { dispatch(set) }
      if force { _ = under.wait { $0.jobs.isEmpty ? true : nil as Bool? } }
    }
    // A hard link whose first name is not here becomes a file, for which what follows must wait.
    while laterHead < later.count, later[laterHead].sequence < oldestUnderWay {
      perform(later[laterHead].what, later[laterHead].sequence)
      laterHead += 1
    }
    if laterHead > 1000 {
      later.removeFirst(laterHead)
      laterHead = 0
    }
  }

  private var oldestUnderWay: Int {
    min(under.look { $0.jobs.min() } ?? .max, pending.values.map(\.oldest).min() ?? .max)
  }

  private func perform(_ what: Later, _ sequence: Int) {
    switch what {
    case .hardLink(let entry, let name, let directory): placeHardLink(entry, name, directory, sequence)
    case .prune(let path, let names):
      do throws(SystemError) {
        let directory = try target.openBeneath(path, [.read, .directory, .noFollow])
        let listed = try directory.sortedNames()
        // What the file system takes for something of the point is in its place, and stays.
        let alike = Set(
          names.subtracting(listed).filter { (try? directory.status(of: $0)) != nil }.map(Names.folded))
        for name in listed where !names.contains(name) && !alike.contains(Names.folded(name)) {
          let kind = reporter.wantsItems ? (try? directory.status(of: name).kind) ?? .file : .file
          try directory.removeTree(name, sparing: store)
          deleted += 1
          if reporter.wantsItems { reporter.item(.deleted, path.joined(name), kind) }
        }
      } catch { reporter.problem(error.asProblem, path: error.path) }
    case .directory(let entry, let path):
      do throws(SystemError) {
        let directory = TargetDirectory(try target.openBeneath(path, [.read, .directory, .noFollow]))
        try placer.finish(entry, directory.descriptor, in: directory)
      } catch {
        if driveFailure == nil { miss(entry, error.asProblem) }
      }
      if reporter.wantsItems { reporter.item(.restored, entry.path, .directory) }
    }
  }

  /// A second name where the first, or one that stands in for it, is here too, else a file of its own.
  private func placeHardLink(_ entry: Entry, _ name: Bytes, _ directory: TargetDirectory, _ sequence: Int) {
    let first = entry.hardLink!
    do throws(SystemError) {
      var isCopy = false
      if try placer.mayPlace(entry, name, in: directory) {
        for path in [isSelected(first) ? stripped(first) : nil, standIns[first]].compactMap({ $0 }) {
          switch try link(entry, name, directory, to: path) {
          case .done:
            if reporter.wantsItems { reporter.item(.restored, entry.path, entry.kind) }
            return
          case .impossible: isCopy = true
          case .missing: break
          }
        }
      }
      if !isCopy { standIns[first] = stripped(entry.path) }
      if entry.kind == .file {
        addFile(entry, name, directory, sequence, isCopy: isCopy)
      } else {
        placeOther(entry, name, directory)
      }
    } catch { miss(entry, error, name, directory) }
  }

  private enum Linked { case done, missing, impossible }

  /// `missing`: what it should be another name of is not there. `impossible`: the target knows no such thing.
  private func link(
    _ entry: Entry, _ name: Bytes, _ directory: TargetDirectory, to path: Bytes
  ) throws(SystemError) -> Linked {
    let (parent, firstName) = path.splitAtName
    guard let from = try? target.openBeneath(parent, [.pathOnly, .directory]),
      (try? from.status(of: firstName)).map({ Placer.isWhole($0, entry, in: directory) }) == true
    else { return .missing }
    do throws(SystemError) {
      try placer.replacing(name, in: directory) { name throws(SystemError) in
        try from.makeHardLink(of: firstName, as: name, in: directory.descriptor)
      }
      return .done
    } catch {
      guard error.isNoLink || directory.isForeign && error.isUnsupported else { throw error }
      counted.add("hard link")
      return .impossible
    }
  }

  private func isSelected(_ path: Bytes) -> Bool {
    options.paths.isEmpty || options.paths.contains { path.isAtOrBelow($0) }
  }

  /// Waits for everything and ends what is still open.
  func finish() throws(Failure) {
    leave(until: nil)
    // Hard links whose first name is not here become files, which directories then wait for once more.
    while laterHead < later.count || !pending.isEmpty {
      for set in Array(pending.keys) { dispatch(set) }
      _ = under.wait { $0.jobs.isEmpty ? true : nil as Bool? }
      try progress.checkCancelled()
      try checkDrive()
      try drain(force: true)
    }
    stop()
    try checkDrive()
    for (kind, count) in unheld.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      reporter.problem(
        "\(kind.words(count)) could not be restored: the target's file system has no such thing", path: nil)
    }
  }

  /// Ends early.
  func abandon() { stop() }

  private func stop() {
    queue.close()
    for thread in threads { thread.join() }
    threads = []
  }

  func summary(_ set: SetName) -> RestoreSummary {
    var summary = RestoreSummary(set: set)
    let (missedFiles, missedBytes) = missed.counts
    let (keptFiles, keptBytes) = kept.counts
    summary.files = files - missedFiles - keptFiles
    summary.kept = keptFiles
    summary.directories = directories
    summary.bytes = bytes - missedBytes - keptBytes
    summary.deleted = deleted
    summary.unseen = unseen
    summary.shortfalls = counted.all
    summary.isDamaged = isDamaged.look { $0 }
    return summary
  }
}

extension FileKind {
  /// "1 symbolic link", "3 symbolic links".
  fileprivate func words(_ count: Int) -> String {
    let word =
      switch self {
      case .file: "file"
      case .directory: "folder"
      case .symlink: "symbolic link"
      case .fifo: "FIFO"
      case .characterDevice: "character device"
      case .blockDevice: "block device"
      case .socket: "socket"
      }
    return "\(count) \(word)" + (count == 1 ? "" : "s")
  }
}

/// Counts files that were not written.
private final class Missed: Sendable {
  private let state = Monitor<(files: Int64, bytes: Int64)>((0, 0))

  func add(_ entry: Entry) {
    guard entry.kind != .directory else { return }
    state.look {
      $0.files += 1
      $0.bytes.add(saturating: entry.hardLink == nil ? entry.size : 0)
    }
  }

  var counts: (files: Int64, bytes: Int64) { state.look { $0 } }
}
