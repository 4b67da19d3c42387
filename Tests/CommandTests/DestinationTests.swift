/// Where a restore goes that was not told where: a person is asked, a program is told what is missing.
import Posix
import TestSupport
import Testing

@Suite struct DestinationTests {
  /// A letter that changed, one that is gone, and one that came after they were saved.
  private func fixture() throws -> Fixture {
    let f = try Fixture(TestTree(["letters": .directory(["june": .file("june\n"), "july": .file("july\n")])]))
    try f.save()
    try f.edit("echo changed >letters/july; rm letters/june; echo new >letters/august")
    return f
  }

  private func session(_ f: Fixture, _ more: [Raw] = []) throws -> TerminalSession {
    let command = try Command.sheaf(["restore", "-s", f.named] + more, in: f.scratch.path)
    let session = try TerminalSession(command, columns: 100, rows: 24, in: f.scratch)
    return session
  }

  private static let isInTerminal = TerminalSession.isPossible

  @Test(.enabled(if: isInTerminal, "\(TerminalSession.needs)"), arguments: [true, false])
  func inPlace(replaces: Bool) throws {
    let f = try fixture()
    let session = try session(f, ["\(f.inside)/letters"])
    let screen = try session.wait(for: "1, 2 or 3 [2]:")
    let lines = screen.joined(separator: "").replacing(" ", with: "")
    #expect(lines.contains("1inplace:\(f.source.shown)/letters"), "\(screen)")
    try session.press("1", "Enter")
    try session.wait(for: "r or k:")
    try session.press(replaces ? "r" : "k", "Enter")
    #expect(try session.end() == 0)
    #expect(try Bytes.read(f.source.joined(Bytes("letters/june"))) == Bytes("june\n"))
    #expect(try Bytes.read(f.source.joined(Bytes("letters/july"))) == Bytes(replaces ? "july\n" : "changed\n"))
    #expect(try Bytes.read(f.source.joined(Bytes("letters/august"))) == Bytes("new\n"))
  }

  @Test(.enabled(if: isInTerminal, "\(TerminalSession.needs)")) func besideAndElsewhere() throws {
    let f = try fixture()
    let name = "restored-\(f.newest.set.prefix(18))"
    for folder in [name, name + "-2"] {
      let beside = try session(f)
      try beside.wait(for: "beside: \(folder), a new folder here")
      try beside.press("Enter")
      #expect(try beside.end() == 0)
      let restored = try Snapshot(of: f.scratch.path(Raw(folder)).joined(f.inside.bytes))
      #expect(f.newest.tree.differences(to: restored) == [])
    }
    let elsewhere = try session(f)
    try elsewhere.wait(for: "1, 2 or 3")
    try elsewhere.press("x", "Enter", "3", "Enter")
    try elsewhere.wait(for: "folder:")
    try elsewhere.type("there ")
    try elsewhere.press("Enter")
    #expect(try elsewhere.end() == 0)
    let restored = try Snapshot(of: f.scratch.path("there").joined(f.inside.bytes))
    #expect(f.newest.tree.differences(to: restored) == [])
  }

  @Test(.enabled(if: isInTerminal, "\(TerminalSession.needs)"), arguments: ["C-c", "C-d"] as [Raw])
  func whoStopsItFindsNothingDone(key: Raw) throws {
    let f = try fixture()
    let before = try Snapshot(of: f.source)
    for answers in [[], ["1"], ["3"]] as [[Raw]] {
      let session = try session(f)
      try session.wait(for: "1, 2 or 3")
      for answer in answers {
        try session.press(answer, "Enter")
        try session.wait(for: answer == "1" ? "r or k:" : "folder:")
      }
      try session.press(key)
      #expect(try session.end() == 130)
      #expect(try session.screen().contains { $0.contains("stopped: nothing was restored") })
    }
    #expect(try before.differences(to: Snapshot(of: f.source)) == [])
    let names = try Descriptor.open(f.scratch.path, [.read, .directory]).sortedNames()
    #expect(!names.contains { $0.starts(with: Bytes("restored")) })
  }

  @Test(.enabled(if: isInTerminal, "\(TerminalSession.needs)")) func whatIsNotThereIsSaidBefore() throws {
    let f = try fixture()
    let session = try session(f, ["letters/may"])
    #expect(try session.end() == 1)
    let screen = try session.screen()
    #expect(screen.contains { $0.contains("is not in the point") } && !screen.contains { $0.contains("where to") })
  }

  @Test func aProgramIsNotAsked() throws {
    let f = try fixture()
    for more in [[], ["--json"], ["-n"]] as [[Raw]] {
      let output = try f.sheaf(["restore", "-s", f.named] + more, status: 64)
      #expect(output.errorText.contains("where to restore to is not said") && output.errorText.contains("--to DIR"))
    }
  }
}
