/// Folders that could not be listed are marked in the point, whatever is known of them: there may be more in them.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Host.isRoot, "only root can become a user without rights"))
struct UnlistedTests {
  private func fixture() throws -> Fixture {
    let f = try Fixture(
      TestTree([
        "never": .directory(["in": .file("in")]), "once": .directory(["a": .file("a"), "b": .directory([:])]),
        "empty": .directory([:]), "z": .file("z"),
      ]))
    try Command("chown", ["-R", "65534:65534", Raw(f.store), Raw(f.source)]).run().checked()
    try f.edit("chown 0:0 never; chmod 700 never")
    return f
  }

  /// The folders of the newest set's manifest that have the tag.
  private func marked(_ f: Fixture) throws -> Set<String> {
    let names = try Descriptor.open(try f.series(), [.read, .directory]).sortedNames()
    let manifest = try #require(names.last { $0.suffix(9).elementsEqual(Bytes(".mtree.gz".utf8)) })
    let text = try Command("gzip", ["-dc", Raw(try f.series().joined(manifest))]).run().checked().text
    return Set(
      text.split(separator: "\n").filter { $0.hasPrefix("./") && $0.contains(",o") && $0.contains(" type=dir ") }
        .map { String($0.prefix { $0 != " " }.split(separator: "/").last!) })
  }

  @Test func marksComeAndGo() throws {
    let f = try fixture()
    try f.save(status: 3, as: .nobody)
    #expect(try marked(f) == ["never"])
    // Nothing is known of one, all of another, and of the third that nothing is in it.
    try f.edit("chown 0:0 once empty; chmod 700 once empty; echo new > once/new; echo z >> z")
    for more in [[], [], ["--full"]] as [[Raw]] {
      try f.save(more, status: 3, as: .nobody)
      #expect(try marked(f) == ["never", "once", "empty"])
    }
    try f.edit("chmod 755 once never")
    try f.save(status: 3, as: .nobody)
    #expect(try marked(f) == ["empty"])
    try f.edit("chmod 755 empty")
    try f.save(as: .nobody)
    #expect(try marked(f) == [])
    try f.sheaf(["verify", "-s", Raw(f.store)])
    #expect(try f.differences(at: f.newest) == [])
  }

  @Test func marksSurviveWhatRewritesSets() throws {
    let f = try fixture()
    try f.save(status: 3, as: .nobody)
    try f.edit("chown 0:0 once; chmod 700 once")
    try f.save(status: 3, as: .nobody)
    try f.edit("echo z >> z")
    try f.save(status: 3, as: .nobody)
    let last = Raw(try f.series().joined(Bytes("\(f.newest.set).mtree.gz".utf8)))
    try Command("rm", [last]).run().checked()
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    #expect(try marked(f) == ["never", "once"])
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    #expect(try marked(f) == ["never", "once"])
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1", "--fold"])
    try f.sheaf(["verify", "-s", Raw(f.store)])
    #expect(try marked(f) == ["never", "once"])
  }
}
