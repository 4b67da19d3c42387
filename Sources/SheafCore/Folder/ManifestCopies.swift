/// Copies of manifests on this machine, of stores where each call takes long. A copy is known by the manifest's name, size
/// and time, and ends with a digest of what is before it. To lose one is harmless.
import Posix
import Storage
import Tar

public struct ManifestCache: Sendable {
  private let directory: Bytes

  /// `directory`: an absolute path, made when the first copy is kept.
  public init(_ directory: Bytes) { self.directory = directory }

  func copies(store uuid: String, series: Bytes) -> ManifestCopies {
    ManifestCopies(directory.joined(Bytes(uuid.utf8)).joined(series))
  }

  /// Of what lies beside the series, under a name that no series can have.
  func copiesOfTop(store uuid: String) -> ManifestCopies { copies(store: uuid, series: Bytes(".top")) }
}

/// Those of one series. What goes wrong with them is as if there were none.
final class ManifestCopies: Sendable {
  private let directory: Bytes
  private let isTrimmed = Monitor(false)
  private let isFetched = Monitor(false)

  /// Bytes of all copies of a series; the oldest go first.
  private static let limit: Int64 = 2 << 30

  fileprivate init(_ directory: Bytes) { self.directory = directory }

  private func name(_ item: StoreItem) -> Bytes {
    let time = "\(item.modified.seconds).\(item.modified.nanoseconds)"
    return item.name + Bytes("-\(item.size)-\(time)".utf8)
  }

  /// nil: there is none, or not as it was kept. `path`: the manifest's, for messages.
  func copy(of item: StoreItem, path: Bytes) -> (any StoredFile)? {
    guard let folder = try? Descriptor.open(directory, [.read, .directory]),
      let file = try? folder.open(name(item), [.read, .noFollow, .nonBlocking]), let status = try? file.status(),
      status.kind == .file, status.uid == Host.userID, status.size == item.size + Int64(Digest.length)
    else { return nil }
    let copy = LocalFile(file, size: item.size, path: path)
    guard let digest = try? copy.digest(),
      let told = try? file.read(count: Digest.length, at: item.size), told == digest.bytes
    else { return nil }
    return copy
  }

  /// Reads all of a manifest and keeps it. Gives the copy, or the file itself where that could not be done. `known`: the
  /// names in the series; copies of others go.
  func keep(_ item: StoreItem, _ file: any StoredFile, known: Set<Bytes>) -> any StoredFile {
    guard file.size == item.size, let folder = try? Self.made(directory) else { return file }
    do {
      try write(item, file, in: folder)
      let isFirst = isTrimmed.look { isTrimmed in
        defer { isTrimmed = true }
        return !isTrimmed
      }
      if isFirst { trim(folder, known) }
      return copy(of: item, path: file.path) ?? file
    } catch { return file }
  }

  private func write(_ item: StoreItem, _ file: any StoredFile, in folder: Descriptor) throws {
    let new = try NewFile(name(item), in: folder)
    do {
      try new.descriptor.setMode(0o600)
      let digest = try file.digest(copying: LocalOutput(new.descriptor))
      try new.descriptor.write(digest.bytes)
      try new.descriptor.close()
      try folder.rename(name(item) + NewFile.partialSuffix, to: name(item))
    } catch {
      new.discard()
      throw error
    }
  }

  /// Keeps those that there are no copies of and that are small, many at a time: each waits for the store's answers. What
  /// cannot be read is read again by whoever needs it.
  func keepAll(
    _ items: some Sequence<StoreItem>, open: @escaping @Sendable (StoreItem) throws(StoreError) -> any StoredFile
  ) {
    let isFirst = isFetched.look { isFetched in
      defer { isFetched = true }
      return !isFetched
    }
    guard isFirst, let folder = try? Self.made(directory) else { return }
    let kept = Set((try? folder.sortedNames()) ?? [])
    let wanted = items.filter { $0.size <= 1 << 20 && !kept.contains(name($0)) }.sorted {
      $0.name.lexicographicallyPrecedes($1.name)
    }
    let next = Monitor(wanted.makeIterator())
    let threads = (0..<min(Self.atATime, wanted.count)).map { _ in
      Thread { [self] in
        while let item = next.look({ $0.next() }) {
          do throws(StoreError) {
            let file = try open(item)
            if file.size == item.size { try? write(item, file, in: folder) }
          } catch {
            // The store may not answer any more.
            guard error.kind == .missing || error.kind == .denied else { return }
          }
        }
      }
    }
    for thread in threads { thread.join() }
  }

  private static let atATime = 32

  private static func made(_ directory: Bytes) throws -> Descriptor {
    try Descriptor.makeDirectories(directory)
    return try Descriptor.open(directory, [.read, .directory])
  }

  /// Removes copies of manifests that are no more, and the oldest above the limit.
  private func trim(_ folder: Descriptor, _ known: Set<Bytes>) {
    var kept: [(name: Bytes, size: Int64, time: Timestamp)] = []
    for name in (try? folder.sortedNames()) ?? [] {
      // Behind the name in the store stand a size and a time.
      let parts = name.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false).dropLast(2)
      guard known.contains(Bytes(parts.joined(separator: Bytes("-")))), let status = try? folder.status(of: name) else {
        try? folder.removeFile(name)
        continue
      }
      kept.append((name, status.size, status.modified))
    }
    var sum = kept.map(\.size).saturatedSum
    for copy in kept.sorted(by: { $0.time < $1.time }) where sum > Self.limit {
      try? folder.removeFile(copy.name)
      sum -= copy.size
    }
  }
}
