/// When a set goes and another one for the same point has its files, manifests that name places in the old set are
/// rewritten to name the new ones. Archives stay as they are.
import Posix
import Storage
import Tar

struct Relocation {
  /// Sets that are to go.
  let going: [SetName]
  let series: Series

  /// Writes anew what must be, and gives the sets that can go now, with those manifests that were replaced. What stays
  /// needed is left out. The memory this takes grows with the number of files that lie in sets that go.
  func run() throws(Failure) -> (removable: [SetName], kept: [SetName]) {
    var ids: [SetID: SetName] = [:]
    for set in going { ids[try series.head(set).id] = set }
    // A set and its rewritten manifest are one archive.
    let all = try series.allSets()
    let lineage = try Lineage(series)
    let leaving = Set(going)
    let staying = lineage.sets.filter { !leaving.contains($0) && lineage.isKnown($0) }
    for set in staying { if let id = (try? series.head(set))?.id { ids[id] = nil } }
    let points = ids.values.map(\.point).sorted()
    var places: Places = [:]
    var touched: [SetName] = []
    for (index, set) in staying.enumerated() {
      guard try mayTell(set, of: points, lineage) else { continue }
      var isTouched = false
      try visit(set) { entry in
        for extent in entry.extents where ids[extent.set] != nil {
          if places[extent.place] == nil { places[extent.place] = Wanted(by: index) }
          isTouched = true
        }
      }
      if isTouched { touched.append(set) }
    }
    guard !touched.isEmpty else { return (going, []) }
    // Only sets for the same point have the same files.
    let twins = Dictionary(grouping: all, by: \.point).filter { $0.value.count > 1 }
    for (index, set) in staying.enumerated() {
      guard let others = twins[set.point], places.values.contains(where: { $0.found == nil }) else { continue }
      for old in others where old != set {
        do throws(Failure) { try findPlaces(&places, of: old, now: (set, index), ids) } catch {
          // What is not found stays needed.
          guard error.kind == .damaged || error.kind == .failed else { throw error }
        }
      }
    }
    var missing: Set<SetID> = []
    for (key, place) in places where place.found == nil { missing.insert(key.set) }
    var kept: Set<SetName> = []
    var seen: Set<SetName> = []
    // A set stays with all that it builds on, and with those that its own files lie in.
    var open = missing.compactMap { ids[$0] }
    while let set = open.popLast() {
      guard seen.insert(set).inserted else { continue }
      if leaving.contains(set) { kept.insert(set) }
      if let parent = try? lineage.parent(of: set) { open.append(parent) }
      if set.kind == .full { open += try series.holders(for: set) }
    }
    var replaced: [SetName] = []
    for set in touched where try rewrite(set, places) { replaced.append(set) }
    return (going.filter { !kept.contains($0) } + replaced, kept.sorted())
  }

  /// Where what lies in sets that go is found in sets that stay.
  private typealias Places = [Extent.Place: Wanted]

  private struct Wanted {
    /// The oldest set, by its index, whose manifest names the place. A newer set cannot stand in: it may be removed first.
    let by: Int
    var found: [Extent]?
  }

  /// Manifests that cannot tell of such places need not be read. A chain tells of what came with it, unless it was
  /// written anew or began with something unseen. A manifest that was written anew may tell of anything.
  /// `points`: of the sets where the places are, sorted.
  private func mayTell(_ set: SetName, of points: [String], _ lineage: Lineage) throws(Failure) -> Bool {
    if set.number > 1 { return true }
    let full = try lineage.full(of: set)
    let unseen = try series.foot(full).counts.unseen
    let isOwn = full.number == 1 && unseen == 0
    if set == full, isOwn { return false }
    guard let newest = points.last(notAfter: set.point) else { return false }
    return !isOwn || newest >= full.point
  }

  private func visit(_ set: SetName, _ body: (Entry) -> Void) throws(Failure) {
    let reader = try series.manifest(set)
    while try reader.next() {
      guard reader.line.what == .entry, reader.line.kind == .file else { continue }
      guard let entry = reader.line.entry() else {
        throw .damaged("\(set.manifest): line \(reader.lineNumber) cannot be read")
      }
      body(entry)
    }
  }

  /// Both sets stand for the same point: their trees have the same paths.
  private func findPlaces(
    _ places: inout Places, of old: SetName, now new: (set: SetName, index: Int), _ ids: [SetID: SetName]
  ) throws(Failure) {
    let before = try series.tree(series.chain(of: old))
    let after = try series.tree(series.chain(of: new.set))
    while try before.next() {
      guard try after.next() else { return }
      guard before.line.kind == .file else { continue }
      guard before.line.canonical.elementsEqual(after.line.canonical), let entry = before.line.entry(),
        let extents = after.line.entry()?.extents
      else { return }
      guard entry.extents.count == 1, let wanted = places[entry.extents[0].place], wanted.found == nil,
        new.index <= wanted.by, extents.allSatisfy({ ids[$0.set] == nil })
      else { continue }
      places[entry.extents[0].place]?.found = extents
    }
  }

  /// The same manifest with other places, which counts from now on. False: there is nothing to be changed in it.
  private func rewrite(_ set: SetName, _ places: Places) throws(Failure) -> Bool {
    let successor = SetName(point: set.point, kind: set.kind, number: try series.nextNumber(set.point))
    let reader = try series.manifest(set, checked: true)
    let file = NewStoredFile(Bytes(successor.manifest.utf8), in: series.folder)
    do throws(Failure) {
      let writer = try stored { () throws(StoreError) in try ManifestWriter(file, head: reader.head) }
      let lines = Buffer(capacity: 1 << 18)
      reader.onOther = { text in
        lines.append(text.baseAddress!, text.count)
        lines.append(UInt8(ascii: "\n"))
      }
      reader.onMove = { ManifestSyntax.append($0, to: lines) }
      var isChanged = false
      while try reader.next() {
        if reader.line.what == .entry, reader.line.kind == .file, var entry = reader.line.entry(),
          entry.extents.count == 1, let place = places[entry.extents[0].place]?.found
        {
          entry.extents = place
          entry.appendLine(to: lines)
          isChanged = true
        } else {
          lines.append(reader.text.baseAddress!, reader.text.count)
          lines.append(UInt8(ascii: "\n"))
        }
        if lines.count > 1 << 17 {
          try stored { () throws(StoreError) in try writer.append(lines.bytes) }
          lines.count = 0
        }
      }
      guard isChanged, let foot = reader.foot else {
        file.discard()
        return false
      }
      try stored { () throws(StoreError) in
        try writer.append(lines.bytes)
        try writer.finish(foot)
        try file.finish()
        try file.publish()
      }
      return true
    } catch {
      file.discard()
      throw error
    }
  }
}

extension [String] {
  /// Of a sorted array.
  fileprivate func last(notAfter limit: String) -> String? {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] <= limit { low = middle + 1 } else { high = middle }
    }
    return low > 0 ? self[low - 1] : nil
  }
}
