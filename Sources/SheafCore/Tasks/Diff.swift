/// What differs between two points, or between a point and the sources as they are now.
import Posix
import Tar

public struct DiffOptions: Sendable {
  /// Nothing but what is at or below it, without the leading slash; empty: everything.
  public var path: Bytes = []
  /// Of the sources as they are now: read every file, also those that look unchanged.
  public var readsContents = false

  public init() {}
}

/// One path that differs.
public struct Difference: Sendable {
  public enum Action: UInt8, Sendable {
    case added = 0x2b
    case removed = 0x2d
    case changed = 0x7e
    case moved = 0x3e
  }
  public let action: Action
  /// Before, where it was there; its path is the old one.
  public let old: Entry?
  /// After, where it is still there.
  public let new: Entry?
  /// Of what changed or moved.
  public let aspects: Aspects
  /// The contents changed although size and time did not.
  public let isSuspectedRot: Bool
  /// It moved along with a directory above it, and is as it was.
  public let isWithin: Bool

  public var path: Bytes { new?.path ?? old!.path }
  public var kind: FileKind { new?.kind ?? old!.kind }
  /// A directory whose time alone differs: something in it came or went.
  public var isTouchOnly: Bool { action == .changed && kind == .directory && aspects == .time }

  init(_ action: Action, from old: Entry?, to new: Entry?, isWithin: (Aspects) -> Bool = { _ in false }) {
    self.action = action
    self.old = old
    self.new = new
    var aspects = Aspects()
    if let old, let new { aspects = Aspects(from: old, to: new) }
    // What moved is another name's first name or no more.
    if action == .moved { aspects.remove(.link) }
    self.aspects = aspects
    isSuspectedRot = old.map { new?.isSuspectedRot(since: $0) ?? false } ?? false
    self.isWithin = isWithin(aspects)
  }
}

public struct DiffSummary: Sendable {
  public var added = 0
  public var removed = 0
  /// But for directories whose time alone differs.
  public var changed = 0
  /// But for what moved along with a directory.
  public var moved = 0
  public var movedWithin = 0
  public var touched = 0
  public var suspectedRot = 0

  mutating func count(_ d: Difference) {
    switch d.action {
    case .added: added += 1
    case .removed: removed += 1
    case .changed: if d.isTouchOnly { touched += 1 } else { changed += 1 }
    case .moved: if d.isWithin { movedWithin += 1 } else { moved += 1 }
    }
    if d.isSuspectedRot { suspectedRot += 1 }
  }
}

public struct Diff {
  private let series: Series
  private let options: DiffOptions
  private let spillDirectory: Bytes
  private let reporter: any Reporter
  private let progress: Progress
  private let clock: @Sendable () -> Timestamp

  /// `spillDirectory`: where files without a name may be made for sorting.
  public init(
    _ series: Series, _ options: DiffOptions, spillDirectory: Bytes, reporter: any Reporter, progress: Progress,
    clock: @escaping @Sendable () -> Timestamp
  ) {
    self.series = series
    self.options = options
    self.spillDirectory = spillDirectory
    self.reporter = reporter
    self.progress = progress
    self.clock = clock
  }

  /// Calls `body` with what differs from one point to another, or to the sources as they are now (`to` is nil), in
  /// order. What could not be looked at is told to the reporter and counts as unchanged.
  public func run(from: SetName, to: SetName?, _ body: (Difference) throws(Failure) -> Void) throws(Failure)
    -> DiffSummary
  {
    let old = try PointSlice(series, series.chain(of: from), options.path)
    let spill = try system { () throws(SystemError) in try Descriptor.open(spillDirectory, [.read, .directory]) }
    let found = Differences(spillingTo: spill, knowsDigests: to != nil || options.readsContents)
    let isAnything: Bool
    if let to {
      isAnything = try compare(old, PointSlice(series, series.chain(of: to), options.path), found)
    } else {
      let live = try LiveTree(
        like: series.head(from), at: options.path, store: series.store.folder.directory,
        readsContents: options.readsContents,
        before: PointBefore(series: series, chain: series.chain(of: from)), reporter: reporter, progress: progress,
        clock: clock)
      for directory in old.above { try live.lookAbove(directory) }
      isAnything = try compare(old, live, found)
    }
    if !isAnything, !options.path.isEmpty {
      let places = "neither in \(from.text) nor in \(to?.text ?? "the sources as they are now")"
      throw Failure(
        .failed, "\(Show.path(options.path)) is \(places)", hint: Failure.wayToFind(options.path))
    }
    var summary = DiffSummary()
    try found.visit { (difference) throws(Failure) in
      summary.count(difference)
      try body(difference)
    }
    return summary
  }

  /// Gives whether there is anything at all.
  private func compare(_ old: PointSlice, _ new: some LaterTree, _ found: Differences) throws(Failure) -> Bool {
    var hasOld = try old.next()
    var hasNew = try new.next()
    let isAnything = hasOld || hasNew
    while hasOld || hasNew {
      try progress.checkCancelled()
      let order = hasOld ? hasNew ? new.order(of: old.line) : -1 : 1
      if order == 0 {
        if try !new.isAbsent(old.line, wasUnseen: old.tree.isUnseen), !new.isAs(old.line) {
          var before = try old.entry()
          if var now = try new.entry(comparedWith: before) {
            if !new.hasFirstNames { (before.hardLink, now.hardLink) = (nil, nil) }
            try found.add(from: before, to: now)
          }
        }
      } else if order < 0 {
        if !new.isUnseen(in: Bytes(old.line.parent)), try !new.isAbsent(lost: old.line) {
          try found.add(from: old.entry(), to: nil)
        }
      } else if let now = try new.entry(comparedWith: nil) {
        try found.add(from: nil, to: now)
      }
      if order <= 0 { hasOld = try old.next() }
      if order >= 0 { hasNew = try new.next() }
    }
    return isAnything
  }
}

/// What a point is compared with: another one, or the sources as they are now. In the order of a manifest.
private protocol LaterTree {
  /// Goes to the next entry; false at the end.
  func next() throws(Failure) -> Bool
  /// Whether the line stands before the entry at hand (below 0), at it, or after it.
  func order(of line: Line) -> Int
  /// Whether the entry at hand counts as the one that the line tells of, without a closer look.
  func isAs(_ line: Line) -> Bool
  /// The entry at hand; nil where it could not be looked at.
  func entry(comparedWith old: Entry?) throws(Failure) -> Entry?
  /// Whether what stood in that directory could not be looked at. Asked in order.
  func isUnseen(in directory: Bytes) -> Bool
  /// Whether the directory at hand, or one that is not there, is not what the line says because it could not be looked
  /// at.
  func isAbsent(_ line: Line, wasUnseen: Bool) throws(Failure) -> Bool
  func isAbsent(lost line: Line) throws(Failure) -> Bool
  /// Whether the first names of all inodes are known.
  var hasFirstNames: Bool { get }
}

extension PointSlice: LaterTree {
  func order(of line: Line) -> Int {
    PathOrder.compare(line.path, line.parentLength, self.line.path, self.line.parentLength)
  }
  func isAs(_ line: Line) -> Bool { line.canonical.elementsEqual(self.line.canonical) }
  func entry(comparedWith old: Entry?) throws(Failure) -> Entry? { try entry() }
  func isUnseen(in directory: Bytes) -> Bool { false }
  func isAbsent(_ line: Line, wasUnseen: Bool) -> Bool { false }
  func isAbsent(lost line: Line) -> Bool { false }
  var hasFirstNames: Bool { true }
}

extension LiveTree: LaterTree {
  func order(of line: Line) -> Int {
    path.withUnsafeBufferPointer { PathOrder.compare(line.path, line.parentLength, $0, parentLength) }
  }
}

/// Gathers differences, finds what moved, and gives all in order.
private final class Differences {
  private let moves: MovePairing
  private let directories: MovePairing
  private let sorter: LineSorter
  private let line = Buffer()

  init(spillingTo directory: Descriptor, knowsDigests: Bool) {
    moves = MovePairing(spillingTo: directory, knowsDigests: knowsDigests)
    directories = MovePairing(spillingTo: directory, knowsDigests: knowsDigests)
    sorter = LineSorter(spillingTo: directory, runSize: 8 << 20)
  }

  func add(from old: Entry?, to new: Entry?) throws(Failure) {
    try system { () throws(SystemError) in
      if let old, let new {
        if !Aspects(from: old, to: new).isEmpty { try put(.changed, old, new) }
      } else if let old {
        try pairing(of: old).add(.removed, old)
      } else if let new {
        try pairing(of: new).add(.added, new)
      }
    }
  }

  private func pairing(of entry: Entry) -> MovePairing { entry.kind == .directory ? directories : moves }

  /// A line as a manifest's: the path, then what happened, and the entries before and after.
  private func put(_ action: Difference.Action, _ old: Entry?, _ new: Entry?) throws(SystemError) {
    let path = new?.path ?? old!.path
    line.count = 0
    line.append("./")
    Escape.append(path: path, to: line)
    line.append(" ")
    line.append(action.rawValue)
    for entry in [old, new] {
      line.append("\t")
      entry?.appendRecord(to: line)
    }
    line.append("\n")
    try sorter.add(path: path, line.bytes)
  }

  private func put(pair old: Entry?, _ new: Entry?) throws(Failure) {
    try system { () throws(SystemError) in
      try put(old == nil ? .added : new == nil ? .removed : .moved, old, new)
    }
  }

  func visit(_ body: (Difference) throws(Failure) -> Void) throws(Failure) {
    // A directory that was renamed and in which something came or went has another time. What moved with it tells.
    var followed = FollowedDirectories()
    try moves.visit { old, new throws(Failure) in
      if let old, let new { followed.add(from: old.path, to: new.path) }
      try put(pair: old, new)
    }
    try directories.visit { old, new throws(Failure) in
      if (old == nil) != (new == nil), followed.holds(old, new) { return }
      try put(pair: old, new)
    }
    try followed.visit(put(pair:_:))
    // Directories that moved, by where they are now, and where they were.
    var moved = DirectoryTable<Bytes>()
    let scratch = Buffer()
    try sorter.visit { bytes throws(Failure) in
      guard let (action, old, new) = Self.parsed(bytes, scratch) else { return }
      let difference = Difference(action, from: old, to: new) { aspects in
        guard action == .moved, aspects.isEmpty, let old, let new else { return false }
        return moved.first(above: new.path.splitAtName.parent) { now, before in
          old.path == before + new.path[now.count...] ? true : nil
        } ?? false
      }
      if action == .moved, difference.kind == .directory, !difference.isWithin { moved.add(new!.path, old!.path) }
      try body(difference)
    }
  }

  private static func parsed(_ bytes: UnsafeRawBufferPointer, _ scratch: Buffer) -> (
    Difference.Action, Entry?, Entry?
  )? {
    let fields = bytes.dropLast().split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
    guard fields.count == 3, let action = fields[0].last.flatMap(Difference.Action.init(rawValue:)) else { return nil }
    func entry(_ field: Slice<UnsafeRawBufferPointer>) -> Entry? {
      field.isEmpty
        ? nil : Entry(record: UnsafeRawBufferPointer(rebasing: field).bindMemory(to: UInt8.self), scratch)
    }
    return (action, entry(fields[1]), entry(fields[2]))
  }
}
