/// One word of a line as it was typed, taken apart as the shell would do it: quotes go, nothing is run.
import Posix

struct ShellWord {
  enum Shell: String, CaseIterable { case bash, zsh, fish }

  /// Without its quotes.
  let text: Bytes
  /// Where it ends in what it was taken from.
  let end: Int
  /// The quote that is open there.
  let open: UInt8?

  static let doubleQuote = UInt8(ascii: "\""), quote = UInt8(ascii: "'"), backslash = UInt8(ascii: "\\")

  static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 10 }

  /// The word that the text begins with. `expands`: the home folder stands for `~` and `$HOME`, nothing for other variables.
  init(at text: ArraySlice<UInt8>, _ shell: Shell, expands: Bool) {
    var word = Bytes()
    var rest = text
    var open: UInt8?
    if expands, rest.first == UInt8(ascii: "~"), rest.count == 1 || rest[rest.startIndex + 1] == 47,
      let home = Host.environment("HOME")
    {
      word += home
      rest = rest.dropFirst()
    }
    while let byte = rest.first {
      if open == nil, Self.isBlank(byte) { break }
      rest = rest.dropFirst()
      switch (open, byte) {
      case (nil, Self.quote), (nil, Self.doubleQuote): open = byte
      case (byte, Self.quote), (byte, Self.doubleQuote): open = nil
      case (let open, Self.backslash) where open != Self.quote || shell == .fish:
        guard let next = rest.first else { break }
        // Between quotes most of them mean themselves.
        let special = open == Self.doubleQuote ? Bytes("\"\\$`\n") : open == Self.quote ? Bytes("'\\") : [next]
        if !special.contains(next) { word.append(byte) }
        if next != 10 || shell == .fish { word.append(next) }
        rest = rest.dropFirst()
      case (let open, UInt8(ascii: "$")) where open != Self.quote && expands: word += Self.variable(&rest)
      default: word.append(byte)
      }
    }
    (self.text, end, self.open) = (word, rest.startIndex, open)
  }

  /// What stands for `NAME` or `{NAME}`. Of a shell's variables the home folder alone is known here.
  private static func variable(_ rest: inout ArraySlice<UInt8>) -> Bytes {
    func isOfName(_ byte: UInt8) -> Bool {
      switch byte {
      case 48...57, 65...90, 97...122, 95: true
      default: false
      }
    }
    let isBraced = rest.first == UInt8(ascii: "{")
    if isBraced { rest = rest.dropFirst() }
    let name = Bytes(rest.prefix(while: isOfName))
    rest = rest.dropFirst(name.count)
    if isBraced, rest.first == UInt8(ascii: "}") { rest = rest.dropFirst() }
    return name == Bytes("HOME") ? Host.environment("HOME") ?? [] : []
  }
}
