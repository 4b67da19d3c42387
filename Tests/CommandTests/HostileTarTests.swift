/// What a set's archive holds against what it should: a table of lies for `verify`, which reads the tar within gzip
/// members whose checksums are right. Each must be found and named; `rebuild` must end, whatever it makes of them.
/// `headers` and `records` are for `TarReader`, a row for each of its guards, `comparisons` for `ManifestComparison`,
/// `MemberJob` and `ArchiveCheck`.
import Posix
import TestSupport
import Testing

struct TarLie: Sendable, CustomTestStringConvertible {
  let name: String
  /// What `verify` must say.
  let says: String
  let forge: @Sendable (inout ForgedSet) -> Void
  /// The archive's last two blocks are there.
  var ends = true

  var testDescription: String { name }

  private init(
    _ name: String, says: String, ends: Bool = true, forge: @escaping @Sendable (inout ForgedSet) -> Void
  ) {
    (self.name, self.says, self.ends, self.forge) = (name, says, ends, forge)
  }

  static let all = headers + records + comparisons

  /// With one more gzip member.
  private static func member(_ name: String, says: String, _ bytes: @escaping @Sendable () -> Bytes) -> TarLie {
    TarLie(name, says: says) { $0.add(ForgedMember(bytes())) }
  }

  private static func header(_ name: String, says: String, _ fields: [(at: Int, bytes: Bytes)]) -> TarLie {
    member(name, says: says) { ForgedTar.header("x", size: 4, fields: fields) + ForgedTar.padded(Bytes("data")) }
  }

  private static func large(_ first: UInt8, _ rest: UInt8, _ width: Int) -> Bytes {
    [first] + Bytes(repeating: rest, count: width - 1)
  }

  private static let headers: [TarLie] = [
    member("a wrong checksum", says: "holds a header with a wrong checksum") {
      var block = ForgedTar.header("x")
      block[1] ^= 1
      return block
    },
    header("a size that is no number", says: "holds a number that is none", [(124, Bytes("9999xyz9999\0"))]),
    header("a size beyond all numbers", says: "holds a number that is too large", [(124, large(0x80, 0xff, 12))]),
    header("a negative size", says: "holds a negative size", [(124, large(0xff, 0xff, 12))]),
    header("an owner of 40 bits", says: "holds an owner or mode out of range", [(108, [0x80, 0, 0, 1, 0, 0, 0, 0])]),
    header("a negative mode", says: "holds an owner or mode out of range", [(100, large(0xff, 0xff, 8))]),
    header("a type nobody knows", says: "holds an entry of unknown type", [(156, Bytes("Z"))]),
    member("zeros in the middle", says: "holds the mark of an archive's end in its middle") {
      Bytes(repeating: 0, count: 1024) + entry("x")
    },
    member("half a header", says: "ends within headers") { entry("x") + ForgedTar.header("y")[..<300] },
    member("a sparse map that goes backwards", says: "holds a sparse map out of order") {
      sparse("00000001000\000000000004\000000000000\000000000004\0", real: "00000010000\0")
    },
    member("a sparse map beyond the end", says: "holds a sparse map out of order") {
      sparse("00000001000\000000000004\0", real: "00000000010\0")
    },
    member("a sparse map that goes on nowhere", says: "ends within headers") {
      ForgedTar.header("x", type: "S", fields: [(257, Bytes("ustar  \0")), (482, [1])])
    },
  ]

  private static func entry(_ path: Raw, _ data: Raw = "data") -> Bytes {
    ForgedTar.header(path, size: data.bytes.count) + ForgedTar.padded(data.bytes)
  }

  private static func sparse(_ map: Raw, real: Raw) -> Bytes {
    ForgedTar.header("x", type: "S", size: 8, fields: [(257, Bytes("ustar  \0")), (386, map.bytes), (483, real.bytes)])
      + ForgedTar.padded(Bytes("datadata"))
  }

  private static func named(_ type: Raw, _ text: Raw, size: Int? = nil) -> Bytes {
    ForgedTar.header("x", type: type, size: size ?? text.bytes.count) + ForgedTar.padded(text.bytes) + entry("x")
  }

  private static let records: [TarLie] = [
    member("a name of a gigabyte", says: "holds a header with an impossible size") { named("L", "x", size: 1 << 30) },
    member("a name of nothing", says: "holds a header with an impossible size") { named("L", "") },
    member("a name cut short", says: "ends within headers") { ForgedTar.header("x", type: "L", size: 4) },
    member("a name that does not end", says: "holds a long name that does not end") { named("L", "name") },
    member("a name that ends twice", says: "holds a long name that does not end") { named("K", "na\0me\0") },
    member("a name for nothing", says: "holds headers without an entry") {
      ForgedTar.header("x", type: "L", size: 2) + ForgedTar.padded(Bytes("x\0")) + Bytes(repeating: 0, count: 1024)
    },
    member("a name at the end", says: "ends within headers") {
      ForgedTar.header("x", type: "L", size: 2) + ForgedTar.padded(Bytes("x\0"))
    },
    member("a record without a length", says: "holds a pax record without a length") { named("x", "path=b\n") },
    member("a record of a length without end", says: "holds a pax record without a length") {
      named("x", "99999999999999999999 path=b\n")
    },
    member("a record longer than its header", says: "holds a pax record with a wrong length") {
      named("x", "99 path=b\n")
    },
    member("a record shorter than its length", says: "holds a pax record with a wrong length") { named("x", "2 \n") },
    member("a record that does not end", says: "holds a pax record with a wrong length") { named("x", "9 path=bc") },
    member("a record of no length", says: "holds a pax record with a wrong length") { named("x", "0 path=b\n") },
    member("a record without a value", says: "holds a pax record without '='") { named("x", "8 pathb\n") },
    member("a size that is not the header's", says: "holds a pax size that is not the header's") {
      ForgedTar.pax("x", [("size", Bytes("5"))]) + entry("x")
    },
    member("an owner that is not the header's", says: "holds a pax uid that is not the header's") {
      ForgedTar.pax("x", [("uid", Bytes("77"))]) + entry("x")
    },
    member("a time that is none", says: "holds a time that is none") {
      ForgedTar.pax("x", [("mtime", Bytes("yesterday"))]) + entry("x")
    },
    member("an access list that is none", says: "holds an ACL that cannot be read") {
      ForgedTar.pax("x", [("SCHILY.acl.access", Bytes("everyone:rwx"))]) + entry("x")
    },
  ]

  private static func told(_ what: String, _ change: @escaping @Sendable (inout ForgedLine) -> Void) -> TarLie {
    TarLie("another \(what)", says: "box/file: archive and manifest do not agree on its \(what)") {
      change(&$0.lines[1])
    }
  }

  private static let comparisons: [TarLie] = [
    told("mode") { $0.mode = "0600" }, told("owner") { $0.gid = "77" }, told("time") { $0.time = "1.500000000" },
    told("attributes") { $0.tags = "x:user.a:AAAA," },
    TarLie("another size", says: "box/file: archive and manifest do not agree on its size") { set in
      set.lines[1].size = "7"
      set.lines[1].extents = [Raw(Bytes(set.lines[1].extents[0].bytes.dropLast()) + Bytes("7"))]
    },
    TarLie("another type", says: "box/x: archive and manifest do not agree on its type") { set in
      set.fifo("box/x") { ($0.type, $0.more) = ("link", " link=y") }
    },
    TarLie("another link", says: "box/x: archive and manifest do not agree on its link target") { set in
      set.symlink("box/x", "y") { $0.more = " link=z" }
    },
    TarLie("another device", says: "box/x: archive and manifest do not agree on its device") { set in
      set.device("box/x", 1, 3) { $0.more = " device=native,1,5" }
    },
    TarLie("a folder's mode", says: "box: archive and manifest do not agree on its mode") { $0.lines[0].mode = "0700" },
    TarLie("other contents", says: "box/x: its contents are not what was saved") { set in
      set.file("box/x") { $0.digest = Raw(Checksums.sha256(Bytes("else"))) }
    },
    TarLie("data in a hole", says: "box/x: has data where the manifest tells of a hole") { set in
      set.file("box/x", "\0\0data") { $0.tags = "h:0:4," }
    },
    TarLie("data in a hole of a file in pieces", says: "box/x: has data where the manifest tells of a hole") { set in
      pieces("\0\0da", "ta\0\0", &set) { $0.tags = "h:0:3," }
    },
    TarLie("other contents in pieces", says: "box/x: its contents are not what was saved") { set in
      pieces("data", "data", &set) { $0.digest = Raw(Checksums.sha256(Bytes("else"))) }
    },
    TarLie("a file that ends too early", says: "box/x: is cut short in the archive") { set in
      pieces("data", "", size: 8, &set) { _ in }
    },
    TarLie("a file elsewhere", says: "box/file: lies elsewhere in the archive than the manifest says") { set in
      let place = set.add(ForgedMember(Bytes("contents")))
      set.lines[1].extents = [set.extent(place.offset, place.number, 0, 8)]
    },
    TarLie("a file that is not there", says: "box/gone: is in the manifest but not in the archive") { set in
      var line = set.lines[1]
      line.path = Bytes("box/gone")
      set.lines.append(line)
      set.file("box/later")
    },
    TarLie("a file at the end that is not there", says: "box/zzz: is in the manifest but not in the archive") { set in
      var line = set.lines[1]
      line.path = Bytes("box/zzz")
      set.lines.append(line)
    },
    TarLie("a file nobody told of", says: "box/new: is in the archive but not in the manifest") { set in
      set.add(ForgedMember(entry("box/new")))
    },
    TarLie("data that belongs to nothing", says: "belongs to no file") { set in
      var member = ForgedMember(Bytes("data"))
      member.firstHeader = nil
      set.add(member)
    },
    TarLie("something behind a member's data", says: "is damaged") { set in
      var member = ForgedMember(entry("box/new"))
      member.deflated = Bytes([1, 0, 4, 0xff, 0xfb]) + member.inflated + Bytes("hidden")
      set.add(member)
    },
    TarLie("a first header in the middle", says: "does not begin with an entry") { set in
      var member = ForgedMember(entry("x") + entry("y"))
      member.firstHeader = 1024
      set.add(member)
    },
    TarLie("no end", says: "its end is missing", ends: false) { _ in },
    TarLie("another set's archive", says: "belongs to another set than its manifest") { $0.head.append("comment: x") },
    TarLie("another digest of the volume", says: "its digest is not what its manifest says") { set in
      set.volumes = ["\(set.name).tar.gz \(set.archive.count + endLength) \(String(repeating: "0", count: 64))"]
    },
    TarLie("another point", says: "do not add up to the point it was written for") { set in
      set.toldPoint = Raw(Checksums.sha256([]))
    },
    TarLie("a manifest that goes on after its end", says: "goes on after its end") { set in
      var member = ForgedMember(Bytes("# note: x\n"))
      member.firstHeader = nil
      set.afterFoot = [member]
    },
    TarLie("an index with another path", says: "its index is not what it should be") { set in
      set.index = [(UInt64(set.headLength), "box/file")]
    },
    TarLie("an index with another place", says: "its index is not what it should be") { set in
      set.index = [(UInt64(set.headLength) + 1, "box")]
    },
    TarLie("an index of too much", says: "its index is not what it should be") { set in
      set.index = [(UInt64(set.headLength), "box"), (UInt64(set.headLength), "box/file")]
    },
    TarLie("bytes behind the archive", says: "cannot be read") { set in
      set.end()
      set.archive += Bytes("garbage")
    },
  ]

  /// Of the member with the archive's last two blocks.
  private static let endLength = ForgedMember(Bytes(repeating: 0, count: 1024)).bytes.count

  /// `box/x`, in two gzip members.
  private static func pieces(
    _ first: Raw, _ second: Raw, size: Int? = nil, _ set: inout ForgedSet, _ change: (inout ForgedLine) -> Void
  ) {
    let contents = first.bytes + second.bytes
    let size = size ?? contents.count
    let header = ForgedTar.header("box/x", size: size)
    let place = set.add(ForgedMember(header + first.bytes))
    var member = ForgedMember(ForgedTar.padded(second.bytes))
    member.firstHeader = nil
    if !second.bytes.isEmpty { set.add(member) }
    var line = ForgedLine("box/x")
    line.size = "\(size)"
    line.digest = Raw(Checksums.sha256(contents))
    line.extents = [set.extent(place.offset, place.number, header.count, size)]
    change(&line)
    set.lines.append(line)
  }
}

/// What an archive may tell of when its manifest is made again from it: what cannot be is named, and the rest is there.
struct RebuiltLie: Sendable, CustomTestStringConvertible {
  let name: String
  /// Empty: all is good, and there is `box/other`.
  let says: String
  let bytes: Bytes

  var testDescription: String { name }

  private static func entry(_ name: String, _ path: Raw) -> RebuiltLie {
    .init(name: name, says: "cannot be used", bytes: ForgedTar.header(path, size: 4) + ForgedTar.padded(Bytes("evil")))
  }

  private static func comment(_ name: String, _ text: Raw) -> RebuiltLie {
    let other = ForgedTar.header("box/other", size: 8) + ForgedTar.padded(Bytes("contents"))
    return .init(name: name, says: "", bytes: ForgedTar.pax("x", [("comment", text.bytes)]) + other)
  }

  static let all: [RebuiltLie] = [
    entry("a name above", "../../outside/new"), entry("an absolute name", "/outside/new"),
    entry("two slashes", "box//new"), entry("a dot", "box/./new"),
    .init(
      name: "two pebibytes of holes", says: "cannot be used",
      bytes: ForgedTar.header(
        "box/huge", type: "S",
        fields: [(257, Bytes("ustar  \0")), (483, [0x80, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0])])),
    comment("holes beyond the end", "sheaf holes 0:99"), comment("holes that go backwards", "sheaf holes 4:1 0:1"),
    comment("a hole without a length", "sheaf holes 0:"), comment("a hole of nothing", "sheaf holes 0:0"),
    comment("a hole before the beginning", "sheaf holes -4:8"), comment("a hole with data", "sheaf holes 0:8"),
    .init(
      name: "a comment that is none of ours", says: "",
      bytes: ForgedTar.pax("x", [("comment", Bytes("hello there\n# deleted ./box/other\n"))])
        + ForgedTar.header("box/sub/", type: "5", mode: 0o755)
        + ForgedTar.header("box/other", size: 8) + ForgedTar.padded(Bytes("contents"))),
  ]
}

@Suite struct HostileTarTests {
  @Test(arguments: TarLie.all) func isFound(lie: TarLie) throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.directory("box")
    set.file("box/file", "contents")
    lie.forge(&set)
    if lie.ends { set.end() }
    try stage.store.write(set)
    let store = Raw(stage.store.path)
    let output = try run(["verify", "-s", store])
    #expect(output.status == 4 && (output.errorText + output.text).contains(lie.says), "\(output)")
    try Command("rm", ["\(stage.store.series)/\(set.name).mtree.gz"]).run().checked()
    let rebuilt = try run(["rebuild", "-s", store])
    #expect([0, 3, 4].contains(rebuilt.status), "\(rebuilt)")
  }

  /// Volumes with holes, which are larger together than any number.
  @Test func volumesOfExabytesAreNotRebuilt() throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.directory("box")
    set.end()
    for number in 1...3 {
      let path = stage.store.series.joined(Bytes("\(set.name).tar.gz.00\(number)".utf8))
      try ForgedStore.write(path, set.volume)
      // Where the file system has no such files, there is nothing to be tried.
      guard (try? Descriptor.open(path, .readWrite).truncate(to: 1 << 62)) != nil else { return }
    }
    let output = try run(["rebuild", "-s", Raw(stage.store.path)])
    #expect(output.status == 4 && output.errorText.contains("impossible sizes"), "\(output)")
  }

  @Test func aPointOnAnotherStateIsFound() throws {
    let stage = try Stage()
    var first = ForgedSet()
    first.directory("box")
    first.end()
    var second = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: first)
    second.end()
    // Of both together; what the first one was is another matter.
    second.toldPoint = Raw(first.point)
    first.toldPoint = Raw(Checksums.sha256([]))
    try stage.store.write(second)
    try stage.store.write(first)
    let output = try run(["verify", "-s", Raw(stage.store.path)])
    #expect(output.status == 4 && output.errorText.contains("builds on another state"), "\(output)")
  }

  @Test(arguments: RebuiltLie.all) func isNotBelievedByRebuild(lie: RebuiltLie) throws {
    let stage = try Stage()
    var set = ForgedSet()
    set.add(ForgedMember(ForgedTar.header("box/", type: "5", mode: 0o755) + lie.bytes))
    set.file("box/file", "contents")
    set.end()
    try stage.store.write(set)
    try Command("rm", ["\(stage.store.series)/\(set.name).mtree.gz"]).run().checked()
    let before = try stage.snapshot()
    let store = Raw(stage.store.path)
    let rebuilt = try run(["rebuild", "-s", store])
    #expect(rebuilt.status == (lie.says.isEmpty ? 0 : 4), "\(rebuilt)")
    #expect(lie.says.isEmpty || rebuilt.errorText.contains(lie.says), "\(rebuilt)")
    let output = try run(["restore", "-s", store, "--to", Raw(stage.target)])
    #expect(output.status == 0, "\(output)")
    for path in ["box/file"] + (lie.says.isEmpty ? ["box/other"] : []) {
      #expect(try Bytes.read(stage.target.joined(Bytes(path.utf8))) == Bytes("contents"))
    }
    let lines = before.differences(to: try stage.snapshot(), .ignoring(skipped: ["in/target", "store"]))
    #expect(lines.isEmpty, "\(lines)")
  }

  private func run(_ arguments: [Raw]) throws -> Output {
    let output = try Command.sheaf(arguments, environment: ["SWIFT_BACKTRACE": "enable=no"], timeout: 10)
      .wrapped(["prlimit", "--as=\(1024 << 20)"]).run()
    #expect(output.signal == 0 && !output.timedOut, "\(output)")
    #expect(output.stderr.allSatisfy { $0 >= 0x20 || $0 == 10 }, "\(output)")
    return output
  }
}
