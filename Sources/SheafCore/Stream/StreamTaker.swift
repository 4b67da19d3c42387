/// Reads streams to their ends, one after another, and spools them.
import Posix
import Tar

struct StreamTaker {
  let spool: StreamSpool
  let level: Int
  let reporter: any Reporter
  let progress: Progress
  let clock: @Sendable () -> Timestamp

  /// Why nothing of a stream is saved.
  private struct Loss: Error {
    let why: String
  }

  /// nil where it failed, which the reporter was told. Throws where the run is interrupted.
  func take(_ source: StreamSource) throws(Failure) -> StreamFile? {
    progress.current = source.path
    do throws(Loss) { return try read(source) } catch {
      spool.drop()
      try progress.checkCancelled()
      reporter.problem("\(error.why), so nothing of it is saved", path: source.path)
      return nil
    }
  }

  private func read(_ source: StreamSource) throws(Loss) -> StreamFile {
    let time = clock()
    let input: StreamInput
    do throws(SystemError) { input = try StreamInput(source, progress: progress) } catch {
      throw Loss(why: "its command cannot be started: \(error.cause)")
    }
    let file: StreamFile
    do throws(Loss) { file = try spooled(input, source.path, time) } catch {
      input.stop()
      throw error
    }
    let code: Int32
    do throws(StreamInput.Stop) { code = try input.end() } catch {
      input.stop()
      throw loss(error)
    }
    let words = input.lines.isEmpty ? "" : ": \(input.lines.joined(separator: "; "))"
    if code > 128, code <= 128 + 64 { throw Loss(why: "its command was ended by signal \(code - 128)\(words)") }
    if code != 0 { throw Loss(why: "its command ended with exit code \(code)\(words)") }
    if file.size == 0 {
      if case .command = source.origin { throw Loss(why: "its command wrote nothing\(words)") }
      throw Loss(why: "standard input is empty")
    }
    for line in input.lines { reporter.note("\(Show.path([47] + source.path)): \(line)") }
    spool.keep(file.spooled)
    progress.add(files: 1)
    return file
  }

  private func loss(_ stop: StreamInput.Stop) -> Loss {
    switch stop {
    case .interrupted: Loss(why: "it was interrupted")
    case .tooLate: Loss(why: "its command took longer than it may")
    case .failed(let error): Loss(why: "it cannot be read: \(error.cause)")
    }
  }

  private func loss(_ error: SystemError) -> Loss {
    Loss(why: "cannot write to \(Show.path(spool.directory)): \(error.cause)\(Self.hint)")
  }

  private static let hint = " (TMPDIR says where streams are spooled)"

  private func spooled(_ input: StreamInput, _ path: Bytes, _ time: Timestamp) throws(Loss) -> StreamFile {
    let out: Descriptor
    let start: Int64
    do throws(SystemError) { (out, start) = try spool.begin() } catch { throw loss(error) }
    let lengths = Monitor<[Int]>([])
    let deflating = TarOutput(out, level: level) { length in lengths.look { $0.append(length) } }
    defer { deflating.abandon() }
    let hasher = SHA256()
    try? deflating.cut(startsEntry: false)
    let first = Buffer(capacity: Int(LargeFile.pieceSize))
    let ahead = Buffer(capacity: 1 << 16)
    var size: Int64 = 0
    do {
      try fill(first, from: input, ahead, hasher)
      size = Int64(first.count)
      while ahead.count > 0 {
        if deflating.tar.count > 0 { try deflating.cut(startsEntry: false) }
        deflating.tar.append(ahead)
        ahead.count = 0
        try fill(deflating.tar, from: input, ahead, hasher)
        size += Int64(deflating.tar.count)
      }
      let last = Bytes(deflating.tar)
      deflating.tar.count = 0
      try deflating.end()
      return try kept(path, size, hasher.finish(), time, out, start, lengths.look { $0 }, first, last)
    } catch let stop as StreamInput.Stop { throw loss(stop) } catch let failure as Failure {
      throw Loss(why: failure.message + (failure.cause?.kind == .full ? Self.hint : ""))
    } catch let error as SystemError { throw loss(error) } catch { throw Loss(why: "\(error)") }
  }

  /// Fills up a piece, and looks for whether there is more behind it.
  private func fill(
    _ piece: Buffer, from input: StreamInput, _ ahead: Buffer, _ hasher: SHA256
  ) throws(StreamInput.Stop) {
    let size = Int(LargeFile.pieceSize)
    piece.reserve(size - piece.count)
    while piece.count < size {
      let read = try input.read(into: piece.end, count: size - piece.count)
      if read == 0 { break }
      piece.count += read
    }
    hasher.update(piece.start, piece.count)
    progress.add(bytes: piece.count)
    if piece.count == size { ahead.count = try input.read(into: ahead.start, count: 1 << 16) }
  }

  /// The first piece and the last one are put behind the members: memory does not grow with the number of streams.
  private func kept(
    _ path: Bytes, _ size: Int64, _ digest: Digest, _ time: Timestamp, _ out: Descriptor, _ start: Int64,
    _ lengths: [Int], _ first: Buffer, _ last: Bytes
  ) throws(SystemError) -> StreamFile {
    var members = [start]
    for length in lengths { members.append(members[members.count - 1] + Int64(length)) }
    let end = members[members.count - 1]
    try out.write(first.bytes, at: end)
    let middle = end + Int64(first.count)
    var failure: SystemError?
    last.withUnsafeBytes { bytes in
      do throws(SystemError) { try out.write(bytes, at: middle) } catch { failure = error }
    }
    if let failure { throw failure }
    return StreamFile(
      path, size: size, digest, time, spool, first: end..<middle, last: middle..<(middle + Int64(last.count)),
      members: members)
  }
}
