/// A series: the directory with the sets of one line of backups, and what builds on what in it.
import Posix
import Storage
import Tar

public final class Series {
  let folder: CachedFolder
  public let name: Bytes
  let store: Store
  private static let manifestSuffix = Bytes(".mtree.gz")
  private var heads: [SetName: SetHead] = [:]
  /// Other places where volumes may lie, of sets that are spread over media.
  private var volumeFolders: [CachedFolder] = []
  private var feet: [SetName: SetFoot] = [:]
  private var indexes: [SetName: ManifestIndex] = [:]
  private var held = HeldManifests()
  /// Locked for as long as sets are read.
  var reading: (any StoreLock)?

  init(_ name: Bytes, in store: Store) throws(Failure) {
    self.name = name
    self.store = store
    let names = try stored { () throws(StoreError) in try store.folder.names() }
    // On FAT, exFAT and others a name is found in other letters, too.
    let alike = names.contains(name) ? [] : names.filter { foldedName($0) == foldedName(name) }
    guard alike.isEmpty else {
      throw Failure(
        .usage, "the store's file system takes '\(Show.path(name))' for the name of a series that is there already",
        hint: "there is: \(alike.map(Show.path).joined(separator: ", "))")
    }
    folder = try store.folder(of: name)
  }

  /// Makes the directory where it is missing.
  static func create(_ name: Bytes, in store: Store) throws(Failure) -> Series {
    try store.checkKey()
    do throws(StoreError) {
      if try !store.folder.names().contains(name) {
        try store.folder.makeFolder(name)
        try store.folder.sync()
      }
    } catch {
      guard error.kind == .exists else { throw Failure(error) }
    }
    return try Series(name, in: store)
  }

  /// Looks for volumes in the directory at `path`, too, or in the series' folder there.
  public func add(volumeDirectory path: Bytes) throws(Failure) {
    let found = try stored { () throws(StoreError) in try LocalFolder(path) }
    volumeFolders.append(try store.wrapped(found, series: name))
    if let below = try? found.folder(name) { volumeFolders.append(try store.wrapped(below, series: name)) }
  }

  /// A volume, to be read; in the series' own directory first.
  func openVolume(_ name: Bytes) throws(StoreError) -> any StoredFile {
    do throws(StoreError) { return try folder.open(name) } catch {
      guard error.kind == .missing else { throw error }
      for other in volumeFolders { if let found = try? other.open(name) { return found } }
      throw error
    }
  }

  /// Bytes of a volume, as it was listed; nil: it is missing, or no file.
  func volumeSize(_ name: Bytes) throws(StoreError) -> Int64? {
    var item = try folder.listedItem(name)
    for other in volumeFolders where item == nil { item = try? other.item(name) }
    return item?.kind == .file ? item?.size : nil
  }

  /// How a volume lies in the store, read from there; nil: it is not encrypted.
  func form(ofVolume name: Bytes) throws(StoreError) -> SealedForm? { try sealedForms(name) }

  /// The same for use on another thread.
  var sealedForms: @Sendable (_ volume: Bytes) throws(StoreError) -> SealedForm? {
    let folders = ([folder] + volumeFolders).compactMap(\.sealed)
    return { (name) throws(StoreError) in
      for folder in folders { if let form = try folder.form(of: name) { return form } }
      return nil
    }
  }

  /// Not with a key that can only write, where the archive is encrypted.
  public func canReadContents(of set: SetName) -> Bool {
    guard let key = store.key, !key.canReadContents else { return true }
    return (try? foot(set))?.volumes.contains { $0.sealedSize != nil } == false
  }

  /// Throws where the key can only write and files of this point are asked for; nil: of any.
  func checkReadsContents(of set: SetName? = nil) throws(Failure) {
    guard let key = store.key, !key.canReadContents else { return }
    if let set, try chain(of: set).allSatisfy(canReadContents) { return }
    throw Failure(
      .failed, "this key can write and list, but not read contents", hint: "give the whole key with --key FILE")
  }

  /// The sets that are not encrypted, oldest first, in a store that is.
  public func plainSets() throws(Failure) -> [SetName] {
    guard folder.sealed != nil else { return [] }
    return try sets().filter { (try? foot($0))?.volumes.allSatisfy { $0.sealedSize == nil } == true }
  }

  /// Plain files that stand where only encrypted ones count, which are passed over.
  public var ignoredFiles: [Bytes] { folder.sealed?.ignoredFiles ?? [] }

  static let nameHint = "a folder's name that every file system takes, at most 100 bytes"

  /// A name that is a directory's on every file system, and not one of the store's own files.
  static func isName(_ name: Bytes) -> Bool {
    guard (1...100).contains(name.count), name.first != UInt8(ascii: "."), name.last != UInt8(ascii: "."),
      name.last != 32,
      ![Layout.marker, Layout.readme, Layout.script].contains(name), foldedName(name) != foldedName(Layout.keys)
    else { return false }
    let forbidden = Set(Bytes("/\\:*?\"<>|"))
    return name.allSatisfy { $0 >= 32 && $0 != 127 && !forbidden.contains($0) }
  }

  /// The committed sets, oldest first; of several for one point the one that counts.
  public func sets() throws(Failure) -> [SetName] {
    var newest: [String: SetName] = [:]
    for set in try allSets() where newest[set.point].map({ $0 < set }) ?? true { newest[set.point] = set }
    return newest.values.sorted()
  }

  /// With those that do not count any more.
  func allSets() throws(Failure) -> [SetName] {
    try stored { () throws(StoreError) in try folder.names() }.compactMap { name in
      SetName.parse(name).flatMap { set, rest in rest == Self.manifestSuffix ? set : nil }
    }
  }

  /// A number that no set for this point has, committed or not.
  func nextNumber(_ point: String) throws(Failure) -> Int {
    let known = try allSets() + archives().map(\.set)
    return 1 + (known.filter { $0.point == point }.map(\.number).max() ?? 0)
  }

  /// The archives whose volumes are here, each with their names in order, oldest first, manifest or not.
  func archives() throws(Failure) -> [(set: SetName, volumes: [Bytes])] {
    var found: [SetName: [Bytes]] = [:]
    for name in try stored({ () throws(StoreError) in try folder.names() }) {
      guard let (set, rest) = SetName.parse(name), SetName.volumeNumber(rest) != nil else { continue }
      found[set, default: []].append(name)
    }
    return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// Those of points that no manifest tells of, oldest first, but for what an interrupted run left: `rebuild` makes the
  /// manifests again.
  public func withoutManifest() throws(Failure) -> [SetName] {
    // Mostly there are none, which the names alone tell.
    let names = try stored { () throws(StoreError) in try folder.names() }
    let suffix = Self.manifestSuffix
    let manifests = Set(names.filter { $0.suffix(suffix.count).elementsEqual(suffix) }.map { $0.prefix(18) })
    guard names.contains(where: { !manifests.contains($0.prefix(18)) && SetName.parse($0) != nil }) else { return [] }
    let points = Set(try allSets().map(\.point))
    let interrupted = Set(try leftovers().sets.map(\.set))
    let lost = try archives().filter { !points.contains($0.set.point) && !interrupted.contains($0.set) }
    if lost.isEmpty { return [] }
    let others = try volumesOfOthers()
    return lost.filter { $0.volumes.contains { !others.contains($0.shown) } }.map(\.set)
  }

  func manifestFile(_ set: SetName) throws(Failure) -> any StoredFile {
    if let known = held.file(of: set) { return known }
    do throws(StoreError) { return held.keep(try folder.open(Bytes(set.manifest.utf8)), of: set) } catch {
      throw error.kind == .unfit ? .damaged("\(set.manifest) is no file") : Failure(error)
    }
  }

  /// `inflater`: may be that of others which the same thread reads.
  func manifest(
    _ set: SetName, checked: Bool = false, ahead: Bool = true, inflater: Decompressor = Decompressor()
  ) throws(Failure) -> ManifestReader {
    let reader = try ManifestReader(
      manifestFile(set), name: set.manifest, checked: checked, ahead: ahead, inflater: inflater)
    try check(reader.head, set)
    heads[set] = reader.head
    return reader
  }

  /// What of the set's archive is missing or has another size than told, in words.
  public func shortfalls(of set: SetName) throws(Failure) -> [String] {
    var messages: [String] = []
    for volume in try foot(set).volumes {
      let size = try? volumeSize(Bytes(volume.name.utf8))
      if size == volume.storedSize { continue }
      if canReadContents(of: set) { return try ArchiveReader(set, in: self).shortfalls }
      messages.append(
        "the archive \(volume.fileName) "
          + (size.map { "has \($0) bytes, its manifest says \(volume.storedSize)" } ?? "is missing"))
    }
    return messages
  }

  func index(_ set: SetName) throws(Failure) -> ManifestIndex {
    if let known = indexes[set] { return known }
    return try index(set, manifestFile(set))
  }

  private func index(_ set: SetName, _ file: any StoredFile) throws(Failure) -> ManifestIndex {
    let index = try ManifestIndex(file, name: set.manifest)
    feet[set] = index.foot
    // Most manifests of a long chain are small; of a large one the index is read again where it is needed.
    if index.count <= 16 { indexes[set] = index }
    return index
  }

  public func foot(_ set: SetName) throws(Failure) -> SetFoot {
    if let known = feet[set] { return known }
    return try index(set).foot
  }

  public func head(_ set: SetName) throws(Failure) -> SetHead {
    if let known = heads[set] { return known }
    let file = try manifestFile(set)
    let head = try ManifestReader(file, name: set.manifest, ahead: false).head
    try check(head, set)
    heads[set] = head
    // Who asks for the one asks for the other, mostly, and the file is open now.
    if feet[set] == nil { _ = try? index(set, file) }
    return head
  }

  /// What a set says of itself is read anew when it is asked for again: its manifest was replaced.
  func forget(_ set: SetName) {
    heads[set] = nil
    feet[set] = nil
    indexes[set] = nil
    held.forget(set)
  }

  private func check(_ head: SetHead, _ set: SetName) throws(Failure) {
    guard head.time == set.time, head.kind == set.kind else {
      throw .damaged("\(set.manifest) holds the manifest of another set, of \(PointName.text(head.time))")
    }
    guard head.series == name else {
      throw .damaged("\(set.manifest) belongs to the series '\(Show.path(head.series))'")
    }
  }

  /// The sets that make a point, newest first, down to its full set.
  public func chain(of set: SetName) throws(Failure) -> [SetName] {
    var chain = [set]
    guard try head(set).parent != nil else { return chain }
    let all = Dictionary(uniqueKeysWithValues: try sets().map { ($0.point, $0) })
    while let parent = try parent(of: chain.last!, among: all) { chain.append(parent) }
    return chain
  }

  /// nil: it is a full set.
  func parent(of set: SetName, among all: [String: SetName]) throws(Failure) -> SetName? {
    guard let parent = try head(set).parent else { return nil }
    guard let found = all[parent.point], found < set else {
      throw .damaged("\(set.text) builds on the point \(parent.point), which is not in the store")
    }
    return found
  }

  /// Says where a set of the chain was made on another state of its parent's point than the one that is there.
  func mismatches(in chain: [SetName]) throws(Failure) -> [String] {
    var messages: [String] = []
    for (set, older) in zip(chain, chain.dropFirst()) {
      guard let parent = try head(set).parent, try foot(older).point != parent.digest else { continue }
      messages.append("\(set.text) builds on another state of \(parent.point) than the one that is there")
    }
    return messages
  }

  /// All that a restore from the chain will lack, in words: other states of points, archives missing or cut.
  func shortfalls(in chain: [SetName]) throws(Failure) -> [String] {
    var messages = try mismatches(in: chain)
    for set in chain { messages += try shortfalls(of: set) }
    return messages
  }

  /// The point's whole tree.
  func tree(_ chain: [SetName], checked: Bool = false) throws(Failure) -> PointReader {
    var readers: [ManifestReader] = []
    let inflater = Decompressor()
    for (age, set) in chain.enumerated() {
      // The oldest are the largest; a thread and its queue for each of hundreds would cost more memory than they gain.
      readers.append(try manifest(set, checked: checked, ahead: age >= chain.count - 4, inflater: inflater))
    }
    return PointReader(readers)
  }

  /// The tree of a point whose own manifest is not in its place yet, and of what it builds on.
  func tree(_ newest: ManifestReader, on chain: [SetName]) throws(Failure) -> PointReader {
    var readers = [newest]
    let inflater = Decompressor()
    for set in chain { readers.append(try manifest(set, inflater: inflater)) }
    return PointReader(readers)
  }

  /// The point's tree from `path` on, and the directories above it.
  func tree(_ chain: [SetName], from path: Bytes) throws(Failure) -> (PointReader, above: [Entry]) {
    let reader = try tree(chain)
    var indexes: [ManifestIndex] = []
    for set in chain { indexes.append(try index(set)) }
    return (reader, try reader.seek(to: path, indexes))
  }

  /// What the point has at `path`.
  func entry(at path: Bytes, of chain: [SetName]) throws(Failure) -> Entry? {
    let (point, _) = try tree(chain, from: path)
    guard try point.next(), point.line.path.elementsEqual(path) else { return nil }
    var entry = point.line.entry()
    // So it was when its line was written, not in what is written of it now.
    entry?.isFresh = false
    return entry
  }

  /// The names that the point has directly in `directory`: those that could not be looked at, where there are any.
  func names(in directory: Bytes, of chain: [SetName]) throws(Failure) -> [Bytes] {
    let (point, _) = try tree(chain, from: directory + [47])
    var seen: [Bytes] = []
    var unseen: [Bytes] = []
    while try point.next(), point.line.parent.elementsEqual(directory) {
      if point.isUnseen { unseen.append(Bytes(point.line.name)) } else { seen.append(Bytes(point.line.name)) }
    }
    return unseen.isEmpty ? seen : unseen
  }

  /// Those of all sets whose manifests can be read.
  func identities() throws(Failure) -> Set<SetID> { Set(try allSets().compactMap { try? head($0).id }) }

  /// The set that has this identity: extents name it.
  func set(_ id: SetID) throws(Failure) -> SetName? {
    if let known = heads.first(where: { $0.value.id == id })?.key { return known }
    for set in try allSets().reversed() where (try? head(set))?.id == id { return set }
    return nil
  }
}
