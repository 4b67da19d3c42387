/// Bytes that nobody is to find later: keys and passphrases. Wiped when freed, never shown.
import CCrypto
import Glibc
import Posix

public final class Secret: @unchecked Sendable, CustomStringConvertible, CustomReflectable {
  private let start: UnsafeMutableRawPointer
  private let capacity: Int
  public private(set) var count: Int

  /// Zeros.
  init(count: Int) {
    capacity = max(count, 1)
    start = calloc(capacity, 1)!
    self.count = count
  }

  public convenience init(copying bytes: UnsafeRawBufferPointer) {
    self.init(count: bytes.count)
    if let base = bytes.baseAddress { memcpy(start, base, bytes.count) }
  }

  /// Takes them over: `bytes` are zeros afterwards.
  public convenience init(moving bytes: inout Bytes) {
    self.init(count: bytes.count)
    bytes.withUnsafeMutableBytes { source in
      guard let base = source.baseAddress else { return }
      memcpy(start, base, source.count)
      OPENSSL_cleanse(base, source.count)
    }
    bytes = []
  }

  deinit {
    OPENSSL_cleanse(start, capacity)
    free(start)
  }

  /// As random as the system can make them. The corresponding C function is `RAND_bytes`.
  static func random(_ count: Int) -> Secret {
    let secret = Secret(count: count)
    precondition(RAND_bytes(secret.mutable, Int32(count)) == 1, "no random numbers to be had")
    return secret
  }

  /// Valid for as long as somebody holds the secret: not of a value that is gone with the expression.
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

  public func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) { withExtendedLifetime(self) { body(bytes) } }

  /// Where they are not secret, or are to be given away.
  public var copy: Bytes { withExtendedLifetime(self) { Bytes(bytes) } }

  /// For C functions; as many as `count`, and valid for as long as `bytes` are.
  var mutable: UnsafeMutablePointer<UInt8> { start.assumingMemoryBound(to: UInt8.self) }
  var pointer: UnsafePointer<UInt8> { UnsafePointer(mutable) }

  /// Leaves out what comes after.
  func truncate(to count: Int) { self.count = min(count, self.count) }

  /// Compares them in a time that does not tell where they differ.
  public func isSame(as other: Secret) -> Bool {
    withExtendedLifetime((self, other)) { count == other.count && CRYPTO_memcmp(start, other.start, count) == 0 }
  }

  /// Writes them, to a file that is private.
  public func write(to file: Descriptor) throws(SystemError) { try file.write(bytes) }

  public var description: String { "secret" }
  public var customMirror: Mirror { Mirror(self, children: []) }

  /// The first line of what can be read, without its end: of a file, a pipe or a terminal. `drained`: what comes after
  /// it is read, too, so that nobody who writes it is cut off.
  public static func line(
    of file: Descriptor, atMost limit: Int = 1 << 12, drained: Bool = false
  ) throws(SystemError) -> Secret {
    let line = try read(file, atMost: limit) { !drained && $0.contains(10) }
    let end = line.bytes.firstIndex(of: 10) ?? line.count
    line.truncate(to: end > 0 && line.bytes[end - 1] == 13 ? end - 1 : end)
    return line
  }

  /// Everything from where the file stands.
  public static func all(of file: Descriptor, atMost limit: Int) throws(SystemError) -> Secret {
    try read(file, atMost: limit) { _ in false }
  }

  private static func read(
    _ file: Descriptor, atMost limit: Int, until isEnough: (UnsafeRawBufferPointer) -> Bool
  ) throws(SystemError) -> Secret {
    let all = Secret(count: limit + 1)
    var done = 0
    while done <= limit {
      let count = try file.readSome(into: all.start + done, count: limit + 1 - done)
      if count == 0 || isEnough(UnsafeRawBufferPointer(start: all.start + done, count: count)) {
        done += count
        break
      }
      done += count
    }
    guard done <= limit else { throw .tooLarge(file.path) }
    all.truncate(to: done)
    return all
  }
}
