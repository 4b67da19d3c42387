/// A set's archive as one run of bytes, whatever volumes it lies in.
import Posix
import Storage
import Tar

final class ArchiveReader: ByteSource {
  let set: SetName
  let id: SetID
  let volumes: [SetFoot.Volume]
  private let files: [(file: (any StoredFile)?, start: Int64)]
  let size: Int64
  /// Where volumes are missing.
  let gaps: [Range<Int64>]
  /// The most bytes that files can have in it, each inode once: what its manifest says, and not more than its volumes
  /// can inflate to.
  let capacity: Int64
  /// Volumes that are missing or have another size than told, in words. What they lack cannot be read; the rest can.
  let shortfalls: [String]

  /// Whether some of it is encrypted. The digests that its manifest tells are of what is stored, not of what is read.
  var isSealed: Bool { volumes.contains { $0.sealedSize != nil } }

  /// Opens every volume that is there.
  convenience init(_ set: SetName, in series: Series) throws(Failure) {
    let foot = try series.foot(set)
    try self.init(set, id: series.head(set).id, volumes: foot.volumes, tarBytes: foot.tarBytes, in: series)
  }

  /// As above, for an archive whose manifest is not to be had.
  init(
    _ set: SetName, id: SetID, volumes: [SetFoot.Volume], tarBytes: Int64 = .max, in series: Series
  ) throws(Failure) {
    self.set = set
    self.id = id
    self.volumes = volumes
    var files: [((any StoredFile)?, Int64)] = []
    var shortfalls: [String] = []
    var size: Int64 = 0
    var stored: Int64 = 0
    for volume in volumes {
      do throws(StoreError) {
        let file = try series.openVolume(Bytes(volume.name.utf8))
        stored.add(saturating: file.size)
        files.append((file, size))
        if file.size != volume.size {
          shortfalls.append(
            "the archive \(volume.fileName) has \(file.size) bytes\(volume.sealedSize == nil ? "" : " of contents"), "
              + "its manifest says \(volume.size)")
        }
      } catch {
        if error.kind == .exhausted { throw Failure(error) }
        files.append((nil, size))
        shortfalls.append(
          "the archive \(volume.fileName) "
            + (error.kind == .missing
              ? volumes.count > 1 ? "is missing (if it is on another drive: --volume-dir)" : "is missing"
              : error.kind == .unfit ? "is no file" : "cannot be read: \(error.cause)"))
      }
      let (sum, over) = size.addingReportingOverflow(volume.size)
      guard !over else { throw .damaged("\(set.manifest): its volumes have impossible sizes") }
      size = sum
    }
    self.files = files
    gaps = files.indices.filter { files[$0].0 == nil }.map { files[$0].1..<(files[$0].1 + volumes[$0].size) }
    self.size = size
    let (inflated, isTooLarge) = stored.multipliedReportingOverflow(by: Int64(Decompressor.greatestRatio))
    capacity = min(tarBytes, isTooLarge ? .max : inflated)
    self.shortfalls = shortfalls
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    var done = 0
    for (index, (file, start)) in files.enumerated() {
      let end = start + volumes[index].size
      let from = offset + Int64(done)
      guard done < count, from >= start, from < end else { continue }
      guard let file else { break }
      let wanted = Int(min(Int64(count - done), end - from))
      let read = try file.read(into: buffer + done, count: wanted, at: from - start)
      done += read
      if read < wanted { break }
    }
    return done
  }
}

/// The archives that files are read from, opened once each, and how much was taken out of each.
final class ArchiveShelf: @unchecked Sendable {
  private let series: Series
  private let open = Monitor<[SetID: Result<ArchiveReader, Failure>]>([:])
  private let taken = Monitor<[SetID: Int64]>([:])

  init(_ series: Series) { self.series = series }

  func archive(_ id: SetID) throws(Failure) -> ArchiveReader {
    // Under the lock, as the series is not for several threads.
    try open.look { known in
      if let result = known[id] { return result }
      let result = find(id)
      known[id] = result
      return result
    }.get()
  }

  /// What whoever writes files out does before each. No byte of an archive belongs to two files: else a small manifest
  /// could fill a disk with one of them. Throws `damaged` where more is taken than the archive can hold.
  func take(_ extents: [Extent]) throws(Failure) {
    for extent in extents {
      let archive = try archive(extent.set)
      let sum = taken.look { taken in
        taken[extent.set, default: 0].add(saturating: extent.length)
        return taken[extent.set]!
      }
      // A file that was moved while a run went on may have been seen at both places.
      guard sum / 2 <= archive.capacity else {
        throw .damaged(
          archive.shortfalls.first ?? "\(archive.set.archive): more is said to lie in it than it can hold")
      }
    }
  }

  private func find(_ id: SetID) -> Result<ArchiveReader, Failure> {
    do throws(Failure) {
      guard let set = try series.set(id) else {
        throw .damaged("the set with the identity \(id.text) is not in the store")
      }
      return .success(try ArchiveReader(set, in: series))
    } catch { return .failure(error) }
  }
}
