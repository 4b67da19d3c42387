/// What most tests of the command need: a source, a store, the program between them, and what the source was at
/// each point.
import Foundation
import Posix
import TestSupport
import Testing

/// How a store is reached as if it lay on another machine.
struct Remote {
  /// What stands before the store's path.
  var address: Raw = "sftp://server"
  /// What each command is given besides.
  var options: [Raw] = ["--sftp-command", "/usr/lib/openssh/sftp-server"]
  var environment: [String: Raw?] = [:]

  /// In an object store that the tests start.
  static func objectStore(
    _ environment: [String: Raw?] = [:], of kind: ObjectStore.Kind = .ceph
  ) throws -> Remote {
    Remote(
      address: "s3://\(ObjectStore.bucket)", options: [],
      environment: try ObjectStore.started(kind).environment().merging(environment) { $1 })
  }
}

final class Fixture {
  struct Point {
    let set: String
    /// The source when the point was made.
    let tree: Snapshot
    /// What a command gave then.
    var output: Bytes?
  }

  let scratch: Scratch
  let store: Bytes
  let source: Bytes
  let isEncrypted: Bool
  var remote: Remote?
  var points: [Point] = []
  /// A file that a command prints at each run, whose output lies beside the source.
  var printed: Bytes?
  /// The command fails this time: the last good output stays.
  var failsToPrint = false
  private var restores = 0

  /// With an empty store, and a source that is made of `tree`.
  /// `store`: where that is to be instead of beside the source.
  init(
    _ tree: TestTree = TestTree([:]), store place: Bytes? = nil, encrypted: Bool? = nil, remote: Remote? = nil
  ) throws {
    isEncrypted = encrypted ?? Self.encryptsAll
    self.remote = remote
    scratch = try Scratch()
    store = place ?? scratch.path("store")
    // In a directory of its own: the one above a source belongs to the point too, and is not to change by itself.
    let box = scratch.path("box")
    try Descriptor.workingDirectory.makeDirectory(box)
    source = box.joined(Bytes("source"))
    try tree.make(at: source)
    try sheaf(["init", "-s", named] + (isEncrypted ? ["--encrypt"] : []))
  }

  /// Another store that has points of the same source.
  init(_ other: Fixture, store: Bytes, encrypted: Bool, points: [Point]) throws {
    (source, isEncrypted, remote) = (other.source, encrypted, nil)
    (self.store, self.points) = (store, points)
    scratch = try Scratch()
  }

  /// `SHEAF_ENCRYPTED`: also where a test does not ask for it, which not all of them are made for.
  private static let encryptsAll = Host.environment("SHEAF_ENCRYPTED") != nil

  /// What restore.sh needs for the store.
  var scriptKey: [Raw] {
    get throws { isEncrypted ? ["--key", Raw(try Command.key(of: store))] : [] }
  }

  /// The store, as commands are told of it.
  var named: Raw { remote.map { "\($0.address)\(store)" } ?? Raw(store) }

  /// Where the source stands in a point.
  var inside: Raw { Raw(Bytes(source.dropFirst())) }
  var newest: Point { points[points.count - 1] }

  /// Runs the program and expects how it ends.
  @discardableResult
  func sheaf(
    _ arguments: [Raw], status: Int32 = 0, environment: [String: Raw?] = [:], input: Bytes? = nil,
    in directory: Bytes? = nil, as user: Command.User? = nil, at location: SourceLocation = #_sourceLocation
  ) throws -> Output {
    // A store is its owner's alone.
    if let user, Host.isRoot {
      try Command("chown", ["-R", "\(Int(user.uid)):\(Int(user.gid))", Raw(store)]).run().checked()
    }
    let output = try command(arguments, environment: environment, input: input, in: directory, as: user).run()
    #expect(output.status == status, "\(output)", sourceLocation: location)
    return output
  }

  /// The program with what it needs to reach the store.
  func command(
    _ arguments: [Raw], environment: [String: Raw?] = [:], input: Bytes? = nil, in directory: Bytes? = nil,
    as user: Command.User? = nil
  ) throws -> Command {
    try Command.sheaf(
      arguments.prefix(1) + (remote?.options ?? []) + arguments.dropFirst(),
      environment: environment.merging(remote?.environment ?? [:]) { own, _ in own }, input: input, in: directory,
      as: user)
  }

  /// Edits the source with a shell script that runs in it.
  func edit(_ script: Raw) throws {
    try Command("sh", ["-ec", script], in: source).run().checked()
  }

  /// Backs up the source, or `sources`, and remembers what the source is now where a set is written.
  @discardableResult
  func save(
    _ more: [Raw] = [], sources: [Raw]? = nil, status: Int32 = 0, input: Bytes? = nil, as user: Command.User? = nil,
    at location: SourceLocation = #_sourceLocation
  ) throws -> Summary {
    let arguments = ["backup", "-s", named, "--json"] + printing + more + (sources ?? [Raw(source)])
    let output = try sheaf(arguments, status: status, input: input, as: user, at: location)
    let summary = try Summary(output)
    if let set = summary.set {
      let output = failsToPrint ? points.last?.output : try printed.map { try Bytes.read($0) }
      points.append(Point(set: set, tree: try Snapshot(of: source), output: output))
    }
    return summary
  }

  private var printing: [Raw] {
    guard let printed else { return [] }
    return ["--command", "/\(outputInside)=cat '\(printed)'; exit \(failsToPrint ? 1 : 0)"]
  }

  private var outputInside: Raw { Raw(Bytes(source.dropFirst()).splitAtName.parent.joined(Bytes("dumps/db"))) }

  /// What differs from what the command gave, in a tree that was restored.
  func outputDifferences(_ point: Point, in target: Bytes) -> [String] {
    guard let output = point.output else { return [] }
    let there = try? Bytes.read(target.joined(outputInside.bytes))
    return there == output ? [] : ["the command's output is \(there?.count ?? -1) bytes and not \(output.count)"]
  }

  /// Restores a point, the newest where none is named, into a new directory and gives that.
  @discardableResult
  func restore(
    _ paths: [Raw] = [], at point: String = "latest", _ more: [Raw] = [], status: Int32 = 0,
    as user: Command.User? = nil, at location: SourceLocation = #_sourceLocation
  ) throws -> Bytes {
    restores += 1
    let target = scratch.path("restored-\(restores)")
    if let user {
      try Descriptor.workingDirectory.makeDirectory(target)
      try Descriptor.open(scratch.path, [.read, .directory])
        .setOwner(target.splitAtName.name, uid: user.uid, gid: user.gid)
    }
    let arguments = ["restore", "-s", named, "--at", Raw(point), "--to", Raw(target)] + more + paths
    try sheaf(arguments, status: status, as: user, at: location)
    return target
  }

  /// Restores the point and gives what differs from the source as it was then.
  func differences(at point: Point, _ options: Snapshot.Options = .init()) throws -> [String] {
    let target = try restore(at: point.set)
    defer { Scratch.remove(target) }
    return point.tree.differences(to: try Snapshot(of: target.joined(inside.bytes)), options)
      + outputDifferences(point, in: target)
  }

  /// Every point comes back as the source was when it was made.
  func expectEveryPoint(
    _ options: Snapshot.Options = .init(), at location: SourceLocation = #_sourceLocation
  ) throws {
    for point in points {
      let lines = try differences(at: point, options)
      #expect(lines.isEmpty, "\(point.set): \(lines.joined(separator: "\n"))", sourceLocation: location)
    }
  }

  /// The points made so far are not there any more.
  func forget() { points = [] }

  /// Looks which points are left, and which sets stand for them by now.
  func reload() throws {
    let sets = try sheaf(["points", "--json", "-s", named]).json().compactMap { $0["set"] as? String }
    points = points.compactMap { point in
      sets.first { $0.prefix(18) == point.set.prefix(18) }.map {
        Point(set: $0, tree: point.tree, output: point.output)
      }
    }
  }

  // MARK: Looking into the store

  /// The series' directory; there must be one only.
  func series() throws -> Bytes {
    let names = try Descriptor.open(store, [.read, .directory]).sortedNames()
    let known = ["sheaf.store", "README.txt", "restore.sh", "index.html"].map { Bytes($0.utf8) }
    let own = names.filter { !known.contains($0) }
    guard own.count == 1 else { throw Unexpected(description: "\(own.count) series in the store") }
    return store.joined(own[0])
  }

  func names() throws -> [String] {
    try Descriptor.open(series(), [.read, .directory]).sortedNames().map(\.shown)
  }

  /// The archive as its manifest names it, its volumes put together where there are several.
  func archive(_ point: Point) throws -> Bytes { try archive(point.set) }
  func archive(_ set: String) throws -> Bytes {
    if isEncrypted { return try decrypted(set) }
    let script: Raw = "gzip -dc \"$1\" | sed -n 's/^# volume: \\([^ ]*\\) .*/\\1/p'"
    let manifest = try series().joined(Bytes("\(set).mtree.gz".utf8))
    let names = try Command("sh", ["-c", script, "sh", Raw(manifest)]).run().checked().lines
    guard names.count > 1 else { return try series().joined(Bytes((names.first ?? "\(set).tar.gz").utf8)) }
    let whole = scratch.path("\(Raw(set)).tar.gz")
    try Command("sh", ["-ec", "cat -- \"$@\" >\"$0\"", Raw(whole)] + names.map { Raw($0) }, in: series()).run()
      .checked()
    return whole
  }
  /// As above, out of age files, by stock age.
  private func decrypted(_ set: String) throws -> Bytes {
    let script: Raw = """
      set -o pipefail
      for name in $(age -d -i "$1" "$2.mtree.gz.age" | gzip -dc | sed -n 's/^# volume: \\([^ ]*\\) .*/\\1/p'); do
        age -d -i "$1" "$name"
      done >"$0"
      """
    let whole = scratch.path("\(Raw(set)).tar.gz")
    try Command("bash", ["-ec", script, Raw(whole), Raw(Command.key(of: store)), Raw(set)], in: series()).run()
      .checked()
    return whole
  }

  /// What is in an age file of the series.
  func opened(_ name: Bytes) throws -> Bytes {
    try Command("age", ["-d", "-i", Raw(Command.key(of: store)), Raw(series().joined(name))]).run().checked().stdout
  }

  /// An age file, made by stock age, as manifests are.
  func sealedList(_ text: Bytes) throws -> Bytes {
    let recipients = try Command("age-keygen", ["-y", Raw(Command.key(of: store))]).run().checked().lines
    return try Command("age", ["-r", Raw(recipients[1])], input: text).run().checked().stdout
  }

  func manifest(_ point: Point) throws -> Bytes { try series().joined(Bytes("\(point.set).mtree.gz".utf8)) }
}

/// The last line of `backup --json`.
struct Summary: Decodable {
  let set: String?
  let kind: String
  let parent: String?
  let series: String
  let new: Int
  let changed: Int
  let unchanged: Int
  let moved: Int
  let deleted: Int
  let unseen: Int
  let excluded: Int
  let problems: Int
  let bytesRead: Int
  let bytesWritten: Int

  enum CodingKeys: String, CodingKey {
    case set, kind, parent, series, excluded, problems
    case new = "files_new"
    case changed = "files_changed"
    case unchanged = "files_unchanged"
    case moved = "files_moved"
    case deleted = "files_deleted"
    case unseen = "files_unseen"
    case bytesRead = "bytes_read"
    case bytesWritten = "bytes_written"
  }

  init(_ output: Output) throws {
    guard let line = output.lines.last else { throw Unexpected(description: output.description) }
    self = try JSONDecoder().decode(Self.self, from: Data(line.utf8))
  }
}

struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

extension Output {
  /// Standard output as JSON, a line each.
  func json() throws -> [[String: Any]] {
    try lines.map { try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]) }
  }
}

extension Bytes {
  /// What stands in the file.
  static func read(_ path: Bytes) throws -> Bytes { try Descriptor.open(path, .read).readAll() }
}

func exists(_ path: Bytes) -> Bool {
  let (parent, name) = path.splitAtName
  guard let directory = try? Descriptor.open(parent, [.pathOnly, .directory]) else { return false }
  return (try? directory.status(of: name)) != nil
}
