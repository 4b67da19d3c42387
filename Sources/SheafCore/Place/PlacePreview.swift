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
  private var total: RestoreSummary

  private var directory: (path: Bytes, there: TargetDirectory?)?
  private var names: Set<Bytes> = []
  private var spared: [Bytes: Set<Bytes>] = [:]
  /// The directories in the one at hand, and those whose names come later, the next one last.
  private var children: [Bytes] = []
  private var waiting: [Bytes] = []

  init(_ target: Descriptor?, set: SetName, _ options: RestoreOptions, roots: [Bytes], reporter: any Reporter) {
    self.target = target
    self.options = options
    self.roots = roots
    self.reporter = reporter
    total = RestoreSummary(set: set)
    placer = Placer(overwrite: options.overwrite, spared: nil, inheritsACLs: false, shortfalls: Shortfalls())
  }

  func add(above entry: Entry) {
    if let path = options.stripped(entry.path) { enter(path.splitAtName.parent) }
  }

  func add(_ entry: Entry, isUnseen: Bool) throws(Failure) {
    if isUnseen { total.unseen += 1 }
    guard let path = options.stripped(entry.path) else { return }
    let (parent, name) = path.splitAtName
    if directory?.path != parent { enter(parent) }
    names.insert(name)
    if entry.kind == .directory {
      total.directories += 1
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
    if reporter.wantsItems { reporter.item(.restored, entry.path, entry.kind) }
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
      if next != path { passEmpty(next) }
    }
    directory = (path, open(path))
  }

  private func leave() {
    waiting += children.reversed()
    children.removeAll()
    if let (path, there) = directory { tellDeleted(path, there, keeping: names) }
    directory = nil
    names = []
  }

  private func passEmpty(_ path: Bytes) { tellDeleted(path, open(path), keeping: []) }

  private func open(_ path: Bytes) -> TargetDirectory? {
    (try? target?.openBeneath(path, [.read, .directory, .noFollow])).map { TargetDirectory($0) }
  }

  private func tellDeleted(_ path: Bytes, _ there: TargetDirectory?, keeping names: Set<Bytes>) {
    let kept = names.union(spared.removeValue(forKey: path) ?? [])
    guard options.deletes, let there, roots.contains(where: { path.isAtOrBelow($0) }) else { return }
    for name in (try? there.descriptor.sortedNames()) ?? [] where !kept.contains(name) {
      total.deleted += 1
      guard reporter.wantsItems else { continue }
      let kind = (try? there.descriptor.status(of: name).kind) ?? .file
      reporter.item(.deleted, path.joined(name), kind)
    }
  }

  func finish() {
    leave()
    while let next = waiting.popLast() { passEmpty(next) }
  }

  func abandon() {}

  func summary(_ set: SetName) -> RestoreSummary { total }
}

extension RestoreOptions {
  /// Where a path of the point goes in the target; nil where all of it is stripped away.
  func stripped(_ path: Bytes) -> Bytes? {
    guard strip > 0 else { return path }
    let parts = path.split(separator: 47)
    return parts.count > strip ? Bytes(parts.dropFirst(strip).joined(separator: [47])) : nil
  }
}
