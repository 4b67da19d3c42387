/// Folders that are read from one place and recorded as another, as snapshots are.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

struct MappedSourceTests {
  private func fixture() throws -> Fixture {
    let f = try Fixture(
      TestTree([
        "a": .file("text\n"), "large": .file(size: 3_000_000, seed: 7),
        "folder": .directory(["b": .file("more\n"), "c": .file("even more\n")]),
      ]))
    try f.edit("touch -d '2 days ago' folder/* folder a large; sleep 2.1")
    return f
  }

  /// A copy with its own inodes, and times of change as a snapshot's where `move` takes the whole tree.
  private func copy(_ f: Fixture, _ name: Raw) throws -> Raw {
    let copy = f.scratch.path(name)
    try Command("cp", ["-a", Raw(f.source), Raw(copy)]).run().checked()
    return Raw(copy)
  }

  /// What was read from a copy and recorded at the source's own place is what the source was.
  @Test func aCopyIsRecordedAsTheSource() throws {
    let f = try fixture()
    try f.save()
    for number in 0..<3 {
      let place = try copy(f, "snapshot-\(number)")
      let summary = try f.save(sources: ["\(place)=\(f.source)"])
      #expect(summary.kind == "incremental" && summary.bytesWritten < 5000, "\(summary)")
      #expect(number > 0 || summary.changed == 0 && summary.new == 0 && summary.deleted == 0, "\(summary)")
      try f.edit("echo more >>folder/b; rm -f a; mv folder/c folder/moved-\(Raw("\(number)")) 2>&- || :")
    }
    try f.save()
    try f.expectEveryPoint()
    try f.expectReplay()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectRebuilt()
  }

  /// Moved by `mv`, a tree keeps inodes and times of change: nothing at all is read.
  @Test func nothingUnchangedIsRead() throws {
    let f = try fixture()
    let places = ["one", "two"].map { f.scratch.path(Raw(Bytes($0.utf8))) }
    try Command("cp", ["-a", Raw(f.source), Raw(places[0])]).run().checked()
    usleep(2_200_000)
    let first = try f.save(sources: ["\(places[0])=/there/is/no/such"])
    #expect(first.kind == "full")
    try Command("mv", [Raw(places[0]), Raw(places[1])]).run().checked()
    let second = try f.save(sources: ["\(places[1])=/there/is/no/such"])
    #expect(second.bytesRead == 0 && second.changed == 0 && second.bytesWritten < 3000, "\(second)")
    // Another file system has other devices.
    guard Mounted.isPossible else { return print("another device was not tried: \(Mounted.needs)") }
    let mountPoint = f.scratch.path("mounted")
    try Descriptor.workingDirectory.makeDirectory(mountPoint)
    do {
      let mounted = try Mounted(places[1], boundTo: mountPoint)
      try withExtendedLifetime(mounted) {
        let third = try f.save(sources: ["\(mountPoint)=/there/is/no/such"])
        #expect(third.bytesRead == 0 && third.changed == 0 && third.unseen == 0, "\(third)")
      }
    }
    // Unmounted, the empty folder is not what was saved.
    #expect(try f.save(sources: ["\(mountPoint)=/there/is/no/such"], status: 3).unseen > 0)
    // Without the other place it is not there.
    let away = try f.sheaf(["backup", "-q", "-s", Raw(f.store)], status: 1)
    #expect(away.errorText.contains("/there/is/no/such is not there"), "\(away)")
    let listed = try f.sheaf(["ls", "-R", "-s", Raw(f.store), "/there/is/no/such"]).lines.sorted()
    #expect(listed.contains("there/is/no/such/folder/b  (last good copy)"), "\(listed)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  @Test func namesWithEqualsSigns() throws {
    let f = try Fixture(
      TestTree([
        "x=": .directory(["y": .file("1\n")]), "p=q": .directory(["r": .file("2\n")]), "plain=name": .file("3\n"),
      ]))
    func saved(_ source: Raw) throws -> [String] {
      try f.save(["--change-sources"], sources: [source])
      return try f.sheaf(["ls", "-R", "-s", Raw(f.store)]).lines
    }
    let inside = "\(f.inside)".filter { $0 != "\"" }
    // There under its whole name, or a mapping of what is there under the first part.
    #expect(try saved("\(f.source)/x=/y").contains { $0.hasSuffix("x=/y") })
    #expect(try saved("\(f.source)/plain=name").contains { $0.hasSuffix("plain=name") })
    #expect(try saved("\(f.source)/p=q=/as").contains { $0 == "as/r" })
    #expect(!inside.isEmpty)
  }

  static let wrong: [Raw] = ["nothing=/as", "a=/as", "folder=/", "folder=/..", "folder=/x/../y", "folder=as", "=/as"]

  @Test(arguments: wrong) func whatIsNoMappingIsRefused(_ source: Raw) throws {
    let f = try fixture()
    let output = try f.sheaf(["backup", "-s", Raw(f.store), source], status: 64, in: f.source)
    #expect(output.errorLines.count <= 3, "\(output)")
    let twice: [Raw] = ["backup", "-s", Raw(f.store), "folder=/as", "\(f.source)=/as"]
    try f.sheaf(twice, status: 64, in: f.source)
  }

  /// The store is never saved into itself, whatever it is called.
  @Test func theStoreInIt() throws {
    let f = try fixture()
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "\(f.scratch.path)=/everything"])
    #expect(output.errorText.contains("is not backed up into itself"), "\(output)")
    try f.sheaf(["backup", "-s", Raw(f.store), "--series", "b", "\(f.store)=/everything"], status: 64)
  }
}
