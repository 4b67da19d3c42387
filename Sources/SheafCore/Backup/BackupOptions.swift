/// What a run is asked for, and what it came to.
import Posix
import Tar

public struct BackupOptions: Sendable {
  /// Absolute paths without the leading slash; empty: those the series remembers.
  public var sources: [Bytes] = []
  /// Of the sources, those that are read from another place.
  public var mappings: [SourceMapping] = []
  /// Files that are made of what commands or standard input give.
  public var streams: [StreamSource] = []
  /// Where these lie until their ends are known.
  public var spoolDirectory = Bytes("/var/tmp")
  public var changesSources = false
  /// Go on with a series that another machine made.
  public var takesOver = false
  /// Sources that are named for the first time may be missing.
  public var allowsMissing = false
  /// Paths, written as the sources are, whose contents are deleted and not only unmounted.
  public var gone: [Bytes] = []
  public var isFull = false
  /// Seconds, after which a new chain is begun.
  public var fullEvery: Int64?
  /// Build on the last full set; only where everything can be looked at.
  public var isDifferential = false
  public var series: Bytes?
  /// What is left out; nil: what the series remembers.
  public var exclusions: ExclusionRules?
  public var readsContents = false
  /// Store a file also where only its metadata changed, so that tar alone has it right.
  public var storesMetadata = false
  public var level = 1
  /// Files of at most so many bytes are not compressed; -1: all are.
  public var compressAbove: Int64 = -1
  /// Seconds that times may differ by and count as the same.
  public var modifyWindow: Int64 = 0
  public var comment: Bytes = []
  public var skipsUnchanged = false
  public var isDryRun = false
  /// Bytes of one volume of the archive; nil: one volume, or what the file system takes.
  public var volumeSize: Int64?
  /// Bytes that stay free on the drive.
  public var keepFree: Int64 = 0
  /// Read what was written once more before it counts.
  /// nil: where the store does not see to it itself that all arrives.
  public var rereads: Bool?
  /// Other places where volumes of earlier sets may lie.
  public var volumeDirectories: [Bytes] = []
  /// Throw away what an interrupted run left, instead of taking it over.
  public var discardsInterrupted = false

  public init() {}

  /// What may be asked for, on the command line and in plans. Levels go from not at all to the hardest.
  public static let levels = Compressor.levels
  /// Threads.
  public static let jobs = 1...1024
  /// Bytes of a volume: no piece that must stay whole is longer.
  public static let leastVolume: Int64 = 2 << 20
  /// Seconds: two file systems' times differ by a day at most.
  public static let modifyWindows = 0...86400
}

public struct BackupSummary: Sendable {
  /// nil: a dry run, or nothing had changed and none was wanted.
  public var set: SetName?
  public var kind: SetKind
  public var parent: String?
  /// The point that was compared with.
  public var previous: String?
  public var series: Bytes
  public var sources: [Bytes]
  public var counts = SetFoot.Counts()
  public var unchanged: Int64 = 0
  /// What lies under another path than before and was not stored again.
  public var moved: Int64 = 0
  public var excluded = 0
  /// Of what the set counts as deleted: it is still there, and the exclusions leave it out now.
  public var newlyLeftOut: Int64 = 0
  /// Mount points whose file systems were left out.
  public var fileSystemsLeftOut = 0
  /// The options that say what is left out.
  public var exclusions: [Bytes] = []
  /// Patterns that were given for this run and left nothing out.
  public var idlePatterns: [Bytes] = []
  /// What was given as gone for good and is nothing that the point before has.
  public var idleGone: [Bytes] = []
  public var bytesRead: Int64 = 0
  public var bytesWritten: Int64 = 0
  /// The sources that are not there.
  public var missing: [Bytes] = []
  /// Why a full set was written where an incremental one was to be expected.
  public var fullBecause: String?
}

extension PackOptions {
  init(_ options: BackupOptions) {
    level = options.level
    compressAbove = options.compressAbove
    window = options.modifyWindow
  }
}
