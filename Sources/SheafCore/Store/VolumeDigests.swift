/// The digests of an archive's volumes, from its bytes in order.
import Posix
import Storage
import Tar

/// Not for use from several threads at once.
final class VolumeDigests: @unchecked Sendable {
  private let volumes: [SetFoot.Volume]
  private let hasher = SHA256()
  private var left: Int64
  /// Of the volumes that have come to their end.
  private(set) var digests: [Digest] = []

  init(_ volumes: [SetFoot.Volume]) {
    self.volumes = volumes
    left = volumes.first?.size ?? 0
  }

  /// Takes the next bytes.
  func update(_ bytes: UnsafeRawBufferPointer) {
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

extension StoredFile {
  /// Of the bytes it had when it was opened, which go to `copy` as well.
  func digest(copying copy: (any StoreOutput)? = nil) throws(StoreError) -> Digest {
    let hasher = SHA256()
    let buffer = Buffer(capacity: 1 << 20)
    var offset: Int64 = 0
    while offset < size {
      buffer.count = try read(into: buffer.start, count: Int(min(1 << 20, size - offset)), at: offset)
      if buffer.count == 0 { break }
      hasher.update(buffer.start, buffer.count)
      try copy?.append(buffer.bytes)
      offset += Int64(buffer.count)
    }
    return hasher.finish()
  }
}
