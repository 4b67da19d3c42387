/// The command line's words as bytes. The parser takes text, so a byte that is not UTF-8 goes through it as U+F8FF and
/// two hexadecimal digits, and so does U+F8FF itself.
import ArgumentParser
import Posix
import SheafCore

enum Arguments {
  private static let mark: Unicode.Scalar = "\u{F8FF}"

  /// What the parser is given: escaped, and with `-s STORE` moved behind the command's name where it stood before it.
  static func prepared() -> [String] {
    var words = Host.commandLine().dropFirst().map(escape)
    var moved: [String] = []
    while let first = words.first {
      if first == "-s" || first == "--store", words.count >= 2 {
        moved += words.prefix(2)
        words.removeFirst(2)
      } else if first.hasPrefix("--store=") || (first.hasPrefix("-s") && first.count > 2 && !first.hasPrefix("--")) {
        moved.append(words.removeFirst())
      } else {
        break
      }
    }
    guard !moved.isEmpty, let command = words.first, !command.hasPrefix("-") else { return moved + words }
    return [command] + moved + words.dropFirst()
  }

  /// `--NAME=VALUE`, as a command line of this program has it.
  static func option(_ name: String, _ value: Bytes) -> String { "--\(name)=" + escape(value) }

  static func escape(_ bytes: Bytes) -> String {
    var text = ""
    var rest = bytes[...]
    while let byte = rest.first {
      var iterator = rest.prefix(4).makeIterator()
      var decoder = UTF8()
      if case .scalarValue(let scalar) = decoder.decode(&iterator), scalar != mark {
        text.unicodeScalars.append(scalar)
        rest = rest.dropFirst(UTF8.width(scalar))
      } else {
        text.unicodeScalars.append(mark)
        text += [byte].hex
        rest = rest.dropFirst()
      }
    }
    return text
  }

  static func unescape(_ text: String) -> Bytes {
    var bytes = Bytes()
    var scalars = text.unicodeScalars[...]
    while let scalar = scalars.popFirst() {
      if scalar == mark {
        let digits = String(String.UnicodeScalarView(scalars.prefix(2)))
        scalars = scalars.dropFirst(2)
        bytes.append(UInt8(digits, radix: 16) ?? 0x3f)
      } else {
        bytes += Array(String(scalar).utf8)
      }
    }
    return bytes
  }
}

/// A word of the command line, byte for byte.
struct RawText: ExpressibleByArgument {
  let bytes: Bytes
  init(argument: String) { bytes = Arguments.unescape(argument) }

  /// As a path in a store: without leading slashes, `.` and doubled slashes.
  var storePath: Bytes { Self.storePath(bytes) }

  /// As a path in a store: as it stands, or else as a terminal was shown it, with `\\ooo` for bytes that cannot be
  /// printed, or else from the folder that the user is in, or else from one of the sources. `.` and `..` in front mean
  /// that folder alone. `exists` is asked only where that makes a difference. Throws where the text is empty: it must not
  /// mean everything.
  func storePath(below sources: [Bytes] = [], where exists: (Bytes) throws -> Bool) throws -> Bytes {
    guard let first = bytes.first else { throw Failure(.usage, "an empty path names nothing", hint: "/ is everything") }
    var texts = [bytes]
    if let shown = Show.bytes(shown: bytes), shown != bytes { texts.append(shown) }
    guard first != 47 else { return try Self.first(of: texts.map(Self.storePath), where: exists) }
    let here = (try? Host.resolved(Bytes("."))).map { [$0] } ?? []
    let isFromHere = [Bytes("."), Bytes("..")].contains(Bytes(bytes.prefix { $0 != 47 }))
    var candidates = isFromHere ? [] : texts.map(Self.storePath).filter { !$0.isEmpty }
    for place in isFromHere ? here : here + sources { candidates += texts.map { Self.storePath(place.joined($0)) } }
    guard !candidates.isEmpty else {
      throw Failure(.usage, "the current folder cannot be told", hint: "use a whole path")
    }
    return try Self.first(of: candidates, where: exists)
  }

  private static func first(of candidates: [Bytes], where exists: (Bytes) throws -> Bool) throws -> Bytes {
    try candidates.count > 1 ? candidates.first(where: exists) ?? candidates[0] : candidates[0]
  }

  /// The folders that what is typed of a path up to its last slash may mean, in the order of `storePath(below:where:)`.
  static func places(_ folder: Bytes, below sources: [Bytes]) -> [Bytes] {
    var texts = [folder]
    if let shown = Show.bytes(shown: folder), shown != folder { texts.append(shown) }
    if folder.first == 47 { return texts.map(storePath) }
    let here = (try? Host.resolved(Bytes("."))).map { [$0] } ?? []
    let isFromHere = [Bytes("."), Bytes("..")].contains(Bytes(folder.prefix { $0 != 47 }))
    let asStored = isFromHere ? [] : texts.map(storePath)
    let places = isFromHere ? here : here + sources
    return asStored + places.flatMap { place in texts.map { storePath(place.joined($0)) } }
  }

  private static func storePath(_ bytes: Bytes) -> Bytes {
    var parts: [Bytes.SubSequence] = []
    for part in bytes.split(separator: 47) where part != [46] {
      if part == [46, 46], !parts.isEmpty { parts.removeLast() } else { parts.append(part) }
    }
    return Bytes(parts.joined(separator: [47]))
  }
}

extension Size: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension Age: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension Share: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension KeepCount: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension Duration: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
  public var defaultValueDescription: String { seconds % 60 == 0 ? "\(seconds / 60)m" : "\(seconds)s" }
}
