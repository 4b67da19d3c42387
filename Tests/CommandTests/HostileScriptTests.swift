/// Stores that someone else may have made, restored by `restore.sh`: an archive with something below a symbolic link that
/// an earlier archive planted, under every name that a tar takes for the same. A table, as for the program. What stops
/// them: each archive is unpacked into an empty directory of its own (`unpack` in the script), and symbolic links come
/// last. Then bytes that a manifest may not hold, and sets by chance.
import Foundation
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
      entry: entry("box/one/new") + entry("two/new") + entry("box/x\ntwo/new")),
    .init(
      name: "its name as the half of another", entry: entry("box/link x/new") + entry("x\nbox/links/new")),
    .init(name: "nothing", entry: []),
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
        ? "mtree.gz: line" : what == "another state" ? "they do not fit together" : "is no series' name"
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
      if row.name.contains("is to be changed") {
        #expect(output.status == 4 && output.errorText.contains("lies below a symbolic link"), "\(road): \(output)")
        #expect(!exists(target))
      } else {
        // What the manifest does not tell of is no part of the point.
        #expect(output.succeeded, "\(road): \(output)")
        #expect(try Snapshot(of: target).paths.count == 2, "\(road): \(output)")
      }
      #expect(!output.timedOut && output.stderr.allSatisfy { $0 >= 0x20 || $0 == 10 }, "\(output)")
    }
  }

  /// Text that would be a command where a shell ran it, bytes that a terminal obeys, and what is no line of a manifest.
  static let refusedLines: [Raw] = [
    "# deleted ./box/z';touch$IFS/tmp/x;'", "# deleted ./box/$(touch)", "# deleted ./box/`id`", "# deleted ./box/a b",
    "# deleted ./box/z\u{1b}]0;x\u{7}", "# deleted ./box/z\r", "# deleted ./box/z\t", "# deleted ./box/*",
    "# deleted ./box/\\056\\056/z", "# deleted ./box/\\000", "# deleted ./box/\\8", "# deleted ./box/..",
    "# deleted box",
    "# renamed ./box/f';id;' ./box/g", "# note: \"", "#!", "box type=dir", "./box/z type=file", " ./box/z",
    "./box/z type=fifo uid=0 gid=0 mode=0644 time=1';id;'.000000000 tags=@,c:1.000000000,i:1",
    "./box/z type=fifo uid=0;id gid=0 mode=0644 time=1.000000000 tags=@,c:1.000000000,i:1",
    "./box/z type=fifo  uid=0 gid=0 mode=0644 time=1.000000000 tags=@,c:1.000000000,i:1",
    "./box/z type=fifo uid=0 gid=0 mode=0644 time=1.000000000 tags=x:user.a':AAAA,@,c:1.000000000,i:1",
    "./box/z type=link uid=0 gid=0 mode=0777 time=1.000000000 link=';id;' tags=@,c:1.000000000,i:1",
    "./box/z type=char uid=0 gid=0 mode=0777 time=1.000000000 device=native,1,3;id tags=@,c:1.000000000,i:1",
    "./box/z type=shell uid=0 gid=0 mode=0777 time=1.000000000 tags=@,c:1.000000000,i:1",
    [0x23, 0x20, 0xff], Raw(Bytes(repeating: 0x23, count: 20_000_000)),
  ]

  @Test func noOtherByteIsTaken() throws {
    let stage = try Stage()
    for (index, line) in Self.refusedLines.enumerated() {
      var set = ForgedSet()
      set.directory("box")
      set.notes = [("box/z", line)]
      set.end()
      try stage.store.write(set)
      if index == 0 { try putScript(into: stage) }
      // The first of all roads; one awk is like the other.
      let target = stage.target.joined(Bytes("new"))
      let road = RestoreScriptTests.Road.installed[index % RestoreScriptTests.Road.installed.count]
      let output = try road.run(in: stage.store.path, ["--to", Raw(target)], stage.scratch)
      #expect(output.status == 4 && output.errorText.contains("mtree.gz: line"), "\(road), \(index): \(output)")
      #expect(!exists(target) && output.stderr.allSatisfy { $0 >= 0x20 || $0 == 10 }, "\(index)")
    }
  }

  @Test func aPipeIsNoManifest() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.end()
    try stage.store.write(set)
    try putScript(into: stage)
    let series = stage.store.path.joined(Bytes("forged"))
    try Command("mkfifo", [Raw(series.joined(Bytes("2026-01-02T000000Z-full.mtree.gz")))]).run().checked()
    for road in RestoreScriptTests.Road.installed {
      let target = stage.target.joined(Bytes("\(road)".utf8))
      let output = try road.run(in: stage.store.path, ["--to", Raw(target)], stage.scratch)
      #expect(output.succeeded && !output.timedOut, "\(output)")
    }
  }

  // MARK: Attacks by chance

  /// Sets whose archives and manifests plant links, change what a name is, join names of what lies outside, and carry:
  /// names come from few words, so that they meet. Nothing outside the target changes, whatever becomes of the rest.
  @Test func setsByChanceStayInside() throws {
    let isThorough = ProcessInfo.processInfo.environment["SHEAF_FAULTS"] == "all"
    var random = Random(label: "hostile restore.sh")
    let stage = try Stage()
    var isFirst = true
    for round in 0..<(isThorough ? 400 : 8) {
      let series = stage.store.path.joined(Bytes("forged"))
      Scratch.remove(series)
      try Descriptor.workingDirectory.makeDirectory(series)
      var parent: ForgedSet?
      for day in 1...3 {
        let kind = parent == nil ? "full" : "incr"
        var set = ForgedSet("2026-01-0\(day)T000000Z-\(kind)", id: UInt64(day), on: parent)
        HostileSet.fill(&set, outside: Raw(stage.outside), &random)
        set.end()
        try stage.store.write(set)
        parent = set
      }
      if isFirst { try putScript(into: stage) }
      isFirst = false
      let before = try Snapshot(of: stage.outside)
      var all = Snapshot.Options()
      all.fields.insert(.changed)
      for road in RestoreScriptTests.Road.installed {
        Scratch.remove(stage.target)
        let output = try road.run(in: stage.store.path, ["--no-check", "--to", Raw(stage.target)], stage.scratch)
        let lines = before.differences(to: try Snapshot(of: stage.outside), all)
        #expect(lines.isEmpty, "\(road), round \(round): \(lines), \(output)")
        #expect([0, 1, 3, 4].contains(output.status) && !output.timedOut, "\(road), round \(round): \(output)")
      }
    }
  }
}

/// Entries of a forged set, in its archive, its manifest or both.
private enum HostileSet {
  static let words: [Raw] = ["box", "a", "b", "link", "d\n", "it's", "$(id)", "-rf", "--to-command=id"]

  static func fill(_ set: inout ForgedSet, outside: Raw, _ random: inout Random) {
    set.directory("box")
    var taken: Set<Bytes> = [Raw("box").bytes]
    for _ in 0..<random.number(in: 3...9) {
      var path: Raw = "box"
      for _ in 0..<random.number(in: 1...3) { path = "\(path)/\(random.pick(words))" }
      let target = random.pick([outside, "\(outside)/file", ".", "..", "../..", "link", "a", "box/a", "/"] as [Raw])
      // In the archive alone, under a name that leads elsewhere.
      if random.once(in: 3) {
        let name = random.pick([path, "/\(path)", "../\(path)", "\(outside)/new", "./\(path)/../link/new"] as [Raw])
        let type = random.pick(["0", "1", "2", "5", "6"] as [Raw])
        let isFile = type == "0"
        let header = ForgedTar.header(
          name, type: type, mode: random.pick([0o644, 0o4755, 0o777]), size: isFile ? 4 : 0,
          target: type == "1" || type == "2" ? target : "")
        set.add(ForgedMember(header + (isFile ? ForgedTar.padded(Bytes("evil")) : [])))
        continue
      }
      guard taken.insert(path.bytes).inserted else { continue }
      let change: (inout ForgedLine) -> Void = { [flag = random.below(4)] line in
        if flag == 0 { line.local = "\(line.local),s" }
        if flag == 1 { line.local = "\(line.local),m" }
        if flag == 2 { line.mode = "06777" }
      }
      switch random.below(7) {
      case 0: set.directory(path, change)
      case 1, 2: set.symlink(path, target, change)
      case 3: set.fifo(path, change)
      case 4: set.hardLink(path, target, change)
      case 5: set.notes.append((path, "# deleted ./\(ForgedStore.encoded(path.bytes))"))
      default: set.file(path, "evil", change)
      }
    }
  }
}
