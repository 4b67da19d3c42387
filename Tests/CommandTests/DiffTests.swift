/// What `diff` says, case by case.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct DiffTests {
  private static let tree = TestTree([
    "stays": .file("stays\n"), "grows": .file("short\n"), "mode": .file("m").modified(1_600_000_000),
    "owner": .file("o"), "touched": .file("t"), "attribute": .file("a"),
    "rots": .file("sound\n").modified(1_600_000_000),
    "list": .file("l"), "link": .symlink("stays"), "kind": .file("k"), "goes": .file("gone\n"),
    "photos": .directory(["one": .file("1\n"), "two": .file("22\n"), "deep": .directory(["three": .file("333\n")])]),
    "large": .file(size: 3_000_000, seed: 1), "empty": .file(),
  ])

  private static let edits: Raw = """
    echo more >> grows; chmod 600 mode; touch -d @5 touched; echo rotten | head -c 6 > rots; touch -d @1600000000 rots
    ln -sfn grows link; rm kind; mkdir kind; rm goes; echo new > comes; mv photos pictures; mv large kind/huge
    mv empty kind/void; mkdir other; cp -p stays other/copy
    """

  /// The lines of one run, from the source's root: mark, path and what stands in brackets.
  private func lines(_ f: Fixture, _ more: Raw...) throws -> [String] {
    let output = try f.sheaf(["diff", "-s", Raw(f.store)] + more)
    let root = f.inside.bytes.shown + "/"
    return output.lines.dropFirst().dropLast().map { $0.replacingOccurrences(of: root, with: "") }
  }

  private static let expected = [
    "+ comes", "- goes", "~ grows  (content, time)", "~ kind/  (type)", "~ link  (link, time)", "~ mode  (mode)",
    "> photos/ → pictures/", "! rots  (content, rot?)", "~ touched  (time)", "+ other/", "+ other/copy",
    "> empty → kind/void", "> large → kind/huge",
  ]

  @Test func everyKindOfDifference() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit(Self.edits)
    // Before and after the second backup the same is told, but for what no one has read.
    let live = try lines(f, "--live")
    #expect(Set(live) == Set(Self.expected), "\(live)")
    try f.save()
    let points = try lines(f)
    #expect(Set(points) == Set(Self.expected), "\(points)")
    #expect(try lines(f, "--live") == [])
    // In order: a folder's names together, the folders after each other.
    #expect(points.firstIndex(of: "~ touched  (time)")! < points.firstIndex(of: "> large → kind/huge")!)
    let all = try lines(f, "-v")
    #expect(all.contains("> photos/deep/three → pictures/deep/three") && Set(all).isSuperset(of: points), "\(all)")
    // What came along, and folders where only the time changed; those above the source may be among them.
    #expect(all.count { $0.contains("pictures/") } == 5, "\(all)")
    let last = try f.sheaf(["diff", "-s", Raw(f.store)])
    #expect(last.lines.last == "3 added, 1 removed, 6 changed, 3 moved with 4 in them")
    #expect(last.errorLines == ["sheaf: warning: 1 file changed in content but not in size and time: rot?"])
    // And back.
    let back = try lines(f, Raw(f.points[1].set), Raw(f.points[0].set))
    #expect(back.contains("> pictures/ → photos/") && back.contains("+ goes") && back.contains("- comes"))
  }

  @Test func asJSON() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit(Self.edits)
    try f.save()
    let json = try f.sheaf(["diff", "--json", "-s", Raw(f.store)]).json()
    func line(_ name: String) -> [String: Any]? {
      json.first { ($0["path"] as? String) == "\(f.inside.bytes.shown)/\(name)" }
    }
    #expect(json.dropLast().allSatisfy { $0["type"] as? String == "difference" })
    #expect(line("grows")?["what"] as? [String] == ["content", "time"])
    #expect(line("grows")?["old_size"] as? Int == 6 && line("grows")?["size"] as? Int == 11)
    #expect(line("rots")?["suspected_rot"] as? Bool == true && line("grows")?["suspected_rot"] == nil)
    #expect(line("pictures/one")?["within"] as? Bool == true && line("pictures")?["within"] == nil)
    #expect(line("kind/huge")?["from"] as? String == "\(f.inside.bytes.shown)/large")
    let summary = try #require(json.last)
    #expect(summary["from"] as? String == f.points[0].set && summary["to"] as? String == f.points[1].set)
    #expect(summary["added"] as? Int == 3 && summary["removed"] as? Int == 1 && summary["moved"] as? Int == 7)
    #expect(summary["suspected_rot"] as? Int == 1 && summary["problems"] as? Int == 0)
  }

  @Test(.enabled(if: Scratch.allowsEverything, "needs root")) func metadata() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("chown 7:8 owner; setfattr -n user.note -v x attribute; setfacl -m u:7:r list; chmod 700 photos")
    let expected: Set = ["~ owner  (owner)", "~ attribute  (xattr)", "~ list  (acl)", "~ photos/  (mode)"]
    let live = try lines(f, "--live")
    #expect(Set(live) == expected, "\(live)")
    try f.save()
    let points = try lines(f)
    #expect(Set(points) == expected, "\(points)")
  }

  /// A directory's time changes with what comes and goes in it, and a copy is another inode.
  @Test(arguments: [
    ("mv photos pictures; touch pictures/new; rm pictures/two", "1 added, 1 removed", "pictures"),
    ("cp -a photos pictures; rm -r photos; touch pictures/deep/new", "1 added, 0 removed", "pictures"),
    ("mkdir up; mv photos up/photos; touch up/photos/new", "2 added, 0 removed", "up/photos"),
  ]) func aRenamedFolderIsOneLine(edit: Raw, counts: String, now: String) throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit(edit)
    try f.save()
    let lines = try lines(f)
    #expect(lines.contains { $0.hasPrefix("> photos/ → \(now)/") }, "\(lines)")
    #expect(!lines.contains { $0.contains("deep/three") }, "\(lines)")
    let last = try f.sheaf(["diff", "-s", Raw(f.store)]).lines.last
    #expect(last?.hasPrefix(counts) == true, "\(last ?? "")")
    // The newest point alone stands for what is new in it.
    #expect(try f.sheaf(["diff", "-s", Raw(f.store), "latest"]).lines.last == last)
  }

  @Test func belowOnePath() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo x >> photos/one; echo x >> photos/deep/three; echo x >> grows; rm photos/two")
    for way in [["--live"], []] as [[Raw]] {
      if way == [] { try f.save() }
      func below(_ path: Raw) throws -> [String] {
        let output = try f.sheaf(["diff", "-s", Raw(f.store), "--path", "\(f.inside)/\(path)"] + way)
        let root = f.inside.bytes.shown + "/"
        return output.lines.dropFirst().dropLast().map { $0.replacingOccurrences(of: root, with: "") }
      }
      #expect(
        try below("photos") == [
          "~ photos/one  (content, time)", "- photos/two", "~ photos/deep/three  (content, time)",
        ])
      #expect(try below("photos/two") == ["- photos/two"])
      #expect(try below("photos/one") == ["~ photos/one  (content, time)"])
      #expect(try below("stays") == [])
      // Above the sources.
      let top = Raw(Bytes(f.inside.bytes.split(separator: 47)[0]))
      let whole = try f.sheaf(["diff", "-s", Raw(f.store), "--path", "/\(top)/"] + way).lines
      #expect(whole.count == 6, "\(whole)")
      try f.sheaf(["diff", "-s", Raw(f.store), "--path", "\(f.inside)/nothing"] + way, status: 1)
    }
  }

  @Test func theSourcesWithoutWhatIsLeftOut() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--exclude", "*.tmp", "--exclude-larger-than", "1M", "--exclude-caches", "--exclude-if-present", ".no"])
    try f.edit(
      "touch a.tmp b; mkdir c; printf 'Signature: 8a477f597d28d172789f06886806bc55' > c/CACHEDIR.TAG; touch c/d")
    try f.edit("mkdir e; touch e/.no e/f; head -c 2000000 /dev/zero > g")
    #expect(try lines(f, "--live") == ["+ b", "+ c/", "+ e/", "+ c/CACHEDIR.TAG", "+ e/.no"])
  }

  @Test func rotInTheSourcesShowsWithChecksum() throws {
    let f = try Fixture(Self.tree)
    try f.edit("sleep 2.1")
    try f.save()
    // As a disk would do it: neither size nor any time tells.
    let time = try f.sheaf(["history", "--json", "-s", Raw(f.store), "\(f.inside)/rots"]).json()
    #expect(time.count == 2)
    try f.edit("echo ROTTEN | head -c 6 | dd of=rots conv=notrunc status=none; touch -d @1600000000 rots")
    #expect(try lines(f, "--live", "--checksum") == ["! rots  (content, rot?)"])
  }

  @Test func manyDifferencesAreSortedOutsideOfMemory() throws {
    let f = try Fixture()
    try f.save()
    let script: Raw = """
      import os, sys
      for d in range(60):
        os.makedirs(f"old/{d:03}")
        for i in range(1000): open(f"old/{d:03}/{i:04}-with-a-name-that-takes-room", "w").write(f"{d} {i}")
      """
    try Command("python3", ["-c", script], in: f.source).run().checked()
    try f.save()
    try f.edit("mkdir new; for d in old/*; do mv $d new/; done; rmdir old")
    try f.save()
    let moved = try f.sheaf(["diff", "-s", Raw(f.store)])
    #expect(moved.lines.last == "0 added, 0 removed, 0 changed, 1 moved with 60,060 in them", "\(moved)")
    let added = try f.sheaf(["diff", "-s", Raw(f.store), Raw(f.points[0].set), Raw(f.points[1].set)])
    #expect(added.lines.last == "60,061 added, 0 removed, 0 changed, 0 moved")
    let names = added.lines.dropFirst().dropLast().filter { !$0.hasSuffix("/") }
    #expect(names == names.sorted() && names.count == 60_000)
  }

  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights")) func whatCannotBeLookedAt() throws {
    let f = try Fixture(Self.tree)
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(as: .nobody)
    try f.edit("chmod 700 photos; chmod 000 grows; echo x >> grows; rm goes")
    let output = try f.sheaf(["diff", "--live", "-s", Raw(f.store)], status: 3, as: .nobody)
    // Nothing in the closed folder counts as removed.
    #expect(output.lines.last == "0 added, 1 removed, 1 changed, 0 moved", "\(output)")
    #expect(output.errorLines.count == 2, "\(output)")
  }

  @Test func wrongUsage() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let store: [Raw] = ["-s", Raw(f.store)]
    try f.sheaf(["diff"] + store, status: 1)
    try f.sheaf(["diff", "--checksum"] + store, status: 64)
    try f.sheaf(["diff", "--live", "latest", "latest"] + store, status: 64)
    try f.sheaf(["diff", "yesteryear"] + store, status: 64)
    #expect(try f.sheaf(["diff", "latest", "latest"] + store).lines.last == "0 added, 0 removed, 0 changed, 0 moved")
    #expect(try f.sheaf(["diff", "-q", "latest", "latest"] + store).stdout.isEmpty)
    #expect(try f.sheaf(["diff", "latest"] + store, status: 1).errorText.contains("there is no point before"))
  }
}
