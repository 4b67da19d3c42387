/// A file that spans several gzip members: read and deflated in pieces by several packers at once, hashed in order.
import Posix
import Tar

final class LargeFile: @unchecked Sendable {
  static let pieceSize: Int64 = 1 << 20
  /// Holes of so many bytes in all are left out of the archive; fewer deflate to next to nothing, and a dense entry
  /// is read by everyone.
  static let sparseThreshold: Int64 = 1 << 30

  private let descriptor: Descriptor?
  /// What it is made of, where the file system does not have it.
  let stream: StreamFile?
  let status: Status
  /// Without digest and place.
  let entry: Entry
  let group: LinkGroup?
  let change: Change
  /// What was known of it.
  let before: Before
  let turn: Int
  private let map: SparseMap
  let storedSize: Int64

  private struct Hashing {
    var next = 0
    /// Bytes of the file hashed so far.
    var position: Int64 = 0
    var isTorn = false
    var failure: SystemError?
  }
  private let hashing = Monitor(Hashing())
  // Used by one thread at a time, as the pieces come to be hashed in order.
  private let hasher = SHA256()
  private var holes: HoleCheck
  private let progress: Progress

  /// Where the first member lies; known when the writer has put it.
  var firstMember: (offset: Int64, number: Int64) = (0, 0)
  /// Length of the headers before the data in the first member.
  var headerLength = 0

  convenience init(
    _ descriptor: Descriptor, _ status: Status, _ entry: Entry, for packed: PackEntry, progress: Progress
  ) {
    self.init(descriptor, nil, status, entry, packed, progress)
    descriptor.adviseSequential()
  }

  /// Of a stream.
  convenience init(_ stream: StreamFile, _ status: Status, _ entry: Entry, for packed: PackEntry) {
    self.init(nil, stream, status, entry, packed, Progress())
  }

  private init(
    _ descriptor: Descriptor?, _ stream: StreamFile?, _ status: Status, _ entry: Entry, _ packed: PackEntry,
    _ progress: Progress
  ) {
    self.descriptor = descriptor
    self.stream = stream
    self.status = status
    self.entry = entry
    group = packed.group
    change = packed.change
    before = packed.before
    turn = packed.turn
    map = SparseMap(entry)
    storedSize = entry.storedSize
    holes = HoleCheck(entry.holes)
    self.progress = progress
  }

  var pieces: Int { max(1, Int((storedSize + Self.pieceSize - 1) / Self.pieceSize)) }

  func appendHeader(to out: Buffer) {
    TarHeader(stored: entry).append(to: out)
    headerLength = out.count
  }

  /// Why it cannot be read: nothing of it is to be stored then.
  var failure: SystemError? { hashing.look { $0.failure } }

  /// Appends the gzip member that a piece of a stream is already.
  func appendMember(_ index: Int, of stream: StreamFile, to out: Buffer) {
    do throws(SystemError) { try stream.appendMember(index, to: out) } catch { fail(error) }
  }

  private func fail(_ error: SystemError) { hashing.look { if $0.failure == nil { $0.failure = error } } }

  /// Appends piece `index` to `out`; bytes that are not there any more become zeros, and the file counts as torn.
  func readPiece(_ index: Int, into out: Buffer) {
    if let stream {
      do throws(SystemError) { try stream.appendPiece(index, to: out) } catch { fail(error) }
      return
    }
    let first = Int64(index) * Self.pieceSize
    let wanted = first..<min(first + Self.pieceSize, storedSize)
    for part in map.stretches(of: wanted) {
      out.reserve(part.count)
      var read = 0
      // A drive that fails takes its time for each try.
      if failure == nil {
        do throws(SystemError) {
          read = try descriptor?.read(into: out.end, count: part.count, at: part.lowerBound) ?? 0
        } catch { fail(error) }
      }
      out.count += read
      if read < part.count {
        hashing.look { $0.isTorn = true }
        out.appendZeros(part.count - read)
      }
    }
  }

  /// Whether it is this piece's turn to be hashed: then it can be done at once, else after deflating.
  func isTurn(_ index: Int) -> Bool { hashing.look { $0.next == index } }

  /// Hashes the piece's bytes when those before it have been.
  func hash(_ index: Int, _ bytes: UnsafeRawBufferPointer) {
    var position = hashing.wait { $0.next == index ? $0.position : nil }
    let first = Int64(index) * Self.pieceSize
    var done = 0
    if !entry.isStoredSparse { holes.take(bytes) }
    for part in map.stretches(of: first..<min(first + Self.pieceSize, storedSize)) {
      addZeros(part.lowerBound - position)
      hasher.update(bytes.baseAddress! + done, part.count)
      done += part.count
      position = part.upperBound
    }
    hashing.change {
      $0.next = index + 1
      $0.position = position
    }
  }

  /// After the last piece: the finished entry but for its place, and what went wrong.
  func finish() -> (Entry, SystemError?) {
    let (position, wasTorn, failure) = hashing.look { ($0.position, $0.isTorn, $0.failure) }
    if let stream {
      var entry = entry
      entry.digest = stream.digest
      return (entry, failure)
    }
    addZeros(entry.size - position)
    var entry = entry
    entry.digest = hasher.finish()
    let now = try? descriptor?.status()
    entry.isTorn =
      wasTorn
      || now.map { $0.size != status.size || $0.modified != status.modified || $0.changed != status.changed } ?? true
    if !entry.isStoredSparse { entry.holes = holes.empty }
    return (entry, failure)
  }

  private func addZeros(_ count: Int64) { hasher.updateZeros(count) { progress.goesOn } }
}
