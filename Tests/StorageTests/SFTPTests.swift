/// What an SFTP server and the way to it may do: end in the middle, talk before the protocol, have no room.
import Posix
import Storage
import TestSupport
import Testing

@Suite struct SFTPTests {
  static let server = "/usr/lib/openssh/sftp-server"

  /// A shell command that passes on so many bytes of what it reads, each as it comes, and ends.
  private static func pass(_ count: Int) -> String {
    "python3 -c 'import os; n = \(count)\nwhile n: b = os.read(0, min(n, 65536)); os.write(1, b); n -= len(b) or n'"
  }

  /// A server whose first connection ends after so many bytes in one direction; the second cannot be made.
  private func cut(_ scratch: Scratch, to: Int? = nil, from: Int? = nil) throws -> any StoreFolder {
    let way = [
      to.map { Self.pass($0) + " |" } ?? "", Self.server, from.map { "| { \(Self.pass($0)); kill -9 $$; }" } ?? "",
    ]
    let script = """
      n=$(cat '\(scratch.path("count").shown)' 2>/dev/null || echo 0)
      echo $((n + 1)) >'\(scratch.path("count").shown)'
      if [ "$n" = 1 ]; then exit 255; fi
      if [ "$n" = 0 ]; then \(way.joined(separator: " ")); else exec \(Self.server); fi
      """
    try Descriptor.open(scratch.path, [.read, .directory]).makeDirectory(Bytes("store"))
    return try SFTPFolder(
      [Bytes("sh"), Bytes("-c"), Bytes(script.utf8)], place: scratch.path("store"), path: Bytes("server"),
      LinkManners(patience: 10))
  }

  private func random(_ count: Int) -> Bytes {
    var random = Random(seed: 7)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  @Test(arguments: [600, 5_000, 40_000, 400_000, 2_500_000]) func writingOutlivesALostConnection(_ limit: Int) throws {
    try Scratch.with { scratch in
      let folder = try cut(scratch, to: limit)
      let contents = random(3_000_000)
      let output = try folder.begin(Bytes("file"))
      for start in stride(from: 0, to: contents.count, by: 100_000) {
        try output.append(Bytes(contents[start..<min(contents.count, start + 100_000)]))
        if start == 1_000_000 { try output.sync() }
      }
      try output.finish()
      try folder.rename(Bytes("file"), to: Bytes("final"))
      try folder.sync()
      #expect(try scratch.read("store/final") == contents)
      let items = try folder.list()
      #expect(items.map(\.name) == [Bytes("final")])
    }
  }

  @Test(arguments: [600, 40_000, 1_000_000]) func readingOutlivesALostConnection(_ limit: Int) throws {
    try Scratch.with { scratch in
      let folder = try cut(scratch, from: limit)
      let contents = random(3_000_000)
      try scratch.write("store/file", Raw(contents))
      #expect(try folder.contents(Bytes("file"), atMost: 4_000_000) == contents)
      for _ in 0..<3 { #expect(try folder.list().map(\.name) == [Bytes("file")]) }
    }
  }

  @Test func whatIsLostForLongIsGone() throws {
    try Scratch.with { scratch in
      let script =
        "if [ -e '\(scratch.path("once").shown)' ]; then echo no way through >&2; exit 255; fi; : >'\(scratch.path("once").shown)'; \(Self.pass(3000)) | \(Self.server)"
      try Descriptor.open(scratch.path, [.read, .directory]).makeDirectory(Bytes("store"))
      let folder = try SFTPFolder(
        [Bytes("sh"), Bytes("-c"), Bytes(script.utf8)], place: scratch.path("store"), path: Bytes("server"),
        LinkManners(patience: 1)
      )
      let output = try folder.begin(Bytes("file"))
      let error = #expect(throws: StoreError.self) {
        for _ in 0..<100 { try output.append(Bytes(repeating: 1, count: 10_000)) }
        try output.finish()
      }
      #expect(error?.kind == .unreachable)
      #expect(error?.cause == "no way through")
      #expect(folder.failure?.kind == .unreachable)
      #expect(throws: StoreError.self) { try folder.mark(Bytes("other")) }
    }
  }

  @Test(arguments: [
    ("echo Welcome to this machine; exec \(server)", "a login script prints something"),
    ("echo 'nas: Host key verification failed.' >&2; exit 255", "Host key verification failed."),
    ("exit 1", "it ended without an answer"), ("printf '\\0\\0\\0\\5\\145aaaa'; cat", "does not speak SFTP"),
    ("printf '\\377\\377\\377\\377'; cat", "cannot be read"), ("printf '\\033[31mred\\n' >&2; exit 1", "[31mred"),
  ]) func whatIsNoServerIsSaid(_ script: String, _ words: String) throws {
    let error = #expect(throws: StoreError.self) {
      _ = try SFTPFolder(
        [Bytes("sh"), Bytes("-c"), Bytes(script.utf8)], place: Bytes("/tmp"), path: Bytes("server"),
        LinkManners(patience: 0))
    }
    #expect(error?.cause.contains(words) == true, "\(error?.cause ?? "")")
    #expect(error?.cause.contains("\u{1b}") == false)
  }

  @Test func aProgramThatIsNotThereIsSaid() {
    let error = #expect(throws: StoreError.self) {
      _ = try SFTPFolder(
        [Bytes("/no/such/program")], place: Bytes("/tmp"), path: Bytes("server"), LinkManners(patience: 0))
    }
    #expect(error?.cause.contains("/no/such/program") == true)
  }
}
