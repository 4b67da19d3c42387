/// Everything tar can hold comes back as it was: kinds of files, names, times, attributes, sizes, holes.
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct TypesTests {
  private static let isRoot = Scratch.allowsEverything

  private func expectBack(
    _ tree: TestTree, editing script: Raw? = nil, at location: SourceLocation = #_sourceLocation
  ) throws {
    let f = try Fixture(tree)
    try f.save(at: location)
    if let script {
      try f.edit(script)
      try f.save(at: location)
    }
    try f.expectEveryPoint(at: location)
    guard Rsync.isInstalled else { return }
    // A second opinion by other code.
    let target = try f.restore()
    let lines = try Rsync.differences(from: f.source, to: target.joined(f.inside.bytes))
    #expect(lines == [], sourceLocation: location)
  }

  @Test func kindsAndModes() throws {
    var children: [Raw: Node] = [
      "file": .file("text"), "empty": .file(), "dir": .directory(["in": .file()]), "void": .directory(),
      "link": .symlink("file"), "dangling": .symlink("/no/where"),
      "long-link": .symlink(Raw(Bytes(repeating: 97, count: 4000))),
      "odd-link": .symlink([0x2e, 0xff, 0x0a, 0x5c, 0x20]), "fifo": .fifo.mode(0o622),
      "setuid": .file("s").mode(0o4755), "setgid": .file("s").mode(0o2711), "no-mode": .file("n").mode(0),
      "sticky": .directory().mode(0o1777), "group": .directory(["x": .file()]).mode(0o2775),
      "closed": .directory(["x": .file("x")]).mode(0o500),
    ]
    if Self.isRoot {
      children["character"] = .characterDevice(1, 3).mode(0o666)
      children["block"] = .blockDevice(259, 1_048_575)
      children["owned"] = .file("o").owner(12345, 54321)
      children["far"] = .file("far").owner(2_097_152, 4_000_000_000)
      children["far-dir"] = .directory().owner(3_000_000_000, 2_097_151).mode(0o2750)
      children["owned-link"] = .symlink("file").owner(7, 8)
      children["owned-setuid"] = .file("s").owner(1, 1).mode(0o6755)
      children["owned-fifo"] = .fifo.owner(2_097_151, 5)
    }
    let owners: Raw = Self.isRoot ? "chown 4294967294:9 owned; chown -h 3:3 link; chmod 4700 owned-setuid;" : ""
    try expectBack(TestTree(children), editing: "\(owners) chmod 1700 dir; chmod 0 file; chmod 2755 void")
  }

  @Test func attributesAndAccessLists() throws {
    var children: [Raw: Node] = [
      "user": .file("u").attribute("user.one", "1").attribute("user.empty", "").attribute("user.=odd %", "x=y\n"),
      "binary": .file("b").attribute("user.binary", [0, 1, 0xff, 0x0a, 0x3d, 0]),
      "large": .file("l").attribute("user.large", Raw(Contents.bytes(count: 3000, seed: 1))),
      "dir": .directory(["x": .file()]).attribute("user.dir", "d"),
      "acl": .file("a").acl(
        AccessList(owner: 7, users: [1: 6, 2_500_000: 4], group: 5, groups: [3: 0], mask: 6, other: 1)),
      "acl-dir": .directory(["x": .file()]).acl(AccessList(owner: 7, users: [5: 7]))
        .defaultACL(AccessList(owner: 7, users: [6: 5], group: 0, mask: 5, other: 0)),
      "default-only": .directory().defaultACL(AccessList(owner: 6, group: 4, groups: [100: 4], mask: 4, other: 0)),
    ]
    if Self.isRoot {
      children["capable"] = .file("c").mode(0o755).attribute(.capability(13, 38))
      children["trusted"] = .file("t").attribute("trusted.key", "value")
      children["link"] = .symlink("user").attribute("trusted.link", "on the link")
      children["fifo"] = .fifo.attribute("trusted.fifo", "f").acl(AccessList(users: [9: 6]))
      children["owned"] = .file("o").owner(7, 7).mode(0o755).attribute(.capability(0))
    }
    try expectBack(
      TestTree(children),
      editing: """
        setfattr -x user.one user; setfattr -n user.two -v 2 user; setfattr -n user.binary -v new binary
        setfacl -b acl acl-dir; setfacl -m u:77:r default-only; setfattr -x user.dir dir
        """)
  }

  @Test func times() throws {
    var children: [Raw: Node] = [:]
    let moments: [(Int64, Int32)] = [
      (0, 0), (0, 1), (1, 999_999_999), (-1, 0), (-1, 999_999_999), (-1, 1), (-5, 500_000_000), (-86_400, 123_456_789),
      (-2_000_000_000, 7), (1_700_000_000, 100), (2_147_483_648, 0), (4_294_967_296, 5), (8_589_934_592, 0),
      (8_589_934_591, 999_999_999),
    ]
    for (index, moment) in moments.enumerated() {
      children["f\(index)"] = .file("x").modified(moment.0, moment.1)
      children["d\(index)"] = .directory(["x": .file()]).modified(moment.0, moment.1)
      children["l\(index)"] = .symlink("x").modified(moment.0, moment.1)
    }
    children["fifo"] = .fifo.modified(-3, 250_000_000)
    try expectBack(
      TestTree(.directory(children).modified(-100, 7)), editing: "touch -d @-7.25 f0 d1; touch -hd @99.000000001 l2")
  }

  @Test func names() throws {
    var children: [Raw: Node] = [:]
    let names: [Raw] = [
      Raw(Bytes(repeating: 97, count: 255)), Raw(Bytes(repeating: 0xff, count: 255)), [0xff], [0x80, 0x0a],
      "new\nline", "back\\slash", "tab\tname", " leading", "trailing ", "-rf", "--help", "*", "?[a]", "#hash",
      "a:b|c<d>",
      "quote\"'", "caf\u{e9}", "cafe\u{301}", "\u{1F600}", "100%", "a=b", "\\012", "\u{1b}[31m", "...", ".hidden", "@",
      "~",
      "$HOME", "PaxHeaders.0", "GNUSparseFile.0", "@LongLink", "comma,and;",
    ]
    for (index, name) in names.enumerated() {
      children[name] = index % 3 == 1 ? .directory([name: .file("in \(index)")]) : .file("\(index)")
    }
    // ustar's field of 100 bytes, and prefix and name of 155 and 100.
    for length in [99, 100, 101, 154, 155, 156, 254] {
      let name = Raw(Bytes(repeating: 98, count: length))
      children[name] = .directory([
        Raw(Bytes(repeating: 99, count: 100)): .file("x"), "l": .symlink(name),
        Raw(Bytes(repeating: 100, count: 254)): .directory(),
      ])
    }
    try expectBack(TestTree(children), editing: "rm -- -rf; mv -- '*' '**'; rm -r -- bbb* --help; echo x >> ./~")
  }

  @Test func pathsBeyond4096Bytes() throws {
    let name = Raw(Bytes(repeating: 120, count: 200))
    let f = try Fixture(
      TestTree([
        "deep": .deep(25, name: name, leaf: .directory(["leaf": .file("the end\n"), "link": .symlink("leaf")])),
        "narrow": .deep(2100, name: "n", leaf: .file("bottom")),
      ]))
    try f.save()
    try f.edit("cd -P deep; for i in $(seq 25); do cd -P x*; done; echo more >> leaf; rm link; echo new > new")
    try f.save()
    try f.expectEveryPoint()
    let below = Bytes([Bytes](repeating: name.bytes, count: 25).joined(separator: [47]))
    let path: Raw = "\(f.inside)/deep/\(below)/leaf"
    #expect(try f.sheaf(["cat", "-s", Raw(f.store), path]).text == "the end\nmore\n")
    try f.restore([path])
  }

  @Test(arguments: [0, 1, 3, 9]) func sizesAroundBoundaries(level: Int) throws {
    let mebi: Int64 = 1 << 20
    var children: [Raw: Node] = [:]
    let sizes = [0, 1, 511, 512, 513, 1023, 1024, 10_240, 65_535, 65_536, mebi / 2]
    for size in sizes + [mebi - 513, mebi - 512, mebi - 1, mebi, mebi + 1, mebi + 511, 2 * mebi, 3 * mebi + 7] {
      children["r\(size)"] = .file(size: size, seed: UInt64(size))
      children["c\(size)"] = .file(size: size, seed: UInt64(size), .compressible)
    }
    children["zeros"] = .file(size: 5 * mebi, seed: 0, .zeros)
    let f = try Fixture(TestTree(children))
    try f.save(["--level", "\(level)"])
    try f.edit("for f in r* c*; do printf + >> $f; done")
    try f.save(["--level", "\(level)"])
    try f.expectEveryPoint()
  }

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"))
  func asAUserWithoutRights() throws {
    let f = try Fixture(
      TestTree(["a": .file("a").mode(0o4711), "d": .directory(["x": .file("x").mode(0o400)]).mode(0o555), "p": .fifo]))
    try Command("chown", ["-R", "nobody:nogroup", Raw(f.store), Raw(f.source)]).run().checked()
    try f.edit("chmod 4711 a")
    try f.save(as: .nobody)
    try f.edit("chmod 600 a; echo y > d/y; chown nobody:nogroup d/y")
    try f.save(as: .nobody)
    for point in f.points {
      let target = try f.restore(["\(f.inside)"], at: point.set, as: .nobody)
      #expect(point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    }
  }
}
