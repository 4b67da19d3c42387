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

  func save(after seconds: Int64 = 86400) throws {
    time += seconds
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
      + "jklhgG[]/pdu ?aeio.\\日".unicodeScalars.map { .character($0) }
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

  /// With one source it begins there, whatever is in it or beside it.
  @Test func whereItBegins() throws {
    let home = try Home()
    try TestTree(["only": .directory(["one": .directory(["file": .file()])])]).make(at: home.source)
    try home.save()
    #expect(try home.browser().screen(after: [])[0].hasPrefix(" /home/anna "))
    #expect(try home.browser(at: Bytes("home/anna/only/one")).screen(after: [])[0].hasPrefix(" /home/anna/only/one "))
  }

  @Test func secondsWhereMinutesDoNotTell() throws {
    let home = try Home()
    try TestTree(["a": .file("one\n")]).make(at: home.source)
    try home.save()
    try Command("sh", ["-ec", "echo two >>a"], in: home.source).run().checked()
    try home.save()
    let alone = try home.browser()
    #expect(alone.screen(after: [])[0].hasSuffix(":00 (newest) "))
    #expect(!alone.screen(after: [.enter], columns: 60).contains { $0.contains(/\d\d:\d\d:\d\d/) })
    try Command("sh", ["-ec", "echo three >>a"], in: home.source).run().checked()
    try home.save(after: 7)
    let browser = try home.browser()
    #expect(browser.screen(after: [])[0].hasSuffix(":07 (newest) "))
    for (columns, isWide) in [(80, true), (60, false)] {
      let versions = browser.screen(after: columns == 80 ? [.enter] : [], columns: columns)
      let times = versions.dropFirst(2).prefix(3).map { $0.dropFirst(18).prefix(4) }
      #expect(times == [":07 ", ":00 ", ":00 "], "\(versions)")
      #expect(versions.allSatisfy { Show.columns($0) <= columns })
      // What was modified within the minute shows it too, where there is room.
      #expect(versions[2].contains(/:\d\d  content/) == isWide || !isWide, "\(versions)")
    }
    let points = browser.screen(after: [.escape, .tab])
    #expect(points[1].contains(":07 ") && points[2].contains(":00 "), "\(points)")
    // The oldest is a day away from all others.
    #expect(browser.screen(after: [.end, .enter])[0].hasSuffix(":00 "))
  }

  @Test func marksInASearch() throws {
    let home = try Home()
    try TestTree([
      "june": .file("one\n"), "july": .file("x\n"), "jungle": .directory(["tree": .file()]), "other": .file(),
    ]).make(at: home.source)
    try home.save()
    try Command("sh", ["-ec", "echo two >>june; rm july"], in: home.source).run().checked()
    try home.save()
    let browser = try home.browser()
    let search: [Key] = [.character("/"), .character("j"), .character("u")]
    let found = browser.screen(after: search)
    #expect(
      found[1...3].map { $0.prefix(18) } == ["  home/anna/july  ", "  home/anna/june  ", "  home/anna/jungle"],
      "\(found)")
    let marked = browser.screen(after: [.tab, .tab, .tab])
    #expect(marked[1...3].allSatisfy { $0.hasPrefix("* ") } && marked[22].hasSuffix("3 marked "), "\(marked)")
    // They are there as long as it runs, in every list.
    #expect(browser.screen(after: [.backspace, .backspace, .character("l")])[1].hasPrefix("* home/anna/july"))
    _ = browser.screen(after: [.backspace] + search.dropFirst())
    let versions = browser.screen(after: [.down, .enter])
    #expect(versions[2].hasPrefix("* "), "\(versions)")
    let folder = browser.screen(after: [.escape, .escape])
    #expect(folder.contains { $0.hasPrefix("* june") } && folder.contains { $0.hasPrefix("* jungle/") }, "\(folder)")
    #expect(
      browser.handle(.character("r"))
        == .restore([
          mark(browser, 1, "home/anna/july"), mark(browser, 0, "home/anna/june"), mark(browser, 0, "home/anna/jungle"),
        ]))
    #expect(browser.screen(after: search + [.pageUp, .tab])[1].hasPrefix("  home/anna/july"))
    #expect(browser.screen(after: [])[22].hasSuffix("2 marked "))
  }

  @Test func whatAVersionChanged() throws {
    let home = try Home()
    let long = (1...30).map { "line \($0)\n" }.joined()
    try TestTree(["letter": .file(Raw(Bytes(long.utf8))), "photo": .file(size: 3000, seed: 1), "link": .symlink("a")])
      .make(at: home.source)
    try home.save()
    try Command(
      "sh", ["-ec", "sed -i 's/line 9$/line nine/' letter; echo more >>photo; ln -sfn b link"], in: home.source
    ).run().checked()
    try home.save()
    try Command("sh", ["-ec", "echo end >>letter"], in: home.source).run().checked()
    try home.save()
    let browser = try home.browser(at: Bytes("home/anna"))
    let newest = browser.screen(after: [.enter, .character("d")])
    #expect(
      newest[1...6].map { String($0.dropFirst()) }
        == newest[1...2].map { String($0.dropFirst()) } + [
          "@@ from line 28, now 28", "  line 28", "  line 29", "  line 30",
        ], "\(newest)")
    #expect(newest[1].hasPrefix(" --- 2023-11-16") && newest[2].hasPrefix(" +++ 2023-11-17"), "\(newest)")
    #expect(newest[7] == " + end" && newest[8].isEmpty, "\(newest)")
    let middle = browser.screen(after: [.escape, .down, .character("d")])
    #expect(middle.contains(" - line 9") && middle.contains(" + line nine") && !middle.contains(" + end"), "\(middle)")
    #expect(middle.contains(" @@ from line 6, now 6"), "\(middle)")
    #expect(browser.screen(after: [.escape, .down, .character("d")])[22].contains("no older version"))
    // Between two that are marked.
    let both = browser.screen(after: [.character(" "), .home, .character(" "), .character("d")])
    #expect(both.contains(" - line 9") && both.contains(" + end"), "\(both)")
    _ = browser.screen(after: [.escape, .character("u"), .escape])
    #expect(browser.screen(after: [.down, .enter, .character("d")])[22].contains("only files"))
    #expect(browser.screen(after: [.escape, .down, .enter, .character("d")])[22].contains("no texts"))
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
