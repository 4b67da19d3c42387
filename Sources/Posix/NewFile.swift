/// A file that appears whole or not at all: written under a `.partial` name, made durable, then given its own.
import Glibc

public struct NewFile {
  public let descriptor: Descriptor
  private let directory: Descriptor
  private let name: Bytes
  private let partial: Bytes

  public static let partialSuffix = Bytes(".partial")

  /// Begins a file; what an earlier run left under the partial name is replaced.
  public init(_ name: Bytes, in directory: Descriptor, mode: UInt16 = 0o666) throws(SystemError) {
    self.name = name
    self.directory = directory
    partial = name + Self.partialSuffix
    descriptor = try directory.open(partial, [.readWrite, .create, .truncate, .noFollow], mode: mode)
  }

  /// Makes the contents durable and closes the file, which keeps its partial name.
  public func seal() throws(SystemError) {
    guard !descriptor.isClosed else { return }
    try descriptor.sync()
    try descriptor.close()
  }

  /// Gives the sealed file its name, which must be new, and makes that durable.
  public func publish() throws(SystemError) {
    try directory.renameToNew(partial, name)
    try directory.sync(directory: true)
  }

  /// Removes what was written.
  public func discard() {
    try? descriptor.close()
    try? directory.removeFile(partial)
  }
}
