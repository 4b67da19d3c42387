/// The table of attacks, third part: places that lead elsewhere, and what wants memory or time without end.
import Glibc
import Posix
import TestSupport
import Testing

extension Attack {
  /// Archives that are not where, what or how large the manifest says; what stops them: `SetFoot`, O_NOFOLLOW and the
  /// look at the kind in `ArchiveReader`, `Series` and `Store`, `ManifestIndex`.
  static let places: [Attack] =
    [
      volumed("a volume above the series", "../../outside/file 8 \(String(repeating: "0", count: 64))"),
      volumed("a volume in another series", "../other/x.tar.gz 8 \(String(repeating: "0", count: 64))"),
      volumed("an absolute volume", "/etc/passwd 8 \(String(repeating: "0", count: 64))"),
      volumed("the folder above as a volume", says: "is no file", ".. 4096 \(String(repeating: "0", count: 64))"),
      volumed("the folder itself as a volume", says: "is no file", ". 4096 \(String(repeating: "0", count: 64))"),
      volumed("a volume that sends escapes", "\u{1b}]0;title\u{7} 8 \(String(repeating: "0", count: 64))"),
      volumed("a volume with a NUL", "a\0b 8 \(String(repeating: "0", count: 64))"),
      volumed("a volume of negative size", "x.tar.gz -8 \(String(repeating: "0", count: 64))"),
      volumed("a volume without a digest", "x.tar.gz 8"),
      .set("volumes whose sizes overflow", 4) { set, _ in
        set.volumes = Array(
          repeating: Raw("\(set.name).tar.gz \(huge) \(String(repeating: "0", count: 64))"), count: 3)
      },
      .set("a hundred thousand volumes", 1, 4) { set, _ in
        set.volumes = Array(
          repeating: Raw("\(set.name).tar.gz 1 \(String(repeating: "0", count: 64))"), count: 100_000)
      },
      .set("its own manifest as the volume", 4, says: "box/file: ") { set, _ in
        set.volumes = [Raw("\(set.name).mtree.gz 8 \(String(repeating: "0", count: 64))")]
      },
    ]
    + [
      ("a link to the outside", "ln -s ../../outside/file", "is no file"), ("a pipe", "mkfifo", "is no file"),
      ("a folder", "mkdir", "is no file"),
    ].flatMap { (name: String, command: String, says: String) -> [Attack] in
      ["tar.gz", "mtree.gz"].map { suffix in
        .edited("\(name) as the \(suffix)", 1, 4, says: says) { "rm \($0).\(suffix); \(command) \($0).\(suffix)" }
      }
    } + (Scratch.allowsEverything ? devices : [])
    + [
      .edited("a pipe as the marker", 10) { _ in "rm ../sheaf.store; mkfifo ../sheaf.store" },
      .edited("a link as the marker", 10) { _ in "mv ../sheaf.store ../m; ln -s m ../sheaf.store" },
      .edited("a link as the series", 4) { _ in "cd ..; mv forged other; ln -s other forged" },
      .edited("a link out of the store as the series", 1, 4) { _ in "cd ..; mv forged own; ln -s ../outside forged" },
      .edited("pipes as the helpers", 0) { _ in "mkfifo ../README.txt ../restore.sh" },
      .edited("links as the helpers", 0) { _ in "ln -s ../outside/file ../README.txt; ln -s ../outside ../restore.sh" },
      .set("an index that leads nowhere", 0, 4) { set, _ in
        set.index = [(.max, ""), (UInt64(Int64.max), "box"), (1 << 63, "box/file")]
      },
      .set("an index that leads to the index", 0, 4) { set, _ in set.trailer = (0, 0) },
      .set("an index that is cut short", 4, says: "is cut short") { set, _ in
        set.indexBlock = Bytes(repeating: 0, count: 8) + [9, 0] + Bytes("box")
      },
      .set("an index beyond the end", 4) { set, _ in set.trailer = (UInt64(Int64.max), UInt64(Int64.max) - 1) },
      .set("a foot before the beginning", 4, says: "is cut short") { set, _ in set.trailer = (.max, .max) },
    ]

  private static let devices: [Attack] = [
    .edited("a device as the archive", 4, says: "is no file") { "rm \($0).tar.gz; mknod \($0).tar.gz c 1 5" },
    .edited("a device as the manifest", 4, says: "is no file") { "rm \($0).mtree.gz; mknod \($0).mtree.gz c 1 5" },
    .edited("a marker without end", 10) { _ in "rm ../sheaf.store; mknod ../sheaf.store c 1 5" },
  ]

  private static func volumed(_ name: String, says: String = "its foot cannot be read", _ words: Raw) -> Attack {
    .set(name, 4, says: says) { set, _ in set.volumes = [words] }
  }

  /// An honest set, whose files are then changed by a shell script that runs in the series.
  private static func edited(
    _ name: String, _ status: Int32..., says: String = "", script: @escaping @Sendable (Raw) -> Raw
  ) -> Attack {
    var attack = Attack(name, says: says) { stage in
      var set = ForgedSet()
      set.directory("box")
      set.file("box/file", "contents")
      set.end()
      try stage.store.write(set)
      try Command("sh", ["-ec", script(Raw(set.name))], in: stage.store.series).run().checked()
    }
    attack.status = Set(status)
    return attack
  }

  /// Members, lists and numbers that want memory or time; what stops them: `GzipMember`, `Decompressor`,
  /// `ContentReader`, `PlaceLine.take`, `MemberJob.weight`, `MemberPlaces`, `Fields`.
  static let bombs: [Attack] = [
    .set("a member that claims four gigabytes inflated", 4, says: "is damaged") { set, _ in
      var member = ForgedMember(Bytes("contents"))
      member.inflatedLength = .max
      set.relocate(to: member)
    },
    .set("a member that claims to be longer than the archive", 4, says: "reaches beyond") { set, _ in
      var member = ForgedMember(Bytes("contents"))
      member.length = 1 << 25
      set.relocate(to: member)
    },
    .set("a member shorter than its header", 4, says: "cannot be read") { set, _ in
      var member = ForgedMember(Bytes("contents"))
      member.length = 20
      set.relocate(to: member)
    },
    .set("a member that ends within its data", 4, says: "is damaged") { set, _ in
      var member = ForgedMember(Bytes("contents"))
      member.length = 40
      set.relocate(to: member)
    },
    .set("a member that overlaps the next", 4, says: "is damaged") { set, _ in
      var member = ForgedMember(Bytes("contents"))
      member.length = UInt64(member.bytes.count + 10)
      set.relocate(to: member)
      set.file("box/next")
    },
    .set("a member inside another", 0) { set, _ in
      // Its bytes are right: that it lies where it should not is for verify to find.
      let inner = ForgedMember(Bytes("contents"))
      let place = set.add(ForgedMember(ForgedTar.header("box/outer", size: inner.bytes.count) + inner.bytes))
      set.lines[1].extents = [set.extent(place.offset + 28 + 5 + 512, 0, 0, 8)]
    },
    .set("empty members without end", 4, says: "is empty") { set, _ in
      let place = set.add(ForgedMember([]))
      for _ in 0..<1000 { set.add(ForgedMember([])) }
      set.lines[1].extents = [set.extent(place.offset, place.number, 0, 8)]
    },
    Attack("a member in the middle of which the archive ends", 4, says: "is cut short") { stage in
      var set = ForgedSet()
      set.directory("box")
      set.file("box/file", "contents")
      set.volumes = ["\(set.name).tar.gz \(set.archive.count) \(set.sum)"]
      set.archive.removeLast(20)
      try stage.store.write(set)
    },
    Attack("a file in the middle of which the archive ends", 4, says: "ends within a file") { stage in
      var set = ForgedSet()
      set.directory("box")
      set.file("box/file", "contents") {
        $0.size = "2000"
        $0.extents = [Raw(Bytes($0.extents[0].bytes.dropLast()) + Bytes("2000"))]
      }
      set.tar = "5000 3"
      try stage.store.write(set)
    },
    Attack("a member of three gigabytes in a file with a hole", 4, says: "box/file: ") { stage in
      var set = ForgedSet()
      set.directory("box")
      set.file("box/file", "contents")
      var member = ForgedMember(Bytes("contents"))
      member.length = 3 << 30
      set.relocate(to: member)
      let size: Int64 = 4 << 30
      set.volumes = ["\(set.name).tar.gz \(size) \(String(repeating: "0", count: 64))"]
      try stage.store.write(set)
      try Descriptor.open(stage.store.series.joined(Bytes("\(set.name).tar.gz".utf8)), .readWrite).truncate(to: size)
    },
    .set("a member that inflates a thousandfold", 4, says: "are not what was saved") { set, _ in
      set.relocate(to: try Bomb.zeros(megabytes: 60))
    },
    .set("a member that inflates to more than any may", 4, says: "is damaged") { set, _ in
      set.relocate(to: try Bomb.zeros(megabytes: 80))
    },
    .set("forty members that inflate a thousandfold", 4, says: "box/file: ") { set, _ in
      let bomb = try Bomb.zeros(megabytes: 60)
      set.relocate(to: bomb)
      for _ in 0..<40 { set.add(bomb) }
    },
    .set("sixty files that are all in one member", 4, says: "more is said to lie in it", check: isBounded) { set, _ in
      // Each by itself is what it should be, and the archive is said to be large enough.
      set.tar = "\(huge) 3"
      let place = set.add(try Bomb.zeros(megabytes: 16))
      let digest = try Bomb.digest(megabytes: 16)
      for number in 0..<60 {
        var line = set.lines[1]
        line.path = Bytes("box/n\(10 + number)".utf8)
        (line.size, line.digest) = ("\(16 << 20)", digest)
        line.extents = [set.extent(place.offset, place.number, 0, 16 << 20)]
        set.lines.append(line)
      }
    },
    .set("sixty names of what is not there", 4, says: "more is said to lie in it", check: isBounded) { set, _ in
      let place = set.add(try Bomb.zeros(megabytes: 16))
      let digest = try Bomb.digest(megabytes: 16)
      for number in 0..<60 {
        var line = set.lines[1]
        line.path = Bytes("box/n\(10 + number)".utf8)
        (line.size, line.digest) = ("\(16 << 20)", digest)
        line.tags = "l:box/none\(number),"
        line.extents = [set.extent(place.offset, place.number, 0, 16 << 20)]
        set.lines.append(line)
      }
    },
    .set("a manifest that inflates a thousandfold", 4) { set, _ in
      var bomb = try Bomb.zeros(megabytes: 60)
      bomb.firstHeader = nil
      set.bodies = Array(repeating: bomb, count: 40)
    },
    .set("a manifest of comments without end", 4, says: "is one of too many") { set, _ in
      set.bodies = Array(repeating: try Bomb.lines("# note: x\n", megabytes: 60), count: 10)
    },
    .set("a head without end", 4) { set, _ in
      set.headMember = try Bomb.lines("# note: x\n", megabytes: 60, start: "#mtree\n# sheaf: 1\n")
    },
    .set("a member's number at the end of all numbers", 4, says: "cannot be read") { set, _ in
      set.archive[0] = 0
      let place = set.add(ForgedMember(ForgedTar.header("box/late", size: 4) + ForgedTar.padded(Bytes("late"))))
      set.add(ForgedMember(ForgedTar.header("box/later", size: 4) + ForgedTar.padded(Bytes("late"))))
      set.file("box/late", "late") { [set] in $0.extents = [set.extent(place.offset, huge, 512, 4)] }
      set.lines[1].extents = [set.extent(0, 0, 0, 8)]
    },
    .set("damaged members without end", 4, says: "box/file: ") { set, _ in
      let start = set.archive.count
      set.archive += Bytes(repeating: 0, count: 300_000)
      for number in 0..<20_000 {
        var line = set.lines[1]
        line.path = Bytes("box/n\(100_000 + number)".utf8)
        line.extents = [set.extent(start + number * 10, number, 0, 8)]
        set.lines.append(line)
      }
      set.lines[1].extents = [set.extent(start, 1, 0, 8)]
    },
    .set("damaged members that lead back", 4, says: "box/file: ") { set, _ in
      let start = set.add(try Bomb.zeros(megabytes: 16))
      for _ in 0..<4 { set.add(try Bomb.zeros(megabytes: 16)) }
      set.archive += Bytes(repeating: 0, count: 100)
      for number in 0..<3000 {
        var line = set.lines[1]
        line.path = Bytes("box/n\(100_000 + number)".utf8)
        line.extents = [set.extent(start.offset, start.number, 0, 8)]
        set.lines.append(line)
      }
      set.lines[1].extents = [set.extent(set.archive.count - 100, 1, 0, 8)]
    },
    Attack("fifty thousand folders that went away", 0) { stage in
      var first = ForgedSet()
      first.directory("box")
      first.file("box/file", "contents")
      for number in 0..<50_000 {
        var line = first.lines[0]
        line.path = Bytes("box/d\(100_000 + number)".utf8)
        first.lines.append(line)
      }
      first.end()
      var second = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: first)
      for line in first.lines.dropFirst(2) {
        second.notes.append((Raw(line.path), "# deleted ./\(line.path)"))
      }
      second.end()
      try stage.store.write(first)
      try stage.store.write(second)
    },
  ]
}

extension Attack {
  /// Not many times what the archive holds.
  fileprivate static let isBounded: @Sendable (Stage) throws -> Void = { stage in
    let tree = try Snapshot(of: stage.target)
    let size = tree.paths.reduce(0) { $0 + (tree[Raw($1)]?.size ?? 0) }
    #expect(size < 100 << 20)
  }
}

/// Gzip members of much in little.
enum Bomb {
  static func zeros(megabytes: Int) throws -> ForgedMember { try lines("\0", megabytes: megabytes) }

  /// Of so many zeros.
  static func digest(megabytes: Int) throws -> Raw {
    Raw(
      Bytes(try Command("sh", ["-c", "head -c \(megabytes)M /dev/zero | sha256sum"]).run().checked().stdout.prefix(64)))
  }

  /// `line` again and again, after `start`.
  static func lines(_ line: Raw, megabytes: Int, start: Raw = "") throws -> ForgedMember {
    var member = ForgedMember([])
    let script = """
      import sys, zlib
      line, start = (bytes.fromhex(a) for a in sys.argv[1:3])
      data = start + line * ((int(sys.argv[3]) << 20) // len(line))
      packer = zlib.compressobj(9, zlib.DEFLATED, -15)
      sys.stdout.buffer.write(zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little"))
      sys.stdout.buffer.write(packer.compress(data) + packer.flush())
      """
    let hex = [line, start].map { (raw: Raw) -> Raw in
      Raw(raw.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())
    }
    let output = try Reader.python(script, hex + ["\(megabytes)"]).checked().stdout
    func number(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(output[at + $1]) << UInt32(8 * $1) } }
    member.deflated = Bytes(output[8...])
    member.checksum = number(0)
    member.inflatedLength = number(4)
    member.firstHeader = nil
    return member
  }
}

extension ForgedSet {
  /// A digest for where any will do.
  var sum: String { Checksums.sha256([]) }

  /// Has `box/file` lie at the beginning of this member.
  mutating func relocate(to member: ForgedMember) {
    let place = add(member)
    lines[1].extents = [extent(place.offset, place.number, 0, 8)]
  }
}
