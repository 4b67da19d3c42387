/// Looks into a point: lists it, and reads single files, without restoring.
import Posix
import Tar

public struct Contents {
  private let series: Series
  private let set: SetName
  private let chain: [SetName]

  public init(_ series: Series, _ set: SetName) throws(Failure) {
    self.series = series
    self.set = set
    chain = try series.chain(of: set)
  }

  /// Calls `body` with the entries of a directory (`recursive`: and of all below), or with the one entry that `path`
  /// names. The empty path is the top.
  public func list(_ path: Bytes, recursive: Bool, _ body: (Entry, _ isUnseen: Bool) throws(Failure) -> Void)
    throws(Failure)
  {
    if !path.isEmpty {
      let entry = try find(path)
      if entry.entry.kind != .directory { return try body(entry.entry, entry.isUnseen) }
    }
    let tree = try path.isEmpty ? series.tree(chain) : series.tree(chain, from: path + [47]).0
    while try tree.next() {
      let parent = Bytes(tree.line.parent)
      guard recursive ? parent.isAtOrBelow(path) : parent == path else { return }
      guard let entry = tree.line.entry() else {
        throw .damaged("\(tree.manifest.name): line \(tree.manifest.lineNumber) cannot be read")
      }
      try body(entry, tree.isUnseen)
    }
  }

  /// What was saved.
  public func sources() throws(Failure) -> [Bytes] { try series.head(set).sources }

  /// What was saved, with the files that commands and standard input gave: all of it lies at or below these.
  public func roots() throws(Failure) -> [Bytes] {
    let head = try series.head(set)
    return head.sources + head.streams
  }

  /// The name of the machine that made the point, where that was another one.
  public func otherMachine() throws(Failure) -> Bytes? {
    let head = try series.head(set)
    return head.isOfOtherMachine ? head.host : nil
  }

  /// Whether the point has it; the top it always has.
  public func has(_ path: Bytes) throws(Failure) -> Bool {
    if path.isEmpty { return true }
    let (tree, _) = try series.tree(chain, from: path)
    return try tree.next() && path.elementsEqual(tree.line.path)
  }

  /// What a pattern, written as for `find`, matches; nothing that lies below something else that it matches.
  public func matches(_ pattern: Bytes) throws(Failure) -> [Bytes] {
    let query = try FindQuery(pattern, sources: sources(), ignoresCase: false)
    var found: [Bytes] = []
    var tops: Set<Bytes> = []
    let tree = try series.tree(chain)
    while try tree.next() {
      let directory = Bytes(tree.line.parent)
      guard query.matches(directory: directory, name: tree.line.name, isDirectory: tree.line.kind == .directory),
        !directory.isBelowOne(of: tops)
      else { continue }
      found.append(Bytes(tree.line.path))
      if tree.line.kind == .directory { tops.insert(Bytes(tree.line.path)) }
    }
    return found
  }

  public func find(_ path: Bytes) throws(Failure) -> (entry: Entry, isUnseen: Bool) {
    let (tree, _) = try series.tree(chain, from: path)
    guard try tree.next(), Bytes(tree.line.path) == path else {
      throw .notThere(path, in: set)
    }
    guard let entry = tree.line.entry() else {
      throw .damaged("\(tree.manifest.name): the line of \(Show.path(path)) cannot be read")
    }
    return (entry, tree.isUnseen)
  }

  /// Calls `body` with a file's bytes, holes as zeros. Throws `damaged` after the last where they are not what was
  /// saved.
  public func read(_ path: Bytes, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    let entry = try find(path).entry
    guard entry.kind == .file else { throw Failure(.failed, "\(Show.path(path)) is no file") }
    try series.checkReadsContents(of: set)
    let shelf = ArchiveShelf(series)
    try shelf.take(entry.extents)
    let content = ContentReader()
    let hasher = SHA256()
    func give(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
      hasher.update(bytes.baseAddress!, bytes.count)
      try body(bytes)
    }
    var position: Int64 = 0
    var holes = entry.isStoredSparse ? entry.holes[...] : []
    let zeros = Bytes(repeating: 0, count: 65536)
    func giveHole(_ hole: Range<Int64>) throws(Failure) {
      var left = hole.count
      while left > 0 {
        let count = min(left, zeros.count)
        var failure: Failure?
        zeros.withUnsafeBytes { all in
          do throws(Failure) { try give(UnsafeRawBufferPointer(rebasing: all[..<count])) } catch { failure = error }
        }
        if let failure { throw failure }
        left -= count
      }
      position = hole.upperBound
    }
    for extent in entry.extents {
      try content.read(extent, of: try shelf.archive(extent.set)) { bytes throws(Failure) in
        var rest = bytes
        while !rest.isEmpty {
          while let hole = holes.first, hole.lowerBound == position {
            try giveHole(hole)
            holes.removeFirst()
          }
          let count = Int(min(Int64(rest.count), (holes.first?.lowerBound ?? .max) - position))
          try give(UnsafeRawBufferPointer(rebasing: rest[..<count]))
          position += Int64(count)
          rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
      }
    }
    while let hole = holes.popFirst() { try giveHole(hole) }
    if hasher.finish() != entry.digest { throw .damaged("\(Show.path(path)): its contents are not what was saved") }
  }

  /// Calls `body` with the point's whole mtree, piece after piece.
  public func manifest(_ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    let tree = try series.tree(chain)
    let out = Buffer(capacity: 1 << 17)
    out.append("#mtree\n. type=dir\n")
    while try tree.next() {
      out.append(tree.line.text.baseAddress!, tree.line.text.count)
      out.append(UInt8(ascii: "\n"))
      if out.count > 1 << 16 {
        try body(out.bytes)
        out.count = 0
      }
    }
    try body(out.bytes)
  }
}

extension Bytes {
  /// Whether it is one of these paths, or lies below one.
  fileprivate func isBelowOne(of tops: Set<Bytes>) -> Bool {
    var path = self
    while !path.isEmpty {
      if tops.contains(path) { return true }
      path = path.splitAtName.parent
    }
    return false
  }
}
