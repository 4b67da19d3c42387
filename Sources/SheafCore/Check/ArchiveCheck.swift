/// Reads a set's whole archive: the volumes' digests, each gzip member, each entry and each file's digest, and whether
/// the set's manifest tells the same.
import Posix
import Tar

/// What a check found wrong.
public struct Damage: Sendable {
  public var set: SetName
  /// The file it touches, where it is one file's.
  public var path: Bytes?
  public var message: String

  public init(set: SetName, path: Bytes?, message: String) {
    self.set = set
    self.path = path
    self.message = message
  }
}

struct ArchiveCheck {
  let series: Series
  let set: SetName
  let progress: Progress
  let report: (Damage) -> Void

  /// Gives how many entries and bytes of files were read. Throws only where nothing can be read at all.
  func run() throws(Failure) -> (files: Int64, bytes: Int64) {
    let archive = try ArchiveReader(set, in: series)
    let manifest = try series.manifest(set, checked: true)
    let comparison = ManifestComparison(manifest, set: set, id: archive.id, progress: progress) { path, message in
      report(Damage(set: set, path: path, message: message))
    }
    func found(_ message: String) { report(Damage(set: set, path: nil, message: message)) }
    archive.shortfalls.forEach(found)
    // Nothing of it is there, which is said: there is no need to name every file.
    if archive.gaps.contains(where: { $0.contains(0..<archive.size) }), archive.size > 0 { return (0, 0) }
    manifest.compare(try series.index(set), report: found)
    let places = MemberPlaces(try series.manifest(set), of: archive.id)
    let line = MemberLine(archive: archive, progress: progress, report: found, next: places.first)
    let digests = try line.run { (job) throws(Failure) in try comparison.take(job) }
    for (volume, digest) in zip(archive.volumes, digests) where volume.digest != digest {
      found("\(volume.name): its digest is not what its manifest says")
    }
    try comparison.finish()
    return (comparison.files, comparison.bytes)
  }
}

/// Where members begin, as far as the manifest's files tell; read once from front to back, since files lie in an
/// archive in the order of the manifest.
private final class MemberPlaces {
  private let manifest: ManifestReader
  private let id: SetID

  init(_ manifest: ManifestReader, of id: SetID) {
    self.manifest = manifest
    self.id = id
  }

  /// The first member after `offset` that a file lies in; `offset` grows from call to call.
  func first(after offset: Int64) -> (offset: Int64, number: Int64)? {
    while (try? manifest.next()) == true {
      guard manifest.line.what == .entry, manifest.line.kind == .file, let entry = manifest.line.entry() else {
        continue
      }
      for extent in entry.extents where extent.set == id && extent.offset > offset {
        return (extent.offset, extent.member)
      }
    }
    return nil
  }
}
