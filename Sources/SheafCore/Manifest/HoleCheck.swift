/// Which holes of a file hold nothing in the bytes that were stored: only those are holes for a restore. A file that
/// is written to while it is read may have data by then where it had a hole when it was opened.
import Glibc

struct HoleCheck {
  private let holes: [Range<Int64>]
  private var isFilled: Set<Int> = []
  private var next = 0
  private var position: Int64 = 0

  /// `holes`: sorted, apart.
  init(_ holes: [Range<Int64>]) { self.holes = holes }

  /// Those in which nothing but zeros was met so far.
  var empty: [Range<Int64>] {
    isFilled.isEmpty ? holes : holes.indices.filter { !isFilled.contains($0) }.map { holes[$0] }
  }

  /// Takes the file's bytes, one piece after the other.
  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    let end = position + Int64(bytes.count)
    while next < holes.count, holes[next].lowerBound < end {
      let part = holes[next].clamped(to: position..<end)
      let from = Int(part.lowerBound - position)
      if !UnsafeRawBufferPointer(rebasing: bytes[from..<(from + part.count)]).isZero { isFilled.insert(next) }
      if holes[next].upperBound > end { break }
      next += 1
    }
    position = end
  }
}

extension UnsafeRawBufferPointer {
  /// Whether there is nothing but zeros in it.
  var isZero: Bool {
    guard let start = baseAddress, count > 0 else { return true }
    return self[0] == 0 && memcmp(start, start + 1, count - 1) == 0
  }
}
