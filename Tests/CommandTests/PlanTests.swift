/// Plans: what is wrong with them, and what comes of running them.
import Foundation
import Posix
import TestSupport
import Testing

/// A source, a store, and a file of plans.
struct PlanFixture {
  let scratch: Scratch
  let config: Bytes
  let state: Bytes

  var source: Raw { Raw(scratch.path("source")) }
  var store: Raw { Raw(scratch.path("store")) }
  var other: Raw { Raw(scratch.path("other")) }

  init() throws {
    scratch = try Scratch()
    config = scratch.path("sheaf.toml")
    state = scratch.path("state")
    try TestTree(["a": .file("text\n"), "b": .file("more\n")]).make(at: scratch.path("source"))
    try sheaf(["init", "-q", "-s", store])
  }

  /// `S`, `T` and `O` in the text are the source, the store and another one.
  func write(_ text: String) throws {
    var text = text
    for (mark, path) in [("@S", source), ("@T", store), ("@O", other)] {
      text = text.replacingOccurrences(of: mark, with: path.bytes.shown)
    }
    try Descriptor.open(config, [.write, .create, .truncate]).write(Bytes(text.utf8))
  }

  func command(_ arguments: [Raw], environment: [String: Raw?] = [:]) throws -> Command {
    let own: [String: Raw?] = [
      "HOME": Raw(scratch.path), "XDG_STATE_HOME": Raw(state), "XDG_CONFIG_HOME": Raw(scratch.path("c")),
    ]
    return try Command.sheaf(arguments, environment: own.merging(environment) { $1 }, in: scratch.path, timeout: 60)
  }

  @discardableResult
  func sheaf(
    _ arguments: [Raw], status: Int32 = 0, environment: [String: Raw?] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    let output = try command(arguments, environment: environment).run()
    #expect(output.status == status, "\(output)", sourceLocation: location)
    #expect(!output.timedOut, "\(output)", sourceLocation: location)
    return output
  }

  @discardableResult
  func run(
    _ more: [Raw] = [], status: Int32 = 0, environment: [String: Raw?] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    try sheaf(["run", "--config", Raw(config)] + more, status: status, environment: environment, at: location)
  }

  func sh(_ script: Raw) throws { try Command("sh", ["-ec", script], in: scratch.path).run().checked() }

  func points(_ store: Raw? = nil) throws -> [String] {
    try sheaf(["points", "--json", "-s", store ?? self.store]).json().compactMap { $0["set"] as? String }
  }

  func text(_ name: Raw) -> String { ((try? scratch.read(name)) ?? []).shown }
}

struct PlanTests {
  // MARK: - Mistakes

  struct Bad: CustomTestStringConvertible {
    var text: String
    /// `LINE:COLUMN`.
    var at: String
    var says: String
    var hint = ""
    var testDescription: String { text }
  }

  /// What follows a plan's head and its two lines.
  private static func plan(_ more: String, line: Int = 4, _ says: String, _ hint: String = "") -> Bad {
    plan(more, 1, line: line, says, hint)
  }

  private static func plan(_ more: String, _ column: Int, line: Int = 4, _ says: String, _ hint: String = "") -> Bad {
    Bad(
      text: "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n\(more)\n", at: "\(line):\(column)", says: says,
      hint: hint)
  }

  static let bad: [Bad] = [
    Bad(text: "[plans.home]\nstore = \n", at: "2:9", says: "a value is missing"),
    Bad(text: "[plans.home\n", at: "1:12", says: "ends with ']'"),
    Bad(text: "[plans.home]\nstore = \"a\n", at: "2:9", says: "does not end on its line"),
    Bad(text: "[plans.é\u{301}]\n", at: "1:8", says: "key is missing"),
    Bad(text: "[plans.\"é\"]\nstore=1", at: "1:8", says: "cannot be the name"),
    Bad(text: "[plans.\"../x\"]\n", at: "1:8", says: "cannot be the name"),
    Bad(text: "plan.home.store = 1\n", at: "1:1", says: "unknown key 'plan'", hint: "plans"),
    Bad(text: "[plans.home]\nsources = [\"/x\"]\n", at: "1:8", says: "names no 'store'"),
    Bad(text: "[plans.home]\nstore = \"@T\"\n", at: "1:8", says: "saves nothing"),
    Bad(
      text: "[plans.home]\nstore = 3\nsources = [\"/x\"]\n", at: "2:9", says: "'store' is a text, and this is a number"),
    Bad(
      text: "[plans.home]\nstore = \"bleu\"\nsources = [\"/x\"]\n[stores.blue]\npath = \"/b\"\n", at: "2:9",
      says: "unknown store 'bleu'", hint: "blue"),
    Bad(text: "[plans.home]\nstore = \"sftp://\"\nsources = [\"/x\"]\n", at: "2:9", says: "no address"),
    Bad(text: "[plans.home]\nstore = \"gopher://x/y\"\nsources = [\"/x\"]\n", at: "2:9", says: "not known"),
    Bad(text: "[stores.blue]\nkey = \"/k\"\n", at: "1:9", says: "one of 'path', 'url' and 'label'"),
    Bad(text: "[stores.blue]\npath = \"/b\"\npassword = \"x\"\n", at: "3:1", says: "unknown key 'password'"),
    Bad(text: "[stores.blue]\npath = \"b\"\n", at: "2:8", says: "no absolute path"),
    plan("exlude = [\"x\"]", "unknown key 'exlude' in plan 'home'", "did you mean exclude"),
    plan("level = \"9\"", 9, "a number from 0 to 12, and this is a text"),
    plan("level = 13", 9, "from 0 to 12"), plan("level = -1", 9, "from 0 to 12"),
    plan("level = 1.5", 9, "with a fraction"),
    plan("volume-size = \"1M\"", 15, "at least"), plan("volume-size = \"big\"", 15, "a size like"),
    plan("one-file-system = \"yes\"", 19, "true or false, without quotes"),
    plan("full-every = 30", 14, "an age like"), plan("full-every = \"soon\"", 14, "an age like"),
    plan("exclude = [\"a\", 3]", 17, "a text, and this is a number"),
    plan("if-missing = \"no\"", 14, "\"fail\" or \"skip\""),
    plan("keep = { dialy = 3 }", 10, "unknown key 'dialy'", "daily"),
    plan("keep = { daily = -1 }", 18, "a number of points"),
    plan("keep = { daily = \"every\" }", 18, "a number of points"), plan("keep = {}", "has no rule"),
    plan("keep = { daily = 0 }", "keep nothing"),
    plan("keep = 14", 8, "a table, and this is a number"),
    plan("keep = { daily = 1, spike = 101 }", 29, "from 0 to 100"),
    plan("prove = \"0%\"", 9, "a part in percent"), plan("prove = true", 9, "a part in percent"),
    plan("report = 1", 10, "true or false"),
    plan("check = { how = \"quick\" }", "how often"), plan("check = { every = \"x\" }", 19, "an age like"),
    plan("hooks = { befor = \"x\" }", 11, "unknown key", "before"),
    plan("hooks = { time-limit = \"x\" }", 24, "a time like"),
    plan("tell = { on = \"always\" }", "names nobody"), plan("tell = { url = \"ftp://x\" }", 16, "http:// or https://"),
    plan("tell = { mail = \"a\\nBcc: b\" }", 17, "line break"),
    plan("copies = [{ too = \"x\" }]", 13, "unknown key 'too'"),
    plan("copies = [\"nowhere-known\"]", 11, "unknown store"),
    plan("commands = { \"a/b\" = \"x\" }", 14, "no absolute path"),
    plan("commands = { \"/a/b\" = 3 }", 23, "a command, and this is a number"),
    plan("level = 1\nlevel = 2", line: 5, "is there already"),
    plan("[plans.home.keep]\ndaily = true", 9, line: 5, "a number of points"),
  ]

  @Test(arguments: bad) func mistakesAreFoundWhereTheyStand(_ bad: Bad) throws {
    let f = try PlanFixture()
    try f.write(bad.text)
    let output = try f.sheaf(["config", "check", "--config", Raw(f.config)], status: 64)
    #expect(output.errorText.contains("sheaf.toml:\(bad.at): "), "\(output)")
    #expect(
      output.errorText.contains(bad.says) && (bad.hint.isEmpty || output.errorText.contains(bad.hint)), "\(output)")
    let json = try f.sheaf(["config", "check", "--json", "--config", Raw(f.config)], status: 64).json()
    let places = json.filter { $0["type"] as? String == "mistake" }.map { "\($0["line"] ?? 0):\($0["column"] ?? 0)" }
    #expect(places.contains(bad.at) && json.last?["mistakes"] as? Int == places.count, "\(json)")
    // None of its plans is run.
    let run = try f.run(status: 64)
    #expect(run.errorText.contains(bad.says) && run.text.isEmpty, "\(run)")
    #expect(try f.points().isEmpty)
  }

  @Test func whatOthersCanWriteIsNotRun() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n")
    try f.sh("chmod 666 sheaf.toml")
    #expect(try f.run(status: 64).errorText.contains("can be written by others"))
    try f.sh("chmod 644 sheaf.toml")
    try f.run()
    try f.sh("head -c 2000000 /dev/zero >sheaf.toml")
    #expect(try f.run(status: 64).errorText.contains("holds more than"))
  }

  @Test func whichFileCounts() throws {
    let f = try PlanFixture()
    let none = try f.sheaf(["run"], status: 64)
    #expect(none.errorText.contains("c/sheaf/sheaf.toml") && none.errorText.contains("config init"), "\(none)")
    try f.sh("mkdir -p c/sheaf")
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n")
    try f.sh("cp sheaf.toml c/sheaf/")
    #expect(try f.sheaf(["run"]).text.contains("plan home"))
    #expect(try f.sheaf(["config", "show"]).text.contains("the user's own"))
    try f.write("[plans.work]\nstore = \"@T\"\nsources = [\"@S\"]\n")
    #expect(try f.run().text.contains("plan work"))
  }

  /// What opens a store stands on the command line of `run` as on that of every command, and is not passed over.
  @Test func optionsOfTheStoreAreTheSteps() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n")
    let bucket: [Raw] = ["-s", "s3://bucket/none", "--retry-for", "0s"]
    let endpoint = try f.command(["run", "--config", Raw(f.config), "--s3-endpoint", "nonsense"] + bucket).run()
    #expect(endpoint.status != 0 && endpoint.errorText.contains("an endpoint is written"), "\(endpoint)")
    let address: [Raw] = ["-s", "sftp://server/none", "--sftp-command", "echo no way through >&2; exit 255"]
    let sftp = try f.command(["run", "--config", Raw(f.config), "--retry-for", "0s"] + address).run()
    #expect(sftp.status != 0 && sftp.errorText.contains("no way through"), "\(sftp)")
    let key = try f.command(["run", "--config", Raw(f.config), "--passphrase-command", "echo x"]).run()
    #expect(key.status != 0 && key.errorText.contains("is not encrypted: it takes no key"), "\(key)")
  }

  /// The starter is valid as it is, with every example in it, and never written over anything.
  @Test func theStarterHolds() throws {
    let f = try PlanFixture()
    let file = Raw(f.scratch.path("new/sheaf.toml"))
    let made = try f.sheaf(["config", "init", "--yes", "--config", file, "-s", f.store, "--mail", "root", f.source])
    for command in ["config check", "run"] { #expect(made.text.contains("'sheaf \(command) --config "), "\(made)") }
    #expect(try f.sheaf(["config", "check", "--config", file]).text.contains("1 plan, no mistake"))
    let status = try Command("stat", ["-c", "%a", file]).run().checked().text
    #expect(status == "600\n")
    let again = try f.sheaf(["config", "init", "--yes", "--config", file, "-s", "/x"], status: 64)
    #expect(again.errorText.contains("is there already"))
    try f.sh("sed -E 's/^#([a-z\"[])/\\1/' new/sheaf.toml >all.toml; grep -q pg_dump all.toml")
    try f.sheaf(["config", "check", "--config", Raw(f.scratch.path("all.toml"))])
    try f.sheaf(["run", "--config", file])
    #expect(try f.points().count == 1)
    // A store is named from where one is.
    try f.sheaf(["config", "init", "--yes", "--config", "near.toml", "-s", "store", "source"])
    try f.sheaf(["run", "--config", "near.toml"])
    // Nobody is there to be asked.
    let asked = try f.command(["config", "init", "--config", Raw(f.scratch.path("x.toml"))]).wrapped(["setsid", "-w"])
      .run()
    #expect(asked.status == 64 && asked.errorText.contains("--yes"), "\(asked)")
    #expect(!exists(f.scratch.path("x.toml")))
  }

  @Test func whatCountsIsShown() throws {
    let f = try PlanFixture()
    try f.write(
      "[stores.blue]\npath = \"@T\"\n[plans.home]\nstore = \"blue\"\nsources = [\"@S\"]\nlevel = 3\nkeep = { last = 2 }\nhooks.before = \"true\"\n"
    )
    let shown = try f.sheaf(["config", "show", "--config", Raw(f.config)]).text
    for words in ["level", "line 6", "line 5", "hooks.before", "--level=3", "--keep-last=2", "if-missing"] {
      #expect(shown.contains(words), "\(shown)")
    }
    let json = try f.sheaf(["config", "show", "--json", "--config", Raw(f.config)]).json()
    let level = json.first { $0["key"] as? String == "level" }
    #expect(level?["value"] as? String == "3" && level?["line"] as? Int == 6, "\(json)")
  }

  // MARK: - Runs

  @Test func stepsComeInOrder() throws {
    let f = try PlanFixture()
    try f.sheaf(["init", "-q", "-s", f.other])
    try f.write(
      """
      [plans.home]
      store = "@T"
      series = "mine"
      sources = ["@S"]
      exclude = ["b"]
      keep = { last = 2, fold = true }
      check = { every = "7d", how = "quick" }
      copies = ["@O"]
      [plans.home.commands]
      "/dumps/x" = "echo dump"
      [plans.home.hooks]
      before = ["echo before $SHEAF_PLAN $SHEAF_STORE $SHEAF_SERIES >>log", "echo two >>log"]
      after = "echo after $SHEAF_EXIT $SHEAF_POINT >>log"
      on-failure = "echo failed >>log"
      """)
    let words = try f.run().text
    let steps = try f.run(["--json"]).json()
    #expect(
      words.contains("before  done") && words.contains("saved ") && words.contains("no damage in 1 point"), "\(words)")
    // The check is not due again.
    #expect(steps.compactMap { $0["step"] as? String } == ["before", "before", "backup", "prune", "copy", "after"])
    #expect(steps.last?["type"] as? String == "summary" && steps.last?["exit"] as? Int == 0)
    let log = f.text("log").split(separator: "\n").map(String.init)
    #expect(log.count == 6 && log[0] == "before home \(f.store.bytes.shown) mine" && log[1] == "two", "\(log)")
    #expect(try log[2].hasPrefix("after 0 ") && log[2].hasSuffix(f.points()[0]), "\(log)")
    #expect(try f.points(f.other) == f.points())
    let names = try f.sheaf(["ls", "-R", "-s", f.store]).text
    #expect(names.contains("source/a") && !names.contains("source/b") && names.contains("dumps/x"), "\(names)")
    try f.run()
    #expect(try f.points().count == 2)
    // What is taken out of the plan is not left out any more.
    try f.sh("sed -i /exclude/d sheaf.toml")
    try f.run()
    #expect(try f.sheaf(["ls", "-R", "-s", f.store]).text.contains("source/b"))
  }

  struct Step: CustomTestStringConvertible {
    var plan: String
    var status: Int32
    var says: [String]
    /// How many points there are afterwards.
    var points = 1
    var testDescription: String { plan }
  }

  static let endings: [Step] = [
    Step(plan: "hooks.before = \"exit 7\"", status: 1, says: ["'before' ended with 7", "before  failed"], points: 0),
    Step(plan: "hooks.before = \"kill -9 $$\"", status: 1, says: ["was ended by signal 9"], points: 0),
    Step(plan: "hooks = { before = \"sleep 99\", time-limit = 1 }", status: 1, says: ["time limit"], points: 0),
    Step(
      plan: "hooks = { before = \"trap '' TERM; sleep 99\", time-limit = 1 }", status: 1, says: ["time limit"],
      points: 0),
    Step(plan: "hooks.before = \"/no/such\"", status: 1, says: ["ended with 127", "not found"], points: 0),
    Step(
      plan: "hooks.before = \"printf '\\\\033[31mred\\\\001\\\\n'\"", status: 0, says: ["before: \\033[31mred\\001"]),
    Step(plan: "hooks.before = \"head -c 300000 /dev/urandom; yes | head -c 3000000 >&2\"", status: 0, says: ["done"]),
    // What a hook leaves running does not hold the run up.
    Step(plan: "hooks.before = \"sleep 45 & echo left\"", status: 0, says: ["before: left"]),
    Step(plan: "hooks.after = \"exit 1\"", status: 1, says: ["'after' ended with 1", "saved "]),
    Step(plan: "commands.\"/x\" = \"exit 1\"", status: 3, says: ["incomplete", "exit code 1"]),
    Step(plan: "commands.\"/x\" = \"kill -11 $$\"", status: 3, says: ["signal 11"]),
    Step(plan: "commands.\"/x\" = \"sleep 99\"\ncommand-time-limit = 1", status: 3, says: ["longer than it may"]),
    Step(plan: "copies = [\"@O\"]", status: 10, says: ["saved ", "there is no store at"]),
    Step(plan: "copies = [{ to = \"@O\", if-missing = \"skip\" }]", status: 0, says: ["skipped"]),
    Step(
      plan: "level = 0\nvolume-size = \"2M\"\nkeep-free = \"1k\"\ncomment = \"x y\"\nskip-unchanged = true", status: 0,
      says: ["saved "]),
    Step(plan: "keep-free = \"900T\"", status: 1, says: ["backup  failed"], points: 0),
  ]

  @Test(arguments: endings) func eachEndIsTold(_ step: Step) throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n\(step.plan)\n")
    let start = Date()
    let output = try f.run(status: step.status)
    #expect(Date().timeIntervalSince(start) < 30)
    for words in step.says { #expect((output.text + output.errorText).contains(words), "\(words): \(output)") }
    #expect(!output.stdout.contains(27) && !output.stderr.contains(27) && output.stderr.count < 200_000)
    #expect(try f.points().count == step.points)
    let quiet = try f.run(["-q", "--json"], status: step.status)
    #expect(try quiet.json().last?["exit"] as? Int == Int(step.status), "\(quiet)")
  }

  @Test func afterAndOnFailureCome() throws {
    let f = try PlanFixture()
    try f.write(
      """
      [plans.home]
      store = "@T"
      sources = ["@S"]
      [plans.home.hooks]
      before = ["exit 5", "echo not this >>log"]
      after = "echo after $SHEAF_EXIT >>log"
      on-failure = ["echo failed $SHEAF_EXIT >>log"]
      """)
    try f.run(status: 1)
    #expect(f.text("log") == "after 1\nfailed 1\n")
    try f.run(["--skip", "hooks"])
    #expect(f.text("log") == "after 1\nfailed 1\n")
    // A dry run says what it would do.
    let dry = try f.run(["-n"])
    #expect(dry.text.contains("would run: exit 5") && f.text("log").count == 17)
    #expect(try f.points().count == 1)
  }

  @Test func aStoreThatIsAway() throws {
    let f = try PlanFixture()
    let plan = "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n"
    try f.write(plan)
    try f.sh("mv store away")
    #expect(try f.run(status: 10).errorText.contains("there is no store at"))
    try f.write(plan + "if-missing = \"skip\"\n")
    #expect(try f.run().text.contains("skipped"))
    #expect(!exists(f.scratch.path("store")))
    // A hook may bring it.
    try f.write(plan + "hooks.before = \"mv away store\"\n")
    try f.run()
    #expect(try f.points().count == 1)
  }

  /// What was skipped does not hide how the last run ended.
  @Test func aSkippedRunInStatus() throws {
    let f = try PlanFixture()
    let plan = "[plans.home]\nstore = \"@T\"\nif-missing = \"skip\"\nsources = [\"@S\"]\n"
    let status = { try f.sheaf(["status"]).text }
    try f.write(plan)
    try f.sh("mkdir -p c/sheaf; ln -s ../../sheaf.toml c/sheaf; mv store away")
    try f.run()
    #expect(try status().contains("plan home  skipped just now: its store was not there\n"))
    try f.sh("mv away store")
    try f.write(plan + "hooks.before = \"exit 1\"\n")
    try f.run(status: 1)
    try f.write(plan)
    try f.sh("mv store away")
    try f.run()
    #expect(try status().contains("failed (exit code 1); skipped just now: its store was not there"))
    try f.sh("mv away store")
    try f.run()
    #expect(try status().contains("plan home  last run just now: done\n"))
  }

  /// A host that can only write thins out its points all the same.
  @Test(.enabled(if: Command.find("age") != nil, "age is not installed")) func aWriteOnlyKeyFoldsNothing() throws {
    let f = try PlanFixture()
    try f.sheaf(["init", "-q", "--encrypt", "-s", f.other])
    try f.sheaf(["key", "export", "-q", "-s", f.other, "--write-only", Raw(f.scratch.path("host.key"))])
    try f.sh("rm -r c")
    let store = "[stores.far]\npath = \"@O\"\nkey = \"\(f.scratch.path("host.key").shown)\"\n"
    try f.write(store + "[plans.home]\nstore = \"far\"\nsources = [\"@S\"]\nkeep = { last = 1, fold = true }\n")
    try f.run()
    try f.sh("echo more >>source/a")
    let output = try f.run()
    #expect(output.text.contains("1 point kept, and 1 that others build on; removed 0 sets"), "\(output)")
    #expect(output.text.contains("nothing is folded: the key here cannot read contents"), "\(output)")
  }

  /// Part after part is restored for a trial, and the page tells of it.
  @Test func aPlanProvesAndReports() throws {
    let f = try PlanFixture()
    try f.sh("cd source; seq 8 | while read i; do seq 5000 >f$i; done")
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nprove = 60\nreport = true\n")
    let first = try f.run()
    #expect(first.text.contains("prove   ") && first.text.contains("came back as they were saved"), "\(first)")
    #expect(first.text.contains("report  a page of ") && first.text.contains("by restore.sh as well"), "\(first)")
    let page = f.scratch.path("store/index.html")
    #expect(try !Bytes.read(page).shown.contains("All of it, since"))
    try f.run()
    #expect(try f.sheaf(["status"]).text.contains("all of it was really restored"))
    #expect(try Bytes.read(page).shown.contains("All of it, since"))
    #expect(try !f.run(["--skip", "prove", "--skip", "report"]).text.contains("came back"))
    // What does not come back is damage.
    try f.sh("a=$(ls store/*/*-full.tar.gz); printf XXXX | dd of=$a bs=1 seek=$(($(stat -c %s $a) / 2)) conv=notrunc")
    let damaged = try f.run(["--skip", "report"], status: 4)
    #expect(damaged.text.contains("damage found: "), "\(damaged)")
  }

  /// A slip in the store's path is no drive that comes back.
  @Test func aStoreThatNeverWas() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@O\"\nif-missing = \"skip\"\nsources = [\"@S\"]\n")
    let output = try f.run(status: 10)
    #expect(output.errorText.contains("has never seen it: 'sheaf init -s \(f.other.bytes.shown)' makes"), "\(output)")
    try f.sheaf(["init", "-q", "-s", f.other])
    try f.sh("mv other elsewhere")
    #expect(try f.run().text.contains("skipped"))
  }

  @Test func storesByLabel() throws {
    let f = try PlanFixture()
    try f.sheaf(["init", "-q", "-s", f.other, "--label", "blue"])
    try f.sheaf(["backup", "-q", "-s", f.other, f.source])
    try f.write("[plans.home]\nstore = \"blue\"\nsources = [\"@S\"]\n")
    try f.run()
    #expect(try f.points(f.other).count == 2)
    try f.sh("mv other gone")
    try f.run(status: 10)
    try f.write("[stores.x]\nlabel = \"bleu\"\n[plans.home]\nstore = \"x\"\nsources = [\"@S\"]\n")
    #expect(try f.run(status: 64).errorText.contains("sheaf.toml:2:9: unknown store 'bleu'"))
  }

  @Test func theCommandLineWins() throws {
    let f = try PlanFixture()
    try f.sheaf(["init", "-q", "-s", f.other])
    try f.write(
      "[plans.home]\nstore = \"@T\"\nseries = \"one\"\nsources = [\"@S\"]\nlevel = 9\nif-missing = \"skip\"\n")
    try f.run(["-s", f.other, "--series", "two", "--level", "0", "-v"])
    let all = try f.sheaf(["points", "--json", "-s", f.other]).json()
    #expect(all.contains { $0["series"] as? String == "two" } || all.count > 0, "\(all)")
    #expect(try f.points().isEmpty)
    try f.run()
    try f.run(["--full"])
    #expect(try f.points().filter { $0.hasSuffix("-full") }.count == 2)
  }

  @Test func aSourceThatIsDropped() throws {
    let f = try PlanFixture()
    let plan = "[plans.home]\nstore = \"@T\"\nsources = [\"@S\", \"@S-2\"]\n"
    try f.sh("mkdir '\(f.source)-2'")
    try f.write(plan)
    try f.run()
    try f.write(plan.replacingOccurrences(of: ", \"@S-2\"", with: ""))
    let output = try f.run()
    #expect(output.text.contains("-full, because the source \(f.source.bytes.shown)-2 was dropped: "), "\(output)")
  }

  /// Hooks make a snapshot and take it away; each has inodes and a device of its own, and nothing is stored for that.
  @Test(.enabled(if: !Volume.mountable([.btrfs]).isEmpty, "btrfs cannot be mounted here")) func aSnapshot() throws {
    let f = try PlanFixture()
    let volume = try Volume(.btrfs)
    let live = Raw(volume.path.joined(Bytes("live")))
    let snapshot = Raw(volume.path.joined(Bytes("snapshot")))
    func snapshots(_ words: String) -> String { "btrfs -q subvolume \(words)" }
    try f.sh("btrfs -q subvolume create \(live); for i in $(seq 300); do echo $i >\(live)/f$i; done")
    try f.write(
      """
      [plans.home]
      store = "@T"
      sources = ["\(snapshot.bytes.shown)=/srv/data"]
      [plans.home.hooks]
      before = "\(snapshots("snapshot -r \(live.bytes.shown) \(snapshot.bytes.shown)"))"
      after = "\(snapshots("delete \(snapshot.bytes.shown)"))"
      """)
    try f.run()
    try f.sh("echo changed >>\(live)/f1")
    let output = try f.run()
    #expect(output.text.contains("-incr: 1 changed; wrote"), "\(output)")
    #expect(!exists(snapshot.bytes))
    try f.sheaf(["restore", "-q", "-s", f.store, "--to", "out"])
    try f.sh("diff -r out/srv/data \(live)")
  }

  @Test func whatTheFirstRunWouldDo() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nkeep = { daily = 3, fold = true }\n")
    #expect(try f.run(["-n"]).text.contains("would save"))
    #expect(try f.points().isEmpty)
    try f.run()
    #expect(try f.run(["-n"]).text.contains("would keep 1 point"))
  }

  @Test func plansAreChosen() throws {
    let f = try PlanFixture()
    try f.write(
      "[plans.one]\nstore = \"@T\"\nseries = \"a\"\nsources = [\"@S\"]\n[plans.two]\nstore = \"@T\"\nseries = \"b\"\nsources = [\"@S\"]\n[plans.bad]\nstore = \"@O\"\nsources = [\"@S\"]\n"
    )
    #expect(try f.run(status: 64).errorText.contains("one, two, bad"))
    #expect(try f.run(["tow"], status: 64).errorText.contains("two"))
    let all = try f.run(["--all", "--json"], status: 10).json()
    #expect(all.filter { $0["type"] as? String == "plan" }.compactMap { $0["exit"] as? Int } == [0, 0, 10])
    try f.run(["one", "two", "one"])
    #expect(
      try f.sheaf(["points", "--json", "-s", f.store, "--series", "a"]).json().filter { $0["set"] != nil }.count == 2)
    // As the completion of a shell asks.
    let names = try f.sheaf(["---complete", "bash", "sheaf run --config \(f.config) "]).text
    #expect(names.contains("one") && names.contains("bad"), "\(names)")
  }

  @Test func neverTwoAtOnce() throws {
    let f = try PlanFixture()
    try f.write(
      "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nhooks.before = \"touch begun; sleep 3\"\n[plans.other]\nstore = \"@T\"\nsources = [\"@S\"]\nseries = \"x\"\n"
    )
    let first = try f.command(["run", "--config", Raw(f.config), "home"]).start()
    while !exists(f.scratch.path("begun")) { usleep(20_000) }
    #expect(try f.run(["home"], status: 11).errorText.contains("is running already"))
    // Another one is.
    try f.run(["other"])
    #expect(first.wait().status == 0)
    try f.run(["home"])
  }

  /// An interrupt ends the step that runs, in good order; what clears up is run.
  @Test func anInterrupt() throws {
    let f = try PlanFixture()
    try f.write(
      "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\ncommands.\"/x\" = \"touch begun; sleep 77\"\nhooks.after = \"echo after $SHEAF_EXIT >log\"\n"
    )
    let run = try f.command(["run", "--config", Raw(f.config)]).start()
    while !exists(f.scratch.path("begun")) { usleep(20_000) }
    run.signal(SIGTERM)
    let output = run.wait()
    #expect(output.status == 130 && f.text("log") == "after 130\n", "\(output)")
    // So does one in a hook.
    try f.sh("rm begun")
    try f.write(
      "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nhooks.before = \"touch begun; sleep 77\"\nhooks.after = \"echo after $SHEAF_EXIT >log\"\n"
    )
    let second = try f.command(["run", "--config", Raw(f.config)]).start()
    while !exists(f.scratch.path("begun")) { usleep(20_000) }
    second.signal(SIGINT)
    #expect(second.wait().status == 130)
    try f.run(["--skip", "hooks"])
    try f.sheaf(["verify", "-q", "-s", f.store])
  }

  /// A step that is killed is told of, and the next run goes on.
  @Test func aStepThatIsKilled() throws {
    let f = try PlanFixture()
    // The step is what started this command.
    try f.write(
      "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nhooks.on-failure = \"echo told $SHEAF_EXIT >log\"\ncommands.\"/x\" = \"kill -9 $PPID\"\n"
    )
    let output = try f.run(status: 1)
    #expect(output.text.contains("was ended by signal 9") && f.text("log") == "told 1\n", "\(output)")
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n")
    try f.run()
    try f.sheaf(["verify", "-q", "-s", f.store])
  }

  /// How a run that saw a spike, or did not live to see it, can come to be forgotten.
  enum Forgetting: String, CaseIterable {
    case killedAfter, killedBefore, renamed, byHand, noRoom
  }

  @Test(arguments: Forgetting.allCases) func aSpikeIsNotForgotten(_ how: Forgetting) throws {
    let f = try PlanFixture()
    let plan = "store = \"@T\"\nseries = \"s\"\nsources = [\"@S\"]\nkeep = { last = 1, fold = true }\n"
    try f.write("[plans.home]\n" + plan)
    try f.sh("cd source; seq 40 | while read i; do echo $i >f$i; done; touch -d '1 hour ago' f*")
    try f.run()
    let first = try f.points()[0]
    let rewrite: Raw = "cd source; seq 30 | while read i; do echo rewritten >f$i; done"
    try f.sh(rewrite)
    switch how {
    case .killedAfter:
      // By then it has said so.
      try f.write("[plans.home]\n" + plan + "hooks.after = \"kill -9 $PPID\"\n")
      #expect(try f.command(["run", "--config", Raw(f.config)]).run().status == 137)
    case .killedBefore:
      try f.write("[plans.home]\n" + plan + "commands = { \"/x\" = \"echo $$ >$SHEAF_READY; sleep 2; echo x\" }\n")
      let ready = f.scratch.path("ready")
      let run = try f.command(["run", "--config", Raw(f.config)], environment: ["SHEAF_READY": Raw(ready)]).start()
      for _ in 0..<500 where !exists(ready) { usleep(20_000) }
      run.signal(SIGKILL)
      #expect(run.wait().status == 137)
      for _ in 0..<500 where try f.points().count < 2 { usleep(20_000) }
    case .renamed:
      try f.run(status: 3)
      try f.write("[plans.other]\n" + plan)
    case .byHand:
      try f.sheaf(["backup", "-q", "-s", f.store, "--series", "s", f.source])
    case .noRoom:
      try f.sh("mv state/sheaf/plans state/sheaf/old; mkdir state/sheaf/plans; cp state/sheaf/old/* state/sheaf/plans")
      let full = try Mounted(on: f.state.joined(Bytes("sheaf/plans")), "size=4k")
      try f.sh("cp state/sheaf/old/* state/sheaf/plans || :; cat /dev/zero >state/sheaf/plans/full || :")
      let output = try f.run(status: 3)
      #expect(output.errorText.contains("nothing is pruned"), "\(output)")
      withExtendedLifetime(full) {}
    }
    try f.write((how == .renamed ? "[plans.other]\n" : "[plans.home]\n") + plan)
    let output = try f.run(status: 3)
    #expect(output.errorText.contains("nothing is pruned since"), "\(output)")
    let old = try f.sheaf(["cat", "-s", f.store, "--series", "s", "--at", Raw(first), "\(f.source)/f1"]).text
    #expect(old == "1\n")
    // What the command printed is not saved any more.
    let status: Int32 = how == .killedBefore ? 3 : 0
    try f.run(["--accept-spike"], status: status)
    #expect(try f.points().count == 1)
    try f.sh("echo more >>source/a")
    try f.run(status: status)
  }

  /// Each drive, and each series on it, is looked through when its own time comes.
  @Test func eachDriveIsChecked() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\ncheck = { every = \"1d\" }\n")
    #expect(try f.run().text.contains("check   no damage"))
    #expect(try !f.run().text.contains("check   "))
    try f.sh("mv store blue")
    try f.sheaf(["init", "-q", "-s", f.store])
    #expect(try f.run().text.contains("check   no damage"))
    #expect(try f.run(["--series", "other"]).text.contains("check   no damage"))
    try f.sh("rm -r store; mv blue store")
    #expect(try !f.run().text.contains("check   "))
  }

  /// What a hook leaves behind may go on writing.
  @Test func aHookLeavesAChatterer() throws {
    let f = try PlanFixture()
    try f.write(
      "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n"
        + "hooks = { before = \"{ yes & echo $! >pid; }; echo mine; exit 0\", time-limit = \"5s\" }\n")
    defer { try? f.sh("kill $(cat pid)") }
    let output = try f.run()
    #expect(output.text.contains("before  done") && output.errorText.contains("before: "), "\(output.status)")
  }

  @Test func statusWhileItRuns() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nhooks.before = \"touch ready; sleep 3\"\n")
    try f.sh("mkdir -p c/sheaf; ln -s ../../sheaf.toml c/sheaf")
    let run = try f.command(["run", "--config", Raw(f.config)]).start()
    for _ in 0..<500 where !exists(f.scratch.path("ready")) { usleep(10_000) }
    #expect(try f.sheaf(["status"]).text.contains("last run just now: it is going on"))
    #expect(run.wait().status == 0)
    #expect(try f.sheaf(["status"]).text.contains("last run just now: done"))
  }

  @Test func aSpikeStopsPruning() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nkeep = { last = 1, fold = true }\n")
    try f.sh("cd source; seq 40 | while read i; do echo $i >f$i; done; touch -d '1 hour ago' f*")
    try f.run()
    try f.sh("cd source; seq 25 | while read i; do echo rewritten >f$i; done")
    let spike = try f.run(status: 3)
    #expect(
      spike.errorText.contains("nothing is pruned since") && spike.errorText.contains("--accept-spike"), "\(spike)")
    #expect(spike.errorText.contains("'sheaf diff --store=\(f.store.bytes.shown) 2"), "\(spike)")
    #expect(spike.errorText.contains("'sheaf run home --config "), "\(spike)")
    #expect(try f.points().count == 2)
    // It stays so until somebody has looked.
    try f.sh("echo more >>source/a")
    try f.run(status: 3)
    #expect(try f.points().count == 3)
    #expect(try f.run(["-n"]).text.contains("would remove nothing since "))
    #expect(try f.run(["-n", "--accept-spike"]).text.contains("would keep 1 point"))
    try f.run(["--accept-spike"])
    #expect(try f.points().count == 1)
    try f.run()
    #expect(try f.points().count == 1)
    try f.sh("rm source/f*; sed -i 's/last = 1/last = 1, spike = 0/' sheaf.toml")
    try f.run()
  }

  /// What was accepted of one drive is not accepted of another.
  @Test func aSpikeIsOfOneStore() throws {
    let f = try PlanFixture()
    try f.write("[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\nkeep = { last = 1, fold = true }\n")
    let other = Raw(f.store.bytes + Bytes("-other".utf8))
    try f.sheaf(["init", "-q", "-s", other])
    func swap() throws { try f.sh("mv \(f.store) t; mv \(other) \(f.store); mv t \(other)") }
    try f.sh("cd source; seq 40 | while read i; do echo $i >f$i; done; touch -d '1 hour ago' f*")
    try f.run()
    try swap()
    try f.run()
    try f.sh("cd source; mkdir ../kept; cp -a f* ../kept; seq 25 | while read i; do rm f$i; done")
    try f.run(status: 3)
    try f.sh("cp -a kept/* source")
    try swap()
    #expect(!(try f.run().errorText.contains("nothing is pruned")))
    try f.run(["--accept-spike"])
    try swap()
    #expect(try f.run(status: 3).errorText.contains("nothing is pruned since"))
    #expect(try f.points().count == 3)
    try f.run(["--accept-spike"])
    #expect(try f.points().count == 1)
    let away = try f.run(["-s", "/no/such/drive"], status: 10)
    #expect(away.errorText.contains("there is no store at /no/such/drive"), "\(away)")
  }

  // MARK: - What plans and the command line share

  @Test func aFullSetNowAndThen() throws {
    let f = try PlanFixture()
    let save: [Raw] = ["backup", "-q", "-s", f.store, f.source]
    try f.sheaf(save)
    usleep(1_100_000)
    try f.sheaf(save + ["--full-every", "1d"])
    try f.sheaf(save + ["--full-every", "1s"])
    try f.sheaf(save + ["--full-every", "1d"])
    let kinds = try f.points().map { $0.split(separator: "-").last ?? "" }
    #expect(kinds == ["full", "incr", "full", "incr"], "\(kinds)")
    try f.sheaf(save + ["--full-every", "soon"], status: 64)
  }

  @Test func aCommandThatTakesTooLong() throws {
    let f = try PlanFixture()
    let save: [Raw] = ["backup", "-s", f.store, f.source, "--command", "/x=echo half; sleep 99"]
    let output = try f.sheaf(save + ["--command-time-limit", "1s"], status: 3)
    #expect(output.errorText.contains("longer than it may"), "\(output)")
    #expect(try !f.sheaf(["ls", "-R", "-s", f.store]).lines.contains("x"))
    try f.sheaf(save + ["--command-time-limit", "ever"], status: 64)
  }
}
