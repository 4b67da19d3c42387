/// How wide a text is on a terminal.
import SheafCore
import TestSupport
import Testing

@Suite struct ColumnsTests {
  @Test(arguments: [
    ("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("日本語.txt", 10), ("한글", 4), ("\u{1112}\u{1161}\u{11AB}", 2),
    ("ｱｲｳ", 3), ("ＡＢ", 4), ("😀", 2), ("ไฟล์", 3), ("└ x → y…", 8), ("\u{1B}[31mred\u{1B}[0m", 3), ("שלום", 4),
  ]) func examples(text: String, columns: Int) {
    #expect(Show.columns(text) == columns, "\(text)")
  }

  /// The C library has a table of its own. It may be of another version of Unicode, so few may differ.
  @Test func asTheLibraryHasIt() throws {
    var compared = 0
    var others: [String] = []
    for value in UInt32(0x20)..<0x2_0000 {
      guard let scalar = Unicode.Scalar(value), Show.isPrintable(scalar) else { continue }
      guard let width = TerminalWidth.of(scalar) else { continue }
      compared += 1
      if Show.columns(String(scalar)) != width { others.append(String(value, radix: 16)) }
    }
    #expect(compared > 50_000 && others.count < 400, "\(others.count) of \(compared): \(others.prefix(40))")
  }

  @Test func partsOfAText() {
    #expect(Show.suffix("/日本語", columns: 5) == "本語" && Show.suffix("abc", columns: 9) == "abc")
    #expect(Show.suffix("xe\u{301}y", columns: 1) == "y" && Show.suffix("xe\u{301}y", columns: 2) == "e\u{301}y")
  }
}
