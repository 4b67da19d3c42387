/// Sources that are none: slips of the keyboard, streams, what somebody wrote into the drive; and such as are sources
/// whatever is left out around them.
import Posix
import TestSupport
import Testing

struct SourceCheckTests {
  private func fixture() throws -> Fixture {
    try Fixture(
      TestTree([
        "a": .directory([
          "b": .directory(["c": .directory(["d": .file("d"), "e": .file("e")]), "other": .file("o")]),
          "cache": .directory([
            "CACHEDIR.TAG": .file("Signature: 8a477f597d28d172789f06886806bc55\n"), "in": .file("in"), "x": .file("x"),
          ]),
          "z": .file("z"),
        ])
      ]))
  }

  private func files(_ f: Fixture) throws -> [String] {
    let target = try f.restore().joined(f.inside.bytes)
    return try Command("find", [".", "-type", "f", "-printf", "%f\\n"], in: target).run().checked().text
      .split(separator: "\n").map(String.init).sorted()
  }

  /// Options, sources below `a` and the files that come of them.
  static let nested: [([Raw], [Raw], [String])] = [
    (["--exclude", "b"], ["", "/b/c"], ["CACHEDIR.TAG", "d", "e", "in", "x", "z"]),
    (["--exclude", "/a"], [""], ["CACHEDIR.TAG", "d", "e", "in", "other", "x", "z"]),
    (["--exclude", "a/b", "--exclude", "b/"], ["", "/b/c/d"], ["CACHEDIR.TAG", "d", "in", "x", "z"]),
    (["--exclude", "c"], ["", "/b/c"], ["CACHEDIR.TAG", "d", "e", "in", "other", "x", "z"]),
    (["--exclude", "b", "--exclude", "e"], ["", "/b/c"], ["CACHEDIR.TAG", "d", "in", "x", "z"]),
    (["--exclude-caches"], ["", "/cache/in"], ["CACHEDIR.TAG", "d", "e", "in", "other", "z"]),
    (["--exclude-if-present", "z"], ["", "/b/c/d"], ["d", "z"]),
    (["--exclude-larger-than", "0"], ["", "/b/other"], ["other"]),
  ]

  @Test(arguments: nested) func aSourceIsSavedWhateverIsLeftOut(
    _ options: [Raw], _ sources: [Raw], _ wanted: [String]
  ) throws {
    let f = try fixture()
    try f.save(options, sources: sources.map { "\(f.source)/a\($0)" })
    #expect(try files(f) == wanted)
    #expect(try f.save(options, sources: []).deleted == 0)
    #expect(try files(f) == wanted)
    try f.save(options + ["--full"], sources: [])
    #expect(try files(f) == wanted)
    try f.sheaf(["verify", "-s", Raw(f.store)])
  }

  @Test func whatIsMistypedIsRefusedTheFirstTime() throws {
    let f = try fixture()
    let wrong: [Raw] = ["\(f.source)/a", "\(f.source)/typo"]
    let output = try f.sheaf(["backup", "-s", Raw(f.store)] + wrong, status: 64)
    #expect(output.errorText.contains("--allow-missing"), "\(output)")
    #expect(try Descriptor.open(f.store, [.read, .directory]).sortedNames().count == 3)
    try f.save(sources: [wrong[0]])
    try f.sheaf(["backup", "-s", Raw(f.store), "--change-sources"] + wrong, status: 64)
    // The next run could not take it for a source.
    try f.sheaf(["backup", "-s", Raw(f.store), "--change-sources", "--allow-missing", "/nosuch/../c"], status: 64)
    try f.save(["--change-sources", "--allow-missing"], sources: wrong, status: 3)
    // From now on it is waited for.
    try f.save(sources: wrong, status: 3)
  }

  @Test(arguments: ["pipe", "link", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "socket"] as [Raw])
  func streamsAreRefused(_ name: Raw) throws {
    let f = try fixture()
    try f.edit("mkfifo pipe; ln -s pipe link")
    try f.edit("python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"")
    let path: Raw = name.bytes.first == 47 ? name : "\(f.source)/\(name)"
    let output = try f.sheaf(["backup", "-s", Raw(f.store), path], status: 64, input: Bytes("dump".utf8))
    #expect(output.errorText.contains("stream"), "\(output)")
    // In a folder they are what they are.
    try f.save()
    try f.edit("ln -s a other")
    try f.save(["--series", "other"], sources: ["\(f.source)/other"])
  }

  @Test func emptyFilesThatHoldSomethingAreSaid() throws {
    let f = try fixture()
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "/proc/self/limits", "/proc/self/status"], status: 3)
    #expect(
      output.errorText.contains("looks empty by its size, but has contents, which are not saved (and 1 more like it)"),
      "\(output)")
  }

  /// What the newest set on the drive says counts only where this machine knows it.
  @Test func sourcesOfSomeoneElse() throws {
    let f = try fixture()
    let b: Raw = "\(f.source)/a/b"
    let cache: Raw = "\(f.source)/a/cache"
    let here: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("here"))]
    let elsewhere: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("elsewhere"))]
    let backup: [Raw] = ["backup", "-q", "-s", Raw(f.store)]
    try f.sheaf(backup + [b], environment: here)
    try f.sheaf(backup, environment: here)
    try f.sheaf(backup + ["--change-sources", b, cache], environment: elsewhere)
    let output = try f.sheaf(backup, status: 64, environment: here)
    #expect(output.errorText.contains("--change-sources"), "\(output)")
    try f.sheaf(backup, environment: elsewhere)
    try f.sheaf(backup + ["--change-sources", b, cache], environment: here)
    try f.sheaf(backup, environment: here)
  }

  /// So does what it leaves out: a line less, and what it kept from the drive goes there.
  @Test func exclusionsOfSomeoneElse() throws {
    let f = try fixture()
    let here: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("here"))]
    let elsewhere: [String: Raw?] = ["XDG_STATE_HOME": Raw(f.scratch.path("elsewhere"))]
    let backup: [Raw] = ["backup", "-q", "-s", Raw(f.store)]
    try f.sheaf(backup + ["--exclude", "cache", "--exclude-larger-than", "1M", Raw(f.source)], environment: here)
    try f.sheaf(backup, environment: here)
    for others in [
      ["--exclude", "cache"], ["--change-excludes"], ["--exclude", "cache", "--exclude", "*.key"],
      ["--exclude", "cache", "--exclude-larger-than", "1M", "--one-file-system"],
    ] as [[Raw]] {
      try f.sheaf(backup + others, environment: elsewhere)
      for more in [[], ["--full"], ["--dry-run"], [Raw(f.source)]] as [[Raw]] {
        let output = try f.sheaf(backup + more, status: 64, environment: here)
        #expect(output.errorText.contains("--change-excludes"), "\(output)")
      }
      try f.sheaf(backup, environment: elsewhere)
      try f.sheaf(backup + ["--exclude", "cache", "--exclude-larger-than", "1M"], environment: here)
      try f.sheaf(backup, environment: here)
    }
    // What writes no set changes nothing of what is remembered.
    try f.sheaf(backup + ["--skip-unchanged", "--exclude", "nothing"], environment: here)
    try f.sheaf(backup, environment: here)
    try f.sheaf(backup + ["--change-excludes"], environment: here)
    try f.sheaf(backup, environment: here)
    try f.sheaf(backup, environment: ["XDG_STATE_HOME": Raw(f.scratch.path("nowhere"))])
  }

  @Test func namesComeAndGoWhileTheyAreListed() throws {
    let f = try Fixture()
    try f.edit("seq 2000 | sed s/^/stays-/ | xargs touch; touch coming")
    let churn = try Command(
      "sh", ["-c", "while [ ! -e stop ]; do mv coming going; mv going coming; done"], in: f.source
    ).start()
    defer { _ = churn.wait() }
    for _ in 0..<3 {
      let output = try Command.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).run()
      #expect(output.status == 0 || output.status == 3, "\(output)")
      let names = try f.sheaf(["ls", "-s", Raw(f.store), f.inside]).text.split(separator: "\n")
      #expect(Set(names).count == names.count)
      if output.status == 0 { #expect(names.filter { $0.contains("stays-") }.count == 2000) }
    }
    try f.edit("touch stop")
    try f.sheaf(["verify", "-s", Raw(f.store)])
  }

  @Test(arguments: ["host:backup", "user@host:/srv/backup", "rsync://host/backup", "s3:bucket"] as [Raw])
  func storesElsewhereAreNotMade(_ name: Raw) throws {
    let scratch = try Scratch()
    let output = try Command.sheaf(["init", "-s", name], in: scratch.path).run()
    #expect(output.status == 64 && output.errorLines.count == 2, "\(output)")
    #expect(try Descriptor.open(scratch.path, [.read, .directory]).sortedNames().isEmpty)
    try Command.sheaf(["init", "-s", "./a:b"], in: scratch.path).run().checked()
  }

  @Test func noStoreInAStore() throws {
    let f = try fixture()
    try Command("mkdir", ["-p", "\(Raw(f.store))/x/y"]).run().checked()
    for name in ["new", "x", "x/y", "x/new"] as [Raw] {
      try f.sheaf(["init", "-s", "\(Raw(f.store))/\(name)"], status: 64)
    }
  }
}
