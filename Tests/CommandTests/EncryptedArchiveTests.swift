/// Lone archives that someone encrypted with age: listed, read and verified with a key or a passphrase, and refused with
/// the right words without.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Command.find("age") != nil, "age is not installed")) struct EncryptedArchiveTests {
  let scratch: Scratch
  /// Of the key.
  private let recipient: Raw
  private let contents: Bytes

  init() throws {
    scratch = try Scratch()
    var random = Random(label: "encrypted archives")
    contents = random.bytes(300_000)
    for name in ["key", "other"] as [Raw] {
      try Command("age-keygen", ["-o", name], in: scratch.path).run().checked()
    }
    let words = try Command("age-keygen", ["-y", "key"], in: scratch.path).run().checked().stdout
    recipient = Raw(Bytes(words.prefix { $0 != 10 }))
    try TestTree(["docs": .directory(["big": .file(Raw(contents)), "small": .file("hello")])])
      .make(at: scratch.path("tree"))
    try shell("tar -C tree -czf plain.tar.gz docs; tar -C tree -cf plain.tar docs")
    try shell("age -r \(recipient) -o a.tar.gz.age plain.tar.gz; age -r \(recipient) -o a.tar.age plain.tar")
  }

  @discardableResult
  private func shell(_ script: Raw) throws -> Output {
    try Command("sh", ["-ec", script], in: scratch.path).run().checked()
  }

  /// Runs the program where nobody can be asked for anything.
  @discardableResult
  private func sheaf(
    _ arguments: [Raw], status: Int32 = 0, says: String = "", environment: [String: Raw?] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    var command = try Command.sheaf(arguments, environment: environment, in: scratch.path)
    command = Command(
      "setsid", ["-w", command.program] + command.arguments, environment: command.environment, in: scratch.path)
    let output = try command.run()
    let text = output.stderr.shown + output.stdout.shown
    #expect(output.status == status && (says.isEmpty || text.contains(says)), "\(output)", sourceLocation: location)
    return output
  }

  @Test func listedReadAndVerified() throws {
    try shell("cp a.tar.gz.age renamed.tar.gz; cp a.tar.gz.age a.tgz.age; cp a.tar.gz.age a.tar.gz.001.age")
    for name in ["a.tar.gz.age", "a.tar.age", "renamed.tar.gz", "a.tgz.age", "a.tar.gz.001.age"] as [Raw] {
      let listed = try sheaf(["ls", name, "--key", "key"])
      #expect(listed.lines.sorted() == ["docs/", "docs/big", "docs/small"])
      #expect(try sheaf(["cat", "--archive", name, "--key", "key", "docs/big"]).stdout == contents)
      try sheaf(["verify", name, "--key", "key"], says: "no damage: 3 entries")
      try sheaf(["verify", name], environment: ["SHEAF_KEY": "key"])
    }
    try sheaf(["verify", "plain.tar.gz", "--key", "key"], says: "no damage")
  }

  @Test func withoutTheRightKey() throws {
    try shell(
      """
      chmod 644 other; cp key open; chmod 640 open; echo nonsense >bad; echo age1xyz >public; chmod 600 bad public
      cp plain.tar.gz clear.tar.gz.age; age -a -r \(recipient) -o armored.tar.gz.age plain.tar.gz
      ssh-keygen -q -t ed25519 -N '' -f ssh 2>/dev/null && age -R ssh.pub -o ssh.tar.gz.age plain.tar.gz || :
      """)
    for (arguments, status, says): ([Raw], Int32, String) in [
      (["a.tar.gz.age"], 64, "a.tar.gz.age is encrypted and no key was given"),
      (["a.tar.gz.age", "--key", "other"], 1, "chmod 600 other"),
      (["a.tar.gz.age", "--key", "open"], 1, "can be read by others (mode 640)"),
      (["a.tar.gz.age", "--key", "bad"], 1, "line 1 is no key"),
      (["a.tar.gz.age", "--key", "public"], 1, "is a recipient"),
      (["a.tar.gz.age", "--key", "missing"], 1, "cannot open missing"),
      (["a.tar.gz.age", "--key", "."], 1, "is a directory"),
      (["clear.tar.gz.age", "--key", "key"], 4, "is no age file"),
      (["armored.tar.gz.age", "--key", "key"], 1, "ASCII armor"),
      (["--key", "key", "-s", "store"], 10, "no store at store"),
      (["a.tar.gz.age", "--passphrase-file", "key", "--passphrase-command", "x"], 64, "not from both"),
    ] {
      try sheaf(["ls"] + arguments, status: status, says: says)
      try sheaf(["verify"] + arguments, status: status, says: says)
    }
    try shell("chmod 600 other")
    for command in [["ls"], ["verify"], ["cat", "docs/small", "--archive"]] as [[Raw]] {
      try sheaf(
        command + ["a.tar.gz.age", "--key", "other"], status: 4,
        says: "a.tar.gz.age does not open with this key: damaged, or made for another")
    }
    if exists(scratch.path("ssh.tar.gz.age")) {
      try sheaf(["ls", "ssh.tar.gz.age", "--key", "key"], status: 1, says: "does not know (ssh-ed25519)")
    }
  }

  @Test func damaged() throws {
    let file = try Bytes.read(scratch.path("a.tar.gz.age"))
    let start = try #require(file.firstRange(of: Bytes("\n--- "))).upperBound + 43 + 1 + 16
    func flipped(_ at: Int) -> Bytes {
      var changed = file
      changed[at] ^= 0x10
      return changed
    }
    func relettered(_ at: Int) -> Bytes {
      var changed = file
      changed[at] = UInt8(ascii: file[at] == UInt8(ascii: "A") ? "B" : "A")
      return changed
    }
    let outer = 65552
    let cases: [(Bytes, String)] = [
      (Bytes(file[..<(start + 2 * outer)]), "is cut short: its last chunk is missing"),
      (Bytes(file[..<start]), "is cut short: its last chunk is missing"),
      (Bytes(file[..<(start + outer + 100)]), "cut short"),
      (Bytes(file.dropLast()), "cut short"),
      (Bytes(file[..<60]), "ends within its header"),
      ([], "is no age file"),
      (flipped(start + 10), "is damaged: its chunk 0"),
      (flipped(start + outer + 10), "is damaged: its chunk 1"),
      (relettered(start - 30), "its header was changed"),
      (relettered(60), "damaged, or made for another"),
      (Bytes(file[..<start] + file[(start + outer)...]), "is damaged: its chunk 0"),
      (file + file, "damaged"),
      (file + [0], "damaged"),
    ]
    for (bytes, says) in cases {
      try scratch.write("d.tar.gz.age", Raw(bytes))
      try sheaf(["verify", "d.tar.gz.age", "--key", "key"], status: 4, says: says)
      try sheaf(["ls", "d.tar.gz.age", "--key", "key"], status: 4)
      let read = try Command.sheaf(["cat", "--archive", "d.tar.gz.age", "--key", "key", "docs/big"], in: scratch.path)
        .run()
      #expect(contents.starts(with: read.stdout) && (read.status == 4 || read.stdout == contents), "\(says): \(read)")
    }
    // What is sound before the damage comes back; of a plain tar nothing else is even read.
    let plain = try Bytes.read(scratch.path("a.tar.age"))
    try scratch.write("d.tar.age", Raw(Bytes(plain.dropLast())))
    #expect(try sheaf(["ls", "d.tar.age", "--key", "key"], status: 4).lines.contains("docs/big"))
    try sheaf(["verify", "d.tar.age", "--key", "key"], status: 4)
  }

  /// `age` itself takes a passphrase from a terminal only.
  @Test(.enabled(if: Command.find("script") != nil, "script is not installed")) func passphrases() throws {
    func lock(_ from: Raw, _ to: Raw) throws {
      try shell(
        """
        (sleep 1; echo correct horse; sleep 1; echo correct horse; sleep 5) |
          script -qec 'age -p -o \(to) \(from)' /dev/null >/dev/null
        """)
    }
    try lock("plain.tar.gz", "p.tar.gz.age")
    try lock("key", "locked")
    try shell("printf 'correct horse\\n' >words; echo wrong >wrong; chmod 600 words wrong locked")
    for (archive, more) in [("p.tar.gz.age", []), ("a.tar.gz.age", ["--key", "locked"])] as [(Raw, [Raw])] {
      let named = (more.last ?? archive).bytes.shown
      try sheaf(["ls", archive] + more + ["--passphrase-file", "words"], says: "docs/small")
      try sheaf(["ls", archive] + more + ["--passphrase-command", "cat words; echo more"], says: "docs/small")
      try sheaf(
        ["ls", archive] + more + ["--passphrase-file", "wrong"], status: 1, says: "wrong passphrase for \(named)")
      try sheaf(["ls", archive] + more, status: 64, says: "\(named) needs a passphrase")
      try sheaf(
        ["ls", archive] + more + ["--passphrase-command", "echo no luck >&2; exit 7"], status: 1,
        says: "ended with 7: no luck")
    }
    try shell("chmod 644 words")
    try sheaf(["ls", "p.tar.gz.age", "--passphrase-file", "words"], status: 1, says: "chmod 600 words")
    // From the terminal, which does not show it.
    let command = try Command.sheaf(["ls", "p.tar.gz.age"])
    let asked = try shell(
      """
      (sleep 1; echo correct horse; sleep 5) | script -qec '\(command.program) ls p.tar.gz.age' /dev/null
      """
    ).stdout.shown
    #expect(asked.contains("passphrase for p.tar.gz.age: ") && asked.contains("docs/small"), "\(asked)")
    #expect(!asked.contains("correct horse"), "\(asked)")
  }
}
