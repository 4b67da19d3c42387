/// What a file system shows: asked by the number of a node, answered for several threads at once. Nothing in it can be
/// changed.
import Posix

/// What stat(2) tells of a node.
public struct NodeStatus: Sendable {
  /// The same for all names of one file.
  public var inode: UInt64
  public var kind: FileKind
  /// The low twelve bits.
  public var mode: UInt16
  public var links: UInt32 = 1
  public var uid: UInt32
  public var gid: UInt32
  /// Bytes.
  public var size: Int64 = 0
  /// Bytes of it that are not in holes.
  public var allocated: Int64 = 0
  public var modified: Timestamp
  public var changed: Timestamp
  public var major: UInt32 = 0
  public var minor: UInt32 = 0
  /// Whether it will always be as it is, so that the kernel need not ask again.
  public var isForGood = true

  public init(
    inode: UInt64, kind: FileKind, mode: UInt16, uid: UInt32, gid: UInt32, modified: Timestamp, changed: Timestamp
  ) {
    self.inode = inode
    self.kind = kind
    self.mode = mode
    self.uid = uid
    self.gid = gid
    self.modified = modified
    self.changed = changed
  }
}

/// Why something is not answered, as the asking program is told.
public enum ServedError: Error, Sendable {
  case noEntry, notDirectory, isDirectory, noAttribute, invalid, notOpen
  /// What was saved cannot be read, or is not what it was.
  case unreadable
}

public protocol ServedFiles: AnyObject, Sendable {
  /// A node's number; the top's is 1. It stays the node's own as long as this program runs.
  typealias Node = UInt64

  func status(of node: Node) throws(ServedError) -> NodeStatus
  /// nil: nothing has that name. The node's number is its `inode`.
  func find(_ name: Bytes, in directory: Node) throws(ServedError) -> NodeStatus?
  /// Calls `body` with what is in a directory, from the place on that it gave for the one before (0: from the first), until
  /// it says false or there is no more.
  func list(
    _ directory: Node, from place: UInt64, _ body: (_ name: Bytes, NodeStatus, _ next: UInt64) -> Bool
  ) throws(ServedError)
  /// Whether a directory will always list what it lists now.
  func isForGood(_ directory: Node) -> Bool
  /// Of a symbolic link.
  func target(of node: Node) throws(ServedError) -> Bytes
  func attributes(of node: Node) throws(ServedError) -> [Attribute]
  /// Gives a number for the calls below, until it is closed.
  func open(_ node: Node) throws(ServedError) -> UInt64
  /// Calls `body` with pieces of the file, in order, `count` bytes in all from `offset` on, fewer only at its end.
  func read(
    _ file: UInt64, from offset: Int64, count: Int, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(ServedError)
  /// Where the next hole begins at or after `offset`, or data where `data`; nil: there is none.
  func next(data: Bool, in file: UInt64, from offset: Int64) throws(ServedError) -> Int64?
  func close(_ file: UInt64)
}
