/// The point before, as a run compares with it: first as it was; once it is known what was moved, as if all of that had
/// been moved in it already. So a comparison need not know of moves: it finds the old line where the thing is now.
import Posix
import Tar

/// Not for use from several threads.
final class OldTree {
  private let point: PointReader
  private let digest = PointDigest()
  private var moved: MovedLines?
  private var reader: MovedLines.Reader?
  /// From here on things are where they were moved to.
  var hasMoves: Bool { moved != nil }

  private enum Base { case ended, plain, elsewhere, vacated }
  private var base = Base.ended
  private var place: Moves.Place?
  /// Of a line whose hard link's first name was moved.
  private var rewritten = Line()
  private let text = Buffer()
  private let scratch = Buffer()
  /// The line at hand is one that was moved.
  private var isMoved = false

  init(_ point: PointReader) { self.point = point }

  /// The line at hand.
  var line: Line {
    _read {
      if isMoved { yield reader!.line } else if base == .elsewhere { yield rewritten } else { yield point.line }
    }
  }
  /// Older sets do not have the line at hand as it is now: it must be written.
  var isElsewhere: Bool { isMoved || base == .elsewhere }
  /// The newest sets that tell of the line at hand could not look at what it tells of.
  var isUnseen: Bool { !isMoved && base == .plain && point.isUnseen }
  /// Nothing is there: what the line at hand tells of was moved away or gave way, and nothing that was moved took its
  /// place.
  var isVacated: Bool { !isMoved && base == .vacated }
  /// The move of the line at hand; nil: it was not moved, or came along with a directory.
  var move: Move? { isMoved ? reader!.ownMove : nil }

  /// Goes to the next; false at the end.
  func next() throws(Failure) -> Bool {
    guard moved != nil else { return try nextOfPoint() }
    if isMoved { _ = try reader!.next() } else { try nextBase() }
    return choose()
  }

  private func nextOfPoint() throws(Failure) -> Bool {
    guard try point.next() else {
      base = .ended
      return false
    }
    base = .plain
    digest.add(point.line.canonical)
    return true
  }

  /// From the line at hand on, everything is where it was moved to. False at the end.
  func begin(_ moved: MovedLines) throws(Failure) -> Bool {
    self.moved = moved
    reader = moved.reader()
    _ = try reader!.next()
    if base != .ended { try judge() }
    return choose()
  }

  private func choose() -> Bool {
    guard let reader, !reader.isEnded else {
      isMoved = false
      return base != .ended
    }
    isMoved =
      base == .ended
      || PathOrder.compare(
        reader.line.path, reader.line.parentLength, point.line.path, point.line.parentLength) < 0
    return true
  }

  private func nextBase() throws(Failure) {
    if try nextOfPoint() { try judge() }
  }

  /// Finds out what the moves make of the point's line at hand, and passes lines that have another place now.
  private func judge() throws(Failure) {
    let moves = moved!.moves
    while true {
      if place == nil || !point.line.parent.isSame(as: place!.directory) {
        place = moves.place(Bytes(point.line.parent))
      }
      switch moves.fate(point.line, in: place!) {
      case .stays:
        guard point.line.hasHardLink, let first = point.line.hardLink else { return }
        let after = moves.after(first)
        guard after != first else { return }
        guard var entry = point.line.entry() else { throw unreadable }
        entry.hardLink = after
        text.count = 0
        entry.appendLine(to: text)
        let line = UnsafeBufferPointer(rebasing: text.bytes.bindMemory(to: UInt8.self).dropLast())
        guard rewritten.parse(entry: line, scratch: scratch) else { throw unreadable }
        base = .elsewhere
        return
      case .moved:
        if moves.isFree(point.line, in: place!) {
          base = .vacated
          return
        }
      case .gaveWay(toDirectory: true):
        if place!.owner == nil {
          base = .vacated
          return
        }
      case .gaveWay, .gaveWayAbove, .comesAlong: break
      }
      guard try nextOfPoint() else { return }
    }
  }

  private var unreadable: Failure {
    .damaged("\(point.manifest.name): line \(point.manifest.lineNumber) cannot be read")
  }

  /// Before anything was moved: a hasher that has seen the point up to the line at hand, without it.
  func digestSoFar() -> SHA256 { digest.fork(holding: base == .ended ? 0 : point.line.canonicalLength + 1) }

  /// The point's digest, when it was read to its end.
  func finishDigest() -> Digest { digest.finish() }
}
