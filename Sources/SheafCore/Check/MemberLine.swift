/// The assembly line of whoever reads a whole archive: members are read and hashed in order, inflated and parsed by
/// workers, and taken in order.
import Posix
import Storage
import Tar

struct MemberLine {
  let archive: ArchiveReader
  let progress: Progress
  /// Called with what cannot be read, as a message.
  let report: (String) -> Void
  /// Where to go on after a member that cannot be read; nil: nowhere.
  let next: (_ after: Int64) -> (offset: Int64, number: Int64)?
  /// Whether volumes are hashed. Those of an encrypted archive never are here: their digests are of the age files.
  private let digests: Bool
  private let buffers = MemberBuffers()

  init(
    archive: ArchiveReader, progress: Progress, digests: Bool = true, report: @escaping (String) -> Void,
    next: @escaping (_ after: Int64) -> (offset: Int64, number: Int64)?
  ) {
    self.archive = archive
    self.progress = progress
    self.digests = digests
    self.report = report
    self.next = next
  }

  /// Calls `take` with every member that can be read, on another thread. Gives the digests of the volumes, as far as
  /// they were read without a gap.
  func run(_ take: @escaping (MemberJob) throws(Failure) -> Void) throws(Failure) -> [Digest] {
    let toWork = BoundedQueue<MemberJob>(limit: 8)
    let toTake = BoundedQueue<MemberJob>(limit: 16)
    var threads: [Thread] = []
    for _ in 0..<processorCount() {
      threads.append(
        Thread {
          let inflater = Decompressor()
          let hasher = SHA256()
          while let job = toWork.take() { job.run(inflater, hasher) }
        })
    }
    nonisolated(unsafe) let take = take
    let outcome = Monitor<Failure?>(nil)
    threads.append(
      Thread { [progress, buffers] in
        while let job = toTake.take() {
          job.waitUntilFinished()
          defer { buffers.takeBack(job) }
          guard outcome.look({ $0 == nil }) else { continue }
          progress.add(bytes: job.compressed.count)
          progress.add(stored: job.compressed.count)
          do throws(Failure) { try take(job) } catch { outcome.change { $0 = error } }
        }
      })
    let digests = readMembers(toWork, toTake)
    toWork.close()
    toTake.close()
    for thread in threads { thread.join() }
    try progress.checkCancelled()
    if let failure = outcome.look({ $0 }) { throw failure }
    return digests
  }

  private func readMembers(_ toWork: BoundedQueue<MemberJob>, _ toTake: BoundedQueue<MemberJob>) -> [Digest] {
    let source = digests && !archive.isSealed ? DigestingSource(archive) : nil
    let reader = MemberReader(source ?? archive)
    var number: Int64 = 0
    while !progress.isCancelled.load(ordering: .relaxed) {
      let offset = reader.offset
      do throws(MemberReader.Failure) {
        guard let (member, bytes) = try reader.next() else {
          // Behind a volume that is missing there may be others.
          guard let gap = archive.gaps.first(where: { $0.contains(offset) }), let next = next(gap.upperBound - 1) else {
            break
          }
          reader.seek(to: next.offset)
          number = next.number
          continue
        }
        let job = MemberJob(offset: offset, number: number, member: member, bytes: bytes, in: buffers)
        toTake.put(job, weight: job.weight)
        toWork.put(job, weight: job.weight)
        // After a gap the number is the manifest's, which may be anything: adding must not trap.
        number &+= 1
      } catch {
        switch error {
        case .unreadable(let error):
          report("\(archive.set.archive): \(error.kind == .damaged ? "" : "cannot read it: ")\(error.cause)")
          return source?.digests ?? []
        case .cutShort(let offset), .notAMember(let offset):
          report("\(archive.set.archive): \(Show.member(at: offset)) cannot be read")
          guard let next = next(offset) else { return source?.digests ?? [] }
          reader.seek(to: next.offset)
          number = next.number
        }
      }
    }
    return source?.digests ?? []
  }
}

/// Hashes each volume as it is read, front to back.
private final class DigestingSource: ByteSource, @unchecked Sendable {
  private let archive: ArchiveReader
  private let volumes: VolumeDigests
  private var position: Int64 = 0
  private var isBroken = false
  var digests: [Digest] { volumes.digests }

  init(_ archive: ArchiveReader) {
    self.archive = archive
    volumes = VolumeDigests(archive.volumes)
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    let read = try archive.read(into: buffer, count: count, at: offset)
    // Only what comes for the first time, and in order: a reader that starts anew after damage leaves gaps.
    if offset > position { isBroken = true }
    guard !isBroken, offset + Int64(read) > position else { return read }
    volumes.update(
      UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(start: buffer, count: read)[Int(position - offset)...]))
    position = offset + Int64(read)
    return read
  }
}
