/// Text as HTML, so that nothing in a name is taken for anything but a name.
import Posix
import SheafCore

enum HTML {
  /// Escapes what has a meaning, in text as in attributes.
  static func text(_ text: String) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count + 16)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A name or a path: bytes that cannot be shown, control characters and marks of direction as octal digits.
  static func path(_ bytes: Bytes) -> String { text(Show.path(bytes)) }

  /// A number in the coordinates of a drawing, with one digit after the point.
  static func number(_ value: Double) -> String {
    let tenths = Int64(saturating: (value * 10).rounded())
    let (whole, rest) = (tenths.magnitude / 10, tenths.magnitude % 10)
    return (tenths < 0 ? "-" : "") + (rest == 0 ? "\(whole)" : "\(whole).\(rest)")
  }
}
