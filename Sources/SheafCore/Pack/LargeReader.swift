/// What the planner itself reads of the source: large files, which are opened before their pieces are handed out, and
/// files whose fate others depend on.
import Posix
import Tar

/// Not for use from several threads.
final class LargeReader {
  private let root: SourceRoot
  /// Seconds that times may differ by and count as the same.
  private let window: Int64
  private let look: SourceLook
  private let progress: Progress
  private let hasher = SHA256()
  private let buffer = Buffer(capacity: 1 << 20)
  private let scratch = Buffer()
  /// Of files whose contents had to be compared.
  private(set) var bytesRead: Int64 = 0

  init(
    root: SourceRoot, owners: OwnerNames, window: Int64, progress: Progress, reporter: any Reporter,
    clock: @escaping @Sendable () -> Timestamp
  ) {
    self.root = root
    self.window = window
    look = SourceLook(owners: owners, reporter: reporter, clock: clock)
    self.progress = progress
  }

  /// Opens a file and says what is known of it without reading it.
  private func opened(_ path: Bytes) throws(SystemError) -> (Descriptor, Status, Entry) {
    let file = try root.openBeneath(path, [.read, .noFollow, .nonBlocking, .noAccessTime])
    let (status, entry) = try look.entry(path, of: file)
    return (file, status, entry)
  }

  /// Of a directory that is to be saved; none where it is away for the moment.
  func attributes(ofDirectory name: Bytes, in parent: Bytes) throws(SystemError) -> [Attribute] {
    do throws(SystemError) {
      if root.isMappedTop(parent.joined(name)) {
        let top = try root.openBeneath(parent.joined(name), [.read, .directory])
        return look.within(try top.attributes(), of: parent.joined(name))
      }
      if directory?.path != parent { directory = (parent, try root.openBeneath(parent, [.pathOnly, .directory])) }
      return look.within(try directory!.descriptor.attributes(of: name), of: parent.joined(name))
    } catch {
      guard error.isMissing else { throw error }
      return []
    }
  }
  private var directory: (path: Bytes, descriptor: Descriptor)?

  /// Why a file cannot be opened; nil where it can.
  func failure(opening packed: PackEntry) -> SystemError? {
    guard packed.item.status.kind == .file, packed.stream == nil else { return nil }
    do throws(SystemError) {
      _ = try opened(packed.path)
      return nil
    } catch { return error }
  }

  /// A large file, to be packed in pieces.
  func open(_ packed: PackEntry) throws(SystemError) -> LargeFile {
    if let stream = packed.stream {
      return LargeFile(stream, packed.item.status, look.entry(packed.path, packed.item.status), for: packed)
    }
    var (file, status, entry) = try opened(packed.path)
    entry.isStoredSparse = entry.holes.reduce(0) { $0 + Int64($1.count) } > LargeFile.sparseThreshold
    var packed = packed
    packed.leaveGroup(unless: status)
    return LargeFile(file, status, entry, for: packed, progress: progress)
  }

  /// Of the file looked at last: it was read, and is not what the old line says.
  private(set) var hasOtherContents = false
  /// Another entry is looked at now.
  func forget() { hasOtherContents = false }

  /// The renewed line where content and metadata prove equal to the old line's; nil where they differ, or where it
  /// could not be read (the packer will say so). `orMetadata`: the metadata may differ.
  func refreshedIfEqual(_ packed: PackEntry, orMetadata: Bool = false) -> Refreshed? {
    hasOtherContents = false
    guard let old = packed.old else { return nil }
    do throws(SystemError) {
      let path = packed.path
      guard packed.item.status.kind == .file else {
        let (parent, name) = path.splitAtName
        let directory = try root.openBeneath(parent, [.pathOnly, .directory])
        return refreshed(
          old, with: try look.entry(path, packed.item.status, named: name, in: directory), scratch, window: window)
      }
      var (file, status, entry) = try opened(path)
      // A digest takes long: what else tells a difference comes first.
      entry.digest = oldDigest(old)
      guard refreshed(old, with: entry, scratch, orMetadata: orMetadata, window: window) != nil else { return nil }
      var position: Int64 = 0
      buffer.reserve(1 << 20)
      while position < status.size {
        guard progress.goesOn else { return nil }
        let read = try file.read(into: buffer.start, count: 1 << 20, at: position)
        if read == 0 { return nil }
        hasher.update(buffer.start, read)
        position += Int64(read)
        progress.add(bytes: read)
        bytesRead += Int64(read)
      }
      let digest = hasher.finish()
      hasOtherContents = digest != entry.digest
      guard !hasOtherContents, try file.status() == status else { return nil }
      return refreshed(old, with: entry, scratch, orMetadata: orMetadata, window: window)
    } catch { return nil }
  }

  private func oldDigest(_ old: Bytes) -> Digest? {
    old.withUnsafeBufferPointer { text in
      var line = Line()
      return line.parse(entry: text, scratch: scratch) ? line.entry()?.digest : nil
    }
  }
}
