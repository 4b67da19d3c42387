/// A command line up to the cursor as it was typed, as words.
import Posix

struct CompletionLine {
  /// Without their quotes. The last is the one that the cursor is in, and may be empty.
  let words: [Bytes]
  /// The beginning of the last word that the shell leaves as it is: bash breaks words at `:` and `=`, too.
  let kept: Bytes
  /// Of the last word: the quote that is open at the cursor.
  private let open: UInt8?

  /// `replaced`: how many bytes of the line's end the shell replaces; nil: the whole last word.
  init(_ text: Bytes, _ shell: ShellWord.Shell, replaced: Int? = nil) {
    var words: [Bytes] = []
    var kept = Bytes()
    var rest = text[...]
    let open: UInt8?
    while true {
      rest = rest.drop(while: ShellWord.isBlank)
      let typed = ShellWord(at: rest, shell, expands: false)
      // Variables and ~ of the word that is being typed stay as they are: what is proposed begins as it does.
      if typed.end == text.endIndex {
        words.append(typed.text)
        if let replaced { kept = ShellWord(at: rest.dropLast(replaced), shell, expands: false).text }
        open = typed.open
        break
      }
      words.append(ShellWord(at: rest[..<typed.end], shell, expands: true).text)
      rest = text[typed.end...]
    }
    (self.words, self.kept, self.open) = (words, kept, open)
  }

  /// What bash puts in for the rest of a word, quoted as the open quote needs it: bash itself lets a `$` stand.
  func quoted(_ text: Bytes) -> Bytes {
    if open == ShellWord.quote {
      let parts = text.split(separator: ShellWord.quote, omittingEmptySubsequences: false)
      return Bytes(parts.joined(separator: Bytes("'\\''")))
    }
    let special = open == nil ? Bytes(" \t\n\\'\"`$&|;<>()*?[]{}!#~^") : Bytes("\"\\`$")
    return text.flatMap { special.contains($0) ? [ShellWord.backslash, $0] : [$0] }
  }
}
