/// What is read of a stream, piece by piece, while its source is watched.
import Glibc
import Posix

/// Not for use from several threads.
final class StreamInput {
  private let input: Descriptor
  private let child: Child?
  private let deadline: Int64?
  private let progress: Progress
  /// The end of what the command wrote to standard error.
  private(set) var said = Bytes()
  private var errorsEnded = false
  private static let saidLimit = 4096

  /// Why reading ended before the stream did.
  enum Stop: Error {
    case interrupted, tooLate
    case failed(SystemError)
  }

  init(_ source: StreamSource, progress: Progress) throws(SystemError) {
    self.progress = progress
    switch source.origin {
    case .standardInput:
      child = nil
      input = .standardInput
    case .command(let command):
      let child = try Child([Bytes("/bin/sh"), Bytes("-c"), command], kind: .unattended)
      self.child = child
      input = child.output
    }
    deadline = source.timeLimit.map { Timestamp.monotonicNanoseconds() + Int64($0) * 1_000_000_000 }
  }

  /// The next bytes, 0 at the end.
  func read(into buffer: UnsafeMutableRawPointer, count: Int) throws(Stop) -> Int {
    while true {
      try check()
      var ends = [pollfd(fd: input.raw, events: Int16(POLLIN), revents: 0)]
      if let child, !errorsEnded { ends.append(pollfd(fd: child.errors.raw, events: Int16(POLLIN), revents: 0)) }
      guard poll(&ends, nfds_t(ends.count), 200) > 0 else { continue }
      if ends.count > 1, ends[1].revents != 0 { listen() }
      guard ends[0].revents != 0 else { continue }
      do throws(SystemError) { return try input.readSome(into: buffer, count: count) } catch { throw .failed(error) }
    }
  }

  /// After the end: how the command ended; 0 for standard input.
  func end() throws(Stop) -> Int32 {
    guard let child else { return 0 }
    // It may go on, or leave others behind that hold on to standard error.
    while true {
      try check()
      let code = child.ended()
      var ends = [pollfd(fd: child.errors.raw, events: Int16(POLLIN), revents: 0)]
      while !errorsEnded, poll(&ends, 1, code == nil ? 20 : 0) > 0 { listen() }
      if let code { return code }
      if errorsEnded { Thread.sleep(nanoseconds: 5_000_000) }
    }
  }

  /// Ends the command and all it has started.
  func stop() { child?.endGroup() }

  private func check() throws(Stop) {
    if !progress.goesOn { throw .interrupted }
    if let deadline, Timestamp.monotonicNanoseconds() > deadline { throw .tooLate }
  }

  private func listen() {
    guard let child, let more = try? child.errors.readSome(atMost: 4096), !more.isEmpty else {
      errorsEnded = true
      return
    }
    said += more
    if said.count > 2 * Self.saidLimit { said.removeFirst(said.count - Self.saidLimit) }
  }

  /// Its last lines, fit to be shown.
  var lines: [String] {
    said.suffix(Self.saidLimit).split { $0 == 10 || $0 == 13 }.suffix(10).map { Show.path(Bytes($0.prefix(500))) }
  }
}
