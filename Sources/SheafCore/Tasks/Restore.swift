/// Brings a point back, whole or in part, into a directory.
import Posix
import Tar

public struct Restore {
  private let series: Series
  private let options: RestoreOptions
  private let reporter: any Reporter
  private let progress: Progress

  public init(from series: Series, _ options: RestoreOptions, reporter: any Reporter, progress: Progress) {
    self.series = series
    self.options = options
    self.reporter = reporter
    self.progress = progress
  }

  public func run(_ set: SetName) throws(Failure) -> RestoreSummary {
    try series.checkReadsContents(of: set)
    series.holdSets()
    let chain = (try? series.chain(of: set)) ?? [set]
    do throws(Failure) {
      let summary = try restore(set)
      if summary.isDamaged, let failure = series.rewrittenMeanwhile(set, chain) { throw failure }
      return summary
    } catch {
      guard error.kind == .damaged || error.kind == .failed else { throw error }
      throw series.rewrittenMeanwhile(set, chain) ?? error
    }
  }

  private func restore(_ set: SetName) throws(Failure) -> RestoreSummary {
    let chain = try series.chain(of: set)
    var paths: [Bytes] = []
    for path in options.paths.sorted(by: { PathOrder.compareDirectories($0, $1) < 0 }) {
      if let last = paths.last, path.isAtOrBelow(last) { continue }
      paths.append(path)
    }
    if paths.contains([]) { paths = [] }
    let isShort = try reportShortfalls(chain)
    // Before anything is written: is all there that was asked for?
    for path in options.paths where !path.isEmpty {
      let (tree, _) = try series.tree(chain, from: path)
      guard try tree.next(), Bytes(tree.line.path) == path else {
        let isPattern = path.contains { Bytes("*?[".utf8).contains($0) }
        throw .notThere(path, in: set, hint: isPattern ? "nothing in the point matches it as a pattern either" : nil)
      }
    }
    let foot = try series.foot(set)
    if let last = foot.incompleteAfter {
      reporter.note(
        "the run that made \(set.text) was interrupted at \(Show.path([47] + last)): what comes after it is "
          + (try series.head(set).parent == nil ? "missing, or as an older chain had it" : "as the point before had it")
      )
    }
    let whole = foot.counts.bytes
    if paths.isEmpty { progress.expected.store(Int(whole), ordering: .relaxed) }
    let head = try series.head(set)
    let roots = paths.isEmpty ? head.sources + head.streams : paths
    let request = Request(chain: chain, paths: paths, roots: roots, rules: try rules(of: set, roots: roots))
    let there = try checkTarget()
    var summary: RestoreSummary
    if options.isDryRun {
      let preview = try look(request, set, there, reporter)
      summary = preview.summary(set)
    } else {
      if try mayBeShort(foot.counts, there) { _ = try look(request, set, there, Silence()) }
      let line = try PlaceLine(
        try openTarget(), series: series, options, roots: roots, sparing: request.rules.sparing, reporter: reporter,
        progress: progress)
      if paths.isEmpty, options.strip == 0 { line.top = try series.head(set).top }
      try feed(request, to: line)
      summary = line.summary(set)
    }
    summary.isDamaged = summary.isDamaged || isShort
    summary.unmatched = request.rules.unmatched
    if request.rules.includeNothing {
      let isWhole = options.include.contains { $0.first == 47 }
      throw Failure(
        .failed,
        "nothing in \(set.text) matches \(options.include.map { "'\(Show.path($0))'" }.joined(separator: ", "))",
        hint: isWhole
          ? "with a slash in front it is a whole path; 'sheaf find -s STORE PATTERN' looks in all points"
          : "'sheaf find -s STORE PATTERN' looks in all points")
    }
    return summary
  }

  private struct Request {
    let chain: [SetName]
    /// Empty: everything.
    let paths: [Bytes]
    let roots: [Bytes]
    let rules: RestoreRules
  }

  private func rules(of set: SetName, roots: [Bytes]) throws(Failure) -> RestoreRules {
    try RestoreRules(options, try series.head(set), set, roots: roots)
  }

  /// Does everything except restoring, and refuses if there is no room.
  private func look(
    _ request: Request, _ set: SetName, _ there: Descriptor?, _ reporter: any Reporter
  ) throws(Failure) -> PlacePreview {
    let preview = PlacePreview(
      there, above: try lookedAt(there), store: series.store.folder.directory, set: set, options,
      roots: request.roots, sparing: request.rules.sparing, reporter: reporter)
    try feed(request, to: preview)
    if let shortage = preview.shortage {
      if options.isForced {
        self.reporter.note(shortage)
      } else {
        throw Failure(
          .failed, "\(shortage): nothing was restored", hint: "choose another target, name fewer paths, or use --force")
      }
    }
    return preview
  }

  /// Whether it is worth a look at each entry.
  private func mayBeShort(_ counts: SetFoot.Counts, _ there: Descriptor?) throws(Failure) -> Bool {
    guard let system = try lookedAt(there).fileSystem() else { return false }
    var most = counts.bytes
    let (tails, isTooMany) = counts.files.multipliedReportingOverflow(by: system.block)
    most.add(saturating: isTooMany ? .max : tails)
    if most > system.free { return true }
    if let files = system.freeFiles, counts.files + counts.directories > files { return true }
    // Part of it may come to lie on another file system.
    guard there != nil, options.overwrite != nil, let path = try? Host.resolved(options.target) else { return false }
    return Host.mountPoints().contains { $0 != path && $0.isAtOrBelow(path == [47] ? [] : path) }
  }

  private func feed(_ request: Request, to line: any Placing) throws(Failure) {
    let filter = RestoreFilter(request.rules, line)
    do throws(Failure) {
      if request.paths.isEmpty {
        try place(try series.tree(request.chain, checked: true), to: filter, while: nil)
      }
      for path in request.paths {
        let (tree, above) = try series.tree(request.chain, from: path)
        for directory in above { try filter.add(above: directory) }
        _ = try tree.next()
        let isDirectory = tree.line.kind == .directory
        try add(tree, to: filter)
        if isDirectory {
          let (below, _) = try series.tree(request.chain, from: path + [47])
          try place(below, to: filter, while: path)
        }
      }
      try line.finish()
    } catch {
      line.abandon()
      throw error
    }
  }

  /// Names what is missing, or not what it was, before anything is written; what is there is restored all the same.
  private func reportShortfalls(_ chain: [SetName]) throws(Failure) -> Bool {
    let messages = try series.shortfalls(in: chain)
    for message in messages { reporter.problem(message, path: nil) }
    return !messages.isEmpty
  }

  /// Refuses at once what a real run would refuse. nil: the target does not exist yet.
  private func checkTarget() throws(Failure) -> Descriptor? {
    if let there = try? Descriptor.open(options.target, [.read, .directory]) {
      try refuseFull(there)
      return there
    }
    _ = try parentOfTarget()
    return nil
  }

  /// The target or, where it is not there yet, what it will be made in.
  private func lookedAt(_ there: Descriptor?) throws(Failure) -> Descriptor {
    if let there { return there }
    return try parentOfTarget()
  }

  private func parentOfTarget() throws(Failure) -> Descriptor {
    let parent = options.target.splitAtName.parent
    let above = parent.isEmpty && options.target.first != 47 ? Bytes(".") : parent + [47]
    do throws(SystemError) { return try Descriptor.open(above, [.pathOnly, .directory]) } catch {
      throw Failure(error, hint: error.isMissing ? "make it first: mkdir -p \(Show.word(parent))" : nil)
    }
  }

  private func refuseFull(_ target: Descriptor) throws(Failure) {
    guard options.overwrite == nil else { return }
    let names = try system { () throws(SystemError) in try target.sortedNames() }
    for name in names {
      if name == RestoreOptions.lostAndFound, (try? target.status(of: name).kind) == .directory { continue }
      throw Failure(
        .failed, "the target \(Show.path(options.target)) is not empty",
        hint: "choose another one, or say what may be replaced: --overwrite if-changed, if-newer, always or never")
    }
  }

  private func openTarget() throws(Failure) -> Descriptor {
    let path = options.target
    do throws(SystemError) { try Descriptor.workingDirectory.makeDirectory(path) } catch {
      guard error.isExisting else { throw Failure(error) }
    }
    let target = try system { () throws(SystemError) in
      try Descriptor.open(path, [.read, .directory], on: Drive(endsAtInputOutputError: false, endsWhenFull: true))
    }
    try refuseFull(target)
    return target
  }

  private func place(_ tree: PointReader, to line: RestoreFilter, while directory: Bytes?) throws(Failure) {
    tree.onUnseen = { line.spare($0) }
    defer { tree.onUnseen = nil }
    while try tree.next() {
      if let directory, !Bytes(tree.line.parent).isAtOrBelow(directory) { return }
      try add(tree, to: line)
    }
  }

  private func add(_ tree: PointReader, to line: RestoreFilter) throws(Failure) {
    try progress.checkCancelled()
    guard let entry = tree.line.entry() else {
      throw .damaged("\(tree.manifest.name): line \(tree.manifest.lineNumber) cannot be read")
    }
    try line.add(entry, isUnseen: tree.isUnseen)
  }
}
