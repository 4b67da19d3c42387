/// `sheaf import`: archives of other programs become points that come back as the programs themselves bring them back.
import Foundation
import Posix
import TestSupport
import Testing

/// Where archives are made, imported and brought back by several roads.
struct ImportPlace {
  let scratch: Scratch
  var store: Raw { Raw(scratch.path("store")) }
  static let isRoot = Host.isRoot

  init(encrypted: Bool = false) throws {
    scratch = try Scratch()
    try sheaf(["init", "-q", "-s", store] + (encrypted ? ["--encrypt"] : []))
  }

  /// Runs a script in the scratch folder; `root` is 1 where devices and owners can be made.
  func shell(_ script: Raw) throws {
    let environment: [String: Raw?] = ["root": Self.isRoot ? "1" : Raw?.none, "TZ": "UTC"]
    try Command("bash", ["-euc", script], environment: environment, in: scratch.path).run().checked()
  }

  @discardableResult func sheaf(_ arguments: [Raw], status: Int32 = 0) throws -> Output {
    let output = try Command.sheaf(arguments, environment: ["TZ": "UTC"], in: scratch.path).run()
    #expect(output.status == status, "\(output)")
    return output
  }

  @discardableResult func importing(_ arguments: [Raw], status: Int32 = 0) throws -> Output {
    try sheaf(["import", "-s", store, "--series", "old"] + arguments, status: status)
  }

  /// The points of the series, oldest first.
  func points() throws -> [String] {
    let output = try Command.sheaf(["points", "--json", "-s", store, "--series", "old"], in: scratch.path).run()
    return output.lines.compactMap { line in
      guard let at = line.range(of: "\"set\":\"") else { return nil }
      return String(line[at.upperBound...].prefix(18))
    }
  }

  /// What tar makes of the archives, one after the other; in `folder`.
  func replay(_ archives: [Raw], _ options: Raw = "-g /dev/null", by program: Raw = "tar") throws -> Snapshot {
    let all = Raw(Bytes(archives.map(\.bytes).joined(separator: [32])))
    let include: Raw = program == "tar" ? "--xattrs-include='*'" : ""
    try shell(
      """
      rm -rf tar; mkdir tar
      for a in \(all); do
        \(program) --xattrs \(include) --acls --numeric-owner -p \(options) -xf $a -C tar
      done
      """)
    return try Snapshot(of: scratch.path("tar"))
  }

  /// What the point gives: by the program, and by the script on the store. Folders above the sources are nobody's.
  func restored(_ point: String, _ folder: Raw) throws -> [Snapshot] {
    try shell("rm -rf back script; mkdir script")
    try sheaf([
      "restore", "-q", "-s", store, "--series", "old", "--numeric-owner", "--at", Raw(point), "--to", "back",
    ])
    try shell("sh store/restore.sh --series old --to script --at \(Raw(point)) >/dev/null")
    return try ["back", "script"].map { (name: Raw) in
      try Snapshot(of: scratch.path(name).joined(folder.bytes))
    }
  }
}

@Suite struct ImportTests {
  /// A history of a folder `src`, a step before each archive.
  static let history: [Raw] = [
    """
    mkdir -p src/a/sub src/b/deep/er src/ring1 src/ring2 "src/new
    line"
    echo 1 >src/a/f1; ln src/a/f1 src/a/hard; echo 2 >src/b/f2; echo deep >src/b/deep/er/x
    echo r1 >src/ring1/r; echo r2 >src/ring2/r; ln -s a/f1 src/link; mkfifo src/pipe
    head -c 1500000 /dev/urandom >src/big; ln src/big src/b/bighard; printf x >"src/raw$(printf '\\377')"
    truncate -s 3M src/holes; echo mid | dd of=src/holes bs=1M seek=1 conv=notrunc 2>/dev/null
    echo kept >src/kept; touch -d '2001-02-03 04:05:06.789' src/kept; touch -d '1965-01-01 00:00:00.25' src/b/f2
    l=$(printf 'n%.0s' $(seq 120)); mkdir -p src/$l/$l; echo long >src/$l/$l/$l; ln -s $l$l src/longlink
    chmod 4755 src/b/f2; setfattr -n user.k -v v src/a/f1 || :; setfacl -m u:daemon:rw src/kept || :
    if [ "${root-}" ]; then mknod src/dev c 1 3; chown 1234:4321 src/a/hard; chown -h 77:88 src/link; fi
    """,
    // Deletions, a renamed folder, a ring of names, a file that becomes a folder.
    """
    rm src/a/f1; mv src/b src/c; echo new >src/c/new; mv src/ring1 src/t; mv src/ring2 src/ring1; mv src/t src/ring2
    rm src/pipe; mkdir src/pipe; echo in >src/pipe/in
    """,
    "rm -r src/a; echo more >>src/kept; mv src/c src/pipe/c; chmod 640 src/pipe/in",
    "rm -r src/pipe/c; echo file >src/a; mkdir src/b; echo again >src/b/f2; mv src/big src/big2",
    "rm -r src/a src/ring1; ln src/kept src/b/kept; echo x >>src/big2",
  ]

  /// Makes `2024-05-01.tar` and so on; the last one is a level 0 again.
  private func chain(_ place: ImportPlace, _ format: Raw) throws -> [Raw] {
    var names: [Raw] = []
    for (index, step) in Self.history.enumerated() {
      let name: Raw = "2024-05-0\(index + 1).tar"
      let fresh: Raw = index == Self.history.count - 1 ? "rm list" : ":"
      try place.shell(
        """
        \(step)
        \(fresh)
        sleep 0.05; tar -H \(format) --sparse --xattrs --acls -g list -cf \(name) src; sleep 0.05
        """)
      names.append(name)
    }
    return names
  }

  /// GNU tar's own chains: each point is what GNU tar makes of the archives up to it.
  @Test(arguments: ["gnu", "pax"] as [Raw]) func chainsOfGNUTar(format: Raw) throws {
    let place = try ImportPlace()
    let names = try chain(place, format)
    // As they come: the first by itself, the others together and in any order.
    try place.importing(["--as", "/at", "--comment", "by tar", names[0]])
    let output = try place.importing(["--as", "/at", "--json"] + names.dropFirst().reversed())
    #expect(output.lines.filter { $0.contains("\"imported\"") }.count == 4, "\(output)")
    let points = try place.points()
    #expect(points == (1...5).map { "2024-05-0\($0)T000000Z" })
    try place.sheaf(["verify", "-q", "-s", place.store])
    for round in 0...1 {
      for (index, point) in points.enumerated() {
        let wanted = try place.replay(Array(names[...index])).subtree("src")
        for found in try place.restored(point, "at/src") {
          // The script makes no holes.
          let options = Snapshot.Options.ignoring(.holes)
          #expect(wanted.differences(to: found, options) == [], "\(format) \(index + 1), round \(round)")
        }
      }
      // Manifests made again out of the archives tell the same.
      guard round == 0 else { break }
      try place.shell("rm store/old/*.mtree.gz")
      try place.sheaf(["rebuild", "-q", "-s", place.store])
      try place.sheaf(["verify", "-q", "-s", place.store])
    }
  }

  /// A renamed folder costs nothing, and neither does what has not changed.
  @Test func whatIsThereIsNotStoredAgain() throws {
    let place = try ImportPlace()
    try place.shell(
      """
      mkdir -p src/d; head -c 2000000 /dev/urandom >src/d/big; head -c 2000000 /dev/urandom >src/other
      tar -g list -cf 2024-05-01.tar src; tar -cf 2024-05-03.tar src; sleep 0.05
      mv src/d src/e; tar -g list -cf 2024-05-02.tar src; mv src/e src/d
      """)
    try place.importing(["2024-05-01.tar", "2024-05-02.tar"])
    let again = try place.importing(["--json", "2024-05-03.tar"])
    #expect(again.text.contains("\"files_unchanged\":"), "\(again)")
    try place.shell("test $(stat -c %s store/old/2024-05-02*-incr.tar.gz) -lt 20000")
    // The folder is back where it was, which a plain tar cannot tell.
    try place.shell("test $(stat -c %s store/old/2024-05-03*-incr.tar.gz) -lt 2100000")
  }

  /// Programs that make plain tars: `$1` is the archive, `src` what is in it.
  static let makers: [(who: String, program: Raw, script: Raw)] = [
    ("GNU tar", "tar", "tar -cf $1 src"),
    ("GNU tar, posix", "tar", "tar -H posix --xattrs --acls -cf $1 src"),
    ("GNU tar, gzipped", "tar", "tar -czf $1 src"),
    ("GNU tar, sparse", "tar", "tar -S -H posix -cf $1 src"),
    ("GNU tar, sparse 0.1", "tar", "tar -S -H posix --sparse-version=0.1 -cf $1 src"),
    ("GNU tar, old sparse", "tar", "tar -S -H gnu -cf $1 src"),
    ("GNU tar, label", "tar", "tar -V 'my label' -cf $1 src"),
    ("GNU tar, absolute", "tar", "tar -P -cf $1 --transform 's,^src,/at/src,SHr' src"),
    ("bsdtar", "bsdtar", "\(young)bsdtar -cf $1 src"),
    ("bsdtar, pax", "bsdtar", "\(young)bsdtar --format pax --xattrs --acls -cf $1 src"),
    ("bsdtar, gnutar", "bsdtar", "\(young)bsdtar --format gnutar -cf $1 src"),
    ("busybox", "busybox", "busybox tar -cf $1 src"),
    ("Python, GNU", "python3", python(1)),
    ("Python, pax", "python3", python(2)),
  ]

  /// bsdtar writes other fractions of seconds before 1970 than it reads.
  private static let young: Raw = "touch -d 2001-01-01 src/b/f2 2>/dev/null || :; "

  private static func python(_ format: Int) -> Raw {
    "python3 -c 'import tarfile,sys; t=tarfile.open(sys.argv[1],\"w\",format=\(format)); t.add(\"src\"); t.close()' $1"
  }

  /// A plain tar stands for the whole tree of its day.
  @Test(arguments: makers.indices) func plainTars(row: Int) throws {
    let (who, program, script) = Self.makers[row]
    guard Command.find(program) != nil else { return }
    let place = try ImportPlace()
    var names: [Raw] = []
    for (index, step) in Self.history.prefix(3).enumerated() {
      let name: Raw = "2024-05-0\(index + 1).tar"
      try place.shell("\(step)\nset -- \(name)\n\(script)")
      names.append(name)
    }
    try place.importing(["--as", "/at"] + names)
    try place.sheaf(["verify", "-q", "-s", place.store])
    let isAbsolute = who.contains("absolute")
    for (index, point) in try place.points().enumerated() {
      let options: Raw = isAbsolute ? "--transform s,^/*at/,,SHr" : ""
      // GNU tar gives folders other times where what is in them does not follow them at once.
      let wanted = try place.replay([names[index]], options, by: program == "bsdtar" ? "bsdtar" : "tar").subtree("src")
      for found in try place.restored(point, "at/src") {
        // How a dense archive tells of holes is tar's own affair.
        let options = Snapshot.Options.ignoring(.holes)
        #expect(wanted.differences(to: found, options) == [], "\(who) \(index + 1)")
      }
    }
  }

  // MARK: - Dates

  static let dates: [(name: Raw, point: String?)] = [
    ("home-2024-05-01.tar", "2024-05-01T000000Z"), ("20240501.tgz", "2024-05-01T000000Z"),
    ("a_20240501T0600_b.tar", "2024-05-01T060000Z"), ("x-2024-05-01T06:07:08.tar.gz", "2024-05-01T060708Z"),
    ("2024_05_01-06-07.tar", "2024-05-01T060700Z"), ("1-2024.05.01Z.tar", "2024-05-01T000000Z"),
    ("20240501060708.tar", "2024-05-01T060708Z"), ("v12345678-2024-05-01-12.tar", "2024-05-01T000000Z"),
    ("1234567890123-20240501.tar", "2024-05-01T000000Z"), ("2023-02-29.tar", nil), ("202405011.tar", nil),
    ("home.tar", nil), ("2024-13-01.tar", nil), ("18991231.tar", nil), ("99999999999999999999999.tar", nil),
  ]

  @Test func datesOfArchives() throws {
    let place = try ImportPlace()
    try place.shell("mkdir src; echo a >src/a; tar -cf plain src; touch -d '2011-01-01 00:00:00Z' plain")
    for (index, (name, point)) in Self.dates.enumerated() {
      try place.shell("cp -p plain '\(name)'")
      let output = try place.sheaf(
        ["import", "-s", place.store, "--series", "s\(index)", "--json", name])
      let wanted = point ?? "2011-01-01T000000Z"
      #expect(output.text.contains("\"point\":\"\(wanted)\""), "\(name): \(output)")
    }
    // A label has a time of its own; an option comes before all.
    try place.shell("tar -V label -cf labelled src; touch -d '2011-01-01 00:00:00Z' labelled")
    let labelled = try place.sheaf(["import", "-n", "-s", place.store, "--series", "l", "labelled"])
    #expect(!labelled.text.contains("2011-01-01"), "\(labelled)")
    let told = try place.sheaf(
      ["import", "-n", "-s", place.store, "--series", "l", "--date", "2012-03-04T05:06Z", "2023-02-29.tar"])
    #expect(told.text.contains("2012-03-04T050600Z"), "\(told)")
    try place.sheaf(["points", "-s", place.store, "--series", "l"], status: 1)
  }

  /// What is refused, with what is said of it; nothing is written.
  @Test func whatIsRefused() throws {
    let place = try ImportPlace()
    try place.shell(
      """
      mkdir -p src/d; echo a >src/d/a
      tar -cf 2024-05-02.tar src; cp 2024-05-02.tar b-2024-05-02.tar; cp 2024-05-02.tar 2024-05-01.tar
      cp 2024-05-02.tar 2199-01-01.tar; tar -cf dot-2024-05-03.tar -C src .; tar -cf empty-2024-05-03.tar -T /dev/null
      tar -g list -cf /dev/null src; sleep 0.05; echo b >src/d/b; tar -g list -cf level1-2024-05-03.tar src
      mkfifo pipe; xz -k <2024-05-02.tar >2024-05-04.tar.xz
      """)
    try place.importing(["2024-05-02.tar"])
    let rows: [(arguments: [Raw], status: Int32, words: String)] = [
      (["2024-05-01.tar"], 64, "has a point of 2024-05-02T000000Z already"),
      (["b-2024-05-02.tar"], 64, "has a point of 2024-05-02T000000Z already"),
      (["2024-05-02.tar", "b-2024-05-02.tar"], 64, "are both of 2024-05-02T000000Z"),
      (["2199-01-01.tar"], 64, "still to come"), (["dot-2024-05-03.tar"], 64, "--as /home/ann"),
      (["--series", "new", "level1-2024-05-03.tar"], 1, "no point before it"),
      (["--as", "relative", "2024-05-02.tar"], 64, "no absolute path"),
      (["--as", "/a/../b", "2024-05-02.tar"], 64, "no absolute path"),
      (["--date", "soon", "2024-05-02.tar"], 64, "is no date"),
      (["--date", "2024-06-01", "2024-05-01.tar", "2024-05-02.tar"], 64, "the date of one archive"),
      (["2024-05-02.tar", "2024-05-02.tar"], 64, "named twice"), (["--level", "13", "2024-05-02.tar"], 64, "0 to 12"),
      (["--series", "a/b", "2024-05-02.tar"], 64, "cannot be a series' name"),
      (["empty-2024-05-03.tar"], 1, "holds nothing"), (["missing"], 1, "cannot open missing"),
      (["src"], 64, "is no file"), (["pipe"], 64, "is no file"), (["2024-05-04.tar.xz"], 4, "2024-05-04.tar.xz"),
    ]
    for row in rows {
      let output = try place.importing(row.arguments, status: row.status)
      #expect(output.errorText.contains(row.words), "\(output)")
    }
    #expect(try place.points() == ["2024-05-02T000000Z"])
    try place.shell("cp store/old/*.tar.gz own-2024-05-05.tar.gz")
    let own = try place.importing(["own-2024-05-05.tar.gz"], status: 1)
    #expect(own.errorText.contains("archive of a store already"), "\(own)")
    try place.sheaf(["verify", "-q", "-s", place.store])
  }

  /// Archives that only add; and a backup that goes on from what was imported.
  @Test func whatFollows() throws {
    let place = try ImportPlace()
    try place.shell(
      """
      mkdir -p src/d; echo a >src/d/a; echo b >src/d/b; ln src/d/b src/d/z; tar -cf 2024-05-01.tar -C src .
      rm src/d/a; echo c >src/d/c; tar -cf 2024-05-02.tar -C src d/c; tar -rf 2024-05-02.tar -C src d/b d/c
      """)
    let here = Raw(place.scratch.path)
    try place.importing(["--as", "\(here)/src", "--keep-missing", "2024-05-01.tar", "2024-05-02.tar"])
    let listed = try place.sheaf(["ls", "-R", "-s", place.store, "--series", "old"]).text
    for name in ["src/d/a", "src/d/b", "src/d/c", "src/d/z"] { #expect(listed.contains(name), "\(listed)") }
    let saved = try place.sheaf(["backup", "--json", "-s", place.store, "--series", "old", "src"])
    #expect(saved.text.contains("\"kind\":\"incremental\""), "\(saved)")
    #expect(saved.text.contains("\"files_deleted\":1"), "\(saved)")
    try place.sheaf(["verify", "-q", "-s", place.store])
    let now = try Snapshot(of: place.scratch.path("src"))
    try place.sheaf(["restore", "-q", "-s", place.store, "--series", "old", "--to", "back"])
    let back = place.scratch.path("back").joined(Bytes(here.bytes.dropFirst())).joined(Bytes("src"))
    #expect(now.differences(to: try Snapshot(of: back)) == [])
  }

  /// On other kinds of stores it is the same.
  @Test(arguments: [false, true]) func otherStores(isRemote: Bool) throws {
    let place = try ImportPlace(encrypted: true)
    try place.shell("mkdir src; head -c 3000000 /dev/urandom >src/a; tar -H posix -cf 2024-05-01.tar src")
    let server: [Raw] = isRemote ? ["--sftp-command", "/usr/lib/openssh/sftp-server"] : []
    let store: Raw = isRemote ? "sftp://server\(place.store)" : place.store
    try place.sheaf(["import", "-q", "-s", store, "--series", "old", "--volume-size", "2M", "2024-05-01.tar"] + server)
    try place.shell("echo b >src/b; tar -H posix -cf 2024-05-02.tar src")
    try place.sheaf(["import", "-q", "-s", store, "--series", "old", "2024-05-02.tar"] + server)
    try place.sheaf(["verify", "-q", "-s", store] + server)
    let now = try Snapshot(of: place.scratch.path("src"))
    try place.sheaf(["restore", "-q", "-s", store, "--series", "old", "--to", "back"] + server)
    #expect(now.differences(to: try Snapshot(of: place.scratch.path("back/src"))) == [])
  }
}
