/// Where a comparison, or an import, puts what it finds.
import Posix
import Tar

/// Takes what is found, in the order of the tree.
protocol PackSink: AnyObject {
  /// From here on the point differs from the one before; the digest goes on from what that one had.
  func diverge(from: SHA256)
  func add(_ item: PackItem, estimate: Int)
  /// A canonical line of the point that stays as it is. Only called after `diverge`.
  func keep(_ canonical: UnsafeRawBufferPointer)
  /// A directory's items are complete: `before` them all come some others, then its own entry.
  func endDirectory(before: [PackItem], own: PackItem?) throws(Failure)
}
