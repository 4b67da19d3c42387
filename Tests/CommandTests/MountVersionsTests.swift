/// `versions` in a mount: every path that any point has, and of each file every version once.
import Foundation
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: MountedStore.isPossible, "\(MountedStore.needs)")) struct MountVersionsTests {
  private typealias Fact = RandomQueryTests.Fact

  private func versions(_ mounted: MountedStore, _ f: Fixture) -> Bytes {
    mounted.path.joined(Bytes("versions")).joined(f.inside.bytes)
  }

  /// Where each version stands, by its path and the first point that has it; and all folders, with no fact.
  private func wanted(_ f: Fixture) -> [Raw: Fact?] {
    var wanted: [Raw: Fact?] = [:]
    var known: [Raw: [Fact]] = [:]
    for point in f.points {
      for (path, entry) in point.tree.entries where !entry.isSocket {
        wanted.updateValue(nil, forKey: path)
        guard !entry.isDirectory else { continue }
        let fact = Fact(entry)
        guard known[path]?.contains(fact) != true else { continue }
        known[path, default: []].append(fact)
        wanted["\(path)/\(point.set.prefix(18))"] = fact
      }
    }
    return wanted
  }

  private func found(_ f: Fixture, _ mounted: MountedStore, _ folders: Set<Raw>) throws -> [Raw: Fact?] {
    var found: [Raw: Fact?] = [:]
    for (path, entry) in try Snapshot(of: versions(mounted, f)).entries {
      if folders.contains(path) {
        #expect(entry.isDirectory, "\(path)")
        found.updateValue(nil, forKey: path)
      } else {
        let (parent, name) = path.bytes.splitAtName
        found["\(parent)/\(Bytes(name.prefix(18)))"] = Fact(entry)
      }
    }
    return found
  }

  private func expectSame(_ f: Fixture, _ mounted: MountedStore, _ story: String) throws {
    let wanted = wanted(f)
    let found = try found(f, mounted, Set(wanted.filter { $0.value == nil }.keys))
    #expect(Set(found.keys) == Set(wanted.keys), "\(story)")
    for (path, fact) in wanted { #expect(found[path] == fact, "\(path), \(story)") }
  }

  @Test(arguments: [false, true]) func eachStateOfEachPathOnce(encrypted: Bool) throws {
    let f = try Fixture(encrypted: encrypted)
    Scratch.remove(f.source)
    var history = History(label: "versions \(encrypted)", size: 100)
    try history.make(at: f.source)
    try f.save()
    var story = "seed \(history.seed)"
    for round in 0..<4 {
      story += "\n" + (try history.step().joined(separator: "\n"))
      try f.save(round == 2 ? ["--full"] : [])
    }
    let mounted = try MountedStore(f)
    try expectSame(f, mounted, story)
    let output = mounted.end()
    #expect(output.status == 0 && output.errorText.isEmpty, "\(output)")
  }

  /// What is a folder at one time and a file at another has children and versions; what changed and changed back counts
  /// once.
  @Test func filesThatBecomeFoldersAndComeBack() throws {
    let f = try Fixture(TestTree(["a": .file("one\n").modified(1000), "b": .directory(["x": .file("x\n")])]))
    try f.save()
    try f.edit("rm a; mkdir a; echo in >a/in; rm -r b; ln -s away b")
    try f.save()
    try f.edit("rm -r a; echo one >a; touch -d @1000 a; rm b; mkfifo b")
    try f.save()
    let mounted = try MountedStore(f)
    try expectSame(f, mounted, "")
    let names = try Descriptor.open(versions(mounted, f).joined(Bytes("a")), [.read, .directory]).sortedNames()
    #expect(names == [Bytes("\(f.points[0].set.prefix(18))".utf8), Bytes("in")])
    // While it is mounted points come, and go.
    let inside = try Descriptor.open(versions(mounted, f), [.read, .directory])
    try f.edit("echo two >a")
    try f.save()
    sleep(2)
    try expectSame(f, mounted, "after another backup")
    #expect(try inside.sortedNames() == [Bytes("a"), Bytes("b")])
    try f.sheaf(["prune", "-q", "-s", f.named, "--keep-last", "1", "--fold"])
    try f.reload()
    sleep(2)
    try expectSame(f, mounted, "after pruning")
  }

  @Test func namesEndAsTheFilesDo() throws {
    let long = Raw(Bytes(repeating: 0x6c, count: 250))
    let table: [(name: Raw, suffix: Raw)] = [
      ("letter.txt", ".txt"), ("a.tar.gz", ".tar.gz"), ("x.gz", ".gz"), (".bashrc", ""), ("none", ""), ("dot.", ""),
      ("v1.final draft", ""), ("\u{e9}t\u{e9}.JPG", ".JPG"), ("\(long).html", ".html"), ("a.abcdefghijklmnop", ""),
      ("q\u{1b}z.t\u{1b}t", ""), (Raw([0xff, 0x2e, 0x6d, 0x64]), ".md"), ("a.\u{202e}txt", ""), (".tar.xz", ".xz"),
    ]
    let f = try Fixture(TestTree(Dictionary(uniqueKeysWithValues: table.map { ($0.name, Node.file($0.name)) })))
    try f.save()
    let mounted = try MountedStore(f)
    for (name, suffix) in table {
      let folder = versions(mounted, f).joined(name.bytes)
      let version = Bytes("\(f.points[0].set.prefix(18))".utf8) + suffix.bytes
      #expect(try Descriptor.open(folder, [.read, .directory]).sortedNames() == [version], "\(name)")
      #expect(try Bytes.read(folder.joined(version)) == name.bytes, "\(name)")
    }
  }

  /// A manifest that cannot be read is said; what the others tell is there.
  @Test func aDamagedPointIsPassedOver() throws {
    let f = try Fixture(TestTree(["a": .file("one\n")]))
    try f.save()
    try f.edit("echo two >a")
    try f.save(["--full"])
    let file = try Descriptor.open(f.manifest(f.points[0]), .readWrite)
    try Bytes(repeating: 0x55, count: 40).withUnsafeBytes { try file.write($0, at: 30) }
    let mounted = try MountedStore(f)
    let folder = versions(mounted, f).joined(Bytes("a"))
    let names = try Descriptor.open(folder, [.read, .directory]).sortedNames()
    #expect(names.map(\.shown) == [String(f.points[1].set.prefix(18))])
    let output = mounted.end()
    #expect(output.errorText.contains(String(f.points[0].set)), "\(output)")
  }

  /// With the rights that they had: who could not read a file learns nothing of its versions.
  @Test func othersHaveTheirRights() throws {
    let f = try Fixture(
      TestTree(["own": .file("one\n").mode(0o600), "all": .file("two\n"), "d": .directory(["x": .file()]).mode(0o700)]))
    try f.save()
    let mounted = try MountedStore(f, ["--allow-other"])
    let folder = Raw(versions(mounted, f))
    func list(_ name: Raw) throws -> Int32 { try Command("ls", ["\(folder)/\(name)"], as: .nobody).run().status }
    #expect(try list("all") == 0 && list("own") != 0 && list("d") != 0)
    let version = "\(f.points[0].set.prefix(18))"
    #expect(try Command("cat", ["\(folder)/all/\(version)"], as: .nobody).run().checked().text == "two\n")
  }
}
