/// What a machine remembers of the stores it has seen.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct StatusTests {
  /// A machine with a memory, one source and two drives.
  private final class Rotation {
    let scratch: Scratch
    let source: Bytes
    let blue: Bytes
    let red: Bytes

    init() throws {
      scratch = try Scratch()
      source = scratch.path("source")
      (blue, red) = (scratch.path("blue"), scratch.path("red"))
      try Descriptor.workingDirectory.makeDirectory(source)
      try write("1")
      for (path, label) in [(blue, "Blue drive"), (red, "Red")] as [(Bytes, Raw)] {
        try run(["init", "-s", Raw(path), "--label", label])
      }
    }

    func write(_ text: Raw) throws { try scratch.write("source/file", text) }

    @discardableResult
    func run(_ arguments: [Raw], status: Int32 = 0, at location: SourceLocation = #_sourceLocation) throws -> Output {
      let output = try Command.sheaf(arguments, environment: ["XDG_STATE_HOME": Raw(scratch.path("state"))]).run()
      #expect(output.status == status, "\(output)", sourceLocation: location)
      return output
    }

    /// Gives the set's name.
    @discardableResult
    func save(_ store: Bytes, _ more: [Raw] = [], status: Int32 = 0) throws -> Summary {
      try Summary(
        run(["backup", "--json", "-s", Raw(store), "--series", "me", Raw(source)] + more, status: status))
    }

    func remove(_ store: Bytes, _ set: String) throws {
      let series = try Descriptor.open(store.joined(Bytes("me")), [.read, .directory])
      for name in try series.sortedNames() where name.starts(with: Bytes(set.utf8)) { try series.removeFile(name) }
    }
  }

  @Test func eachDriveHasItsOwnChain() throws {
    let r = try Rotation()
    let first = try r.save(r.blue)
    try r.write("22")
    let second = try r.save(r.red)
    #expect(first.kind == "full" && second.kind == "full")
    try r.write("333")
    // Names of points are whole seconds.
    Thread.sleep(forTimeInterval: 1.1)
    #expect(try r.save(r.blue).kind == "incremental")
    try r.run(["verify", "-q", "-s", Raw(r.red)])
    let known = try r.run(["status", "--json"]).json().filter { $0["type"] as? String == "series" }
    #expect(known.count == 2)
    #expect(known.map { $0["label"] as? String } == ["Blue drive", "Red"])
    #expect(known.map { $0["chain"] as? Int } == [2, 1])
    #expect(known.allSatisfy { $0["plugged_in"] as? Bool == true })
    #expect(known[0]["verified"] is NSNull && known[1]["verified"] is String)
    // Away, it is still known, and where it comes back it is found.
    try Descriptor.workingDirectory.rename(r.blue, to: r.scratch.path("elsewhere"))
    let away = try r.run(["status"])
    #expect(away.text.contains("Blue drive  not here"), "\(away)")
    #expect(away.text.contains("Red  plugged in"), "\(away)")
    let fetch = try r.run(["status", "--at", "latest"])
    #expect(fetch.lines.first?.hasPrefix("fetch 'Blue drive'") == true, "\(fetch)")
    let older = try r.run(["status", "--at", Raw(String(try #require(second.set).prefix(18)))])
    #expect(older.lines.first?.contains("is on 'Red', plugged in") == true, "\(older)")
    try r.run(["status", "--at", "2001-01-01"], status: 1)
    try r.run(["status", "--forget", "Blue drive"])
    #expect(try !r.run(["status"]).text.contains("Blue"))
  }

  @Test func aStoreThatWasSetBack() throws {
    let r = try Rotation()
    try r.save(r.blue)
    try r.write("22")
    let newest = try #require(r.save(r.blue).set)
    try r.remove(r.blue, newest)
    let verify = try r.run(["verify", "-s", Raw(r.blue)])
    #expect(verify.errorText.contains("the store was set back"), "\(verify)")
    // What is there was seen here before, so the next run may build on it.
    let summary = try r.save(r.blue)
    #expect(summary.kind == "incremental")
    // Not at a moment that stood for something else.
    #expect(try #require(summary.set) > newest)
    // With that it is known again.
    #expect(try r.run(["verify", "-q", "-s", Raw(r.blue)]).errorText == "")
    #expect(try r.save(r.blue).kind == "incremental")
  }

  /// As `cp -a` makes them: one identity, and each goes on by itself.
  @Test func copiesInTurn() throws {
    let r = try Rotation()
    try r.save(r.blue)
    let copy = r.scratch.path("copy")
    try Command("cp", ["-a", Raw(r.blue), Raw(copy)]).run().checked()
    for round in 1...3 {
      for store in [r.blue, copy] {
        try r.write("\(round) \(Raw(store))")
        let output = try r.run(["backup", "-s", Raw(store), "--series", "me"])
        #expect(output.text.contains("-incr"), "\(output)")
        // Once.
        #expect(output.errorText.contains("another copy") == (round == 1 && store == copy), "\(output)")
        #expect(try r.run(["verify", "-s", Raw(store)]).errorText == "")
      }
    }
    let before = try Bytes.read(copy.joined(Bytes("sheaf.store")))
    let made = try r.run(["identify", "--new", "--json", "-s", Raw(copy)]).json()
    #expect(made.last?["uuid"] as? String != made.last?["before"] as? String)
    #expect(try Bytes.read(copy.joined(Bytes("sheaf.store"))).count == before.count)
    for store in [copy, r.blue, copy] {
      #expect(try r.run(["backup", "-q", "-s", Raw(store), "--series", "me"]).errorText == "")
    }
    let known = try r.run(["status", "--json"]).json().filter { $0["type"] as? String == "series" }
    #expect(Set(known.compactMap { $0["uuid"] as? String }).count == 2)
  }

  @Test func theNewestIsDroppedElsewhere() throws {
    let r = try Rotation()
    try r.save(r.blue)
    try r.write("22")
    let newest = try #require(r.save(r.blue).set)
    try Command.sheaf(["prune", "-q", "-s", Raw(r.blue), "--drop", Raw(newest)]).run().checked()
    for command in ["points", "verify", "backup", "verify"] as [Raw] {
      #expect(try r.run([command, "-s", Raw(r.blue), "--series", "me"]).errorText == "")
    }
  }

  /// Nothing in it was ever seen here, though it has the identity and is older.
  @Test func anotherHistory() throws {
    let r = try Rotation()
    let first = try #require(r.save(r.blue).set)
    let copy = r.scratch.path("copy")
    try Command("cp", ["-a", Raw(r.blue), Raw(copy)]).run().checked()
    try r.write("22")
    try r.save(r.blue)
    try r.write("another")
    let elsewhere: [String: Raw?] = ["XDG_STATE_HOME": Raw?.none]
    let made = try Command.sheaf(
      ["backup", "-q", "--full", "-s", Raw(copy), "--series", "me", Raw(r.source)], environment: elsewhere
    ).run()
    try made.checked()
    try r.remove(copy, first)
    Thread.sleep(forTimeInterval: 1.1)
    try r.write("333")
    try r.save(r.blue)
    try r.run(["verify", "-s", Raw(copy)], status: 4)
    #expect(try r.save(copy, status: 3).kind == "full")
  }

  /// Whatever does not answer the alarm with a new chain leaves it standing.
  @Test(arguments: [
    ["prune", "--keep-last", "9"], ["consolidate"], ["backup", "--keep-free", "999T"],
    ["backup", "--change-sources", "/nonexistent/source"],
  ]) func anAlarmOutlivesOtherCommands(command: [String]) throws {
    let r = try Rotation()
    try r.save(r.blue)
    try r.write("22")
    try r.remove(r.blue, try #require(r.save(r.blue).set))
    let arguments = command.map { Raw($0) } + ["-s", Raw(r.blue), "--series", "me"]
    let isRefused = command.contains("--change-sources")
    let output = try r.run(arguments, status: isRefused ? 64 : command[0] == "backup" ? 1 : 0)
    #expect(isRefused || output.errorText.contains("the store was set back"), "\(output)")
    // And is told once more by the run that settles it.
    let settled = try r.run(["backup", "-s", Raw(r.blue), "--series", "me"])
    #expect(settled.errorText.contains("the store was set back") && settled.text.contains("-incr"), "\(settled)")
    #expect(try r.run(["backup", "-s", Raw(r.blue), "--series", "me"]).errorText == "")
  }

  /// The archive is there still, which is another thing than a store that was set back.
  @Test func aNewestManifestThatIsLost() throws {
    let r = try Rotation()
    try r.save(r.blue)
    try r.write("22")
    let newest = try #require(r.save(r.blue).set)
    try r.remove(r.blue, newest + ".mtree.gz")
    let output = try r.run(["points", "-s", Raw(r.blue)])
    #expect(output.errorText.contains("has lost its manifest, which 'sheaf rebuild -s "), "\(output)")
    try r.run(["rebuild", "-q", "-s", Raw(r.blue)])
    #expect(try r.save(r.blue).kind == "incremental")
  }

  @Test func aManifestThatWasReplaced() throws {
    let r = try Rotation()
    try r.save(r.blue)
    let other = r.scratch.path("other")
    try r.run(["init", "-s", Raw(other)])
    // A set of the same moment with other contents, made as if by another machine.
    let set = try #require(r.save(r.blue).set)
    let point = Raw(String(set.prefix(18)))
    try r.remove(r.blue, set)
    try r.write("4444")
    let forged = try Command.sheaf(["backup", "--json", "-s", Raw(r.blue), "--series", "me", Raw(r.source)]).run()
    let made = try #require(Summary(forged).set)
    guard made == set else { return }  // another second
    let verify = try r.run(["verify", "-s", Raw(r.blue)], status: 4)
    #expect(verify.errorText.contains("replaced by another"), "\(verify) \(point)")
    #expect(try r.save(r.blue, status: 3).kind == "full")
  }

  /// What goes from the middle was pruned, here or elsewhere.
  @Test func pruningRaisesNoAlarm() throws {
    let r = try Rotation()
    let first = try #require(r.save(r.blue).set)
    try r.write("22")
    try r.save(r.blue, ["--full"])
    try r.remove(r.blue, first)
    try r.run(["verify", "-q", "-s", Raw(r.blue)])
    #expect(try r.save(r.blue).kind == "incremental")
  }

  @Test func losingTheMemoryLosesNothing() throws {
    let r = try Rotation()
    try r.save(r.blue)
    Scratch.remove(r.scratch.path("state"))
    #expect(try r.run(["status"]).text.contains("this machine has not seen any store yet"))
    #expect(try r.save(r.blue).kind == "incremental")
    // A place that cannot be written is said, and no reason to fail.
    try r.scratch.write("file", "")
    let output = try Command.sheaf(
      ["backup", "-s", Raw(r.blue), "--series", "me"], environment: ["XDG_STATE_HOME": Raw(r.scratch.path("file"))]
    ).run()
    #expect(output.status == 0 && output.errorText.contains("could not be remembered"), "\(output)")
  }
}
