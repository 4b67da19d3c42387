/// The table of attacks, second part: numbers and words that lie.
import Glibc
import Posix
import TestSupport
import Testing

extension Attack {
  static let huge = "9223372036854775807"

  /// What lines, heads and feet say; what stops it: `Line.parse` and `Line.entry`, `SetHead`, `SetFoot` and `Fields`,
  /// `ManifestReader`, `Series.check` and `Series.chain`, `Placer.attend`. Most rows say the same in the end, so a row
  /// has numbers that would do without its own guard.
  static let lies: [Attack] =
    [
      tagged("tags of garbage", "garbage"), tagged("an attribute without a value", "x:user.a,"),
      tagged("an attribute without a name", "x::AAAA,"), tagged("an attribute that is no base 64", "x:user.a:????,"),
      tagged("a hard link without a name", "l:,"), tagged("a hole without numbers", "h:,"),
      tagged("a hole beyond the end", "h:4:5,"), tagged("a hole before the beginning", "h:-4:5,"),
      tagged("a hole as large as can be", "h:0:\(huge),"), tagged("holes that overlap", "h:0:4,h:2:4,"),
      tagged("a hole whose end overflows", "h:\(huge):\(huge),"), tagged("a hole in three numbers", "h:1:2:3,"),
      tagged("an owner with half an escape", #"u:\12,"#), tagged("tags without an end", "u:root"),
    ]
    + [
      "0:0", "0:0:0:0:0:0", "-1:0:0:8", "\(huge):0:0:-8", "0:0:0:99999999999999999999999", "0:0:0:7", "0:0:0:9",
      ":::", "a:b:c:d", "0:0:0:\(huge)",
    ].map { (words: String) in
      Attack.set("extents of \(words)", 4, says: "cannot be read") { set, _ in
        set.lines[1].extents = ["0000000000000001:\(words)"]
      }
    }
    + [
      ("at the end of all numbers", "\(huge):0:0:8"), ("behind the archive", "1000000:0:0:8"),
      ("far inside a member", "0:0:\(huge):8"), ("behind a member's end", "0:0:100000:8"),
      ("in the middle of a member", "7:0:0:8"), ("in the wrong member", "0:0:0:8"),
    ].map { (name: String, words: String) in
      // A number that no archive reaches is no line of a manifest.
      Attack.set("data \(name)", 4, says: words.contains("\(huge)") ? "cannot be read" : "box/file: ") { set, _ in
        set.lines[1].extents = ["0000000000000001:\(words)"]
      }
    }
    + [
      .set("extents that add up to the right size beyond all numbers", 4, says: "cannot be read") { set, _ in
        set.lines[1].extents = [huge, huge, "10"].map { set.extent(0, 0, 0, $0) }
      },
      .set("an extent with one number more", 4, says: "cannot be read") { set, _ in
        set.lines[1].extents = [Raw(set.lines[1].extents[0].bytes + Bytes(":1"))]
      },
      .set("an extent whose set ends oddly", 4, says: "cannot be read") { set, _ in
        set.lines[1].extents = [
          Raw(set.lines[1].extents[0].bytes[..<16] + Bytes("/") + set.lines[1].extents[0].bytes[17...])
        ]
      },
      .set("a size that is the right one beyond all numbers", 4, says: "cannot be read") { set, _ in
        set.lines[1].size = "184467440737095516168"
      },
      .set("data of a set that is not there", 4, says: "is not in the store") { set, _ in
        set.lines[1].extents = ["00000000000000ff:0:0:0:8"]
      },
      .set("data in two sets, neither there, many times", 4, says: "is not in the store") { set, _ in
        for number in 0..<200 {
          set.file("box/n\(number)", "contents") {
            let own = $0.extents[0]
            $0.extents = [Raw(Bytes(own.bytes.dropLast()) + Bytes("4")), "00000000000000ff:0:0:0:4"]
          }
        }
      },
      .set("a run that began before all time", 0) { set, _ in
        set.head[7] = "started: -9223372036854775808.000000000"
      },
      .set("a run that began after all time", 0) { set, _ in set.head[7] = "started: \(huge).999999999" },
      .set("a tar stream of all numbers", 0) { set, _ in set.tar = "\(huge) \(huge)" },
      .set("counts of all numbers", 0) { set, _ in
        set.counts = Raw(Array(repeating: huge, count: 7).joined(separator: " "))
      },
      Attack("sets whose sizes overflow when added", 4) { stage in
        for day in 1...3 {
          var set = ForgedSet("2026-01-0\(day)T000000Z-full", id: UInt64(day))
          set.directory("box")
          set.volumes = ["\(set.name).tar.gz 6000000000000000000 \(String(repeating: "0", count: 64))"]
          set.end()
          try stage.store.write(set)
        }
      },
      Attack("a set of the greatest number", 0) { stage in
        var set = ForgedSet()
        set.directory("box")
        set.end()
        try stage.store.write(set)
        for number in [huge, "1000000000", "999999999"] {
          set.name = "2026-01-01T000000Z-full-\(number)"
          try stage.store.write(set)
        }
      },
      .set("a length beyond all numbers of a file that is copied as it is", 4) { set, _ in
        set.lines[1].extents = [set.extent(0, 0, 0, huge)]
        set.lines[1].size = Raw(huge)
      },
      .set("a size beyond all disks", 4, says: "cannot be read") { set, _ in set.lines[1].size = Raw(huge) },
      .set("a hole that no one could hash in a year", 4, says: "cannot be read") { set, _ in
        let size = 1 << 50 + 1
        set.lines[1].size = "\(size)"
        set.lines[1].tags = "h:0:\(size - 8),"
        set.lines[1].local = "c:1.000000000,i:1,k"
      },
      .set("a negative size", 4, says: "cannot be read") { set, _ in set.lines[1].size = "-8" },
      .set("a size in too many digits", 4, says: "cannot be read") { set, _ in
        set.lines[1].size = "99999999999999999999"
      },
      .set("more holes than anyone could hash in a day", 4, says: "cannot be read") { set, _ in
        let size = 1 << 44 + 9
        set.lines[1].size = "\(size)"
        set.lines[1].tags = "h:8:\(size - 8),"
        set.lines[1].local = "c:1.000000000,i:1,k"
      },
      .set("holes that take hours to hash", 0, says: "were not compared") { set, _ in
        let size = 1 << 41 + 8
        for number in 10..<40 {
          set.file("box/n\(number)", "contents") {
            $0.size = "\(size)"
            $0.tags = "h:8:\(size - 8),"
            $0.local = "c:1.000000000,i:1,k"
          }
        }
      },
      .set("sizes that overflow when added", 4, says: "cannot be read") { set, _ in
        let most: Raw = "1125899906842624"
        for number in 0..<8200 {
          var line = set.lines[1]
          line.path = Bytes("box/n\(10_000 + number)".utf8)
          line.size = most
          line.tags = "h:0:\(most),"
          line.local = "c:1.000000000,i:1,k"
          line.extents = ["0000000000000001:99999999:0:0:0"]
          set.lines.append(line)
        }
      },
      .set("a mode of more than twelve bits", 4, says: "cannot be read") { set, _ in set.lines[1].mode = "010000" },
      .set("an owner of 33 bits", 4, says: "cannot be read") { set, _ in set.lines[1].uid = "4294967296" },
      .set("times at both ends", 0, 3) { set, _ in
        set.lines[0].time = "-\(huge).999999999"
        set.lines[1].time = "\(huge).999999999"
      },
      .set("a digest that is none", 4, says: "cannot be read") { set, _ in
        set.lines[1].digest = Raw(String(repeating: "x", count: 64))
      },
      .set("other contents than the digest's", 4, says: "are not what was saved") { set, _ in
        set.lines[1].digest = Raw(Checksums.sha256(Bytes("something else")))
      },
      .set("an empty file with the digest of another", 4, says: "are not what was saved") { set, _ in
        set.file("box/empty", "") { $0.digest = Raw(Checksums.sha256(Bytes("something else"))) }
      },
      .set("an attribute of another's name space", 0, 3) { set, _ in
        set.lines[1].tags = "x:security.sheaf:AAAA,x:system.posix_acl_access:AAAA,x:trusted.x:AAAA,"
      },
      .set("an attribute that sends escapes", 3) { set, _ in
        let name = #"user.\033]0;title\007"# + String(repeating: "n", count: 300)
        set.lines[1].tags = "x:\(name):AAAA,"
      },
      .set("devices as someone without rights", 3, says: "cannot make device", user: .nobody) { set, _ in
        set.device("box/mem", 1, 1)
      },
      .set("setuid as someone without rights", 0, user: .nobody, check: isPlain) { set, _ in
        for line in 0...1 { set.lines[line].mode = "07777" }
        for line in 0...1 { set.lines[line].uid = "0" }
      },
      .set("setgid of another's group", 0, user: .nobody, check: isPlain) { set, _ in
        set.lines[1].mode = "02755"
        set.lines[1].uid = "65534"
        set.lines[1].gid = "0"
      },
      headed("a feature nobody knows", "requires: teleport", 1, says: "requires the feature 'teleport'"),
      headed("a feature that sends escapes", "requires: \u{1b}]0;title\u{7}", 4, says: "cannot be read"),
      headed("another series", "series: other", 4, says: "belongs to the series 'other'"),
      headed("a series that sends escapes", #"series: \033]0;title\007"#, 4, says: #"'\033]0;title\007'"#),
      headed("another time", "time: 2026-01-09T000000Z", 4, says: "the manifest of another set"),
      headed("a time that is none", "time: 2026-99-99T999999Z", 4, says: "cannot be read"),
      headed("another kind", "kind: incremental", 4, says: "disagree"),
      headed("no kind", "kind: odd", 4, says: "cannot be read"),
      headed("an identity that is none", "id: ../../outside", 4, says: "cannot be read"),
      headed("sources above the root", "source: ./../../outside", 0),
      headed("the root as its source", "source: ./", 0), headed("sources without sense", "source: .//a//../b/", 0),
      headed("a source that is not a path", "source: /etc", 4, says: "cannot be read"),
      headed("an exclusion with half an escape", #"left-out: \1"#, 4, says: "cannot be read"),
      Attack("a set that is its own parent", 4, says: "not in the store") { stage in
        var set = ForgedSet()
        set = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: set)
        set.head = set.head.map { $0.description.contains("parent") ? "parent: 2026-01-02T000000Z \(set.sum)" : $0 }
        try stage.store.write(set)
      },
      Attack("two sets that build on each other", 4, says: "not in the store") { stage in
        for (own, other) in [("1", "2"), ("2", "1")] {
          var set = ForgedSet("2026-01-0\(own)T000000Z-incr", id: 2, on: ForgedSet())
          set.head = set.head.map {
            $0.description.contains("parent") ? "parent: 2026-01-0\(other)T000000Z \(set.sum)" : $0
          }
          try stage.store.write(set)
        }
      },
      Attack("another state of the parent than the one it was made on", 4, says: "another state") { stage in
        var first = ForgedSet()
        first.directory("box")
        first.file("box/file", "contents")
        first.end()
        var second = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: first)
        second.end()
        try stage.store.write(second)
        first.lines[1].mode = "0600"
        try stage.store.write(first)
      },
      footed("another first line", 4, says: "not a manifest") { $0.firstLine = "#mtrees" },
      footed("a format nobody knows", 4, says: "not a manifest of format 1") { $0.format = "2" },
      footed("another digest of the manifest", 4, says: "its digest does not match") { set in
        set.toldEnd = Raw(Checksums.sha256([]))
      },
      footed("something after the end", 4, says: "goes on after its end") { $0.afterEnd = Bytes("# note: x\n") },
      footed("counts beyond all numbers", 4) { $0.counts = "99999999999999999999 0 0 0 0 0 0" },
      footed("negative counts", 4) { $0.counts = "-1 0 0 0 0 0 0" },
      footed("the largest counts", 0) { $0.counts = Raw(Array(repeating: huge, count: 7).joined(separator: " ")) },
      footed("too few counts", 4) { $0.counts = "1 2" },
      footed("the largest archive", 0) { $0.tar = "\(huge) \(huge)" },
    ]

  private static func tagged(_ name: String, _ tags: Raw) -> Attack {
    .set(name, 4, says: "cannot be read") { set, _ in set.lines[1].tags = tags }
  }

  private static func headed(_ name: String, _ line: Raw, _ status: Int32, says: String = "") -> Attack {
    var attack = Attack.set(name, says: says) { set, _ in
      let key = Bytes(line.bytes.prefix { $0 != UInt8(ascii: ":") })
      set.head = set.head.filter { !$0.bytes.starts(with: key) } + [line]
    }
    attack.status = [status]
    return attack
  }

  private static func footed(
    _ name: String, _ status: Int32, says: String = "", _ change: @escaping @Sendable (inout ForgedSet) -> Void
  ) -> Attack {
    var attack = Attack.set(name, says: says) { set, _ in change(&set) }
    attack.status = [status]
    return attack
  }

  private static let isPlain: @Sendable (Stage) throws -> Void = { stage in
    let tree = try Snapshot(of: stage.target)
    #expect(tree["box/file"].map { $0.mode & 0o6000 } == 0)
  }
}
