/// Stores that someone else may have made, restored by `restore.sh`: an archive with something below a symbolic link that
/// an earlier archive planted, under every name that a tar takes for the same. A table, as for the program; what stops
/// them is `guard` and `through_links` in the script.
import Posix
import TestSupport
import Testing

struct PlantedLink: Sendable, CustomTestStringConvertible {
  let name: String
  /// In the first set, to a directory outside.
  var link: Raw = "box/link"
  /// What the second set's archive has besides, and its manifest does not tell of.
  let entry: Bytes
  /// What the second set's manifest tells of besides, each with the path it is sorted by.
  var notes: [(path: Raw, text: Raw)] = []
  /// Nothing of it leads through the link: it is restored.
  var isHonest = false

  var testDescription: String { name }

  private static func entry(_ path: Raw, _ fields: [(at: Int, bytes: Bytes)] = [], target: Raw? = nil) -> Bytes {
    target.map { ForgedTar.header(path, type: "1", target: $0, fields: fields) }
      ?? ForgedTar.header(path, size: 4, fields: fields) + ForgedTar.padded(Bytes("evil"))
  }

  private static func named(_ text: Raw) -> (at: Int, bytes: Bytes) { (265, text.bytes) }

  static let all: [PlantedLink] = [
    .init(name: "a file below it", entry: entry("box/link/new")),
    .init(name: "a folder below it", entry: ForgedTar.header("box/link/dir/", type: "5", mode: 0o777)),
    .init(name: "a link below it", entry: ForgedTar.header("box/link/new", type: "2", target: "evil")),
    .init(name: "a file behind dots", entry: entry("./box/./link/./new")),
    .init(name: "a file behind slashes", entry: entry("//box//link//new")),
    .init(name: "a file behind the parent", entry: entry("x/../box/link/new")),
    .init(name: "a file behind the parent and a line feed", entry: entry("x\n/../box/link/new")),
    .init(
      name: "a file of the year 292277026596", entry: entry("box/link/new", [(136, [0x80, 0, 0, 0, 0x7f] + huge)])),
    .init(name: "an owner with a space", entry: entry("box/link/new", [named("a b c d e")])),
    .init(name: "an owner with a line feed", entry: entry("box/link/new", [named("a\nb")])),
    .init(name: "another name of a file outside", entry: entry("box/new", target: "box/link/file")),
    .init(name: "another name, arrows in its own", entry: entry("a -> b link to c", target: "box/link/file")),
    .init(
      name: "another name that looks like a link's line",
      entry: entry("box/x\nlrwxrwxrwx 0/0 0 2020-01-01 00:00:00 n", target: "box/link/file")),
    .init(
      name: "an owner that looks like a link's line",
      entry: entry("box/new", [named("x\nlrwxrwxrwx a")], target: "box/link/file")),
    .init(name: "a deletion below it", entry: [], notes: [("box/link/file", "# deleted ./box/link/file")]),
    .init(
      name: "deletions below it, deep", entry: [],
      notes: [("box/link/dir/inner", "# deleted ./box/link/dir/inner"), ("box/link/file", "# deleted ./box/link/file")]),
    .init(
      name: "a folder below it that is to be changed", entry: [],
      notes: [
        ("box/link/dir", "./box/link/dir type=dir uid=0 gid=0 mode=0777 time=1.000000000 tags=@,c:1.000000000,i:1,s")
      ]),
    .init(name: "a line feed in the link", link: "box/a\nb", entry: entry("box/a\nb/new")),
    .init(name: "line feeds in the link", link: "box/\n\na\n", entry: entry("./box/\n\na\n/new")),
    .init(name: "a line feed in the link, another name", link: "box/a\nb", entry: entry("n", target: "box/a\nb/file")),
    .init(name: "a backslash in the link", link: "box/a\\nb\\012", entry: entry("box/a\\nb\\012/new")),
    .init(name: "a byte that is not ASCII in the link", link: [0x62, 0x6f, 0x78, 0x2f, 0xff, 7], entry: entry(bell)),
    .init(
      name: "the halves of its name as folders", link: "box/one\ntwo",
      entry: entry("box/one/new") + entry("two/new") + entry("box/x\ntwo/new"), isHonest: true),
    .init(
      name: "its name as the half of another", entry: entry("box/link x/new") + entry("x\nbox/links/new"),
      isHonest: true),
    .init(name: "nothing", entry: [], isHonest: true),
  ]

  private static let huge = Bytes(repeating: 0xff, count: 7)
  private static let bell: Raw = [0x62, 0x6f, 0x78, 0x2f, 0xff, 7, 0x2f, 0x6e]
}

@Suite struct HostileScriptTests {
  private func putScript(into stage: Stage) throws {
    let other = stage.scratch.path("other")
    try Command.sheaf(["init", "-s", Raw(other)]).run().checked()
    try Command("cp", [Raw(other.joined(Bytes("restore.sh"))), Raw(stage.store.path)]).run().checked()
  }

  /// What the manifests say is refused before anything is written.
  @Test(arguments: ["a volume above", "another state", "a series above"]) func isRefused(what: String) throws {
    let stage = try Stage()
    var first = ForgedSet()
    first.directory("box")
    first.file("box/file", "contents")
    first.end()
    var second = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: first)
    second.end()
    if what == "a volume above" { first.volumes = ["../../outside/file 8 \(String(repeating: "0", count: 64))"] }
    if what == "another state" { second = ForgedSet(second.name, id: 2, on: ForgedSet()) }
    try stage.store.write(first)
    try stage.store.write(second)
    try putScript(into: stage)
    for road in RestoreScriptTests.Road.installed {
      let target = stage.target.joined(Bytes("\(road)".utf8))
      let more: [Raw] = what == "a series above" ? ["--series", "../store/forged"] : ["--no-check"]
      let output = try road.run(in: stage.store.path, ["--to", Raw(target)] + more, stage.scratch)
      let says =
        what == "a volume above"
        ? "mtree.gz: cannot be read" : what == "another state" ? "they do not fit together" : "is no series' name"
      #expect(output.status == (what == "a series above" ? 64 : 4), "\(road): \(output)")
      #expect(output.errorText.contains(says) && !exists(target), "\(road): \(output)")
    }
  }

  @Test(arguments: PlantedLink.all) func nothingGoesThroughALink(row: PlantedLink) throws {
    let stage = try Stage()
    var first = ForgedSet()
    first.directory("box")
    first.symlink(row.link, Raw(stage.outside))
    first.end()
    var second = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: first)
    if !row.entry.isEmpty { second.add(ForgedMember(row.entry)) }
    second.notes = row.notes
    second.end()
    try stage.store.write(first)
    try stage.store.write(second)
    try putScript(into: stage)
    for road in RestoreScriptTests.Road.installed {
      let before = try Snapshot(of: stage.outside)
      let target = stage.target.joined(Bytes("\(road)".utf8))
      let output = try road.run(in: stage.store.path, ["--to", Raw(target)], stage.scratch)
      var all = Snapshot.Options()
      all.fields.insert(.changed)
      let lines = before.differences(to: try Snapshot(of: stage.outside), all)
      #expect(lines.isEmpty, "\(road): \(lines)")
      if !row.notes.isEmpty {
        #expect(output.status == 3 || output.succeeded, "\(road): \(output)")
        #expect(row.name.contains("changed") || output.errorText.contains("a symbolic link is where"), "\(output)")
      } else if row.isHonest {
        #expect(output.succeeded, "\(road): \(output)")
      } else if road != .bsd {
        // bsdtar looks itself, and takes the link away.
        #expect(output.status == 1 && output.errorText.contains(": refused, what is restored so far"), "\(output)")
      }
      #expect(!output.timedOut && output.stderr.allSatisfy { $0 >= 0x20 || $0 == 10 }, "\(output)")
    }
  }
}
