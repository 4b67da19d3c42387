/// One directory as the walk found it: its names, sorted bytewise, each with its status.
import Glibc
import Posix

final class Listing: @unchecked Sendable {
  struct Item {
    /// Where the name starts in `names`; it ends with a NUL.
    var nameStart: Int32
    var nameLength: Int32
    /// The error number where the name could not be looked at; 0 where it could.
    var failure: Int32
    /// A directory that only leads to sources: it is saved for its owner and mode, but not itself asked for.
    var isAbove = false
    /// A directory that is left out, but for what leads to a source in it.
    var isWay = false
    /// The file system does not have it: a stream, or a directory that leads to one. Where it has failed, that was told.
    var isMade = false
    /// Of no meaning where `failure` is set.
    var status: Status
  }

  /// The source's absolute path without the leading slash.
  let path: Bytes
  fileprivate(set) var names: Bytes = []
  fileprivate(set) var items: [Item] = []
  /// Why the directory could not be listed; nothing is known of what is in it then.
  fileprivate(set) var failure: SystemError?
  /// Of the directory itself, when it was listed; 0 where it was not.
  fileprivate(set) var device: UInt64 = 0
  /// It is on another file system, and left out for that.
  fileprivate(set) var isBoundary = false
  /// Its names changed while they were listed, as often as that was tried: some may be missing.
  fileprivate(set) var isUnsettled = false
  /// Above a source: holds only what leads to sources.
  fileprivate(set) var isAboveSource = false
  /// How many names the exclusions left out.
  fileprivate(set) var excluded = 0
  /// Names that are there and are not saved: excluded ones, sockets, the store; sorted.
  fileprivate(set) var leftOut: [Bytes] = []
  /// The store lies in it and was passed over.
  fileprivate(set) var holdsStore = false
  /// What a file that is made of a stream is made of, by its number among the items.
  fileprivate(set) var streams: [Int: StreamFile] = [:]
  /// Sockets, which no tar can hold.
  fileprivate(set) var sockets: [Bytes] = []

  init(path: Bytes) { self.path = path }

  @inline(__always)
  func withName<R, E: Error>(_ item: Item, _ body: (UnsafeBufferPointer<UInt8>) throws(E) -> R) throws(E) -> R {
    var result: Result<R, E>?
    names.withUnsafeBufferPointer { all in
      let name = UnsafeBufferPointer(rebasing: all[Int(item.nameStart)..<Int(item.nameStart + item.nameLength)])
      do throws(E) { result = .success(try body(name)) } catch { result = .failure(error) }
    }
    return try result!.get()
  }

  /// Whether `name` is there and is not saved.
  func leavesOut(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
    var (low, high) = (0, leftOut.count)
    while low < high {
      let middle = (low + high) / 2
      let order = leftOut[middle].withUnsafeBufferPointer { PathOrder.compareNames($0, name) }
      if order == 0 { return true }
      if order < 0 { low = middle + 1 } else { high = middle }
    }
    return false
  }

  func name(_ item: Item) -> Bytes { Bytes(names[Int(item.nameStart)..<Int(item.nameStart + item.nameLength)]) }
}

/// What a walk visits and what it leaves out.
struct WalkRules: Sendable {
  var exclusions = ExclusionRules()
  /// The store's own directory (device and inode), which is never saved.
  var store: (device: UInt64, inode: UInt64)?
}

/// Lists one directory by the rules.
struct Lister: Sendable {
  let root: SourceRoot
  let rules: WalkRules
  let sources: SourceTree
  var streams = StreamTable()
  /// The clock; without it nobody knows whether a directory was changed just now.
  var clock: (@Sendable () -> Timestamp)?

  /// Where `sheaf mount` shows points: with those a source would grow by all that was ever saved of it.
  private let shownPoints = MountTable.current()?.devices(ofType: Bytes("fuse.sheaf")) ?? []

  /// Whether a file system below a source is left out, unless it is named as a source itself.
  func leavesOut(device: UInt64) -> Bool { rules.exclusions.oneFileSystem || shownPoints.contains(device) }

  /// How a directory is listed.
  enum Extent {
    case whole
    /// It belongs to another file system and stays empty.
    case boundary
    /// It is left out, but for the names that lead to a source in it.
    case way
  }

  /// So often a directory is listed whose names change meanwhile.
  private static let tries = 6
  /// Nanoseconds. Times of files count the kernel's ticks: two changes within one look like one.
  private static let tick: Int64 = 20_000_000

  /// Never throws: what could not be looked at is said in the listing. `status`: of the directory, as it was found.
  /// Where names come and go while they are read, the system may leave out others (and give some twice), so the
  /// directory is listed again, and opened anew for it: not every file system can be read again from its beginning.
  func list(_ path: Bytes, _ extent: Extent = .whole, status: Status? = nil) -> Listing {
    var before = status
    for _ in 1..<Self.tries {
      let (listing, after) = look(path, extent)
      guard let after, listing.failure == nil else { return listing }
      let isFresh = isFresh(after)
      if !isFresh, before.map({ $0.modified == after.modified && $0.changed == after.changed }) ?? true {
        return listing
      }
      before = after
      if isFresh { Thread.sleep(nanoseconds: Self.tick) }
    }
    let (listing, after) = look(path, extent)
    listing.isUnsettled =
      after.map { $0.modified != before?.modified || $0.changed != before?.changed || isFresh($0) } ?? false
    return listing
  }

  /// Whether a change that is not over may show the same times.
  private func isFresh(_ status: Status) -> Bool {
    guard let now = clock?() else { return false }
    let last = max(status.modified, status.changed)
    let (seconds, isFar) = now.seconds.subtractingReportingOverflow(last.seconds)
    guard !isFar, abs(seconds) <= 1 else { return false }
    return abs(seconds * 1_000_000_000 + Int64(now.nanoseconds) - Int64(last.nanoseconds)) < Self.tick
  }

  /// Lists once; with the directory's status afterwards, where the listing depends on its names.
  private func look(_ path: Bytes, _ extent: Extent) -> (Listing, Status?) {
    let listing = Listing(path: path)
    listing.isBoundary = extent == .boundary
    if listing.isBoundary { return (listing, nil) }
    do throws(SystemError) {
      let above = sources.names(above: path)
      listing.isAboveSource = above != nil
      if let wanted = above ?? (extent == .way ? sources.names(inside: path) : nil) {
        // The way to a source is looked up, not listed: the directory need not be readable.
        let directory = try root.openBeneath(path, [.pathOnly, .directory])
        let list = append(wanted, to: listing)
        if rules.exclusions.oneFileSystem { listing.device = try directory.status().device }
        fill(listing, list, directory, isWay: extent == .way)
        return (listing, nil)
      }
      let directory = try root.openBeneath(path, [.read, .directory, .noAccessTime])
      let names = try directory.names()
      listing.names = names.bytes
      if rules.exclusions.oneFileSystem { listing.device = try directory.status().device }
      var starts = names.starts.map { Int32($0) }
      starts += append(root.mappedNames(in: path), to: listing)
      if !streams.isEmpty, let made = streams[path] { starts += append(Array(made.keys), to: listing) }
      fill(listing, starts, directory)
      let after = try directory.status()
      listing.device = after.device
      // In the place of a subvolume a snapshot has a directory whose times are those of whoever looks.
      if after.inode == 2, listing.names.isEmpty, directory.isBtrfs { return (listing, nil) }
      return (listing, after)
    } catch {
      let names = Set((streams[path] ?? [:]).keys).union(root.mappedNames(in: path))
      if error.isMissing, !names.isEmpty {
        listing.isAboveSource = true
        listing.names = []
        fill(listing, append(Array(names), to: listing), nil)
      } else {
        listing.failure = error
      }
    }
    return (listing, nil)
  }

  /// Where each begins.
  private func append(_ names: [Bytes], to listing: Listing) -> [Int32] {
    names.map { name in
      defer { listing.names += name + [0] }
      return Int32(listing.names.count)
    }
  }

  /// `directory`: nil where it is not there.
  private func fill(_ listing: Listing, _ starts: [Int32], _ directory: Descriptor?, isWay: Bool = false) {
    let made = streams.isEmpty ? nil : streams[listing.path]
    let mapped = root.mappedNames(in: listing.path)
    listing.names.withUnsafeBytes { raw in
      guard let base = raw.baseAddress?.assumingMemoryBound(to: CChar.self) else { return }
      let bytes = raw.bindMemory(to: UInt8.self)
      let sorted = Self.sorted(starts, base, bytes)
      var kept: [Bytes]?
      if let directory, !listing.isAboveSource, !isWay, rules.exclusions.hasMarkers {
        kept = rules.exclusions.keptAlone(of: sorted.map { Self.name($0.start, $0.length, bytes) }, in: directory)
      }
      let ways = listing.isAboveSource ? [] : sources.names(inside: listing.path)
      listing.items.reserveCapacity(sorted.count)
      var previous: UnsafeBufferPointer<UInt8>?
      for (start, length, _) in sorted {
        let name = Self.name(start, length, bytes)
        // Names that come and go while they are read may be given twice.
        if let previous, previous.isSame(as: name) { continue }
        previous = name
        let leadsToSource = !ways.isEmpty && ways.contains { $0.elementsEqual(name) }
        var isLeftOut = isWay
        if let kept, !kept.contains(where: { $0.elementsEqual(name) }) {
          isLeftOut = true
          if !leadsToSource {
            listing.excluded += 1
            listing.leftOut.append(Bytes(name))
            continue
          }
        }
        var item = Listing.Item(nameStart: start, nameLength: length, failure: 0, status: .unknown)
        let isMapped = !mapped.isEmpty && mapped.contains { name.isSame(as: $0) }
        let mappedPath = isMapped ? listing.path.joined(Bytes(name)) : nil
        let (found, failure) = mappedPath.map(statusOfMapped) ?? Self.status(of: base + Int(start), in: directory)
        if let place = made?[Bytes(name)], make(&item, place, found, failure, in: listing) {
          listing.items.append(item)
          continue
        }
        if let status = found {
          item.status = status
          item.isAbove = listing.isAboveSource && sources.names(above: listing.path.joined(Bytes(name))) != nil
          if isStoreOrSocket(name, status, of: listing) {
            listing.leftOut.append(Bytes(name))
            continue
          }
          if leadsToSource {
            isLeftOut = isLeftOut || rules.exclusions.leavesOut(name, status, of: listing.path)
            if rules.exclusions.oneFileSystem, status.device != listing.device { isLeftOut = true }
            item.isWay = isLeftOut && !sources.isSource(listing.path.joined(Bytes(name)))
          } else if !listing.isAboveSource, rules.exclusions.leavesOut(name, status, of: listing.path) {
            listing.excluded += 1
            listing.leftOut.append(Bytes(name))
            continue
          }
        } else {
          item.failure = failure
        }
        listing.items.append(item)
      }
    }
  }

  /// The names that begin at `starts`, in the order of the tree. `key`: the first eight bytes, which decide most comparisons.
  private static func sorted(
    _ starts: [Int32], _ base: UnsafePointer<CChar>, _ bytes: UnsafeBufferPointer<UInt8>
  ) -> [(start: Int32, length: Int32, key: UInt64)] {
    var sorted: [(start: Int32, length: Int32, key: UInt64)] = []
    sorted.reserveCapacity(starts.count)
    for start in starts {
      let length = Int32(strlen(base + Int(start)))
      var key: UInt64 = 0
      for index in 0..<8 { key = key << 8 | (index < Int(length) ? UInt64(bytes[Int(start) + index]) : 0) }
      sorted.append((start, length, key))
    }
    sorted.sort { a, b in
      if a.key != b.key { return a.key < b.key }
      return PathOrder.compareNames(name(a.start, a.length, bytes), name(b.start, b.length, bytes)) < 0
    }
    return sorted
  }

  @inline(__always)
  private static func name(
    _ start: Int32, _ length: Int32, _ bytes: UnsafeBufferPointer<UInt8>
  ) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(rebasing: bytes[Int(start)..<Int(start + length)])
  }

  /// Or the error number.
  @inline(__always)
  private static func status(of name: UnsafePointer<CChar>, in directory: Descriptor?) -> (Status?, Int32) {
    guard let directory else { return (nil, ENOENT) }
    let found = directory.status(of: name)
    return (found, errno)
  }

  private func statusOfMapped(_ path: Bytes) -> (Status?, Int32) {
    do throws(SystemError) { return (try root.status(of: path), 0) } catch { return (nil, error.code) }
  }

  /// What is never saved. The listing notes it.
  private func isStoreOrSocket(_ name: UnsafeBufferPointer<UInt8>, _ status: Status, of listing: Listing) -> Bool {
    if let store = rules.store, status.inode == store.inode, status.device == store.device {
      listing.holdsStore = true
      return true
    }
    if status.kind == .socket { listing.sockets.append(Bytes(name)) }
    return status.kind == .socket
  }

  /// Makes an item of a stream or of a directory that leads to one; false where what the file system has counts.
  private func make(
    _ item: inout Listing.Item, _ place: StreamTable.Place, _ found: Status?, _ failure: Int32, in listing: Listing
  ) -> Bool {
    let isMissing = found == nil && (failure == ENOENT || failure == ENOTDIR)
    switch place {
    case .file(let file, let status):
      item.status = status
      listing.streams[listing.items.count] = file
      file.markFound()
    case .unseen(let yields):
      if yields, !isMissing { return false }
      item.failure = ENOENT
    case .directory(let status):
      guard isMissing else { return false }
      item.status = status
      item.isAbove = true
    }
    item.isMade = true
    return true
  }
}
