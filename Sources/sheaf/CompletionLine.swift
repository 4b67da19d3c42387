/// A command line up to the cursor as it was typed, taken apart as the shell would do it: quotes go, nothing is run.
import Posix

struct CompletionLine {
  enum Shell: String, CaseIterable { case bash, zsh, fish }

  /// Without their quotes. The last is the one that the cursor is in, and may be empty.
  let words: [Bytes]
  /// The beginning of the last word that the shell leaves as it is: bash breaks words at `:` and `=`, too.
  let kept: Bytes
  /// Of the last word: the quote that is open at the cursor.
  private let open: UInt8?

  /// `replaced`: how many bytes of the line's end the shell replaces; nil: the whole last word.
  init(_ text: Bytes, _ shell: Shell, replaced: Int? = nil) {
    var words: [Bytes] = []
    var kept = Bytes()
    var rest = text[...]
    let open: UInt8?
    while true {
      rest = rest.drop(while: Self.isBlank)
      let (_, end, last) = Self.word(rest, shell, expands: false)
      // Variables and ~ of the word that is being typed stay as they are: what is proposed begins as it does.
      let isLast = end == text.endIndex
      words.append(Self.word(rest[..<end], shell, expands: !isLast).word)
      if isLast {
        if let replaced { kept = Self.word(rest.dropLast(replaced), shell, expands: false).word }
        open = last
        break
      }
      rest = text[end...]
    }
    self.words = words
    self.kept = kept
    self.open = open
  }

  /// What bash puts in for the rest of a word, quoted as the open quote needs it: bash itself lets a `$` stand.
  func quoted(_ text: Bytes) -> Bytes {
    if open == Self.quote {
      let parts = text.split(separator: Self.quote, omittingEmptySubsequences: false)
      return Bytes(parts.joined(separator: Bytes("'\\''")))
    }
    let special = open == nil ? Bytes(" \t\n\\'\"`$&|;<>()*?[]{}!#~^") : Bytes("\"\\`$")
    return text.flatMap { special.contains($0) ? [Self.backslash, $0] : [$0] }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 10 }

  private static let doubleQuote = UInt8(ascii: "\""), quote = UInt8(ascii: "'"), backslash = UInt8(ascii: "\\")

  /// The word that the text begins with, where it ends, and the quote that is open there.
  private static func word(
    _ text: ArraySlice<UInt8>, _ shell: Shell, expands: Bool
  ) -> (word: Bytes, end: Int, open: UInt8?) {
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
      if open == nil, isBlank(byte) { break }
      rest = rest.dropFirst()
      switch (open, byte) {
      case (nil, quote), (nil, doubleQuote): open = byte
      case (byte, quote), (byte, doubleQuote): open = nil
      case (let open, backslash) where open != quote || shell == .fish:
        guard let next = rest.first else { break }
        // Between quotes most of them mean themselves.
        let special = open == doubleQuote ? Bytes("\"\\$`\n") : open == quote ? Bytes("'\\") : [next]
        if !special.contains(next) { word.append(byte) }
        if next != 10 || shell == .fish { word.append(next) }
        rest = rest.dropFirst()
      case (let open, UInt8(ascii: "$")) where open != quote && expands: word += variable(&rest)
      default: word.append(byte)
      }
    }
    return (word, rest.startIndex, open)
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
