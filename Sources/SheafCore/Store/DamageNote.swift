/// What verify found damaged, remembered in the series until it is found clean: a file of few lines, which each command
/// that shows or uses the points looks at.
import Posix
import Storage

public struct DamageNote: Equatable, Sendable {
  public struct Finding: Equatable, Sendable {
    public var set: SetName
    /// How many things were wrong with it, the first of them, and when that was found.
    public var count: Int
    public var found: Timestamp
    public var message: String
  }
  /// One for each set.
  public internal(set) var findings: [Finding] = []
  /// The points that damage touches, with the damaged sets they need.
  var touched: [SetName: Set<SetName>] = [:]

  public init() {}

  public var isEmpty: Bool { findings.isEmpty }
  public func touches(_ set: SetName) -> Bool { touched[set] != nil }
  /// When the last of it was found.
  public var found: Timestamp? { findings.map(\.found).max() }

  /// Without what the sets that `goes` says were found to be.
  func removing(_ goes: (SetName) -> Bool) -> DamageNote {
    var note = self
    note.findings.removeAll { goes($0.set) }
    let left = Set(note.findings.map(\.set))
    note.touched = touched.mapValues { $0.intersection(left) }.filter { !$0.value.isEmpty }
    return note
  }

  /// `found SET COUNT TIME MESSAGE` and `touched POINT SET...`, a line each.
  var text: Bytes {
    var lines = ["# damage that 'sheaf verify' found; a verify that finds none removes this file"]
    for f in findings {
      let message = Escape.encodedPath(Bytes(f.message.utf8))
      lines.append("found \(f.set.text) \(f.count) \(PointName.text(f.found)) \(message)")
    }
    for (point, sets) in touched.sorted(by: { $0.key < $1.key }) {
      lines.append("touched \(point.text) \(sets.sorted().map(\.text).joined(separator: " "))")
    }
    return Bytes((lines.joined(separator: "\n") + "\n").utf8)
  }

  init(text: Bytes) {
    for line in text.split(separator: 10) {
      let words = line.split(separator: 32).map { Bytes($0) }
      guard words.count > 2, let set = SetName(words[1].shown) else { continue }
      if words[0] == Bytes("found"), words.count == 5, let count = Int(words[2].shown), count > 0,
        let time = PointName.time(words[3].shown), let message = Escape.decode(words[4])
      {
        findings.append(Finding(set: set, count: count, found: time, message: Show.path(message)))
      }
      if words[0] == Bytes("touched") {
        touched[set] = Set(words.dropFirst(2).compactMap { SetName($0.shown) })
      }
    }
    self = removing { _ in false }
  }
}

extension Series {
  private static let damageFile = Bytes("damage.txt")

  /// What was found and is not mended yet, without sets that are gone. `known`: what this machine remembers, where
  /// the store could not be written.
  public func damageNote(_ known: KnownStores?) -> DamageNote {
    let note: DamageNote
    if let text = try? folder.contents(Self.damageFile, atMost: 16 << 20) {
      note = DamageNote(text: text)
    } else {
      note = known?.find(uuid: store.uuid)?.series.first { $0.name == name }?.unwrittenDamage ?? DamageNote()
    }
    return note.isEmpty ? note : note.removing(isGone)
  }

  /// Puts a note in the place of the one that was there. False: the store cannot be written.
  func write(_ note: DamageNote) -> Bool {
    if note.isEmpty {
      do throws(StoreError) { try folder.remove(Self.damageFile) } catch { return error.kind == .missing }
      return true
    }
    return replace(Self.damageFile, with: note.text)
  }

  /// Puts a small file in the place of the one of that name. False: the store cannot be written.
  func replace(_ name: Bytes, with text: Bytes) -> Bool {
    do throws(StoreError) {
      let file = NewStoredFile(name, in: folder)
      try file.append(text)
      try file.finish()
      try? folder.remove(name)
      try file.publish()
      return true
    } catch { return false }
  }

  /// A new point that needs what was found damaged is touched as well.
  func noteDamage(touching set: SetName, _ known: KnownStores?) {
    var note = damageNote(known)
    guard !note.isEmpty, let needed = try? firstNeeded(by: set, among: note.findings.map(\.set)) else { return }
    note.touched[set] = [needed]
    _ = write(note)
  }

  /// What was made again is not what was found damaged.
  func forgetDamage(of sets: [SetName]) {
    let before = damageNote(nil)
    let note = before.removing(sets.contains)
    if note != before { _ = write(note) }
  }

  /// Whether another run took the set away since it was listed.
  func isGone(_ set: SetName) -> Bool {
    do throws(StoreError) {
      return try folder.item(Bytes(set.manifest.utf8)) == nil
    } catch { return false }
  }

  /// Says that the sets a reader went by are others by now, where they are.
  func rewrittenMeanwhile(_ point: SetName, _ chain: [SetName]) -> Failure? {
    guard chain.contains(where: isGone) else { return nil }
    return Failure(
      .failed, "\(point.text) was removed or written anew by another run while it was read",
      hint: "see 'sheaf points -s STORE', and run it again")
  }
}
