/// Why a task as a whole could not be done, and what the program's exit code says of it.
import Posix
import Storage
import Tar

public struct Failure: Error {
  public enum Kind: Sendable {
    case failed, damaged, noStore, locked, usage, interrupted
  }
  public let kind: Kind
  /// One lower-case line without a full stop.
  public let message: String
  public let hint: String?
  /// What the system or the store said, where that is why.
  public let cause: StoreError?

  public init(_ kind: Kind, _ message: String, hint: String? = nil, cause: StoreError? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
    self.cause = cause
  }

  public init(_ error: SystemError, hint: String? = nil) { self.init(StoreError(error), hint: hint) }

  public init(_ error: StoreError, hint: String? = nil) {
    if error.kind == .damaged {
      self.init(.damaged, "\(Show.path(error.path)) \(error.cause)", hint: hint, cause: error)
      return
    }
    self.init(
      .failed, "cannot \(error.operation) \(Show.path(error.path)): \(error.cause)", hint: hint ?? error.driveHint,
      cause: error)
  }

  static func damaged(_ message: String) -> Failure { Failure(.damaged, message) }
}

extension StoreError {
  /// What may be the matter where no single file is.
  var driveHint: String? {
    switch kind {
    case .readOnly: "the drive is read-only, or was made so after an error; 'dmesg' may tell more"
    case .gone:
      "the drive may have been pulled out, or it fails ('dmesg' may tell more): with the drive back, run this again"
    case .exhausted: "let it have more files open: 'ulimit -n' tells how many it may, /etc/security/limits.conf sets it"
    case .unreachable: "run it again when that machine can be reached; every earlier point is as it was"
    default: nil
    }
  }
}

extension SystemError {
  /// In a message that names the path already.
  var asProblem: String { "cannot \(operation): \(cause)" }
  /// Of an entry that was there when its directory was listed.
  var asUnseen: String { isMissing ? "vanished before it could be read" : asProblem }
}

/// Runs system calls whose failure ends the task.
func system<R>(_ body: () throws(SystemError) -> R) throws(Failure) -> R {
  do throws(SystemError) { return try body() } catch { throw Failure(error) }
}

/// Asks a store, whose failure ends the task.
func stored<R>(_ body: () throws(StoreError) -> R) throws(Failure) -> R {
  do throws(StoreError) { return try body() } catch { throw Failure(error) }
}

/// Bytes made fit to be shown: control characters and what is not UTF-8 become `\ooo`, so that no name can send a
/// terminal an escape sequence.
public enum Show {
  /// The term of the format, and what it means to whoever reads it for the first time.
  static func member(at offset: Int64) -> String { "the gzip member (compressed piece) at byte \(offset)" }
  static let inDamagedMember = "lies in a damaged gzip member (compressed piece)"

  public static func path(_ bytes: Bytes) -> String {
    var result = ""
    var rest = bytes[...]
    while !rest.isEmpty {
      if let (scalar, length) = decode(rest), isPrintable(scalar) {
        if scalar == "\\" { result += "\\\\" } else { result.unicodeScalars.append(scalar) }
        rest = rest.dropFirst(length)
      } else {
        let octal = String(rest.first!, radix: 8)
        result += "\\" + String(repeating: "0", count: 3 - octal.count) + octal
        rest = rest.dropFirst()
      }
    }
    return result
  }

  /// What `path` shows as `text`; nil where that shows nothing so.
  public static func bytes(shown text: Bytes) -> Bytes? {
    var result = Bytes()
    var rest = text[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        result.append(byte)
        continue
      }
      if rest.first == byte {
        result.append(rest.removeFirst())
        continue
      }
      let digits = rest.prefix(3)
      guard digits.count == 3, let value = UInt8(Bytes(digits).shown, radix: 8) else { return nil }
      result.append(value)
      rest = rest.dropFirst(3)
    }
    return result
  }

  /// No C0, C1 or DEL, no invisible direction marks, nothing private or unassigned.
  public static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
    default: true
    }
  }

  /// The first scalar of valid UTF-8 and its length in bytes.
  static func decode(_ bytes: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
    var iterator = bytes.prefix(4).makeIterator()
    var decoder = UTF8()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
    return (scalar, UTF8.width(scalar))
  }

  public static func isUTF8(_ bytes: Bytes) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

  /// A path as a word that can be put into a shell's command line, where that takes no more than quotes.
  public static func word(_ bytes: Bytes) -> String {
    let plain = Set(Bytes("/_.,:@%+=-".utf8))
    func isPlain(_ byte: UInt8) -> Bool {
      switch byte {
      case 48...57, 65...90, 97...122: true
      default: plain.contains(byte)
      }
    }
    if !bytes.isEmpty, bytes.allSatisfy(isPlain) { return bytes.shown }
    return "'" + path(bytes).split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }

  /// `0 B`, `999 B`, `1.2 kB`, `34 MB`: three digits, in thousands.
  public static func size(_ bytes: some BinaryInteger) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 999.5, unit < units.count - 1 {
      value /= 1000
      unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\(decimal(value)) \(units[unit])"
  }

  /// One digit after the point below ten, none above.
  public static func decimal(_ value: Double) -> String {
    if value >= 9.95 { return String(Int64(saturating: value.rounded())) }
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }

  /// RFC 4648, section 4, with padding.
  public static func base64(_ bytes: Bytes) -> String {
    let out = Buffer()
    Base64.append(bytes, to: out)
    while out.count % 4 != 0 { out.append(UInt8(ascii: "=")) }
    return Bytes(out).shown
  }
}
