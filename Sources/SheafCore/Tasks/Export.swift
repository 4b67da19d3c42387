/// Makes one plain tar of a point.
import Posix
import Tar

public struct ExportOptions: Sendable {
  /// Nothing but what is at or below it, and the directories above; empty: everything.
  public var path: Bytes = []
  /// How hard to deflate, 0 to 12; nil: plain tar.
  public var level: Int?

  public init() {}
}

public struct ExportSummary: Sendable {
  public var set: SetName
  public var files: Int64 = 0
  public var directories: Int64 = 0
  public var bytes: Int64 = 0
  /// Last good copies of what the point could not look at.
  public var unseen: Int64 = 0
  public var isDamaged = false
}

public struct Export {
  private let series: Series
  private let options: ExportOptions
  private let reporter: any Reporter
  private let progress: Progress

  public init(_ series: Series, _ options: ExportOptions, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.options = options
    self.reporter = reporter
    self.progress = progress
  }

  /// Writes the archive to `out`, by the rules for a full set's. What is damaged is told to the reporter.
  public func run(_ set: SetName, to out: Descriptor) throws(Failure) -> ExportSummary {
    try series.checkReadsContents(of: set)
    let chain = try series.chain(of: set)
    let slice = try PointSlice(series, chain, options.path, checked: true)
    var hasEntry = try slice.next()
    guard hasEntry || options.path.isEmpty else {
      throw .notThere(options.path, in: set)
    }
    let output = TarOutput(out, level: options.level)
    let archiver = Archiver(output, series: series, options, set, reporter: reporter, progress: progress)
    if options.path.isEmpty { progress.expected.store(Int(try series.foot(set).counts.bytes), ordering: .relaxed) }
    do throws(Failure) {
      for message in try series.shortfalls(in: chain) { archiver.damaged(message, path: nil) }
      for directory in slice.above { try archiver.add(directory, isUnseen: false) }
      while hasEntry {
        try progress.checkCancelled()
        try archiver.add(slice.entry(), isUnseen: slice.tree.isUnseen)
        hasEntry = try slice.next()
      }
      try archiver.finish()
    } catch {
      output.abandon()
      throw error
    }
    return archiver.summary
  }
}

/// Makes the entries.
private final class Archiver {
  private let output: TarOutput
  private let options: ExportOptions
  private let shelf: ArchiveShelf
  private let content = ContentReader()
  private let reporter: any Reporter
  private let progress: Progress
  private(set) var summary: ExportSummary

  /// The directory whose names are coming, and whether the point has one there.
  private var directory = Bytes()
  private var isDirectory = true
  /// The directories in it, and those whose names come later, the next one last.
  private var children: [Entry] = []
  private var waiting: [Entry] = []
  /// Of inodes with several names: what their first name is called here, where it is another than in the point.
  private var firsts: [Bytes: Bytes] = [:]
  /// Last good copies of what may have further names, by the first name of their inode.
  private var copies: [Bytes: (path: Bytes, digest: Digest?)] = [:]
  /// What could not be put in.
  private var missed: Set<Bytes> = []

  /// A file up to this size is known to be whole before it goes in; of a larger one the headers are gone by then.
  private static let wholeLimit: Int64 = 8 << 20

  init(
    _ output: TarOutput, series: Series, _ options: ExportOptions, _ set: SetName, reporter: any Reporter,
    progress: Progress
  ) {
    self.output = output
    self.options = options
    self.reporter = reporter
    self.progress = progress
    shelf = ArchiveShelf(series)
    summary = ExportSummary(set: set)
  }

  func damaged(_ message: String, path: Bytes?) {
    summary.isDamaged = true
    reporter.problem(message, path: path)
  }

  /// Takes the entries in the order of a manifest. In an archive a directory stands at the head of its own names, not
  /// among those of the directory above.
  func add(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    let parent = entry.path.splitAtName.parent
    if parent != directory { try enter(parent) }
    // Whoever unpacks it would follow what stands there instead.
    guard isDirectory else {
      missed.insert(entry.path)
      return damaged("lies in no directory of the point; it is left out", path: entry.path)
    }
    if isUnseen { summary.unseen += 1 }
    if entry.kind == .directory { return children.append(entry) }
    try addOther(entry, isUnseen: isUnseen)
  }

  private func enter(_ path: Bytes) throws(Failure) {
    waiting += children.reversed()
    children.removeAll()
    isDirectory = path.isEmpty
    while let next = waiting.last, PathOrder.compareDirectories(next.path, path) <= 0 {
      waiting.removeLast()
      isDirectory = next.path == path
      try append(next, TarHeader(next, attributes: next.attributes))
      summary.directories += 1
    }
    directory = path
    progress.current = path
  }

  func finish() throws(Failure) {
    waiting += children.reversed()
    while let next = waiting.popLast() {
      try append(next, TarHeader(next, attributes: next.attributes))
      summary.directories += 1
    }
    try output.finish()
  }

  private func append(_ entry: Entry, _ header: TarHeader) throws(Failure) {
    header.append(to: output.tar)
    if reporter.wantsItems { reporter.item(.restored, entry.path, entry.kind) }
    if output.isFull { try output.cut(startsEntry: true) }
  }

  private func addOther(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    if isUnseen, entry.links > 1 {
      // The first name may be another file by now, but last good copies of one inode belong together.
      let first = entry.hardLink ?? entry.path
      if let copy = copies[first], copy.digest == entry.digest, !missed.contains(copy.path) {
        summary.files += 1
        return try append(entry, TarHeader(entry, linkTo: copy.path))
      }
      copies[first] = (entry.path, entry.digest)
    } else if let first = entry.hardLink {
      if let here = name(of: first, before: entry.path) {
        summary.files += 1
        return try append(entry, TarHeader(entry, linkTo: here))
      }
      firsts[first] = entry.path
    }
    guard entry.kind == .file else {
      summary.files += 1
      return try append(entry, TarHeader(entry, attributes: entry.attributes))
    }
    if entry.storedSize <= Self.wholeLimit { try addWhole(entry) } else { try addLarge(entry) }
  }

  /// What a first name is called in this archive; nil where it is not in it.
  private func name(of first: Bytes, before path: Bytes) -> Bytes? {
    let here = firsts[first] ?? first
    guard !missed.contains(here), here != first || first.isAtOrBelow(options.path) else { return nil }
    return PathOrder.compare(here, path) < 0 ? here : nil
  }

  // MARK: - Contents

  private func count(_ entry: Entry) {
    summary.files += 1
    summary.bytes.add(saturating: entry.size)
    progress.add(files: 1)
  }

  private func read(
    _ entry: Entry, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    try shelf.take(entry.extents)
    let hash = LogicalHash(entry, progress)
    for extent in entry.extents {
      try content.read(extent, of: try shelf.archive(extent.set)) { bytes throws(Failure) in
        hash.take(bytes)
        progress.add(bytes: bytes.count)
        try body(bytes)
      }
    }
    if !hash.matches(entry.digest) { throw .damaged("its contents are not what was saved") }
  }

  /// A damaged file is left out.
  private func addWhole(_ entry: Entry) throws(Failure) {
    let tar = output.tar
    let start = tar.count
    TarHeader(entry, attributes: entry.attributes).append(to: tar)
    do throws(Failure) {
      try read(entry) { bytes throws(Failure) in tar.append(bytes.baseAddress!, bytes.count) }
    } catch {
      tar.count = start
      missed.insert(entry.path)
      return damaged("\(error.message); it is left out", path: entry.path)
    }
    pad(entry)
    count(entry)
    if reporter.wantsItems { reporter.item(.restored, entry.path, .file) }
    if output.isFull { try output.cut(startsEntry: true) }
  }

  private func pad(_ entry: Entry) {
    let odd = Int(entry.storedSize % 512)
    output.tar.appendZeros(TarHeader.padded(odd) - odd)
  }

  /// A damaged file gets zeros from there on: its headers, which say how long it is, may have been read already.
  private func addLarge(_ entry: Entry) throws(Failure) {
    try output.cut(startsEntry: true)
    TarHeader(entry, attributes: entry.attributes).append(to: output.tar)
    var left = entry.storedSize
    var stopped: Failure?
    func put(_ count: Int, _ append: (Int, Int) -> Void) throws(Failure) {
      var done = 0
      while done < count {
        let part = min(count - done, 1 << 20)
        append(done, part)
        done += part
        left -= Int64(part)
        if output.isFull {
          do throws(Failure) { try output.cut(startsEntry: false) } catch {
            stopped = error
            throw error
          }
        }
      }
    }
    do throws(Failure) {
      try read(entry) { bytes throws(Failure) in
        try progress.checkCancelled()
        try put(bytes.count) { output.tar.append(bytes.baseAddress! + $0, $1) }
      }
    } catch {
      if let stopped { throw stopped }
      if error.kind == .interrupted { throw error }
      let rest =
        left == 0 ? "" : "; from byte \(entry.storedSize - left) of its stored bytes on there are zeros instead"
      damaged(error.message + rest, path: entry.path)
      try put(Int(left)) { output.tar.appendZeros($1) }
    }
    pad(entry)
    try output.cut(startsEntry: true)
    count(entry)
    if reporter.wantsItems { reporter.item(.restored, entry.path, .file) }
  }
}
