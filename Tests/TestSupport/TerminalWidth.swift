/// How wide a text is on a terminal, by the C library's own table.
import Glibc

public enum TerminalWidth {
  private typealias Function = @convention(c) (wchar_t) -> Int32

  /// nil where the library does not tell, or knows no such character.
  public static func of(_ scalar: Unicode.Scalar) -> Int? {
    guard let locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nil) else { return nil }
    let before = uselocale(locale)
    defer {
      uselocale(before)
      freelocale(locale)
    }
    // Glibc's header has it only where X/Open is asked for.
    guard let address = dlsym(nil, "wcwidth") else { return nil }
    let width = unsafeBitCast(address, to: Function.self)(wchar_t(scalar.value))
    return width < 0 ? nil : Int(width)
  }

  /// Styles (`ESC [ … m`) take no room.
  public static func of(_ line: String) -> Int {
    var isStyle = false
    return line.unicodeScalars.reduce(0) { sum, scalar in
      if scalar == "\u{1B}" { isStyle = true }
      defer { if scalar == "m" { isStyle = false } }
      return isStyle ? sum : sum + (of(scalar) ?? 0)
    }
  }
}
