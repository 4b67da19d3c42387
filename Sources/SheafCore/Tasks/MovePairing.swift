/// Finds out which of what went away and of what is new is the same thing under another name, in bounded memory.
import Posix
import Tar

/// Not for use from several threads.
final class MovePairing {
  private let sorter: LineSorter
  /// Whether digests are known of both sides.
  private let knowsDigests: Bool
  private let line = Buffer()

  /// `knowsDigests`: files are the same by their contents, else by inode, size and time, as everything else is.
  init(spillingTo directory: Descriptor, knowsDigests: Bool) {
    sorter = LineSorter(spillingTo: directory, runSize: 8 << 20)
    self.knowsDigests = knowsDigests
  }

  enum Side: UInt8 {
    case added = 0x61
    case removed = 0x72
  }

  func add(_ side: Side, _ entry: Entry) throws(SystemError) {
    // Those that may be the same stand together: their mark is the first name of the path they are sorted by.
    var sorted = entry
    sorted.path = mark(entry).joined([side.rawValue]).joined(entry.path)
    line.count = 0
    sorted.appendRecord(to: line)
    line.append(UInt8(ascii: "\n"))
    try sorter.add(path: sorted.path, line.bytes)
  }

  private func mark(_ e: Entry) -> Bytes {
    if e.kind == .file, knowsDigests, e.size > 0, let digest = e.digest { return Bytes("\(digest.hex)-\(e.size)".utf8) }
    return Bytes("\(e.kind.rawValue)-\(e.inode)-\(e.size)-\(e.modified.seconds)-\(e.modified.nanoseconds)".utf8)
  }

  /// Calls `body` with each pair, and with those that are alone.
  func visit(_ body: (_ removed: Entry?, _ added: Entry?) throws(Failure) -> Void) throws(Failure) {
    var group = Group()
    let scratch = Buffer()
    try sorter.visit { bytes throws(Failure) in
      let text = UnsafeRawBufferPointer(rebasing: bytes.dropLast()).bindMemory(to: UInt8.self)
      guard var entry = Entry(record: text, scratch) else { return }
      let parts = entry.path.split(separator: UInt8(ascii: "/"), maxSplits: 2)
      entry.path = Bytes(parts[2])
      if Bytes(parts[0]) != group.mark {
        try group.pair(body)
        group = Group(mark: Bytes(parts[0]))
      }
      let isAdded = parts[1].first == Side.added.rawValue
      // More than so many that are alike tell nothing of one another.
      if isAdded ? group.added.count >= Group.limit : group.removed.count >= Group.limit {
        try body(isAdded ? nil : entry, isAdded ? entry : nil)
      } else if isAdded {
        group.added.append(entry)
      } else {
        group.removed.append(entry)
      }
    }
    try group.pair(body)
  }

  private struct Group {
    static let limit = 4096
    var mark = Bytes()
    var added: [Entry] = []
    var removed: [Entry] = []

    /// The likeliest pairs first; where nothing else tells, in order.
    func pair(_ body: (Entry?, Entry?) throws(Failure) -> Void) throws(Failure) {
      var partners = [Int?](repeating: nil, count: added.count)
      var isTaken = [Bool](repeating: false, count: removed.count)
      let keys: [(Entry) -> Bytes?] = [
        { $0.inode == 0 ? nil : Bytes("\($0.inode)".utf8).joined($0.path.splitAtName.name) },
        { $0.inode == 0 ? nil : Bytes("\($0.inode)".utf8) }, { $0.path.splitAtName.name }, { _ in [] },
      ]
      for key in added.isEmpty || removed.isEmpty ? [] : keys {
        var waiting: [Bytes: [Int]] = [:]
        for index in removed.indices.reversed() where !isTaken[index] {
          if let key = key(removed[index]) { waiting[key, default: []].append(index) }
        }
        for index in added.indices where partners[index] == nil {
          guard let key = key(added[index]), let partner = waiting[key]?.popLast() else { continue }
          partners[index] = partner
          isTaken[partner] = true
        }
      }
      for (index, entry) in added.enumerated() { try body(partners[index].map { removed[$0] }, entry) }
      for (index, entry) in removed.enumerated() where !isTaken[index] { try body(entry, nil) }
    }
  }
}

extension Entry {
  /// Appends the entry as a manifest's line, without its newline and without where its contents lie: sorting does not
  /// need that, and a live entry does not have it.
  func appendRecord(to out: Buffer) {
    var plain = self
    plain.extents =
      storedSize > 0 ? [Extent(set: SetID(value: 0), offset: 0, member: 0, inner: 0, length: storedSize)] : []
    if kind == .file, digest == nil { plain.digest = Digest() }
    plain.appendLine(to: out)
    out.count -= 1
  }

  /// Reads what `appendRecord` wrote.
  init?(record text: UnsafeBufferPointer<UInt8>, _ scratch: Buffer) {
    var line = Line()
    guard line.parse(entry: text, scratch: scratch), var entry = line.entry() else { return nil }
    if entry.digest == Digest() { entry.digest = nil }
    self = entry
  }
}
