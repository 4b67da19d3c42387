/// What shells propose, in real ones: each gets the same rows typed in a terminal, and Tab. A store that hangs, is
/// gone, or lies elsewhere is given up in time, and none is written to.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

/// Two points of a folder with odd names, in a store with a blank in its label, and a file of plans.
private struct Home {
  let scratch: Scratch
  let store: Bytes
  let environment: [String: Raw?]

  init(encrypted: Bool = false) throws {
    scratch = try Scratch()
    store = scratch.path("drive")
    environment = [
      "HOME": Raw(scratch.path("home")), "XDG_STATE_HOME": Raw?.none, "XDG_CONFIG_HOME": Raw?.none,
      "XDG_CACHE_HOME": Raw?.none, "SHEAF_STORE": Raw?.none, "SHEAF_COMPLETION_TIME": "20000",
      "PATH": "\(Raw(try Command.sheafBinary().splitAtName.parent)):/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PS1": "> ",
      "TZ": "UTC",
    ]
    try TestTree([
      "home": .directory([:]), "outside": .directory(["old folder": .directory([:])]), "plan.toml": .file(),
      "src": .directory([
        "docs": .directory(["a.txt": .file("a"), "it's $5.txt": .file("5")]),
        "two words": .directory(["say \"hi\"": .file("hi")]), "new\nline": .file("n"),
        Raw(Bytes("bad".utf8) + [0xff]): .file("b"), "-dash": .file("-"),
      ]),
    ]).make(at: scratch.path("box"))
    try Command("sh", ["-ec", "mv box/* .; rmdir box"], in: scratch.path).run().checked()
    try sheaf(["init", "-q", "-s", Raw(store), "--label", "my drive"] + (encrypted ? ["--encrypt"] : [])).checked()
    try backUp()
    try Command("touch", ["src/zed"], in: scratch.path).run().checked()
    sleep(1)
    try backUp()
    try Command(
      "sh",
      [
        "-ec", "printf '[plans.nightly]\\nstore = \"%s\"\\nsources = [\"%s\"]\\n' \"$0/drive\" \"$0/src\" >plan.toml",
        Raw(scratch.path),
      ],
      in: scratch.path
    ).run().checked()
  }

  func backUp() throws {
    try sheaf(["backup", "-q", "-s", Raw(store), "--series", "home", "\(scratch.path("src"))=/home/ann"]).checked()
  }

  func sheaf(_ arguments: [Raw], environment more: [String: Raw?] = [:]) throws -> Output {
    try Command.sheaf(arguments, environment: environment.merging(more) { $1 }, in: scratch.path).run()
  }

  /// What is proposed for the line, as the scripts ask.
  func proposals(_ line: Raw, environment more: [String: Raw?] = [:]) throws -> [String] {
    let output = try sheaf(["---complete", "zsh", line], environment: more)
    #expect(output.status == 0 && output.stderr.isEmpty, "\(output)")
    return output.text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst(2).filter { !$0.isEmpty }.map
    {
      String($0.prefix { $0 != "\t" })
    }
  }

  /// Newest first.
  func points() throws -> [String] {
    let all = try sheaf(["points", "--json", "-s", Raw(store)]).json().compactMap { $0["set"] as? String }
    return all.map { String($0.prefix(18)) }.sorted(by: >)
  }
}

@Suite struct CompletionTests {
  private static let shells: [String] = ["bash", "zsh", "fish"].filter { shell in
    if Command.find(Raw(Bytes(shell.utf8))) != nil { return true }
    FileHandle.standardError.write(Data("CompletionTests: \(shell) is not installed\n".utf8))
    return false
  }

  private struct Row {
    let typed: String
    /// What the line is then; nil: as it was typed.
    var becomes: String?
    /// What is listed below it.
    var lists: [String] = []
    /// What is not.
    var lacks: [String] = []
  }

  /// `@1` is the newest point, `@2` the one before, `@D` its day.
  private static let rows = [
    Row(typed: "sheaf ca", becomes: "sheaf cat"),
    Row(typed: "sheaf key sh", becomes: "sheaf key show"),
    Row(typed: "sheaf help prun", becomes: "sheaf help prune"),
    Row(typed: "sheaf restore --overw", becomes: "sheaf restore --overwrite"),
    Row(typed: "sheaf restore --overwrite if-n", becomes: "sheaf restore --overwrite if-newer"),
    // Paths as they are stored, below the source, below the folder one is in.
    Row(typed: "sheaf ls -s drive ho", becomes: "sheaf ls -s drive home/"),
    Row(typed: "sheaf ls -s drive /home/ann/do", becomes: "sheaf ls -s drive /home/ann/docs/"),
    Row(typed: "sheaf cat -s drive docs/", lists: ["a.txt", "it's $5.txt"], lacks: ["zed"]),
    Row(typed: "sheaf -s drive cat docs/i", becomes: "sheaf -s drive cat docs/it\\'s\\ \\$5.txt"),
    Row(typed: "sheaf -s drive cat \"docs/i", becomes: "sheaf -s drive cat \"docs/it's \\$5.txt\""),
    Row(typed: "sheaf history -s drive tw", becomes: "sheaf history -s drive two\\ words/"),
    Row(typed: "sheaf export -s drive two\\ w", becomes: "sheaf export -s drive two\\ words/"),
    Row(typed: "sheaf diff -s drive --path=do", becomes: "sheaf diff -s drive --path=docs/"),
    // What cannot be typed, as it is shown.
    Row(typed: "sheaf restore -s drive ne", becomes: "sheaf restore -s drive new\\\\012line"),
    Row(typed: "sheaf browse -s drive bad", becomes: "sheaf browse -s drive bad\\\\377"),
    Row(typed: "sheaf restore -s drive --to out -- -d", becomes: "sheaf restore -s drive --to out -- -dash"),
    // As of the point that is named.
    Row(typed: "sheaf ls -s drive --at @1 z", becomes: "sheaf ls -s drive --at @1 zed"),
    Row(typed: "sheaf ls -s drive --at @2 z"),
    Row(typed: "sheaf ls -s drive --at ", lists: ["latest", "@1", "@2", "@D"]),
    Row(typed: "sheaf diff -s drive la", becomes: "sheaf diff -s drive latest"),
    Row(typed: "sheaf -s drive protect @1", becomes: "sheaf -s drive protect @1"),
    Row(typed: "sheaf ls -s drive --series h", becomes: "sheaf ls -s drive --series home"),
    // A label stands for its path; folders are proposed as well.
    Row(typed: "sheaf ls -s my", becomes: "sheaf ls -s @P/drive"),
    Row(typed: "sheaf ls -s outside/o", becomes: "sheaf ls -s outside/old\\ folder/"),
    Row(typed: "sheaf -s out", becomes: "sheaf -s outside/"),
    Row(typed: "sheaf status --forget m", becomes: "sheaf status --forget my\\ drive"),
    Row(typed: "sheaf restore -s drive --to=out", becomes: "sheaf restore -s drive --to=outside/"),
    Row(typed: "sheaf run --config pl", becomes: "sheaf run --config plan.toml"),
    Row(typed: "sheaf run --config plan.toml n", becomes: "sheaf run --config plan.toml nightly"),
    Row(typed: "sheaf schedule --config plan.toml n", becomes: "sheaf schedule --config plan.toml nightly"),
    Row(typed: "sheaf schedule nightly on", becomes: "sheaf schedule nightly on-plug"),
    Row(typed: "sheaf cat -s drive zed two\\ w", becomes: "sheaf cat -s drive zed two\\ words/"),
    Row(typed: "true; sheaf ls -s drive z", becomes: "true; sheaf ls -s drive zed"),
  ]

  @Test(.enabled(if: TerminalSession.isPossible, "\(TerminalSession.needs)"), arguments: shells)
  func aTableOfLines(shell: String) throws {
    let home = try Home()
    let points = try home.points()
    // What it reads when it starts: what is typed meanwhile may be lost.
    try TestTree([
      ".bashrc": .file("PS1='> '; source <(sheaf --generate-completion-script bash); bind 'set bell-style none'\n"),
      ".zshrc": .file(
        "PS1='> '; autoload -U compinit; compinit -D -u; source <(sheaf --generate-completion-script zsh)\n"),
    ]).make(at: home.scratch.path("rc"))
    let fish: Raw = "function fish_prompt; echo '> '; end; sheaf --generate-completion-script fish | source"
    let start: [Raw] =
      switch shell {
      case "bash": ["--noprofile", "--rcfile", "rc/.bashrc", "-i"]
      case "zsh": ["--no-globalrcs", "-i"]
      default: ["--no-config", "-i", "-C", fish]
      }
    let command = Command(
      Raw(Bytes(shell.utf8)), start,
      environment: home.environment.merging(["SHELL": Raw?.none, "ZDOTDIR": Raw(home.scratch.path("rc"))]) { $1 },
      in: home.scratch.path)
    // So wide that nothing is cut.
    let session = try TerminalSession(command, columns: 200, rows: 30, in: home.scratch)
    try session.wait(until: "a prompt") { $0.contains { $0.hasPrefix(">") } }
    for row in Self.rows {
      func filled(_ text: String) -> String {
        text.replacing("@1", with: points[0]).replacing("@2", with: points[1])
          .replacing("@D", with: String(points[0].prefix(10)) + " ").replacing("@P", with: home.scratch.path.shown)
      }
      if shell == "fish" { try session.press("C-c") }
      try session.press("C-u")
      try session.press("C-l")
      try session.wait(until: "an empty line") { screen in
        screen.first { !$0.isEmpty }?.filter { $0 != " " } == ">" && screen.filter { !$0.isEmpty }.count == 1
      }
      let typed = filled(row.typed)
      try session.type(Raw(Bytes(typed.utf8)))
      try session.wait(for: typed.trimmingCharacters(in: .whitespaces))
      try session.press("Tab")
      // Which it only beeps at first.
      if shell == "bash", !row.lists.isEmpty { try session.press("Tab") }
      let line = filled(row.becomes ?? row.typed).trimmingCharacters(in: .whitespaces)
      let lists = row.lists.map(filled)
      if row.becomes == nil, lists.isEmpty { usleep(700_000) }
      do {
        let screen = try session.wait(until: row.typed) { screen in
          // Behind a folder's path bash puts a slash.
          [line, line + "/"].contains { screen.first?.hasSuffix($0) ?? false }
            && lists.allSatisfy { text in screen.dropFirst().contains { $0.contains(text) } }
        }
        #expect(!row.lacks.contains { text in screen.dropFirst().contains { $0.contains(text) } }, "\(screen)")
      } catch { Issue.record("\(shell): '\(typed)' does not become '\(line)', \(lists): \(error)") }
    }
  }

  @Test func whatIsNotProposed() throws {
    let home = try Home()
    // Behind '--' alone, or it would be an option.
    #expect(try !home.proposals("sheaf restore -s drive ").contains("-dash"))
    #expect(try home.proposals("sheaf restore -s drive /home/ann/-").contains("/home/ann/-dash"))
    // From the folder one is in, and from nowhere else.
    #expect(try home.proposals("sheaf ls -s drive ./") == [])
    #expect(try home.proposals("sheaf ls -s drive nowhere/") == [])
    #expect(try home.proposals("sheaf cat -s drive --archive x.tar ").allSatisfy { $0.hasPrefix("--") })
    #expect(try home.proposals("sheaf backup -s drive d") == [])
    // It takes one alone.
    #expect(try home.proposals("sheaf ls -s drive zed d") == [])
    #expect(try home.proposals("sheaf ls -s drive zed ").allSatisfy { $0.hasPrefix("--") })
    #expect(try home.proposals("sheaf nothing ") == [])
    #expect(try home.proposals("sheaf ls -s drive --series nothing ").filter { !$0.hasPrefix("-") } == [])
    let wrong = try home.sheaf(["--generate-completion-script", "ksh"])
    #expect(wrong.status == 64 && wrong.errorText.contains("bash, zsh, fish"), "\(wrong)")
    for shell in ["bash", "zsh", "fish"] as [Raw] {
      let script = try home.sheaf(["--generate-completion-script", shell]).checked()
      #expect(try home.sheaf(["--generate-completion-script=\(shell)"]).stdout == script.stdout)
      #expect(
        try home.sheaf(["--generate-completion-script"], environment: ["SHELL": "/bin/\(shell)"]).stdout
          == script.stdout)
    }
  }

  @Test func nothingIsWrittenAndNothingAsked() throws {
    let home = try Home(encrypted: true)
    let list = Command("find", ["drive", "home", "-printf", "%p %s %T@ %C@\\n"], in: home.scratch.path)
    let before = try list.run().checked().text
    #expect(try home.proposals("sheaf ls -s drive d") == ["docs/"])
    #expect(try home.proposals("sheaf ls -s drive --at 2").count == 2)
    #expect(try list.run().checked().text == before)
    // Without the key no name is known, and what is remembered of points is.
    let keyless: [String: Raw?] = ["XDG_CONFIG_HOME": "/nowhere"]
    #expect(try home.proposals("sheaf ls -s drive d", environment: keyless) == [])
    #expect(try home.proposals("sheaf ls -s drive --at 2", environment: keyless).count == 2)
    let key = try Command("sh", ["-c", "echo home/.config/sheaf/keys/*.key"], in: home.scratch.path).run().text
    let named: Raw = "sheaf ls -s drive --key \(Raw(Bytes(key.filter { $0 != "\n" }.utf8))) d"
    #expect(try home.proposals(named, environment: keyless) == ["docs/"])
    #expect(try list.run().checked().text == before)
  }

  /// Seconds that an answer takes, at most: the program gives up after 0.3, and takes some time to start.
  private static let patience = 0.6

  private func timed(_ home: Home, _ line: Raw) throws -> [String] {
    var found: [String] = []
    var seconds: [Double] = []
    // The machine may be busy.
    while seconds.count < 20, seconds.last ?? .infinity >= Self.patience {
      let start = Timestamp.monotonicNanoseconds()
      found = try home.proposals(line, environment: ["SHEAF_COMPLETION_TIME": Raw?.none])
      seconds.append(Double(Timestamp.monotonicNanoseconds() - start) / 1e9)
    }
    #expect(seconds.last ?? 0 < Self.patience, "\(line): \(seconds)")
    return found
  }

  @Test func aStoreThatIsGoneOrFarAway() throws {
    let home = try Home()
    let points = try home.points()
    try Command("mv", ["drive", "away"], in: home.scratch.path).run().checked()
    #expect(try timed(home, "sheaf ls -s drive d") == [])
    #expect(try timed(home, "sheaf ls -s drive --at 2") == points)
    #expect(try timed(home, "sheaf ls -s sftp://192.0.2.1/drive d") == [])
    #expect(try timed(home, "sheaf ls -s s3://bucket/drive d") == [])
  }

  /// The drive is one that a stopped program stands for: whoever looks at it waits for ever.
  @Test(.enabled(if: MountedStore.isPossible, "\(MountedStore.needs)"))
  func aStoreThatHangs() throws {
    let home = try Home()
    let points = try home.points()
    try Command("mkdir", ["mnt", "outer"], in: home.scratch.path).run().checked()
    try home.sheaf(["init", "-q", "-s", "outer"]).checked()
    try home.sheaf(["backup", "-q", "-s", "outer", "--series", "o", "\(Raw(home.store))=/drive"]).checked()
    let mount = try Command.sheaf(
      ["mount", "-s", "outer", "mnt"], environment: home.environment, in: home.scratch.path
    )
    .start()
    #expect(mount.waitForOutput("is mounted"))
    let inside = "sheaf ls -s mnt/latest/drive" as Raw
    #expect(try home.proposals("\(inside) d") == ["docs/"])
    mount.signal(SIGSTOP)
    #expect(try timed(home, "\(inside) home/ann/docs/") == [])
    #expect(try Set(timed(home, "\(inside) --at 2")).isSuperset(of: points))
    mount.signal(SIGCONT)
    mount.signal(SIGINT)
    _ = mount.wait()
  }
}
