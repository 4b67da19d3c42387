/// The records that make stock GNU tar move what was moved: everything is renamed into a directory made for it, and from
/// there to its place. So cycles, swaps and chains need no thought.
import Posix
import Tar

struct MoveRecords {
  let lines: MovedLines

  init(_ lines: MovedLines) { self.lines = lines }

  /// What tells of moves, in order. It comes before any entry that could delete.
  struct Plan {
    /// For whoever replays without GNU tar.
    let notes: [Bytes]
    /// Tar entries of directories, each with what its dumpdir says; they are no part of the tree.
    let entries: [(path: Bytes, dumpdir: Bytes)]
  }

  /// `directory` is to hold the directory made for it; nil where it cannot, or lies above a source.
  func plan(in directory: Bytes, _ sources: SourceTree) -> Plan? {
    guard !lines.isUncertain, let names = lines.names[directory], sources.names(above: directory) == nil else {
      return nil
    }
    // What it has by then, not what it has now: whatever went away meanwhile goes with its own entry.
    let listing = Dumpdir.listing(names)
    let trash = directory.joined(LargePurge.freeName { names[$0] != nil || lines.purgeNames.contains($0) })
    guard listing.count <= Dumpdir.limit, trash.count + 20 < 4096 else { return nil }

    let moves = knownMoves
    // Out of the way, the deepest first: what is above still has its old name then. In place, the other way round.
    var out = moves.enumerated().map { (from: $1.old, to: trash.joined(Bytes("\($0)".utf8))) }
    for path in lines.inTheWay { out.append((path, trash.joined(Bytes("\(out.count)".utf8)))) }
    let order = moves.indices.sorted { Self.depth(moves[$0].new) < Self.depth(moves[$1].new) }
    let back = order.map { (from: trash.joined(Bytes("\($0)".utf8)), to: moves[$0].new) }
    out = out.map { (Self.depth($0.from), $0) }.sorted { $0.0 > $1.0 }.map(\.1)

    let entries = [(trash, Bytes())] + Dumpdir.renames(out + back).map { (trash, $0) } + [(directory, listing)]
    return Plan(notes: notes, entries: entries)
  }

  private var knownMoves: [Move] {
    lines.moves.all.indices.filter { lines.isKnown($0) }.map { lines.moves.all[$0] }
  }

  private static func depth(_ path: Bytes) -> Int { path.count { $0 == UInt8(ascii: "/") } }

  /// The deepest old paths first, as they can be renamed one after another.
  var notes: [Bytes] {
    var notes: [Bytes] = []
    let text = Buffer()
    func flush() {
      if text.count > 0 { notes.append(Bytes(text)) }
      text.count = 0
    }
    for (_, move) in knownMoves.map({ (Self.depth($0.old), $0) }).sorted(by: { $0.0 > $1.0 }) {
      ManifestSyntax.append(move, to: text)
      if text.count > 100_000 { flush() }
    }
    flush()
    return notes
  }
}
