/// The test vectors of the age format, fixtures/age: each file is read, or refused for the right reason.
import Age
import Foundation
import Posix
import Tar
import TestSupport
import Testing

struct VectorTests {
  struct Vector: CustomStringConvertible {
    let description: String
    var head: [(key: String, value: String)] = []
    var file: Bytes

    func values(_ key: String) -> [String] { head.filter { $0.key == key }.map(\.value) }

    init(_ url: URL) throws {
      description = url.lastPathComponent
      let all = Bytes(try Data(contentsOf: url))
      var rest = all[...]
      while let end = rest.firstIndex(of: 10), end > rest.startIndex {
        let line = Bytes(rest[..<end]).shown
        let colon = try #require(line.firstIndex(of: ":"))
        head.append((String(line[..<colon]), String(line[colon...].dropFirst(2))))
        rest = rest[(end + 1)...]
      }
      file = Bytes(rest.dropFirst())
      if values("compressed") == ["zlib"] {
        let script = "import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))"
        file = try Command(Raw(try #require(Reader.python)), ["-c", Raw(script)], input: file).run().checked().stdout
      }
    }
  }

  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../fixtures/age").standardized

  @Test func all() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).filter { $0 != "LICENCE.md" }
    #expect(names.count == 92)
    for name in names.sorted() {
      let vector = try Vector(Self.folder.appendingPathComponent(name))
      var identities: [any Identity] = vector.values("passphrase").map { Passphrase(secret($0)) }
      for text in vector.values("identity") {
        identities.append(try #require(X25519Identity(secret(text))))
      }
      var readings = [Reading.sequential(vector.file, identities)]
      // scrypt takes its time.
      let steps = identities.allSatisfy { $0 is Passphrase } ? [300_000] : [1000, 65536, 300_000]
      readings += steps.map { Reading.ranges(vector.file, identities, step: $0) }
      for reading in readings {
        #expect(
          outcome(reading.failure) == vector.values("expect").first, "\(name): \(String(describing: reading.failure))")
        if let digest = vector.values("payload").first {
          let hasher = SHA256()
          hasher.update(reading.bytes)
          #expect(hasher.finish().hex == digest, "\(name)")
        } else {
          #expect(reading.bytes.isEmpty, "\(name)")
        }
      }
    }
  }

  private func outcome(_ failure: AgeFailure?) -> String {
    switch failure {
    case nil: "success"
    case .header: "header failure"
    case .noMatch: "no match"
    case .headerChecksum: "HMAC failure"
    case .payload: "payload failure"
    case .unreadable(let error): error.kind == .damaged ? "payload failure" : "unreadable"
    case .key: "key"
    }
  }
}
