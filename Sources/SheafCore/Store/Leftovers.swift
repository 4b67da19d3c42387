/// What a run that ended early left in a series under partial names.
import Posix
import Storage
import Tar

struct Leftovers {
  struct Volume {
    /// From 1.
    var number: Int
    var name: Bytes
    /// The name is not for good: what a manifest names has another one, or is named by none yet.
    var isPartial: Bool
    /// Bytes.
    var size: Int64
  }
  let set: SetName
  /// The manifest as far as the run had written it, which is the archive's journal.
  var journal: Bytes?
  /// A manifest that an earlier attempt to take the run over had written.
  var taken: Bytes?
  /// In order.
  var volumes: [Volume] = []

  static let takenSuffix = Bytes(".taken.partial")

  /// Whether no volume has a name for good: then the archive may not have come to its end.
  var isUnpublished: Bool { volumes.allSatisfy(\.isPartial) }

  /// Of the volumes that have partial names.
  var partialBytes: Int64 { volumes.filter(\.isPartial).map(\.size).saturatedSum }

  init(_ set: SetName) { self.set = set }
}

extension Series {
  /// The sets of interrupted runs, oldest first, and the names of partial files that belong to none.
  func leftovers() throws(Failure) -> (sets: [Leftovers], others: [Bytes]) {
    let names = try stored { () throws(StoreError) in try folder.names() }
    let known = Set(names)
    var found: [SetName: Leftovers] = [:]
    var others: [Bytes] = []
    for name in names where name.suffix(NewStoredFile.partialSuffix.count).elementsEqual(NewStoredFile.partialSuffix) {
      guard try stored({ () throws(StoreError) in try folder.item(name)?.kind }) == .file else { continue }
      let text = name.dropLast(NewStoredFile.partialSuffix.count)
      if let (set, rest) = SetName.parse(Bytes(text)) {
        if rest == Bytes(".mtree.gz") {
          found[set, default: Leftovers(set)].journal = name
          continue
        }
        if rest == Bytes(".mtree.gz.taken") {
          found[set, default: Leftovers(set)].taken = name
          continue
        }
        if SetName.volumeNumber(rest) != nil {
          found[set, default: Leftovers(set)].volumes = []
          continue
        }
        // Of a set, and no journal. All else is not ours.
        others.append(name)
      }
    }
    for name in names {
      let hasSuffix = name.suffix(NewStoredFile.partialSuffix.count).elementsEqual(NewStoredFile.partialSuffix)
      guard let (set, rest) = SetName.parse(hasSuffix ? Bytes(name.dropLast(NewStoredFile.partialSuffix.count)) : name),
        found[set] != nil, let number = SetName.volumeNumber(rest)
      else { continue }
      // Where nothing is renamed, volumes have their names before they are a set's.
      let isPartial = hasSuffix || !folder.traits.renames && !known.contains(Bytes(set.manifest.utf8))
      guard let item = try stored({ () throws(StoreError) in try folder.item(name) }), item.kind == .file else {
        continue
      }
      found[set]!.volumes.append(.init(number: number, name: name, isPartial: isPartial, size: item.size))
    }
    for set in found.keys { found[set]!.volumes.sort { $0.number < $1.number } }
    return (found.values.sorted { $0.set < $1.set }, others)
  }

  /// Of encrypted volumes the bytes of their contents.
  func withContentSizes(_ left: Leftovers) throws(StoreError) -> Leftovers {
    guard folder.sealed != nil else { return left }
    var left = left
    for index in left.volumes.indices { left.volumes[index].size = try folder.open(left.volumes[index].name).size }
    return left
  }

  /// Of the bytes in the store.
  func storedDigest(ofVolume name: Bytes) throws(StoreError) -> Digest {
    if let form = try form(ofVolume: name) { return form.digest }
    return try folder.open(name).digest()
  }

  /// How many runs left something under partial names, and its bytes.
  public func interrupted() throws(Failure) -> (sets: Int, bytes: Int64) {
    let sets = try leftovers().sets
    return (sets.count, sets.map(\.partialBytes).saturatedSum)
  }

  /// Removes what interrupted runs left. An archive that has its final name stays: a manifest can be made for it.
  /// `sparingBackups`: only what a fold left, which is begun anew. Only under the series' lock.
  func removeLeftovers(sparingBackups: Bool = false) throws(Failure) {
    let (sets, others) = try leftovers()
    for left in sets where !sparingBackups || left.set.number > 1 { try remove(left) }
    for name in others { try stored { () throws(StoreError) in try folder.remove(name) } }
  }

  func remove(_ left: Leftovers) throws(Failure) {
    // The journal last: as long as it is there, what it tells of can be recognized.
    let names = left.volumes.filter(\.isPartial).map(\.name) + [left.taken, left.journal].compactMap { $0 }
    for name in names {
      do throws(StoreError) { try folder.remove(name) } catch {
        guard error.kind == .missing else { throw Failure(error) }
      }
    }
  }
}

extension SetName {
  /// The set that a file's name begins with, and what follows.
  static func parse(_ name: Bytes) -> (set: SetName, rest: Bytes)? {
    guard let dot = name.firstIndex(of: UInt8(ascii: ".")), let set = SetName(name[..<dot]) else {
      return nil
    }
    return (set, Bytes(name[dot...]))
  }

  /// Of `.tar.gz` (1) or `.tar.gz.NNN`; nil for anything else.
  static func volumeNumber(_ rest: Bytes) -> Int? {
    let suffix = Bytes(".tar.gz")
    guard rest.starts(with: suffix) else { return nil }
    let number = rest.dropFirst(suffix.count)
    if number.isEmpty { return 1 }
    guard number.first == UInt8(ascii: "."), number.count <= 10,
      number.dropFirst().allSatisfy({ (48...57).contains($0) })
    else { return nil }
    return Int(Bytes(number.dropFirst()).shown)
  }
}
