/// An archive beside the point before, both in the order of a tree: what the new point has at each path.
import Posix
import Tar

/// What the point before has at a path.
struct ImportBefore {
  /// Its line, without the newline.
  let text: Bytes
  let canonical: Int
  let kind: FileKind
  /// Another set than one that has it at this path tells of it: it was moved here, by itself or with a directory.
  let isElsewhere: Bool
  let isMovedItself: Bool
  /// It was moved away, and nothing came in its place.
  let isVacated: Bool
  let isUnseen: Bool
  /// The first name of what it is a name of, where it tells of several.
  let firstName: Bytes?

  init(_ tree: OldTree) {
    let line = tree.line
    text = Bytes(line.text)
    canonical = line.canonicalLength
    kind = line.kind
    isElsewhere = tree.isElsewhere
    isMovedItself = tree.move != nil
    isVacated = tree.isVacated
    isUnseen = tree.isUnseen
    firstName =
      line.kind == .directory ? nil : line.hasHardLink ? line.hardLink : line.links > 1 ? Bytes(line.path) : nil
  }

  var entry: Entry? { text.withUnsafeBufferPointer { Entry(line: $0) } }
}

extension Entry {
  /// nil where the line cannot be read.
  fileprivate init?(line: UnsafeBufferPointer<UInt8>) {
    var parsed = Line()
    guard parsed.parse(entry: line, scratch: Buffer()), let entry = parsed.entry() else { return nil }
    self = entry
  }
}

/// One path, and what becomes of it.
struct ImportFound {
  enum Result {
    /// As it was.
    case kept
    case new(Entry)
    case nothing
    /// Nothing, and what was there lay in something that is no directory any more.
    case orphan
  }
  let path: Bytes
  let result: Result
  let before: ImportBefore?
  /// What it is a name of, where that may have more.
  var link: LinkKey?
  /// The place of its entry in the archive.
  var ordinal: Int64?
}

/// A directory of the new point.
struct ImportDirectory {
  let path: Bytes
  let entry: Entry
  /// The archive has an entry of it.
  let isTold: Bool
  /// The archive has a list of what is in it.
  let isListed: Bool
}

/// Takes what a merge finds, in order.
protocol ImportSink {
  /// The names of a directory begin; nil: those of `/`.
  func begin(_ directory: ImportDirectory?) throws(Failure)
  func take(_ found: ImportFound, in directory: ImportDirectory?) throws(Failure)
  /// They end. Of a directory that nothing is in, too.
  func end(_ directory: ImportDirectory?) throws(Failure)
}

/// Not for use from several threads.
final class ImportMerge {
  private let tree: ImportedTree
  private let links: ImportLinks
  private let old: OldTree?
  /// What an archive lacks is deleted, not only what its lists lack.
  private let isWhole: Bool
  /// Of what is made anew.
  private let time: Timestamp
  private let atPoint: (Bytes) throws(Failure) -> Entry?
  private let sink: any ImportSink
  private let reporter: any Reporter
  private let progress: Progress
  private var hasOld = false
  private let elsewhere: Set<Bytes>

  /// Directories whose names are still to come; the next in order is the last.
  private var waiting: [ImportDirectory] = []
  private var children: [ImportDirectory] = []
  private var directory: ImportDirectory?
  private var parent: Bytes?
  private var isThere = false

  /// `old`: before its first line. `atPoint`: what it has at a path, as it is when all is where it was moved to.
  init(
    _ tree: ImportedTree, _ links: ImportLinks, on old: OldTree?, moved: MovedLines?, isWhole: Bool, time: Timestamp,
    atPoint: @escaping (Bytes) throws(Failure) -> Entry?, to sink: any ImportSink, reporter: any Reporter,
    progress: Progress
  ) throws(Failure) {
    (self.tree, self.links, self.old, self.isWhole, self.time) = (tree, links, old, isWhole, time)
    (self.atPoint, self.sink, self.reporter, self.progress) = (atPoint, sink, reporter, progress)
    elsewhere = links.elsewhere
    if let old {
      hasOld = try old.next()
      if hasOld, let moved { hasOld = try old.begin(moved) }
    }
  }

  func run() throws(Failure) {
    try tree.visit { (path, record) throws(Failure) in
      try progress.checkCancelled()
      while isOldBefore(path) { try takeOld() }
      if isOldHere(path) {
        try take(path, record, before())
        try advance()
      } else {
        try take(path, record, nil)
      }
    }
    while hasOld { try takeOld() }
    try leave()
    try passEmpty(before: nil)
  }

  // MARK: - The point before

  private func before() -> ImportBefore? { old.map { ImportBefore($0) } }

  private func isOldBefore(_ path: Bytes) -> Bool {
    guard hasOld, let old else { return false }
    return PathOrder.compare(Bytes(old.line.path), path) < 0
  }

  private func isOldHere(_ path: Bytes) -> Bool {
    guard hasOld, let old else { return false }
    return old.line.path.elementsEqual(path)
  }

  private func advance() throws(Failure) { hasOld = try old?.next() ?? false }

  private func takeOld() throws(Failure) {
    guard let old else { return }
    try take(Bytes(old.line.path), nil, before())
    try advance()
  }

  // MARK: - Directories

  private func enter(_ path: Bytes) throws(Failure) {
    if parent == path { return }
    try leave()
    try passEmpty(before: path)
    parent = path
    directory = waiting.last?.path == path ? waiting.removeLast() : nil
    isThere = directory != nil || path.isEmpty
    if isThere { try sink.begin(directory) }
  }

  private func leave() throws(Failure) {
    if parent != nil, isThere { try sink.end(directory) }
    for child in children.reversed() { waiting.append(child) }
    children.removeAll(keepingCapacity: true)
    directory = nil
    parent = nil
  }

  private func passEmpty(before path: Bytes?) throws(Failure) {
    while let next = waiting.last, path.map({ PathOrder.compareDirectories(next.path, $0) < 0 }) ?? true {
      waiting.removeLast()
      try sink.begin(next)
      try sink.end(next)
    }
  }

  // MARK: - One path

  private func take(_ path: Bytes, _ record: ImportRecord?, _ before: ImportBefore?) throws(Failure) {
    try enter(path.splitAtName.parent)
    guard isThere else {
      if record?.entry != nil {
        reporter.problem("lies in what the archive has no folder for, so it is left out", path: path)
      }
      if let before, !before.isVacated {
        try sink.take(ImportFound(path: path, result: .orphan, before: before), in: nil)
      }
      return
    }
    var found: ImportFound
    if let entry = record?.entry {
      guard let resolved = try resolved(entry, path, record?.ordinal ?? 0) else { return try pass(path, before) }
      found = ImportFound(path: path, result: .new(resolved.entry), before: before)
      (found.link, found.ordinal) = (resolved.link, resolved.ordinal)
    } else {
      found = ImportFound(path: path, result: result(path, record, before), before: before)
    }
    if case .kept = found.result, let before { found.link = link(of: before, path) }
    try addChild(found, record)
    try sink.take(found, in: directory)
  }

  /// What cannot be taken from the archive stays as it was.
  private func pass(_ path: Bytes, _ before: ImportBefore?) throws(Failure) {
    guard let before else { return }
    let found = ImportFound(
      path: path, result: before.isVacated ? .nothing : .kept, before: before, link: link(of: before, path))
    try addChild(found, nil)
    try sink.take(found, in: directory)
  }

  private func addChild(_ found: ImportFound, _ record: ImportRecord?) throws(Failure) {
    let entry: Entry?
    switch found.result {
    case .new(let new): entry = new
    case .kept where found.before?.kind == .directory:
      entry = found.before?.entry
      if entry == nil { throw .damaged("\(Show.path(found.path)): its line in a manifest cannot be read") }
    default: entry = nil
    }
    guard let entry, entry.kind == .directory else { return }
    children.append(
      ImportDirectory(
        path: found.path, entry: entry, isTold: record?.entry != nil, isListed: record?.isListed ?? false))
  }

  /// Where the archive has no entry.
  private func result(_ path: Bytes, _ record: ImportRecord?, _ before: ImportBefore?) -> ImportFound.Result {
    let old = before.flatMap { $0.isVacated ? nil : $0 }
    if record?.isImplied == true {
      if old?.kind == .directory { return .kept }
      return .new(Entry(path: path, kind: .directory, mode: 0o755, uid: 0, gid: 0, modified: time))
    }
    guard let old else { return .nothing }
    switch record?.letter {
    case UInt8(ascii: "D")?: return old.kind == .directory ? .kept : .nothing
    case UInt8(ascii: "Y")?: return old.kind == .directory ? .nothing : .kept
    case .some: return .kept
    case nil: return isWhole || directory?.isListed ?? (tree.top?.isListed ?? false) ? .nothing : .kept
    }
  }

  // MARK: - Several names

  private func link(of before: ImportBefore, _ path: Bytes) -> LinkKey? {
    (before.firstName ?? (elsewhere.contains(path) ? path : nil)).map { .point($0) }
  }

  /// An entry as it is to stand in the manifest; nil where it is a link to nothing.
  private func resolved(
    _ entry: Entry, _ path: Bytes, _ ordinal: Int64
  ) throws(Failure) -> (entry: Entry, link: LinkKey?, ordinal: Int64?)? {
    guard let first = entry.hardLink else {
      return (entry, links.isRoot(ordinal) ? .record(ordinal) : nil, ordinal)
    }
    var same: Entry
    let key: LinkKey
    switch links.origin(of: ordinal) {
    case .record(let found, let link): (same, key) = (found, link)
    case .elsewhere(let target):
      guard let found = try atPoint(target), found.kind != .directory else { fallthrough }
      (same, key) = (found, .point(found.hardLink ?? target))
    case nil:
      reporter.problem(
        "is a link to \(Show.path([47] + first)), which the archive does not have, so it is left out", path: path)
      return nil
    }
    same.path = path
    same.hardLink = nil
    if case .record(let place) = key { return (same, key, place) }
    return (same, key, nil)
  }
}
