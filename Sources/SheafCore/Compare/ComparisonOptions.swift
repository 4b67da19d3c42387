/// What a comparison is asked for.
import Posix

struct ComparisonOptions {
  /// Store everything.
  var isFull = false
  /// Compare contents, not only what stat tells.
  var readsContents = false
  /// Read no file: what would have to be read to find out counts as different. For estimates.
  var readsNothing = false
  /// Store a file also where only its metadata changed.
  var storesMetadata = false
  /// Seconds that times may differ by and count as the same.
  var window: Int64 = 0

  @inline(__always)
  func isSame(_ a: Timestamp, _ b: Timestamp) -> Bool { a == b || window > 0 && a.isWithin(window, of: b) }
}
