/// What every kind of store has to do alike, whatever machine it lies on.
import Posix
import TestSupport
import Testing

extension Fixture {
  /// Three points of the tree with `letters`, as each command that looks at them tells.
  func expectThreePoints() throws {
    #expect(try save().kind == "full")
    try edit("rm letters/june; mv letters/july letters/august; echo new > new")
    #expect(try save().kind == "incremental")
    try edit("echo more >> new")
    try save()
    let listed = try sheaf(["ls", "-R", "-s", named])
    #expect(listed.text.contains(inside.bytes.joined(Bytes("letters/august")).shown), "\(listed)")
    #expect(try sheaf(["cat", "-s", named, "\(inside)/new"]).text == "new\nmore\n")
    #expect(try sheaf(["find", "-s", named, "june"]).text.contains("last in \(points[0].set)"))
    #expect(try sheaf(["history", "-s", named, "\(inside)/new"]).lines.count >= 2)
    #expect(try sheaf(["diff", "-s", named]).text.contains("new"))
    #expect(try sheaf(["diff", "--live", "-s", named]).lines.last?.hasPrefix("0 added") == true)
    #expect(try sheaf(["points", "-s", named]).text.contains("3 points"))
    #expect(try sheaf(["manifest", "-s", named]).text.contains("letters/august"))
    #expect(try !sheaf(["export", "-s", named]).stdout.isEmpty)
    #expect(try sheaf(["verify", "-s", named]).text.contains("no damage: 3 points"))
  }

  /// Makes two of the points go, by what copies what is left.
  func expectThinningOut() throws {
    try sheaf(["consolidate", "-s", named])
    try sheaf(["prune", "--keep-last", "1", "--fold", "-s", named])
    try reload()
    #expect(points.count == 2)
    try expectEveryPoint()
  }
}
