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
    var index = firstSegment { segments[$0].upperBound > position }
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

  /// The stretches of the file that a stretch of the stored bytes stands for, in order.
  func stretches(of stored: Range<Int64>) -> [Range<Int64>] {
    var result: [Range<Int64>] = []
    var index = firstSegment { starts[$0] + Int64(segments[$0].count) > stored.lowerBound }
    while index < segments.count, starts[index] < stored.upperBound {
      let (segment, start) = (segments[index], starts[index])
      let from = max(start, stored.lowerBound)
      let to = min(start + Int64(segment.count), stored.upperBound)
      if from < to { result.append((segment.lowerBound + from - start)..<(segment.lowerBound + to - start)) }
      index += 1
    }
    return result
  }

  /// The first from which on `isBehind` holds.
  private func firstSegment(where isBehind: (Int) -> Bool) -> Int {
    var (low, high) = (0, segments.count)
    while low < high {
      let middle = (low + high) / 2
      if isBehind(middle) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
