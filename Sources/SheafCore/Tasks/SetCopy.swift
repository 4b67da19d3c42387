/// Copies one set: its volumes, then its manifest. Everything has partial names until all of it is there.
import Posix
import Storage
import Tar

struct SetCopy {
  private let from: Series
  private let to: Series
  private let progress: Progress
  private static let pieceSize = 4 << 20

  init(_ from: Series, _ to: Series, _ progress: Progress) {
    (self.from, self.to, self.progress) = (from, to, progress)
  }

  /// Gives how many bytes its archive has. `confirm` is called before anything gets its name.
  func copy(_ set: SetName, _ confirm: () throws(Failure) -> Void) throws(Failure) -> Int64 {
    var files: [NewStoredFile] = []
    do throws(Failure) {
      var foot = try checkedFoot(set)
      let told = foot.volumes
      for index in told.indices {
        let (volume, file) = try copy(told[index])
        foot.volumes[index] = volume
        if let file { files.append(file) }
      }
      files.append(try copyManifest(set, foot, isSame: foot.volumes == told))
      try confirm()
      // The manifest last: with that the set is there.
      for file in files { try stored { () throws(StoreError) in try file.publish() } }
      to.forget(set)
      return foot.storedBytes
    } catch {
      // What is whole so far is found by the next run.
      for file in files { file.abandon() }
      throw error
    }
  }

  /// Reads all of the manifest. A set that says that it lacks something is copied as it is; one that is cut short is not.
  private func checkedFoot(_ set: SetName) throws(Failure) -> SetFoot {
    let manifest = try from.manifest(set, checked: true)
    while try manifest.next() {}
    guard let foot = manifest.foot, try foot == from.foot(set) else { throw .damaged("\(set.manifest) is not whole") }
    if let shortfall = try from.shortfalls(of: set).first { throw .damaged(shortfall) }
    return foot
  }

  // MARK: - Volumes

  /// Gives the volume as it lies there, and its file where that has no final name yet.
  private func copy(_ volume: SetFoot.Volume) throws(Failure) -> (SetFoot.Volume, NewStoredFile?) {
    let name = Bytes(volume.name.utf8)
    let source = try stored { () throws(StoreError) in try from.openVolume(name) }
    guard source.size == volume.size else {
      throw .damaged("the archive \(volume.fileName) has another size than told")
    }
    if volume.sealedSize != nil {
      let form = try stored { () throws(StoreError) in try from.form(ofVolume: name) }
      guard form?.digest == volume.digest else { throw wrong(volume) }
    }
    // Of what is encrypted the manifest tells no digest of the contents.
    let wanted = volume.sealedSize == nil ? volume.digest : nil
    if let there = try stored({ () throws(StoreError) in try to.folder.listedItem(name) }) {
      guard there.kind == .file, try isSame(name, source, wanted) else {
        throw Failure(.failed, "there is another file \(volume.name), and nothing is replaced")
      }
      return (try asStored(volume, under: name), nil)
    }
    let start = try sizeToGoOnFrom(name, source)
    var file = try stored { () throws(StoreError) in try begin(name, from: start) }
    var digest = try write(source, into: file, from: start)
    if start > 0, digest != wanted {
      // What an earlier run left is not what was sent then.
      file.discard()
      file = NewStoredFile(name, in: to.folder, isVolume: true)
      digest = try write(source, into: file, from: 0)
    }
    guard wanted ?? digest == digest else {
      file.discard()
      throw wrong(volume)
    }
    try reread(file, source.size, digest)
    return (try asStored(volume, under: file.partial), file)
  }

  private func wrong(_ volume: SetFoot.Volume) -> Failure {
    .damaged("\(volume.fileName): its digest is not what its manifest says")
  }

  private func isSame(_ name: Bytes, _ source: any StoredFile, _ wanted: Digest?) throws(Failure) -> Bool {
    try stored { () throws(StoreError) in
      let there = try to.folder.open(name)
      guard there.size == source.size else { return false }
      if let wanted { return try there.digest() == wanted }
      return try there.digest() == source.digest()
    }
  }

  /// As the manifest there has to tell of it.
  private func asStored(_ volume: SetFoot.Volume, under name: Bytes) throws(Failure) -> SetFoot.Volume {
    guard let sealed = to.folder.sealed else { return volume }
    guard let form = try stored({ () throws(StoreError) in try sealed.form(of: name) }) else { return volume }
    return SetFoot.Volume(name: volume.name, size: volume.size, digest: form.digest, sealedSize: form.size)
  }

  /// How much of a volume an earlier run left.
  private func sizeToGoOnFrom(_ name: Bytes, _ source: any StoredFile) throws(Failure) -> Int64 {
    guard to.folder.traits.appends else { return 0 }
    let partial = name + NewStoredFile.partialSuffix
    let left = try stored { () throws(StoreError) in try to.folder.listedItem(partial) }
    guard let left, left.kind == .file, left.size <= source.size else { return 0 }
    return left.size
  }

  private func begin(_ name: Bytes, from start: Int64) throws(StoreError) -> NewStoredFile {
    guard start > 0 else { return NewStoredFile(name, in: to.folder, isVolume: true) }
    return try NewStoredFile(continuing: name + NewStoredFile.partialSuffix, from: start, in: to.folder)
  }

  /// Appends the rest of `source` and ends the file. Gives the digest of all that is in it: of what was there already, as
  /// it is there.
  private func write(
    _ source: any StoredFile, into file: NewStoredFile, from start: Int64, isVolume: Bool = true
  ) throws(Failure) -> Digest {
    let hasher = SHA256()
    do throws(Failure) {
      if start > 0 {
        let there = try stored { () throws(StoreError) in try file.reopened() }
        try pass(there, 0..<start, isVolume: isVolume) { (bytes) throws(StoreError) in
          bytes.withUnsafeBytes { hasher.update($0.baseAddress!, $0.count) }
        }
      }
      try pass(source, start..<source.size, isVolume: isVolume) { (bytes) throws(StoreError) in
        bytes.withUnsafeBytes { hasher.update($0.baseAddress!, $0.count) }
        try file.append(bytes)
      }
      try stored { () throws(StoreError) in try file.finish() }
    } catch {
      // What is there by now is gone on with.
      file.abandon()
      throw error
    }
    return hasher.finish()
  }

  /// Calls `body` with a range of a file, while the next piece of it is on its way. `isVolume`: it counts as progress.
  private func pass(
    _ file: any StoredFile, _ range: Range<Int64>, isVolume: Bool, _ body: (Bytes) throws(StoreError) -> Void
  ) throws(Failure) {
    func ask(_ offset: Int64) -> Ahead<Result<Bytes, StoreError>>? {
      let count = Int(min(Int64(Self.pieceSize), range.upperBound - offset))
      guard count > 0 else { return nil }
      return Ahead { Result { () throws(StoreError) in try file.read(count: count, at: offset) } }
    }
    var offset = range.lowerBound
    var next = ask(offset)
    while let asked = next {
      try progress.checkCancelled()
      let bytes = try stored { () throws(StoreError) in try asked.value.get() }
      guard !bytes.isEmpty else { throw .damaged("\(Show.path(file.path)) is cut short") }
      offset += Int64(bytes.count)
      next = ask(offset)
      try stored { () throws(StoreError) in try body(bytes) }
      if isVolume { progress.add(bytes: bytes.count) }
    }
  }

  /// Asks the drive for what was written; of a store that sees to that itself, for its size.
  private func reread(_ file: NewStoredFile, _ size: Int64, _ digest: Digest) throws(Failure) {
    let written = try stored { () throws(StoreError) in try file.reopened() }
    written.dropCache()
    var isSame = written.size == size
    if isSame, !to.folder.traits.arrivesWhole {
      isSame = try stored { () throws(StoreError) in try written.digest() } == digest
    }
    guard isSame else {
      throw Failure(
        .failed, "\(Show.path(file.path)) does not hold what was written to it",
        hint: "the drive or its cable is not to be trusted", cause: .damaged(file.path, "is not what was written"))
    }
  }

  // MARK: - The manifest

  /// Byte for byte where its volumes are the same; else with these in it.
  private func copyManifest(_ set: SetName, _ foot: SetFoot, isSame: Bool) throws(Failure) -> NewStoredFile {
    let file = NewStoredFile(Bytes(set.manifest.utf8), in: to.folder)
    do throws(Failure) {
      if isSame, to.folder.sealed == nil {
        let digest = try write(from.manifestFile(set), into: file, from: 0, isVolume: false)
        try reread(file, from.manifestFile(set).size, digest)
      } else {
        try rewriteManifest(set, foot, into: file)
      }
      return file
    } catch {
      file.discard()
      throw error
    }
  }

  private func rewriteManifest(_ set: SetName, _ foot: SetFoot, into file: NewStoredFile) throws(Failure) {
    let reader = try from.manifest(set, checked: true)
    let writer = try stored { () throws(StoreError) in try ManifestWriter(file, head: reader.head) }
    let lines = Buffer(capacity: 1 << 18)
    func flush(_ least: Int) throws(Failure) {
      guard lines.count > least else { return }
      try stored { () throws(StoreError) in try writer.append(lines.bytes) }
      lines.count = 0
    }
    reader.onOther = { text in
      lines.append(text.baseAddress!, text.count)
      lines.append(UInt8(ascii: "\n"))
    }
    reader.onMove = { ManifestSyntax.append($0, to: lines) }
    while try reader.next() {
      lines.append(reader.text.baseAddress!, reader.text.count)
      lines.append(UInt8(ascii: "\n"))
      try flush(1 << 17)
    }
    try flush(0)
    try stored { () throws(StoreError) in
      try writer.finish(foot)
      try file.finish()
    }
    let written = try stored { () throws(StoreError) in try file.reopened() }
    if !to.folder.traits.arrivesWhole { try Reread.check(written, writer.pieces) }
  }
}
