/// Reads GNU tar's list of a directory as it comes: a letter and a name, each ended by a NUL; an empty one ends it
/// (GNU tar's manual, "Dumpdir").
import Posix

struct DumpdirReader {
  private var text = Bytes()
  private var hasEnded = false
  /// More than any path takes.
  private static let limit = 1 << 16

  /// Calls `body` with each that is whole. False: one is too long.
  mutating func take(
    _ bytes: UnsafeRawBufferPointer, _ body: (_ letter: UInt8, _ name: Bytes) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    for byte in bytes where !hasEnded {
      guard byte == 0 else {
        text.append(byte)
        if text.count > Self.limit { return false }
        continue
      }
      guard let letter = text.first else {
        hasEnded = true
        break
      }
      try body(letter, Bytes(text.dropFirst()))
      text.removeAll(keepingCapacity: true)
    }
    return true
  }
}
