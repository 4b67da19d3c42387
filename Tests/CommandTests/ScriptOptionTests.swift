/// What the scripts that Sheaf replaces are tuned with: what is compressed, how exact times are, how many threads work.
import Posix
import TestSupport
import Testing

struct ScriptOptionTests {
  /// Larger than the smallest that is compressed, or not; both shrink well.
  private func fixture() throws -> Fixture {
    var files: [Raw: Node] = [:]
    for number in 0..<12 {
      files[Raw("small\(number)")] = .file(size: 90_000, seed: UInt64(number), .compressible)
      files[Raw("very\(number)")] = .file(size: 110_000, seed: UInt64(100 + number), .compressible)
    }
    files["large"] = .file(size: 3_000_000, seed: 77, .compressible)
    files["empty"] = .file("")
    return try Fixture(TestTree(files))
  }

  /// Whether the file's bytes stand in the newest archive as they are.
  private func isStored(_ name: Raw, _ f: Fixture) throws -> Bool {
    let script = """
      import sys
      data, archive = open(sys.argv[1], 'rb').read(), open(sys.argv[2], 'rb').read()
      print(data[1000:1400] in archive)
      """
    let archive = try f.archive(f.newest)
    return try Command("python3", ["-c", Raw(script), Raw(f.source.joined(name.bytes)), Raw(archive)]).run()
      .checked().lines == ["True"]
  }

  @Test(arguments: [("100k", [true, false, false]), ("0", [false, false, false]), ("4M", [true, true, true])])
  func whatIsCompressed(above: String, stored: [Bool]) throws {
    let f = try fixture()
    for more in [[], ["--full"]] as [[Raw]] {
      try f.save(["--compress-above", Raw(above)] + more)
      #expect(try ["small3", "very3", "large"].map { try isStored($0, f) } == stored)
      try f.edit("echo more >>small1; echo more >>very2; echo more >>large")
    }
    try f.save(["--compress-above", Raw(above)])
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
  }

  /// As on FAT, whose times are even seconds, after a copy that rounded them.
  @Test func timesThatDifferALittle() throws {
    let f = try fixture()
    try f.edit("touch -d @1700000000.5 *; sleep 2.1")
    try f.save()
    try f.edit(
      "touch -d @1700000001.5 *; touch -d @1700000003 small5; echo more >>small6; touch -d @1700000001 small6; sleep 2.1"
    )
    let other = try f.save(["-n"])
    #expect(other.changed >= 26, "\(other)")
    let summary = try f.save(["--modify-window", "1"])
    #expect(summary.changed == 2 && summary.new == 0, "\(summary)")
    // What was looked at once is not looked at again.
    let next = try f.save(["--modify-window", "1"])
    #expect(next.changed == 0 && next.bytesRead == 0, "\(next)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  @Test(arguments: ["1", "7"]) func threads(count: Raw) throws {
    let f = try fixture()
    try f.save(["--jobs", count])
    try f.edit("echo more >>small1; mv small2 moved; rm very1")
    try f.save(["--jobs", count])
    try f.expectEveryPoint()
    for command in [["verify"], ["restore", "--to", Raw(f.scratch.path("out"))], ["consolidate"]] as [[Raw]] {
      try f.sheaf(command + ["-q", "-s", Raw(f.store), "--jobs", count])
    }
  }

  @Test(
    arguments: [
      ["--jobs", "0"], ["--jobs", "-1"], ["--jobs", "9223372036854775808"], ["--jobs", "2000"], ["--jobs", "x"],
      ["--modify-window=-1"], ["--modify-window", "1.5"], ["--compress-above=-1"], ["--compress-above", "100q"],
    ] as [[Raw]]) func wrong(options: [Raw]) throws
  {
    let f = try Fixture(TestTree(["a": .file("a")]))
    let output = try f.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)] + options, status: 64)
    #expect(output.errorLines.first?.hasPrefix("sheaf: error: ") == true, "\(output)")
  }
}
