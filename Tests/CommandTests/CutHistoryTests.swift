/// Random histories in which runs ended anywhere, one after another: what is kept of each is a whole tree, and the next
/// run goes on from it.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct CutHistoryTests {
  private static func number(_ name: StaticString) -> UInt64? { Host.environment(name).flatMap { UInt64($0.shown) } }
  /// `SHEAF_SEED`, and `SHEAF_ROUNDS`: how many trees, where it is to go on for longer. In 706 names were kept below a
  /// folder that the point did not have.
  private static let seeds: [UInt64] =
    (0..<(number("SHEAF_ROUNDS") ?? 3)).map { (number("SHEAF_SEED") ?? 11) + $0 } + [706]

  @Test(arguments: seeds) func runsThatWereCut(seed: UInt64) throws {
    let f = try Fixture()
    Scratch.remove(f.source)
    var history = History(seed: seed, size: 60)
    try history.make(at: f.source)
    var random = Random(seed: seed ^ 0x6375_74)
    try f.save()
    var story = "seed \(seed)"
    for round in 0..<4 {
      for _ in 0..<random.number(in: 1...2) { story += "\n" + (try history.step().joined(separator: "\n")) }
      try fill(f)
      try f.save(random.once(in: 3) ? ["--full"] : [])
      // The run is cut; so is the one that goes on from what was kept, and the one after that.
      for _ in 0..<3 {
        let name = Bytes(f.newest.set.utf8)
        try cut(f, name, &random)
        story += "\nround \(round): \(name.shown) cut"
        if random.once(in: 2) { story += "\n" + (try history.step().joined(separator: "\n")) }
        if random.once(in: 2) { try fill(f) }
        f.points.removeLast()
        try f.save()
        story += "\n\(f.newest.set) saved"
        try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
        #expect(try f.differences(at: f.newest) == [], "\(story)")
        let points = f.points
        f.points = [f.newest]
        try f.expectReplay(lagging: true, story)
        f.points = points
        guard try f.names().contains(name.shown + ".mtree.gz") else { continue }
        let words: [Raw] = ["restore", "-s", Raw(f.store), "--at", Raw(name), "--to", Raw(f.scratch.path("kept"))]
        let kept = try Command.sheaf(words).run()
        #expect(kept.status == 0, "\(story)\n\(kept)")
        Scratch.remove(f.scratch.path("kept"))
      }
    }
  }

  /// Incompressible files all over the tree: there the archive has gzip members that end.
  private func fill(_ f: Fixture) throws {
    try f.edit(
      """
      find . -type d | while read -r d; do
        rm -rf "$d/~big"; head -c 150000 /dev/urandom >"$d/~big"
      done 2>/dev/null || true
      """)
  }

  /// One name of a file was reached with its new contents, the other was not: it is a file of its own then, with the
  /// old ones, although size and time are the same, and so it stays when the set is folded.
  @Test func aNameThatWasNotReached() throws {
    let f = try Fixture(TestTree(["a": .directory(["first": .file("1111111")]), "m": .directory(), "z": .directory()]))
    try f.edit("ln a/first z/second")
    try f.save()
    try f.edit(
      "touch -r a/first ref; printf 2222222 1<>a/first; touch -r ref a/first; rm ref; head -c 6000000 /dev/urandom >m/big"
    )
    try f.save()
    let name = Bytes(f.newest.set.utf8)
    try cut(f, name) { $0 / 2 }
    f.points.removeLast()
    try f.save()
    #expect(try f.differences(at: f.newest) == [])
    try #require(try f.names().contains(name.shown + ".mtree.gz"))
    func expectBoth(_ when: Comment) throws {
      let (target, script) = (f.scratch.path("kept"), f.scratch.path("script"))
      try f.sheaf(["restore", "-s", Raw(f.store), "--at", Raw(name), "--to", Raw(target)])
      try Command("sh", [Raw(f.store.joined(Bytes("restore.sh".utf8))), "--at", Raw(name), "--to", Raw(script)]).run()
        .checked()
      for road in [target, script] {
        let tree = road.joined(f.inside.bytes)
        #expect(try Bytes.read(tree.joined(Bytes("a/first".utf8))) == Bytes("2222222".utf8), when)
        #expect(try Bytes.read(tree.joined(Bytes("z/second".utf8))) == Bytes("1111111".utf8), when)
        Scratch.remove(road)
      }
    }
    try expectBoth("kept")
    try f.sheaf(["consolidate", "-s", Raw(f.store), "--at", Raw(name)])
    try expectBoth("consolidated")
    try f.sheaf(["prune", "--fold", "-s", Raw(f.store), "--keep-last", "1"])
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    #expect(try f.differences(at: f.newest) == [])
  }

  private static let edits: [Raw] = [
    "setfattr -n user.new -v 1 a/first", "setfattr -x user.old a/first", "chmod 4750 a/first", "printf more >>a/first",
    "touch -r a/first ref; printf 2222222 1<>a/first; touch -r ref a/first; rm ref",
  ]
  private static let next: [Raw] = [
    ":", "mv z y", "mv z/second z/other", "ln a/first z/third", "mv a b", "mv a b; mkdir a; mv b/first a",
    "chmod 700 z",
  ]

  /// One name of a file was reached after it changed, the other was not: the next run links them again, on every road.
  @Test(arguments: edits, next) func theOtherNameIsLinkedAgain(edit: Raw, next: Raw) throws {
    let first = Node.file("1111111").attribute("user.old", "1")
    let f = try Fixture(TestTree(["a": .directory(["first": first]), "m": .directory(), "z": .directory()]))
    try f.edit("ln a/first z/second")
    try f.save()
    try f.edit("\(edit); head -c 6000000 /dev/urandom >m/big")
    try f.save()
    let name = Bytes(f.newest.set.utf8)
    try cut(f, name) { $0 / 2 }
    f.points.removeLast()
    try f.edit(next)
    try f.save()
    try #require(try f.names().contains(name.shown + ".mtree.gz"))
    #expect(try f.differences(at: f.newest) == [])
    f.points = [f.newest]
    try f.expectReplay("\(edit); \(next)")
    try f.expectScript(f.points)
  }

  /// A folder that was moved by a run that was cut, and into which the next one, which was cut as well, moved something:
  /// it holds still what it held.
  @Test func aFolderThatWasMovedBefore() throws {
    let f = try Fixture(
      TestTree([
        "a": .directory(), "m": .file("mmm"),
        "s": .directory(["q": .directory(["x": .file("xxx"), "y": .file("yyy")])]),
      ]))
    try f.save()
    var names: [Bytes] = []
    for move: Raw in ["mv s/q s/z", "mv m s/z/m"] {
      try f.edit("\(move); for i in 1 2; do rm -f a/big$i; head -c 3000000 /dev/urandom >a/big$i; done")
      try f.save()
      names.append(Bytes(f.newest.set.utf8))
      try cut(f, names[names.count - 1]) { $0 * 3 / 4 }
      f.points.removeLast()
    }
    try f.edit("rm s/z/x")
    try f.save()
    #expect(try f.names().contains(names[1].shown + ".mtree.gz"))
    let target = f.scratch.path("kept")
    try f.sheaf(["restore", "-q", "-s", Raw(f.store), "--at", Raw(names[1]), "--to", Raw(target)])
    for name in ["m", "x", "y"] {
      #expect(exists(target.joined(f.inside.bytes).joined(Bytes("s/z/\(name)".utf8))), "\(name)")
    }
    #expect(try f.differences(at: f.newest) == [])
    f.points = [f.newest]
    try f.expectReplay("of a folder that was moved before")
    try f.expectScript(f.points)
    try f.expectRebuilt()
  }

  private func cut(_ f: Fixture, _ name: Bytes, _ random: inout Random) throws {
    let place = random.next()
    try cut(f, name) { Int(place % UInt64(max(1, $0))) }
  }

  /// What a run that was killed leaves of the newest set, its archive cut at some of its bytes.
  private func cut(_ f: Fixture, _ name: Bytes, at place: (Int) -> Int) throws {
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for (suffix, isArchive) in [(".tar.gz", true), (".mtree.gz", false)] {
      let file = name + Bytes(suffix.utf8)
      let all = try Bytes.read(f.series().joined(file))
      let size = isArchive ? place(all.count) : all.count - 1
      let relative = Bytes("store/".utf8) + (try f.series()).splitAtName.name
      try f.scratch.write(Raw(relative.joined(file + Bytes(".partial"))), Raw(Bytes(all[..<size])))
      try series.removeFile(file)
    }
  }
}
