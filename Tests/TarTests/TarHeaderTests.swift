/// What the tar writer writes, the tar reader reads, and so do GNU tar and Python: headers of every kind.
import Foundation
import Posix
import Tar
import TestSupport
import Testing

struct TarHeaderTests {
  private static func header(_ path: String, _ change: (inout TarHeader) -> Void = { _ in }) -> TarHeader {
    var header = TarHeader()
    header.path = Bytes(path.utf8)
    header.mode = 0o644
    header.modified = Timestamp(seconds: 1_700_000_000)
    change(&header)
    return header
  }

  static let headers: [TarHeader] = [
    header("a"),
    header(String(repeating: "n", count: 100)),
    header(String(repeating: "n", count: 101)),
    header(String(repeating: "d", count: 150) + "/" + String(repeating: "n", count: 100)),
    header(String(repeating: "d", count: 156) + "/" + String(repeating: "n", count: 100)),
    header(String(repeating: "d/", count: 2100) + "n"),
    header("link") {
      $0.type = .symlink
      $0.linkTarget = Bytes(String(repeating: "t", count: 300).utf8)
    },
    header("owner") {
      $0.uid = 4_000_000_000
      $0.gid = 2_097_152
    },
    header("early") { $0.modified = Timestamp(seconds: -5, nanoseconds: 500_000_000) },
    header("late") { $0.modified = Timestamp(seconds: 1 << 34, nanoseconds: 1) },
    header("device") {
      $0.type = .blockDevice
      $0.major = 8
      $0.minor = 300
    },
    header("attributes") {
      $0.attributes = [
        Attribute(name: Bytes("user.a=b%".utf8), value: [0, 1, 10, 61, 255]),
        Attribute(name: Bytes("user.empty".utf8), value: []),
      ]
    },
    header("dir/") {
      $0.type = .directory
      $0.dumpdir = Bytes("Ya\0Db\0\0".utf8)
      $0.comment = Bytes("a comment".utf8)
    },
  ]

  @Test(arguments: headers.indices)
  func everyHeaderIsReadAsItWasWritten(_ index: Int) throws {
    let header = Self.headers[index]
    let buffer = Buffer()
    header.append(to: buffer)
    #expect(buffer.count % 512 == 0)
    var reader = TarReader(buffer.bytes)
    let read = try #require(try reader.next()).header
    #expect(read.path == header.path)
    #expect(read.type == header.type)
    #expect(read.mode == header.mode && read.uid == header.uid && read.gid == header.gid)
    #expect(read.modified == header.modified)
    #expect(read.linkTarget == header.linkTarget)
    #expect(read.major == header.major && read.minor == header.minor)
    #expect(read.attributes == header.attributes)
    #expect(read.dumpdir == header.dumpdir && read.comment == header.comment)
    #expect(try reader.next() == nil)
  }

  @Test func aWrongChecksumIsAnError() throws {
    let buffer = Buffer()
    Self.headers[0].append(to: buffer)
    buffer.start.storeBytes(of: UInt8(ascii: "b"), as: UInt8.self)
    var reader = TarReader(buffer.bytes)
    #expect(throws: TarReader.Failure.self) { _ = try reader.next() }
  }

  /// CVE-2025-62518: a pax size that is not the header's lets two readers see two archives.
  @Test func aPaxSizeThatIsNotTheHeadersIsAnError() throws {
    let buffer = Buffer()
    Self.header("a") { $0.comment = Bytes("size".utf8) }.append(to: buffer)
    // The record `16 comment=size\n` becomes one of a size.
    let bytes = Bytes(buffer).replacing(Bytes("16 comment=size\n".utf8), with: Bytes("16 size=0000999\n".utf8))
    let changed = Buffer()
    changed.append(bytes)
    var reader = TarReader(changed.bytes)
    #expect(throws: TarReader.Failure.self) { _ = try reader.next() }
  }

  @Test(arguments: 0...12)
  func everyLevelInflatesToWhatWentIn(_ level: Int) throws {
    for (count, texture) in [
      (0, Texture.zeros), (1, .compressible), (70_000, .incompressible), (1_500_000, .compressible),
    ] {
      let input = Contents.bytes(count: count, seed: 7, texture)
      let member = Buffer()
      input.withUnsafeBytes { Compressor(level: level).append($0, firstHeader: 0, to: member) }
      let inflated = Buffer()
      try Decompressor().inflate(member.bytes, into: inflated)
      #expect(Bytes(inflated) == input)
      let scratch = try Scratch()
      try scratch.write("m.gz", Raw(Bytes(member)))
      let gzip = try Command("gzip", ["-dc", Raw(scratch.path("m.gz"))]).run()
      #expect(gzip.stdout == input && gzip.stderr.isEmpty)
    }
  }
}
