/// A point's digest: SHA-256 over the canonical part of every entry's line, each with a newline, in order.
import Posix
import Tar

/// Not for use from several threads.
final class PointDigest {
  private let hasher = SHA256()
  /// Lines are short: hashed one by one they would cost more for the calls than for the bytes.
  private let text: Buffer
  private let limit: Int

  /// `capacity`: bytes held before they are hashed.
  init(capacity: Int = 1 << 16) {
    text = Buffer(capacity: capacity)
    limit = capacity - capacity / 8
  }

  func add(_ canonical: UnsafeRawBufferPointer) {
    // Before, not after: the last line stays at hand for `fork`.
    if text.count > limit { flush() }
    text.append(canonical.baseAddress!, canonical.count)
    text.append(UInt8(ascii: "\n"))
  }

  /// Takes what was added but for the last `held` bytes, gives a hasher that has seen that, and goes on.
  func fork(holding held: Int) -> SHA256 {
    hasher.update(text.start, text.count - held)
    let fork = hasher.copy()
    hasher.update(text.end - held, held)
    text.count = 0
    return fork
  }

  func finish() -> Digest {
    flush()
    return hasher.finish()
  }

  private func flush() {
    hasher.update(text.start, text.count)
    text.count = 0
  }
}
