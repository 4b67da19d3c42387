/// What a task tells while it runs. The core prints nothing itself.
import Posix
import Synchronization

/// How an entry fared, for `--verbose`.
public enum Mark: Sendable {
  case new, changed, metadata, moved, deleted, leftOut, unseen, restored
}

/// Called from several threads.
public protocol Reporter: Sendable {
  /// Something that could not be saved or restored; the run goes on and ends with exit code 3 or 4.
  func problem(_ message: String, path: Bytes?)
  /// Worth knowing, nothing lost.
  func note(_ message: String)
  /// A file's contents changed although its size and time did not. It was saved as it is now.
  func suspectRot(_ path: Bytes)
  /// What an interrupted run had saved is a set now.
  func tookOver(_ kept: TakeOverSummary)
  /// Only called where `wantsItems`.
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind)
  var wantsItems: Bool { get }
  /// Whether `item` is called with what is removed.
  var wantsDeletions: Bool { get }
}

extension Reporter {
  public var wantsDeletions: Bool { wantsItems }

  /// Stock GNU tar, replaying the set, will not delete all that went away in these directories.
  func noteInexact(_ directories: [Bytes]) {
    for path in directories {
      note(
        "\(Show.path([47] + path)): what went away there is deleted by sheaf restore and restore.sh, not by tar alone")
    }
  }
}

/// A reporter that discards everything.
struct Silence: Reporter {
  func problem(_ message: String, path: Bytes?) {}
  func note(_ message: String) {}
  func suspectRot(_ path: Bytes) {}
  func tookOver(_ kept: TakeOverSummary) {}
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) {}
  var wantsItems: Bool { false }
}

/// Where a run stands: written by its threads, read by whoever shows it.
public final class Progress: Sendable {
  /// Everything looked at.
  public let entries = Atomic<Int>(0)
  /// Files whose contents were read or written.
  public let files = Atomic<Int>(0)
  /// Bytes read from the source, or written to the target.
  public let bytes = Atomic<Int>(0)
  /// Bytes expected in all; 0 where not known.
  public let expected = Atomic<Int>(0)
  /// Set from outside to end the run; it stops at the next entry.
  public let isCancelled = Atomic<Bool>(false)
  private let place = Monitor<Bytes>([])
  private let holes = Monitor<Holes>(Holes())

  private struct Holes {
    var hashed: Int64 = 0
    /// What is stored of files and was read.
    var read: Int64 = 0
    var passed: (files: Int64, bytes: Int64) = (0, 0)
  }

  public init() {}

  /// Counts anew, for another task.
  public func begin() {
    entries.store(0, ordering: .relaxed)
    files.store(0, ordering: .relaxed)
    bytes.store(0, ordering: .relaxed)
    expected.store(0, ordering: .relaxed)
  }

  public var current: Bytes {
    get { place.look { $0 } }
    set { place.look { $0 = newValue } }
  }

  func add(entries n: Int) { entries.wrappingAdd(n, ordering: .relaxed) }
  func add(files n: Int) { files.wrappingAdd(n, ordering: .relaxed) }
  func add(bytes n: Int) { bytes.wrappingAdd(n, ordering: .relaxed) }

  /// Whether holes of so many bytes are to be hashed. A few bytes that somebody forged tell of any number of zeros, so a
  /// run hashes no more than a bound that grows with what it reads. What it passes over is counted.
  func mayHash(zeros count: Int64) -> Bool {
    if count == 0 { return true }
    return holes.change { holes in
      var bound = holes.read
      bound.add(saturating: Self.zerosAtLeast / Self.zerosPerByte)
      var sum = holes.hashed
      sum.add(saturating: count)
      if sum / Self.zerosPerByte <= bound {
        holes.hashed = sum
        return true
      }
      holes.passed.files += 1
      holes.passed.bytes.add(saturating: count)
      return false
    }
  }
  func add(stored count: Int) { holes.change { $0.read.add(saturating: Int64(count)) } }
  private static let zerosAtLeast: Int64 = 64 << 30
  private static let zerosPerByte: Int64 = 32

  /// Files of which the digest was not compared because of their holes, and how many bytes these are.
  public var passedHoles: (files: Int64, bytes: Int64) { holes.look { $0.passed } }

  public var goesOn: Bool { !isCancelled.load(ordering: .relaxed) }

  public func checkCancelled() throws(Failure) {
    if !goesOn { throw Failure(.interrupted, "interrupted") }
  }
}
