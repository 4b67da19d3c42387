/// Folders that could not be listed are marked in the point, whatever is known of them: there may be more in them.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Host.isRoot, "only root can become a user without rights"))
struct UnlistedTests {
  private func fixture() throws -> Fixture {
    let f = try Fixture(
      TestTree([
        "never": .directory(["in": .file("in")]), "once": .directory(["a": .file("a"), "b": .directory([:])]),
        "empty": .directory([:]), "z": .file("z"),
      ]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store), Raw(f.source)]).run().checked()
    try f.edit("chown 0:0 never; chmod 700 never")
    return f
  }

  /// The folders of the newest set's manifest that have the tag.
  private func marked(_ f: Fixture) throws -> Set<String> {
    let names = try Descriptor.open(try f.series(), [.read, .directory]).sortedNames()
    let manifest = try #require(names.last { $0.suffix(9).elementsEqual(Bytes(".mtree.gz".utf8)) })
    let text = try Command("gzip", ["-dc", Raw(try f.series().joined(manifest))]).run().checked().text
    return Set(
      text.split(separator: "\n").filter { $0.hasPrefix("./") && $0.contains(",o") && $0.contains(" type=dir ") }
        .map { String($0.prefix { $0 != " " }.split(separator: "/").last!) })
  }

  @Test func marksComeAndGo() throws {
    let f = try fixture()
    try f.save(status: 3, as: .nobody)
    #expect(try marked(f) == ["never"])
    // Nothing is known of one, all of another, and of the third that nothing is in it.
    try f.edit("chown 0:0 once empty; chmod 700 once empty; echo new > once/new; echo z >> z")
    for more in [[], [], ["--full"]] as [[Raw]] {
      try f.save(more, status: 3, as: .nobody)
      #expect(try marked(f) == ["never", "once", "empty"])
    }
    try f.edit("chmod 755 once never")
    try f.save(status: 3, as: .nobody)
    #expect(try marked(f) == ["empty"])
    try f.edit("chmod 755 empty")
    try f.save(as: .nobody)
    #expect(try marked(f) == [])
    try f.sheaf(["verify", "-s", Raw(f.store)])
    #expect(try f.differences(at: f.newest) == [])
  }

  /// Of what an interrupted run had not told, and of what it could not list, `restore --delete` takes nothing.
  @Test(arguments: [["--full"], []] as [[Raw]]) func marksOfAnInterruptedRun(kind: [Raw]) throws {
    var folders: [Raw: Node] = ["closed": .directory(["in": .file("in")])]
    for number in 10..<22 {
      folders["d\(number)"] = .directory([
        "f": .file(size: 700_000, seed: UInt64(number)), "deep": .directory(["g": .file()]),
      ])
    }
    let f = try Fixture(TestTree(["old": .directory(["a": .file("a")]), "z": .file("z")]))
    if kind.isEmpty { try f.save() }
    let known = try kind.isEmpty ? f.names() : []
    try TestTree(.directory(folders)).make(at: f.source.joined(Bytes("added")))
    try f.edit("echo new >old/new; chown -R 65534:65534 .; chown 0:0 added/closed; chmod 700 added/closed")
    try Command("chown", ["-R", "65534:65534", Raw(f.store)]).run().checked()
    try f.save(kind, status: 3, as: .nobody)
    let set = f.newest.set
    let name = Bytes(set.utf8)
    let archive = try Bytes.read(f.archive(f.newest))
    let manifest = try Bytes.read(f.manifest(f.newest))
    let series = try Descriptor.open(f.series(), [.read, .directory])
    let target = try f.restore(at: set)
    try f.edit("chmod 755 added/closed")
    try Command("cp", ["-a", "\(f.source)/.", Raw(target.joined(f.inside.bytes))]).run().checked()
    let whole = try Snapshot(of: target.joined(f.inside.bytes))
    var kept = 0
    for part in 1...9 {
      for old in try f.names() where !known.contains(old) { try series.removeFile(Bytes(old.utf8)) }
      let place = try f.series()
      try Descriptor.open(place.joined(name + Bytes(".tar.gz.partial")), [.write, .create])
        .write(Bytes(archive[..<(archive.count * part / 10)]))
      try Descriptor.open(place.joined(name + Bytes(".mtree.gz.partial")), [.write, .create])
        .write(Bytes(manifest.dropLast()))
      try f.sheaf(["backup", "-q", "-s", Raw(f.store), Raw(f.source)])
      guard try f.names().contains("\(set).mtree.gz") else { continue }
      kept += 1
      for rebuilt in [false, true] {
        if rebuilt {
          try series.removeFile(name + Bytes(".mtree.gz"))
          try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
        }
        try f.sheaf(
          [
            "restore", "-q", "-s", Raw(f.store), "--at", Raw(set), "--overwrite", "always", "--delete", "--to",
            Raw(target),
          ])
        let lines = whole.differences(
          to: try Snapshot(of: target.joined(f.inside.bytes)), .ignoring(.mode, .owner, .modified))
        #expect(lines.filter { $0.contains("missing") } == [], "\(part), \(rebuilt): \(lines)")
      }
    }
    #expect(kept >= 3, "\(kept) were kept")
  }

  @Test func marksSurviveWhatRewritesSets() throws {
    let f = try fixture()
    try f.save(status: 3, as: .nobody)
    try f.edit("chown 0:0 once; chmod 700 once")
    try f.save(status: 3, as: .nobody)
    try f.edit("echo z >> z")
    try f.save(status: 3, as: .nobody)
    let last = Raw(try f.series().joined(Bytes("\(f.newest.set).mtree.gz".utf8)))
    try Command("rm", [last]).run().checked()
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    #expect(try marked(f) == ["never", "once"])
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    #expect(try marked(f) == ["never", "once"])
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1", "--fold"])
    try f.sheaf(["verify", "-s", Raw(f.store)])
    #expect(try marked(f) == ["never", "once"])
  }
}
