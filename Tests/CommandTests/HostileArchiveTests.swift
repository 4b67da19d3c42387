/// Lone archives that someone else made to be read by `ls`, `cat` and `verify`: a table, as for stores.
import Posix
import TestSupport
import Testing

struct HostileArchive: Sendable, CustomTestStringConvertible {
  let name: String
  /// How `verify` may end.
  let status: Set<Int32>
  let bytes: @Sendable () throws -> Bytes

  init(_ name: String, _ status: Int32..., bytes: @escaping @Sendable () throws -> Bytes) {
    self.name = name
    self.status = Set(status)
    self.bytes = bytes
  }

  var testDescription: String { name }

  /// A size as base 256 has it.
  private static func large(_ first: UInt8, _ rest: UInt8) -> Bytes { [first] + Bytes(repeating: rest, count: 11) }

  private static func sized(_ name: String, _ status: Int32..., size: Bytes) -> HostileArchive {
    HostileArchive(
      name,
      bytes: {
        ForgedTar.header("a", size: 4, fields: [(124, size)]) + ForgedTar.padded(Bytes("data")) + ForgedTar.end
      }, status: status)
  }

  private init(_ name: String, bytes: @escaping @Sendable () throws -> Bytes, status: [Int32]) {
    self.name = name
    self.status = Set(status)
    self.bytes = bytes
  }

  private static let file = ForgedTar.header("a", size: 4) + ForgedTar.padded(Bytes("data"))

  static let all: [HostileArchive] = [
    .init("nothing wrong", 0) { file + ForgedTar.end },
    .init("nothing at all", 0, 4) { [] },
    .init("no archive", 4) { Bytes(repeating: UInt8(ascii: "x"), count: 100_000) },
    sized("a size beyond the end", 4, size: Bytes("77777777777\0")),
    sized("a size in twelve sevens", 4, size: Bytes("777777777777")),
    sized("a size that is no number", 0, 4, size: Bytes("9999xyz9999\0")),
    sized("a negative size", 4, size: large(0xff, 0xff)),
    sized("a negative octal size", 4, size: Bytes("-0000000004\0")),
    sized("the largest size", 4, size: large(0x80, 0xff)), sized("a size of 2^63 - 1", 4, size: most),
    .init("a wrong checksum", 4) {
      var archive = file + file
      archive[512 + 512 + 1] ^= 1
      return archive + ForgedTar.end
    },
    .init("a pax header of a gigabyte", 4) { ForgedTar.header("x", type: "x", size: 1 << 30) + file + ForgedTar.end },
    .init("a name of a gigabyte", 4) { ForgedTar.header("x", type: "L", size: 1 << 30) + file + ForgedTar.end },
    .init("a link of a gigabyte", 4) { ForgedTar.header("x", type: "K", size: 1 << 30) + file + ForgedTar.end },
    .init("a pax header of half of all numbers", 4) {
      ForgedTar.header("x", type: "x", size: 0, fields: [(124, most)]) + file + ForgedTar.end
    },
    .init("a pax record longer than its header", 0, 4) {
      let records = Bytes("999999999999999999999 path=b\n")
      return ForgedTar.header("x", type: "x", size: records.count) + ForgedTar.padded(records) + file + ForgedTar.end
    },
    .init("a pax size that is not the header's", 0, 4) {
      ForgedTar.pax("x", [("size", Bytes("1000000000000"))]) + file + ForgedTar.end
    },
    .init("a negative pax size", 0, 4) { ForgedTar.pax("x", [("size", Bytes("-4"))]) + file + ForgedTar.end },
    .init("a thousand headers before an entry", 0, 4) {
      let one = ForgedTar.pax("x", [("comment", Bytes("c"))])
      return (0..<1000).flatMap { _ in one } + file + ForgedTar.end
    },
    .init("a name of 64 KiB", 0, 4) {
      let name = Bytes(repeating: UInt8(ascii: "n"), count: 65536)
      return ForgedTar.header("x", type: "L", size: name.count) + ForgedTar.padded(name) + file + ForgedTar.end
    },
    .init("a NUL in a pax name", 0, 4) { ForgedTar.pax("x", [("path", Bytes("a\0b"))]) + file + ForgedTar.end },
    .init("an escape sequence in a name", 0) {
      ForgedTar.header("\u{1b}]0;title\u{7}", size: 4) + ForgedTar.padded(Bytes("data")) + ForgedTar.end
    },
    .init("names above and absolute", 0) {
      ForgedTar.header("../../a", size: 0) + ForgedTar.header("/a", size: 0) + ForgedTar.end
    },
    .init("an entry twice", 0) { file + file + ForgedTar.end },
    .init("a hard link to itself", 0) { ForgedTar.header("a", type: "1", target: "a") + ForgedTar.end },
    .init("hard links in a circle", 0) {
      ForgedTar.header("a", type: "1", target: "./b") + ForgedTar.header("b", type: "1", target: "a") + ForgedTar.end
    },
    .init("a hole as large as can be", 0, 4) {
      ForgedTar.header("a", type: "S", fields: [(257, Bytes("ustar  \0")), (386, most), (483, most)]) + ForgedTar.end
    },
    .init("sizes that overflow when added", 0, 4) {
      let one = ForgedTar.header("a", type: "S", fields: [(257, Bytes("ustar  \0")), (386, most), (483, most)])
      return one + one + one + file
    },
    .init("a sparse map that goes backwards", 0, 4) {
      let map = Bytes("00000010000\000000000004\000000000000\000000000004\0")
      return ForgedTar.header("a", type: "S", size: 8, fields: [(257, Bytes("ustar  \0")), (386, map)])
        + ForgedTar.padded(Bytes("datadata")) + ForgedTar.end
    },
    .init("cut in the middle of a header", 4) { file + file[..<300] },
    .init("cut in the middle of data", 4) { ForgedTar.header("a", size: 4000) + Bytes(repeating: 1, count: 1000) },
    .init("gzip without an end", 4) { Bytes(ForgedMember(file + ForgedTar.end).bytes.dropLast(9)) },
    .init("gzip cut within its last bytes", 4) { Bytes(ForgedMember(file + ForgedTar.end).bytes.dropLast(4)) },
    .init("gzip with a wrong checksum", 4) {
      var member = ForgedMember(file + ForgedTar.end)
      member.checksum = 1
      return member.bytes
    },
    .init("gzip with garbage behind it", 0, 4) { ForgedMember(file + ForgedTar.end).bytes + Bytes("garbage") },
    .init("members that lie about their length", 0, 4) {
      var member = ForgedMember(file)
      member.length = 40
      return member.bytes + ForgedMember(file + ForgedTar.end).bytes
    },
    .init("gzip that inflates a thousandfold, many times", 0, 4) {
      let bomb = try Bomb.zeros(megabytes: 60).bytes
      return ForgedMember(file).bytes + (0..<10).flatMap { _ in bomb }
    },
    .init("a file that inflates a thousandfold", 4) {
      ForgedMember(ForgedTar.header("a", size: 0, fields: [(124, Bytes("77777777777\0"))])).bytes
        + (try Bomb.zeros(megabytes: 60).bytes)
    },
  ]

  private static let most: Bytes = [0x80, 0, 0, 0, 0x7f] + Bytes(repeating: 0xff, count: 7)
}

@Suite struct HostileArchiveTests {
  @Test(arguments: HostileArchive.all) func isReadInBounds(archive: HostileArchive) throws {
    try Scratch.with { scratch in
      let bytes = try archive.bytes()
      let path = scratch.path(bytes.starts(with: [0x1f, 0x8b]) ? "x.tar.gz" : "x.tar")
      try ForgedStore.write(path, bytes)
      let before = try Snapshot(of: scratch.path)
      for arguments in [["verify", Raw(path)], ["ls", "-lR", Raw(path)], ["cat", "--archive", Raw(path), "b"]]
        as [[Raw]]
      {
        try run(arguments, arguments[0] == "verify" ? archive.status : [0, 1, 4])
      }
      // Into a file that may not grow: what is endless ends there.
      let command = try Command.sheaf(["cat", "--archive", Raw(path), "a"])
      let limited = Command(
        "sh", ["-c", "ulimit -f 2048; \"$@\" > out 2> err; echo $?", "sh"], in: scratch.path, timeout: 20)
      var whole = limited
      whole.arguments += [command.program] + command.arguments
      let output = try whole.run()
      #expect(output.succeeded && !output.timedOut, "\(output)")
      // 153: the file grew too large.
      #expect(["0", "1", "4", "153"].contains(output.lines.first ?? ""), "\(output)")
      for name in ["out", "err"] as [Raw] { Scratch.remove(scratch.path(name)) }
      let lines = before.differences(to: try Snapshot(of: scratch.path), .ignoring(untimed: [""]))
      #expect(lines.isEmpty, "\(lines)")
    }
  }

  private func run(_ arguments: [Raw], _ statuses: Set<Int32>) throws {
    let output = try Command.sheaf(arguments, environment: ["SWIFT_BACKTRACE": "enable=no"], timeout: 20)
      .wrapped(["prlimit", "--as=\(768 << 20)"]).run()
    #expect(output.signal == 0 && !output.timedOut && statuses.contains(output.status), "\(output)")
    #expect(output.stderr.allSatisfy { $0 >= 0x20 || $0 == 10 }, "\(output)")
    #expect(output.status == 0 || output.errorText.hasPrefix("sheaf: error: "), "\(output)")
  }
}
