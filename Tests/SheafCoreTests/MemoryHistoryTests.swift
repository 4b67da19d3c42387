/// Merging, moves, folding, pruning, relocation, take-over and copies, in-process and in memory: what a history of a
/// hundred steps leaves is what the tree was. `SHEAF_SEED`, `SHEAF_RUNS` and `SHEAF_STEPS` say which, how many, how long.
import Foundation
import Posix
import SheafCore
import TestSupport
import Testing

@Suite struct MemoryHistoryTests {
  private static func number(_ name: String, or usual: UInt64) -> UInt64 {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) } ?? usual
  }
  static let seeds = (0..<number("SHEAF_RUNS", or: 6)).map { number("SHEAF_SEED", or: 11) + $0 }
  static let steps = number("SHEAF_STEPS", or: 120)

  @Test(arguments: seeds) func everyPointComesBack(seed: UInt64) throws {
    try Scratch.with { scratch in
      let history = try MemoryHistory(seed: seed, scratch)
      for step in 1...Self.steps {
        try history.edit()
        switch history.random.below(10) {
        case 0: try history.save("full") { $0.isFull = true }
        case 1: try history.save("differential") { $0.isDifferential = true }
        case 2: try history.save("full entries") { $0.storesMetadata = true }
        case 3, 4:
          try history.saveUntilTheStoreGoes()
          if history.random.once(in: 2) { try history.edit() }
          try history.save()
        default: try history.save()
        }
        switch history.random.below(12) {
        case 0: try history.consolidate()
        case 1, 2: try history.prune()
        case 3: try history.copy()
        default: break
        }
        try history.expectPoint(history.random.pick(history.points))
        if step % 20 == 0 { try history.expectNoDamage() }
      }
      for point in history.points { try history.expectPoint(point) }
      try history.expectNoDamage()
      try history.expectCopies()
    }
  }
}
