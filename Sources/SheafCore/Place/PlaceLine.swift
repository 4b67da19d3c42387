/// The assembly line of a restore: makes directories in the order of the tree, hands files to unpackers by the gzip
/// member they lie in, and attends to hard links and directories' own metadata when all before them is in place.
import Posix
import Storage
import Tar

/// Fed by one thread.
final class PlaceLine: Placing {
  private let target: Descriptor
  /// What the target itself is to be like, where that is known.
  var top: Entry?
  private let options: RestoreOptions
  /// What was asked for, as paths of the point. With `--delete`, what lies below them and is not in the point is removed.
  private let roots: [Bytes]
  /// What the store or the target's drive ended with.
  private let ended: @Sendable () -> StoreError?
  private let placer: Placer
  private let shelf: ArchiveShelf
  private let reporter: any Reporter
  private let progress: Progress
  private let counted = Shortfalls()
  private let cleaner: TargetCleaner
  private let links: HardLinks
  private let opened: OpenedDirectories
  /// One directory of each file system that is written to.
  private var touched: [UInt64: Descriptor] = [:]
  /// No other restore into this target is under way: what is not whole there was left by one that was killed.
  private let isAlone: Bool
  private let isDamaged = Monitor(false)

  /// The directory whose entries are coming, as it is called in the target.
  private var directory: (path: Bytes, target: TargetDirectory, root: Bytes?)?
  /// Names of the directory at hand that belong there, for `--delete`.
  private var names: Set<Bytes> = []
  /// For directories still to come: names in them that are not deleted.
  private var spared: [Bytes: Set<Bytes>] = [:]
  /// Directories of which the point does not know what is in them, none of them inside another: nothing is deleted there.
  private var unlisted: [Bytes] = []
  /// Directories made whose metadata is still to come and whose names have not come yet, as called in the target.
  private var waiting: [Bytes: Entry?] = [:]
  /// Those whose names are coming, the innermost last, with the directories made in each.
  private var open: [(path: Bytes, entry: Entry?, children: [Bytes])] = [([], nil, [])]

  private enum Later {
    case hardLink(Entry, name: Bytes, directory: TargetDirectory)
    case directory(Entry, target: Bytes)
    case deleteOthers(target: Bytes, keeping: Set<Bytes>, root: Bytes)
    /// A directory that was opened up and gets no other mode.
    case putBack(target: Bytes)
  }
  private var later: [(sequence: Int, what: Later)] = []
  private var laterHead = 0
  private var sequence = 0
  private var pending: [SetID: PlaceJob] = [:]

  private struct Under {
    /// The first sequence of each job that is not finished.
    var jobs: [Int] = []
  }
  private let under = Monitor(Under())
  private let queue: BoundedQueue<PlaceJob>
  private var threads: [Thread] = []

  /// Directories that could not be made, as called in the target: what is below them has no place. `isReported`: that has
  /// been said of all that is below them.
  private var blocked: [(path: Bytes, isReported: Bool)] = []
  /// Kinds of which the target's file system has none, and how many entries that cost.
  private var unheld: [FileKind: Int] = [:]
  /// Entries that could not be restored.
  private let missed = Missed()
  /// Those that are there already and were to be left alone.
  private let kept = Missed()
  private var files: Int64 = 0
  private var directories: Int64 = 0
  private var bytes: Int64 = 0
  private var unseen: Int64 = 0

  init(
    _ target: Descriptor, series: Series, _ options: RestoreOptions, roots: [Bytes], sparing: SparingRules,
    reporter: any Reporter, progress: Progress
  ) throws(Failure) {
    self.target = target
    self.options = options
    self.roots = roots
    self.reporter = reporter
    self.progress = progress
    let (drive, store) = (target.drive, series.folder)
    ended = { drive?.failure.map(StoreError.init) ?? store.failure }
    let inherits = target.attributesOrNone().contains { $0.name == Bytes("system.posix_acl_default") }
    let removal = Removal(store: series.store.folder.directory, sparing: sparing)
    placer = Placer(
      overwrite: options.overwrite, removal: removal, owners: options.owners, inheritsACLs: inherits,
      shortfalls: counted)
    cleaner = TargetCleaner(target, removal, reporter)
    links = HardLinks(target, placer, progress)
    opened = OpenedDirectories(target)
    isAlone = target.lockWhole(exclusive: true) != .heldByOther
    shelf = ArchiveShelf(series)
    queue = BoundedQueue(limit: 2 * processorCount())
    try system { () throws(SystemError) in try opened.openUpTarget() }
    for _ in 0..<processorCount() {
      nonisolated(unsafe) let unpacker = Unpacker(
        placer, shelf, ended: ended, reporter: reporter, progress: progress,
        damage: { [isDamaged] in isDamaged.change { $0 = true } }, failed: { [missed] in missed.add($0) },
        kept: { [kept] in kept.add($0) }, links: links, options)
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
    guard let path = stripped(entry.path), waiting[path] == nil, !open.contains(where: { $0.path == path }),
      !blocked.contains(where: { path.isAtOrBelow($0.path) })
    else { return }
    try checkDrive()
    try addDirectory(entry, path, isAbove: true)
  }

  /// What the point could not look at is neither in it nor deleted: it stays.
  func spare(_ path: Bytes) {
    guard options.deletes, let target = stripped(path) else { return }
    let (parent, name) = target.splitAtName
    if directory?.path == parent { names.insert(name) } else { spared[parent, default: []].insert(name) }
  }

  /// What may be in a directory is not known, nor what may be below it.
  private func spare(contentsOf path: Bytes) {
    if !unlisted.contains(where: { path.isAtOrBelow($0) }) { unlisted.append(path) }
  }

  /// Entries come in the order of the tree.
  func add(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    sequence += 1
    if isUnseen { unseen += 1 }
    guard let path = stripped(entry.path) else { return }
    if options.deletes, entry.kind == .directory, isUnseen || entry.isUnlisted { spare(contentsOf: path) }
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

  /// Places a symbolic link, a FIFO or a device, also as a copy where the target has no hard links to it.
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
  private func checkDrive() throws(Failure) {
    guard let failure = ended() else { return }
    throw Failure(
      failure,
      hint: failure.kind == .full
        ? "what is restored so far is whole; to go on with more room: --overwrite if-changed" : nil)
  }

  private func miss(_ entry: Entry, _ message: String) {
    missed.add(entry)
    reporter.problem(message, path: entry.path)
  }

  private func miss(_ entry: Entry, _ error: SystemError, _ name: Bytes, _ directory: TargetDirectory) {
    let reason = placer.reason(error, name, in: directory)
    // The end of the drive is told once.
    if ended() == nil { miss(entry, reason) }
  }

  private func stripped(_ path: Bytes) -> Bytes? { options.stripped(path) }

  // MARK: - Directories

  private func addDirectory(_ entry: Entry, _ path: Bytes, isAbove: Bool = false) throws(Failure) {
    let (parent, name) = path.splitAtName
    guard let directory = enter(parent, of: entry) else { return try checkDrive() }
    names.insert(name)
    do throws(SystemError) {
      if let there = try? directory.descriptor.status(of: name), there.kind != .directory, options.overwrite != nil {
        if isAbove || isAboveRoots(entry.path) { return refuse(entry, path, there.kind) }
        // A file in its place that is to be left alone is; what belongs into the directory then finds no room.
        if try !placer.mayPlace(entry, name, in: directory) { return }
      }
      let isNew = try placer.makeDirectory(name, in: directory, mayBeThere: path == RestoreOptions.lostAndFound)
      if !isNew { try opened.openUp(name, in: directory.descriptor, path) }
      // What was there above the restored paths, or is to be left alone, keeps its mode and time.
      waiting[path] = .some(isNew || !(isAbove || options.overwrite == .never) ? entry : nil)
      open[open.count - 1].children.append(path)
    } catch {
      blocked.append((path, false))
      miss(entry, error, name, directory)
    }
    try checkDrive()
  }

  /// Whether it is there only to lead to what is restored.
  private func isAboveRoots(_ path: Bytes) -> Bool { roots.contains { $0 != path && $0.isAtOrBelow(path) } }

  /// What lies only above the request, and is no directory any more, leads elsewhere by now: it is not replaced.
  private func refuse(_ entry: Entry, _ path: Bytes, _ kind: FileKind) {
    blocked.append((path, true))
    reporter.problem(Self.refusal(of: kind), path: path)
  }

  static func refusal(of kind: FileKind) -> String {
    "it is \(kind == .symlink ? "a symbolic link" : "no folder") in the target, which is not replaced by a folder that "
      + "only leads to restored files: nothing below it is restored (restore it elsewhere with --to)"
  }

  /// Goes to a directory, leaving those that are complete. nil where the entry has no place: that has been told then.
  private func enter(_ path: Bytes, of entry: Entry) -> TargetDirectory? {
    if let directory, directory.path == path { return directory.target }
    leave(until: path)
    if let place = blocked.first(where: { path.isAtOrBelow($0.path) }) {
      if place.isReported { missed.add(entry) } else { miss(entry, "the folder it belongs in could not be restored") }
      return nil
    }
    let target: TargetDirectory
    do throws(SystemError) {
      target = TargetDirectory(try self.target.openBeneath(path, [.read, .directory, .noFollow]))
    } catch {
      if ended() == nil { miss(entry, error.asProblem) }
      return nil
    }
    if let id = target.fileSystem?.identity, touched[id] == nil { touched[id] = target.descriptor }
    if options.overwrite != nil, isAlone { removeLeftovers(target) }
    directory = (path, target, root(of: entry.path.splitAtName.parent))
    if open.last!.path != path { open.append((path, waiting.removeValue(forKey: path) ?? nil, [])) }
    return target
  }

  private func root(of path: Bytes) -> Bytes? { options.deletes ? roots.first { path.isAtOrBelow($0) } : nil }

  /// What was left unfinished by a restore that was killed.
  private func removeLeftovers(_ directory: TargetDirectory) {
    for name in (try? directory.descriptor.sortedNames()) ?? [] where Names.isLeftover(name) {
      try? directory.descriptor.removeFile(name)
    }
  }

  private func postponeDeletion(_ path: Bytes, keeping names: Set<Bytes>, below root: Bytes) {
    let kept = names.union(spared.removeValue(forKey: path) ?? [])
    if !unlisted.contains(where: { path.isAtOrBelow($0) }) {
      postpone(.deleteOthers(target: path, keeping: kept, root: root))
    }
  }

  /// Directories that are not above the next one are complete, each after those in it.
  private func leave(until next: Bytes?) {
    if let directory, let root = directory.root { postponeDeletion(directory.path, keeping: names, below: root) }
    directory = nil
    names = []
    while let last = open.last, next.map({ !$0.isAtOrBelow(last.path) }) ?? true {
      open.removeLast()
      for child in last.children {
        guard let found = waiting.removeValue(forKey: child) else { continue }
        // Nothing came for it: it is empty.
        if let root = root(of: child) { postponeDeletion(child, keeping: [], below: root) }
        complete(found, child)
      }
      complete(last.entry, last.path)
    }
  }

  private func complete(_ entry: Entry?, _ path: Bytes) {
    if let entry {
      postpone(.directory(entry, target: path))
    } else if opened.isOpened(path) {
      postpone(.putBack(target: path))
    }
  }

  // MARK: - Files

  /// `isCopy`: a hard link that the target cannot have. Its extents were counted with its first name.
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
      try placer.placeFile(name, in: directory) { file throws(SystemError) in
        try placer.metadata.finish(entry, file, in: directory)
      }
      if entry.links > 1, let path = stripped(entry.path) { links.wrote(path, entry.digest) }
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
    case .deleteOthers(let path, let names, let root): cleaner.clean(path, keeping: names, below: root)
    case .putBack(let path): opened.putBack(path)
    case .directory(let entry, let path):
      do throws(SystemError) {
        let directory = TargetDirectory(try target.openBeneath(path, [.read, .directory, .noFollow]))
        try placer.metadata.finish(entry, directory.descriptor, in: directory)
        opened.forget(path)
      } catch {
        if ended() == nil { miss(entry, error.asProblem) }
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
        for path in [isSelected(first) ? stripped(first) : nil, links.standIn(for: first)].compactMap({ $0 }) {
          switch try links.join(entry, name, directory, to: path) {
          case .done:
            if reporter.wantsItems { reporter.item(.restored, entry.path, entry.kind) }
            return
          case .impossible: isCopy = true
          case .missing: break
          }
        }
      }
      if !isCopy, let path = stripped(entry.path) { links.add(standIn: path, for: first) }
      if entry.kind == .file {
        addFile(entry, name, directory, sequence, isCopy: isCopy)
      } else {
        placeOther(entry, name, directory)
      }
    } catch { miss(entry, error, name, directory) }
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
    opened.putBackAll()
    if let top {
      do throws(SystemError) { try placer.metadata.finish(top, target, in: TargetDirectory(target)) } catch {
        miss(top, error.asProblem)
      }
    }
    try checkDrive()
    for directory in touched.values {
      try system { () throws(SystemError) in try directory.syncFileSystem() }
    }
    for (kind, count) in unheld.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      reporter.problem(
        "\(kind.words(count)) could not be restored: the target's file system has no such thing", path: nil)
    }
  }

  /// Ends early.
  func abandon() {
    stop()
    opened.putBackAll()
  }

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
    summary.deleted = cleaner.deleted
    summary.unseen = unseen
    summary.shortfalls = counted.all
    summary.isDamaged = isDamaged.look { $0 }
    return summary
  }
}
