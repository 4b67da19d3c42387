/// The records that make stock GNU tar move what was moved: everything is renamed into a directory made for it, and from
/// there to its place. So cycles, swaps and chains need no thought.
import Posix
import Tar

struct MoveRecords {
  let lines: MovedLines
  let lister: Lister

  init(_ lines: MovedLines, lister: Lister) {
    self.lines = lines
    self.lister = lister
  }

  /// In order: the notes for whoever replays without GNU tar, and tar entries. They come before any entry that could
  /// delete. `directory` is to hold the directory made for it; nil where it cannot.
  func items(in directory: Bytes) -> [PackItem]? {
    guard !lines.isUncertain, let names = lines.names[directory], lister.sources.names(above: directory) == nil,
      let status = try? lister.root.openBeneath(directory, [.pathOnly, .directory]).status()
    else { return nil }
    // What it has by then, not what it has now: whatever went away meanwhile goes with its own entry.
    let listing = Dumpdir.listing(names)
    let trash = directory.joined(LargePurge.freeName { names[$0] != nil || lines.purgeNames.contains($0) })
    guard listing.count <= Dumpdir.limit, trash.count + 20 < 4096 else { return nil }

    let known = lines.moves.all.indices.filter { lines.isKnown($0) }
    let moves = known.map { lines.moves.all[$0] }
    // Out of the way, the deepest first: what is above still has its old name then. In place, the other way round.
    var out = moves.enumerated().map { (from: $1.old, to: trash.joined(Bytes("\($0)".utf8))) }
    for path in lines.inTheWay { out.append((path, trash.joined(Bytes("\(out.count)".utf8)))) }
    let order = moves.indices.sorted { Self.depth(moves[$0].new) < Self.depth(moves[$1].new) }
    let back = order.map { (from: trash.joined(Bytes("\($0)".utf8)), to: moves[$0].new) }
    out = out.map { (Self.depth($0.from), $0) }.sorted { $0.0 > $1.0 }.map(\.1)

    var items = notes(moves)
    items.append(.directory(path: trash, status: status, dumpdir: [], comment: LargePurge.mark))
    for record in Dumpdir.renames(out + back) {
      items.append(.directory(path: trash, status: status, dumpdir: record, comment: LargePurge.mark))
    }
    items.append(.directory(path: directory, status: status, dumpdir: listing, comment: LargePurge.mark))
    return items
  }

  private static func depth(_ path: Bytes) -> Int { path.count { $0 == UInt8(ascii: "/") } }

  /// The deepest old paths first, as they can be renamed one after another.
  private func notes(_ moves: [Move]) -> [PackItem] {
    var items: [PackItem] = []
    let text = Buffer()
    func flush() {
      if text.count > 0 { items.append(.line(text: Bytes(text), canonical: 0, isNote: true)) }
      text.count = 0
    }
    for (_, move) in moves.map({ (Self.depth($0.old), $0) }).sorted(by: { $0.0 > $1.0 }) {
      ManifestSyntax.append(move, to: text)
      if text.count > 100_000 { flush() }
    }
    flush()
    return items
  }
}
