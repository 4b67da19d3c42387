/// Quantities as people write them.

/// A number of bytes: `500`, `10k`, `4.5G`, `1MiB`; `k M G T` count in 1024s, `kB MB GB TB` in 1000s.
public struct Size {
  public let bytes: Int64
  public init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let number = Double(digits), number >= 0 else { return nil }
    let factors: [String: Double] = [
      "": 1, "b": 1, "k": 1024, "m": 1_048_576, "g": 1_073_741_824, "t": 1_099_511_627_776, "kib": 1024,
      "mib": 1_048_576,
      "gib": 1_073_741_824, "tib": 1_099_511_627_776, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
    ]
    guard let factor = factors[text.dropFirst(digits.count).lowercased()], number * factor < 9e18 else {
      return nil
    }
    bytes = Int64(number * factor)
  }
}

/// How old something is: `12h`, `3d`, `1m14d`.
public struct Age {
  public let seconds: Int64
  public init?(_ text: String) {
    guard let seconds = Self.sum(text) else { return nil }
    self.seconds = seconds
  }

  /// Seconds of `90s`, `5min`, `12h`, `3d`, `2w`, `6m`, `1y`, and of several in a row, the largest unit first: `1m14d`.
  private static func sum(_ text: String) -> Int64? {
    var rest = text[...]
    var sum: Int64 = 0
    var unit = Int64.max
    repeat {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      let letters = rest.dropFirst(digits.count).prefix { $0.isASCII && $0.isLetter }
      guard let seconds = single(String(digits + letters)), let one = single("1" + String(letters)), one < unit else {
        return nil
      }
      unit = one
      sum += seconds
      rest = rest.dropFirst(digits.count + letters.count)
    } while !rest.isEmpty
    return sum
  }

  private static func single(_ text: String) -> Int64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let n = Int64(digits), n < 1_000_000 else { return nil }
    switch text.dropFirst(digits.count) {
    case "s": return n
    case "min": return n * 60
    case "h": return n * 3600
    case "d": return n * 86400
    case "w": return n * 7 * 86400
    case "m": return n * 30 * 86400
    case "y": return n * 365 * 86400
    default: return nil
    }
  }
}

/// How many points to keep: a number, or `all`.
public struct KeepCount {
  public let count: Int
  public init?(_ text: String) {
    guard let count = text == "all" ? Int.max : Int(text) else { return nil }
    self.count = count
  }
}

/// A length of time: `90s`, `15m`, `2h`, `1d`; a number alone counts seconds.
public struct Duration {
  public let seconds: Int

  public init(seconds: Int) { self.seconds = seconds }

  public init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let units = ["": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400]
    guard let number = Int(digits), let unit = units[text.dropFirst(digits.count).lowercased()] else { return nil }
    let (product, isTooLarge) = number.multipliedReportingOverflow(by: unit)
    seconds = isTooLarge ? Int.max / 2 : min(product, Int.max / 2)
  }
}

/// A part of something, in percent: `5%`, `0.5%` or `5`.
public struct Share {
  public let percent: Double
  public var fraction: Double { percent / 100 }

  public init(percent: Double) { self.percent = percent }

  /// nil: it is no part, or none of anything.
  public init?(_ text: String) {
    let digits = text.hasSuffix("%") ? String(text.dropLast()) : text
    guard digits.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }), let value = Double(digits), value > 0,
      value <= 100
    else { return nil }
    percent = value
  }
}
