/// Which stretches of a file its stored bytes stand for, where its holes are not stored.

struct SparseMap: Sendable {
  enum Piece: Equatable {
    case hole(Int64)
    case stored(Range<Int64>)
  }

  private let segments: [Range<Int64>]
  /// Where each of them begins in the stored bytes.
  private let starts: [Int64]

  init(_ entry: Entry) {
    segments = entry.isStoredSparse ? entry.segments : entry.size > 0 ? [0..<entry.size] : []
    var starts: [Int64] = []
    var position: Int64 = 0
    for segment in segments {
      starts.append(position)
      position += Int64(segment.count)
    }
    self.starts = starts
  }

  /// What a stretch of the file is made of, in order. What lies behind the last segment counts as a hole.
  func pieces(of range: Range<Int64>) -> [Piece] {
    var pieces: [Piece] = []
    var position = range.lowerBound
    var index = firstSegment(endingAfter: position)
    while position < range.upperBound {
      guard index < segments.count, segments[index].lowerBound < range.upperBound else {
        pieces.append(.hole(range.upperBound - position))
        break
      }
      let segment = segments[index]
      if segment.lowerBound > position { pieces.append(.hole(segment.lowerBound - position)) }
      let part = segment.clamped(to: max(position, segment.lowerBound)..<range.upperBound)
      let start = starts[index] + part.lowerBound - segment.lowerBound
      pieces.append(.stored(start..<(start + Int64(part.count))))
      position = part.upperBound
      index += 1
    }
    return pieces
  }

  private func firstSegment(endingAfter position: Int64) -> Int {
    var (low, high) = (0, segments.count)
    while low < high {
      let middle = (low + high) / 2
      if segments[middle].upperBound <= position { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
