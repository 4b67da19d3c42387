/// What would be passed over in silence is said: patterns that match nothing, a store beside its sources, what an
/// interrupted run lost, room that may be short; and the program starts whatever is loaded before it.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct SaidTests {
  private func fixture() throws -> Fixture {
    try Fixture(TestTree(["a.txt": .file("a"), "b.log": .file("b"), "d": .directory(["c.txt": .file("c")])]))
  }

  // MARK: What matches nothing

  @Test func patternsOfABackup() throws {
    let f = try fixture()
    let first = try f.sheaf(
      [
        "backup", "-s", Raw(f.store), "--exclude", "*.log", "--exclude", "*.lgo", "--exclude", "/nowhere/",
        Raw(f.source),
      ])
    #expect(first.errorText.contains("these patterns have no effect: '*.lgo' '/nowhere/'\n"), "\(first)")
    // They are remembered, and told of once.
    #expect(try !f.sheaf(["backup", "-s", Raw(f.store)]).errorText.contains("no effect"))
    // So does a plan, which gives the same at each run.
    let same: [Raw] = ["--exclude", "*.log", "--exclude", "*.lgo", "--exclude", "/nowhere/"]
    let again = try f.sheaf(["backup", "-s", Raw(f.store), "--change-excludes"] + same)
    #expect(again.errorText == "", "\(again)")
    // One that only matches where another has left everything out leaves nothing out itself.
    let both: [Raw] = ["--exclude", "d", "--exclude", "c.txt"]
    #expect(
      try f.sheaf(["backup", "-n", "-s", Raw(f.store)] + both).errorText.contains(
        "this pattern has no effect: 'c.txt'\n"))
    let patterns = f.scratch.path("patterns")
    try f.scratch.write("patterns", Raw((0..<30).map { "none-\($0)\n" }.joined()))
    let many = try f.sheaf(["backup", "-n", "-s", Raw(f.store), "--exclude-from", Raw(patterns)])
    #expect(many.errorText.contains("'none-7' and 22 more"), "\(many)")
    #expect(try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--exclude", "none"]).errorText == "")
  }

  @Test func patternsOfARestore() throws {
    let f = try fixture()
    try f.save()
    func run(_ more: [Raw], status: Int32 = 0) throws -> Output {
      try f.sheaf(
        ["restore", "-s", Raw(f.store), "--to", Raw(f.scratch.path("to")), "--overwrite", "always"] + more,
        status: status)
    }
    for dry in [[], ["-n"]] as [[Raw]] {
      #expect(try run(dry + ["--exclude", "*.log"]).errorText == "")
      #expect(try run(dry + ["--exclude", "*.lgo"]).errorText.contains("--exclude '*.lgo' matches nothing"))
      let one = try run(dry + ["--include", "*.txt", "--include", "*.tzt"])
      #expect(one.errorText.contains("--include '*.tzt' matches nothing") && !one.errorText.contains("*.txt"), "\(one)")
      let none = try run(dry + ["--include", "*.tzt"], status: 1)
      #expect(none.errorText.contains("matches '*.tzt'"), "\(none)")
      let owner = try run(dry + ["--owner-map", "4242:0", "--group-map", "nobody-of-that-name:0"])
      #expect(owner.errorText.contains("--owner-map: nothing that is restored belongs to '4242'"), "\(owner)")
      #expect(owner.errorText.contains("--group-map: nothing that is restored belongs to 'nobody-of"), "\(owner)")
      #expect(try run(dry + ["--owner-map", "\(getuid()):\(getuid())"]).errorText == "")
    }
    #expect(try run(["*.tzt"], status: 1).errorText.contains("hint: nothing in the point matches it as a pattern"))
    #expect(try run(["*.txt"]).errorText == "")
  }

  @Test func whatIsGoneAndWasNeverThere() throws {
    let f = try fixture()
    let words = "--gone \(f.source.shown)/nothing has no effect"
    for more in [[Raw(f.source)], [], ["--full"], ["-q"], ["-n"]] as [[Raw]] {
      let output = try f.sheaf(["backup", "-s", Raw(f.store), "--gone", "\(f.source)/nothing"] + more)
      #expect(output.errorText.contains(words), "\(output)")
    }
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--gone", Raw(f.source)])
    #expect(!output.errorText.contains("no effect"), "\(output)")
  }

  // MARK: Where the store lies

  @Test func aStoreBesideItsSources() throws {
    let f = try fixture()
    let words = "the store lies on the same file system as the source /\(f.inside.bytes.shown)"
    #expect(try f.sheaf(["backup", "-n", "-s", Raw(f.store), Raw(f.source)]).errorText.contains(words))
    #expect(try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).errorText.contains(words))
    // Once, and once more for others.
    #expect(try f.sheaf(["backup", "-s", Raw(f.store)]).errorText == "")
    #expect(try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).errorText == "")
    let other = f.scratch.path("box")
    let more = try f.sheaf(["backup", "-s", Raw(f.store), "--change-sources", Raw(other)])
    #expect(more.errorText.contains("as the source \(other.shown):"), "\(more)")
    // A file system of its own.
    let elsewhere = try f.sheaf(["backup", "-s", Raw(f.store), "--series", "x", "/proc/self/limits"], status: 3)
    #expect(!elsewhere.errorText.contains("same file system"), "\(elsewhere)")
  }

  @Test func aStoreBesideTheSystem() throws {
    let scratch = try Scratch()
    let path = scratch.path("store")
    let device = try Descriptor.open(scratch.path, .pathOnly).status().device
    let isSystems = try Descriptor.open(Bytes("/"), .pathOnly).status().device == device
    let plain = try Command.sheaf(["init", "-s", Raw(path)]).run().checked()
    #expect(plain.errorText.contains("the store lies on the same file system as the running system") == isSystems)
    let home = try Command.sheaf(["init", "-s", "\(Raw(path))2"], environment: ["HOME": Raw(scratch.path)]).run()
    #expect(home.errorText.contains("the store lies on the same file system as"), "\(home)")
    #expect(home.errorText.contains("the backups are lost with it"), "\(home)")
  }

  // MARK: What an interrupted run lost

  @Test(.enabled(if: Command.canTrace, "needs strace"), arguments: [SIGINT, SIGKILL])
  func theFileThatWasNotFinished(signal: Int32) throws {
    let f = try Fixture()
    try f.edit("head -c 90000000 /dev/urandom > big")
    let command = try Command.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).wrapped([
      "strace", "-f", "-qq", "-o", "/dev/null", "-P", Raw(f.source.joined(Bytes("big"))), "-e", "trace=pread64", "-e",
      "inject=pread64:delay_enter=4s:when=30",
    ])
    let running = try command.start()
    usleep(2_500_000)
    try running.signalChild(signal)
    let killed = running.wait()
    var said = killed.errorText
    if signal == SIGKILL { said = try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).errorText }
    #expect(said.contains("/\(f.inside.bytes.shown)/big was not finished: the "), "\(said)")
    #expect(said.contains("saved of its 90 MB are lost"), "\(said)")
  }

  // MARK: Room

  @Test(.enabled(if: Host.isRoot, "only root may mount")) func roomForAnIncrementalRun() throws {
    let f = try Fixture()
    guard try Command("mount", ["-t", "tmpfs", "-o", "size=60m", "none", Raw(f.store)]).run().succeeded else { return }
    defer { _ = try? Command("umount", [Raw(f.store)]).run() }
    try f.sheaf(["init", "-s", Raw(f.store)])
    try f.edit("head -c 20000000 /dev/urandom > a")
    try f.save()
    try f.edit("head -c 5000000 /dev/urandom > b")
    #expect(try !f.sheaf(["backup", "-s", Raw(f.store)]).errorText.contains("it may not fit"))
    let short = try f.sheaf(["backup", "-s", Raw(f.store), "--keep-free", "32M"])
    #expect(short.errorText.contains("is free on the drive beside the 34 MB to keep free"), "\(short)")
    #expect(short.errorText.contains("the last set took 5.0 MB: it may not fit"), "\(short)")
  }

  // MARK: Damage

  private func flip(_ archive: Bytes, at offset: Int64) throws {
    let file = try Descriptor.open(archive, .readWrite)
    let byte = try file.read(count: 1, at: offset)[0] ^ 0x55
    try [byte].withUnsafeBytes { try file.write($0, at: offset) }
  }

  /// A file that the newest point does not have any more lies in what is damaged.
  @Test(arguments: ["rm a", "head -c 3000000 /dev/urandom > a", "mv a c"] as [Raw])
  func whatHelpsAgainstDamage(edit: Raw) throws {
    let f = try Fixture(TestTree(["a": .file(size: 3_000_000, seed: 1), "b": .file(size: 3_000_000, seed: 2)]))
    try f.save()
    try f.edit(edit)
    try f.save()
    try f.edit("echo more > d")
    try f.save()
    try flip(f.archive(f.points[0]), at: 1_500_000)
    let verify = try f.sheaf(["verify", "-s", Raw(f.store)], status: 4)
    #expect(!verify.text.contains("sheaf rebuild"), "\(verify)")
    let isWhole = edit != "mv a c"
    #expect(verify.text.contains("  \(f.newest.set)  (but every file of it is whole)\n") == isWhole, "\(verify)")
    #expect(verify.text.contains("'sheaf consolidate -s \(f.store.shown)' makes a full set") == isWhole, "\(verify)")
    #expect(verify.text.contains("'sheaf backup -s \(f.store.shown) --full' begins") == !isWhole, "\(verify)")
    let advice = try f.sheaf(
      isWhole ? ["consolidate", "-s", Raw(f.store)] : ["backup", "-q", "--full", "-s", Raw(f.store)])
    if isWhole {
      #expect(advice.errorText.contains("every file of \(f.newest.set) is whole, so they are copied"), "\(advice)")
    }
    let after = try f.sheaf(["verify", "-s", Raw(f.store)], status: 4)
    #expect(after.text.contains("the newest point is not touched"), "\(after)")
    #expect(!after.text.contains("--full'") && !after.text.contains("sheaf consolidate"), "\(after)")
    #expect(after.text.contains("'sheaf prune -s \(f.store.shown) --drop POINT'"), "\(after)")
    #expect(try f.newest.tree.differences(to: Snapshot(of: f.restore().joined(f.inside.bytes))) == [])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store), "--at", "latest"])
    // With the old chain the damage is gone.
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1"])
    #expect(try f.sheaf(["verify", "-s", Raw(f.store)]).text.contains("no damage"))
  }

  @Test func consolidateDoesNotCopyDamage() throws {
    let f = try Fixture(TestTree(["a": .file(size: 3_000_000, seed: 1), "b": .file(size: 3_000_000, seed: 2)]))
    try f.save()
    try f.edit("echo more > d")
    try f.save()
    for offset in [1_500_000, 4_500_000, 5_999_000] as [Int64] {
      try flip(f.archive(f.points[0]), at: offset)
      let before = try f.names()
      try f.sheaf(["consolidate", "-s", Raw(f.store)], status: 4)
      #expect(try f.names() == before)
      try flip(f.archive(f.points[0]), at: offset)
    }
  }

  // MARK: Whatever is loaded first

  @Test(
    .enabled(if: Command.find("cc") != nil || Command.find("clang") != nil, "needs a C compiler"),
    arguments: [
      "setenv(\"A\", \"b\", 1);",
      "char n[9]; for (int i = 0; i < 500; i++) { sprintf(n, \"V%d\", i); setenv(n, n, 1); }",
      "putenv(\"A=b\"); unsetenv(\"PATH\");", "clearenv(); setenv(\"A\", \"b\", 1);",
      "extern char **environ; static char *none[] = {0}; environ = none;",
      "const char *l = getenv(\"LD_PRELOAD\"); (void)l; unsetenv(\"LD_PRELOAD\");",
    ] as [String])
  func anyPreload(body: String) throws {
    let f = try fixture()
    try f.save()
    let source =
      "#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void first(void) { \(body) }\n"
    try f.scratch.write("first.c", Raw(source))
    let library = f.scratch.path("first.so")
    let compiler: Raw = Command.find("cc") != nil ? "cc" : "clang"
    try Command(compiler, ["-shared", "-fPIC", "-o", Raw(library), Raw(f.scratch.path("first.c"))]).run().checked()
    let environment: [String: Raw?] = ["LD_PRELOAD": Raw(library)]
    #expect(try f.sheaf(["--version"], environment: environment).text == "0.1.0\n")
    let wide: Raw = "ein längerer Kommentar \u{1F600}"
    try f.sheaf(["backup", "-s", Raw(f.store), "--comment", wide], environment: environment)
    let points = try f.sheaf(["points", "-s", Raw(f.store)], environment: environment)
    #expect(points.text.contains("2 points") && points.text.contains("ein längerer Kommentar \u{1F600}"), "\(points)")
    #expect(try f.sheaf(["points", "--nope"], status: 64, environment: environment).errorText.contains("--nope"))
  }
}
