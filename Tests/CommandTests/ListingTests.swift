/// Looking into stores, points and archives: points, ls, cat, manifest; and how wrong commands are refused.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct ListingTests {
  private static let tree = TestTree([
    "a.txt": .file("alpha\n").modified(1_600_000_000, 5).mode(0o640), "link": .symlink("a.txt"),
    "hard": .hardLink("a.txt"),
    "docs": .directory(["one": .file("1\n"), "sub": .directory(["two": .file("22\n")])]).mode(0o1777),
    "void": .directory(), "fifo": .fifo, [0x62, 0xff]: .file("raw"), "new\nline\u{1b}[31m": .file("n"),
    "set": .file("s").mode(0o4755), "large": .file(size: 1_234_567, seed: 1),
  ])

  private func ls(_ f: Fixture, _ more: Raw..., status: Int32 = 0) throws -> Output {
    try f.sheaf(["ls", "-s", Raw(f.store)] + more, status: status)
  }

  @Test func points() throws {
    let f = try Fixture(Self.tree)
    let none = try f.sheaf(["points", "-s", Raw(f.store)])
    #expect(none.lines.count == 1 && none.lines[0].hasPrefix("no points yet"))
    try f.save(["--comment", "first"])
    try f.edit("echo more >> a.txt")
    try f.save()
    try f.save(["--full"])
    let lines = try f.sheaf(["points", "-s", Raw(f.store)]).lines
    for point in f.points { #expect(lines.contains { $0.contains(point.set) }) }
    // A set that builds on another stands indented below it.
    #expect(lines.contains { $0.hasPrefix("  \(f.points[0].set)") })
    #expect(lines.contains { $0.hasPrefix("  └ \(f.points[1].set)") })
    #expect(lines.contains { $0.hasPrefix("  \(f.points[2].set)") })
    let json = try f.sheaf(["list", "-s", Raw(f.store), "--json"]).json()
    #expect(json.count == 4)
    #expect(json.map { $0["type"] as? String } == ["point", "point", "point", "summary"])
    #expect(json[..<3].map { $0["kind"] as? String } == ["full", "incremental", "full"])
    #expect(json[1]["parent"] as? String == String(f.points[0].set.prefix(18)))
    #expect(json[..<3].allSatisfy { $0["files"] as? Int == 10 })
    #expect(json[3]["points"] as? Int == 3 && json[0]["comment"] as? String == "first")
    // The same tree in a new chain has the same digest. The folders above the source belong to it, and other tests may
    // change them at any time.
    var isSame = json[1]["digest"] as? String == json[2]["digest"] as? String
    for _ in 0..<20 where !isSame {
      for more in [[], ["--full"]] as [[Raw]] { try f.sheaf(["backup", "-q", "-s", Raw(f.store)] + more) }
      let last = try f.sheaf(["list", "-s", Raw(f.store), "--json"]).json().dropLast().suffix(2)
      isSame = last.first!["digest"] as? String == last.last!["digest"] as? String
    }
    #expect(isSame)
    #expect(json[0]["digest"] as? String != json[1]["digest"] as? String)
    #expect(try f.sheaf(["points", "-s", Raw(f.store), "-q"]).stdout.isEmpty)
  }

  @Test func lsOfAFolder() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    // Raw bytes into a pipe: what a script reads is the name.
    let expected = [
      "a.txt", Raw([0x62, 0xff]), "docs/", "fifo", "hard", "large", "link", "new\nline\u{1b}[31m", "set", "void/",
    ].map { $0.bytes + [10] }.joined()
    #expect(try ls(f, f.inside).stdout == Bytes(expected))
    #expect(try ls(f, "/\(f.inside)/docs/").lines == ["one", "sub/"])
    #expect(try ls(f, "\(f.inside)/docs/one").lines == ["one"])
    #expect(try ls(f, "\(f.inside)/void").lines == [])
    let all = try ls(f, "-R", "\(f.inside)/docs").lines
    #expect(all == ["one", "sub/", "sub/two"].map { "\(f.inside.bytes.shown)/docs/\($0)" })
    #expect(
      try ls(f).lines == ["\(f.inside.bytes.split(separator: 47)[0].map { String(UnicodeScalar($0)) }.joined())/"])
    for path in ["nowhere", "\(f.inside)/docs/on"] as [Raw] {
      #expect(try ls(f, path, status: 1).errorLines.count == 2)
    }
  }

  @Test func lsLong() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let lines = try ls(f, "--long", f.inside).lines
    func line(_ end: String) -> [Substring] { (lines.first { $0.hasSuffix(end) } ?? "").split(separator: " ") }
    #expect(line(" a.txt").first == "-rw-r-----" && line(" a.txt").dropFirst(3).first == "6")
    #expect(line(" docs/").first == "drwxrwxrwt")
    #expect(line(" set").first == "-rwsr-xr-x" && line(" fifo").first == "prw-r--r--")
    #expect(line(" link -> a.txt").first?.hasPrefix("l") == true)
    #expect(line("hard link to \(f.inside.bytes.shown)/a.txt").isEmpty == false)
    #expect(line(" large").dropFirst(3).first == "1234567")
    #expect(try ls(f, "-lR").lines.count > lines.count)
  }

  @Test func lsAsJSON() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let json = try ls(f, "--json", "-R", f.inside).json()
    let entries = json.filter { $0["type"] as? String == "entry" }
    #expect(entries.count == 13 && json.last?["type"] as? String == "summary" && json.last?["entries"] as? Int == 13)
    func entry(_ name: String) -> [String: Any]? {
      entries.first { $0["path"] as? String == "\(f.inside.bytes.shown)/\(name)" }
    }
    #expect(entry("a.txt")?["mode"] as? String == "0640" && entry("a.txt")?["size"] as? Int == 6)
    #expect((entry("a.txt")?["modified"] as? String)?.hasSuffix(".000000005Z") == true)
    #expect((entry("large")?["sha256"] as? String)?.count == 64 && entry("link")?["link"] as? String == "a.txt")
    #expect(entry("hard")?["hard_link"] as? String == "\(f.inside.bytes.shown)/a.txt")
    let odd = entries.compactMap { $0["path_base64"] as? String }.compactMap { Data(base64Encoded: $0) }
    #expect(odd.map { Bytes($0) } == [f.inside.bytes.joined([0x62, 0xff])])
  }

  @Test func cat() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo more >> a.txt; rm docs/one")
    try f.save()
    func cat(_ paths: Raw..., at point: String = "latest", status: Int32 = 0) throws -> Output {
      try f.sheaf(["cat", "-s", Raw(f.store), "--at", Raw(point)] + paths, status: status)
    }
    #expect(try cat("\(f.inside)/hard").text == "alpha\nmore\n")
    #expect(try cat("\(f.inside)/hard", at: f.points[0].set).text == "alpha\n")
    let two = try cat("\(f.inside)/docs/sub/two", "/\(f.inside)/\(Raw([0x62, 0xff]))")
    #expect(two.text == "22\nraw")
    #expect(try cat("\(f.inside)/large").stdout == Contents.bytes(count: 1_234_567, seed: 1))
    #expect(try cat("\(f.inside)/docs/one", at: f.points[0].set).text == "1\n")
    for path in ["docs/one", "docs", "link", "nothing"] as [Raw] {
      let output = try cat("\(f.inside)/\(path)", status: 1)
      #expect(output.stdout.isEmpty && output.errorLines.first?.hasPrefix("sheaf: error: ") == true, "\(output)")
    }
  }

  @Test func catOfHoles() throws {
    let sparse = Node.sparse(size: 1_000_000, data: [0..<10, 500_000..<600_001], seed: 1)
    guard case .file(let spec) = sparse.content else { return }
    let f = try Fixture(
      TestTree(["holes": sparse, "large": .sparse(size: (1 << 30) + 5_000_000, data: [7..<9], seed: 2)]))
    try f.save()
    #expect(try f.sheaf(["cat", "-s", Raw(f.store), "\(f.inside)/holes"]).stdout == spec.bytes)
    let pipe = try Command(
      "sh",
      [
        "-c", "\"$0\" cat -s \"$1\" \"$2\" | cmp - \"$3\"", Raw(try Command.sheafBinary()), Raw(f.store),
        "\(f.inside)/large", "\(f.source)/large",
      ]
    ).run()
    #expect(pipe.succeeded && pipe.stdout.isEmpty && pipe.stderr.isEmpty, "\(pipe)")
  }

  @Test(.enabled(if: Mtree.isInstalled, "mtree is not installed")) func manifestFindsDifferences() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo 3 > docs/three; rm docs/one; rm link; ln -s docs link")
    try f.save()
    for point in f.points {
      let target = try f.restore(at: point.set)
      let manifest = try f.sheaf(["manifest", "-s", Raw(f.store), "--at", Raw(point.set)])
      #expect(manifest.lines.first == "#mtree")
      try f.scratch.write("mtree", Raw(manifest.stdout))
      let same = try Mtree.check(target, against: f.scratch.path("mtree"))
      #expect(same.succeeded && same.stdout.isEmpty && same.stderr.isEmpty, "\(same)")
      let here = target.joined(f.inside.bytes)
      let script: Raw = "echo ALPHA > a.txt; rm docs/sub/two; echo x > extra; chmod 600 set; ln -sfn b link"
      try Command("sh", ["-ec", script], in: here).run().checked()
      let other = try Mtree.check(target, against: f.scratch.path("mtree"))
      #expect(other.status == 2)
      for name in ["a.txt", "docs/sub/two", "extra", "set", "link"] { #expect(other.text.contains(name), "\(other)") }
    }
    if let bsdtar = Command.find("bsdtar") {
      let listing = try Command(Raw(bsdtar), ["-tf", Raw(f.scratch.path("mtree"))]).run()
      #expect(listing.succeeded && listing.stderr.isEmpty, "\(listing)")
    }
  }

  @Test func aLoneArchive() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let ours = f.scratch.path("moved.tar.gz")
    try Command("mv", [Raw(f.archive(f.newest)), Raw(ours)]).run().checked()
    let theirs = f.scratch.path("theirs.tgz")
    try Command("tar", ["-czf", Raw(theirs), "-C", "/", f.inside]).run().checked()
    let plain = f.scratch.path("plain.tar")
    try Command("tar", ["-cf", Raw(plain), "-C", "/", f.inside]).run().checked()
    for archive in [ours, theirs, plain] {
      let names = try f.sheaf(["ls", "-R", Raw(archive)]).lines
      #expect(names.contains("\(f.inside.bytes.shown)/docs/sub/two"), "\(names)")
      #expect(try f.sheaf(["ls", "-R", "--json", Raw(archive)]).json().last?["type"] as? String == "summary")
      let cat = try f.sheaf(["cat", "--archive", Raw(archive), "\(f.inside)/hard", "\(f.inside)/large"])
      #expect(cat.stdout == Bytes("alpha\n") + Contents.bytes(count: 1_234_567, seed: 1))
      try f.sheaf(["cat", "--archive", Raw(archive), "nowhere"], status: 1)
    }
    try f.sheaf(["cat", "--archive", Raw(f.scratch.path("none.tar.gz")), "x"], status: 1)
  }

  @Test func whereTheStoreIsNamed() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let store = Raw(f.store)
    let expected = try f.sheaf(["points", "-s", store]).stdout
    for arguments in [
      ["-s", store, "points"], ["-s\(store)", "points"], ["--store", store, "points"], ["--store=\(store)", "points"],
      ["points", "-s\(store)"], ["points", "--store=\(store)"], ["points", "--store", store],
    ] as [[Raw]] {
      #expect(try f.sheaf(arguments, environment: ["SHEAF_STORE": nil]).stdout == expected)
    }
    #expect(try f.sheaf(["points"], environment: ["SHEAF_STORE": store]).stdout == expected)
    // The option counts more than the environment.
    #expect(try f.sheaf(["points", "-s", store], environment: ["SHEAF_STORE": "/nowhere"]).stdout == expected)
    let none = try f.sheaf(["points"], status: 64, environment: ["SHEAF_STORE": nil])
    #expect(none.errorLines.count == 2 && none.errorLines[1].hasPrefix("hint: "))
  }

  @Test func wrongUsage() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let before = try Snapshot(of: f.store)
    let store: [Raw] = ["-s", Raw(f.store)]
    for arguments in [
      ["frobnicate"], ["backup", "--nonsense"] + store, ["backup", "--level", "13"] + store, ["ls", "a", "b"] + store,
      ["backup", "--level", "x"] + store, ["backup", "--level", "-1"] + store, ["restore"] + store, ["cat"] + store,
      ["backup", "--series", "a/b", Raw(f.source)] + store, ["backup", "--series", "", Raw(f.source)] + store,
      ["backup", ""] + store, ["backup", "-s"], ["init"], ["restore", "--to"] + store,
    ] as [[Raw]] {
      let output = try f.sheaf(arguments, status: 64, environment: ["SHEAF_STORE": nil])
      #expect(output.errorLines.count == 2 && output.stdout.isEmpty, "\(output)")
      #expect(output.errorLines.first?.hasPrefix("sheaf: error: ") == true, "\(output)")
      #expect(output.errorLines.last?.hasPrefix("hint: ") == true, "\(output)")
    }
    try f.sheaf(["ls", "--series", "other"] + store, status: 1)
    #expect(before.differences(to: try Snapshot(of: f.store)) == [])
    for arguments in [["--help"], ["help", "backup"], ["restore", "--help"], ["--version"]] as [[Raw]] {
      #expect(try f.sheaf(arguments).stderr.isEmpty)
    }
  }

  @Test func notAStore() throws {
    let f = try Fixture(Self.tree)
    let place = f.scratch.path("place")
    try TestTree(["something": .file("s")]).make(at: place)
    let before = try Snapshot(of: place)
    for store in [place, f.scratch.path("missing"), f.source.joined(Bytes("a.txt"))] {
      for arguments in [
        ["backup", Raw(f.source)], ["points"], ["ls"], ["cat", "x"], ["manifest"],
        ["restore", "--to", "\(f.scratch.path)/t"],
      ] as [[Raw]] {
        let output = try f.sheaf(arguments + ["-s", Raw(store)], status: 10)
        #expect(output.errorLines.count >= 1 && output.stdout.isEmpty, "\(output)")
      }
    }
    #expect(before.differences(to: try Snapshot(of: place)) == [])
    #expect(!exists(f.scratch.path("missing")) && !exists(f.scratch.path("t")))
    try f.sheaf(["init", "-s", Raw(f.store)], status: 1)
  }

  @Test func aStoreFromTheFuture() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    let marker = try f.scratch.read("store/sheaf.store").shown
    let before = try f.names()
    try f.scratch.write(
      "store/sheaf.store", Raw(marker.replacingOccurrences(of: "requires=", with: "requires=wonders")))
    for arguments in [["backup"], ["points"], ["ls"]] as [[Raw]] {
      #expect(try f.sheaf(arguments + ["-s", Raw(f.store)], status: 1).errorText.contains("'wonders'"))
    }
    #expect(try f.names() == before)
  }
}
