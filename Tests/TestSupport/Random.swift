/// Random numbers that can be had again: one seed gives one sequence, on every machine.
import Glibc
import Posix

/// SplitMix64.
public struct Random: RandomNumberGenerator, Sendable {
  public let seed: UInt64
  private var state: UInt64

  public init(seed: UInt64) {
    self.seed = seed
    state = seed
  }

  /// Seeded by `SHEAF_SEED` where that is set, else by chance; says on standard error how to have the same again.
  public init(label: String = "random") {
    let given = Host.environment("SHEAF_SEED").flatMap { UInt64($0.shown) }
    self.init(seed: given ?? SystemRandomNumberGenerator.seed())
    // One write, so that tests that run at the same time do not mix their lines.
    let line = Bytes("\(label): SHEAF_SEED=\(seed)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
  }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  // The standard library may change how it makes a range out of the numbers; these stay as they are.

  /// 0 to `limit - 1`.
  public mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(limit, 1))) }

  public mutating func number(in range: ClosedRange<Int>) -> Int { range.lowerBound + below(range.count) }

  /// True once in `count` times.
  public mutating func once(in count: Int) -> Bool { below(count) == 0 }

  public mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }

  /// `count` of them, or all where there are fewer, in random order.
  public mutating func pick<T>(_ count: Int, of choices: [T]) -> [T] {
    var rest = choices
    var picked: [T] = []
    while picked.count < count, !rest.isEmpty { picked.append(rest.remove(at: below(rest.count))) }
    return picked
  }

  public mutating func bytes(_ count: Int) -> Bytes { (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 24) } }
}

extension SystemRandomNumberGenerator {
  /// Short enough to be typed.
  fileprivate static func seed() -> UInt64 {
    var generator = SystemRandomNumberGenerator()
    return generator.next() >> 32
  }
}
