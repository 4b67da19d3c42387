/// The matrix of damage: what is done, where, and what every command makes of it. Nothing crashes or hangs, no wrong
/// answer is given in silence, and what is not touched comes back.
import Glibc
import Posix
import TestSupport
import Testing

/// One row: one thing done to one file of a store with three sets.
struct DamageRow: Sendable, CustomTestStringConvertible {
  enum Action: String, CaseIterable { case flip, zero, cut, append, remove, swap }
  enum File: Hashable {
    /// Of the set with this number, the full one first.
    case volume(Int)
    case manifest(Int)
    case marker
  }
  enum Place: Hashable {
    case head, middle, tail
    /// Of the full set's archive: a gzip member's middle; where it begins, for what is cut there.
    case member(Int)
    /// Of a manifest: so many bytes before the end, in the last two members, which inflate to nothing.
    case end(Int)
  }
  let action: Action
  let file: File
  var place = Place.middle

  var testDescription: String { "\(action) \(file) \(place)" }

  private static let files = (0..<3).flatMap { [File.volume($0), .manifest($0)] } + [.marker]

  static let all: [DamageRow] =
    [Action.flip, .zero, .cut].flatMap { action in
      files.flatMap { file in
        [Place.head, .middle, .tail].map { DamageRow(action: action, file: file, place: $0) }
      } + (0..<Template.members).map { DamageRow(action: action, file: .volume(0), place: .member($0)) }
    }
    + [66 - 5, 58 - 20, 58 - 34, 58 - 44, 8, 66 + 3].map {
      DamageRow(action: .flip, file: .manifest(0), place: .end($0))
    }
    + [Action.append, .remove, .swap].flatMap { action in files.map { DamageRow(action: action, file: $0) } }

  var isVolume: Bool { if case .volume = file { true } else { false } }

  /// Points that have nothing to do with it, the oldest being 0.
  func isUntouched(_ point: Int) -> Bool {
    switch file {
    case .marker: false
    case .volume(let set), .manifest(let set):
      // The next set takes its part in an exchange.
      action == .swap ? point < min(set, Self.partner(set)) : point < set
    }
  }

  static func partner(_ set: Int) -> Int { (set + 1) % 3 }
}

/// The store that every row damages a copy of.
final class Template: Sendable {
  static let members = 8
  static let shared = Result { try Template() }

  let store: Bytes
  let inside: Raw
  /// Sets and trees, the oldest first.
  let sets: [String]
  let trees: [Snapshot]
  private let scratch: Scratch

  private init() throws {
    let f = try Fixture(
      TestTree([
        "a": .file(size: 500_000, seed: 1), "b": .file(size: 500_000, seed: 2), "big": .file(size: 3_200_000, seed: 3),
        "c": .file(size: 500_000, seed: 4), "dir": .directory(["in": .file("in\n"), "link": .symlink("in")]),
        "gone": .file("gone\n"), "hard": .hardLink("a"), "z": .file("z\n"),
      ]))
    try f.save()
    try f.edit("echo new > new; rm gone; echo more >> z; echo x > dir/in")
    try f.save()
    try f.edit("echo newer > new; mv dir moved; echo yet more >> b")
    try f.save()
    store = f.store
    inside = f.inside
    sets = f.points.map(\.set)
    trees = f.points.map(\.tree)
    scratch = f.scratch
  }
}

@Suite struct DamageTests {
  private let template: Template
  private let scratch: Scratch
  private let store: Bytes
  private let series: Bytes

  init() throws {
    template = try Template.shared.get()
    scratch = try Scratch()
    store = scratch.path("store")
    try Command("cp", ["-r", Raw(template.store), Raw(store)]).run().checked()
    let names = try Descriptor.open(store, [.read, .directory]).sortedNames()
    let known = ["README.txt", "restore.sh", "sheaf.store"].map { Bytes($0.utf8) }
    series = store.joined(names.first { !known.contains($0) }!)
  }

  @Test func theArchiveHasTheMembersThatRowsName() throws {
    let count = try memberStarts().count - 1
    #expect(count == Template.members)
  }

  @Test(arguments: DamageRow.all) func isToldAndContained(row: DamageRow) throws {
    try damage(row)
    var statuses: [Int32] = []
    for point in template.sets.indices { statuses.append(try restore(point, row)) }
    let others = row.file == .marker ? [0, 1, 4, 10] : [0, 4] as Set<Int32>
    let points = try run(["points"], others)
    let gone: Set<Int32> = row.action == .remove ? [64] : []
    for point in template.sets.indices {
      let list = try run(["ls", "-R", "--at", Raw(template.sets[point]), template.inside], others.union(gone))
      if list.status == 0 { #expect(list.lines.count == template.trees[point].paths.count, "\(list)") }
    }
    try ask(row, others.union(gone))
    try verify(row, statuses, others)
    if row.file == .marker {
      try run(["backup"], [0, 1, 4, 10])
    } else {
      try backup(row, statuses)
    }
    #expect(points.status == 0 || points.stderr.count > 0)
  }

  // MARK: What commands make of it

  @discardableResult
  private func run(_ arguments: [Raw], _ statuses: Set<Int32>) throws -> Output {
    let output = try Command.sheaf(
      [arguments[0], "-s", Raw(store)] + arguments.dropFirst(), environment: ["SWIFT_BACKTRACE": "enable=no"],
      timeout: 20
    ).run()
    #expect(output.signal == 0 && !output.timedOut && statuses.contains(output.status), "\(output)")
    #expect(output.status == 0 || output.errorText.contains("sheaf: "), "\(output)")
    return output
  }

  /// Restores a point. Whatever is there must be right; with exit code 0 all of it is.
  private func restore(_ point: Int, _ row: DamageRow) throws -> Int32 {
    let allowed: Set<Int32> = row.file == .marker ? [0, 1, 4, 10] : row.action == .remove ? [0, 4, 64] : [0, 4]
    let output = try compare(Raw(template.sets[point]), template.trees[point], allowed)
    if row.isUntouched(point) { #expect(output.status == 0, "\(output)") }
    return output.status
  }

  @discardableResult
  private func compare(_ point: Raw, _ wanted: Snapshot, _ allowed: Set<Int32>) throws -> Output {
    let target = scratch.path("target")
    defer { Scratch.remove(target) }
    let output = try run(["restore", "--at", point, "--to", Raw(target)], allowed)
    let path = target.joined(template.inside.bytes)
    guard exists(path) else {
      #expect(output.status != 0, "\(output)")
      return output
    }
    let found = try Snapshot(of: path)
    // Each file that is not there is named; where a manifest cannot be read to its end, that is, and nothing more.
    let isPartial = output.errorText.contains(".mtree.gz")
    let missing = wanted.paths.filter { found[Raw($0)] == nil }
    if !isPartial {
      for path in missing { #expect(output.errorText.contains("/\(path.shown): "), "\(path.shown): \(output)") }
    }
    #expect(output.status != 0 || missing.isEmpty)
    var options = Snapshot.Options.ignoring(skipped: missing.map { Raw($0) })
    // Folders get their own times when all is in them, names of a file that is missing are fewer.
    if isPartial {
      options = .ignoring(.modified, .mode, .owner, .hardLinks, skipped: missing.map { Raw($0) })
    } else if !missing.isEmpty {
      options.fields.subtract([.hardLinks])
    }
    let lines = wanted.differences(to: found, options)
    #expect(lines.isEmpty, "\(lines.joined(separator: "\n"))\n\(output)")
    return output
  }

  /// What asks of all points tells what it can, and a tar of one can be read to its end.
  private func ask(_ row: DamageRow, _ statuses: Set<Int32>) throws {
    let find = try run(["find", "*"], statuses)
    let history = try run(["history", "\(template.inside)/z"], statuses.union([1]))
    if row.isVolume { #expect(find.status == 0 && history.status == 0 && history.lines.count == 3) }
    try run(["diff", Raw(template.sets[0]), Raw(template.sets[2])], statuses)
    for point in template.sets.indices {
      let tar = try run(["export", "--at", Raw(template.sets[point])], statuses)
      if tar.status == 0, row.file != .marker {
        let names = try Command("tar", ["-tf", "-"], input: tar.stdout).run().checked().lines
        #expect(names.filter { $0.contains("/source/") }.count == template.trees[point].paths.count + 1)
      } else if !tar.stdout.isEmpty {
        try Command("tar", ["-tf", "-"], input: tar.stdout).run().checked()
      }
    }
  }

  private func verify(_ row: DamageRow, _ statuses: [Int32], _ others: Set<Int32>) throws {
    let output = try run(["verify"], others)
    // A set without its manifest is none; all else that keeps a point from coming back is found.
    if row.action != .remove, statuses.contains(where: { $0 != 0 }) { #expect(output.status != 0, "\(output)") }
    // Whatever was done to a volume or a manifest is found, also where nothing is lost by it.
    if row.file != .marker, row.action != .remove || row.isVolume { #expect(output.status == 4, "\(output)") }
    try run(["verify", "--quick"], others)
  }

  /// What cannot be built upon is not: a full set, told, and code 3.
  private func backup(_ row: DamageRow, _ statuses: [Int32]) throws {
    let output = try run(["backup", "--json"], [0, 3])
    let summary = try Summary(output)
    let set = try #require(summary.set)
    let mustBeFull: Bool =
      switch row.file {
      case .volume: ![.flip, .zero].contains(row.action)
      case .manifest(2) where row.action == .remove: false
      default: statuses[2] != 0
      }
    if mustBeFull {
      #expect(summary.kind == "full" && output.status == 3, "\(output)")
      #expect(output.errorText.contains("a full set is written"), "\(output)")
    }
    let new = try compare(Raw(set), template.trees[2], [0, 4])
    if summary.kind == "full" { #expect(new.status == 0, "\(new)") }
    // Nothing that came back before is lost by it.
    for (point, status) in statuses.enumerated() where status == 0 {
      try compare(Raw(template.sets[point]), template.trees[point], [0])
    }
  }

  // MARK: Doing damage

  private func path(_ file: DamageRow.File) -> Bytes {
    switch file {
    case .volume(let set): series.joined(Bytes("\(template.sets[set]).tar.gz".utf8))
    case .manifest(let set): series.joined(Bytes("\(template.sets[set]).mtree.gz".utf8))
    case .marker: store.joined(Bytes("sheaf.store"))
    }
  }

  /// Where each gzip member of the full set's archive begins, and its end.
  private func memberStarts() throws -> [Int64] {
    let bytes = try Bytes.read(path(.volume(0)))
    var starts = [0]
    while starts.last! + 28 < bytes.count {
      let at = starts.last! + 16
      starts.append(starts.last! + (0..<8).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) })
    }
    return starts.map { Int64($0) }
  }

  private func damage(_ row: DamageRow) throws {
    let path = path(row.file)
    if row.action == .remove {
      return try Descriptor.open(path.splitAtName.parent, .read).removeFile(path.splitAtName.name)
    }
    if row.action == .swap { return try swap(row.file) }
    let file = try Descriptor.open(path, .readWrite)
    let size = try file.status().size
    let offset: Int64
    switch row.place {
    case .head: offset = 0
    case .middle: offset = size / 2
    case .tail: offset = size - 1
    case .end(let count): offset = size - Int64(count)
    case .member(let number):
      let starts = try memberStarts()
      offset = row.action == .cut ? starts[number] : (starts[number] + starts[number + 1]) / 2
    }
    switch row.action {
    case .cut: try file.truncate(to: offset)
    case .append: try Bytes("appended").withUnsafeBytes { try file.write($0, at: size) }
    case .flip: try [try file.read(count: 1, at: offset)[0] ^ 0x10].withUnsafeBytes { try file.write($0, at: offset) }
    default:
      let from = max(0, min(offset, size - 512))
      try Bytes(repeating: 0, count: Int(min(512, size - from))).withUnsafeBytes { try file.write($0, at: from) }
    }
  }

  private func swap(_ file: DamageRow.File) throws {
    switch file {
    case .volume(let set): exchange(path(file), path(.volume(DamageRow.partner(set))))
    case .manifest(let set): exchange(path(file), path(.manifest(DamageRow.partner(set))))
    case .marker:
      let other = scratch.path("other")
      try Command.sheaf(["init", "-s", Raw(other)]).run().checked()
      exchange(path(file), other.joined(Bytes("sheaf.store")))
    }
  }
}
