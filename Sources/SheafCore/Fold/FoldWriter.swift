/// Puts a folded set's archive together: whole gzip members as they are, and new ones of what is left of others.
import Posix
import Tar

/// Not for use from several threads.
final class FoldWriter {
  private let line: PackLine
  private let id: SetID
  private var job = PackJob()

  /// Entries that follow each other in one member, and their lines: once all of it has come, it is copied.
  private var run: FoldSlice?
  private let held = PackJob()
  /// Lines are held for the next member that is copied.
  private var isGliding = false

  private static let memberSize = 1 << 20
  /// Lines that wait at most, in bytes.
  private static let lineLimit = 4 << 20

  init(_ line: PackLine, id: SetID) {
    self.line = line
    self.id = id
  }

  /// What the workers do.
  static func worker(level: Int) -> (PackJob) -> Void {
    let compressor = Compressor(level: level)
    return { job in
      if job.tar.count > 0 {
        compressor.append(job.tar.bytes, firstHeader: job.continuesFile ? nil : 0, to: job.member)
        job.endMember(tarBytes: job.tar.count)
      }
      job.finish()
    }
  }

  // MARK: - Lines

  /// Where lines go now.
  private var lines: PackJob { run == nil && !isGliding ? job : held }
  /// So many lines wait that they should not wait any longer.
  var holdsMuch: Bool { held.canonical.count > Self.lineLimit }

  /// The canonical line of the point's next entry (empty: there is none), and what it counts as.
  func add(canonical: UnsafeRawBufferPointer, _ counts: SetFoot.Counts) throws(Failure) {
    if !isGliding, lines.canonical.count > Self.lineLimit {
      try closeRun()
      try submit()
    }
    if canonical.count > 0 {
      lines.canonical.append(canonical.baseAddress!, canonical.count)
      lines.canonical.append(UInt8(ascii: "\n"))
    }
    lines.counts = lines.counts + counts
  }

  func add(canonical: Bytes, _ counts: SetFoot.Counts) throws(Failure) {
    var failure: Failure?
    canonical.withUnsafeBytes { bytes in
      do throws(Failure) { try add(canonical: bytes, counts) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// A line that tells of the entry just added, or a note; `isNote`: the archive must tell it too.
  func add(text: Bytes, isNote: Bool) {
    lines.text.append(text)
    if isNote { lines.notes.append(text) }
  }

  /// Where a file's bytes are to be found.
  enum Place {
    /// Nowhere in this archive: the extents of the entry hold, if it has any.
    case asEntrySays
    /// In what was added last, from here on.
    case here(inner: Int, shared: PackJob.Place?)
    case shared(PackJob.Place)
  }

  /// The entry's line.
  func add(_ entry: Entry, _ place: Place, isNote: Bool = false) {
    let start = lines.text.count
    switch place {
    case .asEntrySays: entry.appendLine(to: lines.text)
    case .here(let inner, let shared):
      let extent = Extent(set: id, offset: 0, member: 0, inner: Int64(inner), length: entry.storedSize)
      appendGap(entry, shared.map { .shared($0, extent) } ?? .ownMember(nil, extent))
    case .shared(let shared): appendGap(entry, .place(shared))
    }
    if isNote { lines.notes.append(lines.text.start + start, lines.text.count - start) }
  }

  /// A file's line out of another manifest, without its place: the file lies in what was added last.
  func add(text: UnsafeRawBufferPointer, _ extent: Extent?) {
    lines.text.append(text.baseAddress!, text.count)
    if let extent {
      Entry.appendExtentHead(id, to: lines.text)
      lines.gaps.append(.init(text: lines.text.count, canonical: lines.canonical.count, fill: .ownMember(nil, extent)))
    }
    lines.text.append(UInt8(ascii: "\n"))
  }

  private func appendGap(_ entry: Entry, _ fill: PackJob.Fill) {
    entry.appendCanonical(to: lines.text)
    entry.appendLocal(to: lines.text)
    Entry.appendExtentHead(id, to: lines.text)
    lines.gaps.append(.init(text: lines.text.count, canonical: lines.canonical.count, fill: fill))
    lines.text.append(UInt8(ascii: "\n"))
  }

  // MARK: - Entries

  /// Appends an entry as it lies in another archive.
  func add(_ slice: FoldSlice) throws(Failure) {
    if run?.member === slice.member, run?.range.upperBound == slice.range.lowerBound {
      run!.range = run!.range.lowerBound..<slice.range.upperBound
    } else {
      try closeRun()
      run = slice
    }
  }

  // MARK: - Members that are copied without a look

  /// From here on the lines that are added wait for the gzip members that are copied next, and go with them in order.
  func beginGlide() throws(Failure) {
    try closeRun()
    isGliding = true
  }

  /// Copies a member, with the lines that waited for it.
  func copy(_ bytes: Buffer, inflated: Int, continuesFile: Bool) throws(Failure) {
    try submit()
    job.member.append(bytes)
    job.endMember(tarBytes: inflated)
    job.continuesFile = continuesFile
    takeHeld(shift: 0)
    try submit()
  }

  /// Ends the gliding. The lines that still wait belong to entries in `slice`, a part of a gzip member; nil: none of
  /// them belongs to an entry that is still to be copied.
  func endGlide(with slice: FoldSlice?) throws(Failure) {
    isGliding = false
    if let slice { run = slice } else { takeHeld(shift: 0) }
  }

  /// Appends an entry with all its data.
  func add(_ header: TarHeader, _ data: (Buffer) throws(Failure) -> Void = { _ in }) throws(Failure) -> Int {
    try closeRun()
    try makeRoom(header.roomNeeded + Int(header.size))
    header.append(to: job.tar)
    let inner = job.tar.count
    if header.size > 0 {
      try data(job.tar)
      job.tar.appendZeros(TarHeader.padded(job.tar.count - inner) - (job.tar.count - inner))
    }
    return inner
  }

  /// The header of a directory that may be told of again, to carry the archive's notes.
  func carry(_ header: TarHeader) { if lines.directory == nil { lines.directory = header } }

  /// Copies a large file that begins a member and ends one, piece after piece.
  func copy(_ slice: FoldSlice, line: () -> Void) throws(Failure) {
    try closeRun()
    try submit()
    let (compressed, inflated) = try slice.source.load(slice.member)
    job.member.append(compressed)
    job.endMember(tarBytes: inflated.count)
    line()
    try submit()
    var left = Int64(TarHeader.padded(Int(slice.size)) - (inflated.count - slice.data))
    while left > 0 {
      let (bytes, count) = try slice.source.nextPiece()
      try copy(bytes, inflated: count, continuesFile: true)
      left -= Int64(count)
    }
    guard left == 0 else { throw slice.source.damaged(slice.member.offset, "begins a file of another length") }
  }

  /// Appends a large file in pieces: `read` gives its stored bytes, in order.
  func pack(
    _ header: TarHeader, line: (_ inner: Int) -> Void,
    read: (_ give: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) -> Void
  ) throws(Failure) {
    try closeRun()
    try submit()
    header.append(to: job.tar)
    line(job.tar.count)
    var room = Int(LargeFile.pieceSize)
    try read { bytes throws(Failure) in
      var rest = bytes
      while !rest.isEmpty {
        if room == 0 {
          try submit()
          job.continuesFile = true
          room = Int(LargeFile.pieceSize)
        }
        let count = min(room, rest.count)
        job.tar.append(rest.baseAddress!, count)
        room -= count
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      }
    }
    let tail = Int(header.size % 512)
    job.tar.appendZeros(TarHeader.padded(tail) - tail)
    try submit()
  }

  // MARK: - Jobs

  private func makeRoom(_ count: Int) throws(Failure) { if job.tar.count + count > Self.memberSize { try submit() } }

  private func submit() throws(Failure) {
    let isEmpty = job.tar.count == 0 && job.member.count == 0 && job.text.count == 0 && job.canonical.count == 0
    guard !isEmpty || job.notes.count > 0 else { return }
    try line.submit(job)
    job = line.newJob()
  }

  private func closeRun() throws(Failure) {
    guard let run else { return }
    self.run = nil
    let (compressed, inflated) = try run.source.load(run.member)
    if run.range == 0..<inflated.count {
      try submit()
      job.member.append(compressed)
      job.endMember(tarBytes: inflated.count)
      takeHeld(shift: 0)
      try submit()
    } else {
      try makeRoom(run.range.count)
      let shift = job.tar.count - run.range.lowerBound
      job.tar.append(inflated.start + run.range.lowerBound, run.range.count)
      takeHeld(shift: shift)
    }
  }

  /// Hands the lines that were held on to the job that has their entries now. There the data begins `shift` bytes
  /// further on than the lines say.
  private func takeHeld(shift: Int) {
    for var gap in held.gaps {
      gap.text += job.text.count
      gap.canonical += job.canonical.count
      switch gap.fill {
      case .ownMember(let group, var extent):
        extent.inner += Int64(shift)
        gap.fill = .ownMember(group, extent)
      case .shared(let place, var extent):
        extent.inner += Int64(shift)
        gap.fill = .shared(place, extent)
      default: break
      }
      job.gaps.append(gap)
    }
    job.text.append(held.text)
    job.canonical.append(held.canonical)
    job.notes.append(held.notes)
    job.counts = job.counts + held.counts
    if job.directory == nil { job.directory = held.directory }
    held.reset()
  }

  func finish() throws(Failure) {
    try closeRun()
    try submit()
  }
}
