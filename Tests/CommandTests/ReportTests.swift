/// The page on a store: valid, small, shown without anything else, and true to whatever names there are.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct ReportTests {
  /// What a parser of HTML says of a page; empty where it is well formed: every element closed in its turn, every
  /// attribute once, every id once, nothing that is fetched or run.
  private func faults(_ page: Bytes) throws -> [String] {
    let script = """
      import html.parser, sys
      text = sys.stdin.buffer.read().decode("utf-8")
      class Check(html.parser.HTMLParser):
        void = {"meta", "link", "br", "img", "hr", "input"}
        drawn = {"rect", "line", "polyline", "polygon"}
        def __init__(self):
          super().__init__(convert_charrefs=True)
          self.open, self.faults, self.ids, self.text = [], [], set(), []
        def handle_starttag(self, tag, attributes):
          names = [name for name, _ in attributes]
          if len(set(names)) != len(names): self.faults.append(f"<{tag}> has an attribute twice")
          for name, value in attributes:
            if name == "id":
              if value in self.ids: self.faults.append(f"id {value} twice")
              self.ids.add(value)
            if name.startswith("on") or name in ("src", "srcset", "data", "action"): self.faults.append(f"{tag} {name}")
            if name == "href" and not value.startswith("#"): self.faults.append(f"href {value}")
          if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "img"): self.faults.append(f"<{tag}>")
          if tag not in self.void: self.open.append(tag)
        def handle_startendtag(self, tag, attributes):
          if tag not in self.drawn: self.faults.append(f"<{tag}/>")
        def handle_endtag(self, tag):
          if not self.open or self.open.pop() != tag: self.faults.append(f"</{tag}> out of turn")
        def handle_data(self, data):
          self.text.append(data)
          for c in data:
            if ord(c) < 32 and c != "\\n" or ord(c) in range(0x7f, 0xa0) or ord(c) in (0x202e, 0x200f, 0x2066):
              self.faults.append(f"U+{ord(c):04X}")
        def handle_comment(self, data): self.faults.append("a comment")
        def unknown_decl(self, data): self.faults.append(data)
      check = Check()
      check.feed(text)
      check.close()
      print("\\n".join(check.faults + [f"<{t}> is not closed" for t in check.open]))
      """
    guard let python = Reader.python else { throw Unexpected(description: "python3 is not installed") }
    let output = try Command(Raw(python), ["-c", Raw(script)], input: page).run().checked()
    return output.lines.filter { !$0.isEmpty }
  }

  private func page(_ f: Fixture) throws -> Bytes { try Bytes.read(f.store.joined(Bytes("index.html"))) }

  private static let hostile: [Raw: Node] = [
    "<script>alert(1)<script>": .directory(["\"onload='x'&amp;": .file(size: 200_000, seed: 1)]),
    "esc\u{1B}[31m": .directory(["a": .file(size: 300_000, seed: 2)]),
    "rtl\u{202E}gpj": .directory(["a": .file(size: 400_000, seed: 3)]),
    Raw([0xff, 0xfe, 0x41]): .directory(["a": .file(size: 500_000, seed: 4)]),
    "<title><style><b>": .directory(["]]>": .file(size: 600_000, seed: 5)]),
    Raw(String(repeating: "n", count: 250)): .directory(["a": .file(size: 700_000, seed: 6)]),
    "new\nline": .directory(["a": .file(size: 100_000, seed: 7)]), "empty": .directory(),
  ]

  @Test func namesOfAnyBytes() throws {
    let f = try Fixture(TestTree(Self.hostile), encrypted: false)
    try f.save(["--comment", "<b>\u{1B}]0;x\u{7} & more"])
    try f.edit("echo more >new")
    try f.save(["--comment", "second"])
    let output = try f.sheaf(["report", "--json", "-s", f.named])
    let text = try page(f)
    #expect(try faults(text) == [])
    #expect(try output.json().last?["bytes"] as? Int == text.count)
    for part in [
      "&lt;script&gt;alert(1)&lt;script&gt;", "\\377\\376A", "esc\\033[31m", "rtl\\342\\200\\256gpj", "second",
    ] {
      #expect(text.shown.contains(part), "\(part)")
    }
    // A page of ours is replaced, and what is not one stays.
    try f.sheaf(["report", "-q", "-s", f.named])
    try f.scratch.write("store/index.html", "mine")
    #expect(try f.sheaf(["report", "-s", f.named], status: 1).errorText.contains("is no page of sheaf's"))
    #expect(try page(f) == Bytes("mine"))
    try f.scratch.write("own.html", "mine")
    try f.sheaf(["report", "-s", f.named, "-o", Raw(f.scratch.path("own.html"))], status: 1)
    try f.sheaf(["report", "-s", f.named, "-o", Raw(f.scratch.path("other.html"))])
    #expect(try faults(Bytes.read(f.scratch.path("other.html"))) == [])
    #expect(try f.sheaf(["report", "-s", f.named, "-o", "-"]).text.hasPrefix("<!DOCTYPE html>"))
    // It is no series, and no command minds it.
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
  }

  @Test func ofAnEncryptedStoreNoNameIsTold() throws {
    let f = try Fixture(
      TestTree(["secret-folder": .directory(["secret-file": .file(size: 50_000, seed: 1)])]), encrypted: true)
    try f.save(["--comment", "secret-comment"])
    try f.sheaf(["report", "-q", "-s", f.named])
    let text = try page(f).shown
    #expect(!text.contains("secret"), "\(text)")
    #expect(!text.contains("box/source") && text.contains(String(f.newest.set.prefix(10))))
    #expect(try faults(page(f)) == [])
    try f.sheaf(["report", "-s", f.named, "--names"], status: 64)
    try f.sheaf(["report", "-q", "-s", f.named, "--names", "-o", Raw(f.scratch.path("own.html"))])
    #expect(try Bytes.read(f.scratch.path("own.html")).shown.contains("secret-folder"))
    #expect(try Descriptor.open(f.scratch.path("own.html"), .read).status().mode == 0o600)
  }

  @Test func onAnotherMachineAndWithoutAnyPoint() throws {
    let far = try Fixture(TestTree(["a": .file("x")]), remote: Remote())
    try far.sheaf(["report", "-q", "-s", far.named])
    #expect(try page(far).shown.contains("There is no point yet"))
    try far.save()
    try far.sheaf(["report", "-q", "-s", far.named])
    #expect(try faults(page(far)) == [])
    try far.sheaf(["verify", "-q", "-s", far.named])
  }

  /// What it tells to be typed, typed.
  @Test(arguments: [false, true]) func theWayByHand(encrypted: Bool) throws {
    let f = try Fixture(TestTree(["a": .file(size: 3_000_000, seed: 1), "b": .file("text\n")]), encrypted: encrypted)
    try f.save(["--volume-size", "2M"])
    for text in ["one", "two", "three"] as [Raw] {
      try f.edit("echo \(text) >>b; rm -f a; echo \(text) >c-\(text)")
      try f.save()
    }
    // The list has another name than the archive then.
    try f.sheaf(["prune", "-q", "-s", f.named, "--keep-last", "2", "--fold"])
    try f.sheaf(["report", "-q", "-s", f.named])
    let text = try page(f).shown
    let block = try #require(text.components(separatedBy: "<pre><code>").last?.components(separatedBy: "</code>").first)
    let out = Raw(f.scratch.path("by-hand"))
    let key = encrypted ? try Raw(Command.key(of: f.store)) : ""
    let script = block.replacingOccurrences(of: "&#39;", with: "'").replacingOccurrences(
      of: "/tmp/restored", with: out.bytes.shown
    )
    .replacingOccurrences(of: "KEYFILE", with: key.bytes.shown)
    #expect(!script.contains("&") && script.hasPrefix("mkdir "), "\(script)")
    try Command("sh", ["-ec", Raw(script)], in: f.series()).run().checked()
    let lines = f.newest.tree.differences(to: try Snapshot(of: out.bytes.joined(f.inside.bytes)), .ignoring(.holes))
    #expect(lines == [], "\(script)")
  }

  @Test func damageAndProofsAreShown() throws {
    let f = try Fixture(TestTree(["a": .file(size: 3_000_000, seed: 1), "b": .file("text\n")]), encrypted: false)
    try f.save()
    try f.sheaf(["prove", "-q", "-s", f.named, "--all"])
    try f.sheaf(["report", "-q", "-s", f.named])
    #expect(try page(f).shown.contains("All of it, since"))
    let file = try Descriptor.open(f.archive(f.newest), .readWrite)
    try Bytes("damage").withUnsafeBytes { try file.write($0, at: 2_000_000) }
    try f.sheaf(["verify", "-q", "-s", f.named], status: 4)
    try f.sheaf(["report", "-q", "-s", f.named])
    #expect(try page(f).shown.contains("<span class=\"bad\">Damage</span> in \(f.newest.set)"))
    #expect(try faults(page(f)) == [])
  }

  /// Four hundred points stay below 300 kB: each takes less than 750 bytes.
  @Test func manyPointsMakeNoLargePage() throws {
    let f = try Fixture(TestTree(["a": .file("x")]), encrypted: false)
    try f.save()
    let script = "for i in $(seq 99); do \"$0\" backup -q -s \"$1\" --comment \"number $i of the points\" \"$2\"; done"
    let arguments: [Raw] = ["-ec", Raw(script), Raw(try Command.sheafBinary()), f.named, Raw(f.source)]
    try Command("sh", arguments, environment: ["HOME": Raw?.none]).run().checked()
    try f.sheaf(["report", "-q", "-s", f.named])
    let text = try page(f)
    #expect(text.shown.contains("100, the oldest of") && text.count < 75_000, "\(text.count)")
    #expect(try faults(text) == [])
  }
}
