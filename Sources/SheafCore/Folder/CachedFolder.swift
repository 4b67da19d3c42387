/// A series' folder as one run sees it: it is listed once, and what the run itself changes is followed from there. Of a
/// store where each call takes long, manifests are read from copies on this machine.
import Posix
import Storage

final class CachedFolder: StoreFolder {
  private let inner: any StoreFolder
  private let copies: ManifestCopies?
  /// Answers that other threads fetch from the store ahead of time; each is used once.
  private let ahead: Monitor<(listing: Ahead<Listed>?, space: Ahead<Space?>?)>
  private let listing = Monitor<Listing?>(nil)
  /// What encrypts and decrypts the files, where the store is an encrypted one.
  let sealed: SealedFolder?

  private struct Listing {
    /// Sorted bytewise.
    var names: [Bytes]
    /// As they were listed, where the store is far; what was written since is not among them.
    var items: [Bytes: StoreItem] = [:]

    init(names: [Bytes]) { self.names = names }

    init(_ items: [StoreItem]) {
      names = items.map(\.name)
      self.items = Dictionary(items.map { ($0.name, $0) }) { first, _ in first }
    }

    private func place(_ name: Bytes) -> Int {
      var (low, high) = (0, names.count)
      while low < high {
        let middle = (low + high) / 2
        if names[middle].lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
      }
      return low
    }

    func has(_ name: Bytes) -> Bool {
      let place = place(name)
      return place < names.count && names[place] == name
    }

    mutating func add(_ name: Bytes) {
      items[name] = nil
      let place = place(name)
      if place == names.count || names[place] != name { names.insert(name, at: place) }
    }

    mutating func remove(_ name: Bytes) {
      items[name] = nil
      let place = place(name)
      if place < names.count, names[place] == name { names.remove(at: place) }
    }
  }

  typealias Listed = Result<[StoreItem], StoreError>
  private typealias Space = (free: Int64, total: Int64)

  /// `copies`: of this series; nil: none are kept. `listing`: of the folder, which is on its way.
  init(_ inner: any StoreFolder, copies: ManifestCopies?, listing: Ahead<Listed>? = nil) {
    self.inner = inner
    ahead = Monitor((listing, nil))
    sealed = inner as? SealedFolder
    self.copies = inner.traits.isFar ? copies : nil
  }

  var path: Bytes { inner.path }
  var traits: StoreTraits { inner.traits }
  var failure: StoreError? { inner.failure }
  var directory: Status? { inner.directory }
  var access: Access? { inner.access }

  // MARK: - What was listed

  private func listed() throws(StoreError) -> Listing {
    if let known = listing.look({ $0 }) { return known }
    let asked = ahead.look { ahead in
      defer { ahead.listing = nil }
      return ahead.listing
    }
    let new: Listing
    if let asked {
      new = Listing(try asked.value.get())
    } else if traits.isFar {
      new = Listing(try inner.list())
    } else {
      new = Listing(names: try inner.names())
    }
    listing.look { $0 = new }
    return new
  }

  /// What others have changed since it was listed shows from now on.
  func listAnew() {
    sealed?.listAnew()
    forgetListing()
  }

  private func forgetListing() {
    ahead.look { $0.listing = nil }
    listing.look { $0 = nil }
  }

  private func note(_ body: (inout Listing) -> Void) { listing.look { if $0 != nil { body(&$0!) } } }

  func names() throws(StoreError) -> [Bytes] { try listed().names }

  func list() throws(StoreError) -> [StoreItem] {
    var items: [StoreItem] = []
    // What vanished since it was listed is not there.
    for name in try names() { if let item = try listedItem(name) { items.append(item) } }
    return items
  }

  /// A file as it was when the folder was listed, where that tells its size; else as it is now. nil: it was not there.
  func listedItem(_ name: Bytes) throws(StoreError) -> StoreItem? {
    let listing = try listed()
    if let item = listing.items[name] { return item }
    return listing.has(name) ? try inner.item(name) : nil
  }

  /// As it is now.
  func item(_ name: Bytes) throws(StoreError) -> StoreItem? { try inner.item(name) }

  func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    var item = try listedFar(name)
    let isKept = Self.isKept(name)
    // What this run wrote was not listed.
    if item == nil, isKept, copies != nil { item = try inner.item(name) }
    guard let item else { return try inner.open(name) }
    guard let copies, isKept, item.kind == .file else { return try inner.open(listed: item) }
    if let copy = copies.copy(of: item, path: path.joined(name)) { return copy }
    let copy = copies.keep(item, try inner.open(listed: item), known: Set(try names()))
    guard Self.isManifest(name) else { return copy }
    // Where one is missing others may be, all of them where this machine has never seen the store.
    let listing = try listed()
    copies.keepAll(
      listing.items.values.lazy.filter { Self.isManifest($0.name) && $0.kind == .file },
      open: { [inner] (item) throws(StoreError) in try inner.open(listed: item) })
    return copy
  }

  /// Whether copies are kept of files with this name.
  private static func isKept(_ name: Bytes) -> Bool {
    isManifest(name) || name == Layout.readme || name == Layout.script
  }

  private static func isManifest(_ name: Bytes) -> Bool {
    name.hasSuffix(".mtree.gz") || name.hasSuffix(".mtree.gz.age")
  }

  func contents(_ name: Bytes, atMost limit: Int) throws(StoreError) -> Bytes {
    guard let item = try listedFar(name) else { return try inner.contents(name, atMost: limit) }
    if copies != nil, Self.isKept(name), item.size <= Int64(limit) { return try open(name).contents(atMost: limit) }
    return try inner.open(listed: item).contents(atMost: limit)
  }

  /// The file as the listing of a far store tells of it; nil: the store is near, or this run wrote the file since.
  /// Throws `missing` where a far store's listing does not have the name, so that the store is not asked in vain.
  private func listedFar(_ name: Bytes) throws(StoreError) -> StoreItem? {
    guard traits.isFar else { return nil }
    let listing = try listed()
    guard listing.has(name) else {
      throw StoreError(.missing, "open", path.joined(name), cause: "nothing has that name")
    }
    return listing.items[name]
  }

  // MARK: - What changes it

  func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput {
    note { $0.add(name) }
    return try inner.begin(name)
  }

  func begin(new name: Bytes) throws(StoreError) -> any StoreOutput {
    note { $0.add(name) }
    return try inner.begin(new: name)
  }

  func dropUnfinished() { inner.dropUnfinished() }

  func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    note { $0.add(name) }
    return try inner.resume(name, from: size)
  }

  func shorten(_ name: Bytes, to size: Int64) throws(StoreError) {
    note { $0.items[name] = nil }
    try inner.shorten(name, to: size)
  }

  /// Whoever takes a lock wants to know what is there from then on.
  func markLocked(_ name: Bytes) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock) {
    forgetListing()
    guard traits.isFar else { return try inner.markLocked(name) }
    let (state, lock, items) = try inner.markLockedAndList(name)
    listing.look { $0 = Listing(items) }
    return (state, lock)
  }

  func lock(_ name: Bytes?, exclusive: Bool) -> (state: StoreLockState, lock: (any StoreLock)?) {
    let result = inner.lock(name, exclusive: exclusive)
    if name == nil, result.state != .unknown { forgetListing() }
    return result
  }

  func mark(_ name: Bytes) throws(StoreError) {
    note { $0.add(name) }
    try inner.mark(name)
  }

  func touch(_ name: Bytes) throws(StoreError) { try inner.touch(name) }

  func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    try inner.rename(name, to: new)
    note {
      $0.remove(name)
      $0.add(new)
    }
  }

  func remove(_ name: Bytes) throws(StoreError) {
    ahead.look { $0.space = nil }
    try inner.remove(name)
    note { $0.remove(name) }
  }

  func patch(_ name: Bytes, at offset: Int64, _ bytes: Bytes) throws(StoreError) {
    note { $0.items[name] = nil }
    try inner.patch(name, at: offset, bytes)
  }

  func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) { try inner.setMode(name, mode) }
  func closeToOthers(where isAllOurs: () -> Bool) { inner.closeToOthers(where: isAllOurs) }
  func mendAccess(of name: Bytes?, isProgram: Bool) -> (before: UInt16, after: UInt16)? {
    inner.mendAccess(of: name, isProgram: isProgram)
  }
  func sync() throws(StoreError) { try inner.sync() }
  func makeFolder(_ name: Bytes) throws(StoreError) {
    try inner.makeFolder(name)
    note { $0.add(name) }
  }
  func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder {
    guard let item = try listedFar(name) else { return try inner.folder(name) }
    return try inner.folder(listed: item)
  }

  // MARK: - What is asked ahead

  /// Has a far store asked for what `space` will be asked for, while this thread goes on.
  func askForSpace() {
    guard traits.isFar else { return }
    let asked = Ahead { [inner] in inner.space() }
    ahead.look { $0.space = asked }
  }

  func space() -> (free: Int64, total: Int64)? {
    let asked = ahead.look { ahead in
      defer { ahead.space = nil }
      return ahead.space
    }
    return asked?.value ?? inner.space()
  }
}
