/// What of a point `restore.sh` is asked for, and in what surroundings it runs.
import Posix
import TestSupport
import Testing

@Suite struct RestoreScriptChoiceTests {
  typealias Road = RestoreScriptTests.Road

  /// Logs that were rotated by renaming, names of one inode, a link, and a folder with bits.
  private func rotated() throws -> Fixture {
    let f = try Fixture(
      TestTree([
        "log": .directory(["log": .file("middle"), "log.1": .file("oldest"), "a b": .file("odd")]).modified(7, 8),
        "one": .file("linked").modified(5),
        "d": .directory(["two": .hardLink("one"), "l": .symlink("..")]).mode(0o2750),
        "-x": .directory(["new\nline": .file("n"), "e": .file()]),
      ]))
    try f.save()
    try f.edit("cd log; mv log.1 log.2; mv log log.1; echo newest > log")
    try f.save()
    return f
  }

  /// The same as the program gives for these paths.
  @Test(arguments: [
    ["log/log"], ["log/log.1"], ["log/log.2"], ["log", "d"], ["d/two"], ["one"], ["-x"], ["d/l", "log/a b"],
  ])
  func onlyThesePaths(names: [String]) throws {
    let f = try rotated()
    let paths = names.map { Raw("\(f.inside)/\($0)") }
    for point in f.points {
      let at: [Raw] = ["--at", Raw(point.set)]
      let there = names.filter { point.tree[Raw($0)] != nil }
      guard there.count == names.count else { continue }
      let wanted = f.scratch.path("wanted")
      try f.sheaf(["restore", "-q", "-s", Raw(f.store), "--to", Raw(wanted)] + at + paths)
      let tree = try Snapshot(of: wanted)
      for road in Road.installed {
        let target = f.scratch.path("target")
        try road.run(in: f.store, ["--to", Raw(target)] + paths + at, f.scratch).checked()
        var limits = road.limits
        limits.untimed = [""]
        #expect(tree.differences(to: try Snapshot(of: target), limits) == [], "\(road), \(point.set)")
        Scratch.remove(target)
      }
      Scratch.remove(wanted)
    }
  }

  @Test(arguments: Road.installed) func whatThereIsIsListed(road: Road) throws {
    let f = try rotated()
    let all = try road.run(in: f.store, ["--list"], f.scratch).checked().text
    let names = all.split(separator: "\n").filter { $0.contains("/source/") && !$0.hasSuffix("/source/") }.map { line in
      String(line[line.range(of: "/source/")!.upperBound...])
    }
    #expect(
      names == [
        "-x/", "-x/e", "-x/new\\012line", "d/", "d/l -> ..", "d/two", "log/", "log/a b", "log/log", "log/log.1",
        "log/log.2",
        "one",
      ])
    let older = try road.run(
      in: f.store, ["--list", "--at", Raw(f.points[0].set), "/\(f.inside)/log/"], f.scratch
    ).checked().text
    #expect(older.contains("/log/log.1\n") && !older.contains("log.2") && !older.contains("one"))
    // As it is listed it can be asked for.
    let target = f.scratch.path("target")
    try road.run(in: f.store, ["--to", Raw(target), "\(f.inside)/-x/new\\012line"], f.scratch).checked()
    #expect(try Snapshot(of: target.joined(f.inside.bytes)).paths.contains(Raw("-x/new\nline").bytes))
    let missing = try road.run(in: f.store, ["--to", "\(f.scratch.path)/no", "nothing"], f.scratch)
    #expect(missing.status == 1 && missing.errorText.contains("nothing") && !exists(f.scratch.path("no")))
  }

  /// The name of a set that another one for the same point has replaced.
  @Test func theOldNameOfAPoint() throws {
    let f = try rotated()
    let (tree, old) = (f.newest.tree, f.newest.set)
    try f.sheaf(["consolidate", "-q", "-s", Raw(f.store)])
    for road in Road.installed {
      let target = f.scratch.path("target")
      try road.run(in: f.store, ["--at", Raw(old), "--to", Raw(target)], f.scratch).checked()
      #expect(tree.differences(to: try Snapshot(of: target.joined(f.inside.bytes)), road.limits) == [])
      Scratch.remove(target)
    }
    try f.sheaf(["prune", "-q", "-s", Raw(f.store), "--drop", Raw(old)])
    #expect(try f.sheaf(["points", "--json", "-s", Raw(f.store)]).json().filter { $0["set"] != nil }.count == 1)
  }

  /// The environment of whoever runs it changes nothing, and a point that others could read meanwhile is not there.
  @Test(arguments: Road.installed) func theEnvironmentIsNotAsked(road: Road) throws {
    let f = try rotated()
    let folder = f.scratch.path("folder")
    try Descriptor.workingDirectory.makeDirectory(folder)
    let script = """
      cd "$1"; shift; mkdir t; echo 'exit 9' >env
      TAR_OPTIONS=--to-command=false POSIXLY_CORRECT=1 GZIP=-9 TMPDIR=t CDPATH=/:/tmp ENV=$PWD/env BASH_ENV=$PWD/env
      export TAR_OPTIONS POSIXLY_CORRECT GZIP TMPDIR CDPATH ENV BASH_ENV
      sh "$1" --to target
      """
    try Command("sh", ["-c", Raw(script), "sh", Raw(folder), Raw(f.store.joined(Bytes("restore.sh")))]).run().checked()
    let tree = try Snapshot(of: folder.joined(Bytes("target")).joined(f.inside.bytes))
    #expect(f.newest.tree.differences(to: tree, .ignoring(.holes)) == [])
    #expect(try Snapshot(of: folder.joined(Bytes("t"))).paths.count <= 1)
  }

  @Test func aTargetThatIsTooSmall() throws {
    let f = try Fixture(TestTree(["large": .file(size: 3_000_000, seed: 1), "small": .file("s")]))
    try f.save()
    let target = f.scratch.path("target")
    // A df that tells of a megabyte, in a file system whose name has blanks.
    let run: Raw = """
      mkdir -p "$1"; printf '#!/bin/sh\\necho Filesystem\\necho "a 1 b 4096 3096 1000 76%% /mnt/9"\\n' >"$1/df"
      chmod +x "$1/df"; PATH=$1:$PATH; export PATH; shift; exec sh "$@"
      """
    let script: [Raw] = [
      "-c", run, "sh", Raw(f.scratch.path("tools")), Raw(f.store.joined(Bytes("restore.sh"))), "--to", Raw(target),
    ]
    let refused = try Command("sh", script).run()
    #expect(refused.status == 1 && refused.errorText.contains("no room for all of it in "), "\(refused)")
    #expect(refused.errorLines.count == 1 && !exists(target), "\(refused)")
    try Command("sh", script + ["\(f.inside)/small"]).run().checked()
    Scratch.remove(target)
    try Command("sh", script + ["--force"]).run().checked()
    let restored = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(f.newest.tree.differences(to: restored, Road.gnu.limits) == [])
  }

  @Test(.enabled(if: Road.installed.contains(.busybox))) func whereSetfattrIsNotInstalled() throws {
    let f = try Fixture(TestTree(["folder": .directory([:]).attribute("user.a", "1")]))
    try f.save()
    try Road.busybox.run(in: f.store, ["--list"], f.scratch).checked()
    Scratch.remove(f.scratch.path("tools").joined(Bytes("setfattr")))
    let target = f.scratch.path("target")
    let output = try Road.busybox.run(in: f.store, ["--to", Raw(target)], f.scratch).checked()
    #expect(output.errorText.contains("setfattr is not installed, so some extended attributes"), "\(output)")
  }

  /// Whoever is not who had them gets no files with these bits.
  @Test(.enabled(if: Host.isRoot, "only root can become a user without rights"), arguments: Road.installed)
  func noBitsForAnother(road: Road) throws {
    let f = try Fixture(
      TestTree([
        "root's": .file("x").mode(0o6755), "empty": .file().mode(0o6755), "folder": .directory([:]).mode(0o7755),
        "pipe": .fifo.mode(0o6644),
      ]))
    try f.save()
    try Command("chmod", ["-R", "a+rX", Raw(f.store)]).run().checked()
    let box = f.scratch.path("box-of-nobody")
    try Descriptor.workingDirectory.makeDirectory(box)
    try Command("chown", ["65534:65534", Raw(box)]).run().checked()
    let target = box.joined(Bytes("target"))
    _ = try road.run(in: f.store, ["--to", Raw(target)], f.scratch, as: .nobody)
    let tree = try Snapshot(of: target.joined(f.inside.bytes))
    for path in tree.paths where tree[Raw(path)]!.mode & 0o6000 != 0 { Issue.record("\(road): \(path.shown)") }
    #expect(tree["root's"] != nil && tree["folder"]!.mode & 0o1000 != 0)
  }

  /// Files, folders and links that have nothing but times of their own do not cost a command each.
  @Test(arguments: [Road.gnu, .bsd].filter(Road.installed.contains)) func manyTimesWithFewCommands(road: Road) throws {
    let kinds: [(Raw, Node)] = [
      ("empty", .file()), ("full", .file("x")), ("folder", .directory([:])), ("link", .symlink("/else\twhere/..")),
      ("sgid", .directory([:]).mode(0o2775)), ("shut", .directory([:]).mode(0o500)), ("open", .file().mode(0o6755)),
      ("odd\u{1}\n\\ %s", .file()), ("-\u{e9} =", .symlink("-\u{e9} ='")),
      (Raw(Bytes(repeating: 0xc8, count: 250)), .file().mode(0o7)),
    ]
    var folders: [Raw: Node] = [:]
    for number in 0..<40 {
      let time = Int64(1_000_000_000 + number * 10)
      var children: [Raw: Node] = [:]
      for (index, kind) in kinds.enumerated() { children[kind.0] = kind.1.modified(time + Int64(index), Int32(index)) }
      folders["\(number)"] = Node.directory(children).modified(time, 7)
    }
    let f = try Fixture(TestTree(folders))
    try f.save()
    // Commands that say that they ran.
    let tools = f.scratch.path("counting")
    let make: Raw = """
      mkdir "$1"; for i in touch chmod chown mkdir ln mv; do
        printf '#!/bin/sh\\necho %s >>"%s/ran"\\nexec %s "$@"\\n' $i "$1" "$(command -v $i)" >"$1/$i"; done
      chmod +x "$1"/*
      """
    try Command("sh", ["-ec", make, "sh", Raw(tools)]).run().checked()
    let target = f.scratch.path("target")
    let run: Raw = "PATH=$1:$PATH; export PATH; shift; exec \"$@\""
    let script: [Raw] = road.shell + [Raw(f.store.joined(Bytes("restore.sh"))), "--to", Raw(target)]
    try Command("sh", ["-c", run, "sh", Raw(tools)] + script, environment: ["TAR": road == .bsd ? "bsdtar" : "tar"])
      .run().checked()
    let restored = try Snapshot(of: target.joined(f.inside.bytes))
    #expect(f.newest.tree.differences(to: restored, road.limits) == [])
    let ran = try Bytes.read(tools.joined(Bytes("ran"))).split(separator: 10).map { Raw(Bytes($0)) }
    // Of each forty, what cannot be told to a tar: one file's odd name, folders that are shut, what has special bits.
    let count = Dictionary(grouping: ran) { $0 }.mapValues(\.count)
    #expect(count["touch", default: 0] < 40 * 2 + 20 && count["ln", default: 0] < 5, "\(count)")
    #expect(count["chmod", default: 0] < 40 * 3 + 20 && count["chown", default: 0] < 20, "\(count)")
  }
}
