/// Trees of files declared as data and made on disk.
import Glibc
import Posix

/// One file of any kind with what is to be set on it.
public struct Node: Sendable {
  public enum Content: Sendable {
    case file(FileSpec)
    case directory([Raw: Node])
    case symlink(Bytes)
    case fifo
    case socket
    case characterDevice(major: UInt32, minor: UInt32)
    case blockDevice(major: UInt32, minor: UInt32)
    /// Another name of the file at this path from the tree's root.
    case hardLink(Bytes)
  }

  public var content: Content
  /// nil: 0755 for directories, 0644 for all else, whatever the umask.
  public var mode: UInt16?
  /// nil: whoever makes it.
  public var owner: (uid: UInt32, gid: UInt32)?
  /// nil: when it was made.
  public var modified: Timestamp?
  public var attributes: [Attribute] = []

  public init(_ content: Content) { self.content = content }

  public static func file(_ contents: Raw = "") -> Node {
    Node(.file(FileSpec(.bytes(contents.bytes))))
  }

  /// Generated contents; see `Contents.bytes` for the same in memory.
  public static func file(size: Int64, seed: UInt64, _ texture: Texture = .incompressible) -> Node {
    Node(.file(FileSpec(.generated(count: size, seed: seed, texture))))
  }

  /// Data only in these ranges, a hole in all else up to `size`.
  public static func sparse(size: Int64, data: [Range<Int64>] = [], seed: UInt64 = 0) -> Node {
    let segments = data.enumerated().map { index, range in
      let source = FileSpec.Source.generated(
        count: range.upperBound - range.lowerBound, seed: seed &+ UInt64(index), .incompressible)
      return (offset: range.lowerBound, source: source)
    }
    return Node(.file(FileSpec(size: size, segments: segments)))
  }

  public static func directory(_ children: [Raw: Node] = [:]) -> Node { Node(.directory(children)) }
  public static func symlink(_ target: Raw) -> Node { Node(.symlink(target.bytes)) }
  public static var fifo: Node { Node(.fifo) }
  public static var socket: Node { Node(.socket) }
  public static func characterDevice(_ major: UInt32, _ minor: UInt32) -> Node {
    Node(.characterDevice(major: major, minor: minor))
  }
  public static func blockDevice(_ major: UInt32, _ minor: UInt32) -> Node {
    Node(.blockDevice(major: major, minor: minor))
  }
  public static func hardLink(_ path: Raw) -> Node { Node(.hardLink(path.bytes)) }

  /// A directory with `leaf` in it `levels` names down, every one of these names being `name`: paths of any length.
  public static func deep(_ levels: Int, name: Raw, leaf: Node) -> Node {
    (0..<levels).reduce(leaf) { inner, _ in .directory([name: inner]) }
  }

  public func mode(_ mode: UInt16) -> Node { with { $0.mode = mode } }
  public func owner(_ uid: UInt32, _ gid: UInt32) -> Node { with { $0.owner = (uid, gid) } }
  public func modified(_ time: Timestamp) -> Node { with { $0.modified = time } }
  public func modified(_ seconds: Int64, _ nanoseconds: Int32 = 0) -> Node {
    modified(Timestamp(seconds: seconds, nanoseconds: nanoseconds))
  }
  public func attribute(_ name: Raw, _ value: Raw) -> Node { with { $0.attributes.append(Attribute(name, value)) } }
  public func attribute(_ attribute: Attribute) -> Node { with { $0.attributes.append(attribute) } }
  /// Sets the mode's nine lower bits too: the list says the same and more.
  public func acl(_ list: AccessList) -> Node { attribute(.acl(list)) }
  public func defaultACL(_ list: AccessList) -> Node { attribute(.defaultACL(list)) }

  private func with(_ change: (inout Node) -> Void) -> Node {
    var copy = self
    change(&copy)
    return copy
  }
}

/// A directory and all below it.
public struct TestTree: Sendable {
  public var root: Node

  public init(_ children: [Raw: Node]) { root = .directory(children) }
  /// With a mode, an owner or a time for the root itself; must be a directory.
  public init(_ root: Node) { self.root = root }

  /// Makes the tree at `path`. Directories that are there already get what is new in them, files must not be there.
  public func make(at path: Bytes) throws(SystemError) {
    let (parent, name) = path.splitAtName
    let above = parent.isEmpty ? Bytes(path.first == UInt8(ascii: "/") ? "/" : ".") : parent
    try root.make(name, in: try Descriptor.open(above, [.read, .directory]))
  }
}

extension Node {
  private enum Pass: CaseIterable {
    case entries, links, directories
  }

  /// Makes one node, and all below it, in an open directory. Hard links come when every target is there, what is set
  /// on directories when nothing more is made in them.
  func make(_ name: Bytes, in directory: Descriptor) throws(SystemError) {
    var place = Place(directory: directory, top: nil)
    for pass in Pass.allCases where pass != .links || hasLinks { try make(name, in: &place, pass) }
  }

  private struct Place {
    /// Replaced while a subdirectory is filled and found again by `..`: only one is open at a time, so that a tree
    /// may be deeper than a process may open files.
    var directory: Descriptor
    /// What hard links are relative to: the node that is made as a whole.
    var top: Descriptor?
  }

  private var hasLinks: Bool {
    switch content {
    case .hardLink: true
    case .directory(let children): children.values.contains { $0.hasLinks }
    default: false
    }
  }

  private func make(_ name: Bytes, in place: inout Place, _ pass: Pass) throws(SystemError) {
    switch (content, pass) {
    case (.directory(let children), _):
      let above = place.directory
      if pass == .entries, name.withCString({ above.status(of: $0) }) == nil {
        try above.makeDirectory(name, mode: 0o700)
        try above.setMode(name, 0o755)
      }
      let own = try above.open(name, [.read, .directory, .noFollow])
      if place.top == nil { place.top = own }
      if !children.isEmpty { try make(children, in: &place, own, pass) }
      if pass == .directories { try finish(own) }
    case (.hardLink(let path), .links):
      let (parent, target) = path.splitAtName
      guard let top = place.top else { throw SystemError("hard link without a tree around it", path, EINVAL) }
      try top.openBeneath(parent, [.pathOnly, .directory]).makeHardLink(of: target, as: name, in: place.directory)
    case (.hardLink, _): break
    case (_, .entries): try makeEntry(name, in: place.directory)
    default: break
    }
  }

  private func make(
    _ children: [Raw: Node], in place: inout Place, _ own: Descriptor, _ pass: Pass
  ) throws(SystemError) {
    let path = place.directory.path
    place.directory = own
    for (name, node) in children.sorted(by: { $0.key < $1.key }) { try node.make(name.bytes, in: &place, pass) }
    let up = Bytes("..").withCString { place.directory.open($0, [.read, .directory]) }
    guard up >= 0 else { throw SystemError("open the directory above", own.path, errno) }
    place.directory = .adopting(up, path: path)
  }

  private func makeEntry(_ name: Bytes, in directory: Descriptor) throws(SystemError) {
    switch content {
    case .file(let spec):
      try spec.write(to: try directory.open(name, [.write, .create, .exclusive], mode: 0o600))
    case .symlink(let target): try directory.makeSymlink(name, to: target)
    case .characterDevice(let major, let minor):
      try directory.makeNode(name, kind: .characterDevice, mode: 0o600, major: major, minor: minor)
    case .blockDevice(let major, let minor):
      try directory.makeNode(name, kind: .blockDevice, mode: 0o600, major: major, minor: minor)
    case .socket: try directory.makeNode(name, kind: .socket, mode: 0o600, major: 0, minor: 0)
    default: try directory.makeNode(name, kind: .fifo, mode: 0o600, major: 0, minor: 0)
    }
    // In this order: a change of owner takes setuid and capabilities away, and a list changes the mode.
    if let owner { try directory.setOwner(name, uid: owner.uid, gid: owner.gid) }
    if case .symlink = content {} else { try directory.setMode(name, mode ?? 0o644) }
    for attribute in attributes { try directory.setAttribute(attribute, of: name) }
    if let modified { try directory.setModified(name, modified) }
  }

  private func finish(_ directory: Descriptor) throws(SystemError) {
    if let owner { try directory.setOwner(uid: owner.uid, gid: owner.gid) }
    if let mode { try directory.setMode(mode) }
    for attribute in attributes { try directory.setAttribute(attribute) }
    if let modified { try directory.setModified(modified) }
  }
}
