/// What a restore is asked for, and what came of it.
import Posix
import Tar

public struct RestoreOptions: Sendable {
  /// Paths in the point, without the leading slash; empty: everything.
  public var paths: [Bytes] = []
  public var target: Bytes = []
  /// nil: a target that is not empty is refused.
  public var overwrite: Overwrite?
  /// Below what is restored, what is not in the point goes.
  public var deletes = false
  public var strip = 0
  public var isDryRun = false
  public var owners = OwnerOptions()
  /// What matches stays away, and is left alone where it is.
  public var exclude: [Bytes] = []
  /// Where there are any: only what matches one, or lies below it, is restored.
  public var include: [Bytes] = []
  /// `deletes` takes what the point's own exclusions match, too.
  public var deletesExcluded = false
  /// Restore although there seems to be no room.
  public var isForced = false

  public init() {}

  /// What a new file system has in its top directory.
  static let lostAndFound = Bytes("lost+found")
}

public struct RestoreSummary: Sendable {
  public var set: SetName
  public var files: Int64 = 0
  public var directories: Int64 = 0
  public var bytes: Int64 = 0
  public var deleted: Int64 = 0
  /// Bytes that the target needs for it, as far as was asked; 0: not asked.
  public var needed: Int64 = 0
  /// Files that are there already and were left alone.
  public var kept: Int64 = 0
  /// Last good copies of what the point could not look at.
  public var unseen: Int64 = 0
  /// What the target could not take, and how often.
  public var shortfalls: [(what: String, count: Int)] = []
  public var isDamaged = false
  /// Patterns and owners of the options that fit nothing, in words.
  public var unmatched: [String] = []
}
