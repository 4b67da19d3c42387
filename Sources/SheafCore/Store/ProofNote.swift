/// What was really restored of a series, when, and by which version: a file of few lines in it, and what the machine
/// remembers. The whole of a point is proved share by share, in the order of its paths, beginning anew at the end.
import Posix
import Storage

public struct ProofNote: Equatable, Sendable {
  public struct Proof: Equatable, Sendable {
    /// All of it came back as it was saved.
    public var isSound: Bool
    public var set: SetName
    public var time: Timestamp
    public var version: String
    /// How many entries, out of how many the point had.
    public var entries: Int64
    public var of: Int64
    /// What comes after this path, the beginning where it is empty, …
    public var after: Bytes
    /// … up to this one, the end where it is empty.
    public var through: Bytes

    fileprivate func overlaps(_ other: Proof) -> Bool {
      func begins(_ a: Proof, before b: Proof) -> Bool {
        b.through.isEmpty || PathOrder.compareOrEmpty(a.after, b.through) < 0
      }
      return begins(self, before: other) && begins(other, before: self)
    }
  }
  /// Oldest first.
  public internal(set) var proofs: [Proof] = []

  public init() {}

  public var isEmpty: Bool { proofs.isEmpty }
  public var last: Proof? { proofs.last }

  /// How much of it was restored, from 0 to 1, since when that was done, and which of the points that it was done with is
  /// the oldest: what changed after that may not have been restored yet.
  public var coverage: (share: Double, since: Timestamp, oldest: SetName)? {
    var share = 0.0
    var since: Timestamp?
    var oldest: SetName?
    var sound: [Proof] = []
    var failed: [Proof] = []
    for proof in proofs.reversed() {
      // What was not as it was later on is not proved.
      if !proof.isSound { failed.append(proof) }
      if failed.contains(where: { $0.overlaps(proof) }) { continue }
      sound.append(proof)
      since = proof.time
      oldest = min(oldest ?? proof.set, proof.set)
      share += Double(proof.entries) / Double(max(1, proof.of))
      if Self.isWhole(sound), let oldest { return (1, proof.time, oldest) }
    }
    // Shares of points of other sizes may add up to more.
    guard let since, let oldest else { return nil }
    return (min(share, 0.99), since, oldest)
  }

  /// Whether they leave nothing out.
  private static func isWhole(_ proofs: [Proof]) -> Bool {
    var reached = Bytes()
    for proof in proofs.sorted(by: { PathOrder.compareOrEmpty($0.after, $1.after) < 0 }) {
      guard PathOrder.compareOrEmpty(proof.after, reached) <= 0 else { return false }
      if proof.through.isEmpty { return true }
      if PathOrder.compareOrEmpty(proof.through, reached) > 0 { reached = proof.through }
    }
    return false
  }

  private static let limit = 1000

  /// With one more; those that nothing needs any more are left out.
  func adding(_ more: [Proof]) -> ProofNote {
    var note = self
    note.proofs += more
    if let (share, since, _) = note.coverage, share == 1 { note.proofs.removeAll { $0.time < since } }
    note.proofs.removeFirst(max(0, note.proofs.count - Self.limit))
    return note
  }

  /// `proved POINT TIME VERSION ENTRIES OF ./AFTER ./THROUGH`, or `failed` with the same, a line each.
  var text: Bytes {
    var lines = ["# what 'sheaf prove' really restored and compared, oldest first"]
    for p in proofs {
      let (after, through) = (Escape.encodedPath(p.after), Escape.encodedPath(p.through))
      let word = p.isSound ? "proved" : "failed"
      lines.append(
        "\(word) \(p.set.text) \(PointName.text(p.time)) \(p.version) \(p.entries) \(p.of) ./\(after) ./\(through)")
    }
    return Bytes((lines.joined(separator: "\n") + "\n").utf8)
  }

  init(text: Bytes) {
    for line in text.split(separator: 10).suffix(Self.limit) {
      let words = line.split(separator: 32).map { Bytes($0) }
      guard words.count == 8, words[0] == Bytes("proved") || words[0] == Bytes("failed"),
        let set = SetName(words[1].shown), let time = PointName.time(words[2].shown),
        let entries = Int64(words[4].shown), let of = Int64(words[5].shown), entries >= 0, of >= entries,
        words[6].starts(with: Bytes("./")), words[7].starts(with: Bytes("./")),
        let after = Escape.decode(Bytes(words[6].dropFirst(2))),
        let through = Escape.decode(Bytes(words[7].dropFirst(2)))
      else { continue }
      proofs.append(
        Proof(
          isSound: words[0] == Bytes("proved"), set: set, time: time, version: Show.path(words[3]), entries: entries,
          of: of, after: after, through: through))
    }
  }
}

extension PathOrder {
  /// Of two whole paths, the empty one being before all others.
  static func compareOrEmpty(_ a: Bytes, _ b: Bytes) -> Int {
    a.isEmpty || b.isEmpty ? (a.isEmpty ? 0 : 1) - (b.isEmpty ? 0 : 1) : compare(a, b)
  }
}

extension Series {
  private static let proofFile = Bytes("proved.txt")

  /// What was proved, as the store has it or, where that could not be written, as this machine remembers it.
  public func proofNote(_ known: KnownStores?) -> ProofNote {
    if let text = try? folder.contents(Self.proofFile, atMost: 16 << 20) { return ProofNote(text: text) }
    return known?.find(uuid: store.uuid)?.series.first { $0.name == name }?.proofs ?? ProofNote()
  }

  /// False: the store cannot be written.
  func write(_ note: ProofNote) -> Bool { replace(Self.proofFile, with: note.text) }
}
