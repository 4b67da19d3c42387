/// Files that change while a run reads them, and file systems that give a file's number to another one meanwhile.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct MovingFilesTests {
  /// Writes into the file's one hole, from its end on to its beginning, until `body` has returned.
  private func filling(_ path: Bytes, size: Int64, _ body: () throws -> Void) throws {
    let file = try Descriptor.open(path, .readWrite)
    let done = Monitor(false)
    let thread = Thread {
      var page = size / 4096
      while !done.look({ $0 }), page > 1 {
        page -= 1
        try? Bytes([1]).withUnsafeBytes { try file.write($0, at: page * 4096) }
        usleep(15)
      }
    }
    defer {
      done.change { $0 = true }
      thread.join()
    }
    try body()
  }

  /// A hole that was filled after it was seen is none. Small files are read at once, large ones in pieces.
  @Test(arguments: [1_000_000, 64_000_000] as [Int64]) func aHoleThatIsFilledMeanwhile(size: Int64) throws {
    var wasTorn = false
    // (On a machine with much else to do it takes many.)
    for _ in 0..<60 where !wasTorn {
      let f = try Fixture(TestTree(["file": .sparse(size: size)]))
      let path = f.source.joined(Bytes("file"))
      var output: Output?
      try filling(path, size: size) {
        output = try Command.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).run()
      }
      wasTorn = output?.status == 3 && output?.errorText.contains("changed while it was read") == true
      let saved = try f.sheaf(["cat", "-s", Raw(f.store), "\(f.inside)/file"]).stdout
      let restored = try f.restore().joined(f.inside.bytes).joined(Bytes("file"))
      let isSaved = try Bytes.read(restored) == saved
      #expect(isSaved)
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])

      // What the archive alone tells is the same.
      let before = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().compactMap { $0["digest"] as? String }
      let manifest = try #require(try f.names().first { $0.hasSuffix(".mtree.gz") })
      try Descriptor.open(f.series(), [.read, .directory]).removeFile(Bytes(manifest.utf8))
      try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
      let after = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().compactMap { $0["digest"] as? String }
      #expect(before == after && before.count == 1)
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      let again = try f.restore().joined(f.inside.bytes).joined(Bytes("file"))
      let isSavedStill = try Bytes.read(again) == saved
      #expect(isSavedStill)
    }
    #expect(wasTorn, "the file did not change while it was read")
  }

  /// A file is removed after it was listed, and another one that is made gets its number. What `fstatat` says is made
  /// up here: no file system does it when it is wanted.
  @Test(.enabled(if: Command.find("cc") != nil, "needs a C compiler")) func aNumberThatIsUsedAgain() throws {
    let f = try Fixture(
      TestTree([
        "a": .directory(["same": .file("one"), "x": .hardLink("a/same")]),
        "b": .directory(["same": .file("another"), "x": .hardLink("b/same")]),
      ]))
    try f.scratch.write(
      "stat.c",
      """
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <string.h>
      #include <sys/stat.h>
      #include <unistd.h>
      int fstatat(int directory, const char *name, struct stat *s, int flags) {
        int (*real)(int, const char *, struct stat *, int) = dlsym(RTLD_NEXT, "fstatat");
        int result = real(directory, name, s, flags);
        if (result != 0 || strcmp(name, "same") != 0) return result;
        s->st_ino = 4711;
        write(2, "told\\n", 5);
        return 0;
      }
      """)
    let library = Raw(f.scratch.path("stat.so"))
    try Command("cc", ["-shared", "-fPIC", "-o", library, Raw(f.scratch.path("stat.c")), "-ldl"]).run().checked()
    let output = try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)], environment: ["LD_PRELOAD": library])
    #expect(output.errorLines.filter { $0 == "told" }.count == 2, "\(output)")
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    let wanted = try Snapshot(of: f.source)
    for path in ["a/same", "a/x", "b/same", "b/x"] as [Raw] { #expect(tree[path]?.digest == wanted[path]?.digest) }
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  /// Its digest would take longer than anyone waits: it is named, and the rest is saved.
  @Test func aFileBeyondAllMeasure() throws {
    let f = try Fixture(TestTree(["a": .file("a"), "huge": .file(), "z": .file("z")]))
    let file = try Descriptor.open(f.source.joined(Bytes("huge")), .readWrite)
    // Where the file system has no such files, there is nothing to be tried.
    guard (try? file.truncate(to: 1 << 60)) != nil else { return }
    let output = try Command.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)], timeout: 20).run()
    #expect(output.status == 3 && output.errorText.contains("huge: cannot read: File too large"), "\(output)")
    let tree = try Snapshot(of: try f.restore().joined(f.inside.bytes))
    #expect(tree["a"] != nil && tree["z"] != nil && tree["huge"] == nil)
  }

  /// Hours of hashing holes end when they are asked to.
  @Test(arguments: ["verify", "restore", "backup", "rebuild"] as [Raw]) func hashingHolesIsInterrupted(verb: Raw) throws
  {
    let stage = try Stage()
    let source = stage.scratch.path("source")
    try TestTree(["f": .file()]).make(at: source)
    // Where the file system has no such files, there is nothing to be tried.
    guard (try? Descriptor.open(source.joined(Bytes("f")), .readWrite).truncate(to: 60 << 30)) != nil else { return }
    var set = ForgedSet()
    // Less than the zeros that are hashed whatever else is read.
    let size = 60 << 30
    var base256 = Bytes(repeating: 0, count: 12)
    for index in 0..<8 { base256[11 - index] = UInt8(truncatingIfNeeded: size >> (8 * index)) }
    base256[0] = 0x80
    let none = Bytes("000000000000")
    let map = base256 + none
    let header = ForgedTar.header("huge", type: "S", fields: [(257, Bytes("ustar  \0")), (386, map), (483, base256)])
    let place = set.add(ForgedMember(header))
    var line = ForgedLine("huge")
    (line.size, line.digest) = ("\(size)", Raw(Checksums.sha256([])))
    line.tags = "h:0:\(size),"
    line.local = "c:1.000000000,i:1,k"
    line.extents = [set.extent(place.offset, place.number, header.count, 0)]
    set.lines.append(line)
    set.end()
    try stage.store.write(set)
    var arguments: [Raw] = [verb, "-s", Raw(stage.store.path)]
    if verb == "restore" { arguments += ["--to", Raw(stage.target)] }
    if verb == "backup" { arguments += ["--series", "own", Raw(source)] }
    if verb == "rebuild" { Scratch.remove(stage.store.series.joined(Bytes("\(set.name).mtree.gz".utf8))) }
    let running = try Command.sheaf(arguments, timeout: 20).start()
    usleep(500_000)
    #expect(running.isRunning, "\(running.wait())")
    running.signal(SIGINT)
    let output = running.wait()
    #expect(output.status == 130 && !output.timedOut, "\(output)")
    #expect(output.errorLines.contains { $0.contains("interrupted") }, "\(output)")
  }
}
