/// The records that let stock GNU tar delete what went away: `GNU.dumpdir` of a directory lists what belongs in it
/// (GNU tar's manual, "Dumpdir"). GNU tar looks names up by bisection, so they are sorted bytewise whatever their
/// letter: unsorted, live files would be deleted in silence.
import Posix

enum Dumpdir {
  /// libarchive 3.6.2 takes no pax record above 1 MiB.
  static let limit = 900_000

  /// Letters by type: `D` a directory, `Y` anything else, `N` what could not be looked at or was left out, so that tar
  /// leaves it alone. What was `lost` is left out of the list: so it goes.
  static func listing(
    _ listing: Listing, without lost: [Bytes], unseen: Set<Bytes> = [], kept: [Bytes] = []
  ) -> Bytes {
    let gone = Set(lost)
    var leftOut = listing.leftOut.filter { !gone.contains($0) }[...]
    if !kept.isEmpty { leftOut = (leftOut + kept).sorted { $0.lexicographicallyPrecedes($1) }[...] }
    var value = Bytes()
    func append(_ letter: UInt8, _ name: Bytes) {
      value.append(letter)
      value += name
      value.append(0)
    }
    for item in listing.items {
      let name = listing.name(item)
      while let other = leftOut.first, other.lexicographicallyPrecedes(name) {
        append(UInt8(ascii: "N"), other)
        leftOut.removeFirst()
      }
      append(
        item.failure != 0 || unseen.contains(name)
          ? UInt8(ascii: "N") : UInt8(ascii: item.status.kind == .directory ? "D" : "Y"), name)
    }
    for other in leftOut { append(UInt8(ascii: "N"), other) }
    value.append(0)
    return value
  }

  /// What a listing says of each name.
  static func letters(_ listing: Bytes) -> [Bytes: UInt8] {
    var letters: [Bytes: UInt8] = [:]
    for entry in listing.split(separator: 0) { letters[Bytes(entry.dropFirst())] = entry.first }
    return letters
  }

  /// The paths to which a record of renames moves something.
  static func targets(_ renames: Bytes) -> [Bytes] {
    renames.split(separator: 0).filter { $0.first == UInt8(ascii: "T") }.map { Bytes($0.dropFirst()) }
  }

  /// A listing of names, each a directory's or not.
  static func listing(_ names: [Bytes: Bool]) -> Bytes {
    var value = Bytes()
    for (name, isDirectory) in names.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      value.append(UInt8(ascii: isDirectory ? "D" : "Y"))
      value += name
      value.append(0)
    }
    value.append(0)
    return value
  }

  /// Renames, from one full path to another, in as few records as they fit.
  static func renames(_ pairs: [(from: Bytes, to: Bytes)]) -> [Bytes] {
    var records: [Bytes] = []
    var value = Bytes()
    for (from, to) in pairs {
      if value.count + from.count + to.count + 5 > limit {
        records.append(value + [0])
        value = []
      }
      value.append(UInt8(ascii: "R"))
      value += from
      value.append(0)
      value.append(UInt8(ascii: "T"))
      value += to
      value.append(0)
    }
    if !value.isEmpty { records.append(value + [0]) }
    return records
  }
}

/// Deletions in a directory whose listing does not fit a record: what went away is renamed into a directory made for
/// it beside, which the directory above then does not list.
struct LargePurge {
  let lister: Lister

  /// The comment of entries that are no part of the tree.
  static let mark = Bytes("sheaf purge")

  /// Of a directory that comes and goes.
  static func freeName(_ isTaken: (Bytes) -> Bool) -> Bytes {
    var number = 0
    while true {
      let name = MovedLines.purgePrefix + Bytes("\(number)".utf8)
      if !isTaken(name) { return name }
      number += 1
    }
  }

  /// Tar entries that come before the directory's own. nil where the directory above is above a source, or too large
  /// itself.
  func entries(of lost: [Bytes], in directory: Bytes) -> [PackItem]? {
    let (parent, _) = directory.splitAtName
    guard !directory.isEmpty, lister.sources.names(above: parent) == nil else { return nil }
    let listing = lister.list(parent)
    guard listing.failure == nil, let status = try? lister.root.openBeneath(parent, [.pathOnly, .directory]).status()
    else { return nil }
    let parentList = Dumpdir.listing(listing, without: [])
    guard parentList.count <= Dumpdir.limit else { return nil }
    let taken = Set(listing.items.map { listing.name($0) })
    let trash = parent.joined(Self.freeName { taken.contains($0) })
    var items: [PackItem] = [.directory(path: trash, status: status, dumpdir: [], comment: Self.mark)]
    let pairs = lost.enumerated().map { (from: directory.joined($1), to: trash.joined(Bytes("\($0)".utf8))) }
    for record in Dumpdir.renames(pairs) {
      items.append(.directory(path: trash, status: status, dumpdir: record, comment: Self.mark))
    }
    items.append(.directory(path: parent, status: status, dumpdir: parentList))
    return items
  }
}
