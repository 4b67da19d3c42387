/// Vouches for the archives that are folded: hashes all their bytes, on a thread of its own.
import Posix
import Tar

final class FoldHasher: @unchecked Sendable {
  private let queue = BoundedQueue<(VolumeDigests, Buffer)>(limit: 16)
  private var thread: Thread?

  init() {
    thread = Thread { [queue] in
      while let (volumes, bytes) = queue.take() { volumes.update(bytes.bytes) }
    }
  }

  deinit { finish() }

  /// Takes the next bytes of an archive, which nobody may change any more.
  func add(_ bytes: Buffer, of volumes: VolumeDigests) { queue.put((volumes, bytes), weight: 1 + bytes.count >> 19) }

  /// Waits for all of them.
  func finish() {
    queue.close()
    thread?.join()
    thread = nil
  }
}
