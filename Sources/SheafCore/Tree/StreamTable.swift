/// The streams of a run as the walk meets them: names in directories, some of which need not be there.
import Glibc
import Posix

struct StreamTable: Sendable {
  /// What is known of a stream.
  enum State: Sendable {
    case taken(StreamFile)
    /// It failed, or is not run this time. That was told.
    case lost
    /// Earlier runs were given it and this one is not. That was told.
    case notGiven
  }

  /// What a name in a directory stands for.
  enum Place: Sendable {
    /// A file, with what its line is to say.
    case file(StreamFile, Status)
    /// Nothing is known of it now; `yields`: something real of that name comes first.
    case unseen(yields: Bool)
    /// A directory that leads to a stream, with what its line is to say where it is not there.
    case directory(Status)
  }

  private var directories: [Bytes: [Bytes: Place]] = [:]
  private(set) var files: [StreamFile] = []
  var isEmpty: Bool { directories.isEmpty }

  init() {}

  /// `before`: what the point that is compared with tells of a path. `now`: of directories that are made anew. `mapped`:
  /// what is read from another place; the folders above need not be there.
  init(
    _ streams: [Bytes: State], mapped: [Bytes] = [], now: Timestamp, before: (Bytes) throws(Failure) -> Entry?
  ) throws(Failure) {
    for (path, state) in streams.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      switch state {
      case .taken(let file):
        files.append(file)
        put(.file(file, try Self.status(file, before(path))), at: path)
      case .lost: put(.unseen(yields: false), at: path)
      case .notGiven: put(.unseen(yields: true), at: path)
      }
      try putParents(of: path, now, before)
    }
    for path in mapped { try putParents(of: path, now, before) }
  }

  private mutating func putParents(
    of path: Bytes, _ now: Timestamp, _ before: (Bytes) throws(Failure) -> Entry?
  ) throws(Failure) {
    var parent = path.splitAtName.parent
    while !parent.isEmpty, self[parent.splitAtName.parent]?[parent.splitAtName.name] == nil {
      put(.directory(try Self.status(ofDirectory: before(parent), now)), at: parent)
      parent = parent.splitAtName.parent
    }
  }

  private mutating func put(_ place: Place, at path: Bytes) {
    let (parent, name) = path.splitAtName
    directories[parent, default: [:]][name] = place
  }

  /// The names in a directory that are streams or lead to some.
  subscript(_ directory: Bytes) -> [Bytes: Place]? { directories[directory] }

  /// Whether a stream lies below the directory.
  func leads(through directory: Bytes) -> Bool { directories[directory] != nil }

  /// What has not changed is as it was in all respects, its time as well.
  private static func status(_ file: StreamFile, _ before: Entry?) -> Status {
    if let before, before.isSame(as: file) { return Status(before) }
    return Status(made: .file, mode: 0o600, size: file.size, time: file.time)
  }

  private static func status(ofDirectory before: Entry?, _ time: Timestamp) -> Status {
    if let before, before.kind == .directory { return Status(before) }
    return Status(made: .directory, mode: 0o700, size: 0, time: time)
  }
}

extension Entry {
  /// Whether it is a file with just these contents.
  func isSame(as file: StreamFile) -> Bool {
    kind == .file && size == file.size && digest == file.digest && hardLink == nil && links == 1
  }
}

extension Status {
  /// Of what no file system has: only its owner can read it.
  init(made kind: FileKind, mode: UInt16, size: Int64, time: Timestamp) {
    self = .unknown
    self.kind = kind
    self.mode = mode
    (uid, gid) = (geteuid(), getegid())
    links = 1
    self.size = size
    blocks = size / 512 + 1
    (modified, changed) = (time, time)
  }

  /// As a line tells it.
  init(_ entry: Entry) {
    self = .unknown
    kind = entry.kind
    mode = entry.mode
    (uid, gid) = (entry.uid, entry.gid)
    links = 1
    size = entry.size
    blocks = size / 512 + 1
    (modified, changed) = (entry.modified, entry.changed)
    inode = entry.inode
  }
}
