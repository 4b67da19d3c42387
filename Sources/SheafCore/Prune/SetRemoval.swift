/// Takes sets away. A manifest's name is what makes a set, so it goes first: it is renamed, which needs no room and
/// leaves a note of what is still to be removed, should the run end here.
import Posix
import Storage
import Tar

extension Series {
  private static let suffix = ".pruned"

  /// Removes sets, children before what they build on, and the volumes that no other manifest names. Only under the
  /// series' lock.
  func remove(_ sets: [SetName]) throws(Failure) {
    guard !sets.isEmpty else { return }
    try stored { () throws(StoreError) in
      for set in sets.sorted().reversed() {
        try folder.rename(Bytes(set.manifest.utf8), to: Bytes((set.text + Self.suffix).utf8))
      }
      try folder.sync()
    }
    try finishRemovals(hasNoReaders: true)
  }

  /// Finishes removals, also those of an earlier run. `hasNoReaders`: the caller knows that nobody reads archives. Else
  /// nothing is removed while somebody does.
  func finishRemovals(hasNoReaders: Bool = false) throws(Failure) {
    let going = try removals()
    guard !going.isEmpty, hasNoReaders || !isBeingRead else { return }
    let staying = try volumes()
    try stored { () throws(StoreError) in
      for (mark, set, volumes) in going {
        // A volume's name begins as its set's does, whatever a manifest says.
        for volume in volumes where volume.hasPrefix(set.point) && !staying.contains(volume) {
          do throws(StoreError) { try folder.remove(Bytes(volume.utf8)) } catch {
            guard error.kind == .missing else { throw error }
          }
        }
        try folder.remove(mark)
      }
      try folder.sync()
    }
  }

  /// What is marked for removal, with the volumes it names.
  private func removals() throws(Failure) -> [(mark: Bytes, set: SetName, volumes: [String])] {
    var found: [(Bytes, SetName, [String])] = []
    for name in try stored({ () throws(StoreError) in try folder.names() }) {
      let text = name.shown
      guard text.hasSuffix(Self.suffix), let set = SetName(String(text.dropLast(Self.suffix.utf8.count))) else {
        continue
      }
      let file = try stored { () throws(StoreError) in try folder.open(name) }
      found.append((name, set, (try? ManifestIndex(file, name: text))?.foot.volumes.map(\.name) ?? []))
    }
    return found
  }

  /// The volumes that manifests name. What one that cannot be read names is not known: that may be all of its point's.
  private func volumes() throws(Failure) -> Set<String> {
    var names: Set<String> = []
    var unread: Set<String> = []
    for set in try allSets() {
      if let foot = try? foot(set) { names.formUnion(foot.volumes.map(\.name)) } else { unread.insert(set.point) }
    }
    guard !unread.isEmpty else { return names }
    for (set, volumes) in try archives() where unread.contains(set.point) { names.formUnion(volumes.map(\.shown)) }
    return names
  }

  /// The volumes of archives that have no manifest of their own name, and need none: another set's names them, or they
  /// are about to be removed.
  func volumesOfOthers() throws(Failure) -> Set<String> {
    var names = Set(try removals().flatMap(\.volumes))
    for set in try allSets() { if let foot = try? foot(set) { names.formUnion(foot.volumes.map(\.name)) } }
    return names
  }

  /// Bytes of a set's files.
  func size(of set: SetName) -> Int64 {
    var size = (try? folder.item(Bytes(set.manifest.utf8)))?.size ?? 0
    for volume in (try? foot(set))?.volumes ?? [] { size.add(saturating: volume.storedSize) }
    return size
  }
}
