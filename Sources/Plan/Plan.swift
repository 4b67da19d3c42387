/// What a plan says: values, and where in its file each of them stands. It knows nothing of commands.
import Posix

/// A place in a text, counted from 1; columns are characters.
public struct Position: Comparable, Sendable {
  public var line: Int
  public var column: Int

  public static func < (a: Position, b: Position) -> Bool { (a.line, a.column) < (b.line, b.column) }
}

/// Why a file of plans cannot be used.
public struct PlanMistake: Error, Sendable {
  public let at: Position
  /// One lower-case line.
  public let message: String
  public let hint: String?

  public init(at: Position, _ message: String, hint: String? = nil) {
    (self.at, self.message, self.hint) = (at, message, hint)
  }
}

/// A key and its value.
public struct Setting: Sendable {
  public enum Value: Equatable, Sendable {
    case flag(Bool)
    case number(Int64)
    case text(Bytes)
  }
  public let key: String
  public let value: Value
  /// Of the value.
  public let at: Position

  public init(_ key: String, _ value: Value, at: Position) { (self.key, self.value, self.at) = (key, value, at) }

  /// As it would stand on a command line.
  public var word: Bytes {
    switch value {
    case .flag(let isSet): Bytes(isSet ? "true" : "false")
    case .number(let number): Bytes("\(number)".utf8)
    case .text(let text): text
    }
  }

  /// Whether it asks for something: a flag may be false.
  public var isSet: Bool { value != .flag(false) }
}

/// A store, as a plan names it.
public struct PlanStore: Sendable {
  public enum Place: Sendable {
    /// A path or an address.
    case at(Setting)
    /// The label, or the beginning of the UUID, of a store that this machine has seen.
    case known(Setting)
  }
  /// Of its table in the file, where it has one.
  public var name: String?
  public var place: Place
  /// How it is opened; the keys are the names of options.
  public var options: [Setting] = []

  public var setting: Setting {
    switch place {
    case .at(let setting), .known(let setting): setting
    }
  }
}

public struct PlanCommand: Sendable {
  public var path: Setting
  public var command: Setting
}

public struct PlanCopy: Sendable {
  public var store: PlanStore
  public var skipsMissing: Bool
}

/// What is run around a backup.
public struct PlanHooks: Sendable {
  public var before: [Setting] = []
  public var after: [Setting] = []
  public var onFailure: [Setting] = []
  /// Of each, in seconds.
  public var timeLimit = 600
}

public struct PlanCheck: Sendable {
  /// Seconds.
  public var every: Int64
  public var isQuick: Bool
}

/// Who is told, and when.
public struct PlanTelling: Sendable {
  public var isAlways = false
  /// Seconds without a good run, or without a store being seen.
  public var silence: Int64?
  public var command: Setting?
  public var mail: Setting?
  public var url: Setting?
  /// By a message on the desktop, where there is one.
  public var usesDesktop = false
  /// Of each, in seconds.
  public var timeLimit = 60
}

public struct Plan: Sendable {
  public var name: String
  public var at: Position
  public var store: PlanStore
  /// Where the store is not there, the run ends with success.
  public var skipsMissing = false
  public var series: Setting?
  public var sources: [Setting] = []
  public var commands: [PlanCommand] = []
  /// How it is saved; the keys are the names of options.
  public var options: [Setting] = []
  /// What is left out, likewise.
  public var exclusions: [Setting] = []
  /// Which points stay, likewise but for `keep-` before them.
  public var keep: [Setting] = []
  public var folds = false
  /// How many of a hundred entries may be new, changed or gone in one run before nothing is pruned any more; 0: any.
  public var spike: Int64 = 50
  public var check: PlanCheck?
  /// How much of the newest point is restored for a trial after each run.
  public var share: Setting?
  public var copies: [PlanCopy] = []
  /// Whether the page of the store is made anew.
  public var writesPage = false
  public var hooks = PlanHooks()
  public var telling: PlanTelling?

  public init(name: String, at: Position, store: PlanStore) { (self.name, self.at, self.store) = (name, at, store) }
}
