/// Locks on another machine, whose holders tell by the time of a file that they are alive.
import Posix
import SheafCore
import Storage
import TestSupport
import Testing

@Suite struct FarLockTests {
  private func store(_ scratch: Scratch) throws -> CountedStore {
    var store = try CountedStore(scratch)
    store.traits.lockLease = 6
    try store.save(at: 1_700_000_000)
    try store.write("a", "second")
    return store
  }

  private func takeLocks(_ memory: MemoryFolder) {
    guard let series = try? memory.folder(Bytes("host")), let names = try? series.names() else { return }
    for name in names where name.starts(with: Bytes("lock.")) { try? series.remove(name) }
  }

  @Test func aLongRunTellsThatItIsAlive() throws {
    try Scratch.with { scratch in
      var store = try store(scratch)
      let isFirst = Monitor(true)
      store.watch = { call throws(StoreError) in
        let waits = isFirst.look { isFirst in
          defer { isFirst = isFirst && call.verb != "finish" }
          return isFirst && call.verb == "finish"
        }
        if waits { Thread.sleep(nanoseconds: 3_500_000_000) }
      }
      let calls = try store.counted { try store.save(at: 1_700_100_000) }
      let touched = calls.filter { $0.verb == "touch" }
      #expect((1...4).contains(touched.count), "\(touched)")
      #expect(touched.allSatisfy { $0.path.shown.contains("host/lock.") })
    }
  }

  /// What happens while the run cannot be heard of: whether another one goes on from there.
  @Test(arguments: [false, true]) func aRunWhoseLockWasTakenLooksBeforeItCommits(_ isOther: Bool) throws {
    try Scratch.with { scratch in
      var store = try store(scratch)
      let other = store
      let isFirst = Monitor(true)
      store.watch = { [self, other] call throws(StoreError) in
        let acts = isFirst.look { isFirst in
          defer { isFirst = isFirst && call.verb != "finish" }
          return isFirst && call.verb == "finish"
        }
        guard acts else { return }
        takeLocks(other.memory)
        if isOther { _ = try? other.save(at: 1_700_200_000) }
      }
      var failure: Failure?
      do { try store.save(at: 1_700_100_000) } catch { failure = error as? Failure }
      #expect((failure != nil) == isOther, "\(failure?.message ?? "")")
      let series = try other.open().series(nil, host: [])
      #expect(try series.sets().count == 2)
      #expect(try store.memory.folder(Bytes("host")).names().allSatisfy { !$0.starts(with: Bytes("lock.")) })
    }
  }
}
