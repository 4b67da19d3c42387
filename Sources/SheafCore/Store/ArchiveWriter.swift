/// Writes a set's archive: gzip members one after another.
import Posix
import Tar

/// Not for use from several threads.
struct ArchiveWriter {
  private let name: String
  private let file: NewFile
  /// Where the next member begins.
  private(set) var offset: Int64 = 0
  private(set) var members: Int64 = 0
  private(set) var tarBytes: Int64 = 0

  init(_ set: SetName, in series: Series) throws(SystemError) {
    name = set.archive
    file = try NewFile(Bytes(name.utf8), in: series.directory)
  }

  /// Appends one whole member, which inflates to `tarBytes`.
  mutating func append(_ member: UnsafeRawBufferPointer, tarBytes: Int) throws(SystemError) {
    try file.descriptor.write(member)
    offset += Int64(member.count)
    members += 1
    self.tarBytes += Int64(tarBytes)
  }

  /// Makes the archive durable under its partial name.
  /// `digest`: of all that was appended.
  func seal(digest: Digest) throws(SystemError) -> [SetFoot.Volume] {
    try file.seal()
    return [SetFoot.Volume(name: name, size: offset, digest: digest)]
  }

  func publish() throws(SystemError) { try file.publish() }
  func discard() { file.discard() }
}
