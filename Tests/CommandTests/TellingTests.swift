/// Who is told how a plan's run ended, by what, and when.
import Foundation
import Posix
import TestSupport
import Testing

struct TellingTests {
  private static let head = "[plans.home]\nstore = \"@T\"\nsources = [\"@S\"]\n"

  /// A folder of programs that are found first; `sendmail` and `curl` write down what they get.
  private static func programs(_ f: PlanFixture) throws -> [String: Raw?] {
    try f.sh(
      """
      mkdir bin
      printf '#!/bin/sh\\n{ echo "args: $*"; cat; } >>'"$PWD"'/mail\\n' >bin/sendmail
      printf '#!/bin/sh\\n{ echo "args: $*"; cat; } >>'"$PWD"'/fetched\\n' >bin/curl
      chmod +x bin/*
      """)
    return ["PATH": "\(f.scratch.path("bin")):/usr/bin:/bin"]
  }

  struct Row: CustomTestStringConvertible {
    var plan: String
    var status: Int32
    var isTold: Bool
    /// In what is told.
    var says: [String] = []
    var testDescription: String { plan }
  }

  static let rows: [Row] = [
    Row(plan: "", status: 0, isTold: false),
    Row(plan: "on = \"always\"", status: 0, isTold: true, says: ["home", "done, exit code 0", "saved "]),
    Row(
      plan: "[plans.home.hooks]\nbefore = \"echo oh dear; exit 2\"", status: 1, isTold: true,
      says: ["exit code 1", "ended with 2", "oh dear"]),
    Row(
      plan: "[plans.home.commands]\n\"/x\" = \"echo why >&2; exit 2\"", status: 3, isTold: true,
      says: ["exit code 3", "why"]),
    Row(plan: "[plans.home.commands]\n\"/x\" = \"kill -9 $PPID\"", status: 1, isTold: true, says: ["signal 9"]),
    Row(plan: "[[plans.home.copies]]\nto = \"@O\"", status: 10, isTold: true, says: ["no store"]),
  ]

  @Test(arguments: rows) func aCommandIsTold(_ row: Row) throws {
    let f = try PlanFixture()
    try f.write(
      Self.head
        + "[plans.home.tell]\ncommand = \"{ echo $SHEAF_PLAN $SHEAF_EXIT $SHEAF_SUBJECT; cat; } >told\"\n\(row.plan)\n")
    try f.run(status: row.status)
    let told = f.text("told")
    #expect(told.isEmpty != row.isTold, "\(told)")
    if row.isTold {
      #expect(told.hasPrefix("home \(row.status) sheaf: home on "), "\(told)")
      for words in row.says { #expect(told.contains(words), "\(words): \(told)") }
    }
  }

  /// A real bus and the real notify-send; only the desktop is ours. Without a bus nobody is there to be told.
  @Test(.enabled(if: Command.find("dbus-run-session") != nil && Command.find("notify-send") != nil))
  func theDesktop() throws {
    let f = try PlanFixture()
    try f.write(
      Self.head + "hooks.before = \"echo '<b>&' >&2; exit $(cat code)\"\n[plans.home.tell]\ndesktop = true\n")
    let desktop = Bytes(#filePath.utf8).splitAtName.parent.joined(Bytes("../../fixtures/desktop.py"))
    let program = Raw(try Command.sheafBinary())
    func run(_ code: Int, inSession: Bool) throws -> Output {
      let script: Raw = """
        echo \(Raw(Bytes("\(code)".utf8))) >code
        if [ \(inSession ? "yes" : "no") = yes ]; then
          mkfifo ready; /usr/bin/python3 '\(Raw(desktop))' notes >ready & desktop=$!
          read -r line <ready; rm ready
        fi
        code=0; '\(program)' run -q --config sheaf.toml || code=$?
        [ -z "$desktop" ] || kill $desktop
        exit $code
        """
      return try Command(
        inSession ? "dbus-run-session" : "sh", (inSession ? ["--", "sh"] : []) + ["-c", script],
        environment: [
          "HOME": Raw(f.scratch.path), "XDG_STATE_HOME": Raw(f.state), "DBUS_SESSION_BUS_ADDRESS": nil,
          "XDG_RUNTIME_DIR": Raw(f.scratch.path("none")),
        ], in: f.scratch.path
      ).run()
    }
    var output = try run(0, inSession: true)
    #expect(output.status == 0 && f.text("notes").isEmpty, "\(output)")
    output = try run(2, inSession: true)
    #expect(output.status == 1, "\(output)")
    let note = f.text("notes").split(separator: "\t")
    try #require(note.count == 4, "\(note) \(output)")
    #expect(note[0] == "Sheaf" && note[1] == "2" && note[2].hasPrefix("sheaf: home on "), "\(note)")
    #expect(note[3].contains("before  failed: ended with 2"), "\(note)")
    try f.sh("rm notes")
    output = try run(2, inSession: false)
    #expect(output.status == 1 && !output.errorText.contains("cannot tell"), "\(output)")
  }

  @Test func aMailAndAnAddress() throws {
    let f = try PlanFixture()
    let environment = try Self.programs(f)
    let isOwn = !exists(Bytes("/usr/sbin/sendmail".utf8)) && !exists(Bytes("/usr/lib/sendmail".utf8))
    try f.write(
      Self.head
        + "hooks.before = \"exit $(cat code)\"\n[plans.home.tell]\nurl = \"http://localhost/x?a=\\\"b\"\n"
        + (isOwn ? "mail = \"ann@example.org\"\n" : ""))
    try f.sh("echo 0 >code")
    try f.run(environment: environment)
    // After a good run the address alone; a secret is on no command line.
    let first = f.text("fetched")
    #expect(first.contains("url = \"http://localhost/x?a=\\\"b\"\ndata-binary") && f.text("mail").isEmpty, "\(first)")
    #expect(first.contains("args: ") && !(first.split(separator: "\n").first ?? "").contains("localhost"), "\(first)")
    try f.sh("echo 1 >code; rm fetched")
    try f.run(status: 1, environment: environment)
    #expect(f.text("fetched").contains("url = \"http://localhost/x/fail?a="), "\(f.text("fetched"))")
    guard isOwn else { return }
    let mail = f.text("mail")
    #expect(mail.hasPrefix("args: -oi -t\nTo: ann@example.org\nSubject: sheaf: home on "), "\(mail)")
    #expect(
      mail.contains("charset=utf-8\n") && mail.contains("\n\nplan home, ") && mail.contains("exit code 1"), "\(mail)")
  }

  /// With a real curl and a real server.
  @Test(.enabled(if: Command.find("curl") != nil && Command.find("python3") != nil)) func aServerHears() throws {
    let f = try PlanFixture()
    let script: Raw = """
      import http.server
      class H(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
          body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
          open("heard", "ab").write(self.path.encode() + b" " + body)
          self.send_response(200 if self.path.startswith("/ok") else 500); self.end_headers()
        def log_message(self, *a): pass
      s = http.server.HTTPServer(("127.0.0.1", 0), H)
      open("port", "w").write(str(s.server_address[1])); print("ready", flush=True)
      s.serve_forever()
      """
    let server = try Command("python3", ["-c", script], in: f.scratch.path, timeout: 60).start()
    defer { server.signal(SIGKILL) }
    #expect(server.waitForOutput("ready"))
    let port = f.text("port")
    try f.write(Self.head + "tell.url = \"http://127.0.0.1:\(port)/ok\"\n")
    try f.run()
    #expect(f.text("heard").hasPrefix("/ok plan home, "), "\(f.text("heard"))")
    // One that refuses is said, and counts.
    try f.write(Self.head + "tell = { url = \"http://127.0.0.1:\(port)/bad\", time-limit = 8 }\n")
    let refused = try f.run(status: 3)
    #expect(refused.errorText.contains("cannot tell: curl"), "\(refused)")
  }

  static let deaf: [(String, String)] = [
    ("command = \"exit 4\"", "ended with 4"), ("command = \"kill -9 $$\"", "signal 9"),
    ("command = \"sleep 99\"\ntime-limit = 1", "time limit"), ("command = \"exec <&-; exit 0\"", ""),
    ("command = \"printf '\\\\000\\\\033[31m' >&2; exit 1\"", "\\033[31m"),
  ]

  @Test(arguments: deaf) func whoCannotBeToldIsSaid(_ tell: String, _ says: String) throws {
    let f = try PlanFixture()
    try f.write(Self.head + "[plans.home.tell]\non = \"always\"\n\(tell)\n")
    let output = try f.run(status: says.isEmpty ? 0 : 3)
    #expect((says.isEmpty || output.errorText.contains(says)) && !output.stderr.contains(27), "\(output)")
    #expect(says.isEmpty || output.errorText.contains("cannot tell"), "\(output)")
    #expect(try f.points().count == 1)
  }

  @Test func silence() throws {
    let f = try PlanFixture()
    try f.write(Self.head + "if-missing = \"skip\"\n[plans.home.tell]\nsilence = \"7d\"\ncommand = \"cat >>told\"\n")
    try f.run()
    try f.sh("mv store away")
    try f.run()
    #expect(f.text("told").isEmpty)
    // As if the last good run had been eight days ago.
    let back: Raw = "sed -i -E \"s/^(first|good)=.*/\\1=$(($(date +%s) - 8 * 86400))/\" state/sheaf/plans/home.run"
    try f.sh(back)
    try f.run()
    let told = f.text("told")
    #expect(told.contains("no run has ended well since"), "\(told)")
    // Not each time.
    try f.run()
    #expect(f.text("told") == told)
    let status = try f.sheaf(["status"], environment: ["XDG_CONFIG_HOME": Raw(f.scratch.path("none"))]).text
    #expect(!status.contains("plan home"), "\(status)")
    try f.sh("mv away store; mkdir -p c/sheaf; cp sheaf.toml c/sheaf/")
    try f.run()
    try f.sh("echo never >>told; mv store away")
    try f.run()
    #expect(f.text("told") == told + "never\n")
    // The status has the last run.
    #expect(try f.sheaf(["status"]).text.contains("plan home  last run"))
    let json = try f.sheaf(["status", "--json"]).json().first { $0["type"] as? String == "plan" }
    #expect(json?["exit"] as? Int == 0 && json?["last_good"] as? String != nil, "\(json ?? [:])")
  }

  /// What may rot is told although the run ended well.
  @Test func whatMayRotIsTold() throws {
    let f = try PlanFixture()
    try f.write(Self.head + "[plans.home.tell]\ncommand = \"cat >told\"\n")
    // What was written just now is read again anyway, and tells nothing.
    try f.sh("touch -d '2 days ago' source/a source/b; sleep 2.1")
    try f.run()
    #expect(f.text("told").isEmpty)
    // Other contents of the same size at the same time.
    try f.sh("t=$(stat -c %y source/a); printf 'TEXT\\n' >source/a; touch -d \"$t\" source/a")
    try f.run()
    #expect(f.text("told").contains("may rot"), "\(f.text("told"))")
  }
}
