/// What a reader would refuse is not written, and what is written is read by everyone.
import Posix
import TestSupport
import Testing

@Suite struct WriterBoundsTests {
  /// A folder, and a list of patterns as long as one wants.
  private func fixture(_ lines: Int, _ line: Raw) throws -> (Fixture, list: Raw) {
    let f = try Fixture(TestTree(["a": .file("a\n"), "b": .directory(["c": .file("c\n")])]))
    let list = Raw(f.scratch.path("list"))
    try Command(
      "sh", ["-ec", "yes \"$1\" | awk -v n=\(lines) 'NR > n { exit } { print $0 NR }' >\"$2\"", "sh", line, list]
    )
    .run().checked()
    return (f, list)
  }

  /// libarchive takes no header above 1 MiB.
  @Test func aHeadOfMegabytes() throws {
    let (f, list) = try fixture(4000, Raw(String(repeating: "nothing that is there \u{e9} ", count: 12)))
    try f.save(["--exclude-from", list])
    let archive = try Raw(f.archive(f.newest))
    let names = try Command("tar", ["-tzf", archive]).run().checked().lines
    #expect(names.count >= 4)
    for reader in [["bsdtar", "-tzf"], ["busybox", "tar", "-tzf"]] as [[Raw]] where Command.find(reader[0]) != nil {
      #expect(try Command(reader[0], reader.dropFirst() + [archive]).run().checked().lines == names, "\(reader)")
    }
    let python = "import sys, tarfile; print(*tarfile.open(sys.argv[1]).getnames(), sep='\\n')"
    let members = try Reader.python(python, [archive]).checked().lines.count
    #expect(members == names.count)
    let listed = try f.sheaf(["ls", archive]).lines.count
    #expect(listed == names.count)
    try f.sheaf(["verify", "-s", Raw(f.store)])
    let target = f.scratch.path("target")
    try Command("sh", [Raw(f.store.joined(Bytes("restore.sh"))), "--to", Raw(target)]).run().checked()
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), .ignoring(.holes)) == [])
    // The archive alone has all of it.
    let head = try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().count
    try Command("sh", ["-ec", "rm \"$1\"/*/*.mtree.gz", "sh", Raw(f.store)]).run().checked()
    try f.sheaf(["rebuild", "-s", Raw(f.store)])
    try f.sheaf(["verify", "-s", Raw(f.store)])
    #expect(try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().count == head)
  }

  /// Too many bytes, too many lines.
  @Test(arguments: [(190_000, 60), (1_100_000, 0)]) func aHeadThatNobodyReads(lines: Int, length: Int) throws {
    let (f, list) = try fixture(lines, Raw(String(repeating: "\u{e9}", count: length / 2) + "x"))
    let folder: [Raw] = ["-ec", "find \"$1\" ! -type d | sort", "sh", Raw(f.store)]
    let before = try Command("sh", folder).run().checked().stdout
    let arguments: [Raw] = ["backup", "-s", Raw(f.store), "--exclude-from", list, Raw(f.source)]
    let output = try f.sheaf(arguments, status: 64)
    #expect(output.errorText.contains("a set's head would be longer than"), "\(output)")
    #expect(try Command("sh", folder).run().checked().stdout == before)
  }
}
