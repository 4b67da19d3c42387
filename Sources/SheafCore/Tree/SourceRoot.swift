/// Where sources are read: the file system, in which some that are recorded at one place may be read from another.
import Posix

/// A folder, a snapshot mostly, that is read from one place and recorded as another.
public struct SourceMapping: Sendable, Equatable {
  /// Both are absolute, without the leading slash; no symbolic link leads to `from`.
  public var from: Bytes
  public var recorded: Bytes

  public init(from: Bytes, recorded: Bytes) {
    self.from = from
    self.recorded = recorded
  }
}

/// Takes paths as they are recorded.
struct SourceRoot: Sendable {
  private let root: Descriptor
  /// The longest recorded path first: one may lie in another.
  private let mappings: [SourceMapping]

  init(_ mappings: [SourceMapping] = []) throws(SystemError) {
    root = try Descriptor.open(Bytes("/"), [.pathOnly, .directory])
    self.mappings = mappings.sorted { $0.recorded.count > $1.recorded.count }
  }

  /// Where it is read.
  func place(of path: Bytes) -> Bytes {
    guard !mappings.isEmpty, let mapping = mappings.first(where: { path.isAtOrBelow($0.recorded) }) else { return path }
    if path == mapping.recorded { return mapping.from }
    return mapping.from.joined(Bytes(path.dropFirst(mapping.recorded.count + 1)))
  }

  /// Whether it is read from another place.
  func isMapped(_ path: Bytes) -> Bool { !mappings.isEmpty && mappings.contains { path.isAtOrBelow($0.recorded) } }

  /// Whether it is the top of what is read from another place.
  func isMappedTop(_ path: Bytes) -> Bool { !mappings.isEmpty && mappings.contains { $0.recorded == path } }

  /// Names in a directory that are tops of what is read from another place.
  func mappedNames(in directory: Bytes) -> [Bytes] {
    mappings.compactMap { mapping in
      let (parent, name) = mapping.recorded.splitAtName
      return parent == directory ? name : nil
    }
  }

  var mapped: [Bytes] { mappings.map(\.recorded) }

  func openBeneath(_ path: Bytes, _ flags: Descriptor.Flags) throws(SystemError) -> Descriptor {
    try root.openBeneath(place(of: path), flags)
  }

  /// Of a path, not following a symbolic link.
  func status(of path: Bytes) throws(SystemError) -> Status {
    let (parent, name) = place(of: path).splitAtName
    if name.isEmpty { return try root.status() }
    return try root.openBeneath(parent, [.pathOnly, .directory]).status(of: name)
  }

  func status() throws(SystemError) -> Status { try root.status() }

  /// The same without anything that is read from another place.
  func unmapped(_ path: Bytes, _ flags: Descriptor.Flags) throws(SystemError) -> Descriptor {
    try root.openBeneath(path, flags)
  }
}
