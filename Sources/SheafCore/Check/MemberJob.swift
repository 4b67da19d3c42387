/// A gzip member of an archive of ours, inflated, parsed and hashed.
import Posix
import Tar

/// One gzip member on its way: read, inflated and parsed by a worker, then taken in order.
final class MemberJob: @unchecked Sendable {
  let offset: Int64
  let number: Int64
  let isFirstHeader: Bool
  /// Its bytes belong to `MemberBuffers`, which uses them again when the gzip member has been taken.
  let compressed: Buffer
  let inflated: Buffer
  var entries: [(entry: TarEntry, digest: Digest?)] = []
  var comment = Bytes()
  var sawEnd = false
  var failure: String?
  private let finished = Monitor(false)

  init(
    offset: Int64, number: Int64, member: GzipMember, bytes: UnsafeRawBufferPointer, in buffers: MemberBuffers
  ) {
    self.offset = offset
    self.number = number
    isFirstHeader = member.firstHeader != nil
    firstHeader = member.firstHeader ?? 0
    compressed = buffers.take()
    inflated = buffers.take()
    compressed.append(bytes.baseAddress!, bytes.count)
  }
  private let firstHeader: Int

  /// 1, and 1 more for each 4 MiB, so that fewer large gzip members wait at a time.
  var weight: Int {
    let inflated = min(GzipMember.storedLength(compressed.bytes), GzipMember.inflatedLimit)
    return 1 + (compressed.count + inflated) >> 22
  }

  func run(_ inflater: Decompressor, _ hasher: SHA256) {
    defer { finished.change { $0 = true } }
    do throws(Decompressor.Failure) { try inflater.inflate(compressed.bytes, into: inflated) } catch {
      failure = "is damaged"
      return
    }
    guard isFirstHeader else { return }
    guard firstHeader == 0 else {
      failure = "does not begin with an entry"
      return
    }
    var reader = TarReader(inflated.bytes)
    do throws(TarReader.Failure) {
      while let entry = try reader.next() {
        var digest: Digest?
        if entry.header.size > 0, entry.data + Int(entry.header.size) <= inflated.count, entry.header.type == .file {
          hasher.update(inflated.start + entry.data, Int(entry.header.size))
          digest = hasher.finish()
        }
        entries.append((entry, digest))
      }
      comment = reader.globalComment
      sawEnd = reader.sawEnd
    } catch {
      switch error {
      case .malformed(_, let what): failure = "holds \(what)"
      case .cutShort: failure = "ends within headers"
      }
    }
  }

  func waitUntilFinished() { _ = finished.wait { $0 ? true : nil as Bool? } }
}

/// Memory of members that have been taken, for those that come: for a thousand of them it would be asked of the system
/// and given back a thousand times, or pile up.
final class MemberBuffers: Sendable {
  private let idle = Monitor<[Buffer]>([])
  /// Larger ones are not kept.
  private static let sizeLimit = 4 << 20

  func take() -> Buffer { idle.look { $0.popLast() } ?? Buffer(capacity: 1 << 20) }

  /// Nothing of the job may be used after this.
  func takeBack(_ job: MemberJob) {
    for buffer in [job.compressed, job.inflated] where buffer.capacity <= Self.sizeLimit {
      buffer.count = 0
      idle.look { $0.append(buffer) }
    }
  }
}
