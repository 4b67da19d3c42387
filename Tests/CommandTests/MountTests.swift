/// Points seen as folders: they are what a restore makes of them, also while the store changes under the mount.
import Glibc
import Posix
import TestSupport
import Testing

/// The program, serving a store on a folder for as long as this lives.
final class MountedStore {
  static let needs = "needs root and /dev/fuse"
  static let isPossible: Bool = {
    if Host.isRoot, let f = try? Fixture(), (try? f.save()) != nil, (try? MountedStore(f)) != nil { return true }
    let line = Bytes("skipped: tests of mount, which \(needs)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    return false
  }()

  let path: Bytes
  private let running: Running
  private var output: Output?

  /// On a new directory, unless one is given.
  init(_ f: Fixture, _ more: [Raw] = [], on given: Bytes? = nil, as user: Command.User? = nil) throws {
    path = given ?? f.scratch.path("mounted-\(Raw("\(UInt32.random(in: 0 ... .max))"))")
    if given == nil { try Descriptor.workingDirectory.makeDirectory(path) }
    if let user {
      try Descriptor.open(f.scratch.path, [.read, .directory])
        .setOwner(path.splitAtName.name, uid: user.uid, gid: user.gid)
    }
    let options = ["mount", "-s", f.named] + (f.remote?.options ?? []) + more + [Raw(path)]
    running = try Command.sheaf(options, as: user).start()
    guard running.waitForOutput("press ^C") else { throw Unexpected(description: running.wait().description) }
  }

  func point(_ point: Fixture.Point) -> Bytes { path.joined(Bytes("points/\(point.set.prefix(18))".utf8)) }

  /// Ends it, as ^C does or otherwise, and gives what it left behind.
  func end(_ signal: Int32? = SIGINT) -> Output {
    if let output { return output }
    if let signal { running.signal(signal) }
    output = running.wait()
    return output!
  }

  func signal(_ signal: Int32) { running.signal(signal) }
  var isRunning: Bool { running.signal(0) }

  deinit { _ = end() }
}

@Suite(.enabled(if: MountedStore.isPossible, "\(MountedStore.needs)")) struct MountTests {
  enum Kind: String, CaseIterable { case plain, encrypted, sftp }

  /// A file system whose server hangs is none of their business.
  @Test func anotherMountHangs() throws {
    let f = try Fixture()
    try f.save()
    let mounted = try MountedStore(f)
    let home: [String: Raw?] = ["HOME": Raw(f.scratch.path), "XDG_STATE_HOME": Raw(f.scratch.path("state"))]
    let away = Raw(f.scratch.path("away"))
    try Command.sheaf(["init", "-q", "--label", "blue", "-s", away], environment: home).run().checked()
    Scratch.remove(away.bytes)
    mounted.signal(SIGSTOP)
    defer { mounted.signal(SIGCONT) }
    for (line, status) in [
      (["status"], 0), (["points", "-s", away], 10), (["backup", "-s", "blue", Raw(f.source)], 10),
    ] as [([Raw], Int32)] {
      let output = try Command.sheaf(line, environment: home, timeout: 20).run()
      #expect(output.status == status && !output.timedOut, "\(output)")
    }
  }

  private func fixture(_ kind: Kind, _ tree: TestTree = TestTree([:])) throws -> Fixture {
    try Fixture(tree, encrypted: kind == .encrypted, remote: kind == .sftp ? Remote() : nil)
  }

  private func differences(_ f: Fixture, _ point: Fixture.Point, _ mounted: MountedStore) throws -> [String] {
    point.tree.differences(to: try Snapshot(of: mounted.point(point).joined(f.inside.bytes)))
  }

  /// Renames, deletions, links of both kinds, holes, FIFOs, devices, attributes, access lists, names of any bytes.
  @Test(arguments: Kind.allCases) func everyPointIsAsItWas(_ kind: Kind) throws {
    let f = try fixture(kind)
    Scratch.remove(f.source)
    var history = History(label: "mount \(kind)", size: 120)
    try history.make(at: f.source)
    try f.save()
    var story = "seed \(history.seed)"
    for round in 0..<3 {
      story += "\n" + (try history.step().joined(separator: "\n"))
      try f.save(round == 1 ? ["--differential"] : [])
    }
    let mounted = try MountedStore(f)
    for point in f.points { #expect(try differences(f, point, mounted) == [], "\(point.set), \(story)") }
    let names = try Descriptor.open(mounted.path.joined(Bytes("points")), [.read, .directory]).sortedNames()
    #expect(names.map(\.shown) == f.points.map { String($0.set.prefix(18)) })
    let latest = try Descriptor.open(mounted.path, [.read, .directory]).readLink(Bytes("latest"))
    #expect(latest.shown == "points/\(f.newest.set.prefix(18))")
    let days = try Command("sh", ["-c", "readlink by-day/*"], in: mounted.path).run().checked()
    #expect(days.lines.last.map { "points/" + $0.suffix(18) } == latest.shown, "\(days)")
    let output = mounted.end()
    #expect(output.status == 0 && output.errorText.isEmpty, "\(output)")
    #expect(try Descriptor.open(mounted.path, [.read, .directory]).sortedNames() == [])
  }

  @Test func otherProgramsSeeWhatARestoreMakes() throws {
    let f = try Fixture()
    Scratch.remove(f.source)
    var history = History(label: "mount for others")
    try history.make(at: f.source)
    try f.edit("for i in $(seq 2000); do echo $i >file-$i; done; head -c 40000000 /dev/urandom >large")
    try f.save()
    let restored = try f.restore().joined(f.inside.bytes)
    let mounted = try MountedStore(f)
    let seen = mounted.path.joined(Bytes("latest")).joined(f.inside.bytes)
    #expect(try Rsync.differences(from: restored, to: seen) == [])
    #expect(try Rsync.differences(from: seen, to: restored) == [])
    let script: Raw = """
      set -e
      # Of what is no file diff says that it cannot compare it.
      diff -r --no-dereference "$1" "$2" | grep -a -v ' is a .* while file ' && exit 1
      for d; do
        cd "$d"
        n=$((n + 1))
        find . -type d -printf '%p %y %m %U %G\\n' -o -printf '%p %y %m %U %G %n %l\\n' | LC_ALL=C sort >"$0/find-$n"
        getfattr -R -h -d -m - . 2>&1 | LC_ALL=C sort >"$0/attr-$n"
      done
      cmp "$0/find-1" "$0/find-2"
      cmp "$0/attr-1" "$0/attr-2"
      test $(wc -l <"$0/find-1") -gt 2000
      test "$(grep -rl --include='file-*' -x 777 "$2")" = "$2/file-777"
      cp -a "$2" "$0/copied"
      """
    let arguments: [Raw] = ["-c", script, Raw(f.scratch.path), Raw(restored), Raw(seen)]
    let output = try Command("bash", arguments).run()
    #expect(output.status == 0 && output.text.isEmpty, "\(output)")
    #expect(try f.newest.tree.differences(to: Snapshot(of: f.scratch.path("copied"))) == [])
  }

  /// Any place of a large file, in any order, by several programs at once.
  @Test(arguments: Kind.allCases) func largeFilesAreReadAtAnyPlace(_ kind: Kind) throws {
    let f = try fixture(
      kind,
      TestTree([
        "dense": .file(size: 45_000_000, seed: 1),
        "sparse": .sparse(
          size: 1_200_000_000,
          data: [4096..<30_000_000, 900_000_000..<900_008_192, 1_199_990_000..<1_200_000_000], seed: 3),
      ]))
    try f.save()
    let mounted = try MountedStore(f)
    let seen = mounted.path.joined(Bytes("latest")).joined(f.inside.bytes)
    let script = """
      import os, random, sys, threading
      failed = []
      def compare(name, seed):
        pick = random.Random(seed)
        a, b = (os.open(os.path.join(d, name), os.O_RDONLY) for d in sys.argv[1:3])
        size = os.fstat(a).st_size
        for _ in range(60):
          at = pick.choice([0, size - 5000, pick.randrange(size), pick.randrange(30 << 20), 900000000 - 1000])
          n = pick.choice([1, 4096, 200000])
          if os.pread(a, n, at) != os.pread(b, n, at): failed.append((name, at, n))
        at = 0
        for whence in (os.SEEK_DATA, os.SEEK_HOLE) * 3:
          try: x = os.lseek(a, at, whence)
          except OSError as e: x = e.errno
          try: y = os.lseek(b, at, whence)
          except OSError as e: y = e.errno
          if x != y: failed.append((name, at, whence, x, y))
          if x < 10: break
          at = x
      threads = [threading.Thread(target=compare, args=(n, s)) for s in range(3) for n in ("dense", "sparse")]
      for t in threads: t.start()
      for t in threads: t.join()
      sys.exit(str(failed[:9]) if failed else 0)
      """
    let output = try Reader.python(script, [Raw(f.source), Raw(seen)])
    #expect(output.status == 0, "\(output)")
  }

  // MARK: - What changes under the mount

  @Test func newPointsShowAndGoneOnesGo() throws {
    let f = try Fixture(TestTree(["a": .file("one\n"), "d": .directory(["b": .file("two\n")])]))
    try f.save()
    let mounted = try MountedStore(f)
    #expect(try differences(f, f.points[0], mounted) == [])
    try f.edit("echo more >>a; mv d e")
    try f.save()
    sleep(2)
    for point in f.points { #expect(try differences(f, point, mounted) == []) }
    // What the points were made of is written anew: each is as it was.
    try f.sheaf(["prune", "-q", "-s", f.named, "--keep-last", "1", "--fold"])
    sleep(2)
    #expect(try differences(f, f.points[1], mounted) == [])
    let first = try Command("cat", ["\(mounted.point(f.points[0]))\(Raw(f.source))/a"]).run()
    #expect(first.status == 1 || first.text == "one\n", "\(first)")
    let names = try Descriptor.open(mounted.path.joined(Bytes("points")), [.read, .directory]).sortedNames()
    #expect(names.map(\.shown) == [String(f.points[1].set.prefix(18))])
  }

  /// The kernel keeps where a link leads to.
  @Test func theLatestMovesOn() throws {
    let f = try Fixture(TestTree(["a": .file("one\n")]))
    try f.save()
    let mounted = try MountedStore(f)
    let latest = mounted.path.joined(Bytes("latest"))
    func target() throws -> Raw { Raw(try Descriptor.workingDirectory.readLink(latest)) }
    #expect(try target() == Raw(Bytes("points/\(f.points[0].set.prefix(18))".utf8)))
    try f.edit("echo more >>a")
    try f.save()
    sleep(2)
    #expect(try target() == Raw(Bytes("points/\(f.points[1].set.prefix(18))".utf8)))
    let text = try Bytes.read(latest.joined(f.inside.bytes).joined(Bytes("a")))
    #expect(text == Bytes("one\nmore\n"))
  }

  /// With it, each point would hold all points.
  @Test func aMountInsideASource() throws {
    let f = try Fixture(TestTree(["a": .file("one\n"), "m": .directory(["b": .file("two\n")])]))
    try f.save()
    try f.edit("rm m/b")
    let inside = f.source.joined(Bytes("m"))
    let mounted = try MountedStore(f, on: inside)
    let output = try f.sheaf(["backup", "-s", f.named, Raw(f.source)])
    #expect(output.errorText.contains("/m: what is mounted there is left out"), "\(output)")
    #expect(output.text.contains("1 file system left out"), "\(output)")
    let list = try f.sheaf(["ls", "-R", "-s", f.named]).text
    #expect(!list.contains("m/latest") && list.contains("source/m"), "\(list)")
    // Where it is asked for, it is saved.
    let last = inside.joined(Bytes("latest")).joined(f.inside.bytes)
    try f.sheaf(["backup", "-q", "-s", f.named, "--series", "asked", Raw(last)])
    #expect(try f.sheaf(["ls", "-R", "-s", f.named, "--series", "asked"]).text.contains("source/a"))
    #expect(mounted.end().status == 0)
  }

  /// A store that hangs keeps who reads waiting, and not who wants to end it.
  @Test(.enabled(if: Command.find("fuse2fs") != nil, "fuse2fs is not installed")) func aStoreThatHangs() throws {
    let volume = try Volume(.fuse2fs, megabytes: 64)
    let f = try Fixture(TestTree(["a": .file(size: 3_000_000, seed: 1)]), store: volume.path.joined(Bytes("store")))
    try f.save()
    // The kernel is to hold nothing of it.
    volume.unmount()
    try volume.mount()
    let mounted = try MountedStore(f)
    let file = mounted.path.joined(Bytes("latest")).joined(f.inside.bytes).joined(Bytes("a"))
    let reader = try Command("sh", ["-c", "exec <'\(Raw(file))'; echo open; sleep 1; exec cat >/dev/null"]).start()
    #expect(reader.waitForOutput("open"))
    volume.signalServer(SIGSTOP)
    defer { volume.signalServer(SIGCONT) }
    sleep(2)
    mounted.signal(SIGINT)
    for _ in 0..<100 where mounted.isRunning { usleep(50_000) }
    #expect(!mounted.isRunning)
    volume.signalServer(SIGCONT)
    #expect(mounted.end(nil).status == 0)
    _ = reader.wait()
  }

  /// Wherever a byte of an archive is not what it was: what is given is what was saved, or an error.
  @Test(arguments: [false, true]) func damageIsAnErrorAndNeverAWrongByte(encrypted: Bool) throws {
    let f = try Fixture(
      TestTree([
        "small": .file("text\n"), "middle": .file(size: 3_000_000, seed: 1), "large": .file(size: 21_000_000, seed: 2),
      ]), encrypted: encrypted)
    try f.save()
    let names = try f.names().filter { $0.contains(".tar.gz") }
    let archive = try f.series().joined(Bytes(names[0].utf8))
    let size = try Descriptor.open(archive, .read).status().size
    var random = Random(label: "mount and damage")
    var errors = 0
    for round in 0..<8 {
      let mounted = try MountedStore(f)
      let place = round == 0 ? 200 : Int64(random.number(in: 0...(Int(size) - 1)))
      let file = try Descriptor.open(archive, .readWrite)
      let before = try file.read(count: 1, at: place)
      try [before[0] ^ 0x10].withUnsafeBytes { try file.write($0, at: place) }
      let seen = mounted.path.joined(Bytes("latest")).joined(f.inside.bytes)
      for name in ["small", "middle", "large"] {
        let output = try Command("cat", ["\(seen)/\(Raw(name))"]).run()
        let whole = try Bytes.read(f.source.joined(Bytes(name.utf8)))
        if output.status == 0 {
          #expect(output.stdout == whole, "\(name), byte \(place), seed \(random.seed)")
        } else {
          errors += 1
          #expect(output.errorText.contains("Input/output error"), "\(output.errorText)")
          #expect(whole.starts(with: output.stdout), "\(name), byte \(place), seed \(random.seed)")
        }
      }
      try before.withUnsafeBytes { try file.write($0, at: place) }
      #expect(mounted.end().status == 0)
    }
    #expect(errors > 3)
  }

  @Test func aStoreThatIsRemovedEndsInErrors() throws {
    let f = try Fixture(TestTree(["a": .file("one\n"), "d": .directory(["b": .file("two\n")])]))
    try f.save()
    let mounted = try MountedStore(f)
    let series = try f.series()
    for name in try f.names() { try Descriptor.open(series, [.read, .directory]).removeFile(Bytes(name.utf8)) }
    let output = try Command("find", [Raw(mounted.path.joined(Bytes("points")))]).run()
    #expect(output.status == 1 && output.errorText.contains("Input/output error"), "\(output)")
    let end = mounted.end()
    #expect(end.status == 0 && end.errorText.contains("cannot open"), "\(end)")
  }

  // MARK: - Beginning and end

  @Test func itEndsInGoodOrder() throws {
    let f = try Fixture(TestTree(["a": .file("one\n")]))
    try f.save()
    let terminated = try MountedStore(f)
    // Somebody looks at it: it goes all the same.
    let open = try Descriptor.open(terminated.path.joined(Bytes("latest")).joined(f.inside.bytes), [.read, .directory])
    #expect(terminated.end(SIGTERM).status == 0)
    #expect(throws: (any Error).self) { try open.sortedNames() }
    let unmounted = try MountedStore(f)
    try Command("umount", [Raw(unmounted.path)]).run().checked()
    let output = unmounted.end(nil)
    #expect(output.status == 0 && output.errorText.isEmpty, "\(output)")
  }

  @Test func oneThatWasKilledIsNamed() throws {
    let f = try Fixture()
    try f.save()
    let killed = try MountedStore(f)
    _ = killed.end(SIGKILL)
    defer { _ = try? Command("umount", ["-l", Raw(killed.path)]).run() }
    let output = try f.sheaf(["mount", "-s", f.named, Raw(killed.path)], status: 1)
    #expect(output.errorText.contains("a mount whose program has ended"), "\(output)")
  }

  @Test func whatCannotBeMountedIsSaid() throws {
    let f = try Fixture(TestTree(["a": .file("one\n")]))
    try f.save()
    func expect(_ words: String, on path: Bytes, environment: [String: Raw?] = [:], as user: Command.User? = nil) throws
    {
      let output = try f.sheaf(["mount", "-s", f.named, Raw(path)], status: 1, environment: environment, as: user)
      #expect(output.errorText.contains(words), "\(output)")
    }
    try expect("is not empty", on: f.source)
    try expect("make it first: mkdir", on: f.scratch.path("none"))
    let mounted = try MountedStore(f)
    try expect("something is mounted", on: mounted.path)
    try expect("Not a directory", on: f.source.joined(Bytes("a")))
    let empty = f.scratch.path("empty")
    try Descriptor.workingDirectory.makeDirectory(empty)
    let noKey = try Fixture(encrypted: true)
    try noKey.save()
    let hidden: [String: Raw?] = ["XDG_CONFIG_HOME": Raw(empty)]
    try noKey.sheaf(["mount", "-s", noKey.named, Raw(empty)], status: 1, environment: hidden)
    try expect("fusermount3 is not installed", on: empty, environment: ["PATH": "/nowhere"], as: .nobody)
  }

  private static let isForAll =
    ((try? Descriptor.workingDirectory.status(of: Bytes("/dev/fuse")).mode) ?? 0) & 0o666 == 0o666

  /// By the helper that may mount for everyone; only they themselves may look then.
  @Test(.enabled(if: isForAll && Command.find("fusermount3") != nil, "needs fusermount3 and a /dev/fuse for all"))
  func anyUserMayMount() throws {
    let f = try Fixture(TestTree(["a": .file("one\n").mode(0o600)]))
    try f.save()
    try f.sheaf(["points", "-q", "-s", f.named], as: .nobody)
    let mounted = try MountedStore(f, as: .nobody)
    let inside: Raw = "\(Raw(mounted.path))/latest/\(f.inside)/a"
    #expect(try Command("cat", [inside], as: .nobody).run().checked().text == "one\n")
    #expect(try Command("cat", [inside]).run().status == 1)
    try Command("fusermount3", ["-u", Raw(mounted.path)], as: .nobody).run().checked()
    #expect(mounted.end(nil).status == 0)
  }

  @Test func othersHaveTheirRights() throws {
    let f = try Fixture(TestTree(["own": .file("one\n").mode(0o600), "all": .file("two\n")]))
    try f.save()
    let mounted = try MountedStore(f, ["--allow-other"])
    let inside: Raw = "\(Raw(mounted.path))/latest/\(f.inside)"
    #expect(try Command("cat", ["\(inside)/all"], as: .nobody).run().checked().text == "two\n")
    #expect(try Command("cat", ["\(inside)/own"], as: .nobody).run().status == 1)
  }
}
