/// What a command wrote, or standard input, as the walk meets it.
import Posix
import Tar

/// A stream that was read to its end: what is known of it, and where in the spool it lies.
final class StreamFile: Sendable {
  let path: Bytes
  /// Bytes.
  let size: Int64
  let digest: Digest
  /// When it began to be read.
  let time: Timestamp
  let spool: StreamSpool
  /// Where in the spool the first piece and the last one lie, which are not deflated yet.
  fileprivate let first: Range<Int64>
  fileprivate let last: Range<Int64>
  /// Where the gzip members of the pieces between begin, and where the last of them ends: eight bytes for each MiB.
  fileprivate let members: [Int64]
  private let found = Monitor(false)

  init(
    _ path: Bytes, size: Int64, _ digest: Digest, _ time: Timestamp, _ spool: StreamSpool, first: Range<Int64>,
    last: Range<Int64>, members: [Int64]
  ) {
    self.path = path
    self.size = size
    self.digest = digest
    self.time = time
    self.spool = spool
    self.first = first
    self.last = last
    self.members = members
  }

  /// Whether a walk came past its path.
  var wasFound: Bool { found.look { $0 } }
  func markFound() { found.look { $0 = true } }

  /// Whether piece `index` is a gzip member already.
  func isDeflated(_ index: Int) -> Bool { index > 0 && index < members.count }

  /// Bytes it takes in the spool.
  var spooled: Int64 { last.upperBound - members[0] }

  /// Appends the gzip member of a piece that is one.
  func appendMember(_ index: Int, to out: Buffer) throws(SystemError) {
    try spool.append(members[index - 1]..<members[index], to: out)
  }

  /// Appends the bytes of a piece that is no gzip member.
  func appendPiece(_ index: Int, to out: Buffer) throws(SystemError) {
    try spool.append(index == 0 ? first : last, to: out)
  }
}
