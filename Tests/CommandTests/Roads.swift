/// The ways back from a store that must all lead to the same tree: stock GNU tar, the script, manifests made again.
import Posix
import TestSupport
import Testing

extension Fixture {
  /// Stock GNU tar, on the archives of each point's chain in order, from an empty directory.
  /// `lagging`: the metadata of large files may be that of an older point.
  /// `isKnown`: a limit of tar that the test knows of.
  func expectReplay(
    lagging: Bool = false, _ story: String = "", _ isKnown: (String) -> Bool = { _ in false }
  ) throws {
    guard Reader.gnuTar.isInstalled else { return }
    let chains = try chains()
    let target = scratch.path("replay")
    var unpacked: [String] = []
    for point in points {
      let chain = try #require(chains[point.set], "\(point.set), \(story)")
      if unpacked.isEmpty || !chain.starts(with: unpacked) {
        Scratch.remove(target)
        try Descriptor.workingDirectory.makeDirectory(target)
        unpacked = []
      }
      for set in chain.dropFirst(unpacked.count) {
        let output = try Reader.gnuTar.extract(archive(set), into: target)
        #expect(output.succeeded, "tar, \(set), \(output), \(story)")
      }
      unpacked = chain
      let lines = point.tree.differences(to: try Snapshot(of: target.joined(inside.bytes)), .ignoring(.holes))
      let left =
        lines.filter {
          !isLimitOfTar($0, point.tree) && !(lagging && isOfLargeFile($0, point.tree)) && !isKnown($0)
        } + outputDifferences(point, in: target)
      #expect(left == [], "tar, \(point.set), \(story)")
    }
    Scratch.remove(target)
  }

  /// What each set builds on, from its full set to itself.
  func chains() throws -> [String: [String]] {
    var chains: [String: [String]] = [:]
    var newest: [Substring: String] = [:]
    for line in try sheaf(["points", "--json", "-s", Raw(store)]).json() {
      guard let set = line["set"] as? String else { continue }
      let parent = (line["parent"] as? String).flatMap { newest[$0[...]] }
      chains[set] = (parent.flatMap { chains[$0] } ?? []) + [set]
      newest[set.prefix(18)] = set
    }
    return chains
  }

  /// What is unpacked for a point, from its full set to itself.
  func chain(of set: String) throws -> [String] { try chains()[set] ?? [] }

  /// One plain tar of a point, read by GNU tar.
  func expectExport(_ point: Point, _ story: String = "") throws {
    guard Reader.gnuTar.isInstalled else { return }
    let exported = scratch.path("export.tar.gz")
    try sheaf(["export", "-q", "-s", Raw(store), "--at", Raw(point.set), "-o", Raw(exported)])
    let target = scratch.path("exported")
    try Descriptor.workingDirectory.makeDirectory(target)
    let output = try Reader.gnuTar.extract(exported, into: target)
    #expect(output.succeeded, "\(output), \(story)")
    let lines =
      point.tree.differences(to: try Snapshot(of: target.joined(inside.bytes)), .ignoring(.holes))
      + outputDifferences(point, in: target)
    #expect(lines == [], "export, \(point.set), \(story)")
    for path in [target, exported] { Scratch.remove(path) }
  }

  /// The script on the store, at these points.
  func expectScript(_ chosen: [Point], _ story: String = "") throws {
    for (index, point) in chosen.enumerated() {
      let target = scratch.path("script-\(index)")
      let output = try Command(
        "sh", [Raw(store.joined(Bytes("restore.sh".utf8))), "--at", Raw(point.set), "--to", Raw(target)] + scriptKey
      ).run()
      #expect(output.succeeded, "restore.sh, \(output), \(story)")
      let lines =
        point.tree.differences(to: try Snapshot(of: target.joined(inside.bytes)), .ignoring(.holes))
        + outputDifferences(point, in: target)
      #expect(lines == [], "restore.sh, \(point.set), \(story)")
      Scratch.remove(target)
    }
  }

  /// Manifests made again from the archives tell of the same points.
  func expectRebuilt(_ story: String = "") throws {
    func digests() throws -> [String] {
      let points = try sheaf(["points", "--json", "-s", Raw(store)]).json()
      return points.compactMap { $0["digest"] as? String }
    }
    let before = try digests()
    let directory = try Descriptor.open(series(), [.read, .directory])
    for name in try names() where name.contains(".mtree.gz") { try directory.removeFile(Bytes(name.utf8)) }
    try sheaf(["rebuild", "-q", "-s", Raw(store)])
    #expect(try digests() == before, "rebuild, \(story)")
    try sheaf(["verify", "-q", "-s", Raw(store)])
    let lines = try differences(at: newest)
    #expect(lines == [], "restore after rebuild, \(story)")
  }

  /// What is not stored again where only the metadata changed.
  private func isOfLargeFile(_ line: String, _ tree: Snapshot) -> Bool {
    let isLarge = tree.paths.contains { path in
      let entry = tree[Raw(path)]
      return entry?.kind == "file" && entry!.size > 1 << 20 && line.hasPrefix("\(path.quoted): ")
    }
    return isLarge && ["mode is", "owner is", "mtime is", "attribute "].contains { line.contains(": \($0)") }
  }

  /// GNU tar takes neither an attribute nor the setgid bit from a directory that stays; nothing else may differ.
  private func isLimitOfTar(_ line: String, _ tree: Snapshot) -> Bool {
    let directories = tree.paths.filter { tree[Raw($0)]?.isDirectory == true }.map(\.quoted) + ["the root"]
    guard directories.contains(where: { line.hasPrefix("\($0): ") }) else { return false }
    if line.contains("attribute ") { return line.hasSuffix("was missing") }
    guard let range = line.range(of: ": mode is 0") else { return false }
    let numbers = line[range.upperBound...].split { !$0.isNumber }.compactMap { UInt16($0, radix: 8) }
    // A list that stays shows in the group's bits too.
    return numbers.count == 2 && (numbers[0] ^ numbers[1]) & ~0o2070 == 0
  }
}
