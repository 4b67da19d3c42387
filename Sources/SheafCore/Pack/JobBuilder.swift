/// Cuts what a comparison finds into jobs of about one gzip member each.
import Posix
import Tar

/// Not for use from several threads.
final class JobBuilder: PackSink {
  private let line: PackLine
  private let reader: LargeReader
  private let reporter: any Reporter
  private let isFull: Bool
  private let progress: Progress
  /// The directory at hand: its own entry comes first and is decided last.
  private var block: [(item: PackItem, estimate: Int)] = []
  private var blockKept = Buffer(capacity: 1 << 16)
  private var job = PackJob()
  /// Called once, when more bytes have to be stored than there is room for, unless they shrink.
  var onMuch: (above: Int64, tell: (Int64) -> Void)?
  private var toStore: Int64 = 0

  private static let memberSize = 1 << 20
  /// What is kept for the next directory of the room that a large one took, in bytes.
  private static let blockLimit = 8 << 20
  private static let itemLimit = 8192

  init(_ line: PackLine, reader: LargeReader, reporter: any Reporter, progress: Progress, isFull: Bool) {
    self.line = line
    self.reader = reader
    self.reporter = reporter
    self.isFull = isFull
    self.progress = progress
  }

  func diverge(from hasher: SHA256) { line.begin(point: hasher) }

  func add(_ item: PackItem, estimate: Int) {
    if let much = onMuch, case .entry(let entry) = item, !entry.onlyIfDifferent {
      toStore.add(saturating: min(Int64(estimate), 1024 + entry.item.status.blocks * 512))
      if toStore > much.above {
        onMuch = nil
        much.tell(toStore)
      }
    }
    block.append((item, estimate + Self.estimate(item)))
  }

  func keep(_ canonical: UnsafeRawBufferPointer) {
    let start = blockKept.count
    blockKept.append(canonical.baseAddress!, canonical.count)
    blockKept.append(UInt8(ascii: "\n"))
    if case .kept(let range)? = block.last?.item {
      block[block.count - 1].item = .kept(range.lowerBound..<blockKept.count)
    } else {
      block.append((.kept(start..<blockKept.count), 0))
    }
  }

  func endDirectory(before: [PackItem], own: PackItem?) throws(Failure) {
    for item in before { try move(item, Self.estimate(item)) }
    if let own { try move(own, Self.estimate(own)) }
    for (item, estimate) in block { try move(item, estimate) }
    block.removeAll(keepingCapacity: true)
    blockKept.count = 0
    if blockKept.capacity > Self.blockLimit { blockKept = Buffer(capacity: 1 << 16) }
  }

  private static func estimate(_ item: PackItem) -> Int {
    switch item {
    case .directory(_, _, _, let dumpdir, _): 1024 + dumpdir.count
    case .line(let text, _, _): text.count
    case .entry(let entry): 2 * (entry.listing.path.count + Int(entry.item.nameLength) + (entry.old?.count ?? 0))
    default: 0
    }
  }

  private func move(_ item: PackItem, _ estimate: Int) throws(Failure) {
    switch item {
    case .kept(var range):
      // Of a directory with a million names there is a lot, and each job copies what it has.
      while !range.isEmpty {
        let count = min(range.count, Self.memberSize)
        try makeRoom(count)
        let start = job.kept.count
        job.kept.append(blockKept.start + range.lowerBound, count)
        job.items.append(.kept(start..<job.kept.count))
        job.estimate += count
        range.removeFirst(count)
      }
    case .entry(let entry)
    where entry.item.status.kind == .file && entry.item.status.size > Packer.smallLimit
      && (!entry.isLink || entry.group?.isFirst(turn: entry.turn) ?? false):
      if entry.isLink { _ = entry.group?.waitForFirst(turn: entry.turn, orTake: entry.path) }
      try moveLarge(entry)
    default:
      try makeRoom(estimate)
      job.items.append(item)
      job.estimate += estimate
    }
  }

  private func makeRoom(_ estimate: Int) throws(Failure) {
    if job.estimate + estimate > Self.memberSize || job.items.count >= Self.itemLimit { try submit() }
  }

  private func submit() throws(Failure) {
    guard !job.items.isEmpty else { return }
    try line.submit(job)
    job = line.newJob()
  }

  private func moveLarge(_ entry: PackEntry) throws(Failure) {
    let file: LargeFile
    do throws(SystemError) { file = try reader.open(entry) } catch {
      entry.group?.settle(failure: error, turn: entry.turn)
      reporter.problem(
        error.asUnseen,
        path: entry.path)
      let lines = UnseenLines(path: entry.path, before: entry.before, isFull: isFull)
      job.items.append(.line(text: lines.text, canonical: 0, isNote: true))
      lines.count(in: &job.counts)
      if let old = entry.old, lines.canonical > 0 {
        let start = job.kept.count
        old.withUnsafeBytes { job.kept.append($0.baseAddress!, lines.canonical) }
        job.kept.append(UInt8(ascii: "\n"))
        job.items.append(.kept(start..<job.kept.count))
      }
      return
    }
    try submit()
    for piece in 0..<file.pieces {
      job.items.append(.chunk(file, piece))
      try submit()
      try progress.checkCancelled()
    }
  }

  /// Hands on what is left.
  func finish() throws(Failure) { try submit() }
}
