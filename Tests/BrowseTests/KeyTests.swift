/// Keys, out of what terminals send for them, in whatever pieces it comes.
import Browse
import Posix
import TestSupport
import Testing

@Suite struct KeyTests {
  private static let table: [(bytes: Raw, keys: [Key])] = [
    ("jk", [.character("j"), .character("k")]), ("\u{1b}[A\u{1b}[B", [.up, .down]),
    ("\u{1b}OC\u{1b}OD", [.right, .left]),
    ("\u{1b}[5~\u{1b}[6~", [.pageUp, .pageDown]), ("\u{1b}[1~\u{1b}[8~\u{1b}[H\u{1b}OF", [.home, .end, .home, .end]),
    ("\u{1b}[1;5A", [.up]), ("\r\n\t\u{7f}\u{8}", [.enter, .enter, .tab, .backspace, .backspace]),
    ("\u{1a}\u{c}", [.suspend, .redraw]), ("é日😀", [.character("é"), .character("日"), .character("😀")]),
    // What means nothing here, and what is no text.
    ("\u{1b}[15~a", [.character("a")]), ("\u{1}\u{0}b", [.character("b")]),
    (Raw([0xff, 0x80, 0x63]), [.character("c")]),
    ("\u{1b}[200~x\u{1b}[201~", [.character("x")]), ("\u{1b}x", [.escape, .character("x")]),
  ]

  @Test func eachInOnePieceAndInMany() {
    for (bytes, keys) in Self.table {
      var whole = KeyReader()
      #expect(whole.take(bytes.bytes) == keys && !whole.isWithinKey, "\(bytes)")
      for cut in bytes.bytes.indices {
        var reader = KeyReader()
        let found = reader.take(Bytes(bytes.bytes[..<cut])) + reader.take(Bytes(bytes.bytes[cut...]))
        #expect(found == keys && !reader.isWithinKey, "\(bytes) cut at \(cut)")
      }
    }
  }

  @Test func anEscapeByItself() {
    var reader = KeyReader()
    #expect(reader.take([0x1b]) == [] && reader.isWithinKey && reader.finish() == [.escape])
    #expect(reader.take(Bytes("\u{1b}[")) == [] && reader.finish() == [.escape] && !reader.isWithinKey)
    #expect(reader.take([0xe6, 0x97]) == [] && reader.finish() == [] && !reader.isWithinKey)
  }

  /// Whatever comes, nothing is kept for ever.
  @Test func anyBytes() {
    var random = Random(label: "keys")
    var reader = KeyReader()
    for _ in 0..<3000 {
      _ = reader.take(random.bytes(random.number(in: 0...9)))
      _ = reader.take(random.pick([[0x1b], [0x1b, 0x5b], [0x31], []]))
    }
    _ = reader.finish()
    #expect(reader.take(Bytes("q")) == [.character("q")], "seed \(random.seed)")
  }
}
