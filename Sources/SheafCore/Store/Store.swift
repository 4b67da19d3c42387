/// A store: a folder with a marker that says which one it is. Everything in it is reached through that folder, which
/// stays open, so that a drive that is swapped or unmounted in the middle of a run is noticed, not written beside.
import Posix
import Storage

public final class Store: Sendable {
  let folder: CachedFolder
  private let cache: ManifestCache?
  /// Whether its series hold age files.
  public let isEncrypted: Bool
  /// nil: it is not encrypted, or its key is not here.
  let key: StoreKey?
  /// Not of an encrypted store with a key that can only write.
  public var canReadContents: Bool { key?.canReadContents ?? true }
  /// Where this machine keeps what it has to remember of files that it cannot read again.
  private let memory: Bytes?
  /// Of a far store: the series' folders that were opened, what of one is on its way, and the same of texts.
  private let opened = Monitor<[Bytes: CachedFolder]>([:])
  private let expected: (series: Bytes, listing: Ahead<CachedFolder.Listed>)?
  let textsAhead = Monitor<[Bytes: Ahead<Bytes?>]>([:])
  public let uuid: String
  public let label: Bytes
  public let created: String

  /// What a reader of an encrypted store must understand.
  private static let feature = Bytes("age")

  /// As the user named it.
  public var path: Bytes { folder.path }

  private init(
    folder: CachedFolder, uuid: String, label: Bytes, created: String, isEncrypted: Bool, key: StoreKey? = nil,
    cache: ManifestCache? = nil, memory: Bytes? = nil, expected: (Bytes, Ahead<CachedFolder.Listed>)? = nil
  ) {
    self.expected = expected
    self.cache = cache
    self.isEncrypted = isEncrypted
    self.key = key
    self.memory = memory
    self.folder = folder
    self.uuid = uuid
    self.label = label
    self.created = created
  }

  /// Whether there is a store's marker in a folder, whatever it says.
  public static func isMade(in folder: Bytes) -> Bool {
    (try? LocalFolder(folder))?.has(Layout.marker) == true
  }

  /// Whether its marker can still be read.
  var isThere: Bool { (try? folder.contents(Layout.marker, atMost: 65536)) != nil }

  /// The nearest store at or above a folder, which is named by its whole path.
  public static func nearest(above folder: Bytes) -> Bytes? {
    var folder = folder
    while !folder.isEmpty, folder != Bytes("/") {
      if isMade(in: folder) { return folder }
      folder = folder.splitAtName.parent
    }
    return nil
  }

  /// Whether what was saved is known to be on a disk, and not only on its way.
  public var isKnownDurable: Bool { folder.traits.finishesDurably }

  /// Whose file system it lies on, where that is the system's own or the one of the user's home folder; in words.
  public func sharesFileSystem(home: Bytes?) -> String? {
    if isOnFileSystem(of: Bytes("/")) { return "the running system" }
    guard let home, !home.isEmpty, isOnFileSystem(of: home) else { return nil }
    return "the home folder \(Show.path(home))"
  }

  func isOnFileSystem(of path: Bytes) -> Bool {
    guard let there = try? Descriptor.open(path, .pathOnly).status(), let here = folder.directory else {
      return false
    }
    return there.device == here.device
  }

  /// Opens the store at `path`. Throws a failure of kind `noStore` where there is none; writes nothing. `cache`: where
  /// copies of manifests may be kept. `keys`: what was given to open an encrypted store with; without them nothing can be
  /// read in one but what it is.
  public static func open(_ path: Bytes, cache: ManifestCache? = nil, keys: Keys? = nil) throws(Failure) -> Store {
    try open(at: path, cache, keys, nil) { () throws(StoreError) in try LocalFolder(path) }
  }

  /// The same, wherever it lies. `series`: the one that will be looked at, most likely.
  public static func open(
    _ place: StoreLocation, by access: RemoteAccess, cache: ManifestCache? = nil, keys: Keys? = nil,
    expecting series: Bytes? = nil
  ) throws(Failure) -> Store {
    func folder() throws(StoreError) -> any StoreFolder { try place.folder(access) }
    return try open(at: place.text, cache, keys, series, hint: { place.hint($0, access) }, folder)
  }

  /// Opens the store in a folder of whatever kind.
  public static func open(
    _ folder: any StoreFolder, cache: ManifestCache? = nil, keys: Keys? = nil
  ) throws(Failure) -> Store {
    try open(at: folder.path, cache, keys, nil) { folder }
  }

  /// Has a folder of a far store listed.
  private static func list(_ folder: any StoreFolder) -> Ahead<CachedFolder.Listed> {
    Ahead { Result { () throws(StoreError) in try folder.list() } }
  }

  private static func open(
    at path: Bytes, _ cache: ManifestCache?, _ keys: Keys?, _ series: Bytes?,
    hint advice: (StoreError) -> String? = { _ in nil }, _ folder: () throws(StoreError) -> any StoreFolder
  ) throws(Failure) -> Store {
    let top: any StoreFolder
    let text: Bytes
    var listing: Ahead<CachedFolder.Listed>?
    var expected: (Bytes, Ahead<CachedFolder.Listed>)?
    do throws(StoreError) {
      top = try folder()
      if top.traits.isFar {
        listing = list(top)
        // What is expected is used only where the listing tells of a folder.
        if let series, Series.isName(series), let there = try? top.folder(listed: StoreItem(folder: series)) {
          expected = (series, list(there))
        }
      }
      text = try top.contents(Layout.marker, atMost: 65536)
    } catch {
      // A program that ends while a request is under way takes away what that uses.
      _ = listing?.value
      _ = expected?.1.value
      if error.kind == .missing {
        throw Failure(.noStore, "no store at \(Show.path(path))", hint: StoreLocation.hint(missing: path))
      }
      throw Failure(
        .noStore, "cannot open the store at \(Show.path(path)): \(error.cause)", hint: advice(error), cause: error)
    }
    let fields = Self.fields(text)
    guard let format = fields["format"], let uuid = fields["uuid"], !uuid.isEmpty else {
      throw .damaged("\(Show.path(path.joined(Layout.marker))) cannot be read as a store's marker")
    }
    guard format == Bytes("1") else {
      throw Failure(
        .failed, "the store at \(Show.path(path)) has format \(Show.path(format)), this version knows format 1",
        hint: "use a newer sheaf")
    }
    let required = fields["requires", default: []].split(separator: 32).map { Bytes($0) }
    if let unknown = required.first(where: { $0 != feature }) {
      throw Failure(
        .failed,
        "the store at \(Show.path(path)) requires the feature '\(Show.path(Bytes(unknown)))', which this version does not know",
        hint: "use a newer sheaf")
    }
    let isEncrypted = required.contains(feature)
    let key = try keys?.storeKey(uuid.shown, of: top, isEncrypted: isEncrypted)
    return Store(
      folder: CachedFolder(top, copies: cache?.copiesOfTop(store: uuid.shown), listing: listing), uuid: uuid.shown,
      label: fields["label", default: []], created: fields["created", default: []].shown, isEncrypted: isEncrypted,
      key: key, cache: cache, memory: keys?.memory, expected: expected)
  }

  /// A store does not lie in another one.
  public static func isInside(_ path: Bytes, _ outer: Bytes) -> Failure {
    Failure(
      .usage, "\(Show.path(path)) would lie in the store \(Show.path(outer))",
      hint: "make it beside that one, or back up to that one with --series NAME")
  }

  private static func fields(_ text: Bytes) -> [String: Bytes] {
    var fields: [String: Bytes] = [:]
    for line in text.split(separator: 10) {
      guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
      fields[String(decoding: line[..<equals], as: UTF8.self)] = Bytes(line[(equals + 1)...])
    }
    return fields
  }

  /// Makes a store of the directory at `path`, which is created where it is missing (its parent must be there).
  /// `keys`: where the key of an encrypted store is put; nil: it is not encrypted.
  public static func create(_ path: Bytes, label: Bytes, now: Timestamp, keys: Keys? = nil) throws(Failure) -> Store {
    let folder: any StoreFolder
    do throws(StoreError) { folder = try LocalFolder.make(path) } catch {
      throw Failure(error, hint: error.kind == .missing ? "is the drive mounted?" : nil)
    }
    return try create(in: folder, label: label, now: now, keys: keys)
  }

  /// The same, wherever it is to lie.
  public static func create(
    _ place: StoreLocation, by access: RemoteAccess, label: Bytes, now: Timestamp, keys: Keys? = nil
  ) throws(Failure) -> Store {
    if case .directory(let path) = place { return try create(path, label: label, now: now, keys: keys) }
    let folder: any StoreFolder
    var outer: Bytes?
    do throws(StoreError) {
      switch place {
      case .directory(let path): folder = try LocalFolder(path)
      case .sftp(let address):
        let there = try address.folder(access, isThere: false)
        outer = there.above(holding: Layout.marker)
        if outer == nil { try there.make() }
        folder = there
      case .s3(let address):
        let there = try address.folder(access)
        // Asked first, as the answer says what is wrong.
        _ = try there.list()
        outer = try there.above(holding: Layout.marker)
        folder = there
      }
    } catch {
      let missing = "the folder above it is not there: make it first"
      throw Failure(error, hint: place.hint(error, access) ?? (error.kind == .missing ? missing : nil))
    }
    if let outer { throw isInside(place.text, outer) }
    return try create(in: folder, label: label, now: now, keys: keys)
  }

  /// Makes a store of a folder of whatever kind.
  public static func create(
    in folder: any StoreFolder, label: Bytes, now: Timestamp, keys: Keys? = nil
  ) throws(Failure) -> Store {
    let path = folder.path
    if folder.has(Layout.marker) {
      throw Failure(
        .failed, "there is a store at \(Show.path(path)) already",
        hint: "back up to it with 'sheaf backup -s \(Show.word(path)) SOURCE'")
    }
    guard !label.contains(10) else { throw Failure(.usage, "a label is one line", hint: "leave the line breaks out") }
    let uuid = newUUID()
    let stamp = PointName.text(now)
    let text =
      Bytes("format=1\nrequires=".utf8) + (keys == nil ? [] : feature)
      + Bytes("\nuuid=\(uuid)\nlabel=".utf8) + label + Bytes("\ncreated=\(stamp)\n".utf8)
    let key = keys == nil ? nil : StoreKey(store: uuid, plainUntil: nil)
    let store = Store(
      folder: CachedFolder(folder, copies: nil), uuid: uuid, label: label, created: stamp, isEncrypted: keys != nil,
      key: key)
    store.closeTop()
    try store.writeFirstHelpers()
    // Before anything can be encrypted for it.
    if let key { try keys?.keep(key, uuid, label: label) }
    try store.publish(Layout.marker, text)
    return store
  }

  /// Encrypts a store that was not from now on: what is written next is, and what lies there stays as it is.
  public func encrypt(keys: Keys, now: Timestamp) throws(Failure) -> Store {
    guard !isEncrypted else {
      throw Failure(.failed, "the store at \(Show.path(path)) is encrypted already")
    }
    let lock = try SeriesLock(folder, "the store", store: path)
    defer { lock.release() }
    let text = try stored { () throws(StoreError) in try folder.contents(Layout.marker, atMost: 65536) }
    let before = Bytes("\nrequires=\n")
    guard let place = text.indices.first(where: { text[$0...].starts(with: before) }) else {
      throw .damaged("\(Show.path(path.joined(Layout.marker))) does not have what it requires where it is written")
    }
    // A point's name may be ahead of the clock.
    var until = now
    for series in try series(where: { _ in true }) {
      for set in try series.archives().map(\.set) + series.allSets() where set.time > until { until = set.time }
    }
    try keys.keep(StoreKey(store: uuid, plainUntil: until), uuid, label: label)
    // Few bytes of one block, at one go.
    let new = text[..<(place + before.count - 1)] + Self.feature + text[(place + before.count - 1)...]
    try stored { () throws(StoreError) in try folder.patch(Layout.marker, at: 0, Bytes(new)) }
    return try Self.open(folder, cache: cache, keys: keys)
  }

  /// Gives the store another identity: a copy that goes on by itself is a store of its own. The marker keeps its length,
  /// so that few bytes of one block change, at one go.
  public func identifyAnew(keys: Keys? = nil) throws(Failure) -> Store {
    let lock = try SeriesLock(folder, "the store", store: path)
    defer { lock.release() }
    let text = try stored { () throws(StoreError) in try folder.contents(Layout.marker, atMost: 65536) }
    let (old, new) = (Bytes("\nuuid=\(uuid)\n".utf8), Bytes("\nuuid=\(Self.newUUID())\n".utf8))
    guard let place = text.indices.first(where: { text[$0...].starts(with: old) }), old.count == new.count else {
      throw .damaged("\(Show.path(path.joined(Layout.marker))) does not have its identity where it is written")
    }
    try stored { () throws(StoreError) in try folder.patch(Layout.marker, at: Int64(place), new) }
    return try Self.open(folder, cache: cache, keys: keys)
  }

  /// RFC 9562, version 4.
  private static func newUUID() -> String {
    var bytes = Host.random(16)
    bytes[6] = bytes[6] & 0x0f | 0x40
    bytes[8] = bytes[8] & 0x3f | 0x80
    let hex = bytes.hex
    var parts: [Substring] = []
    var rest = hex[...]
    for length in [8, 4, 4, 4, 12] {
      parts.append(rest.prefix(length))
      rest = rest.dropFirst(length)
    }
    return parts.joined(separator: "-")
  }

  /// The folder of a series, which has to be there.
  func folder(of series: Bytes) throws(Failure) -> CachedFolder {
    try folder(of: series, listing: nil)
  }

  private func folder(
    of series: Bytes, listing: ((any StoreFolder) -> Ahead<CachedFolder.Listed>)?
  ) throws(Failure) -> CachedFolder {
    if let known = opened.look({ $0[series] }) { return known }
    let found = try stored { () throws(StoreError) in try folder.folder(series) }
    let ahead = expected.flatMap { $0.series == series ? $0.listing : nil } ?? listing?(found)
    let cached = try wrapped(found, series: series, listing: ahead)
    if folder.traits.isFar { opened.look { $0[series] = cached } }
    return cached
  }

  /// The same for a folder where files of the series lie.
  func wrapped(
    _ found: any StoreFolder, series: Bytes, listing: Ahead<CachedFolder.Listed>? = nil
  ) throws(Failure) -> CachedFolder {
    let cached = CachedFolder(found, copies: cache?.copies(store: uuid, series: series), listing: listing)
    guard isEncrypted else { return cached }
    let remembered = memory.map { RememberedFileKeys($0, store: uuid, series: series) }
    return CachedFolder(SealedFolder(cached, try neededKey(), remembered), copies: nil)
  }

  /// Throws where the store is encrypted and its key is not here.
  func checkKey() throws(Failure) { if isEncrypted { _ = try neededKey() } }

  private func neededKey() throws(Failure) -> StoreKey {
    if let key { return key }
    throw Failure(
      .failed, "the store at \(Show.path(path)) is encrypted and its key is not here",
      hint: "give it with --key FILE, or keep it here with 'sheaf key import -s \(Show.word(path)) FILE'")
  }

  /// The names of the series in this store, sorted.
  public func seriesNames() throws(Failure) -> [Bytes] {
    try series { (try? $0.sets())?.isEmpty == false }.map(\.name)
  }

  /// Bytes that interrupted runs left in series that have no point yet.
  public func interruptedFirstRuns() throws(Failure) -> Int64 {
    try series { (try? $0.sets())?.isEmpty == true }.map { (try? $0.interrupted().bytes) ?? 0 }.saturatedSum
  }

  private func series(where isMeant: (Series) -> Bool) throws(Failure) -> [Series] {
    try checkKey()
    let folders = try stored { () throws(StoreError) in try folder.list() }.filter { $0.kind == .folder }
    // Of a far store all at the same time.
    if folder.traits.isFar {
      for item in folders where Series.isName(item.name) { _ = try? folder(of: item.name, listing: Self.list) }
    }
    return folders.compactMap { try? Series($0.name, in: self) }.filter(isMeant)
  }

  /// The names of the series that have archives, manifests or not.
  public func archiveSeriesNames() throws(Failure) -> [Bytes] {
    try series { (try? $0.archives())?.isEmpty == false }.map(\.name)
  }

  /// The series a reading command means: the one asked for, else the only one there is, else the host's.
  public func series(_ wanted: Bytes?, host: Bytes) throws(Failure) -> Series {
    if let wanted {
      guard Series.isName(wanted) else {
        throw Failure(.usage, "'\(Show.path(wanted))' cannot be a series' name", hint: Series.nameHint)
      }
      if (try? folder.listedItem(wanted))?.kind != .folder {
        let known = try seriesNames().map(Show.path).joined(separator: ", ")
        throw Failure(
          .failed, "no series '\(Show.path(wanted))' in this store", hint: known.isEmpty ? nil : "there is: \(known)")
      }
      return try Series(wanted, in: self)
    }
    let all = try series { (try? $0.sets())?.isEmpty == false }
    if all.isEmpty {
      throw Failure(
        .failed, "there is no backup in this store yet",
        hint: "make one with 'sheaf backup -s \(Show.word(path)) SOURCE'")
    }
    if let only = all.first, all.count == 1 { return only }
    if let own = all.first(where: { $0.name == host }) { return own }
    throw Failure(
      .usage, "this store has several series",
      hint: "choose one with --series: \(all.map { Show.path($0.name) }.joined(separator: ", "))")
  }
}
