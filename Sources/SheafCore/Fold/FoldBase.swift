/// The full set that a chain begins with. Most of its archive goes into the new one as it is: as long as entries follow
/// each other there as they do here, whole gzip members are copied, most of them without being inflated.
import Posix
import Tar

/// Gliding: from the beginning of a gzip member on, entries are taken by their lines in the manifest alone, and the
/// gzip members that hold them are copied as they are. Gliding ends where the next entry comes from elsewhere, or where
/// one of this archive is left out. Not for use from several threads.
final class FoldBase {
  let source: FoldSource
  private let writer: FoldWriter
  /// Entries are being taken by their lines alone.
  private var isGliding = false
  /// The last entry that was taken by its line alone: a gzip member that is still to be copied holds it. nil: there is
  /// none.
  private var last: (path: Bytes, isDirectory: Bool)?
  /// Something that was taken is known to lie in the next member.
  private var isExpected = false
  /// The next entry does not follow the one taken last.
  private var isBroken = true

  init(_ source: FoldSource, _ writer: FoldWriter) {
    self.source = source
    self.writer = writer
  }

  /// Takes an entry that the set's manifest tells of, in the order of the archive; `line` adds its line.
  /// `extent`: where the manifest says that its data is, if it has any. False: it is not there.
  func take(_ path: Bytes, isDirectory: Bool, _ extent: Extent?, line: () -> Void) throws(Failure) -> Bool {
    if !isGliding {
      guard !isBroken, source.isAtEndOfMember else { return try look(path, isDirectory, extent, line) }
      try writer.beginGlide()
      isGliding = true
      last = nil
      isExpected = false
    }
    if writer.holdsMuch {
      try leave()
      return try look(path, isDirectory, extent, line)
    }
    guard let extent else {
      last = (path, isDirectory)
      line()
      return true
    }
    while source.offset < extent.offset { try copyNext() }
    guard source.offset == extent.offset else { throw source.damaged(extent.offset, "does not begin there") }
    line()
    isExpected = true
    last = (path, isDirectory)
    if extent.length > LargeFile.pieceSize {
      try copyNext()
      // Of its first member, what is not data are headers.
      var left = Int64(TarHeader.padded(Int(extent.length))) - LargeFile.pieceSize
      while left > 0 {
        let (bytes, count) = try source.nextPiece()
        try writer.copy(bytes, inflated: count, continuesFile: true)
        left -= Int64(count)
      }
      guard left == 0 else { throw source.damaged(extent.offset, "begins a file of another length") }
      last = nil
    }
    return true
  }

  private func look(
    _ path: Bytes, _ isDirectory: Bool, _ extent: Extent?, _ line: () -> Void
  ) throws(Failure) -> Bool {
    guard let slice = try source.find(path, isDirectory: isDirectory), slice.size == extent?.length ?? 0,
      extent.map({ $0.offset == slice.member.offset && $0.inner == Int64(slice.data) }) ?? true
    else { return false }
    let isWhole = Int64(slice.range.upperBound - slice.data) >= slice.size
    if isWhole {
      try writer.add(slice)
      line()
    } else {
      guard slice.range.lowerBound == 0 else { return false }
      try writer.copy(slice, line: line)
    }
    isBroken = false
    return true
  }

  /// Copies the next gzip member, every entry of which was taken. Where no data is known to lie in that member it is
  /// inflated first: it may hold nothing but notes of the old set, and then it is left out.
  private func copyNext() throws(Failure) {
    if isExpected {
      guard let (bytes, count) = try source.nextMember() else { throw source.damaged(source.offset, "is missing") }
      try writer.copy(bytes, inflated: count, continuesFile: false)
    } else {
      guard let member = try source.lookAtNext() else { throw source.damaged(source.offset, "is missing") }
      try copy(member)
    }
    isExpected = false
  }

  private func copy(_ member: FoldMember) throws(Failure) {
    if member.items.allSatisfy(\.isSpecial) { return }
    guard !member.items.contains(where: \.isSpecial) else {
      throw source.damaged(member.offset, "holds notes of the set beside files, which no run writes")
    }
    let (bytes, inflated) = try source.load(member)
    try writer.copy(bytes, inflated: inflated.count, continuesFile: false)
  }

  /// Something else is to come, or something of the archive is left out here.
  func leave() throws(Failure) {
    isBroken = true
    guard isGliding else { return }
    isGliding = false
    guard let last else { return try writer.endGlide(with: nil) }
    while let member = try source.lookAtNext() {
      if let slice = source.locate(last.path, last.isDirectory) {
        return try writer.endGlide(with: slice)
      }
      try copy(member)
    }
    throw .damaged("\(source.set.archive): \(Show.path(last.path)) is not where its manifest says")
  }
}
