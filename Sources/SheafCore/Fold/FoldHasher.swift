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

/// The digests of an archive's volumes, from its bytes in order.
final class VolumeDigests: @unchecked Sendable {
  private let volumes: [SetFoot.Volume]
  private let hasher = SHA256()
  private var left: Int64
  private var digests: [Digest] = []

  init(_ volumes: [SetFoot.Volume]) {
    self.volumes = volumes
    left = volumes.first?.size ?? 0
  }

  fileprivate func update(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes
    while !rest.isEmpty, digests.count < volumes.count {
      let count = Int(min(Int64(rest.count), left))
      hasher.update(rest.baseAddress!, count)
      left -= Int64(count)
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      while left == 0, digests.count < volumes.count {
        digests.append(hasher.finish())
        left = digests.count < volumes.count ? volumes[digests.count].size : 0
      }
    }
  }

  /// The first volume that is not what its manifest says; nil: all are.
  var wrong: SetFoot.Volume? {
    for (index, volume) in volumes.enumerated() where index >= digests.count || digests[index] != volume.digest {
      return volume
    }
    return nil
  }
}
