/// Which of a point's entries are restored, by the patterns of the restore, and what deleting spares.
import Posix

struct RestoreRules: Sendable {
  let sparing: SparingRules
  fileprivate let exclude: Exclusions
  fileprivate let include: Exclusions
  fileprivate let owners: OwnerUse
  /// What was asked for: no pattern takes it away.
  fileprivate let roots: [Bytes]

  init(_ options: RestoreOptions, _ head: SetHead, _ set: SetName, roots: [Bytes]) throws(Failure) {
    self.roots = roots
    exclude = try Self.patterns(options.exclude, "--exclude", head.sources)
    include = try Self.patterns(options.include, "--include", head.sources)
    owners = OwnerUse(options.owners)
    var leftOut = ExclusionRules()
    if options.deletes, !options.deletesExcluded {
      leftOut = ExclusionRules(lines: head.exclusions)
      leftOut.sources = head.sources
      if let unknown = leftOut.unknown.first {
        throw Failure(
          .failed, "\(set.text): what it left out cannot be understood, so it cannot be spared: \(Show.path(unknown))",
          hint: "use a newer sheaf, or --delete-excluded")
      }
    }
    sparing = SparingRules(excluded: exclude, leftOut: leftOut, sparesSockets: !options.deletesExcluded)
  }

  /// What was asked for and fits nothing that was looked at, in words.
  var unmatched: [String] {
    let patterns =
      exclude.unused.map { ("--exclude", $0) } + include.unused.map { ("--include", $0) }
    return patterns.map { "\($0) '\(Show.path($1))' matches nothing of what is to be restored" } + owners.unused
  }

  /// There are patterns of what is wanted, and nothing is.
  var includeNothing: Bool { !include.isEmpty && include.unused.count == include.texts.count }

  private static func patterns(_ texts: [Bytes], _ option: String, _ sources: [Bytes]) throws(Failure) -> Exclusions {
    var patterns = Exclusions()
    patterns.sources = sources
    for text in texts {
      do throws(PatternError) { try patterns.add(pattern: text, orAs: otherForms(text, sources)) } catch {
        throw Failure(.usage, "\(option) '\(Show.path(text))': \(error.reason)")
      }
    }
    return patterns
  }

  /// What has a slash in its middle is a path below any source; it may also be a whole path as it is shown, without the
  /// slash in front, and a path that begins with a source's last name. So `find` takes it, too.
  private static func otherForms(_ text: Bytes, _ sources: [Bytes]) -> [Bytes] {
    let mark: Bytes = text.first == UInt8(ascii: "!") ? [UInt8(ascii: "!")] : []
    let path = Bytes(text.dropFirst(mark.count))
    let parts = path.split(separator: 47)
    guard parts.count > 1, path.first != 47 else { return [] }
    let top: Bytes = [47]
    var forms = [mark + top + path]
    let special = Bytes("*?[\\")
    for source in sources {
      let (parent, name) = source.splitAtName
      guard parts[0].elementsEqual(name), !parent.isEmpty else { continue }
      let escaped = parent.flatMap { (byte) -> Bytes in special.contains(byte) ? [UInt8(ascii: "\\"), byte] : [byte] }
      forms.append(mark + top + escaped.joined(path))
    }
    return forms
  }
}

/// Hands on what is to be restored, in the order of the tree.
final class RestoreFilter {
  private let rules: RestoreRules
  private let next: any Placing
  private let isIdle: Bool
  /// The directory at hand, and whether it is left out, or taken, with all in it.
  private var directory: (path: Bytes, isExcluded: Bool, isIncluded: Bool)?
  /// Directories at hand and above that are not included, outermost first: made if something in them is.
  private var above: [Entry] = []
  /// Such directories whose names are still to come, the next one last.
  private var waiting: [Entry] = []
  private var children: [Entry] = []

  init(_ rules: RestoreRules, _ next: any Placing) {
    self.rules = rules
    self.next = next
    isIdle = rules.exclude.isEmpty && rules.include.isEmpty && rules.owners.isEmpty
  }

  func add(above entry: Entry) throws(Failure) { try next.add(above: entry) }

  func spare(_ path: Bytes) { next.spare(path) }

  func add(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    if isIdle { return try next.add(entry, isUnseen: isUnseen) }
    let (parent, name) = entry.path.splitAtName
    if directory?.path != parent { enter(parent) }
    guard let here = directory else { return }
    let isDirectory = entry.kind == .directory
    let isRoot = rules.roots.contains(entry.path)
    if !isRoot {
      if here.isExcluded || isBelowRoot(parent) && matches(rules.exclude, parent, name, isDirectory) { return }
    }
    if isRoot || rules.include.isEmpty || here.isIncluded || matches(rules.include, parent, name, isDirectory) {
      for directory in above { try next.add(above: directory) }
      above.removeAll()
      rules.owners.note(entry)
      return try next.add(entry, isUnseen: isUnseen)
    }
    if isDirectory { children.append(entry) }
  }

  private func isBelowRoot(_ path: Bytes) -> Bool { rules.roots.contains { path.isAtOrBelow($0) } }

  private func enter(_ path: Bytes) {
    waiting += children.reversed()
    children.removeAll()
    above.removeAll { !path.isAtOrBelow($0.path) }
    while let next = waiting.last, PathOrder.compareDirectories(next.path, path) <= 0 {
      waiting.removeLast()
      if path.isAtOrBelow(next.path) { above.append(next) }
    }
    directory = (path, isExcluded(path), !rules.include.isEmpty && isIncluded(path))
  }

  /// Whether the directory, or one above it, is left out: below what was asked for.
  private func isExcluded(_ path: Bytes) -> Bool {
    guard !rules.exclude.isEmpty, let root = rules.roots.first(where: { path.isAtOrBelow($0) }) else { return false }
    return isMatched(rules.exclude, path, below: root)
  }

  private func isIncluded(_ path: Bytes) -> Bool { isMatched(rules.include, path, below: []) }

  private func isMatched(_ patterns: Exclusions, _ path: Bytes, below top: Bytes) -> Bool {
    var parent = top
    for name in path.dropFirst(top.isEmpty ? 0 : top.count + 1).split(separator: 47) {
      if matches(patterns, parent, Bytes(name), true) { return true }
      parent = parent.isEmpty ? Bytes(name) : parent.joined(Bytes(name))
    }
    return false
  }

  private func matches(_ patterns: Exclusions, _ parent: Bytes, _ name: Bytes, _ isDirectory: Bool) -> Bool {
    guard !patterns.isEmpty, !name.isEmpty else { return false }
    return name.withUnsafeBufferPointer { patterns.excludes(directory: parent, name: $0, isDirectory: isDirectory) }
  }
}
