/// Hashes a file by its stored bytes, holes as zeros.
import Posix
import Tar

final class LogicalHash {
  private let entry: Entry
  private var segments: [Range<Int64>]
  private let hasher = SHA256()
  private var position: Int64 = 0
  private var left: Int64

  init(_ entry: Entry) {
    self.entry = entry
    segments = entry.isStoredSparse ? entry.segments.reversed() : [0..<entry.size]
    left = entry.storedSize
  }

  var isComplete: Bool { left == 0 }

  /// Takes what belongs to the file of `data`, which may go on beyond it.
  func take(_ data: UnsafeRawBufferPointer) {
    var rest = UnsafeRawBufferPointer(rebasing: data[..<Int(min(Int64(data.count), left))])
    left -= Int64(rest.count)
    while !rest.isEmpty, let segment = segments.last {
      if position < segment.lowerBound { hasher.updateZeros(segment.lowerBound - position) }
      position = max(position, segment.lowerBound)
      let count = min(rest.count, Int(segment.upperBound - position))
      hasher.update(rest.baseAddress!, count)
      position += Int64(count)
      if position == segment.upperBound { segments.removeLast() }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// Passes over bytes that are lost.
  func skip(_ count: Int64) { left = max(0, left - count) }

  func finish() -> Digest {
    hasher.updateZeros(entry.size - position)
    return hasher.finish()
  }

}
