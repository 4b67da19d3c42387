/// Writes a set's archive: gzip members one after another, in one volume or in several that are cut between two members.
import Posix
import Storage
import Tar

/// Not for use from several threads.
final class ArchiveWriter {
  private let set: SetName
  private let folder: CachedFolder
  private let limits: Limits
  private var files: [(file: NewStoredFile, size: Int64)]
  /// Where the next member begins.
  private(set) var offset: Int64
  private(set) var members: Int64
  private(set) var tarBytes: Int64
  /// Called before a volume has its final name, where it gets that at once and not from `publish`.
  var beforeVolume: (() throws(StoreError) -> Void)?
  /// Bytes written when the free space was last looked at.
  private var lookedAt: Int64 = 0

  /// What a run may take of the drive.
  struct Limits: Sendable {
    /// Bytes of one volume; nil: what the file system takes.
    var volume: Int64?
    /// Bytes that stay free on the drive.
    var free: Int64 = 0
  }

  init(_ set: SetName, in series: Series, _ limits: Limits) throws(StoreError) {
    self.set = set
    folder = series.folder
    var limits = limits
    for most in [folder.traits.largestFile, folder.traits.volumeSize] {
      if let most { limits.volume = min(limits.volume ?? .max, most) }
    }
    self.limits = limits
    files = []
    (offset, members, tarBytes) = (0, 0, 0)
    files = [(newVolume(1), 0)]
  }

  /// Where a name is for good, nobody knows yet how many volumes there will be.
  private func newVolume(_ number: Int) -> NewStoredFile {
    let name =
      folder.traits.renames ? set.volume(number, of: number) : set.volume(number, of: Self.manyVolumes)
    return NewStoredFile(Bytes(name.utf8), in: folder, isVolume: true)
  }
  private static let manyVolumes = 99_999

  private func finish(_ file: NewStoredFile) throws(StoreError) {
    guard !file.isFinished else { return }
    try beforeVolume?()
    try file.finish()
  }

  /// Goes on behind what an interrupted run left, of which `kept` is good: the files under their present names, in
  /// order, and how many bytes of each.
  init(
    _ set: SetName, in series: Series, continuing kept: [(name: Bytes, size: Int64)], members: Int64, tarBytes: Int64
  ) throws(StoreError) {
    self.set = set
    folder = series.folder
    limits = Limits(volume: folder.traits.volumeSize)
    files = []
    for (name, size) in kept { files.append((try NewStoredFile(continuing: name, from: size, in: folder), size)) }
    offset = kept.reduce(0) { $0 + $1.size }
    self.members = members
    self.tarBytes = tarBytes
  }

  /// The volume that takes the next member, from 0.
  private var last: Int { files.count - 1 }

  /// Appends one whole member, which inflates to `tarBytes`. Gives the volume it lies in, from 0.
  @discardableResult
  func append(_ member: UnsafeRawBufferPointer, tarBytes: Int) throws(StoreError) -> Int {
    let isFull = limits.volume.map { files[last].size > 0 && files[last].size + Int64(member.count) > $0 } ?? false
    if isFull || files[last].file.isFinished { try beginVolume() }
    try checkSpace(member.count)
    do throws(StoreError) { try files[last].file.append(member) } catch {
      // The file system takes no larger file, which some tell only so.
      guard error.kind == .tooLarge, files[last].size > 0 else { throw error }
      try cut(to: files[last].size)
      try beginVolume()
      try files[last].file.append(member)
    }
    files[last].size += Int64(member.count)
    offset += Int64(member.count)
    members += 1
    self.tarBytes += Int64(tarBytes)
    return last
  }

  /// A reader takes 48 MB for a set's foot, in which each has a line.
  static let mostVolumes = 250_000

  private func beginVolume() throws(StoreError) {
    guard files.count < Self.mostVolumes else {
      throw .unfit("cut the archive into more than \(Self.mostVolumes) volumes:", folder.path)
    }
    try finish(files[last].file)
    files.append((newVolume(files.count + 1), 0))
  }

  private func checkSpace(_ more: Int) throws(StoreError) {
    guard limits.free > 0, offset == 0 || offset + Int64(more) - lookedAt > 16 << 20 else { return }
    lookedAt = offset
    guard let free = folder.space()?.free, free - Int64(more) < limits.free else { return }
    throw .full("keep \(Show.size(limits.free)) free while writing to", folder.path)
  }

  /// A place to go back to.
  struct Mark {
    fileprivate let files: Int
    fileprivate let size: Int64
    fileprivate let offset: Int64
    fileprivate let members: Int64
    fileprivate let tarBytes: Int64
  }

  func mark() -> Mark {
    Mark(files: files.count, size: files[last].size, offset: offset, members: members, tarBytes: tarBytes)
  }

  /// Takes away what was appended since.
  func goBack(to mark: Mark) throws(StoreError) {
    for (file, _) in files[mark.files...] { file.discard() }
    files.removeSubrange(mark.files...)
    if mark.size == 0 {
      files[last].file.discard()
      files[last].file = newVolume(files.count)
    } else if files[last].file.isFinished {
      files[last].file = try NewStoredFile(continuing: files[last].file.partial, from: mark.size, in: folder)
    } else {
      try cut(to: mark.size)
    }
    files[last].size = mark.size
    (offset, members, tarBytes) = (mark.offset, mark.members, mark.tarBytes)
    lookedAt = min(lookedAt, offset)
  }

  /// Takes back what the last volume has behind its first `size` bytes. Where they cannot be written differently it ends
  /// there, and what is appended goes into the next one.
  private func cut(to size: Int64) throws(StoreError) {
    let file = files[last].file
    do throws(StoreError) { try file.truncate(to: size) } catch {
      guard error.kind == .unfit, !folder.traits.rewinds else { throw error }
      try file.shorten(to: size)
    }
  }

  /// Makes durable what was written so far.
  func sync() throws(StoreError) { if !files[last].file.isFinished { try files[last].file.sync() } }

  /// Ends the last volume as it is.
  func end() throws(StoreError) { if files[last].size > 0 { try finish(files[last].file) } }

  /// Gives up the end of the last volume. Nothing can be appended then.
  func shorten(by bytes: Int64) throws(StoreError) {
    try cut(to: max(0, files[last].size - bytes))
  }

  /// Makes the archive durable under its partial names. `digests`: of the volumes, where they are not encrypted.
  func seal(digests: [Digest]) throws(StoreError) -> [SetFoot.Volume] {
    if files.count == 1 { _ = files[0].file.takeName(Bytes(set.archive.utf8)) }
    for (file, _) in files { try finish(file) }
    var volumes: [SetFoot.Volume] = []
    for (index, (file, size)) in files.enumerated() {
      let name = finalName(index)
      if let form = try folder.sealed?.form(of: file.partial) {
        volumes.append(SetFoot.Volume(name: name, size: size, digest: form.digest, sealedSize: form.size))
      } else {
        volumes.append(SetFoot.Volume(name: name, size: size, digest: digests[index]))
      }
    }
    return volumes
  }

  /// Compares what the drive gives back with what was written. Only after `seal`.
  func check(_ pieces: [[WrittenPiece]], sizesAlone: Bool) throws(Failure) {
    for (index, (file, _)) in files.enumerated() {
      let written = try stored { () throws(StoreError) in try file.reopened() }
      try Reread.check(written, pieces[index], sizeAlone: sizesAlone)
    }
  }

  func publish() throws(StoreError) {
    for (index, (file, _)) in files.enumerated() {
      try file.publish(as: Bytes(finalName(index).utf8))
      folder.sealed?.noteComplete(Bytes(finalName(index).utf8))
    }
  }

  /// Of a volume, from 0.
  private func finalName(_ index: Int) -> String {
    if folder.traits.renames { return set.volume(index + 1, of: files.count) }
    // Of several the first may have been the only one of a run that was interrupted.
    let name = files[index].file.partial.shown
    return files.count > 1 && name == set.archive ? set.volume(1, of: Self.manyVolumes) : name
  }

  /// Leaves what was written where it is, for a later run to take over.
  func abandon() { for (file, _) in files { file.abandon() } }

  func discard() { for (file, _) in files { file.discard() } }
}

extension SetName {
  /// The file name of a volume, counted from 1: `….tar.gz` where it is the only one, else `….tar.gz.001` and so on, with
  /// as many digits as put all of them in order.
  func volume(_ number: Int, of count: Int) -> String {
    guard count > 1 else { return archive }
    let digits = String(number)
    let width = max(3, String(count).utf8.count)
    return archive + "." + String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }
}
