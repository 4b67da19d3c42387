/// Another process that puts links into the way while files are restored: what was looked at is not what is there a
/// moment later. Each test goes on for a bounded number of rounds.
import Glibc
import Posix
import TestSupport
import Testing

@Suite(.serialized) struct HostileRaceTests {
  /// Runs `disturb` again and again on a thread of its own until `body` has returned.
  private func disturbing(_ body: () throws -> Void, by disturb: @escaping @Sendable (Int) -> Void) rethrows {
    let done = Monitor(false)
    let thread = Thread {
      var round = 0
      while !done.look({ $0 }) {
        disturb(round)
        round += 1
      }
    }
    defer {
      done.change { $0 = true }
      thread.join()
    }
    try body()
  }

  private func restore(_ stage: Stage) throws {
    let output = try Command.sheaf(
      ["restore", "-s", Raw(stage.store.path), "--to", Raw(stage.target), "--overwrite", "always", "--delete"],
      environment: ["SWIFT_BACKTRACE": "enable=no"], timeout: 30
    ).run()
    #expect(output.signal == 0 && !output.timedOut && [0, 1, 3].contains(output.status), "\(output)")
  }

  private func expectSame(_ before: Snapshot, _ after: Snapshot) {
    var options = Snapshot.Options.ignoring(skipped: ["in/target"])
    options.fields.insert(.changed)
    let lines = before.differences(to: after, options)
    #expect(lines.isEmpty, "\(lines.joined(separator: "\n"))")
  }

  /// A folder and a link to the outside change places all the time.
  @Test func aFolderThatBecomesALink() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.directory("box")
    set.directory("box/sub")
    for number in 0..<60 {
      set.directory("box/sub/d\(number)") { $0.mode = "0777" }
      set.file("box/sub/d\(number)/file", "evil")
      set.file("box/sub/f\(number)", "evil") { $0.mode = "0666" }
      set.fifo("box/sub/p\(number)")
    }
    set.hardLink("box/sub/hard", "box/sub/f0")
    set.end()
    try stage.store.write(set)
    try stage.prepare(
      TestTree(["box": .directory(["sub": .directory(["old": .file("old")]), "link": .symlink(Raw(stage.outside))])]))
    // What the set has is outside too, to be changed, replaced or removed.
    for number in 0..<60 {
      let folder = TestTree(["old": .file("old"), "file": .file("good")])
      try folder.make(at: stage.outside.joined(Bytes("d\(number)".utf8)))
    }
    let before = try stage.snapshot()
    let box = stage.target.joined(Bytes("box"))
    for _ in 0..<20 {
      disturbing({ try? restore(stage) }, by: { _ in exchange(box.joined(Bytes("sub")), box.joined(Bytes("link"))) })
      // The one that was pruned is put back.
      if !exists(box.joined(Bytes("link"))) {
        try Descriptor.open(box, [.read, .directory]).makeSymlink(Bytes("link"), to: stage.outside)
      }
    }
    expectSame(before, try stage.snapshot())
  }

  /// A folder that is to go becomes a link between the look at it and its opening: `openat` is made to see to that.
  @Test(.enabled(if: Command.find("cc") != nil, "needs a C compiler")) func aFolderThatBecomesALinkInBetween() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.directory("box")
    set.end()
    try stage.store.write(set)
    try stage.prepare(TestTree(["box": .directory(["old": .directory(["in": .file("in")])])]))
    try stage.scratch.write(
      "open.c",
      """
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <fcntl.h>
      #include <stdio.h>
      #include <string.h>
      #include <unistd.h>
      int openat(int directory, const char *name, int flags, ...) {
        int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
        if (strcmp(name, "old") == 0 && renameat(directory, "old", directory, "aside") == 0)
          symlinkat("\(stage.outside)", directory, "old");
        return real(directory, name, flags, 0600);
      }
      """)
    let library = Raw(stage.scratch.path("open.so"))
    try Command("cc", ["-shared", "-fPIC", "-o", library, Raw(stage.scratch.path("open.c")), "-ldl"]).run().checked()
    let before = try stage.snapshot()
    let output = try Command.sheaf(
      ["restore", "-s", Raw(stage.store.path), "--to", Raw(stage.target), "--overwrite", "always", "--delete"],
      environment: ["LD_PRELOAD": library]
    ).run()
    #expect(output.signal == 0 && output.errorText.contains("cannot open"), "\(output)")
    #expect(exists(stage.target.joined(Bytes("box/aside"))))
    expectSame(before, try stage.snapshot())
  }

  /// Every pipe becomes a link as soon as it is there, before its owner, mode and time are set.
  @Test func aPipeThatBecomesALink() throws {
    let stage = try Stage()
    let count = 400
    var set = ForgedSet()
    set.directory("box")
    for number in 0..<count { set.fifo("box/p\(1000 + number)") { $0.mode = "0777" } }
    set.end()
    try stage.store.write(set)
    let before = try stage.snapshot()
    let box = stage.target.joined(Bytes("box"))
    let file = stage.outside.joined(Bytes("file"))
    for _ in 0..<5 {
      let swap = { @Sendable (round: Int) in
        let pipe = box.joined(Bytes("p\(1000 + round % count)".utf8))
        pipe.withCString { pipe in
          var tries = 0
          while access(pipe, F_OK) != 0, tries < 300 { tries += 1 }
          if unlink(pipe) == 0 { file.withCString { _ = symlink($0, pipe) } }
        }
      }
      disturbing({ try? restore(stage) }, by: swap)
      Scratch.remove(box)
    }
    expectSame(before, try stage.snapshot())
  }
}
