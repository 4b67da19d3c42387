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
    /// Of no meaning where `failure` is set.
    var status: Status
  }

  /// The source's absolute path without the leading slash.
  let path: Bytes
  fileprivate(set) var names: Bytes = []
  fileprivate(set) var items: [Item] = []
  /// Why the directory could not be listed; nothing is known of what is in it then.
  fileprivate(set) var failure: SystemError?
  /// Of the directory itself.
  fileprivate(set) var device: UInt64 = 0
  /// Above a source: holds only what leads to sources.
  fileprivate(set) var isAboveSource = false
  /// How many names the exclusions left out.
  fileprivate(set) var excluded = 0
  /// Names that are there and are not saved: excluded ones, sockets, the store; sorted.
  fileprivate(set) var leftOut: [Bytes] = []
  /// The store lies in it and was passed over.
  fileprivate(set) var holdsStore = false
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
  let root: Descriptor
  let rules: WalkRules
  let sources: SourceTree

  /// Never throws: what could not be looked at is said in the listing. `isBoundary`: the directory belongs to another
  /// file system and stays empty.
  func list(_ path: Bytes, isBoundary: Bool) -> Listing {
    let listing = Listing(path: path)
    if isBoundary { return listing }
    do throws(SystemError) {
      if let wanted = sources.names(above: path) {
        listing.isAboveSource = true
        // The way to a source is looked up, not listed: the directory need not be readable.
        let directory = try root.openBeneath(path, [.pathOnly, .directory])
        var list = [Int32]()
        for name in wanted {
          list.append(Int32(listing.names.count))
          listing.names += name + [0]
        }
        fill(listing, list, directory)
      } else {
        let directory = try root.openBeneath(path, [.read, .directory, .noAccessTime])
        let names = try directory.names()
        listing.names = names.bytes
        if rules.exclusions.oneFileSystem { listing.device = try directory.status().device }
        fill(listing, names.starts.map { Int32($0) }, directory)
      }
    } catch { listing.failure = error }
    return listing
  }

  private func fill(_ listing: Listing, _ starts: [Int32], _ directory: Descriptor) {
    listing.names.withUnsafeBytes { raw in
      guard let base = raw.baseAddress?.assumingMemoryBound(to: CChar.self) else { return }
      let bytes = raw.bindMemory(to: UInt8.self)
      var sorted: [(start: Int32, length: Int32, key: UInt64)] = []
      sorted.reserveCapacity(starts.count)
      for start in starts {
        let name = base + Int(start)
        let length = Int32(strlen(name))
        // The first eight bytes decide most comparisons.
        var key: UInt64 = 0
        for index in 0..<8 { key = key << 8 | (index < Int(length) ? UInt64(bytes[Int(start) + index]) : 0) }
        sorted.append((start, length, key))
      }
      sorted.sort { a, b in
        if a.key != b.key { return a.key < b.key }
        return PathOrder.compareNames(
          UnsafeBufferPointer(rebasing: bytes[Int(a.start)..<Int(a.start + a.length)]),
          UnsafeBufferPointer(rebasing: bytes[Int(b.start)..<Int(b.start + b.length)])) < 0
      }
      let kept =
        listing.isAboveSource || !rules.exclusions.hasMarkers
        ? nil
        : rules.exclusions.keptAlone(
          of: sorted.map { UnsafeBufferPointer(rebasing: bytes[Int($0.start)..<Int($0.start + $0.length)]) },
          in: directory)
      listing.items.reserveCapacity(sorted.count)
      for (start, length, _) in sorted {
        let name = UnsafeBufferPointer(rebasing: bytes[Int(start)..<Int(start + length)])
        if let kept, !kept.contains(where: { $0.elementsEqual(name) }) {
          listing.excluded += 1
          listing.leftOut.append(Bytes(name))
          continue
        }
        var item = Listing.Item(nameStart: start, nameLength: length, failure: 0, status: .unknown)
        if let status = directory.status(of: base + Int(start)) {
          item.status = status
          item.isAbove = listing.isAboveSource && sources.names(above: listing.path.joined(Bytes(name))) != nil
          if let store = rules.store, status.inode == store.inode, status.device == store.device {
            listing.holdsStore = true
            listing.leftOut.append(Bytes(name))
            continue
          }
          if status.kind == .socket {
            listing.sockets.append(Bytes(name))
            listing.leftOut.append(Bytes(name))
            continue
          }
          if !listing.isAboveSource, rules.exclusions.leavesOut(name, status, of: listing.path) {
            listing.excluded += 1
            listing.leftOut.append(Bytes(name))
            continue
          }
        } else {
          item.failure = errno
        }
        listing.items.append(item)
      }
    }
  }
}
