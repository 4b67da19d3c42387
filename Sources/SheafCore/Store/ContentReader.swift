/// Reads files' bytes out of archives, one gzip member at a time; keeps the last member, since files that follow each
/// other in a tree lie in the same or the next one.
import Posix
import Storage
import Tar

/// Not for use from several threads: each worker has one.
final class ContentReader {
  private let inflater = Decompressor()
  private let compressed = Buffer(capacity: 1 << 20)
  private let inflated = Buffer(capacity: 2 << 20)
  /// `damage`: the member is not whole, and `inflated` has what could be inflated of it.
  private var held: (archive: ArchiveReader, offset: Int64, next: Int64, damage: Failure?)?
  private let salvages: Bool
  private var salvaged: Failure?

  /// `salvages`: of a member that is cut short or damaged, what can be inflated is given; it may be wrong, so whoever asks
  /// for it compares digests.
  init(salvages: Bool = false) { self.salvages = salvages }

  /// What was wrong with a member of which something was given, once.
  func takeSalvaged() -> Failure? {
    defer { salvaged = nil }
    return salvaged
  }

  /// Has the member at `offset` in `inflated`.
  private func hold(_ archive: ArchiveReader, _ offset: Int64) throws(Failure) {
    if let held, held.archive === archive, held.offset == offset { return }
    held = nil
    func damaged(_ what: String) -> Failure {
      .damaged("\(archive.set.archive): \(Show.member(at: offset)) \(what)")
    }
    // Most members are smaller than this: then one call reads all of it.
    let guess = 384 << 10
    compressed.count = 0
    compressed.reserve(guess)
    try read(archive, guess, offset)
    guard compressed.count >= GzipMember.headerLength, let member = GzipMember(headerAt: compressed.start) else {
      throw damaged("cannot be read")
    }
    guard Int64(member.length) <= archive.size - offset else { throw damaged("reaches beyond the archive's end") }
    if member.length > compressed.count {
      try read(archive, member.length - compressed.count, offset + Int64(compressed.count))
    }
    let next = offset + Int64(member.length)
    guard compressed.count >= member.length else {
      return try salvage(member, damaged("is cut short")) { held = (archive, offset, next, $0) }
    }
    do throws(Decompressor.Failure) {
      try inflater.inflate(UnsafeRawBufferPointer(start: compressed.start, count: member.length), into: inflated)
    } catch {
      return try salvage(member, damaged("is damaged")) { held = (archive, offset, next, $0) }
    }
    held = (archive, offset, next, nil)
  }

  private func salvage(_ member: GzipMember, _ damage: Failure, _ hold: (Failure) -> Void) throws(Failure) {
    let start = member.dataOffset
    let end = min(compressed.count, member.length - GzipMember.trailerLength)
    guard salvages, end > start else { throw damage }
    GzipStream.salvage(
      UnsafeRawBufferPointer(start: compressed.start + start, count: end - start), into: inflated,
      atMost: GzipMember.inflatedLimit)
    salvaged = damage
    hold(damage)
  }

  private func read(_ archive: ArchiveReader, _ count: Int, _ offset: Int64) throws(Failure) {
    compressed.reserve(count)
    do throws(StoreError) {
      compressed.count += try archive.read(into: compressed.end, count: count, at: offset)
    } catch {
      throw Failure(error)
    }
  }

  /// Calls `body` with an extent's bytes, piece after piece.
  func read(
    _ extent: Extent, of archive: ArchiveReader, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    guard extent.offset >= 0, extent.offset < archive.size, extent.length >= 0 else {
      throw .damaged("\(archive.set.archive): a file is said to lie outside it")
    }
    var offset = extent.offset
    var inner = extent.inner
    var left = extent.length
    while left > 0 {
      try hold(archive, offset)
      if let damage = held?.damage, left > Int64(inflated.count) - inner { throw damage }
      guard inner <= Int64(inflated.count) else {
        throw .damaged("\(archive.set.archive): a file is said to lie outside \(Show.member(at: offset))")
      }
      let count = min(left, Int64(inflated.count) - inner)
      guard count > 0 || inner > 0 else {
        throw .damaged("\(archive.set.archive): \(Show.member(at: offset)) is empty")
      }
      try body(UnsafeRawBufferPointer(start: inflated.start + Int(inner), count: Int(count)))
      left -= count
      inner = 0
      offset = held!.next
      guard left == 0 || offset < archive.size else { throw .damaged("\(archive.set.archive): ends within a file") }
    }
  }
}
