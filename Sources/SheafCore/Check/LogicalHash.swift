/// Hashes a file by its stored bytes, holes as zeros, and finds out which of its holes are empty.
import Posix
import Tar

final class LogicalHash {
  private let entry: Entry
  private var segments: [Range<Int64>]
  private let hasher = SHA256()
  private var holes: HoleCheck
  private let progress: Progress
  private var position: Int64 = 0
  private var left: Int64
  /// False: its holes are more than can be hashed, and there is no digest to be had.
  let isHashed: Bool

  init(_ entry: Entry, _ progress: Progress) {
    self.entry = entry
    self.progress = progress
    holes = HoleCheck(entry.holes)
    segments = entry.isStoredSparse ? entry.segments.reversed() : [0..<entry.size]
    left = entry.storedSize
    isHashed = !entry.isStoredSparse || progress.mayHash(zeros: entry.size - entry.storedSize)
  }

  var isComplete: Bool { left == 0 }

  /// Those that read as zeros; holes that are not stored always do.
  var emptyHoles: [Range<Int64>] { entry.isStoredSparse ? entry.holes : holes.empty }

  /// Takes what belongs to the file of `data`, which may go on beyond it.
  func take(_ data: UnsafeRawBufferPointer) {
    var rest = UnsafeRawBufferPointer(rebasing: data[..<Int(min(Int64(data.count), left))])
    left -= Int64(rest.count)
    progress.add(stored: rest.count)
    if !entry.isStoredSparse { holes.take(rest) }
    while !rest.isEmpty, let segment = segments.last {
      if position < segment.lowerBound { addZeros(segment.lowerBound - position) }
      position = max(position, segment.lowerBound)
      let count = min(rest.count, Int(segment.upperBound - position))
      if isHashed { hasher.update(rest.baseAddress!, count) }
      position += Int64(count)
      if position == segment.upperBound { segments.removeLast() }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// Passes over bytes that are lost.
  func skip(_ count: Int64) { left = max(0, left - count) }

  /// Whether it is the file that the digest is of, as far as that can be told.
  func matches(_ digest: Digest?) -> Bool { finish() == digest || !isHashed }

  func finish() -> Digest {
    addZeros(entry.size - position)
    return hasher.finish()
  }

  private func addZeros(_ count: Int64) {
    if isHashed { hasher.updateZeros(count) { progress.goesOn } }
  }
}
