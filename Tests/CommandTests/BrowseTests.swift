/// `sheaf browse` in a real terminal: what is on the screen, what keys do, and that the terminal is left as it was.
///
/// The screens are kept in `fixtures/screens`. `SHEAF_KEEP_SCREENS=1` writes what is seen there, to be looked at.
import Glibc
import Posix
import TestSupport
import Testing

/// A store with two points of a small home folder.
private struct Home {
  let scratch: Scratch
  let store: Raw
  private let source: Bytes

  /// `inOneMinute`: so are both points, which shows in their times.
  init(encrypted: Bool = false, isEmpty: Bool = false, inOneMinute: Bool = false) throws {
    scratch = try Scratch()
    store = Raw(scratch.path("store"))
    source = scratch.path("source")
    let day = Timestamp(year: 2024, month: 5, day: 6, hour: 7, minute: 8)
    let tree: [Raw: Node] = [
      "letters": .directory([
        "june.txt": .file("Dear Bob,\nit rains.\n").modified(day.seconds),
        "july.txt": .file("Dear Bob,\nit still rains.\n").modified(day.seconds),
        "日本語の手紙.txt": .file("雨です。\n").modified(day.seconds),
      ]).modified(day.seconds),
      "photos": .directory(["beach.jpg": .file(size: 250_000, seed: 1).modified(day.seconds)]).modified(day.seconds),
      "notes.md": .file("# Notes\n").modified(day.seconds), "link": .symlink("letters/june.txt"),
      "esc\u{1b}[31m": .file("\u{1b}[2Jescape\n").modified(day.seconds),
    ]
    while inOneMinute, Timestamp.now().seconds % 60 > 30 { sleep(1) }
    try run(["init", "-q", "-s", store, "--label", "blue"] + (encrypted ? ["--encrypt"] : []))
    if isEmpty { return }
    try TestTree(tree).make(at: source)
    try save()
    let script: Raw =
      "echo 'The sun is out.' >>letters/june.txt; rm letters/july.txt; touch -d @0 link letters letters/june.txt"
    try Command("sh", ["-ec", script], in: source).run().checked()
    try save()
  }

  func save() throws { try run(["backup", "-q", "-s", store, "--series", "home", "\(source)=/home/anna"]) }

  private func run(_ arguments: [Raw]) throws { try Command.sheaf(arguments).run().checked() }

  func session(_ columns: Int, _ rows: Int, _ more: [Raw] = [], environment: [String: Raw?] = [:]) throws
    -> TerminalSession
  {
    let command = try Command.sheaf(
      ["browse", "-s", store] + more, environment: environment.merging(["TZ": "UTC"]) { own, _ in own },
      in: scratch.path)
    return try TerminalSession(command, columns: columns, rows: rows, in: scratch)
  }
}

@Suite(.enabled(if: TerminalSession.isPossible, "\(TerminalSession.needs)")) struct BrowseTests {
  /// Without what is another each time.
  private static func plain(_ screen: [String]) -> [String] {
    screen.map { line in
      line.replacing(/202[5-9]-\d\d-\d\d \d\d:\d\d:\d\d/, with: "DDDD-DD-DD HH:MM:SS")
        .replacing(/202[5-9]-\d\d-\d\d \d\d:\d\d/, with: "DDDD-DD-DD HH:MM")
        .replacing(/\d{4}-\d\d-\d\dT\d{6}Z/, with: "DDDD-DD-DDTHHMMSSZ")
    }
  }

  private static let folder = Bytes(#filePath.utf8).splitAtName.parent.splitAtName.parent.splitAtName.parent.joined(
    Bytes("fixtures/screens"))

  private static func compare(_ seen: [(name: String, screen: [String])], _ file: Raw) throws {
    let path = folder.joined(file.bytes)
    let text = seen.map { "=== \($0.name)\n" + plain($0.screen).map { $0 + "\n" }.joined() }.joined()
    if Host.environment("SHEAF_KEEP_SCREENS") != nil {
      let kept = try Descriptor.open(path, [.write, .create, .truncate])
      try kept.write(Bytes(text.utf8))
      return
    }
    let kept = try Bytes.read(path).shown.split(separator: "=== ").map(String.init)
    let found = text.split(separator: "=== ").map(String.init)
    #expect(kept.count == found.count)
    for (kept, found) in zip(kept, found) { #expect(found == kept, "\(file)\n\(found)\nand not\n\(kept)") }
  }

  @Test(arguments: [(80, 24), (60, 20)]) func screens(columns: Int, rows: Int) throws {
    let home = try Home(inOneMinute: true)
    let session = try home.session(columns, rows)
    var seen: [(String, [String])] = []
    func see(_ name: String, _ keys: [Raw], until texts: [String], without gone: String = "\0") throws {
      for key in keys { try session.press(key) }
      let screen = try session.wait(until: name) { screen in
        let all = screen.joined(separator: "\n")
        return texts.allSatisfy(all.contains) && !all.contains(gone)
      }
      seen.append((name, screen))
    }
    try see("the folder to begin in", [], until: ["? help  q quit"])
    try see("a folder", ["j", "Enter"], until: ["/home/anna/letters "])
    try see("the versions of a file", ["Enter"], until: ["2 versions", "The sun"])
    try see("the older one", ["Down"], until: ["it rains."], without: "The sun")
    try see("what a version changed", ["Up", "d"], until: ["+ The sun"])
    try see("marked", ["Escape", "Down", "Space"], until: ["1 marked"])
    try see("back in the folder", ["Escape"], until: ["/ search"])
    try see("points", ["Tab"], until: ["2 points"])
    try see("the older point", ["Down", "Enter"], until: ["july.txt", "/ search"])
    try see("help", ["?"], until: ["draw everything anew"])
    try see("looking for a name", ["Escape", "/", "J", "u"], until: ["search: Ju_", "2 found"])
    try see("marked there", ["Tab"], until: ["2 marked"])
    try see("escapes are shown and not sent", ["Escape", "h", "Home", "Enter"], until: ["\\033[2Jescape"])
    try Self.compare(seen, "browse-\(columns)x\(rows).txt")
    try session.press("q")
    #expect(try session.end() == 0)
    #expect(try session.isSetUpAsBefore())
    #expect(try !session.screen().contains { $0.contains("q quit") })
  }

  @Test(arguments: [false, true]) func whatIsMarkedComesBack(encrypted: Bool) throws {
    let home = try Home(encrypted: encrypted)
    let session = try home.session(80, 24, ["--at", "latest~1", "/home/anna/letters"])
    try session.wait(for: "july.txt")
    // The first two of the older point, and one version of the third.
    try session.press("Space", "]")
    try session.wait(for: "(newest)")
    try session.press("Home", "Space", "r")
    try session.wait(for: "2  beside: restored-")
    try session.press("Enter")
    try session.wait(until: "the second question") { $0.filter { $0.contains("1, 2 or 3") }.count == 2 }
    try session.press("3", "Enter")
    try session.wait(for: "folder:")
    try session.type("there")
    try session.press("Enter")
    try session.wait(for: "Enter goes back")
    try session.press("Enter")
    let screen = try session.wait(for: "? help  q quit")
    #expect(!screen.contains { $0.contains("marked") })
    try session.press("q")
    #expect(try session.end() == 0)
    let names = try Descriptor.open(home.scratch.path, [.read, .directory]).sortedNames()
    let beside = try #require(names.first { $0.starts(with: Bytes("restored-")) })
    let july = home.scratch.path.joined(beside).joined(Bytes("home/anna/letters/july.txt"))
    #expect(try Bytes.read(july) == Bytes("Dear Bob,\nit still rains.\n"))
    let june = home.scratch.path("there").joined(Bytes("home/anna/letters/june.txt"))
    #expect(try Bytes.read(june) == Bytes("Dear Bob,\nit rains.\nThe sun is out.\n"))
  }

  /// What could not be restored is in the exit code.
  @Test func aRestoreThatFailsIsNotForgotten() throws {
    let home = try Home()
    let session = try home.session(80, 24)
    try session.wait(for: "? help")
    try session.press("r")
    try session.wait(for: "1, 2 or 3")
    try session.press("3", "Enter")
    try session.wait(for: "folder:")
    try session.type("/proc/nowhere/x")
    try session.press("Enter")
    try session.wait(for: "error:")
    try session.press("Enter")
    try session.wait(for: "? help  q quit")
    try session.press("q")
    #expect(try session.end() == 1)
    #expect(try session.isSetUpAsBefore())
  }

  /// Whatever is asked, ^C and ^D say no, and what was marked stays so.
  @Test func aRestoreThatIsStoppedLeadsBack() throws {
    let home = try Home()
    let session = try home.session(80, 24)
    try session.wait(for: "notes.md")
    try session.press("G", "Space")
    for (answer, question) in [([], "1, 2 or 3"), (["3", "Enter"], "folder:"), (["1", "Enter"], "r or k:")]
      as [([Raw], String)]
    {
      for stop in ["C-c", "C-d"] as [Raw] {
        try session.press("r")
        try session.wait(for: "1, 2 or 3")
        for key in answer { try session.press(key) }
        try session.wait(for: question)
        try session.press(stop)
        let screen = try session.wait(for: "q quit")
        #expect(screen[22].contains("nothing was restored") && screen[22].hasSuffix("1 marked"), "\(screen)")
      }
    }
    // So does the last question of one that was done.
    try session.press("r")
    try session.wait(for: "1, 2 or 3")
    try session.press("Enter")
    try session.wait(for: "Enter goes back")
    try session.press("C-c")
    let screen = try session.wait(for: "q quit")
    #expect(!screen.contains { $0.contains("marked") }, "\(screen)")
    // Where files are looked at, it is still the end.
    try session.press("C-c")
    #expect(try session.end() == 130)
    #expect(try session.isSetUpAsBefore())
  }

  /// What a command printed lies beside the sources.
  @Test func itBeginsWhereTheSourcesAre() throws {
    let home = try Home()
    let source = Raw(home.scratch.path("source"))
    let series: [(name: Raw, sources: [Raw], begins: String)] = [
      ("home", ["\(source)=/home/anna"], "/home/anna"),
      ("two", ["\(source)/letters=/home/anna/letters", "\(source)/photos=/home/anna/photos"], "/home/anna"),
      ("file", ["\(source)/notes.md"], home.scratch.path("source").shown),
      ("apart", ["\(source)/letters=/home/anna/letters", "\(source)/photos=/srv/photos"], "/"),
    ]
    for (name, sources, begins) in series {
      let backup: [Raw] = ["backup", "-q", "-s", home.store, "--series", name, "--command", "/dumps/shop=echo shop"]
      let output = try Command.sheaf(backup + sources).run()
      #expect(output.status == 0, "\(output)")
      let session = try home.session(80, 24, ["--series", name])
      #expect(try session.wait(for: "q quit")[0].hasPrefix(" \(begins) "), "\(name)")
      try session.press("q")
      #expect(try session.end() == 0)
    }
  }

  @Test func restoreWithPickTakesItsOptions() throws {
    let home = try Home()
    let command = try Command.sheaf(
      ["restore", "-s", home.store, "--pick", "--to", "out", "--strip-components", "2"], in: home.scratch.path)
    let session = try TerminalSession(command, columns: 80, rows: 24, in: home.scratch)
    try session.wait(for: "notes.md")
    try session.press("G", "r")
    try session.wait(for: "Enter goes back")
    try session.press("Enter")
    try session.wait(for: "? help  q quit")
    try session.press("q")
    #expect(try session.end() == 0)
    #expect(exists(home.scratch.path("out/photos/beach.jpg")))
  }

  @Test func theTerminalMayChangeItsSize() throws {
    let home = try Home()
    let session = try home.session(80, 24)
    try session.wait(for: "notes.md")
    for (columns, rows) in [(60, 20), (132, 50), (30, 8), (15, 4), (80, 24)] {
      try session.resize(columns: columns, rows: rows)
      let screen = try session.wait(until: "a screen of \(columns) columns") { screen in
        columns < 20 ? screen[0].hasPrefix("too small") : screen.count == rows && screen[rows - 1].hasSuffix("q quit")
      }
      #expect(screen.allSatisfy { TerminalWidth.of($0) <= columns }, "\(screen)")
    }
  }

  @Test func stoppedAndContinued() throws {
    let home = try Home()
    let program = Raw(try Command.sheafBinary())
    var command = try Command.sheaf([])
    command.program = "bash"
    command.arguments = [
      "--norc", "-i", "-c", "set -m; \(program) browse -s '\(home.store)'; echo stopped; fg; echo code $?",
    ]
    command.directory = home.scratch.path
    let session = try TerminalSession(command, columns: 80, rows: 24, in: home.scratch)
    try session.wait(for: "notes.md")
    try session.press("j", "C-z")
    try session.wait(until: "the folder once more, with the second line chosen") { screen in
      screen.contains { $0.contains("notes.md") } && screen[22].contains("/home/anna/letters")
    }
    try session.press("q")
    try session.wait(for: "code 0")
    #expect(try session.screen().contains { $0.hasPrefix("stopped") })
    #expect(try session.end() == 0)
    #expect(try session.isSetUpAsBefore())
  }

  @Test(arguments: ["C-c", "TERM", "HUP"] as [Raw]) func signalsLeaveTheTerminalAsItWas(signal: Raw) throws {
    let home = try Home()
    let session = try home.session(80, 24)
    try session.wait(for: "notes.md")
    if signal == "C-c" {
      try session.press("C-c")
    } else {
      // To the program alone: a terminal that goes away takes the shell along.
      #expect(kill(try session.program(), signal == "HUP" ? SIGHUP : SIGTERM) == 0)
    }
    #expect(try session.end() == 130)
    #expect(try session.isSetUpAsBefore())
    let screen = try session.screen()
    #expect(screen.contains { $0.contains("interrupted") } && !screen.contains { $0.contains("q quit") }, "\(screen)")
  }

  @Test func anEmptyStoreAndOneThatGoes() throws {
    let empty = try Home(isEmpty: true)
    let nothing = try empty.session(80, 24)
    #expect(try nothing.end() != 0)
    let home = try Home()
    let session = try home.session(80, 24)
    try session.wait(for: "notes.md")
    try Command("rm", ["-r", home.store]).run().checked()
    sleep(2)
    // Each of these wants something of the store, and says that it cannot have it.
    for keys in [["j", "Enter", "Enter"], ["Tab"], ["Escape", "/", "j", "u"]] as [[Raw]] {
      for key in keys { try session.press(key) }
      try session.wait(until: "what is wrong") { $0.count > 22 && $0[22].contains("cannot") }
    }
    try session.press("Escape", "Escape", "q")
    #expect(try session.end() == 0)
    #expect(try session.isSetUpAsBefore())
  }

  @Test func withoutATerminalItSaysWhatElseThereIs() throws {
    let home = try Home()
    let output = try Command.sheaf(["browse", "-s", home.store]).run()
    #expect(output.status == 64 && output.errorText.contains("there is no terminal to browse in"), "\(output)")
    #expect(output.errorText.contains("'sheaf ls'"))
    for kind in ["dumb", ""] as [Raw] {
      var command = try Command.sheaf([])
      let program = command.program
      command.program = "env"
      command.arguments = ["TERM=\(kind)", program, "browse", "-s", home.store]
      let session = try TerminalSession(command, columns: 80, rows: 24, in: home.scratch)
      #expect(try session.end() == 64)
      #expect(try session.screen().contains { $0.contains("TERM is dumb or not set") })
    }
    for more in [["--json"], ["--before-change", "x"], ["a", "b"]] as [[Raw]] {
      let output = try Command.sheaf(["restore", "--pick", "-s", home.store] + more).run()
      #expect(output.status == 64, "\(output)")
    }
  }
}
