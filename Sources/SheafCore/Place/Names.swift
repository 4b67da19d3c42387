/// Names in a target of files that are not whole yet.
import Posix
import Tar

enum Names {
  private static let head = Bytes(".sheaf-restore-")
  /// The same for all names that this process makes.
  private static let run = Bytes(Host.random(4).hex.utf8)
  private static let randomCount = 24

  /// One that nothing else has. Its last part follows from the others, so that what a restore that was killed left is not
  /// mistaken for anything else.
  static func temporary() -> Bytes {
    let random = run + Bytes(Host.random(8).hex.utf8)
    return head + random + [UInt8(ascii: "-")] + check(random)
  }

  /// Whether another process made the name: one that was killed, where no other is at work.
  static func isLeftover(_ name: Bytes) -> Bool {
    guard name.starts(with: head), !name.starts(with: head + run) else { return false }
    let random = Bytes(name.dropFirst(head.count).prefix(randomCount))
    return random.count == randomCount && name == head + random + [UInt8(ascii: "-")] + check(random)
  }

  private static func check(_ random: Bytes) -> Bytes {
    let hasher = SHA256()
    hasher.update(head + random)
    return Bytes(hasher.finish().hex.prefix(16).utf8)
  }
}
