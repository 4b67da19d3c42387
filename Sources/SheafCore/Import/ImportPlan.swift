/// A first pass, which writes nothing: what has several names, whose contents will be stored, and what the archive was
/// made of.
import Posix
import Tar

final class ImportPlan: ImportSink {
  private(set) var groups = ImportedGroups()
  private(set) var wanted = OrdinalSet()
  /// What the archive has an entry of and of no directory above: what its maker was told to save.
  private(set) var tops: [Bytes] = []
  private static let topsLimit = 64

  func begin(_ directory: ImportDirectory?) {}
  func end(_ directory: ImportDirectory?) {}

  func take(_ found: ImportFound, in directory: ImportDirectory?) {
    switch found.result {
    case .kept: break
    case .new(let entry):
      if let ordinal = found.ordinal {
        if entry.needsContents(since: found.before, isNameOfMore: found.link != nil) { wanted.insert(ordinal) }
        if directory?.isTold != true { add(top: found.path) }
      }
    case .nothing, .orphan: return
    }
    if let link = found.link { groups.add(found.path, link) }
  }

  /// Where there are very many, the folders they lie in.
  private func add(top path: Bytes) {
    if tops.contains(where: { path.isAtOrBelow($0) }) { return }
    tops.append(path)
    while tops.count > Self.topsLimit {
      let deepest = tops.map { $0.count { $0 == 47 } }.max() ?? 0
      guard deepest > 0 else { return }
      tops = SourceTree.tops(tops.map { path in path.count { $0 == 47 } == deepest ? path.splitAtName.parent : path })
    }
  }
}

extension Entry {
  /// Whether the set must have its contents, because the point before has others at this path. Small ones are stored
  /// again where anything else differs, so that tar alone has it right.
  func needsContents(since before: ImportBefore?, isNameOfMore: Bool) -> Bool {
    guard kind == .file, storedSize > 0 || isStoredSparse else { return false }
    guard let before, !before.isVacated, before.kind == .file, let old = before.entry, hasContents(of: old) else {
      return true
    }
    if storedSize > Packer.smallLimit { return false }
    let (text, canonical) = line
    return isNameOfMore || !text[..<canonical].elementsEqual(before.text[..<before.canonical])
  }

  /// Whether what is stored of `old` is what would be stored of this one.
  func hasContents(of old: Entry) -> Bool {
    old.kind == .file && !old.isCarried && old.size == size && old.digest == digest
      && old.isStoredSparse == isStoredSparse && (!isStoredSparse || old.holes == holes)
  }
}
