/// Drives that are full, that lose their power, or are pulled out while something runs.
///
/// A few moments by chance; as many as the manual promises where SHEAF_FAULTS is `all`, as `make faults` does.
import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: !Volume.mountable().isEmpty, "\(Volume.needs)")) struct LostDriveTests {
  private static let isThorough = ProcessInfo.processInfo.environment["SHEAF_FAULTS"] == "all"

  private static let tree = TestTree([
    "a": .file("a\n"), "large": .file(size: 12_000_000, seed: 1), "folder": .directory(["b": .file("b\n")]),
    "small": .directory(Dictionary(uniqueKeysWithValues: (0..<200).map { (Raw("f\($0)"), .file(Raw("\($0)\n"))) })),
  ])

  /// Of the newest points: those before were looked at when they were new.
  private func expectPoints(_ f: Fixture, _ story: String, last count: Int = .max) throws {
    for point in f.points.suffix(count) { #expect(try f.differences(at: point) == [], "\(point.set), \(story)") }
  }

  // MARK: Power

  @Test(.enabled(if: !Volume.mountable([.ext4]).isEmpty, "\(Volume.needs)")) func powerLoss() throws {
    let volume = try Volume(.ext4, megabytes: 192)
    let f = try Fixture(Self.tree, store: volume.path.joined(Bytes("store")))
    let begin = Timestamp.monotonicNanoseconds()
    try f.save()
    var duration = Int(Timestamp.monotonicNanoseconds() - begin) / 1000
    var random = Random(label: "powerLoss")
    let rounds = Self.isThorough ? 120 : 6
    var kept = 0
    for round in 1...rounds {
      try f.edit(
        "echo \(round) >> a; echo \(round) > small/f\(round % 200); rm -f new*; echo > new\(round); head -c 12000000 /dev/urandom > large"
      )
      let tree = try Snapshot(of: f.source)
      let isFull = random.once(in: 2)
      let running = try Command.sheaf(["backup", "-s", Raw(f.store), "--json"] + (isFull ? ["--full"] : [])).start()
      // Up to about what the run takes, which is found out as it goes: about every other is to be cut short.
      usleep(UInt32(random.below(duration)))
      try volume.losePower()
      let output = running.wait()
      let story = "round \(round): \(output)"
      #expect([0, 1, 10].contains(output.status), "\(story)")
      if !output.succeeded {
        #expect(output.errorText.contains("sheaf: error: "), "\(story)")
        #expect(output.errorText.contains("hint: the drive") || output.status == 10, "\(story)")
      }
      try volume.remount()
      duration = output.succeeded ? duration * 4 / 5 : duration * 6 / 5
      if output.succeeded {
        // What was said to be done is done.
        kept += 1
        try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
        let target = try f.restore()
        #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [], "\(story)")
        Scratch.remove(target)
      }
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      try expectPoints(f, story, last: 2)
      try f.save()
      try expectPoints(f, story, last: 1)
      if round % 6 == 0, round < rounds {
        // Room for more.
        let series = try f.series()
        Scratch.remove(series)
        f.forget()
        try f.save(sources: [Raw(f.source)])
      }
    }
    #expect(kept < rounds)
    print("power loss: \(rounds) times, \(kept) after the run's end")
  }

  // MARK: Full

  private static let full: [(Volume.Kind, Int)] = Volume.mountable([.ext4, .exfat, .ntfs]).map {
    ($0, isThorough ? ($0 == .ext4 ? 50 : 10) : ($0 == .ext4 ? 6 : 3))
  }

  @Test(arguments: full) func aFullDrive(_ kind: Volume.Kind, steps: Int) throws {
    let volume = try Volume(kind, megabytes: 48)
    let f = try Fixture(Self.tree, store: volume.path.joined(Bytes("store")))
    try f.save()
    try f.edit("echo more >> a; head -c 9000000 /dev/urandom > large")
    let tree = try Snapshot(of: f.source)
    let before = try f.names()
    for step in 0...steps {
      let free = Int64(12_000_000) * Int64(step) / Int64(steps)
      try volume.fill(leaving: free)
      let output = try Command.sheaf(["backup", "-s", Raw(f.store)]).run()
      let story = "\(free) bytes free: \(output)"
      #expect(output.status == 0 || output.status == 1, "\(story)")
      if output.status == 1 { #expect(output.errorText.contains("No space left on device"), "\(story)") }
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      try expectPoints(f, story)
      if output.succeeded {
        let target = try f.restore()
        #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [], "\(story)")
        Scratch.remove(target)
      }
      try volume.fill(leaving: nil)
      // With room it goes on.
      let next = try Command.sheaf(["backup", "-s", Raw(f.store)]).run()
      #expect(next.succeeded, "\(story)\n\(next)")
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      let target = try f.restore()
      #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes))) == [], "\(story)")
      Scratch.remove(target)
      if step == 0 { #expect(output.status == 1, "\(story)") }
      if step == steps { #expect(output.succeeded, "\(story)") }
      let series = try Descriptor.open(f.series(), [.read, .directory])
      for name in try series.sortedNames() where !before.contains(name.shown) { try series.removeFile(name) }
    }
    print("full \(kind.rawValue): \(steps + 1) sizes")
  }

  // MARK: Pulled

  @Test(arguments: Volume.mountable([.fuse2fs, .exfat, .ntfs])) func aPulledStore(_ kind: Volume.Kind) throws {
    let volume = try Volume(kind, megabytes: 96)
    let f = try Fixture(Self.tree, store: volume.path.joined(Bytes("store")))
    try f.save()
    try volume.remount()
    var random = Random(label: "aPulledStore \(kind.rawValue)")
    var cut = 0
    for round in 1...(Self.isThorough ? 20 : 3) {
      try f.edit("echo \(round) >> a")
      let running = try Command.sheaf(["backup", "-s", Raw(f.store), "--full"]).start()
      usleep(UInt32(5_000 + random.below(100_000)))
      volume.pull()
      let output = running.wait()
      #expect([0, 1, 10].contains(output.status), "\(output)")
      if output.status == 1 {
        cut += 1
        // Once, and what to do.
        #expect(output.errorLines.filter { $0.hasPrefix("sheaf: ") }.count == 1, "\(output)")
        #expect(output.errorText.contains("hint: the drive may have been pulled out"), "\(output)")
      }
      // Nothing landed where the drive had been.
      volume.unmount()
      #expect(try Descriptor.open(volume.path, [.read, .directory]).sortedNames() == [])
      try f.sheaf(["backup", "-s", Raw(f.store)], status: 10)
      #expect(try Descriptor.open(volume.path, [.read, .directory]).sortedNames() == [])
      try volume.repair()
      #expect(try f.differences(at: f.points[0]) == [], "\(output)")
      try f.save()
      #expect(try f.differences(at: f.newest) == [])
      try volume.remount()
      try f.sheaf(["verify", "-q", "-s", Raw(f.store)])
      // Room for more.
      let series = try Descriptor.open(f.series(), [.read, .directory])
      for name in try series.sortedNames() where !name.starts(with: Bytes(f.points[0].set.utf8)) {
        try series.removeFile(name)
      }
    }
    #expect(cut > 0)
  }

  @Test(arguments: Volume.mountable([.fuse2fs, .ntfs])) func aPulledTargetOrSource(_ kind: Volume.Kind) throws {
    let volume = try Volume(kind, megabytes: 96)
    let f = try Fixture(Self.tree)
    try f.save()
    var cut = 0
    for round in 1...8 where cut == 0 {
      let target = volume.path.joined(Bytes("target"))
      let running = try Command.sheaf(["restore", "-s", Raw(f.store), "--to", Raw(target)]).start()
      usleep(UInt32(4_000 * round))
      volume.pull()
      let output = running.wait()
      #expect([0, 1].contains(output.status), "\(output)")
      if output.status == 1 {
        cut += 1
        #expect(output.errorLines.filter { $0.hasPrefix("sheaf: ") }.count == 1, "\(output)")
      }
      volume.unmount()
      #expect(try Descriptor.open(volume.path, [.read, .directory]).sortedNames() == [])
      try volume.repair()
      Scratch.remove(target)
    }
    #expect(cut > 0)
    // A source that goes away is unseen, not deleted.
    let source = volume.path.joined(Bytes("source"))
    try Self.tree.make(at: source)
    let tree = try Snapshot(of: source)
    try f.save(["--series", "other"], sources: [Raw(source)])
    volume.pull()
    usleep(100_000)
    let output = try Command.sheaf(["backup", "-s", Raw(f.store), "--series", "other"]).run()
    #expect(output.status == 1 || output.status == 3, "\(output)")
    let place = f.scratch.path("back")
    try f.sheaf(["restore", "-s", Raw(f.store), "--series", "other", "--to", Raw(place)])
    #expect(tree.differences(to: try Snapshot(of: place.joined(Bytes(source.dropFirst())))) == [])
  }
}
