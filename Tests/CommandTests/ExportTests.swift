/// One plain tar of a point, read by other programs and compared with what `restore` brings back.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct ExportTests {
  private static let holes = Node.sparse(size: 5_000_000, data: [0..<10], seed: 2)
  /// So many that the archive leaves them out.
  private static let vast = Node.sparse(
    size: (1 << 30) + 5_000_000, data: [7..<9, 1_000_000_000..<1_000_000_009], seed: 2)
  private static let children: [Raw: Node] = [
    "a": .file("a\n").modified(1_600_000_000, 5), "hard": .hardLink("z/first"), "link": .symlink("a"), "fifo": .fifo,
    "large": .file(size: 12_345_678, seed: 1), "holes": holes, "vast": vast,
    "acl": .file("l").acl(AccessList()), "attribute": .file("x").attribute("user.note", "value"),
    [0x62, 0xff]: .file("raw"), Raw(String(repeating: "long", count: 60)): .file("long name"),
  ]
  private static let m: [Raw: Node] = [
    "deep": .directory(["er": .file("deep")]).modified(5), "x": .hardLink("z/first"),
  ]
  private static let z: [Raw: Node] = ["first": .file("first\n").mode(0o4755), "empty": .directory().modified(99)]
  private static let tree = TestTree(
    children.merging(["m": Node.directory(m).mode(0o700), "z": Node.directory(z).modified(1_500_000_000)]) { a, _ in a }
  )

  private func history() throws -> Fixture {
    let f = try Fixture(Self.tree)
    try f.save()
    try f.edit("echo more >> a; rm fifo; mkdir m/new; echo n > m/new/n; chmod 755 m; rm -r z/empty")
    try f.save()
    try f.edit("echo again >> z/first; ln a z/another; mv m/deep z/deep")
    try f.save()
    return f
  }

  @discardableResult
  private func export(_ f: Fixture, _ name: Raw, _ more: Raw..., status: Int32 = 0) throws -> Output {
    try f.sheaf(["export", "-s", Raw(f.store), "-o", Raw(f.scratch.path(name))] + more, status: status)
  }

  @Test(.enabled(if: Reader.gnuTar.isInstalled)) func everyPointAsRestored() throws {
    let f = try history()
    for point in f.points {
      try export(f, "\(Raw(point.set)).tgz", "--at", Raw(point.set))
      let target = f.scratch.path("tar-\(Raw(point.set))")
      try Descriptor.workingDirectory.makeDirectory(target)
      let output = try Reader.gnuTar.extract(f.scratch.path("\(Raw(point.set)).tgz"), into: target)
      #expect(output.succeeded && output.stderr.isEmpty, "\(output)")
      let lines = point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), .ignoring(.holes))
      #expect(lines == [])
      if Rsync.isInstalled, Host.isRoot {
        let restored = try f.restore(at: point.set)
        let top = Bytes(f.inside.bytes.split(separator: 47)[0])
        #expect(try Rsync.differences(from: restored.joined(top), to: target.joined(top)) == [])
        Scratch.remove(restored)
      }
      Scratch.remove(target)
    }
  }

  /// Last good copies of one inode are one inode.
  @Test(.enabled(if: Reader.gnuTar.isInstalled)) func linksThatAreUnseen() throws {
    let f = try Fixture(
      TestTree(["a": .directory(["z": .file("z\n")]), "b": .directory(["x": .file("x\n"), "y": .hardLink("b/x")])]))
    let sources: [Raw] = ["\(f.source)/a", "\(f.source)/b"]
    try f.save(sources: sources)
    let tree = f.newest.tree
    try f.edit("mv b away")
    try f.save(sources: sources, status: 3)
    try export(f, "t.tgz")
    let target = f.scratch.path("tar")
    try Descriptor.workingDirectory.makeDirectory(target)
    try Reader.gnuTar.extract(f.scratch.path("t.tgz"), into: target).checked()
    let exported = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(tree.subtree("b").differences(to: exported.subtree("b"), .ignoring(.modified)) == [])
  }

  @Test func otherReadersListAndExtractIt() throws {
    let f = try history()
    // Entries of large holes are not for busybox.
    try f.edit("rm vast")
    try f.save()
    try export(f, "t.tar.gz")
    let wanted = Set(try f.sheaf(["ls", "-R", "-s", Raw(f.store)]).lines)
    for reader in Reader.installed {
      let listing = try reader.list(f.scratch.path("t.tar.gz"))
      #expect(listing.succeeded, "\(reader), \(listing)")
      if reader.name == Reader.pythonTar.name {
        let names = Set(listing.records.map { Raw($0) })
        #expect(names.count == wanted.count && names.contains("\(f.inside)/\(Raw([0x62, 0xff]))"))
      }
    }
    for reader in [Reader.bsdtar, .pythonTar] where reader.isInstalled {
      let target = f.scratch.path(reader.name == Reader.bsdtar.name ? "bsdtar" : "python")
      try Descriptor.workingDirectory.makeDirectory(target)
      let output = try reader.extract(f.scratch.path("t.tar.gz"), into: target)
      #expect(output.succeeded, "\(reader), \(output)")
      var options = Snapshot.Options.ignoring(.holes)
      // Python leaves attributes out, and a symbolic link's time.
      if reader.name == Reader.pythonTar.name {
        options.fields.subtract([.attributes, .modified, .mode])
      }
      let lines = f.newest.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), options)
      #expect(lines == [], "\(reader)")
    }
    // And this program itself.
    try f.sheaf(["verify", Raw(f.scratch.path("t.tar.gz"))])
    #expect(
      Set(try f.sheaf(["ls", Raw(f.scratch.path("t.tar.gz"))]).lines) == wanted)
  }

  @Test func plainOnStandardOutput() throws {
    let f = try history()
    let plain = try f.sheaf(["export", "-s", Raw(f.store)])
    #expect(plain.stderr.isEmpty && plain.stdout.count % 512 == 0)
    try export(f, "t.tar")
    #expect(try f.scratch.read("t.tar") == plain.stdout)
    let zipped = try f.sheaf(["export", "-z", "-s", Raw(f.store)])
    #expect(zipped.stdout.starts(with: [0x1f, 0x8b]))
    #expect(try Command("gzip", ["-dc"], input: zipped.stdout).run().checked().stdout == plain.stdout)
    // It begins with a directory, as every archive of ours does.
    let names = try Command("tar", ["-tf", "-"], input: plain.stdout).run().checked().lines
    #expect(names.first?.hasSuffix("/") == true && !names.contains { $0.hasSuffix(".gz") })
  }

  @Test(.enabled(if: Reader.gnuTar.isInstalled)) func onlyAPart() throws {
    let f = try history()
    for path in ["m", "z/first", "hard", "z", "m/x"] as [Raw] {
      let name = Raw(Bytes(path.bytes.map { $0 == 47 ? 45 : $0 }))
      try export(f, "\(name).tgz", "\(f.inside)/\(path)")
      let target = f.scratch.path("part-\(name)")
      try Descriptor.workingDirectory.makeDirectory(target)
      let output = try Reader.gnuTar.extract(f.scratch.path("\(name).tgz"), into: target)
      #expect(output.succeeded && output.stderr.isEmpty, "\(output)")
      let tree = try Snapshot(of: target.joined(f.inside.bytes))
      #expect(f.newest.tree.subtree(path).differences(to: tree.subtree(path), .ignoring(.holes)) == [], "\(path)")
      // Nothing else but the folders above, which are as they were.
      #expect(tree.paths.allSatisfy { Raw($0).isAtOrBelow(path) || path.isAtOrBelow(Raw($0)) }, "\(path)")
      #expect(tree[""]?.mode == f.newest.tree[""]?.mode && tree[""]?.modified == f.newest.tree[""]?.modified)
    }
    try export(f, "none.tar", "\(f.inside)/none", status: 1)
    #expect(!exists(f.scratch.path("none.tar")) && !exists(f.scratch.path("none.tar.partial")))
  }

  @Test func aFileIsNeverReplaced() throws {
    let f = try history()
    try f.scratch.write("t.tar", "mine")
    try export(f, "t.tar", status: 1)
    #expect(try f.scratch.read("t.tar") == Bytes("mine".utf8))
    try export(f, "no/such/t.tar", status: 1)
    for more in [["--json"], ["-v"]] as [[Raw]] {
      try f.sheaf(["export", "-s", Raw(f.store)] + more, status: 64)
    }
    let json = try f.sheaf(["export", "--json", "-s", Raw(f.store), "-o", Raw(f.scratch.path("u.tar"))]).json()
    #expect(try Snapshot(of: f.scratch.path)["u.tar"]?.mode == 0o600)
    #expect(json.count == 1 && json[0]["set"] as? String == f.newest.set && json[0]["damaged"] as? Bool == false)
    #expect((json[0]["files"] as? Int).map { $0 > 10 } == true)
    if Command.find("script") != nil {
      let binary = Raw(try Command.sheafBinary())
      let shown = try Command("script", ["-qec", "'\(binary)' export -s '\(f.store)'", "/dev/null"]).run()
      #expect(shown.status == 64 && shown.text.contains("terminal"), "\(shown)")
    }
  }

  @Test func whoReadsStopsEarly() throws {
    let f = try history()
    let script: Raw = "\"$0\" export -s \"$1\" 2>\"$2\" | head -c 1000 > /dev/null"
    let words: [Raw] = [Raw(try Command.sheafBinary()), Raw(f.store), Raw(f.scratch.path("errors"))]
    try Command("bash", ["-c", "set -o pipefail; \(script); test $? = 1"] + words).run().checked()
    #expect(try f.scratch.read("errors").shown.contains("standard output"))
  }

  /// Overwrites bytes in the middle of a file.
  private func damage(_ file: Bytes, at place: Raw) throws {
    let script: Raw = "printf DAMAGED | dd of=\"$0\" bs=1 seek=\"$1\" conv=notrunc 2>&1"
    try Command("sh", ["-ec", script, Raw(file), place]).run().checked()
  }

  @Test func damageLeavesAValidArchive() throws {
    let f = try Fixture(
      TestTree([
        "a": .directory(["small": .file("small\n"), "twin": .hardLink("a/small")]),
        "b": .file(size: 3_000_000, seed: 1), "c": .file(size: 20_000_000, seed: 2), "d": .file("after\n"),
        "e": .directory(["f": .file("far\n")]),
      ]))
    try f.save()
    let point = f.newest
    // Where the contents lie, as the manifest has it: the extent's second number.
    func place(_ name: String) throws -> Int {
      let manifest = try Command("gzip", ["-dc", Raw(f.manifest(point))]).run().checked().lines
      let line = try #require(manifest.first { $0.contains("/source/\(name) type=") })
      let extent = try #require(line.components(separatedBy: ",p:").last)
      return try #require(Int(extent.split(separator: ":")[1]))
    }
    try damage(f.archive(point), at: Raw(String(try place("b") + 1000)))
    try damage(f.archive(point), at: Raw(String(try place("c") + 10_000_000)))
    let output = try export(f, "t.tar", status: 4)
    #expect(output.errorLines.count == 2, "\(output)")
    #expect(output.errorText.contains("left out") && output.errorText.contains("zeros"), "\(output)")
    let listing = try Command("tar", ["-tvf", Raw(f.scratch.path("t.tar"))]).run().checked()
    #expect(listing.stderr.isEmpty && listing.lines.last?.hasSuffix("source/e/f") == true, "\(listing)")
    #expect(!listing.text.contains("source/b\n"))
    let target = f.scratch.path("out")
    try Descriptor.workingDirectory.makeDirectory(target)
    try Command("tar", ["-xpf", Raw(f.scratch.path("t.tar")), "-C", Raw(target)]).run().checked()
    let lines = point.tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)))
    // What is damaged, and nothing else; of the large one the beginning is there.
    #expect(
      lines.count == 2 && lines.contains { $0.hasPrefix("\"c\": ") } && lines.contains { $0.hasPrefix("\"b\": ") },
      "\(lines)")
    let c = try Bytes.read(target.joined(f.inside.bytes).joined(Bytes("c".utf8)))
    #expect(
      c.count == 20_000_000 && c.prefix(9_000_000) == Contents.bytes(count: 20_000_000, seed: 2).prefix(9_000_000))
    #expect(c.suffix(9_000_000).allSatisfy { $0 == 0 })
  }

  @Test func aNameOfADamagedFileIsNoLinkToNothing() throws {
    let f = try Fixture(
      TestTree(["first": .file(size: 100_000, seed: 1), "second": .hardLink("first"), "z": .file("z")]))
    try f.save()
    try damage(f.archive(f.newest), at: "50000")
    let output = try export(f, "t.tar", status: 4)
    #expect(output.errorLines.count == 3, "\(output)")
    let listing = try Command("tar", ["-tf", Raw(f.scratch.path("t.tar"))]).run().checked()
    #expect(!listing.text.contains("second"))
  }
}
