/// Whether a restore fits: what it writes, less what it replaces, for each file system that it comes to.
import Posix

struct RoomNeed {
  private struct Need {
    let system: FileSystem
    var bytes: Int64 = 0
    var files: Int64 = 0
  }
  private var needs: [UInt64: Need] = [:]
  /// The file system of the directory at hand and, the innermost last, of those above it that are there.
  private var here: UInt64
  private var above: [(path: Bytes, identity: UInt64)]
  /// First names that are not restored, of hard links that were counted once.
  private var standIns: Set<Bytes> = []

  /// `system`: the target's.
  init(_ system: FileSystem?) {
    here = system?.identity ?? 0
    above = [([], here)]
    if let system { needs[here] = Need(system: system) }
  }

  /// Goes to a directory of the target; `system`: nil where it is not there yet.
  mutating func enter(_ path: Bytes, _ system: FileSystem?) {
    while let last = above.last, !path.isAtOrBelow(last.path), above.count > 1 { above.removeLast() }
    if let system {
      if needs[system.identity] == nil { needs[system.identity] = Need(system: system) }
      above.append((path, system.identity))
    }
    here = above.last?.identity ?? 0
  }

  /// An entry that is no directory is written; `there`: what goes for it. `isSecondName`: its first name is restored.
  mutating func add(_ entry: Entry, isSecondName: Bool, replacing there: Status?) {
    guard var need = needs[here], !isSecondName else { return }
    if let first = entry.hardLink, !standIns.insert(first).inserted { return }
    if entry.kind == .file {
      for segment in need.system.keepsHoles ? entry.segments : [0..<entry.size] {
        need.bytes.add(saturating: need.system.room(for: Int64(segment.count)))
      }
    }
    if let there, there.kind != .directory, there.links == 1 {
      if there.kind == .file { need.bytes -= min(there.blocks, 1 << 50) * 512 }
    } else {
      need.files += 1
    }
    needs[here] = need
  }

  /// On the target's file systems together.
  var bytes: Int64 { needs.values.reduce(0) { sum, need in max(sum, sum &+ max(0, need.bytes)) } }

  /// `freed`: bytes that deleting gives back, by file system.
  func shortage(freed: [UInt64: Int64]) -> String? {
    for need in needs.values {
      let bytes = need.bytes.subtractingReportingOverflow(freed[need.system.identity] ?? 0).partialValue
      if bytes > need.system.free {
        return "the target needs \(Show.size(bytes)) of room, and \(Show.size(need.system.free)) is free"
      }
      if let free = need.system.freeFiles, need.files > free, freed.isEmpty {
        return "the target needs room for \(need.files) files, and its file system can hold \(free) more"
      }
    }
    return nil
  }
}
