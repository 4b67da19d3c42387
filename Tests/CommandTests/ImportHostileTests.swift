/// Archives that are damaged, cut short, or forged to harm whoever imports them.
import Posix
import TestSupport
import Testing

@Suite struct ImportHostileTests {
  struct Attack: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// Python that writes the archive `t`; `add` takes a name and what else a header has.
    var script: String
    var status: Int32
    /// What is said, and what the point has where there is one.
    var words: String
    var names: [String] = []
  }

  private static let prelude = #"""
    import tarfile, io, gzip, struct
    def header(name, data=b"", **more):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in more.items(): setattr(info, key, value)
        return info
    def add(name, data=b"", **more):
        out.addfile(header(name, data, **more), io.BytesIO(data))
    def folder(name, list=None, **more):
        if list is None: return add(name, type=tarfile.DIRTYPE, mode=0o755)
        add(name, list, type=b"D", mode=0o755)
    def raw(info, format=tarfile.GNU_FORMAT): return info.tobuf(format)
    out = tarfile.open("t", "w", format=tarfile.GNU_FORMAT)
    """#

  static let attacks: [Attack] = [
    Attack(
      testDescription: "names with '..'", script: #"add("a", b"x"); add("../b", b"y"); add("d/../../c", b"z")"#,
      status: 3, words: "leads out of the archive", names: ["a"]),
    Attack(
      testDescription: "several of one name", script: #"add("a", b"old"); add("./a", b"new"); add("//a", b"last")"#,
      status: 0, words: "", names: ["a"]),
    Attack(
      testDescription: "a link to nothing", script: #"add("a", b"x"); add("b", type=b"1", linkname="none")"#, status: 3,
      words: "which the archive does not have", names: ["a"]),
    Attack(
      testDescription: "links in a ring",
      script: #"add("b", type=b"1", linkname="c"); add("c", type=b"1", linkname="b"); add("a", b"x")"#, status: 3,
      words: "which the archive does not have", names: ["a"]),
    Attack(
      testDescription: "a link to itself", script: #"add("a", b"x"); add("a", type=b"1", linkname="a")"#, status: 0,
      words: "", names: ["a"]),
    Attack(
      testDescription: "a file, and another in it", script: #"add("a", b"x"); add("a/b", b"y")"#, status: 3,
      words: "no folder", names: ["a"]),
    Attack(
      testDescription: "owners that are none", script: #"add("a", b"x", uid=2**40, gid=-5)"#, status: 3,
      words: "on Linux", names: ["a"]),
    Attack(
      testDescription: "a list with a path", script: #"folder("d", b"Yx/y\0\0")"#, status: 4, words: "list of it"),
    Attack(
      testDescription: "a list without an end", script: #"folder("d", b"Y" + b"n" * 100000)"#, status: 4,
      words: "list of it"),
    Attack(
      testDescription: "a rename without its other end", script: #"folder("d", b"Td/x\0\0")"#, status: 4,
      words: "list of it"),
    Attack(
      testDescription: "a rename that leads out", script: #"folder("d", b"Rd/a\0T../x\0\0")"#, status: 4,
      words: "list of it"),
    Attack(
      testDescription: "very many renames",
      script: #"folder("d", b"".join(b"Rd/%d\0Td/n%d\0" % (i, i) for i in range(20000)) + b"\0")"#, status: 4,
      words: "list of it"),
    Attack(
      testDescription: "renames where nothing was", script: #"folder("d", b"Rd/a\0Td/b\0\0")"#, status: 1,
      words: "no point before"),
    Attack(
      testDescription: "a later volume", script: #"add("a", b"x", type=b"M")"#, status: 1, words: "several volumes"),
    Attack(
      testDescription: "a header of a gigabyte",
      script: #"out.fileobj.write(raw(header("x", type=b"x", size=1 << 30))); out.fileobj.write(bytes(1 << 26))"#,
      status: 4, words: "t-2024-05-01.tar"),
    Attack(
      testDescription: "a size that is none",
      script: #"i = header("a"); i.size = 1 << 62; out.fileobj.write(raw(i))"#, status: 4, words: "t-2024-05-01.tar"),
    Attack(
      testDescription: "nothing but a beginning", script: #"out.fileobj.write(raw(header("a", b"x" * 5000)))"#,
      status: 4, words: "t-2024-05-01.tar"),
    Attack(
      testDescription: "text", script: #"out.fileobj.write(b"hello\n" * 1000)"#, status: 4, words: "t-2024-05-01.tar"),
  ]

  @Test(arguments: attacks) func forged(attack: Attack) throws {
    let place = try ImportPlace()
    let end = attack.status == 4 && !attack.script.contains("folder") ? "out.fileobj.close()" : "out.close()"
    let script = Self.prelude + "\n" + attack.script + "\n" + end
    try Command("python3", ["-c", Raw(script)], in: place.scratch.path).run().checked()
    try place.shell("mv t t-2024-05-01.tar")
    let limited = try Command.sheaf(
      ["import", "-s", place.store, "--series", "old", "t-2024-05-01.tar"], environment: ["TZ": "UTC"],
      in: place.scratch.path, timeout: 60
    ).wrapped(["prlimit", "--as=4000000000"]).run()
    #expect(limited.status == attack.status && limited.signal == 0 && !limited.timedOut, "\(limited)")
    #expect(attack.words.isEmpty || limited.errorText.contains(attack.words), "\(limited)")
    if attack.status == 0 || attack.status == 3 {
      try place.sheaf(["verify", "-q", "-s", place.store])
      let listed = try place.sheaf(["ls", "-R", "-s", place.store, "--series", "old"])
      #expect(listed.lines == attack.names, "\(listed)")
    } else {
      #expect(try place.points() == [])
      try place.shell("test -z \"$(ls store/old 2>/dev/null)\"")
    }
  }

  /// Wherever an archive is cut or one of its bytes is another: it becomes no point, or a whole one that another program
  /// brings back as well.
  @Test(arguments: ["2024-05-02.tar", "2024-05-02.tar.gz"] as [Raw]) func cutShort(name: Raw) throws {
    let place = try ImportPlace()
    try place.shell(
      """
      mkdir -p src/d; head -c 30000 /dev/urandom >src/d/a; echo b >src/b
      tar -cf 2024-05-01.tar src; echo c >src/c; tar -caf \(name) src; cp \(name) whole
      """)
    try place.importing(["2024-05-01.tar"])
    let length = try place.scratch.read(name).count
    for cut in [0, 1, 511, 512, 513, 1024, 1536, 9000, length / 2, length - 10_300, length - 1] where cut < length {
      guard name.bytes.hasSuffix(".gz") || cut < length - 10_240 else { continue }
      try place.shell("head -c \(cut) whole >\(name)")
      let output = try place.importing([name], status: 4)
      #expect(output.errorText.contains(name.bytes.shown), "\(cut): \(output)")
      #expect(try place.points() == ["2024-05-01T000000Z"])
    }
    if name.bytes.hasSuffix(".gz") {
      // One bit of the checksum is another.
      try place.shell(
        """
        cp whole \(name); b=$(tail -c 6 whole | head -c 1 | od -An -tu1)
        printf "\\\\$(printf %o $((b ^ 1)))" | dd of=\(name) bs=1 seek=\(length - 6) conv=notrunc 2>/dev/null
        """)
      let output = try place.importing([name], status: 4)
      #expect(output.errorText.contains("gzip data is damaged"), "\(output)")
    }
    // The last of several: those before it are points.
    try place.shell("head -c 5000 whole >\(name); cp 2024-05-01.tar 2024-05-03.tar; mv \(name) 2024-05-04-\(name)")
    try place.importing(["2024-05-03.tar", "2024-05-04-\(name)"], status: 4)
    #expect(try place.points() == ["2024-05-01T000000Z", "2024-05-03T000000Z"])
    try place.sheaf(["verify", "-q", "-s", place.store])
    let whole: Raw = "2024-06-01-\(name.bytes.dropFirst(11).count).tar"
    try place.shell("cp whole \(whole)")
    try place.importing([whole])
  }
}
