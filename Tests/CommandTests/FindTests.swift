/// What `find` and `history` say, case by case.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct FindTests {
  private static let tree = TestTree([
    "june.txt": .file("june\n"), "july.txt": .file("july\n"),
    "old": .directory(["june.txt": .file("old june\n"), "sub": .directory(["a.jpg": .file("a")])]),
    "june": .directory(["b.jpg": .file("b")]),
  ])

  private func find(_ f: Fixture, _ more: Raw...) throws -> [String] {
    let root = f.inside.bytes.shown + "/"
    return try f.sheaf(["find", "-s", Raw(f.store)] + more).lines.map {
      $0.replacingOccurrences(of: root, with: "")
    }
  }

  @Test func patterns() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    #expect(try find(f, "june.txt") == ["june.txt", "old/june.txt"])
    #expect(try find(f, "june*") == ["june/", "june.txt", "old/june.txt"])
    #expect(try find(f, "june*/") == ["june/"])
    #expect(try find(f, "june") == ["june/"])
    #expect(try find(f, "*.jpg") == ["june/b.jpg", "old/sub/a.jpg"])
    #expect(try find(f, "old/*.txt") == ["old/june.txt"])
    #expect(try find(f, "old/**/*.jpg") == ["old/sub/a.jpg"])
    #expect(try find(f, "/\(f.inside)/june.txt") == ["june.txt"])
    #expect(try find(f, "[ab].jpg").count == 2)
    let none = try f.sheaf(["find", "-s", Raw(f.store), "August"])
    #expect(none.stdout.isEmpty && none.errorLines.count == 1)
    for pattern in ["!june.txt", "[a", "x\\"] as [Raw] {
      #expect(try f.sheaf(["find", "-s", Raw(f.store), pattern], status: 64).errorLines.count == 2)
    }
    #expect(try find(f, "-l", "june.txt").allSatisfy { $0.hasPrefix("-rw-r--r--") })
  }

  /// What no point has, at any depth and beside whatever there is, is said; also in a chain of which each set knows
  /// other folders.
  @Test func whatIsNotThere() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    for round in 1...4 {
      try f.edit("mkdir -p d\(round)/e/f; echo >d\(round)/e/f/g; rm -rf d\(round - 2)")
      try f.save()
    }
    for folder in ["", "old/", "old/sub/", "june/", "d1/", "d3/e/", "d4/e/f/", "no/", "zz/y/"] {
      for name in ["0", "e/none", "zz"] {
        for point in f.points {
          let path = Raw(f.source.joined(Bytes("\(folder)\(name)".utf8)))
          let output = try f.sheaf(["cat", "-s", Raw(f.store), "--at", Raw(point.set), path], status: 1)
          #expect(output.errorText.contains("is not in the point"), "\(output)")
        }
      }
    }
  }

  @Test func whatAnotherSeriesHas() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo >August")
    try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--series", "laptop", Raw(f.source)])
    let none = try f.sheaf(["find", "-s", Raw(f.store), "August"])
    #expect(none.stdout.isEmpty && none.errorText.contains("--series NAME looks in: laptop"), "\(none)")
    let there = try f.sheaf(["find", "-s", Raw(f.store), "--series", "laptop", "August"])
    #expect(there.lines.count == 1 && there.stderr.isEmpty, "\(there)")
  }

  @Test func theNewestVersionAndWhatIsGone() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo more >> june.txt; rm -r old")
    try f.save()
    try f.edit("mkdir old; echo back > old/june.txt")
    try f.save(["--full"])
    try f.edit("rm june.txt; rm -r june; echo file > june")
    try f.save()
    try f.edit("echo x > july.txt")
    try f.save()
    let sets = f.points.map(\.set)
    #expect(try find(f, "june.txt") == ["june.txt  (last in \(sets[2]))", "old/june.txt"])
    #expect(try find(f, "sub/") == ["old/sub/  (last in \(sets[0]))"])
    #expect(try find(f, "*.jpg") == ["june/b.jpg  (last in \(sets[2]))", "old/sub/a.jpg  (last in \(sets[0]))"])
    // A file where a folder was.
    #expect(try find(f, "june") == ["june"])
    #expect(try find(f, "june/") == [])
    let json = try f.sheaf(["find", "--json", "-s", Raw(f.store), "ju*.txt"]).json()
    #expect(json.last?["entries"] as? Int == 3 && json.last?["deleted"] as? Int == 1)
    let june = json.first { ($0["path"] as? String)?.hasSuffix("source/june.txt") == true }
    #expect(june?["size"] as? Int == 10 && june?["deleted"] as? Bool == true && june?["point"] as? String == sets[2])
    // What is told can be had.
    #expect(
      try f.sheaf(["cat", "-s", Raw(f.store), "--at", Raw(sets[2]), "\(f.inside)/june.txt"]).text == "june\nmore\n")
  }

  private func history(_ f: Fixture, _ path: Raw) throws -> [[String: Any]] {
    try f.sheaf(["history", "--json", "-s", Raw(f.store), "\(f.inside)/\(path)"]).json()
  }

  @Test func everyVersion() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo more >> june.txt; chmod 600 july.txt")
    try f.save()
    try f.save()
    try f.edit("rm june.txt; rm -r old")
    try f.save()
    try f.edit("echo again > june.txt")
    try f.save(["--full"])
    try f.edit("chmod 600 june.txt")
    try f.save()
    let sets = f.points.map(\.set)
    let june = try history(f, "june.txt")
    #expect(june.dropLast().map { $0["event"] as? String } == ["new", "changed", "deleted", "new", "changed"])
    #expect(june.dropLast().map { $0["point"] as? String } == [sets[0], sets[1], sets[3], sets[4], sets[5]])
    #expect(june[1]["what"] as? [String] == ["content", "time"] && june[4]["what"] as? [String] == ["mode"])
    #expect(june[0]["size"] as? Int == 5 && june[1]["size"] as? Int == 10 && june[2]["size"] == nil)
    #expect(june[0]["stored"] as? String == sets[0] && june[1]["stored"] as? String == sets[1])
    #expect(june.last?["versions"] as? Int == 5)
    let digest = try Command("sha256sum", ["june.txt"], in: f.source).run().text.prefix(64)
    #expect(june[4]["sha256"] as? String == String(digest))
    // Gone with the folder above it.
    let below = try history(f, "old/sub/a.jpg")
    #expect(below.dropLast().map { $0["event"] as? String } == ["new", "deleted"])
    #expect(try history(f, "old").dropLast().map { $0["event"] as? String } == ["new", "deleted"])
    let words = try f.sheaf(["history", "-s", Raw(f.store), "/\(f.inside)/june.txt"]).lines
    #expect(words.count == 6 && words[3].hasSuffix("deleted") && words[1].contains(" 5 B") && words[1].hasSuffix("new"))
    #expect(words.allSatisfy { $0.count <= 80 }, "\(words)")
    try f.sheaf(["history", "-s", Raw(f.store), "\(f.inside)/never"], status: 1)
  }

  @Test func whatWasMovedSaysFromWhereAndWhereTo() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("mv old new; mv june.txt new/july.txt")
    try f.save()
    func moved(_ path: Raw, _ key: String) throws -> Raw? {
      (try history(f, path).dropLast().last?[key] as? String).map { Raw($0) }
    }
    #expect(try moved("june.txt", "moved_to") == "\(f.inside)/new/july.txt")
    #expect(try moved("new/july.txt", "moved_from") == "\(f.inside)/june.txt")
    #expect(try moved("new/sub/a.jpg", "moved_from") == "\(f.inside)/old/sub/a.jpg")
    #expect(try moved("old/sub/a.jpg", "moved_to") == "\(f.inside)/new/sub/a.jpg")
    #expect(try moved("july.txt", "moved_from") == nil)
    let words = try f.sheaf(["history", "-s", Raw(f.store), "\(f.inside)/june.txt"]).lines
    #expect(words.last == "  moved to \(f.inside.bytes.shown)/new/july.txt", "\(words)")
  }

  @Test func rotIsMarked() throws {
    let f = try Fixture(TestTree(["f": .file("sound").modified(1_600_000_000)]))
    try f.save()
    try f.edit("printf wrong > f; touch -d @1600000000 f")
    try f.save()
    #expect(try history(f, "f")[1]["suspected_rot"] as? Bool == true)
    #expect(try f.sheaf(["history", "-s", Raw(f.store), "\(f.inside)/f"]).lines.last?.hasSuffix("rot?") == true)
  }

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights")) func unseen() throws {
    let f = try Fixture(TestTree(["f": .file("f"), "d": .directory(["g": .file("g")])]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("echo more > f; chmod 000 f d; echo new > h; chmod 000 h")
    try f.save(status: 3, as: .nobody)
    try f.save(["--full"], status: 3, as: .nobody)
    try f.edit("chmod 644 f; chmod 755 d")
    try f.save(status: 3, as: .nobody)
    func events(_ path: Raw) throws -> [String?] { try history(f, path).dropLast().map { $0["event"] as? String } }
    #expect(try events("f") == ["new", "unseen", "changed"])
    #expect(try events("d/g") == ["new", "unseen"])
    #expect(try events("h") == ["unseen"])
    try f.edit("chmod 000 f")
    try f.save(status: 3, as: .nobody)
    #expect(try find(f, "f") == ["f  (last good copy)"])
    #expect(try find(f, "h") == [])
  }

  @Test func aManifestThatCannotBeReadIsNamed() throws {
    let f = try Fixture(Self.tree)
    for step in 0..<4 {
      try f.edit("echo \(Raw(String(step))) >> june.txt")
      try f.save(step == 2 ? ["--full"] : [])
    }
    // A set of the older chain: the newer one is whole.
    try Command("sh", ["-ec", "printf garbage > \"$0\"", Raw(f.manifest(f.points[1]))]).run().checked()
    let found = try f.sheaf(["find", "-s", Raw(f.store), "june.txt"], status: 4)
    #expect(found.lines.count == 2 && found.errorLines.count == 1, "\(found)")
    let versions = try f.sheaf(["history", "-s", Raw(f.store), "\(f.inside)/june.txt"], status: 4)
    #expect(versions.lines.count == 4 && versions.errorLines.count == 1, "\(versions)")
    // Nothing can be said of what builds on it.
    try Descriptor.open(f.series(), [.read, .directory]).removeFile(Bytes("\(f.points[2].set).mtree.gz".utf8))
    let broken = try f.sheaf(["history", "-s", Raw(f.store), "\(f.inside)/june.txt"], status: 4)
    #expect(broken.lines.count == 2 && broken.errorLines.count == 2, "\(broken)")
  }
}
