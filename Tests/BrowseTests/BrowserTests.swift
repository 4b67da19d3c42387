/// The browser without a terminal: whatever stands in a store and whichever keys are pressed, its screens fit, and nothing
/// in them acts on a terminal.
import Browse
import Posix
import SheafCore
import Storage
import TestSupport
import Testing

private struct Silent: Reporter {
  func problem(_ message: String, path: Bytes?) { Issue.record("\(message) \(path?.shown ?? "")") }
  func note(_ message: String) {}
  func suspectRot(_ path: Bytes) {}
  func tookOver(_ kept: TakeOverSummary) {}
  func item(_ mark: SheafCore.Mark, _ path: Bytes, _ kind: FileKind) {}
  var wantsItems: Bool { false }
}

/// A store in memory, and what is saved there as `home/anna`.
private final class Home {
  let scratch: Scratch
  let memory = MemoryFolder()
  let source: Bytes
  private var time: Int64 = 1_699_963_200

  init() throws {
    scratch = try Scratch()
    source = scratch.path("source")
    _ = try Store.create(in: memory, label: Bytes("blue"), now: Timestamp(seconds: time))
  }

  func save() throws {
    time += 86400
    let now = Timestamp(seconds: time)
    var options = BackupOptions()
    options.sources = [Bytes("home/anna")]
    options.mappings = [SourceMapping(from: Bytes(source.dropFirst()), recorded: Bytes("home/anna"))]
    options.series = Bytes("home")
    let task = try Backup(
      to: Store.open(memory), options, known: nil, spillDirectory: scratch.path, reporter: Silent(),
      progress: Progress(), clock: { now })
    _ = try task.run()
  }

  func browser(at path: Bytes? = nil) throws -> Browser {
    let series = try Store.open(memory).series(Bytes("home"), host: Bytes("home"))
    let source = try SeriesBrowser(
      series, spilling: scratch.path, reporter: Silent(), progress: Progress(), report: { Issue.record("\($0)") })
    return try Browser(source, title: "blue, series home", at: nil, path: path)
  }
}

extension Browser {
  /// As text, after some keys. Letters stand for themselves.
  fileprivate func screen(after keys: [Key], columns: Int = 80, rows: Int = 24) -> [String] {
    for key in keys { _ = handle(key) }
    while hasWork { work() }
    return screen(columns: columns, rows: rows).lines.map(\.text)
  }
}

@Suite struct BrowserTests {
  private static func fits(_ screen: Screen, columns: Int, rows: Int) -> Bool {
    screen.lines.count == rows
      && screen.lines.allSatisfy { line in
        Show.columns(line.text) <= columns && line.text.unicodeScalars.allSatisfy(Show.isPrintable)
      }
  }

  /// The odd names, contents of any bytes, at any size of the terminal, by keys at random.
  @Test func anyKeysOnAnyStore() throws {
    var history = History(label: "browser", size: 60)
    let home = try Home()
    try history.make(at: home.source)
    try home.save()
    for _ in 0..<3 {
      _ = try history.step()
      try home.save()
    }
    var random = Random(label: "browser's keys")
    let browser = try home.browser()
    let keys: [Key] =
      [.up, .down, .left, .right, .enter, .enter, .pageDown, .pageUp, .home, .end, .tab, .escape, .backspace]
      + "jklhgG[]/pu ?aeio.\\日".unicodeScalars.map { .character($0) }
    var typed: [Key] = []
    for _ in 0..<500 {
      let key = random.pick(keys)
      typed = typed.suffix(30) + [key]
      let effect = browser.handle(key)
      #expect(effect != .quit, "\(typed)")
      browser.work()
      let (columns, rows) = random.once(in: 8) ? (random.number(in: 1...200), random.number(in: 1...60)) : (60, 20)
      let screen = browser.screen(columns: columns, rows: rows)
      #expect(
        Self.fits(screen, columns: columns, rows: rows),
        "\(columns)x\(rows), seed \(random.seed), \(typed): \(screen.lines.map(\.text))")
    }
  }

  @Test func hostileNamesAndContents() throws {
    let home = try Home()
    let names: [Raw] = [
      "\u{1b}]0;owned\u{7}", "\u{202e}txt.exe", Raw([0xff, 0xfe, 0x9b, 0x33, 0x31, 0x6d]),
      Raw(Bytes(repeating: 0x78, count: 255)), Raw(Bytes(String(repeating: "長", count: 85).utf8)),
    ]
    let contents: Raw = "\u{1b}[2Jgone\u{9b}31m\u{202e}\tx\\y\r\nsecond\n"
    try TestTree(Dictionary(uniqueKeysWithValues: names.map { ($0, Node.file(contents)) })).make(at: home.source)
    try home.save()
    for columns in [40, 60, 80] {
      let browser = try home.browser()
      for _ in names {
        for keys in [[.enter], [.character("p")], [.escape], [.escape], [.down]] as [[Key]] {
          for key in keys { _ = browser.handle(key) }
          let screen = browser.screen(columns: columns, rows: 20)
          #expect(Self.fits(screen, columns: columns, rows: 20), "\(screen.lines.map(\.text))")
          let bytes = screen.bytes(after: nil).split(separator: 0x1b).map { Bytes($0) }
          // Nothing but the program's own sequences: where a line stands, its style, and wiping.
          #expect(bytes.allSatisfy { $0.first == 0x5b && $0.contains { Bytes("HmKJ").contains($0) } })
        }
      }
    }
    let browser = try home.browser()
    let shown = browser.screen(after: [.enter])
    #expect(
      shown.contains { $0.contains("\\033[2Jgone\\302\\23331m\\342\\200\\256  ") && $0.hasSuffix(" x\\y") }, "\(shown)")
    #expect(shown.contains { $0.hasSuffix("second") }, "\(shown)")
  }

  @Test func goingAround() throws {
    let home = try Home()
    try TestTree([
      "letters": .directory(["june": .file("one\n"), "july": .file("x\n")]), "zoo": .file(),
      "bin": .file(size: 5000, seed: 1),
    ]).make(at: home.source)
    try home.save()
    try Command("sh", ["-ec", "echo two >>letters/june; rm letters/july"], in: home.source).run().checked()
    try home.save()
    let browser = try home.browser()
    #expect(browser.screen(after: [])[0].hasPrefix(" /home/anna "))
    #expect(browser.screen(after: [.down, .enter])[0].hasPrefix(" /home/anna/letters "))
    // Back to where one was, and to the choice of a point from the top.
    let above = browser.screen(after: [.left])
    #expect(above[22].hasPrefix(" /home/anna/letters"), "\(above)")
    #expect(browser.screen(after: [.left, .left])[0].hasPrefix(" / "))
    #expect(browser.screen(after: [.left])[0].contains("2 points"))
    #expect(browser.screen(after: [.down, .enter])[0].contains("2023-11-15"))
    // An older point has what a newer one has not.
    let older = try home.browser(at: Bytes("home/anna/letters"))
    #expect(!older.screen(after: []).contains { $0.contains("july") })
    #expect(older.screen(after: [.character("[")]).contains { $0.contains("july") })
    #expect(older.screen(after: [.character("[")])[22].contains("no older point"))
    #expect(older.screen(after: [.character("]")])[0].contains("(newest)"))
    // Names from all points, the gone ones too, whatever their case; Enter waits for what is looked for.
    _ = older.handle(.character("/"))
    for scalar in "JUL".unicodeScalars { _ = older.handle(.character(scalar)) }
    let versions = older.screen(after: [.enter])
    #expect(versions[0].contains("/home/anna/letters/july") && versions[0].contains("2 versions"), "\(versions)")
    // What is gone is there in the version that is chosen first.
    #expect(versions.contains { $0.contains("deleted") } && versions.contains(" x"), "\(versions)")
    #expect(older.screen(after: [.up]).contains { $0.contains("(not there)") })
    #expect(older.handle(.character("r")) == .none)
    #expect(older.screen(after: [])[22].contains("choose a version"))
    #expect(older.screen(after: [.down]).contains(" x"))
    // What is marked is restored, else what is chosen.
    #expect(older.handle(.character("r")) == .restore([mark(older, 1, "home/anna/letters/july")]))
    _ = older.screen(after: [.character(" "), .escape, .escape, .character(" ")])
    #expect(
      older.handle(.character("r"))
        == .restore([mark(older, 1, "home/anna/letters/july"), mark(older, 0, "home/anna/letters/june")]))
    #expect(older.screen(after: [])[22].hasSuffix("2 marked "))
  }

  private func mark(_ browser: Browser, _ place: Int, _ path: String) -> Browser.Mark {
    Browser.Mark(point: browser.points[place], path: Bytes(path.utf8))
  }

  /// A folder of very many names is shown from any place at once.
  @Test func aLargeFolder() throws {
    let home = try Home()
    try Command("sh", ["-ec", "mkdir \"$0\"; cd \"$0\"; seq -f n%04g 5000 | xargs touch", Raw(home.source)]).run()
      .checked()
    try home.save()
    let browser = try home.browser()
    #expect(browser.screen(after: [.end])[21].contains("n5000"))
    #expect(browser.screen(after: [.pageUp, .up]).contains { $0.contains("n4978") })
    #expect(browser.screen(after: [.home])[1].contains("n0001"))
    #expect(
      browser.screen(after: [.character("/"), .character("N")])[0].contains("1000 found and more"))
  }
}
