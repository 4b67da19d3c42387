/// What differs between two trees, in lines for people to read.
import Glibc
import Posix

extension Snapshot {
  public enum Field: CaseIterable, Sendable {
    case mode, owner, contents, modified, target, device, attributes, hardLinks, holes
    /// `ctime`; not compared by default, as no restore can set it.
    case changed
  }

  public struct Options: Sendable {
    public var fields = Set(Field.allCases).subtracting([.changed])
    /// Paths whose modification time does not matter; the empty one is the root.
    public var untimed: Set<Raw> = []
    /// Paths that are left out with all below them, on both sides.
    public var skipped: [Raw] = []
    /// Backups leave sockets out, so they do not count.
    public var sockets = false
    /// Holes may begin and end this much earlier or later.
    public var holeTolerance: Int64 = 4096
    /// Attributes that begin with one of these are left out: by default those that the machine sets by itself.
    public var skippedAttributes: [Bytes] = [Bytes("security.selinux"), Bytes("security.ima"), Bytes("security.evm")]
    /// Lines at most.
    public var limit = 100

    public init() {}

    public static func ignoring(_ fields: Field..., untimed: [Raw] = [], skipped: [Raw] = []) -> Options {
      var options = Options()
      options.fields.subtract(fields)
      options.untimed = Set(untimed)
      options.skipped = skipped
      return options
    }
  }

  /// Empty where the tree at `to` equals the one at `from`.
  public static func differences(
    from: Bytes, to: Bytes, _ options: Options = Options()
  ) throws(SystemError) -> [String] {
    try Snapshot(of: from).differences(to: try Snapshot(of: to), options)
  }

  /// Empty where `other`, read from the tree that should equal this one, does so.
  public func differences(to other: Snapshot, _ options: Options = Options()) -> [String] {
    var lines: [String] = []
    let isWanted = { (path: Raw) in !options.skipped.contains { path.isAtOrBelow($0) } }
    let compareLinks = options.fields.contains(.hardLinks)
    let groups = compareLinks ? (linkGroups(isWanted), other.linkGroups(isWanted)) : ([:], [:])
    let paths = Set(entries.keys).union(other.entries.keys).sorted()
    for path in paths where isWanted(path) {
      let mine = entries[path].flatMap { $0.isSocket && !options.sockets ? nil : $0 }
      let theirs = other.entries[path].flatMap { $0.isSocket && !options.sockets ? nil : $0 }
      var found: [String] = []
      switch (mine, theirs) {
      case (nil, nil): continue
      case (let mine?, nil): found = ["missing (was a \(mine.kind))"]
      case (nil, let theirs?): found = ["unexpected (a \(theirs.kind))"]
      case (let mine?, let theirs?):
        if mine.type != theirs.type {
          found = ["is a \(theirs.kind), was a \(mine.kind)"]
        } else {
          found = mine.differences(to: theirs, path, options)
          if let line = Self.linkDifference(groups.0[path], groups.1[path], path) { found.append(line) }
        }
      }
      let shown = path.bytes.isEmpty ? "the root" : path.description
      lines += found.map { "\(shown): \($0)" }
    }
    if lines.count > options.limit {
      lines = Array(lines[..<options.limit]) + ["… and \(lines.count - options.limit) more"]
    }
    return lines
  }

  private static func linkDifference(_ mine: [Raw]?, _ theirs: [Raw]?, _ path: Raw) -> String? {
    if mine == theirs { return nil }
    func shown(_ names: [Raw]?) -> String { (names ?? [path]).map(\.description).joined(separator: " = ") }
    return "hard links are \(shown(theirs)), were \(shown(mine))"
  }
}

extension Snapshot.Entry {
  /// For messages.
  public var kind: String {
    switch type {
    case S_IFREG: "file"
    case S_IFDIR: "directory"
    case S_IFLNK: "symbolic link"
    case S_IFIFO: "FIFO"
    case S_IFSOCK: "socket"
    case S_IFCHR: "character device"
    default: "block device"
    }
  }

  func differences(to other: Snapshot.Entry, _ path: Raw, _ options: Snapshot.Options) -> [String] {
    var lines: [String] = []
    func compare<T: Equatable>(_ field: Snapshot.Field, _ what: String, _ value: (Self) -> T, _ show: (T) -> String) {
      guard options.fields.contains(field), value(self) != value(other) else { return }
      lines.append("\(what) is \(show(value(other))), was \(show(value(self)))")
    }
    // A link's own mode means nothing.
    if type != S_IFLNK { compare(.mode, "mode", { $0.mode }, { "0" + String($0, radix: 8) }) }
    compare(.owner, "owner", { [$0.uid, $0.gid] }, { "\($0[0]):\($0[1])" })
    compare(.contents, "size", { $0.size }, { "\($0)" })
    if size == other.size { compare(.contents, "contents", { $0.digest }, { "digest \($0)" }) }
    compare(.contents, "reading", { $0.unreadable }, { $0 == 0 ? "possible" : String(cString: strerror($0)) })
    if !options.untimed.contains(path) { compare(.modified, "mtime", { $0.modified }, { $0.shown }) }
    compare(.changed, "ctime", { $0.changed }, { $0.shown })
    compare(.target, "target", { $0.target }, { $0.quoted })
    compare(.device, "device", { $0.special }, { "\($0 >> 8 & 0xfff):\($0 & 0xff | $0 >> 12 & 0xfff00)" })
    if options.fields.contains(.attributes) { lines += attributeDifferences(to: other, options.skippedAttributes) }
    if options.fields.contains(.holes), unreadable == 0, other.unreadable == 0, size == other.size {
      for hole in holes where !Self.covered(hole, by: other.holes, options.holeTolerance) {
        lines.append("hole \(hole.lowerBound)-\(hole.upperBound) is filled; holes are \(Self.shown(other.holes))")
      }
      for hole in other.holes where !Self.covered(hole, by: holes, options.holeTolerance) {
        lines.append("hole \(hole.lowerBound)-\(hole.upperBound) is new; holes were \(Self.shown(holes))")
      }
    }
    return lines
  }

  private func attributeDifferences(to other: Snapshot.Entry, _ skipped: [Bytes]) -> [String] {
    func table(_ entry: Self) -> [Bytes: Bytes] {
      var table: [Bytes: Bytes] = [:]
      for attribute in entry.attributes where !skipped.contains(where: { attribute.name.starts(with: $0) }) {
        table[attribute.name] = attribute.value
      }
      return table
    }
    let (mine, theirs) = (table(self), table(other))
    let names = Set(mine.keys).union(theirs.keys).sorted { $0.lexicographicallyPrecedes($1) }
    return names.compactMap { name in
      if mine[name] == theirs[name] { return nil }
      return "attribute \(name.quoted) is \(theirs[name]?.quoted ?? "missing"), was \(mine[name]?.quoted ?? "missing")"
    }
  }

  /// Whether the hole, without its outermost parts, lies in one of the others.
  private static func covered(_ hole: Range<Int64>, by others: [Range<Int64>], _ tolerance: Int64) -> Bool {
    let (start, end) = (hole.lowerBound + tolerance, hole.upperBound - tolerance)
    return start >= end || others.contains { $0.lowerBound <= start && end <= $0.upperBound }
  }

  private static func shown(_ holes: [Range<Int64>]) -> String {
    holes.isEmpty ? "none" : holes.prefix(8).map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: " ")
  }
}

extension Timestamp {
  /// Seconds since 1970 and, before the point, all nine digits after it: `-5` s and 1 ns is `-5+.000000001`.
  public var shown: String {
    let digits = String(nanoseconds)
    return "\(seconds)+." + String(repeating: "0", count: max(0, 9 - digits.count)) + digits
  }
}
