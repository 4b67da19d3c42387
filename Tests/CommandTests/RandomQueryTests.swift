/// What `diff`, `find`, `history` and `export` say of trees edited at random, against what the trees were.
import Foundation
import Posix
import TestSupport
import Testing

struct RandomQueryTests {
  /// What a manifest tells of a path, read with none of the code under test.
  struct Fact: Equatable {
    var words: [String]
    init(_ e: Snapshot.Entry) {
      words = [
        "\(e.type)", "\(e.type == S_IFLNK ? 0 : e.mode)", "\(e.uid):\(e.gid)", "\(e.size)", "\(e.modified)",
        e.target.quoted, "\(e.special)", "\(e.digest)",
      ]
      words += e.attributes.map { "\($0)" }.sorted()
    }
  }

  private struct Expected {
    var added: Set<Raw> = []
    var removed: Set<Raw> = []
    var changed: Set<Raw> = []
  }

  private func facts(_ tree: Snapshot) -> [Raw: Fact] {
    var facts: [Raw: Fact] = [:]
    for (path, entry) in tree.entries where !entry.isSocket { facts[path] = Fact(entry) }
    return facts
  }

  private func expected(_ old: Snapshot, _ new: Snapshot) -> Expected {
    let (old, new) = (facts(old), facts(new))
    var expected = Expected()
    for (path, fact) in new {
      if old[path] == nil { expected.added.insert(path) } else if old[path] != fact { expected.changed.insert(path) }
    }
    expected.removed = Set(old.keys.filter { new[$0] == nil })
    return expected
  }

  /// What a line of JSON names, from the source's root; nil for what lies above the source.
  private func path(_ line: [String: Any], _ f: Fixture, _ key: String = "path") -> Raw? {
    guard let text = line[key] as? String else { return nil }
    var bytes = Bytes(text.utf8)
    if let exact = line[key + "_base64"] as? String { bytes = Bytes(Data(base64Encoded: exact)!) }
    if bytes == f.inside.bytes { return "" }
    let start = f.inside.bytes + [47]
    return bytes.starts(with: start) ? Raw(Bytes(bytes.dropFirst(start.count))) : nil
  }

  private func check(_ f: Fixture, _ arguments: [Raw], _ expected: Expected, _ story: String) throws {
    let lines = try f.sheaf(["diff", "--json", "-s", Raw(f.store)] + arguments).json()
    var found = Expected()
    for line in lines.dropLast() {
      guard let path = path(line, f) else { continue }
      switch line["action"] as? String {
      case "added": found.added.insert(path)
      case "removed": found.removed.insert(path)
      case "moved":
        found.added.insert(path)
        found.removed.insert(try #require(self.path(line, f, "from")))
      // Other names of a file say who is the first, which is nothing of the file's own.
      case "changed":
        if line["what"] as? [String] != ["link"] || expected.changed.contains(path) { found.changed.insert(path) }
      default: Issue.record("\(line)")
      }
    }
    #expect(found.added == expected.added, "\(arguments), \(story)")
    #expect(found.removed == expected.removed, "\(arguments), \(story)")
    #expect(found.changed == expected.changed, "\(arguments), \(story)")
  }

  @Test(arguments: HistoryTests.seeds) func everyAnswerIsTrue(seed: UInt64) throws {
    let f = try Fixture()
    Scratch.remove(f.source)
    var history = History(seed: seed &+ 1000)
    try history.make(at: f.source)
    try f.save()
    var edits: [String] = []
    for step in 1...HistoryTests.steps {
      edits += try history.step().map { "\(step): \($0)" }
      let story = "seed \(seed)\n" + edits.joined(separator: "\n")
      try check(f, ["--live", "--checksum"], expected(f.newest.tree, Snapshot(of: f.source)), story)
      try f.save(step == 3 ? ["--full"] : [])
      try check(f, [], expected(f.points[step - 1].tree, f.newest.tree), story)
      try check(f, [Raw(f.points[0].set)], expected(f.points[0].tree, f.newest.tree), story)
    }
    let story = "seed \(seed)\n" + edits.joined(separator: "\n")
    try check(f, [Raw(f.newest.set), Raw(f.points[1].set)], expected(f.newest.tree, f.points[1].tree), story)
    try checkFind(f, story)
    try checkHistory(f, story)
    try checkBeforeChange(f, story)
    for point in [f.points[f.points.count / 2], f.newest] { try f.expectExport(point, story) }
  }

  private func checkFind(_ f: Fixture, _ story: String) throws {
    var newest: [Raw: (point: String, isThere: Bool, digest: String)] = [:]
    for point in f.points {
      for (path, entry) in point.tree.entries where !entry.isSocket {
        newest[path] = (point.set, point.set == f.newest.set, "\(entry.type == S_IFREG ? "\(entry.digest)" : "")")
      }
    }
    var found: [Raw: (point: String, isThere: Bool, digest: String)] = [:]
    for line in try f.sheaf(["find", "--json", "-s", Raw(f.store), "*"]).json().dropLast() {
      guard let path = path(line, f) else { continue }
      found[path] = (
        try #require(line["point"] as? String), line["deleted"] as? Bool == false, line["sha256"] as? String ?? ""
      )
    }
    #expect(Set(found.keys) == Set(newest.keys), "\(story)")
    for (path, wanted) in newest {
      #expect(found[path]?.point == wanted.point && found[path]?.isThere == wanted.isThere, "\(path), \(story)")
    }
  }

  private func checkHistory(_ f: Fixture, _ story: String) throws {
    let paths = Set(f.points.flatMap { $0.tree.entries.filter { !$0.value.isSocket }.keys }).sorted()
    for path in paths.enumerated().filter({ $0.offset % 7 == 0 }).map(\.element) {
      var wanted: [String] = []
      var last: Fact?
      for point in f.points {
        let fact = point.tree[path].flatMap { $0.isSocket ? nil : Fact($0) }
        if fact != last { wanted.append("\(point.set) \(last == nil ? "new" : fact == nil ? "deleted" : "changed")") }
        last = fact
      }
      let whole: Raw = path.bytes.isEmpty ? f.inside : "\(f.inside)/\(path)"
      let lines = try f.sheaf(["history", "--json", "-s", Raw(f.store), "--", whole]).json().dropLast()
      let found = lines.filter { $0["what"] as? [String] != ["link"] }.map { "\($0["point"]!) \($0["event"]!)" }
      #expect(found == wanted, "\(path), \(story)")
    }
  }

  /// What a path is in a point: all at and below it, but for the times of folders.
  private func state(_ tree: Snapshot, _ path: Raw) -> [Raw: Fact] {
    var state: [Raw: Fact] = [:]
    for (name, var entry) in tree.entries where name.isAtOrBelow(path) && !entry.isSocket {
      if entry.isDirectory { entry.modified = Timestamp(seconds: 0) }
      state[name] = Fact(entry)
    }
    return state
  }

  private func checkBeforeChange(_ f: Fixture, _ story: String) throws {
    let paths = Set(f.points.flatMap { $0.tree.entries.filter { !$0.value.isSocket }.keys }).sorted()
    for path in paths.enumerated().filter({ $0.offset % 9 == 0 }).map(\.element) where !path.bytes.isEmpty {
      let now = state(f.newest.tree, path)
      let wanted = f.points.dropLast().last { point in
        let then = state(point.tree, path)
        return then[path] != nil && then != now
      }
      let arguments: [Raw] = [
        "restore", "--json", "-n", "-s", f.named, "--to", Raw(f.scratch.path("none")),
        "--before-change=\(f.inside)/\(path)",
      ]
      let lines = try f.sheaf(arguments, status: wanted == nil ? 1 : 0).json()
      #expect(lines.first?["point"] as? String == wanted?.set, "\(path), \(story)")
      #expect(lines.last?["set"] as? String == wanted?.set, "\(path), \(story)")
    }
  }
}
