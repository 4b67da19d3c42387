/// Runs of an encrypted store that are killed, interrupted and gone on with: no chunk is ever sealed twice with other
/// contents, as that would give the key stream away.
import Age
import Foundation
import Glibc
import Posix
import Storage
import TestSupport
import Testing

@Suite struct SealedOnceTests {
  /// `SHEAF_ROUNDS`: how many, where it is to go on for longer.
  private static var rounds: Int { Host.environment("SHEAF_ROUNDS").flatMap { Int($0.shown) } ?? 12 }

  private struct Place: Hashable {
    /// What begins the file, which is another one for each file key.
    var head: Bytes
    var chunk: Int
    var isLast: Bool
  }

  private static let outer = 65536 + 16

  /// What was sealed, as far as it was seen in the store.
  private struct Sealed {
    var chunks: [Place: Bytes] = [:]
    var files = 0

    /// Looks at all files of a folder; gives what was sealed differently before.
    mutating func take(_ folder: Bytes, _ identities: [any Identity]) throws -> [String] {
      var twice: [String] = []
      let directory = try Descriptor.open(folder, [.read, .directory])
      for name in try directory.sortedNames() where name.shown.contains(".age") {
        guard let bytes = try? directory.open(name, .read).readAll() else { continue }
        guard let header = try? Header(bytes) else { continue }
        files += 1
        let start = header.length + 16
        guard bytes.count > start else { continue }
        let head = Bytes(bytes[..<start])
        var at = start
        var number = 0
        while at < bytes.count {
          let end = min(at + SealedOnceTests.outer, bytes.count)
          if let isLast = try flag(Bytes(bytes[..<end]), header, identities) {
            let place = Place(head: head, chunk: number, isLast: isLast)
            let chunk = Bytes(bytes[at..<end])
            if let before = chunks[place], before != chunk { twice.append("\(name.shown), chunk \(number)") }
            chunks[place] = chunk
          }
          at = end
          number += 1
        }
      }
      return twice
    }

    /// Whether the last chunk of these bytes was sealed as the last one; nil: it is torn.
    private func flag(_ bytes: Bytes, _ header: Header, _ identities: [any Identity]) throws -> Bool? {
      let file = HeldSource(bytes)
      let reader = try AgeReader(file, size: Int64(bytes.count), path: Bytes("chunk"), header, identities)
      do throws(StoreError) {
        try reader.checkEnd()
        return true
      } catch { return error.cause == PayloadDamage.cutShort.words ? false : nil }
    }
  }

  private struct HeldSource: ByteSource {
    let bytes: Bytes
    init(_ bytes: Bytes) { self.bytes = bytes }
    func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
      let count = max(0, min(count, bytes.count - Int(offset)))
      bytes.withUnsafeBytes { if count > 0 { memcpy(buffer, $0.baseAddress! + Int(offset), count) } }
      return count
    }
  }

  @Test(arguments: [false, true]) func noChunk(writeOnly: Bool) throws {
    let scratch = try Scratch()
    let (store, source) = (Raw(scratch.path("store")), scratch.path("source"))
    var history = History(label: "sealed once \(writeOnly)", size: 60)
    var random = Random(seed: history.seed ^ 7)
    try history.make(at: source)
    var environment: [String: Raw?] = ["XDG_STATE_HOME": Raw(scratch.path("state"))]
    func sheaf(_ arguments: [Raw]) throws -> Command { try .sheaf(arguments, environment: environment) }
    try sheaf(["init", "-q", "-s", store, "--encrypt"]).run().checked()
    let key = try Descriptor.open(try Command.key(of: store.bytes), .read)
    let identities = try KeyFile.identities(try Secret.all(of: key, atMost: 1 << 16))
    if writeOnly {
      let file = scratch.path("host.key")
      try sheaf(["key", "export", "-s", store, "--write-only", Raw(file)]).run().checked()
      environment["XDG_CONFIG_HOME"] = Raw(scratch.path("none"))
      environment["SHEAF_KEY"] = Raw(file)
    }
    var sealed = Sealed()
    var twice: [String] = []
    var kept = 0
    for round in 0..<Self.rounds {
      _ = try history.step()
      let script: Raw =
        "for i in 1 2 3 4; do rm -rf large$i; head -c \(700_000 + random.below(3_000_000)) /dev/urandom > large$i; done"
      try Command("sh", ["-ec", script], in: source).run().checked()
      for _ in 0...random.below(2) {
        let more: [Raw] = random.once(in: 3) ? ["--volume-size", "2M"] : []
        var command = try sheaf(["backup", "-s", store, "--series", "s", "--level", "9"] + more + [Raw(source)])
        let isTraced = random.once(in: 3) && Command.canTrace
        if isTraced {
          // A large file ends in an error, and what was written of it is taken back.
          command = try command.wrapped([
            "strace", "-f", "-qq", "-o", "/dev/null", "-P", Raw(source.joined(Bytes("large2"))), "-e", "trace=pread64",
            "-e", "inject=pread64:error=EIO:when=\(1 + random.below(3))+",
          ])
        }
        let running = try command.start()
        if !random.once(in: 3) {
          usleep(UInt32(20_000 + random.below(250_000)))
          let signal = random.pick([SIGKILL, SIGKILL, SIGINT])
          if isTraced { try? running.signalChild(signal) } else { running.signal(signal) }
        }
        let output = running.wait()
        if output.errorText.contains("is kept") { kept += 1 }
        let folder = store.bytes.joined(Bytes("s"))
        if (try? Descriptor.open(folder, .pathOnly)) != nil { twice += try sealed.take(folder, identities) }
        #expect(twice == [], "round \(round), \(output)")
      }
    }
    let last = try sheaf(["backup", "-s", store, "--series", "s", Raw(source)]).run()
    #expect([0, 3].contains(last.status), "\(last)")
    twice += try sealed.take(store.bytes.joined(Bytes("s")), identities)
    #expect(twice == [])
    #expect(sealed.chunks.count > Self.rounds)
    // What came of it all is whole, for whoever has the whole key.
    try Command.sheaf(["verify", "-q", "-s", store]).run().checked()
  }
}
