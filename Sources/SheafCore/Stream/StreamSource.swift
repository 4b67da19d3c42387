/// What a command writes, or standard input, to be saved as a file.
import Posix
import Tar

public struct StreamSource: Sendable {
  public enum Origin: Sendable {
    case standardInput
    /// Run by `/bin/sh -c`.
    case command(Bytes)
  }
  /// The file's absolute path without the leading slash.
  public var path: Bytes
  public var origin: Origin
  /// Seconds, after which a command is ended and counts as failed; nil: it may take as long as it takes.
  public var timeLimit: Int?

  public init(path: Bytes, origin: Origin, timeLimit: Int? = nil) {
    self.path = path
    self.origin = origin
    self.timeLimit = timeLimit
  }

  /// NAME_MAX and PATH_MAX of Linux.
  private static let (longestName, longestPath) = (255, 4095)

  /// Whether a file could have that path: no part of it is empty, `.`, `..`, or longer than a file system takes.
  var canBeSaved: Bool {
    path.withUnsafeBufferPointer(Line.isPlain) && path.count <= Self.longestPath
      && path.split(separator: 47).allSatisfy { $0.count <= Self.longestName }
  }
}
