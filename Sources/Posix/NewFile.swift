/// A file that appears whole or not at all: written under a `.partial` name, made durable, then given its own.
import Glibc

public struct NewFile {
  public let descriptor: Descriptor
  private let directory: Descriptor
  private let name: Bytes
  private let partial: Bytes

  public static let partialSuffix = Bytes(".partial")

  /// Begins a file; what an earlier run left under the partial name is replaced. `suffix`: what the partial name has
  /// behind the final one.
  public init(
    _ name: Bytes, in directory: Descriptor, suffix: Bytes = Self.partialSuffix, mode: UInt16 = 0o666
  ) throws(SystemError) {
    self.name = name
    self.directory = directory
    partial = name + suffix
    descriptor = try directory.open(partial, [.readWrite, .create, .truncate, .noFollow], mode: mode)
  }

  /// Goes on with a file that an earlier run left under the name `partial`, of which the first `size` bytes are kept.
  public init(continuing partial: Bytes, from size: Int64, in directory: Descriptor) throws(SystemError) {
    self.directory = directory
    self.partial = partial
    name =
      partial.suffix(Self.partialSuffix.count).elementsEqual(Self.partialSuffix)
      ? Bytes(partial.dropLast(Self.partialSuffix.count)) : partial
    descriptor = try directory.open(partial, [.readWrite, .noFollow, .nonBlocking, .append])
    guard try descriptor.status().kind == .file else { throw .unfit("open", descriptor.path) }
    try descriptor.truncate(to: size)
  }

  /// The sealed file, to be read.
  public func reopened() throws(SystemError) -> Descriptor { try directory.open(partial, [.read, .noFollow]) }

  /// Makes the contents durable and closes the file, which keeps its partial name.
  public func seal() throws(SystemError) {
    guard !descriptor.isClosed else { return }
    try descriptor.sync()
    try descriptor.close()
  }

  /// Gives the sealed file its name, or another one, which must be new, and makes that durable.
  public func publish(as other: Bytes? = nil) throws(SystemError) {
    guard partial != other ?? name else { return }
    try directory.renameToNew(partial, other ?? name)
    try directory.sync(directory: true)
  }

  /// Removes what was written.
  public func discard() {
    try? descriptor.close()
    try? directory.removeFile(partial)
  }
}
