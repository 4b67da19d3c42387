/// A file of a point, read at any place. What is given was proved: of a small file all of it against its digest before the
/// first byte is given; of a large one each gzip member against its checksum, and all of it against the digest before the
/// last byte is given to whoever reads it from front to back.
import Glibc
import Posix
import Storage
import Tar

final class RangedFile: Sendable {
  let entry: Entry
  private let map: SparseMap
  private let cache: MemberCache
  private let extents: [(stored: Range<Int64>, extent: Extent, source: MemberSource)]
  /// Of each extent, in order; the first is its beginning.
  private let marks: Monitor<[[Mark]]>
  private let proof = Monitor(Proof())

  /// Where a gzip member's share of an extent begins: in the extent, in the archive, and in the member.
  private struct Mark {
    var position: Int64
    var offset: Int64
    var inner: Int64
  }

  private struct Proof {
    /// Bytes from the beginning that were hashed.
    var hashed: Int64 = 0
    let hasher = SHA256()
    var verdict = Verdict.open
  }
  private enum Verdict { case open, proved, wrong }

  /// Bytes of the largest file that is proved as a whole first.
  private static let smallLimit: Int64 = 16 << 20
  /// Who reads on so many bytes further still reads from front to back: the kernel asks for several pieces at once.
  private static let leap: Int64 = 16 << 20
  /// Bytes that an archive's gzip member mostly takes.
  private static let window = 384 << 10
  /// Members to pass over before their headers are looked at instead of what they hold.
  private static let nearby: Int64 = 4 << 20
  private static let marksLimit = 4096

  /// `source`: gives the archive of a set.
  init(_ entry: Entry, _ cache: MemberCache, source: (SetID) throws(Failure) -> MemberSource) throws(Failure) {
    self.entry = entry
    self.cache = cache
    map = SparseMap(entry)
    var extents: [(Range<Int64>, Extent, MemberSource)] = []
    var position: Int64 = 0
    for extent in entry.extents {
      extents.append((position..<(position + extent.length), extent, try source(extent.set)))
      position += extent.length
    }
    self.extents = extents
    marks = Monitor(extents.map { [Mark(position: 0, offset: $0.1.offset, inner: $0.1.inner)] })
  }

  /// Calls `body` with pieces of the file, in order, `count` bytes in all from `offset` on, fewer only at its end.
  func read(
    from offset: Int64, count: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let end = min(entry.size, offset.addingReportingOverflow(Int64(count)).partialValue)
    guard offset >= 0, count > 0, offset < end else { return }
    try prove(offset..<end)
    try give(offset..<end, body)
  }

  private func prove(_ range: Range<Int64>) throws(Failure) {
    let isWrong = try proof.look { (proof) throws(Failure) in
      if proof.verdict != .open { return proof.verdict == .wrong }
      let isSmall = entry.size <= Self.smallLimit
      let end = isSmall ? entry.size : range.upperBound
      guard proof.hashed < end, isSmall || range.lowerBound - proof.hashed <= Self.leap else { return false }
      let hasher = proof.hasher
      do throws(Failure) {
        try give(proof.hashed..<end) { hasher.update($0.baseAddress!, $0.count) }
      } catch {
        // It begins anew with who reads from the beginning.
        hasher.restart()
        proof.hashed = 0
        throw error
      }
      proof.hashed = end
      if end == entry.size { proof.verdict = hasher.finish() == entry.digest ? .proved : .wrong }
      return proof.verdict == .wrong
    }
    if isWrong { throw .damaged("\(Show.path(entry.path)): its contents are not what was saved") }
  }

  nonisolated(unsafe) private static let zeros = UnsafeRawBufferPointer(start: calloc(1 << 16, 1), count: 1 << 16)

  private func give(
    _ range: Range<Int64>, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    for piece in map.pieces(of: range) {
      switch piece {
      case .stored(let range): try give(stored: range, body)
      case .hole(var left):
        while left > 0 {
          let count = Int(min(left, Int64(Self.zeros.count)))
          try body(UnsafeRawBufferPointer(rebasing: Self.zeros[..<count]))
          left -= Int64(count)
        }
      }
    }
  }

  private func give(
    stored range: Range<Int64>, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    for (index, (stored, _, _)) in extents.enumerated() where stored.overlaps(range) {
      let part = stored.clamped(to: range)
      var position = part.lowerBound - stored.lowerBound
      let end = part.upperBound - stored.lowerBound
      while position < end {
        let (member, start) = try member(at: position, ofExtent: index)
        let count = Int(min(end - position, Int64(member.text.count - start)))
        try body(UnsafeRawBufferPointer(start: member.text.start + start, count: count))
        position += Int64(count)
      }
    }
  }

  /// The gzip member that has the byte at a position of an extent, and where in it.
  private func member(at position: Int64, ofExtent index: Int) throws(Failure) -> (MemberCache.Member, Int) {
    let (_, extent, source) = extents[index]
    var mark = marks.look { marks in
      marks[index].last { $0.position <= position }
        ?? Mark(position: 0, offset: extent.offset, inner: extent.inner)
    }
    while true {
      guard mark.offset >= 0, mark.offset < source.size else { throw .damaged("\(source.name): ends within a file") }
      let next: Int64
      let inflated: Int64
      if position - mark.position > Self.nearby {
        (next, inflated) = try source.sizes(at: mark.offset)
      } else {
        let member = try cache.member(at: mark.offset, of: source, window: Self.window)
        (next, inflated) = (member.next, Int64(member.text.count))
        if mark.inner <= inflated, position - mark.position < inflated - mark.inner {
          return (member, Int(position - mark.position + mark.inner))
        }
      }
      guard mark.inner <= inflated else {
        throw .damaged("\(source.name): a file is said to lie outside \(Show.member(at: mark.offset))")
      }
      mark = Mark(position: mark.position + inflated - mark.inner, offset: next, inner: 0)
      note(mark, ofExtent: index)
    }
  }

  private func note(_ mark: Mark, ofExtent index: Int) {
    marks.look { marks in
      guard let last = marks[index].last, last.position < mark.position else { return }
      marks[index].append(mark)
      guard marks[index].count > Self.marksLimit else { return }
      // Of a file with very many members every other one will do.
      marks[index] = marks[index].enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    }
  }

  /// Where the next hole begins at or after `offset`, its end counting as one, or data where `data`. nil: there is none.
  func next(data: Bool, from offset: Int64) -> Int64? {
    guard offset >= 0, offset < entry.size else { return nil }
    let hole = entry.holes.first { $0.upperBound > offset }
    if !data { return hole.map { max($0.lowerBound, offset) } ?? entry.size }
    guard let hole, hole.lowerBound <= offset else { return offset }
    return next(data: true, from: hole.upperBound)
  }
}
