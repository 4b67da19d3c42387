/// Files of several names: the first name of each stands for all, so what becomes of it decides for the others.
import Posix

/// The inodes of which more names are still to come. Memory grows with their number.
struct LinkGroups {
  private var groups: [Identity: LinkGroup] = [:]

  private struct Identity: Hashable {
    var device: UInt64
    var inode: UInt64

    init(_ status: Status) { (device, inode) = (status.device, status.inode) }
  }

  /// The group that a name met earlier has begun. nil: this is the first name.
  mutating func join(_ status: Status) -> LinkGroup? {
    let identity = Identity(status)
    // An inode number that is used again while the run goes on is another file.
    guard let group = groups[identity], group.isSame(status) else { return nil }
    group.remaining -= 1
    if group.remaining == 0 { groups[identity] = nil }
    return group
  }

  mutating func begin(_ path: Bytes, _ status: Status) -> LinkGroup {
    let group = LinkGroup(first: path, status: status)
    groups[Identity(status)] = group
    return group
  }

  /// The next name will be the first.
  mutating func forget(_ status: Status) { groups[Identity(status)] = nil }
}

extension LinkGroup {
  /// Whether the point before has the same of a later name as of the first. It may not: a run that was cut had reached
  /// the first alone, and what changed between is not in the later name's line.
  fileprivate func isAsBefore(_ line: Line) -> Bool {
    guard var later = line.entry(), let before else { return false }
    (later.path, later.hardLink) = (before.path, before.hardLink)
    return later == before
  }
}

extension Comparison {
  /// `done`: the name has its line, or cannot be read.
  enum Joined { case done, same, store }

  /// What is to be done with a name of a file of several names.
  func joinGroup(_ entry: inout PackEntry, isSame: Bool) -> Joined {
    let mayBeKept = isSame || entry.onlyIfDifferent
    guard let group = groups.join(entry.item.status) else { return beginGroup(&entry, isSame: isSame, mayBeKept) }
    entry.group = group
    entry.isLink = true
    if group.isStored { entry.turn = group.nextTurn() }
    entry.onlyIfDifferent = false
    guard !group.isStored, mayBeKept, let old = entry.old, let first = group.entry,
      parsed(old, { $0.hardLink == group.first })
    else { return .store }
    if isSame { return .same }
    guard group.isAsBefore(self.old!.line) else { return .store }
    var link = first
    link.path = entry.path
    link.hardLink = group.first
    let line = link.line
    keep(entry, link.kind, as: line.text, canonical: line.canonical)
    return .done
  }

  /// Whether the first name is stored decides for all others, so it is found out here and now.
  private func beginGroup(_ entry: inout PackEntry, isSame: Bool, _ mayBeKept: Bool) -> Joined {
    let group = groups.begin(entry.path, entry.item.status)
    entry.group = group
    if let old = entry.old, mayBeKept, isSame || !options.readsNothing, !parsed(old, { $0.hasHardLink }) {
      if isSame {
        group.entry = self.old!.line.entry()
        group.before = group.entry
        if group.entry != nil { return .same }
      } else if let kept = reader.refreshedIfEqual(entry) {
        group.entry = kept.entry
        group.before = self.old!.line.entry()
        keep(entry, kept.entry.kind, as: kept.text, canonical: kept.canonical)
        return .done
      }
    }
    entry.onlyIfDifferent = false
    if let failure = reader.failure(opening: entry) {
      // The next name is tried in its place.
      groups.forget(entry.item.status)
      unreadable(entry, failure)
      return .done
    }
    group.isStored = true
    return .store
  }

  /// Whether something holds of a line.
  func parsed(_ text: Bytes, _ body: (Line) -> Bool) -> Bool {
    text.withUnsafeBufferPointer { bytes in
      var line = Line()
      return line.parse(entry: bytes, scratch: scratch) && body(line)
    }
  }
}
