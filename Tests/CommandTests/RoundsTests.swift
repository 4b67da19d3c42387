/// How often a store on another machine is waited for: each time costs as long as a message there and back.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct RoundsTests {
  private static let relay = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../fixtures/sftp-rounds.py").standardized.path

  /// A store with a series of a year's length, as its listing shows it, and copies of its manifests on this machine.
  private func store() throws -> Fixture {
    let f = try Fixture(TestTree(["letters": .directory(["june": .file("hello\n")])]))
    for day in 0..<6 {
      if day > 0 { try f.edit("echo \(day) >>letters/june") }
      try f.sheaf(["backup", "-q", "-s", f.named, "--series", "me", Raw(f.source)])
    }
    // Names that are no sets' take as much room in a listing.
    let series = f.store.joined(Bytes("me"))
    try Command("sh", ["-c", "i=0; while [ $i -lt 720 ]; do : >n$i; i=$((i + 1)); done"], in: series).run().checked()
    f.remote = Remote()
    f.remote?.environment = [
      "XDG_CACHE_HOME": Raw(f.scratch.path("cache")), "XDG_STATE_HOME": Raw(f.scratch.path("state")),
    ]
    try f.sheaf(["points", "-s", f.named])
    return f
  }

  /// What the client waited for, a line each; without the greeting, which is a part of connecting.
  private func rounds(_ f: Fixture, _ arguments: [Raw], _ more: [Raw] = []) throws -> [String] {
    let log = f.scratch.path("rounds")
    try? Descriptor.workingDirectory.removeFile(log)
    let command = Raw("\(Self.relay) \(log.shown) /usr/lib/openssh/sftp-server")
    f.remote?.options = ["--sftp-command", command]
    try f.sheaf(arguments + ["-s", f.named, "--series", "me"] + more)
    return try Array(Bytes.read(log).shown.split(separator: "\n").map { String($0) }.dropFirst())
  }

  @Test func whatIsAskedTogetherIsOneRound() throws {
    let f = try store()
    let unchanged = try rounds(f, ["backup", "-q", "--skip-unchanged"], [Raw(f.source)])
    #expect(unchanged.count <= 6, "\(unchanged.joined(separator: "\n"))")
    for command in [["points"], ["ls"], ["find", "june"]] as [[Raw]] {
      let read = try rounds(f, command)
      #expect(read.count <= 3, "\(read.joined(separator: "\n"))")
    }
    try f.edit("echo more >>letters/june")
    let saved = try rounds(f, ["backup", "-q"], [Raw(f.source)])
    #expect(saved.count <= 26, "\(saved.joined(separator: "\n"))")
  }

  /// Where this machine has no copies of manifests, many are fetched at a time.
  @Test func manifestsThatAreNewHereComeTogether() throws {
    let f = try store()
    for day in 6..<40 {
      try f.edit("echo \(day) >>letters/june")
      try f.sheaf(["backup", "-q", "-s", Raw(f.store), "--series", "me"])
    }
    let local = try f.sheaf(["points", "-s", Raw(f.store), "--series", "me"])
    f.remote?.environment["XDG_CACHE_HOME"] = Raw(f.scratch.path("other"))
    let first = try rounds(f, ["points"])
    #expect(first.count <= 12, "\(first.joined(separator: "\n"))")
    #expect(try rounds(f, ["points"]).count <= 3)
    f.remote?.options = ["--sftp-command", "/usr/lib/openssh/sftp-server"]
    #expect(try f.sheaf(["points", "-s", f.named, "--series", "me"]).lines.count == local.lines.count)
  }
}
