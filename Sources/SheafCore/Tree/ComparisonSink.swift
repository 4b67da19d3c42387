/// What a comparison is asked for, and where it puts what it finds.
import Posix
import Tar

/// Takes what a comparison finds, in the order of the tree.
protocol ComparisonSink: AnyObject {
  /// From here on the point differs from the one before; the digest goes on from what that one had.
  func diverge(from: SHA256)
  func add(_ item: PackItem, estimate: Int)
  /// A canonical line of the point that stays as it is. Only called after `diverge`.
  func keep(_ canonical: UnsafeRawBufferPointer)
  /// A directory's items are complete: `before` them all come some others, then its own entry.
  func endDirectory(before: [PackItem], own: PackItem?) throws(Failure)
}

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
