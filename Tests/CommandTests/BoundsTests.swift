/// Numbers, lists and files without bounds, met where they come from: other programs' archives, devices, long chains.
import Posix
import TestSupport
import Testing

@Suite struct BoundsTests {
  /// Every form in which GNU tar keeps holes, of files that end in data, in a hole, or are nothing else.
  @Test(arguments: ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"])
  func aHoleAtTheEndOfAForeignFile(form: String) throws {
    let f = try Fixture()
    try f.edit(
      """
      truncate -s 300000 hole; truncate -s 1M tail; printf data | dd of=tail bs=1 seek=4096 conv=notrunc 2>/dev/null
      cp tail middle; printf end >>middle; printf whole >whole
      """)
    let format: Raw = form.hasPrefix("--format") ? Raw(form) : "--format=posix"
    let more: [Raw] = form.hasPrefix("--format") ? [] : [Raw(form)]
    let archive = f.scratch.path("foreign.tar")
    try Command("tar", ["-S", format] + more + ["-cf", Raw(archive), "hole", "tail", "middle", "whole"], in: f.source)
      .run().checked()
    for name in ["hole", "tail", "middle", "whole"] {
      let output = try f.sheaf(["cat", "--archive", Raw(archive), Raw(name)])
      #expect(try output.stdout == Bytes.read(f.source.joined(Bytes(name.utf8))), "\(name) by \(form)")
    }
  }

  /// What one entry says of itself, in gigabytes: libarchive would keep all of it in memory.
  @Test(arguments: ["old", "1.0", "pax", "long"]) func anEntryWithoutEnd(form: String) throws {
    let f = try Fixture()
    let archive = f.scratch.path("foreign.tar.gz")
    let script = """
      import gzip, sys, tarfile
      form, out = sys.argv[1], gzip.open(sys.argv[2], "wb", 1)
      def header(type, size, name=b"file", change=lambda block: None):
          block = bytearray(512)
          for at, text in ((0, name), (100, b"0000644\\0" + b"0000000\\0" * 2), (124, b"%011o\\0" % size),
                           (136, b"00000000000\\0" + b" " * 8 + type), (257, b"ustar  \\0")):
              block[at : at + len(text)] = text
          change(block)
          block[148:156] = b"%06o\\0 " % sum(block)
          return bytes(block)
      def record(key, value):
          text = b" " + key + b"=" + value + b"\\n"
          size = next(n for n in range(len(text), len(text) + 9) if len(b"%d" % n) + len(text) == n)
          return b"%d" % size + text
      def padded(data): return data + bytes(-len(data) % 512)
      if form == "old":
          def sparse(block):
              block[386:482] = (b"%011o " % 0 + b"%011o " % 0) * 4
              block[482:495] = b"1%011o " % 5
          out.write(header(b"S", 0, change=sparse))
          more = ((b"%011o " % 0) * 42 + b"1").ljust(512, b"\\0")
          for _ in range(400): out.write(more * 2048)
      elif form == "1.0":
          size = 400 << 20
          pax = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
          pax += record(b"GNU.sparse.name", b"file") + record(b"GNU.sparse.realsize", b"5")
          out.write(header(b"x", len(pax)) + padded(pax) + header(b"0", size))
          out.write(b"99999999\\n" + b"0\\n" * 251 + b"\\n")
          for _ in range(400): out.write(b"0\\n" * (1 << 19))
      else:
          type, data = (b"x", record(b"comment", b"x" * 900000)) if form == "pax" else (b"L", b"x" * 900000)
          for _ in range(400): out.write(header(type, len(data)) + padded(data))
      out.close()
      """
    try Reader.python(script, [Raw(form), Raw(archive)]).checked()
    for command in [["ls", Raw(archive)], ["cat", "--archive", Raw(archive), "file"]] as [[Raw]] {
      // The map of form 1.0 stands before the data.
      if form == "1.0", command[0] == "ls" { continue }
      let output = try Command.sheaf(command)
        .wrapped(["sh", "-c", "ulimit -v 1500000; exec \"$0\" \"$@\""]).run()
      #expect(output.status == 4 && output.errorText.contains("too long"), "\(form), \(command): \(output)")
    }
  }

  /// Our own archives have holes, too.
  @Test func aHoleAtTheEndOfAFileOfOurs() throws {
    let f = try Fixture()
    try f.edit("truncate -s 1M tail; printf data | dd of=tail bs=1 seek=4096 conv=notrunc 2>/dev/null")
    try f.save()
    let output = try f.sheaf(["cat", "--archive", Raw(f.archive(f.newest)), "\(f.inside)/tail"])
    #expect(try output.stdout == Bytes.read(f.source.joined(Bytes("tail"))))
  }

  /// A number that Linux has not is not shown as another.
  @Test func ownersBeyondAllOfLinux() throws {
    let f = try Fixture()
    let archive = f.scratch.path("foreign.tar")
    let script = """
      import sys, tarfile
      with tarfile.open(sys.argv[1], "w", format=tarfile.GNU_FORMAT) as out:
          info = tarfile.TarInfo("file")
          info.uid, info.gid = 2**33 + 7, 2**32
          out.addfile(info)
      """
    try Reader.python(script, [Raw(archive)]).checked()
    let entry = try #require(try f.sheaf(["ls", "--json", Raw(archive)]).json().first)
    #expect(entry["uid"] as? Int == 1 << 33 + 7 && entry["gid"] as? Int == 1 << 32)
    #expect(try f.sheaf(["ls", "-l", Raw(archive)]).text.contains("8589934599 4294967296"))
  }

  @Test(arguments: ["--exclude-from", "--files-from0"]) func aListWithoutEnd(option: String) throws {
    let f = try Fixture(TestTree(["a": .file("a\n")]))
    let output = try f.sheaf(["backup", "-s", Raw(f.store), Raw(option), "/dev/zero", Raw(f.source)], status: 64)
    #expect(output.errorText.contains("/dev/zero holds more than"))
  }

  /// A chain of many points: each manifest is opened a few times, whatever the number of points that build on it.
  @Test func readersOpenEachManifestAFewTimes() throws {
    let stage = try Stage()
    let count = 60
    var before: ForgedSet?
    for number in 0..<count {
      let point = "2026-01-01T00\(number < 10 ? "0" : "")\(number)00Z"
      var set = ForgedSet(point + (before == nil ? "-full" : "-incr"), id: UInt64(number + 1), on: before)
      // Every point has the same tree: so each digest is right.
      set.directory("box")
      before = set
      set.end()
      try stage.store.write(set)
    }
    for command in [["points"], ["verify", "--quick"], ["verify"], ["ls"]] as [[Raw]] {
      let trace = stage.scratch.path("trace")
      let output = try Command.sheaf(command + ["-s", Raw(stage.store.path)])
        .wrapped(["strace", "-f", "-qq", "-e", "trace=openat", "-o", Raw(trace)]).run()
      #expect(output.status == 0, "\(output)")
      let opens = try Bytes.read(trace).shown.split(separator: "\n").count { $0.contains(".mtree.gz") }
      #expect(opens >= count && opens <= 6 * count, "\(command): \(opens) opens")
    }
  }

  /// More sets than files may be open.
  @Test func aChainLongerThanTheLimitOfFiles() throws {
    let stage = try Stage()
    var before: ForgedSet?
    for number in 0..<200 {
      let time = String(10_000 + number / 60 * 100 + number % 60).dropFirst()
      var set = ForgedSet(
        "2026-01-01T00\(time)Z-\(before == nil ? "full" : "incr")", id: UInt64(number + 1), on: before)
      set.directory("box")
      before = set
      set.end()
      try stage.store.write(set)
    }
    for command in [["ls"], ["verify"], ["points"]] as [[Raw]] {
      let output = try Command.sheaf(command + ["-s", Raw(stage.store.path)])
        .wrapped(["prlimit", "--nofile=64:64"]).run()
      #expect(output.status == 0, "\(output)")
    }
  }

  /// What lies below something that is no directory is in no archive: who unpacks it would follow a link.
  @Test func exportLeavesOutWhatIsBelowALink() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.directory("box")
    set.symlink("box/link", "/etc")
    set.file("box/link/file", "contents")
    set.end()
    try stage.store.write(set)
    let tar = stage.scratch.path("out.tar")
    let output = try Command.sheaf(["export", "-s", Raw(stage.store.path), "-o", Raw(tar)]).run()
    #expect(output.status == 4 && output.errorText.contains("lies in no directory"), "\(output)")
    let names = try Command("tar", ["-tf", Raw(tar)]).run().checked().lines
    #expect(names == ["box/", "box/link"])
  }
}
