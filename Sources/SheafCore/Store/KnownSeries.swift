/// What this machine remembers of one series of a store.
import Posix
import Tar

public struct KnownSeries: Sendable {
  public var name: Bytes
  public var newest: SetName
  public var digest: Digest
  /// The clock when the newest point was made.
  public var started: Timestamp
  /// How many sets the newest point takes.
  public var chainLength = 1
  /// Bytes of all its archives.
  public var storedBytes: Int64 = 0
  /// When everything was last read and found good.
  public var verified: Timestamp?
  /// Oldest first.
  public var points: [SetName] = []
  /// The points that were seen here, gone or not, oldest first.
  var seen: [SeenPoint] = []
  /// Damage that was found and not mended, as of when the store was seen.
  public var damage = DamageNote()
  /// The store could not be written, so it is remembered here alone.
  var damageIsUnwritten = false
  var unwrittenDamage: DamageNote? { damageIsUnwritten ? damage : nil }
  /// What was really restored, as of when the store was seen.
  public var proofs = ProofNote()
  /// The newest points of other copies of the store, with the same identity: each goes on by itself.
  var tips: [SeenPoint] = []
  /// What was last backed up to it from here; nil: not known.
  public var sources: [Bytes]?
  /// The options that said what was left out.
  var exclusions: [Bytes]?

  /// When a point's run began by the clock, as far as that is remembered where its name says something else.
  public func started(_ set: SetName) -> Timestamp {
    seen.last { $0.point == set.point }?.started ?? set.time
  }
}
