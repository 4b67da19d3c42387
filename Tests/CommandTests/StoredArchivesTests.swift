/// Stores written by earlier versions, which are never edited: each must go on being listed, restored and verified.
import Foundation
import Posix
import TestSupport
import Testing

struct StoredArchivesTests {
  /// Every store below `fixtures/archives`, as `VERSION/NAME`. A new one is added here, or the first test fails.
  static let stores: [String] = ["v1/deletions", "v1/moves", "v1/names", "v1/plain", "v1/types"]

  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("fixtures/archives")

  private static func names(in folder: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }

  @Test func everyStoredArchiveIsTested() throws {
    var found: [String] = []
    for version in try Self.names(in: Self.folder) {
      for name in try Self.names(in: Self.folder.appendingPathComponent(version)) { found.append("\(version)/\(name)") }
    }
    #expect(found == Self.stores)
  }

  /// The canonical lines of every point are the ones its writer saw: names, metadata and digests.
  @Test(arguments: stores) func isListed(_ store: String) throws {
    let folder = Self.folder.appendingPathComponent(store)
    let points = try Self.names(in: folder).filter { $0.hasSuffix(".point") }.map { $0.dropLast(6) }
    #expect(!points.isEmpty)
    for point in points {
      let output = try Command.sheaf(["manifest", "-s", Raw(folder.path), "--at", Raw(String(point))]).run().checked()
      let lines = output.stdout.split(separator: 10).filter { $0.starts(with: "./".utf8) }
      let canonical = lines.map { line in
        line.firstRange(of: Bytes("@,c:".utf8)).map { Bytes(line[..<$0.lowerBound]) } ?? Bytes(line)
      }
      let wanted = try Bytes.read(Bytes(folder.appendingPathComponent("\(point).point").path.utf8))
      #expect(Bytes(canonical.joined(separator: [10])) + [10] == wanted, "\(point)")
      let long = try Command.sheaf(["ls", "-lR", "-s", Raw(folder.path), "--at", Raw(String(point))]).run().checked()
      #expect(long.stdout.split(separator: 10).count >= canonical.count)
    }
  }

  @Test(arguments: stores) func isVerified(_ store: String) throws {
    let output = try Command.sheaf(["verify", "-s", Raw(Self.folder.appendingPathComponent(store).path)]).run()
    #expect(output.succeeded && output.text.contains("no damage"), "\(output)")
  }

  /// A restored point is what its manifest says, as NetBSD's mtree sees it.
  @Test(.enabled(if: Scratch.allowsEverything, "needs root"), arguments: stores)
  func isRestored(_ store: String) throws {
    let folder = Self.folder.appendingPathComponent(store)
    for point in try Self.names(in: folder).filter({ $0.hasSuffix(".point") }).map({ $0.dropLast(6) }) {
      let scratch = try Scratch()
      let target = scratch.path("target")
      try Command.sheaf(
        ["restore", "-s", Raw(folder.path), "--at", Raw(String(point)), "--to", Raw(target)]
      ).run().checked()
      let manifest = try Command.sheaf(["manifest", "-s", Raw(folder.path), "--at", Raw(String(point))]).run().checked()
      try scratch.write("mtree", Raw(manifest.stdout))
      if Mtree.isInstalled {
        let check = try Mtree.check(target, against: scratch.path("mtree"))
        #expect(check.succeeded && check.stdout.isEmpty, "\(point): \(check)")
      }
    }
  }
}
