/// The table of attacks on a restore, one row each: names, links, notes and what stands in the target already.
import Glibc
import Posix
import TestSupport
import Testing

extension Attack {
  static let all = names + links + overwrites + replaced + lies + places + bombs

  /// The names of entries; what stops them: `Line.checkComponents`, `Escape.decode`, `ManifestSyntax.isPlain`, and the
  /// order of lines. A row's line stands last in the manifest wherever it sorts.
  static let names: [Attack] = [
    named("a name above the target", "./../outside/new"), named("a name through the parent", "./box/../../outside/new"),
    named("a parent in octal", #"./\056\056/outside/new"#), named("slashes in octal", #"./box\057..\057..\057new"#),
    named("an absolute name", "/outside/new"), named("an absolute name behind the dot", ".//outside/new"),
    named("the parent itself", "./.."), named("a dot in a name", "./box/./new"), named("the target itself", "./."),
    named("an empty name", "./"), named("a slash at the end", "./box/new/"), named("two slashes", "./box//new"),
    named("a NUL in octal", #"./box/a\000b"#), named("a NUL as it is", "./box/a\0b"),
    named("a byte that does not exist", #"./box/\777"#), named("half an escape", #"./box/\05"#),
    named("no name at all", ""), named("a control character", "./box/\u{1b}]0;title\u{7}"),
    named("a byte that is not ASCII", "./box/\u{e9}"),
    .set(
      "a parent behind a NUL, over what is there", 4, says: "cannot be read", options: ["--overwrite", "always"]
    ) { set, _ in
      set.file("..x", "evil") { $0.name = "./..\0x" }
    },
    .set("a parent behind a NUL, as a folder", 4, says: "cannot be read", options: ["--overwrite", "always"]) {
      set, _ in
      set.directory("..x") { $0.name = "./..\0x" }
      set.directory("..x/dir") { $0.name = "./..\0x/outside" }
      set.file("..x/dir/file", "evil") { $0.name = "./..\0x/outside/file" }
    },
    .set("a NUL in a link's target", 4, says: "cannot be read") { set, _ in
      set.symlink("box/link", "x") { $0.more = " link=a\0b" }
    },
    .set("a name of 64 KiB", 3, says: "File name too long") { set, _ in
      set.file("box/\(String(repeating: "n", count: 65536))")
    },
    .set("a path of 64 KiB with nothing above it", 3, says: "No such file") { set, _ in
      set.file("box/\(String(repeating: "d/", count: 32768))x")
    },
    .set("a link to 64 KiB", 3, says: "File name too long") { set, _ in
      set.symlink("box/link", Raw(String(repeating: "t", count: 65536)))
    },
    .set("the same name twice", 4, says: "is out of order") { set, _ in set.trailing = [Raw(set.lines[1].text)] },
    .set("names out of order", 4, says: "is out of order") { set, _ in set.trailing = [Raw(set.lines[0].text)] },
    noted("deleted: a name above the target", "# deleted ./../outside"),
    noted("deleted: the target", "# deleted ./"), noted("deleted: an absolute name", "# deleted /outside"),
    noted("deleted: a parent in octal", #"# deleted ./\056\056/outside"#),
    noted("deleted: a NUL", "# deleted ./..\0"), noted("unseen: a name above the target", "# unseen ./../outside"),
  ]

  private static func named(_ name: String, _ text: Raw) -> Attack {
    .set(name, 4, says: "cannot be read") { set, _ in
      set.file("zzz", "evil") { $0.name = text }
    }
  }

  private static func noted(_ name: String, _ text: Raw) -> Attack {
    .set(name, 4, says: "cannot be read", options: ["--overwrite", "always", "--delete"]) { set, _ in
      set.notes.append(("zzz", text))
    }
  }

  /// Ways out through links; what stops them: `openBeneath` in `PlaceLine` (entering, linking, attributes by
  /// `lsetxattr`), `Placer.isWhole`, and for hard links `Line.isSafe`. What only a race shows is in `HostileRaceTests`.
  static let links: [Attack] = [
    .set("a file through a symbolic link", 3, says: "box/link/new: ") { set, stage in
      set.symlink("box/link", Raw(stage.outside))
      set.file("box/link/new", "evil")
    },
    .set("a file through a relative link", 3, says: "box/link/new: ") { set, _ in
      set.symlink("box/link", "../../../outside")
      set.file("box/link/new", "evil")
      set.file("box/link/file", "evil")
    },
    .set("a folder through a symbolic link", 3, says: "box/link/dir: ") { set, stage in
      set.symlink("box/link", Raw(stage.outside))
      set.directory("box/link/dir") { $0.mode = "0777" }
      set.file("box/link/dir/inner", "evil")
      set.file("box/link/dir/new", "evil")
    },
    .set("a link through a symbolic link", 3, says: "box/link/new: ") { set, stage in
      set.symlink("box/link", Raw(stage.outside))
      set.symlink("box/link/new", "evil")
      set.fifo("box/link/pipe")
    },
    Attack("a link that an earlier set planted", 3, says: "box/link/new: ") { stage in
      var first = ForgedSet()
      first.directory("box")
      first.symlink("box/link", Raw(stage.outside))
      first.end()
      var second = ForgedSet("2026-01-02T000000Z-incr", id: 2, on: first)
      second.file("box/link/new", "evil")
      second.end()
      try stage.store.write(first)
      try stage.store.write(second)
    },
    .set("a link that was there before", 3, says: "box/sub/new: ", options: ["--overwrite", "always"]) { set, stage in
      set.file("box/sub/new", "evil")
      try stage.prepare(TestTree(["box": .directory(["sub": .symlink(Raw(stage.outside))])]))
    },
    .set(
      "a link that was there before and is kept", 3, says: "box/file: ", options: ["--overwrite", "never"]
    ) { _, stage in
      try stage.prepare(TestTree(["box": .symlink(Raw(stage.outside))]))
    },
    .set("an attribute of a symbolic link", 0, 3) { set, stage in
      set.symlink("box/link", Raw(stage.outside.joined(Bytes("file")))) {
        $0.tags = "x:security.capability:AQAAAgAgAAAAAAAAAAAAAAAAAAA,x:trusted.x:AAAA,x:user.x:AAAA,"
      }
    },
    .set("a hard link to the outside", 4, says: "cannot be read") { set, _ in
      set.hardLink("box/hard", "../outside/file")
    },
    .set("a hard link to an absolute name", 4, says: "cannot be read") { set, stage in
      set.hardLink("box/hard", Raw(stage.outside.joined(Bytes("file"))))
    },
    .set("a hard link through a symbolic link", 0, check: contentsOnly("box/hard", "contents")) { set, stage in
      // In all that is looked at it is the same file.
      try Descriptor.open(stage.outside, [.read, .directory]).setModified(Bytes("file"), Timestamp(seconds: 1))
      set.symlink("box/dir", Raw(stage.outside))
      set.hardLink("box/hard", "box/dir/file")
    },
    .set("a hard link to a symbolic link", 0, check: contentsOnly("box/hard", "contents")) { set, stage in
      set.symlink("box/dir", Raw(stage.outside.joined(Bytes("file"))))
      set.hardLink("box/hard", "box/dir")
    },
    .set("a hard link to itself", 0, check: contentsOnly("box/hard", "contents")) { set, _ in
      set.hardLink("box/hard", "box/hard")
    },
    .set("a hard link with the parent behind a NUL", 4, says: "cannot be read") { set, _ in
      set.hardLink("box/hard", "x") { $0.tags = "l:..\0x," }
    },
    .set("a hard link to a folder", 0, check: contentsOnly("box/hard", "contents")) { set, _ in
      set.hardLink("box/hard", "box")
    },
  ]

  private static func contentsOnly(_ path: Raw, _ contents: Raw) -> @Sendable (Stage) throws -> Void {
    { stage in
      let found = try Bytes.read(stage.target.joined(path.bytes))
      #expect(found == contents.bytes)
    }
  }

  /// Something else in the way; what stops it: O_EXCL and O_NOFOLLOW in `Unpacker.place` and `PlaceLine.addEmpty`,
  /// `Placer.replacing`. And what a damaged file may do to what is there.
  static let overwrites: [Attack] = ["never", "if-changed", "if-newer", "always"].flatMap { (when: Raw) -> [Attack] in
    let over = ["--overwrite", when]
    return [
      .set("a folder where a file was, \(when)", 0, 3, options: over) { set, stage in
        set.file("box/thing", "new")
        try stage.prepare(TestTree(["box": .directory(["thing": .directory(["old": .file("old")])])]))
      },
      .set("a file where a folder was, \(when)", 0, 3, options: over) { set, stage in
        set.directory("box/thing")
        set.file("box/thing/new", "new")
        try stage.prepare(TestTree(["box": .directory(["thing": .file("old")])]))
      },
      .set("a link to the outside where a file was, \(when)", 0, 3, options: over) { set, stage in
        set.file("box/thing", "new")
        try stage.prepare(TestTree(["box": .directory(["thing": .symlink(Raw(stage.outside.joined(Bytes("file"))))])]))
      },
      .set("a link to the outside where an empty file was, \(when)", 0, options: over) { set, stage in
        set.file("box/thing", "")
        try stage.prepare(TestTree(["box": .directory(["thing": .symlink(Raw(stage.outside.joined(Bytes("file"))))])]))
      },
      .set("another name of a file outside, \(when)", 0, 3, options: over, loosens: true) { set, stage in
        set.file("box/thing", "new")
        try stage.prepare(TestTree(["box": .directory()]))
        try Descriptor.open(stage.outside, [.read, .directory]).makeHardLink(
          of: Bytes("file"), as: Bytes("thing"), in: try Descriptor.open(stage.target.joined(Bytes("box")), .read))
      },
      .set("damaged data over a folder, \(when)", 0, 4, options: over, check: keepsFolder) { set, stage in
        set.file("box/thing", "new") { $0.digest = Raw(Checksums.sha256(Bytes("other"))) }
        try stage.prepare(TestTree(["box": .directory(["thing": .directory(["old": .file("old")])])]))
      },
    ]
  }

  /// What was there goes, and not what it leads to: `Placer.makeDirectory`, `Removal`.
  static let replaced: [Attack] = [
    .set(
      "a link to the outside where a folder was", 0, options: ["--overwrite", "always"],
      check: contentsOnly("box/thing/new", "new")
    ) { set, stage in
      set.directory("box/thing")
      set.file("box/thing/new", "new")
      try stage.prepare(TestTree(["box": .directory(["thing": .symlink(Raw(stage.outside))])]))
    },
    .set(
      "a link to the outside that is pruned", 0, options: ["--overwrite", "always", "--delete"]
    ) { _, stage in
      try stage.prepare(TestTree(["box": .directory(["old": .symlink(Raw(stage.outside))])]))
    },
  ]

  private static let keepsFolder: @Sendable (Stage) throws -> Void = { stage in
    let old = try Bytes.read(stage.target.joined(Bytes("box/thing/old")))
    #expect(old == Bytes("old"))
  }
}
