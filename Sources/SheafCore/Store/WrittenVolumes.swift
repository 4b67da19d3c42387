/// What is remembered of an archive's volumes while they are written: the digest of each, and a checksum of each piece,
/// with which the drive is asked whether it has them.
import Posix
import Storage
import Tar

/// Not for use from several threads.
final class WrittenVolumes {
  private var hasher: SHA256
  /// False: what is stored is another thing than what is taken here, and is hashed where it is written.
  private let isHashed: Bool
  private var digests: [Digest]
  /// Of each volume, in order.
  private(set) var pieces: [[WrittenPiece]]

  /// `digests`: of volumes that are complete. `hasher`: of what the next one holds already.
  init(digests: [Digest] = [], hasher: SHA256 = SHA256(), in folder: CachedFolder) {
    self.digests = digests
    self.hasher = hasher
    isHashed = folder.sealed == nil
    pieces = Array(repeating: [], count: digests.count + 1)
  }

  /// Takes the next bytes, which went into `volume` (from 0).
  func add(_ bytes: UnsafeRawBufferPointer, volume: Int) {
    while digests.count < volume {
      digests.append(hasher.finish())
      pieces.append([])
    }
    if isHashed { hasher.update(bytes.baseAddress!, bytes.count) }
    pieces[volume].append(WrittenPiece(length: Int32(bytes.count), checksum: GzipMember.crc32(bytes)))
  }

  /// A place to go back to.
  struct Mark {
    fileprivate let hasher: SHA256
    fileprivate let volumes: Int
    fileprivate let pieces: Int
  }

  func mark() -> Mark { Mark(hasher: hasher.copy(), volumes: pieces.count, pieces: pieces[pieces.count - 1].count) }

  /// Forgets what was taken since.
  func goBack(to mark: Mark) {
    hasher = mark.hasher.copy()
    digests.removeSubrange((mark.volumes - 1)...)
    pieces.removeSubrange(mark.volumes...)
    pieces[mark.volumes - 1].removeSubrange(mark.pieces...)
  }

  /// The digests of all volumes; without meaning where they are encrypted.
  func finish() -> [Digest] { digests + [hasher.finish()] }
}

/// Reads files once more before a set is published, from the medium where the system lets go of its own copy.
enum Reread {
  /// Throws `failed` where a file does not begin with the pieces that were written.
  static func check(_ file: any StoredFile, _ pieces: [WrittenPiece], sizeAlone: Bool = false) throws(Failure) {
    let size = pieces.map { Int64($0.length) }.saturatedSum
    guard file.size == size else {
      throw Failure(
        .failed, "\(Show.path(file.path)) has \(file.size) bytes, and \(size) were written to it",
        hint: "the store is not to be trusted; the point was not saved")
    }
    if sizeAlone { return }
    file.dropCache()
    let next = Monitor((piece: 0, offset: Int64(0)))
    let failure = Monitor<Failure?>(nil)
    func work() {
      let buffer = Buffer(capacity: 1 << 20)
      while failure.look({ $0 == nil }) {
        let at: (piece: WrittenPiece, offset: Int64)? = next.look { state in
          guard state.piece < pieces.count else { return nil }
          defer {
            state.offset += Int64(pieces[state.piece].length)
            state.piece += 1
          }
          return (pieces[state.piece], state.offset)
        }
        guard let (piece, offset) = at else { return }
        let length = Int(piece.length)
        buffer.count = 0
        buffer.reserve(length)
        do throws(StoreError) {
          let read = try file.read(into: buffer.start, count: length, at: offset)
          let bytes = UnsafeRawBufferPointer(start: buffer.start, count: read)
          if read == length, GzipMember.crc32(bytes) == piece.checksum { continue }
          failure.look {
            $0 = Failure(
              .failed, "\(Show.path(file.path)) does not hold what was written to it, near byte \(offset)",
              hint: "the drive or its cable is not to be trusted; the point was not saved")
          }
        } catch { failure.look { $0 = Failure(error) } }
      }
    }
    nonisolated(unsafe) let body = work
    let threads = (1..<max(1, min(processorCount(), pieces.count))).map { _ in Thread { body() } }
    work()
    for thread in threads { thread.join() }
    if let failure = failure.look({ $0 }) { throw failure }
  }
}
