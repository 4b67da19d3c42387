/// How an entry stands in a tar archive.
import Posix
import Tar

extension TarHeader {
  /// The header of an entry that is no hard link.
  init(_ entry: Entry, attributes: [Attribute]) {
    self.init()
    path = entry.path
    mode = entry.mode
    uid = entry.uid
    gid = entry.gid
    userName = entry.userName
    groupName = entry.groupName
    modified = entry.modified
    self.attributes = attributes
    switch entry.kind {
    case .file, .socket:
      type = .file
      size = entry.size
      if !entry.holes.isEmpty { comment = Self.comment(holes: entry.holes) }
      if entry.isStoredSparse {
        type = .gnuSparse
        segments = entry.segments
        // Readers make the file as long as its last segment ends: one without bytes stands for a hole at the end.
        if segments.last?.upperBound != entry.size { segments.append(entry.size..<entry.size) }
        realSize = entry.size
        size = entry.storedSize
      }
    case .directory:
      type = .directory
      path.append(UInt8(ascii: "/"))
      comment = Self.comment(ofDirectory: entry.isUnlisted, entry.fileSystem)
    case .symlink:
      type = .symlink
      linkTarget = entry.linkTarget
    case .fifo: type = .fifo
    case .characterDevice:
      type = .characterDevice
      (major, minor) = (entry.major, entry.minor)
    case .blockDevice:
      type = .blockDevice
      (major, minor) = (entry.major, entry.minor)
    }
  }

  /// The header of an entry that is no hard link, with its own attributes.
  init(stored entry: Entry) { self.init(entry, attributes: entry.attributes) }

  /// What a dense entry cannot say: `sheaf holes OFFSET:LENGTH …`.
  static func comment(holes: [Range<Int64>]) -> Bytes {
    Bytes("sheaf holes \(holes.map { "\($0.lowerBound):\($0.count)" }.joined(separator: " "))".utf8)
  }

  /// The same entry as another name of what is already there.
  init(_ entry: Entry, linkTo first: Bytes) {
    self.init(entry, attributes: [])
    type = .hardLink
    size = 0
    (major, minor) = (0, 0)
    linkTarget = first
  }

  /// What the comment of a directory begins with whose line has tags that no field of a tar header tells; they follow,
  /// as they stand in the line.
  static let tagsMark = Bytes("sheaf tags ")

  /// The comment of a directory that could not be listed, or where a file system begins; empty for any other.
  static func comment(ofDirectory isUnlisted: Bool, _ fileSystem: FileSystemMark?) -> Bytes {
    guard isUnlisted || fileSystem != nil else { return [] }
    let tags = Buffer()
    if isUnlisted { tags.append(",o") }
    fileSystem?.append(to: tags)
    return tagsMark + Bytes(tags).dropFirst()
  }

  /// The tags that a directory's comment tells, each its key and its value.
  var directoryTags: [(key: UInt8, value: Bytes)] {
    var text = comment[...]
    if text.starts(with: Self.keptMark) { text = text.dropFirst(Self.keptMark.count + 1) }
    guard text.starts(with: Self.tagsMark) else { return [] }
    return text.dropFirst(Self.tagsMark.count).split(separator: 44).map { ($0.first!, Bytes($0.dropFirst(2))) }
  }

  /// The comment of directories that whoever took an interrupted run over has added: the run itself ended before them.
  static let keptMark = Bytes("sheaf kept")
  /// What the comment of a repeated directory begins with that carries lines of the manifest.
  static let notesMark = Bytes("sheaf notes\n")
  /// Bytes of lines in one record; libarchive 3.6.2 takes no pax record above 1 MiB.
  static let notesLimit = 500_000

  /// Appends lines of the manifest as `comment` records, which every reader passes over in silence, each on a
  /// repetition of this directory's entry; `end` is called after each. A line is in one record, however long it is.
  func append(notes: Buffer, to tar: Buffer, end: () -> Void) {
    var header = self
    header.dumpdir = []
    var rest = notes.bytes
    while !rest.isEmpty {
      var length = min(rest.count, Self.notesLimit)
      if length < rest.count {
        if let newline = rest[..<length].lastIndex(of: 10) ?? rest[length...].firstIndex(of: 10) {
          length = newline + 1
        }
      }
      header.comment = Self.notesMark + Bytes(rest[..<length])
      header.append(to: tar)
      end()
      rest = UnsafeRawBufferPointer(rebasing: rest[length...])
    }
  }
}
