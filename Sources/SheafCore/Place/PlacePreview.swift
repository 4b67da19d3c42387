/// What a restore would do: the target is looked at, and nothing is done to it.
import Posix
import Tar

/// Takes a point's entries in the order of the tree, to bring them back.
protocol Placing: AnyObject {
  /// A directory above what was asked for.
  func add(above entry: Entry) throws(Failure)
  func add(_ entry: Entry, isUnseen: Bool) throws(Failure)
  /// What the point could not look at is neither in it nor deleted: it stays.
  func spare(_ path: Bytes)
  /// Ends what is still open.
  func finish() throws(Failure)
  /// Ends early.
  func abandon()
  func summary(_ set: SetName) -> RestoreSummary
}

/// Not for use from several threads.
final class PlacePreview: Placing {
  /// nil: it is not there yet.
  private let target: Descriptor?
  private let options: RestoreOptions
  /// Below these, what the point does not have would go.
  private let roots: [Bytes]
  private let reporter: any Reporter
  private let placer: Placer
  private let cleaner: TargetCleaner?
  private var total: RestoreSummary
  private var need: RoomNeed

  private var directory: (path: Bytes, there: TargetDirectory?)?
  private var names: Set<Bytes> = []
  private var spared: [Bytes: Set<Bytes>] = [:]
  private var unlisted: [Bytes] = []
  /// What would be refused, with all below it.
  private var refused: [Bytes] = []
  /// The directories in the one at hand, and those whose names come later, the next one last.
  private var children: [Bytes] = []
  private var waiting: [Bytes] = []

  /// `above`: what a target that is not there would be made in.
  init(
    _ target: Descriptor?, above: Descriptor, store: Status?, set: SetName, _ options: RestoreOptions, roots: [Bytes],
    sparing: SparingRules, reporter: any Reporter
  ) {
    self.target = target
    self.options = options
    self.roots = roots
    self.reporter = reporter
    total = RestoreSummary(set: set)
    let removal = Removal(store: store, sparing: sparing, isDryRun: true)
    placer = Placer(overwrite: options.overwrite, removal: removal)
    cleaner = target.map { TargetCleaner($0, removal, reporter) }
    need = RoomNeed((target ?? above).fileSystem())
  }

  func add(above entry: Entry) {
    guard let path = options.stripped(entry.path) else { return }
    let (parent, name) = path.splitAtName
    enter(parent)
    refuse(path, name, at: directory?.there)
  }

  /// Whether it only leads to what is restored, and is no directory in the target.
  private func refuse(_ path: Bytes, _ name: Bytes, at there: TargetDirectory?) {
    guard options.overwrite != nil, let kind = try? there?.descriptor.status(of: name).kind, kind != .directory,
      !refused.contains(where: { path.isAtOrBelow($0) })
    else { return }
    refused.append(path)
    reporter.problem(PlaceLine.refusal(of: kind), path: path)
  }

  func add(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    if isUnseen { total.unseen += 1 }
    guard let path = options.stripped(entry.path) else { return }
    if entry.kind == .directory, isUnseen || entry.isUnlisted { spare(contentsOf: path) }
    let (parent, name) = path.splitAtName
    if directory?.path != parent { enter(parent) }
    names.insert(name)
    if !refused.isEmpty, refused.contains(where: { path.isAtOrBelow($0) }) { return }
    if entry.kind == .directory {
      total.directories += 1
      if roots.contains(where: { $0 != entry.path && $0.isAtOrBelow(entry.path) }) {
        refuse(path, name, at: directory?.there)
      }
      return children.append(path)
    }
    do throws(SystemError) {
      if let there = directory?.there, try !placer.mayPlace(entry, name, in: there) {
        total.kept += 1
        return
      }
    } catch { return reporter.problem(placer.reason(error, name, in: directory!.there!), path: entry.path) }
    total.files += 1
    if entry.hardLink == nil { total.bytes.add(saturating: entry.size) }
    let isSecondName = entry.hardLink.map { first in
      options.paths.isEmpty || options.paths.contains { first.isAtOrBelow($0) }
    }
    need.add(
      entry, isSecondName: isSecondName ?? false, replacing: try? directory?.there?.descriptor.status(of: name))
    if reporter.wantsItems { reporter.item(.restored, entry.path, entry.kind) }
  }

  private func spare(contentsOf path: Bytes) {
    if options.deletes, !unlisted.contains(where: { path.isAtOrBelow($0) }) { unlisted.append(path) }
  }

  func spare(_ path: Bytes) {
    let (parent, name) = path.splitAtName
    if directory?.path == parent { names.insert(name) } else { spared[parent, default: []].insert(name) }
  }

  private func enter(_ path: Bytes) {
    leave()
    // Those in between are empty in the point.
    while let next = waiting.last, PathOrder.compareDirectories(next, path) <= 0 {
      waiting.removeLast()
      if next != path { tellDeleted(next, keeping: []) }
    }
    let there = (try? target?.openBeneath(path, [.read, .directory, .noFollow])).map { TargetDirectory($0) }
    directory = (path, there)
    need.enter(path, there?.fileSystem)
  }

  private func leave() {
    waiting += children.reversed()
    children.removeAll()
    if let (path, there) = directory, there != nil { tellDeleted(path, keeping: names) }
    directory = nil
    names = []
  }

  private func tellDeleted(_ path: Bytes, keeping names: Set<Bytes>) {
    let kept = names.union(spared.removeValue(forKey: path) ?? [])
    guard options.deletes, let cleaner, let root = roots.first(where: { path.isAtOrBelow($0) }),
      !unlisted.contains(where: { path.isAtOrBelow($0) }),
      (try? target?.openBeneath(path, [.pathOnly, .directory, .noFollow])) != nil
    else { return }
    cleaner.clean(path, keeping: kept, below: root)
  }

  func finish() {
    leave()
    while let next = waiting.popLast() { tellDeleted(next, keeping: []) }
  }

  func abandon() {}

  /// What is missing, in words; nil where it fits.
  var shortage: String? { need.shortage(freed: cleaner?.freed ?? [:]) }

  func summary(_ set: SetName) -> RestoreSummary {
    var summary = total
    summary.deleted = cleaner?.deleted ?? 0
    summary.needed = need.bytes
    return summary
  }
}

extension RestoreOptions {
  /// Where a path of the point goes in the target; nil where all of it is stripped away.
  func stripped(_ path: Bytes) -> Bytes? {
    guard strip > 0 else { return path }
    let parts = path.split(separator: 47)
    return parts.count > strip ? Bytes(parts.dropFirst(strip).joined(separator: [47])) : nil
  }
}
