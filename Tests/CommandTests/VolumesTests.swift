/// Archives in several files, and drives with little room.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct VolumesTests {
  private static let tree = TestTree([
    "large": .file(size: 5_500_000, seed: 7), "small": .file("small\n"),
    "more": .directory(["a": .file(size: 900_000, seed: 8), "b": .file(size: 700_000, seed: 9)]),
  ])

  private func volumes(_ f: Fixture) throws -> [String] { try f.names().filter { $0.contains(".tar.gz") } }

  /// That no more files may be open is not damage: nothing of the kind is found, or remembered.
  @Test func moreVolumesThanFilesMayBeOpen() throws {
    let f = try Fixture(TestTree(["large": .file(size: 80_000_000, seed: 3)]))
    try f.save(["--volume-size", "2M"])
    #expect(try volumes(f).count > 30)
    for words in [["verify"], ["verify", "--quick"]] as [[Raw]] {
      let output = try f.command(words + ["-s", Raw(f.store)]).wrapped(["prlimit", "--nofile=24:24"]).run()
      #expect(output.status == 1 && output.errorText.contains("Too many open files"), "\(output)")
      #expect(output.errorText.contains("ulimit -n") && output.errorLines.count <= 3, "\(output)")
    }
    let points = try f.sheaf(["points", "-s", Raw(f.store)])
    #expect(!points.text.contains("damage") && points.stderr.isEmpty, "\(points)")
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
  }

  @Test func aLargeFileGoesOnInTheNextVolume() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--volume-size", "2M"])
    let names = try volumes(f)
    #expect(names.count >= 4, "\(names)")
    #expect(names == (1...names.count).map { "\(f.newest.set).tar.gz.00\($0)" })
    for name in names {
      let size = try Descriptor.open(f.series(), [.read, .directory]).status(of: Bytes(name.utf8)).size
      #expect(size <= 2 << 20, "\(name)")
    }
    try f.edit("echo more >> small; rm more/a")
    try f.save()
    try f.expectEveryPoint()
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    // All of them in a row are the archive, for any reader.
    let out = f.scratch.path("cat")
    try Descriptor.workingDirectory.makeDirectory(out)
    try Command(
      "sh", ["-ec", "cat \(f.series().joined(Bytes("\(f.points[0].set).tar.gz.".utf8)))* | tar -xzp -C \(out)"]
    )
    .run().checked()
    #expect(f.points[0].tree.differences(to: try Snapshot(of: out.joined(f.inside.bytes)), .ignoring(.holes)) == [])
    let script = f.scratch.path("script")
    try Command("sh", [Raw(f.store.joined(Bytes("restore.sh".utf8))), "--to", Raw(script)]).run().checked()
    #expect(f.newest.tree.differences(to: try Snapshot(of: script.joined(f.inside.bytes)), .ignoring(.holes)) == [])
    // Manifests made again tell of the volumes.
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for point in f.points { try series.removeFile(Bytes("\(point.set).mtree.gz".utf8)) }
    try f.sheaf(["rebuild", "-q", "-s", Raw(f.store)])
    try f.expectEveryPoint()
  }

  /// A limit that the system sets, as FAT does at 4 GiB.
  @Test func aFileSystemThatTakesNoLargerFile() throws {
    let f = try Fixture(Self.tree)
    let output = try Command.sheaf(["backup", "-s", Raw(f.store), Raw(f.source)]).wrapped([
      "prlimit", "--fsize=2000000",
    ])
    .run()
    #expect(output.succeeded, "\(output)")
    #expect(try volumes(f).count >= 4)
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    let target = try f.restore()
    #expect(try Snapshot(of: f.source).differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
  }

  @Test func volumesOnSeveralDrives() throws {
    let f = try Fixture(Self.tree)
    try f.save(["--volume-size", "2M"])
    let names = try volumes(f)
    let drives = [f.scratch.path("drive-1"), f.scratch.path("drive-2")]
    let series = try Descriptor.open(f.series(), [.read, .directory])
    for (index, drive) in drives.enumerated() {
      try Descriptor.workingDirectory.makeDirectory(drive)
      // In the folder itself, or in one of the series' name.
      let folder = index == 0 ? drive : drive.joined(try f.series().splitAtName.name)
      if index == 1 { try Descriptor.workingDirectory.makeDirectory(folder) }
      try series.rename(
        Bytes(names[index + 1].utf8), to: Bytes(names[index + 1].utf8),
        in: Descriptor.open(folder, [.read, .directory]))
    }
    for command in [["verify"], ["restore", "--to", Raw(f.scratch.path("none"))]] as [[Raw]] {
      let output = try f.sheaf(command + ["-s", Raw(f.store)], status: 4)
      #expect(output.errorText.contains("\(names[1]) is missing"), "\(output)")
    }
    let places = drives.flatMap { ["--volume-dir", Raw($0)] } as [Raw]
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)] + places)
    let target = try f.restore([], at: "latest", places)
    #expect(f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [])
    try f.edit("echo 1 > one")
    #expect(try f.save(places).kind == "incremental")
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)], status: 4)
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)] + places)
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--keep-last", "1"] + places)
    try f.reload()
    // The new set needs nothing from elsewhere; what was moved there is for its owner to remove.
    try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
    try f.expectEveryPoint()
    #expect(f.points.count == 1 && exists(drives[0].joined(Bytes(names[1].utf8))))
  }

  @Test func someRoomIsLeft() throws {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("cp large again; echo x >> again")
    let output = try f.sheaf(["backup", "-s", Raw(f.store), "--keep-free", "900T"], status: 1)
    #expect(output.errorText.contains("cannot keep 990 TB free"), "\(output)")
    #expect(try f.differences(at: f.points[0]) == [])
    try f.save()
    try f.expectEveryPoint()
    try f.sheaf(["backup", "-s", Raw(f.store), "--volume-size", "1k"], status: 64)
  }
}
