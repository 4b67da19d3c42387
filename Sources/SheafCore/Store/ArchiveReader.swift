/// A set's archive as one run of bytes, whatever volumes it lies in.
import Posix
import Tar

final class ArchiveReader: ByteSource {
  let set: SetName
  let id: SetID
  let volumes: [SetFoot.Volume]
  private let files: [(descriptor: Descriptor, start: Int64)]
  let size: Int64

  /// Opens every volume. Throws `damaged`, naming what is missing or has another size than told.
  convenience init(_ set: SetName, in series: Series) throws(Failure) {
    try self.init(set, id: series.head(set).id, volumes: series.foot(set).volumes, in: series)
  }

  /// As above, for an archive whose manifest is not to be had.
  init(_ set: SetName, id: SetID, volumes: [SetFoot.Volume], in series: Series) throws(Failure) {
    self.set = set
    self.id = id
    self.volumes = volumes
    var files: [(Descriptor, Int64)] = []
    var size: Int64 = 0
    for volume in volumes {
      let file: Descriptor
      let status: Status
      do throws(SystemError) {
        file = try series.directory.open(Bytes(volume.name.utf8), [.read, .noFollow, .nonBlocking])
        status = try file.status()
      } catch {
        throw error.isMissing ? .damaged("the archive \(volume.name) is missing") : Failure(error)
      }
      guard status.kind == .file else { throw .damaged("the archive \(volume.name) is no file") }
      guard status.size == volume.size else {
        throw .damaged("the archive \(volume.name) has \(status.size) bytes, its manifest says \(volume.size)")
      }
      files.append((file, size))
      size += volume.size
    }
    self.files = files
    self.size = size
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(SystemError) -> Int {
    var done = 0
    for (index, (file, start)) in files.enumerated() {
      let end = start + volumes[index].size
      let from = offset + Int64(done)
      guard done < count, from >= start, from < end else { continue }
      let wanted = Int(min(Int64(count - done), end - from))
      let read = try file.read(into: buffer + done, count: wanted, at: from - start)
      done += read
      if read < wanted { break }
    }
    return done
  }
}

/// The archives that a restore or a look into a file needs, opened once each.
final class ArchiveShelf: @unchecked Sendable {
  private let series: Series
  private let open = Monitor<[SetID: Result<ArchiveReader, Failure>]>([:])

  init(_ series: Series) { self.series = series }

  /// Not for use from several threads; what it gives may be.
  func archive(_ id: SetID) throws(Failure) -> ArchiveReader {
    if let known = open.look({ $0[id] }) { return try known.get() }
    var result: Result<ArchiveReader, Failure>
    do throws(Failure) {
      guard let set = try series.set(id) else {
        throw .damaged("the set with the identity \(id.text) is not in the store")
      }
      result = .success(try ArchiveReader(set, in: series))
    } catch { result = .failure(error) }
    open.look { $0[id] = result }
    return try result.get()
  }
}
