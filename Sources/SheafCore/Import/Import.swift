/// Makes points of tar archives that others wrote: each becomes one set, dated as the archive is.
import Age
import Posix
import Storage
import Tar

public struct ImportOptions: Sendable {
  public var archives: [Bytes] = []
  public var series: Bytes?
  /// Where relative names lie: an absolute path without the leading slash. nil: nobody said.
  public var base: Bytes?
  /// Of the only archive.
  public var date: Timestamp?
  /// An archive without GNU tar's lists deletes nothing.
  public var deletesNothing = false
  /// Write full sets of what stands for a whole tree.
  public var isFull = false
  public var level = 1
  public var comment: Bytes = []
  /// Bytes of one volume of the archive; nil: one volume, or what the file system takes.
  public var volumeSize: Int64?
  /// Bytes that stay free on the drive.
  public var keepFree: Int64 = 0
  public var isDryRun = false
  /// Where streams lie until they are stored.
  public var spoolDirectory = Bytes("/var/tmp")

  public init() {}

  /// A date as an archive's name may tell it; nil: it is none.
  public static func time(_ text: Bytes) -> Timestamp? { ArchiveDate.told(by: text) }
}

public struct ImportSummary: Sendable {
  public var archive: Bytes
  public var time: Timestamp
  /// nil: a dry run.
  public var set: SetName?
  public var kind: SetKind
  /// It tells of changes only.
  public var isDelta: Bool
  public var sources: [Bytes] = []
  /// Entries in the archive, and the bytes of its files.
  public var entries: Int64
  public var bytes: Int64
  public var counts = SetFoot.Counts()
  public var unchanged: Int64 = 0
  public var moved: Int64 = 0
  public var bytesWritten: Int64 = 0

  public var pointName: String { PointName.text(time) }
}

public struct Import {
  let store: Store
  let options: ImportOptions
  let keys: Keys
  let known: KnownStores?
  let spillDirectory: Bytes
  let reporter: any Reporter
  let progress: Progress
  let clock: @Sendable () -> Timestamp

  /// `keys`: for archives that are encrypted with age. `spillDirectory`: where files without a name may be made for sorting.
  public init(
    to store: Store, _ options: ImportOptions, keys: Keys, known: KnownStores?, spillDirectory: Bytes,
    reporter: any Reporter, progress: Progress, clock: @escaping @Sendable () -> Timestamp
  ) {
    (self.store, self.options, self.keys, self.known) = (store, options, keys, known)
    (self.spillDirectory, self.reporter, self.progress, self.clock) = (spillDirectory, reporter, progress, clock)
  }

  /// Imports the archives, the oldest first, and calls `body` after each. Throws at the first that cannot be; those before
  /// it are points by then.
  public func run(_ body: (ImportSummary) -> Void) throws(Failure) {
    try known?.checkStillEncrypted(store)
    let name = options.series ?? Backup.seriesName(Host.name())
    guard Series.isName(name) else {
      throw Failure(.usage, "'\(Show.path(name))' cannot be a series' name", hint: Series.nameHint)
    }
    let archives = try dated()
    let isNew = try stored { () throws(StoreError) in try !store.folder.names().contains(name) }
    if options.isDryRun {
      let series = isNew ? nil : try store.series(name, host: name)
      if let series { try check(archives, series) }
      for (index, (archive, time)) in archives.enumerated() {
        let hasPoints = try series.map { (series) throws(Failure) in try !series.sets().isEmpty } ?? false
        let isFirst = index == 0 && !hasPoints
        body(try ImportAttempt(self, archive, time).preview(isFirst: isFirst))
      }
      return
    }
    let series = try Series.create(name, in: store)
    let lock = try SeriesLock(series)
    defer { lock.release() }
    try check(archives, series)
    try Backup(
      to: store, BackupOptions(), known: known, spillDirectory: spillDirectory, reporter: reporter, progress: progress,
      clock: clock
    ).prepare(series)
    for (archive, time) in archives {
      try progress.checkCancelled()
      body(try ImportAttempt(self, archive, time).write(to: series, lock))
    }
  }

  /// In the order of their dates.
  private func dated() throws(Failure) -> [(ImportArchive, Timestamp)] {
    var all: [(archive: ImportArchive, time: Timestamp)] = []
    for path in options.archives {
      let archive = try ImportArchive(path, keys: keys)
      if let date = options.date { all.append((archive, date)) } else { all.append((archive, try archive.date())) }
    }
    all.sort { $0.time < $1.time }
    for (older, newer) in zip(all, all.dropFirst()) where older.time == newer.time {
      throw Failure(
        .usage,
        "\(Show.path(older.archive.path)) and \(Show.path(newer.archive.path)) are both of "
          + PointName.text(older.time), hint: "import them one after the other, each with its own --date")
    }
    for (archive, time) in all {
      guard PointName.time(PointName.text(time)) != nil, time.seconds <= clock().seconds.addingSaturated(86400) else {
        throw Failure(
          .usage, "\(Show.path(archive.path)) is of \(PointName.text(time)), which is still to come",
          hint: "--date says when it was made")
      }
    }
    return all
  }

  /// Points of a series come one after another.
  private func check(_ archives: [(ImportArchive, Timestamp)], _ series: Series) throws(Failure) {
    let newest = [
      try series.sets().last?.time, try series.archives().last?.set.time, known?.newestTime(of: series),
    ].compactMap { $0 }.max()
    guard let newest, let (archive, time) = archives.first, time <= newest else { return }
    throw Failure(
      .usage,
      "\(Show.path(archive.path)) is of \(PointName.text(time)), and the series '\(Show.path(series.name))' has a point of "
        + "\(PointName.text(newest)) already: what is older cannot be put before it",
      hint: "--series NAME makes a series of its own, --date says when it was made")
  }
}

extension Int64 {
  fileprivate func addingSaturated(_ other: Int64) -> Int64 {
    var sum = self
    sum.add(saturating: other)
    return sum
  }
}
