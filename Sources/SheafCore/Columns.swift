/// How many columns of a terminal a text takes.

extension Show {
  /// Wide characters take two columns, marks that combine with the one before none, and styles (`ESC [ … m`) neither.
  public static func columns(_ text: some StringProtocol) -> Int {
    var columns = 0
    var scalars = text.unicodeScalars[...]
    while let scalar = scalars.popFirst() {
      if scalar == "\u{1B}", scalars.first == "[" {
        while let next = scalars.popFirst(), next != "m" {}
      } else {
        columns += width(scalar)
      }
    }
    return columns
  }

  /// The beginning of a text that takes at most so many columns.
  public static func prefix(_ text: String, columns: Int) -> String {
    var result = String.UnicodeScalarView()
    var left = columns
    for scalar in text.unicodeScalars {
      left -= width(scalar)
      if left < 0 { break }
      result.append(scalar)
    }
    return String(result)
  }

  /// The end of a text that takes at most so many columns.
  public static func suffix(_ text: String, columns: Int) -> String {
    var result: [Unicode.Scalar] = []
    var left = columns
    for scalar in text.unicodeScalars.reversed() {
      left -= width(scalar)
      if left < 0 { break }
      result.append(scalar)
    }
    // A mark whose character was cut off combines with nothing.
    while let last = result.last, width(last) == 0 { result.removeLast() }
    return String(String.UnicodeScalarView(result.reversed()))
  }

  /// As terminals have it: East_Asian_Width W and F of Unicode's annex 11, and emoji, are two columns wide.
  private static func width(_ scalar: Unicode.Scalar) -> Int {
    let value = scalar.value
    if value < 0x300 { return 1 }
    // The vowels and last consonants of Hangul stand within the syllable's first.
    if (0x1160...0x11FF).contains(value) || (0xD7B0...0xD7FF).contains(value) { return 0 }
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: break
    }
    return wide.contains { $0.contains(value) } || scalar.properties.isEmojiPresentation ? 2 : 1
  }

  private static let wide: [ClosedRange<UInt32>] = [
    0x1100...0x115F, 0x2329...0x232A, 0x2E80...0x303E, 0x3041...0x3247, 0x3250...0x4DBF, 0x4E00...0xA4C6,
    0xA960...0xA97C, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE6B, 0xFF01...0xFF60,
    0xFFE0...0xFFE6, 0x16FE0...0x1B2FB, 0x1F200...0x1F2FF, 0x20000...0x3FFFD,
  ]
}
