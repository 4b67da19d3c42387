/// A series' folder in an encrypted store. Whoever uses it sees what there would be in a plain one; what lies in the store
/// is an age file for each, under the same name with `.age` behind it. Empty files, which are marks and locks, stay as
/// they are: their names say it all.
import Age
import Posix
import Storage
import Tar

final class SealedFolder: StoreFolder {
  private let inner: CachedFolder
  private let key: StoreKey
  private let remembered: RememberedFileKeys?
  private let written = Monitor<[Bytes: Written]>([:])
  private let ignored = Monitor<Set<Bytes>>([])

  /// A file that this run wrote.
  private struct Written {
    var fileKey: Secret
    var form: SealedForm?
  }

  /// `remembered`: file keys of what an interrupted run wrote; nil: none are kept. Not used where the key opens contents.
  init(_ inner: CachedFolder, _ key: StoreKey, _ remembered: RememberedFileKeys?) {
    self.inner = inner
    self.key = key
    self.remembered = key.canReadContents ? nil : remembered
  }

  var path: Bytes { inner.path }
  var failure: StoreError? { inner.failure }
  var directory: Status? { inner.directory }
  var access: Access? { inner.access }

  var traits: StoreTraits {
    var traits = inner.traits
    traits.rewinds = false
    traits.appends = false
    traits.largestFile = traits.largestFile.map(SealedName.contents(ofFile:))
    return traits
  }

  func listAnew() { inner.listAnew() }

  // MARK: - Names

  /// Plain files that are not taken for what their names say, since only encrypted ones count here.
  var ignoredFiles: [Bytes] { ignored.look { $0.sorted { $0.lexicographicallyPrecedes($1) } } }

  /// The name under which users of this folder see a file of the store; nil: they do not see it.
  private func outer(_ name: Bytes) -> Bytes? {
    if let plain = SealedName.plain(name) { return plain }
    guard SealedName.isEncrypted(name), let (set, _) = SetName.parse(name) else { return name }
    if let until = key.plainUntil, set.time <= until { return name }
    ignored.look { _ = $0.insert(name) }
    return nil
  }

  func names() throws(StoreError) -> [Bytes] {
    let names = try inner.names()
    var sealed: Set<Bytes> = []
    var result: [Bytes] = []
    for name in names {
      if let plain = SealedName.plain(name), sealed.insert(plain).inserted { result.append(plain) }
    }
    for name in names where SealedName.plain(name) == nil {
      // Asked for every plain file, so that one beside its encrypted twin is noted as ignored, too.
      if let name = outer(name), !sealed.contains(name) { result.append(name) }
    }
    return result.sorted { $0.lexicographicallyPrecedes($1) }
  }

  /// With the sizes they have in the store.
  func list() throws(StoreError) -> [StoreItem] {
    let items = try inner.list()
    let sealed = Set(items.compactMap { SealedName.plain($0.name) })
    return items.compactMap { item in
      let isSealed = SealedName.plain(item.name) != nil
      guard let name = outer(item.name), isSealed || !sealed.contains(name) else { return nil }
      return StoreItem(name: name, kind: item.kind, size: item.size, modified: item.modified)
    }.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  func item(_ name: Bytes) throws(StoreError) -> StoreItem? {
    if SealedName.isEncrypted(name), let item = try inner.item(SealedName.sealed(name)) {
      return StoreItem(name: name, kind: item.kind, size: item.size, modified: item.modified)
    }
    guard outer(name) != nil else { return nil }
    return try inner.item(name)
  }

  /// Does something with a file under the name it has in the store.
  private func reach<R>(_ name: Bytes, _ body: (Bytes) throws(StoreError) -> R) throws(StoreError) -> R {
    guard SealedName.isEncrypted(name) else { return try body(name) }
    do throws(StoreError) { return try body(SealedName.sealed(name)) } catch {
      guard error.kind == .missing, outer(name) != nil else { throw error }
      return try body(name)
    }
  }

  // MARK: - Reading

  func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    try reach(name) { (there) throws(StoreError) in
      let file = try inner.open(there)
      return there == name ? file : SealedFile(file, try reader(of: file, name))
    }
  }

  private func reader(of file: any StoredFile, _ name: Bytes) throws(StoreError) -> AgeReader {
    let known = written.look { $0[name]?.fileKey } ?? remembered?.key(of: name)
    var identities: [any Identity] = known.map { [KnownFileKey($0)] } ?? []
    if SealedName.isArchive(name) {
      if let contents = key.contents { identities.append(contents) }
      guard !identities.isEmpty else {
        throw StoreError(.denied, "read", file.path, cause: "this key can write and list, but not read contents")
      }
    } else {
      identities.append(key.lists)
    }
    do throws(AgeFailure) {
      return try AgeReader(file, size: file.size, path: file.path, Header(of: file), identities)
    } catch {
      switch error {
      case .unreadable(let error): throw error
      case .noMatch:
        throw .damaged(file.path, "does not open with this store's key: damaged, or put there by someone")
      case .header(let why): throw .damaged(file.path, "is no age file that can be read: \(why)")
      case .headerChecksum: throw .damaged(file.path, "is damaged: its header was changed")
      case .payload(let damage): throw .damaged(file.path, damage.words)
      case .key(let why): throw StoreError(.other, "read", file.path, cause: why)
      }
    }
  }

  /// How a file lies in the store; nil: it is not encrypted.
  func form(of name: Bytes) throws(StoreError) -> SealedForm? {
    if let known = written.look({ $0[name]?.form }) { return known }
    do throws(StoreError) {
      let file = try inner.open(SealedName.sealed(name))
      return SealedForm(size: file.size, digest: try file.digest())
    } catch {
      guard error.kind == .missing else { throw error }
      return nil
    }
  }

  // MARK: - Writing

  func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput {
    try sealing(name, try inner.begin(SealedName.sealed(name)))
  }

  func begin(new name: Bytes) throws(StoreError) -> any StoreOutput {
    try sealing(name, try inner.begin(new: SealedName.sealed(name)))
  }

  func dropUnfinished() { inner.dropUnfinished() }

  /// Told that a volume is complete: nobody goes on with it, so its file key is forgotten.
  func noteComplete(_ name: Bytes) { remembered?.forget(name) }

  private func sealing(_ name: Bytes, _ file: any StoreOutput) throws(StoreError) -> any StoreOutput {
    let recipient = SealedName.isArchive(name) ? key.contentsRecipient : key.lists.recipient
    do throws(AgeFailure) {
      let output = try SealedOutput(file, for: recipient) { [written] form in
        written.look { $0[name]?.form = form }
      }
      written.look { $0[name] = Written(fileKey: output.fileKey) }
      if SealedName.isArchive(name) { try remembered?.remember(output.fileKey, of: name) }
      return output
    } catch {
      file.abandon()
      if case .unreadable(let error) = error { throw error }
      throw StoreError(.other, "write", file.path, cause: "the key cannot be used")
    }
  }

  func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    throw StoreError(.unfit, "go on with", path.joined(name), cause: "it is encrypted")
  }

  func shorten(_ name: Bytes, to size: Int64) throws(StoreError) {
    let there = SealedName.sealed(name)
    let file = try inner.open(there)
    let reader = try reader(of: file, name)
    if !traits.renames, size == reader.size { return }
    guard traits.renames, let (kept, last) = try reader.cut(to: size) else {
      return try rewrite(name, reader, to: size)
    }
    let output = try inner.resume(there, from: kept)
    if !last.isEmpty { try output.append(last) }
    try output.finish()
    written.look { $0[name]?.form = nil }
  }

  /// Writes the beginning of a file anew, with another file key.
  private func rewrite(_ name: Bytes, _ reader: AgeReader, to size: Int64) throws(StoreError) {
    // A store that does not rename shows the new file only when it is whole, so it may have the same name.
    let again = traits.renames ? name + Bytes(".again") + NewStoredFile.partialSuffix : name
    let output = try begin(again)
    let buffer = Buffer(capacity: 1 << 20)
    var offset: Int64 = 0
    while offset < size {
      buffer.count = try reader.read(into: buffer.start, count: Int(min(1 << 20, size - offset)), at: offset)
      guard buffer.count > 0 else { throw .damaged(path.joined(name), PayloadDamage.cutShort.words) }
      try output.append(buffer.bytes)
      offset += Int64(buffer.count)
    }
    try output.finish()
    guard traits.renames else { return }
    try inner.remove(SealedName.sealed(name))
    try rename(again, to: name)
  }

  func mark(_ name: Bytes) throws(StoreError) { try inner.mark(name) }
  func touch(_ name: Bytes) throws(StoreError) { try inner.touch(name) }
  func markLocked(_ name: Bytes) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock) {
    try inner.markLocked(name)
  }
  func lock(_ name: Bytes?, exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?) {
    inner.lock(name, exclusive: exclusive)
  }

  func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    try reach(name) { (there) throws(StoreError) in
      try inner.rename(there, to: there == name ? new : SealedName.sealed(new))
    }
    written.look { $0[new] = $0.removeValue(forKey: name) }
    remembered?.follow(name, to: new)
  }

  func remove(_ name: Bytes) throws(StoreError) {
    try reach(name) { (there) throws(StoreError) in try inner.remove(there) }
    written.look { $0[name] = nil }
    remembered?.forget(name)
  }

  func patch(_ name: Bytes, at offset: Int64, _ bytes: Bytes) throws(StoreError) {
    try inner.patch(name, at: offset, bytes)
  }
  func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) {
    try reach(name) { (there) throws(StoreError) in try inner.setMode(there, mode) }
  }
  func closeToOthers(where isAllOurs: () -> Bool) { inner.closeToOthers(where: isAllOurs) }
  func mendAccess(of name: Bytes?, isProgram: Bool) -> (before: UInt16, after: UInt16)? {
    guard let name, SealedName.isEncrypted(name) else { return inner.mendAccess(of: name, isProgram: isProgram) }
    return inner.mendAccess(of: SealedName.sealed(name), isProgram: isProgram)
      ?? inner.mendAccess(of: name, isProgram: isProgram)
  }
  func sync() throws(StoreError) { try inner.sync() }
  func makeFolder(_ name: Bytes) throws(StoreError) { try inner.makeFolder(name) }
  func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder { try inner.folder(name) }
  func space() -> (free: Int64, total: Int64)? { inner.space() }
}
