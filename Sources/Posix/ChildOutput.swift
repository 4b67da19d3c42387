/// Reading what another program writes, until it has ended.
import CLinux
import Glibc

extension Child {
  public enum Source: Sendable {
    case output, errors
  }

  public enum End: Equatable, Sendable {
    /// An exit code, or 128 and the number of a signal.
    case code(Int32)
    /// It was ended, since it took longer than it had time.
    case tooLate
  }

  /// Gives what it writes to `take` as it comes. `seconds`: how long it may take; nil: as long as it takes. Once `isOver`,
  /// it is sent SIGTERM, and all that it has started where `endsGroup`, and has as long as it takes to come to an end.
  /// What it leaves behind may hold on to the pipes, and is not waited for.
  public func follow(
    atMost seconds: Int? = nil, endsGroup: Bool = false, isOver: () -> Bool = { false }, _ take: (Source, Bytes) -> Void
  ) -> End {
    let start = Timestamp.monotonicNanoseconds()
    var open: [(source: Source, end: Descriptor)] = [(.output, output), (.errors, errors)]
    var isTold = false
    var code: Int32?
    // Once it has ended: what its pipes held then is its own, and comes in any case.
    var (limit, left) = (Int64.max, 0)
    while code == nil || !open.isEmpty && (left > 0 || Timestamp.monotonicNanoseconds() < limit) {
      if code == nil {
        code = ended()
        if code != nil {
          limit = Timestamp.monotonicNanoseconds() + Self.patience
          left = open.reduce(0) { $0 + Int(sheaf_readable($1.end.raw)) }
          if open.isEmpty { break }
        }
        if let seconds, (Timestamp.monotonicNanoseconds() - start) / 1_000_000_000 >= Int64(seconds), code == nil {
          endGroup()
          return .tooLate
        }
        if !isTold, isOver() {
          endsGroup ? signalGroup(SIGTERM) : signal(SIGTERM)
          isTold = true
        }
      }
      var ends = open.map { pollfd(fd: $0.end.raw, events: Int16(POLLIN), revents: 0) }
      guard poll(&ends, nfds_t(ends.count), code == nil && open.isEmpty ? 1 : 20) > 0 else { continue }
      for (index, end) in ends.enumerated().reversed() where end.revents != 0 {
        guard let more = try? open[index].end.readSome(atMost: 1 << 16), !more.isEmpty else {
          open.remove(at: index)
          continue
        }
        left -= more.count
        take(open[index].source, more)
      }
    }
    return .code(code ?? 0)
  }

  /// Nanoseconds for which what a program that has ended left behind is listened to.
  private static let patience: Int64 = 100_000_000

  /// Ends one that is unattended and all that it has started.
  public func endGroup() {
    signalGroup(SIGTERM)
    end(afterMilliseconds: 2000)
    signalGroup(SIGKILL)
  }
}

/// What comes in pieces, line by line.
public struct LineSplitter {
  private var rest = Bytes()
  /// Bytes; what a longer line has beyond is left out.
  private let longest: Int

  public init(longest: Int) { self.longest = longest }

  /// The lines that end in `more`, without their ends.
  public mutating func add(_ more: Bytes) -> [Bytes] {
    var lines: [Bytes] = []
    var parts = more.split(separator: 10, omittingEmptySubsequences: false)[...]
    while let part = parts.popFirst() {
      rest += part.prefix(max(0, longest - rest.count))
      if !parts.isEmpty {
        lines.append(rest)
        rest = []
      }
    }
    return lines
  }

  /// What stands behind the last end of a line; nil: nothing does.
  public mutating func end() -> Bytes? {
    defer { rest = [] }
    return rest.isEmpty ? nil : rest
  }
}
