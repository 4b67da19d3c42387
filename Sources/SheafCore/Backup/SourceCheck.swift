/// Whether the sources of a run are what its user wants. Mistyped names, streams, and what somebody else wrote into a
/// drive's newest manifest are refused.
import Posix

struct SourceCheck {
  private let options: BackupOptions

  init(_ options: BackupOptions) { self.options = options }

  /// Those that are named for the first time and lie on the store's own file system: what breaks that takes both.
  func besideStore(_ store: Store, remembered: [Bytes]) -> [Bytes] {
    let place = (try? Host.resolved(store.path)).map { Bytes($0.dropFirst()) }
    return options.sources.filter { source in
      !remembered.contains(source) && store.isOnFileSystem(of: [47] + source)
        && place.map { !$0.isAtOrBelow(source) } ?? true
    }
  }

  /// Of a series that is there.
  func check(_ series: Series, _ known: KnownStores?) throws(Failure) {
    let head = try series.newestHead()
    let (saved, begun) = known?.lists(of: series) ?? (RunLists(), nil)
    if options.exclusions == nil, let head, begun?.exclusions != head.exclusions {
      try checkExclusions(head, saved.exclusions, series)
    }
    if options.sources.isEmpty, let head {
      let isBegun = begun?.sources.map { Set($0) == Set(head.sources) } ?? false
      try checkRemembered(head.sources, isBegun ? head.sources : saved.sources, series)
      try checkStreams(head.sources)
    } else {
      try check(remembered: head?.sources ?? [])
    }
  }

  /// What is left out stands there as well: whoever takes a line away gets what it kept from the drive.
  private func checkExclusions(_ head: SetHead, _ known: [Bytes]?, _ series: Series) throws(Failure) {
    guard let known, known != head.exclusions,
      let difference = ExclusionRules(lines: head.exclusions).difference(from: ExclusionRules(lines: known))
    else { return }
    throw Failure(
      .usage,
      "the series '\(Show.path(series.name))' leaves out something else than when it was last written to from here "
        + "(\(difference))",
      hint: "give the options for what is to be left out once more, or --change-excludes to leave out nothing")
  }

  /// Those that were named, where the series remembers others.
  func check(remembered: [Bytes]) throws(Failure) {
    for mapping in options.mappings {
      guard (try? Descriptor.open([47] + mapping.from, [.pathOnly, .directory])) != nil else {
        throw Failure(
          .usage,
          "\(Show.path([47] + mapping.from)), which is to be saved as \(Show.path([47] + mapping.recorded)), "
            + "is no folder", hint: "is it mounted?")
      }
    }
    for source in options.sources where !options.mappings.contains(where: { source == $0.recorded }) {
      let (parent, name) = source.splitAtName
      let folder = try? Descriptor.open([47] + parent, [.pathOnly, .directory])
      guard let folder, !source.isEmpty, let status = try? folder.status(of: name) else {
        let isPlain = source.isEmpty || source.withUnsafeBufferPointer(Line.isPlain)
        if source.isEmpty || options.allowsMissing && isPlain || remembered.contains(source) { continue }
        throw Failure(
          .usage, "the source \(Show.path([47] + source)) is not there",
          hint: isPlain
            ? "check its name, and whether it is mounted; --allow-missing accepts it anyway"
            : "check its name: '..' can only stand behind a folder that is there")
      }
      if isStream(source, status, in: folder) {
        throw Failure(
          .usage, "the source \(Show.path([47] + source)) is a stream, which has no contents of its own to save",
          hint: "'COMMAND | sheaf backup --stdin-name PATH' saves it as a file, or --command PATH=COMMAND")
      }
    }
    try checkStreams(options.sources.isEmpty ? remembered : options.sources)
  }

  /// Each has a path of its own, at which nothing but a file can be, and whose folders are folders.
  private func checkStreams(_ sources: [Bytes]) throws(Failure) {
    let paths = options.streams.map(\.path)
    for (index, path) in paths.enumerated() {
      let name = Show.path([47] + path)
      // No reader takes a line with another path, so the whole point would be lost.
      guard options.streams[index].canBeSaved else { throw Failure(.usage, "\(name) cannot be the path of a file") }
      if sources.contains(where: { $0 != path && $0.isAtOrBelow(path) }) || Self.kind(path) == .directory {
        throw Failure(.usage, "\(name) is a folder, and cannot be the file that a stream becomes")
      }
      if sources.contains(path) { throw Failure(.usage, "\(name) is a source, and cannot be a stream as well") }
      for other in paths[..<index] where path.isAtOrBelow(other) || other.isAtOrBelow(path) {
        throw Failure(
          .usage,
          path == other
            ? "two streams are to become \(name)" : "\(name) and \(Show.path([47] + other)) cannot both be files")
      }
      var parent = path.splitAtName.parent
      while !parent.isEmpty {
        if let kind = Self.kind(parent), kind != .directory {
          throw Failure(.usage, "\(Show.path([47] + parent)) is no folder, so \(name) cannot be a file in it")
        }
        parent = parent.splitAtName.parent
      }
    }
  }

  private static func kind(_ path: Bytes) -> FileKind? {
    let (parent, name) = path.splitAtName
    return try? Descriptor.open([47] + parent, [.pathOnly, .directory]).status(of: name).kind
  }

  /// A pipe or a socket, or a link to what this process has open.
  private func isStream(_ source: Bytes, _ status: Status, in folder: Descriptor) -> Bool {
    func isOpened(_ path: Bytes) -> Bool {
      let parts = path.split(separator: 47)
      return parts.count >= 3 && parts[0] == Bytes("proc")[...] && parts[parts.count - 2] == Bytes("fd")[...]
        || parts.count == 3 && parts[0] == Bytes("dev")[...] && parts[1] == Bytes("fd")[...]
    }
    if isOpened(source) || status.kind == .fifo || status.kind == .socket { return true }
    guard status.kind == .symlink else { return false }
    if let target = try? folder.readLink(source.splitAtName.name), isOpened(target) { return true }
    let there = try? Descriptor.open([47] + source, .pathOnly).status()
    return there?.kind == .fifo || there?.kind == .socket
  }

  /// For sources that nobody named: they come from the newest manifest on the drive, and must be those of this machine's
  /// last run.
  private func checkRemembered(_ told: [Bytes], _ known: [Bytes]?, _ series: Series) throws(Failure) {
    func refuse(_ what: String) -> Failure {
      Failure(
        .usage,
        "the series '\(Show.path(series.name))' \(what): \(told.map { Show.path([47] + $0) }.joined(separator: " "))",
        hint: "if these are to be backed up from here, name each SOURCE, with --change-sources")
    }
    let isSound =
      Set(told).count == told.count
      && told.allSatisfy { path in path.isEmpty || path.withUnsafeBufferPointer { Line.isPlain($0) } }
    guard isSound else { throw refuse("remembers sources that cannot be any") }
    if let known {
      guard Set(known) == Set(told) else {
        throw refuse("remembers other sources than it had when it was last written to from here")
      }
    } else if told.contains([]) {
      throw refuse("remembers the whole file system as its source, and this machine does not know of it")
    }
  }

  // MARK: - Where they lie

  /// The store is never saved, so a source inside it is refused.
  func refuseStore(_ store: (device: UInt64, inode: UInt64)?, in sources: SourceTree, _ root: SourceRoot)
    throws(Failure)
  {
    guard let store else { return }
    for source in sources.sources {
      let place = root.place(of: source)
      var path = place
      while !path.isEmpty {
        let status = try? root.unmapped(path, [.pathOnly, .noFollow]).status()
        if let status, status.device == store.device, status.inode == store.inode {
          let what = path == place ? "is the store itself" : "lies in the store"
          throw Failure(.usage, "the source \(Show.path([47] + source)) \(what), which is not backed up into itself")
        }
        path = path.splitAtName.parent
      }
    }
  }

  /// Those that are not there. Throws where none is, unless that may be.
  func missing(of sources: SourceTree, _ root: SourceRoot, mayBeAll: Bool) throws(Failure) -> [Bytes] {
    let missing = sources.sources.filter { path in
      !path.isEmpty && (try? root.status(of: path)) == nil
    }
    if missing.count == sources.sources.count, !missing.isEmpty, !mayBeAll {
      let names = missing.map { Show.path([47] + $0) }.joined(separator: ", ")
      throw Failure(
        .failed, missing.count == 1 ? "the source \(names) is not there" : "none of the sources is there: \(names)",
        hint: "is it mounted?")
    }
    return missing
  }
}
