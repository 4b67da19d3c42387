/// The store as the command line names it, for commands that messages propose: they are there to be copied, and run as
/// they stand.
import Posix
import SheafCore

enum GivenStore {
  private struct Parts: Sendable {
    var store = ""
    /// Options that say how it is reached and opened.
    var opening = ""
    var series = ""
    var config = ""
  }
  private static let given = Monitor(Parts())

  private static let openingOptions: Set = [
    "--key", "--passphrase-file", "--passphrase-command", "--sftp-command", "--s3-endpoint",
  ]

  /// Takes note of what a command line says.
  static func note(_ arguments: [String]) {
    var parts = Parts()
    if let place = Host.environment("SHEAF_STORE"), !place.isEmpty { parts.store = Show.word(place) }
    var rest = arguments.prefix { $0 != "--" }
    while let word = rest.popFirst() {
      var name = word
      var value: String?
      if word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
        name = String(word[..<equals])
        value = String(word[word.index(after: equals)...])
      } else if word.hasPrefix("-s"), word.count > 2 {
        name = "-s"
        value = String(word.dropFirst(2))
      }
      let isStore = name == "-s" || name == "--store"
      guard isStore || name == "--series" || name == "--config" || openingOptions.contains(name),
        let text = value ?? rest.popFirst()
      else { continue }
      let shown = Show.word(Arguments.unescape(text))
      if isStore {
        parts.store = shown
      } else if name == "--series" {
        parts.series = " --series \(shown)"
      } else if name == "--config" {
        parts.config = " --config \(shown)"
      } else {
        parts.opening += " \(name) \(shown)"
      }
    }
    let noted = parts
    given.look { $0 = noted }
  }

  /// What a command needs behind `-s STORE` to open it; empty or with a blank in front.
  static var opening: String { given.look { $0.opening } }

  /// `--config FILE` with a blank in front, or nothing.
  static var config: String { given.look { $0.config } }

  /// A message in which the commands name the store as it was given, and say how it is opened.
  static func filled(_ text: String) -> String {
    guard text.contains("'sheaf "), text.contains(" -s ") else { return text }
    let parts = given.look { $0 }
    guard !parts.store.isEmpty else { return text }
    let short = "-s \(parts.store)"
    let long = short + parts.opening
    var filled = text
    if !parts.opening.isEmpty, !text.contains(long) {
      for end in [" ", "'"] { filled = filled.replacing(short + end, with: long + end) }
    }
    return filled.replacing("-s STORE", with: long + parts.series)
  }
}
