/// Tables and lines keep to the width of the terminal.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Command.find("script") != nil, "script is not installed")) struct WidthTests {
  private struct Terminal {
    let columns: Int
    let colours: Bool

    /// What a terminal of so many columns gets, line by line; the program's wiped lines are left out.
    func lines(_ arguments: [Raw], state: Bytes) throws -> [String] {
      let command = try Command.sheaf(arguments)
      let words = ([command.program] + command.arguments).map { (word: Raw) -> Raw in
        "'\(Raw(Bytes(word.bytes.flatMap { $0 == 39 ? Bytes("'\\''") : [$0] })))'"
      }
      let line = words.dropFirst().reduce("stty cols \(columns); \(words[0])" as Raw) { "\($0) \($1)" }
      let environment: [String: Raw?] = [
        "TERM": "xterm", "XDG_STATE_HOME": Raw(state), "NO_COLOR": colours ? Raw?.none : "1", "COLUMNS": Raw?.none,
      ]
      let output = try Command("script", ["-qec", line, "/dev/null"], environment: environment, timeout: 60).run()
      #expect(output.signal == 0 && !output.timedOut, "\(output)")
      #expect(colours || !output.text.contains("\u{1B}[3"), "\(output)")
      return output.lines.map { line in
        // Of what is written over itself the last counts.
        let last = line.split(separator: "\r", omittingEmptySubsequences: true).last.map(String.init) ?? ""
        return last.replacing("\u{1B}[K", with: "")
      }
    }
  }

  /// A command that is there to be copied stays in one piece, however long it is.
  private static func isCommand(_ line: String) -> Bool {
    line.contains("'sheaf ") || line.drop { $0 == " " }.hasPrefix("sheaf ")
  }

  /// A store with all that tables have marks for, and names that are wide.
  private func store(_ scratch: Scratch) throws -> (store: Raw, source: Raw, state: Bytes) {
    let (store, source, state) = (scratch.path("s"), scratch.path("q"), scratch.path("state"))
    let script: Raw = """
      mkdir "$2"; cd "$2"; mkdir 写真; echo 1 > 写真/日本語.txt; echo 2 > "e\u{301}te\u{301}"; echo 3 > c; head -c 300000 /dev/urandom > big
      "$1" init -s "$3" --label 'ブルーのドライブ'
      "$1" backup -s "$3" --series 私の大切な書類 --comment 'ein langer Satz, den jemand dazu geschrieben hat, damit man es später noch weiß' "$2"
      echo more >> 写真/日本語.txt; mv c 写真/移動しました.txt; rm big
      "$1" backup -s "$3" --series 私の大切な書類
      echo more >> 写真/日本語.txt; "$1" backup -s "$3" --series 私の大切な書類
      "$1" protect -s "$3" latest; "$1" backup -s "$3" --series b "$2"
      """
    let program = Raw(try Command.sheafBinary())
    try Command(
      "sh", ["-ec", script, "sh", program, Raw(source), Raw(store)], environment: ["XDG_STATE_HOME": Raw(state)]
    )
    .run().checked()
    return (Raw(store), Raw(source), state)
  }

  @Test(arguments: [60, 80], [true, false]) func everyCommand(columns: Int, colours: Bool) throws {
    let scratch = try Scratch()
    let (store, source, state) = try store(scratch)
    let terminal = Terminal(columns: columns, colours: colours)
    let series: [Raw] = ["-s", store, "--series", "私の大切な書類"]
    let path: Raw = Raw(Bytes(source.bytes.dropFirst()))
    let of: [[Raw]] = [
      ["points"], ["ls"], ["ls", "-l", path], ["ls", "-R"], ["find", "*"],
      ["find", "-l", "*"], ["ls", "-lR", path], ["history", "\(path)/写真/日本語.txt"],
      ["history", "\(path)/big"], ["diff"], ["diff", "--live"], ["prune", "-n", "--keep-last", "1"],
      ["prune", "-n", "--keep-daily", "3", "--keep-weekly", "2", "--fold", "-v"], ["verify"], ["backup"],
      ["backup", "-n"], ["restore", "-n", "--to", Raw(scratch.path("t"))], ["restore", "--to", Raw(scratch.path("t"))],
      ["restore", "--to", Raw(scratch.path("t"))], ["restore", "--to", "/nowhere/x"],
      ["restore", "-n", "--to", Raw(scratch.path("t2")), "--before-change", "\(path)/写真/日本語.txt"], ["cat", "nothing"],
      ["export", "-o", Raw(scratch.path("x.tar"))], ["consolidate"], ["protect", "latest"], ["unlock"],
      ["ls", "--at", "nothing"], ["prune", "--keep-daily", "0"],
      ["prune", "-n", "--keep-tag", "x", "--keep-last", "1"],
      ["backup", "--exclude", "nothing-like-this", "--exclude", "nor-like-that"],
      ["prune", "--keep-last", "1", "--fold"],
    ]
    var commands = of.map { [$0[0]] + series + $0.dropFirst() }
    commands += [["status"], ["status", "--at", "latest"], ["points", "-s", store], ["points", "-s", "/nowhere"]]
    commands += [["init", "-s", store], ["init", "-s", "\(store)/x"], ["identify", "-s", store], [], ["snapshots"]]
    try scratch.write(
      "plan.toml",
      "[plans.home]\nstore = \"\(store)\"\nsources = [\"\(source)\"]\nkeep = { last = 3 }\n[plans.home.hooks]\nbefore = \"exit 3\"\n"
    )
    try scratch.write(
      "bad.toml", "[plans.home]\nstore = \"an unknown store with quite a long name of its own\"\nsource = 3\n")
    for (file, words) in [
      ("plan", ["run"]), ("plan", ["run", "-n"]), ("plan", ["run", "--skip", "hooks"]), ("plan", ["config", "show"]),
      ("plan", ["config", "check"]), ("bad", ["config", "check"]), ("bad", ["run"]),
      ("plan", ["schedule", "home", "noon"]),
      ("plan", ["schedule", "home", "daily", "--to", "\(scratch.path("units"))"]),
    ] as [(Raw, [Raw])] {
      commands.append(words + ["--config", Raw(scratch.path("\(file).toml"))])
    }
    commands += try Command.sheafCommands().map { [Raw($0), "--help"] }
    for arguments in commands {
      for line in try terminal.lines(arguments, state: state) where !Self.isCommand(line) {
        #expect(TerminalWidth.of(line) <= columns, "\(arguments): \(TerminalWidth.of(line)) columns: \(line)")
      }
    }
  }

  @Test func damageAndProblems() throws {
    let scratch = try Scratch()
    let (store, source, state) = try store(scratch)
    let script: Raw = """
      cd "$1"; for f in */*-full.tar.gz; do s=$(stat -c %s "$f"); printf XXXX | dd of="$f" bs=1 seek=$((s / 2)) conv=notrunc; done
      """
    try Command("sh", ["-ec", script, "sh", store]).run().checked()
    for columns in [60, 80] {
      let terminal = Terminal(columns: columns, colours: true)
      for arguments in [
        ["verify", "-s", store], ["points", "-s", store], ["status"], ["backup", "-s", store, "--series", "b"],
        ["verify", "-s", store, "--quick"],
        ["restore", "-s", store, "--series", "b", "--to", Raw(scratch.path("d\(columns)"))],
        ["backup", "-s", store, "--series", "b", "\(source)/nothing"],
      ] as [[Raw]] {
        for line in try terminal.lines(arguments, state: state) where !Self.isCommand(line) {
          #expect(TerminalWidth.of(line) <= columns, "\(arguments): \(TerminalWidth.of(line)) columns: \(line)")
        }
      }
    }
  }

  /// What is there to be copied is in one line, however narrow the terminal is.
  @Test func commandsStayWhole() throws {
    let scratch = try Scratch()
    let terminal = Terminal(columns: 40, colours: false)
    let store = scratch.path("a store with blanks")
    for (words, command) in [
      (["init"], "sheaf backup -s '\(store.shown)' SOURCE..."),
      (["cat", "x"], "'sheaf backup -s '\(store.shown)' SOURCE'"),
    ] as [([Raw], String)] {
      let lines = try terminal.lines([words[0], "-s", Raw(store)] + words.dropFirst(), state: scratch.path("state"))
      #expect(lines.contains { $0.contains(command) }, "\(lines)")
    }
  }

  /// What is no terminal gets every column, and lines as they are.
  @Test func intoAPipe() throws {
    let scratch = try Scratch()
    let (store, _, _) = try store(scratch)
    let output = try Command.sheaf(["points", "-s", store], environment: ["COLUMNS": "40"]).run().checked()
    #expect(output.lines.contains { $0.contains("files") && $0.contains("added") && $0.contains("local time") })
  }
}
