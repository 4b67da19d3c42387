/// What an archive says of a tree, put into the order of a tree: entries stand in an archive as somebody met them, some of
/// them several times.
import Posix
import Tar

/// What an archive says of one path.
struct ImportRecord {
  /// What it has there; of several the last, as with any tar.
  var entry: Entry?
  /// The place of that among all entries of the archive.
  var ordinal: Int64 = 0
  /// What GNU tar's list of the directory around says of it: `D` a directory, `Y` and `N` anything else, there or not.
  var letter: UInt8?
  /// A directory of which the archive has such a list.
  var isListed = false
  /// A directory that the archive leads through.
  var isImplied = false
}

/// Not for use from several threads.
final class ImportedTree {
  /// A further name of something, as the archive tells it.
  struct Link {
    let ordinal: Int64
    let path: Bytes
    let target: Bytes
  }

  private let sorter: LineSorter
  private let text = Buffer(capacity: 512)
  /// In the order of the archive. These are kept in memory, as with every run.
  private(set) var links: [Link] = []
  /// `/` itself.
  private(set) var top: ImportRecord?
  var renames = ImportRenames()
  /// GNU tar wrote it with `-g`.
  private(set) var hasLists = false
  /// It leaves out what had not changed.
  private(set) var leavesOut = false
  private(set) var entries: Int64 = 0
  /// Of files, as they are restored.
  private(set) var bytes: Int64 = 0
  /// Where contents lie.
  let spool: StreamSpool

  init(spillingTo directory: Descriptor, spool: StreamSpool) {
    sorter = LineSorter(spillingTo: directory)
    self.spool = spool
  }

  /// It tells of changes to the point before, not of a whole tree.
  var isDelta: Bool { leavesOut || !renames.isEmpty }

  /// The place of an entry's contents in the spool, as its line tells it until it is stored.
  static func extent(at offset: Int64, _ length: Int64) -> Extent {
    Extent(set: SetID(value: 0), offset: offset, member: 0, inner: 0, length: length)
  }

  // MARK: - Adding

  func add(_ entry: Entry, ordinal: Int64) throws(Failure) {
    entries += 1
    if entry.hardLink == nil { bytes.add(saturating: entry.size) }
    if let first = entry.hardLink { links.append(Link(ordinal: ordinal, path: entry.path, target: first)) }
    guard !entry.path.isEmpty else {
      top = ImportRecord(entry: entry, ordinal: ordinal, isListed: top?.isListed ?? false)
      return
    }
    var entry = entry
    entry.inode = UInt64(ordinal)
    text.count = 0
    entry.appendLine(to: text)
    try put(entry.path)
  }

  /// A name in a list of GNU tar's.
  func add(listed path: Bytes, _ letter: UInt8) throws(Failure) {
    if letter == UInt8(ascii: "N") { leavesOut = true }
    try add(path, "listed ", letter)
  }

  func add(listOf path: Bytes) throws(Failure) {
    hasLists = true
    if path.isEmpty {
      top = ImportRecord(entry: top?.entry, ordinal: top?.ordinal ?? 0, isListed: true)
    } else {
      try add(path, "list", nil)
    }
  }

  func add(implied path: Bytes) throws(Failure) { try add(path, "implied", nil) }

  private func add(_ path: Bytes, _ word: StaticString, _ letter: UInt8?) throws(Failure) {
    text.count = 0
    text.append("./")
    Escape.append(path: path, to: text)
    text.append(" ")
    text.append(word)
    if let letter { text.append(letter) }
    text.append("\n")
    try put(path)
  }

  private func put(_ path: Bytes) throws(Failure) {
    try system { () throws(SystemError) in try sorter.add(path: path, text.bytes) }
  }

  // MARK: - Reading

  /// Calls `body` with every path of which the archive says something, in order, but for `/`.
  func visit(_ body: (Bytes, ImportRecord) throws(Failure) -> Void) throws(Failure) {
    var path: Bytes?
    var record = ImportRecord()
    try visitLines { (of, line) throws(Failure) in
      if let path, path != of {
        try body(path, record)
        record = ImportRecord()
      }
      path = of
      switch line {
      case .entry(let entry, let ordinal): (record.entry, record.ordinal) = (entry, ordinal)
      case .listed(let letter): record.letter = letter
      case .list: record.isListed = true
      case .implied: record.isImplied = true
      }
    }
    if let path { try body(path, record) }
  }

  enum Word {
    case entry(Entry, ordinal: Int64)
    case listed(UInt8)
    case list, implied
  }

  /// The same, with each word for itself, those of one path in the order of the archive.
  func visitLines(_ body: (Bytes, Word) throws(Failure) -> Void) throws(Failure) {
    let scratch = Buffer()
    try sorter.visit(all: true) { (bytes) throws(Failure) in
      let line = UnsafeBufferPointer(rebasing: bytes.bindMemory(to: UInt8.self).dropLast())
      guard let path = ManifestSyntax.path(of: line).flatMap(Escape.decoded), let blank = line.firstIndex(of: 32) else {
        throw Failure(.failed, "what was sorted cannot be read again")
      }
      let words = Bytes(line[(blank + 1)...])
      if words.starts(with: Bytes("listed ")) { return try body(path, .listed(words.last ?? 0)) }
      if words == Bytes("list") { return try body(path, .list) }
      if words == Bytes("implied") { return try body(path, .implied) }
      var parsed = Line()
      guard parsed.parse(entry: line, scratch: scratch), var entry = parsed.entry() else {
        throw Failure(.failed, "\(Show.path(path)): what was sorted cannot be read again")
      }
      let ordinal = Int64(clamping: entry.inode)
      entry.inode = 0
      try body(path, .entry(entry, ordinal: ordinal))
    }
  }
}
