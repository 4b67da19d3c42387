/// An age key file: `AGE-SECRET-KEY-1…`, one a line; comments begin with `#`.
import Posix

public enum KeyFile {
  /// Of bytes that are read as a key file.
  public static let limit = 1 << 20

  /// What stands in it.
  public struct Parts {
    /// Each with the comment right above it.
    public var identities: [(identity: X25519Identity, title: Bytes)] = []
    /// Without the `#`.
    public var comments: [Bytes] = []
  }

  public static func identities(_ text: Secret) throws(AgeFailure) -> [X25519Identity] {
    let found = try parts(text).identities.map(\.identity)
    guard !found.isEmpty else { throw .key("it has no key") }
    return found
  }

  public static func parts(_ text: Secret) throws(AgeFailure) -> Parts {
    defer { withExtendedLifetime(text) {} }
    var parts = Parts()
    var title = Bytes()
    var number = 0
    for line in text.bytes.split(separator: 10, omittingEmptySubsequences: false) {
      number += 1
      var line = UnsafeRawBufferPointer(rebasing: line)
      while let last = line.last, last == 13 || last == 32 || last == 9 {
        line = UnsafeRawBufferPointer(rebasing: line.dropLast())
      }
      if line.isEmpty { continue }
      if line[0] == UInt8(ascii: "#") {
        title = Bytes(line.dropFirst().drop { $0 == 32 })
        parts.comments.append(title)
        continue
      }
      guard let identity = X25519Identity(line) else { throw .key("line \(number) \(kind(line))") }
      parts.identities.append((identity, title))
      title = []
    }
    return parts
  }

  private static func kind(_ line: UnsafeRawBufferPointer) -> String {
    func begins(_ text: StaticString) -> Bool { line.starts(with: Bytes(text)) }
    if begins("age1") { return "is a recipient, for writing; the key begins with AGE-SECRET-KEY-1" }
    if begins("AGE-SECRET-KEY-1") { return "is a key with a slip of the pen in it" }
    if begins("AGE-SECRET-KEY-PQ-") { return "is a post-quantum key, a kind that is not known here" }
    if begins("AGE-PLUGIN-") { return "is a key for a plugin, a kind that is not known here" }
    if begins("-----BEGIN AGE ") { return "is armor, which is not read here: take it off with 'age --decrypt'" }
    if begins("-----BEGIN ") { return "is a key of another program; AGE-SECRET-KEY-1 is what is known here" }
    return "is no key"
  }
}
