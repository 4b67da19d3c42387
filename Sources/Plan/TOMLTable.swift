/// What a TOML document says, with the place of each key and each value in its text.
import Posix

/// A value, and at which byte of the text it begins.
public struct TOMLNode {
  public enum Value {
    case string(Bytes)
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
    /// A date, a time or both, as it is written.
    case date(Bytes)
    case array([TOMLNode])
    case table(TOMLTable)

    /// What kind of value it is, in words.
    public var kind: String {
      switch self {
      case .string: "a text"
      case .integer: "a number"
      case .float: "a number with a fraction"
      case .boolean: "true or false"
      case .date: "a date"
      case .array: "a list"
      case .table: "a table"
      }
    }
  }

  public var value: Value
  public var offset: Int
}

/// Keys and values in the order in which they were written.
public final class TOMLTable {
  public struct Entry {
    public let key: Bytes
    /// Where the key begins.
    public let offset: Int
    public var node: TOMLNode
  }

  /// How it came to be, which decides what may be added to it.
  enum Origin {
    /// By the name of a table inside it.
    case implied
    /// By a header, or as the whole document.
    case header
    /// By a key with dots.
    case dotted
    /// In braces: nothing is added.
    case inline
  }

  public internal(set) var entries: [Entry] = []
  var origin: Origin
  /// Keys of lists that were made by `[[…]]`: these alone grow.
  var growingLists: Set<Bytes> = []
  private var places: [Bytes: Int] = [:]

  init(_ origin: Origin) { self.origin = origin }

  public subscript(key: Bytes) -> Entry? { places[key].map { entries[$0] } }

  func add(_ key: Bytes, at offset: Int, _ node: TOMLNode) {
    places[key] = entries.count
    entries.append(Entry(key: key, offset: offset, node: node))
  }

  /// Puts another element behind those of a list.
  func append(_ node: TOMLNode, to key: Bytes) {
    guard let place = places[key], case .array(let list) = entries[place].node.value else { return }
    entries[place].node.value = .array(list + [node])
  }
}

/// Why a text is no TOML, and at which byte.
public struct TOMLMistake: Error {
  public let offset: Int
  /// One lower-case line.
  public let message: String
}
