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

  /// Whether it is of a manifest, or of several, and not of an archive.
  public var isOfManifest: Bool {
    path == nil && (message.contains(".mtree.gz") || message.hasPrefix("the manifests "))
  }
}

struct ArchiveCheck {
  let series: Series
  let set: SetName
  let progress: Progress
  let report: (Damage) -> Void

  /// Gives how many entries and bytes of files were read. Throws only where nothing can be read at all.
  func run() throws(Failure) -> (files: Int64, bytes: Int64) {
    guard series.canReadContents(of: set) else { return try checkStored() }
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
    // What is stored of an encrypted archive is read beside what is in it.
    let stored = archive.isSealed ? StoredDigests(of: archive.volumes, in: series, progress) : nil
    let digests = try line.run { (job) throws(Failure) in try comparison.take(job) }
    for (volume, digest) in zip(archive.volumes, stored?.wait() ?? digests.map { $0 }) where volume.digest != digest {
      found("\(volume.fileName): its digest is not what its manifest says")
    }
    try comparison.finish()
    return (comparison.files, comparison.bytes)
  }

  /// Where the key does not read contents: whether the manifest is whole, and the volumes are byte for byte what it says.
  private func checkStored() throws(Failure) -> (files: Int64, bytes: Int64) {
    let manifest = try series.manifest(set, checked: true)
    manifest.compare(try series.index(set)) { report(Damage(set: set, path: nil, message: $0)) }
    while try manifest.next() {}
    for volume in manifest.foot?.volumes ?? [] {
      try progress.checkCancelled()
      let name = Bytes(volume.name.utf8)
      let form = try? series.form(ofVolume: name)
      progress.add(bytes: Int(clamping: volume.storedSize))
      guard form?.digest != volume.digest else { continue }
      report(
        Damage(
          set: set, path: nil,
          message: form == nil
            ? "the archive \(volume.fileName) is missing or cannot be read"
            : "\(volume.fileName): its digest is not what its manifest says"))
    }
    return (0, 0)
  }
}

/// The digests of encrypted volumes as they are stored, read on a thread of its own.
private final class StoredDigests: @unchecked Sendable {
  private var thread: Thread?
  private var digests: [Digest?] = []

  init(of volumes: [SetFoot.Volume], in series: Series, _ progress: Progress) {
    let forms = series.sealedForms
    thread = Thread { [unowned self] in
      for volume in volumes where !progress.isCancelled.load(ordering: .relaxed) {
        digests.append((try? forms(Bytes(volume.name.utf8)))?.digest)
      }
    }
  }

  func wait() -> [Digest?] {
    thread?.join()
    thread = nil
    return digests
  }

  deinit { thread?.join() }
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
