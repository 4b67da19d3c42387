/// Writes a tar stream to a file or a pipe, plain or in gzip members, while the next pieces are being made.
import Posix
import Tar

/// For one maker.
final class TarOutput {
  private final class Piece: @unchecked Sendable {
    let tar = Buffer(capacity: 1 << 20)
    let member = Buffer(capacity: 64)
    var startsEntry = true
    private let finished = Monitor(false)

    func finish() { finished.change { $0 = true } }
    func waitUntilFinished() { _ = finished.wait { $0 ? true : nil as Bool? } }
    func reset() {
      tar.count = 0
      member.count = 0
      startsEntry = true
      finished.look { $0 = false }
    }
  }

  private static let pieceSize = 1 << 20
  private var piece = Piece()
  private let spare = Monitor<[Piece]>([])
  private let toDeflate: BoundedQueue<Piece>?
  private let toWrite: BoundedQueue<Piece>
  private let failure = Monitor<SystemError?>(nil)
  private var threads: [Thread] = []

  /// `level`: of deflating; nil: the tar stream is written as it is. `wrote`: told the length of each piece in the
  /// output, in order, by another thread.
  init(_ out: Descriptor, level: Int?, wrote: @escaping @Sendable (Int) -> Void = { _ in }) {
    let deflaters = level == nil ? 0 : processorCount()
    toWrite = BoundedQueue(limit: 2 * deflaters + 4)
    toDeflate = level == nil ? nil : BoundedQueue(limit: deflaters + 2)
    if let level, let toDeflate {
      for _ in 0..<deflaters {
        threads.append(
          Thread {
            let compressor = Compressor(level: level)
            while let piece = toDeflate.take() {
              compressor.append(piece.tar.bytes, firstHeader: piece.startsEntry ? 0 : nil, to: piece.member)
              piece.finish()
            }
          })
      }
    }
    let isDeflated = level != nil
    threads.append(
      Thread { [toWrite, failure, spare] in
        while let piece = toWrite.take() {
          if isDeflated { piece.waitUntilFinished() }
          if failure.look({ $0 == nil }) {
            let bytes = isDeflated ? piece.member.bytes : piece.tar.bytes
            do throws(SystemError) {
              try out.write(bytes)
              wrote(bytes.count)
            } catch { failure.look { $0 = error } }
          }
          piece.reset()
          spare.look { $0.append(piece) }
        }
      })
  }

  /// What has been made and is not yet on its way: entries are appended to it.
  var tar: Buffer { piece.tar }
  var isFull: Bool { piece.tar.count >= Self.pieceSize }

  /// Sends off what has been made; what follows begins with an entry, or goes on with a file's contents. Throws what
  /// the writing met.
  func cut(startsEntry: Bool) throws(Failure) {
    if let error = failure.look({ $0 }) { throw Failure(error) }
    if piece.tar.count > 0 {
      toWrite.put(piece)
      toDeflate?.put(piece)
      piece = spare.look { $0.popLast() } ?? Piece()
    }
    piece.startsEntry = startsEntry
  }

  /// Ends the archive and waits until all is written.
  func finish() throws(Failure) {
    // In a gzip member of its own, as in the archives of a store.
    try cut(startsEntry: true)
    TarHeader.appendEnd(to: tar)
    try end()
  }

  /// Waits until all is written.
  func end() throws(Failure) {
    try cut(startsEntry: true)
    abandon()
    if let error = failure.look({ $0 }) { throw Failure(error) }
  }

  /// Stops the threads.
  func abandon() {
    toDeflate?.close()
    toWrite.close()
    for thread in threads { thread.join() }
    threads = []
  }
}
