/// What a source tells of one of its entries, but for the contents.
import Posix
import Tar

/// Looks at entries on behalf of one thread.
final class SourceLook {
  private let owners: OwnerNames
  private let reporter: any Reporter
  private let clock: @Sendable () -> Timestamp
  // Files that follow each other mostly have one owner.
  private var lastUser: (id: UInt32?, name: Bytes) = (nil, [])
  private var lastGroup: (id: UInt32?, name: Bytes) = (nil, [])

  init(owners: OwnerNames, reporter: any Reporter, clock: @escaping @Sendable () -> Timestamp) {
    self.owners = owners
    self.reporter = reporter
    self.clock = clock
  }

  /// A file that was written so many seconds before it was read is looked at again: on some file systems a later
  /// write would show the same times.
  private static let racySeconds: Int64 = 2

  /// Of what only its status tells: a directory, another name of an inode.
  func entry(_ path: Bytes, _ status: Status) -> Entry {
    var entry = Entry(path: path, status: status)
    if lastUser.id != entry.uid { lastUser = (entry.uid, owners.user(entry.uid)) }
    if lastGroup.id != entry.gid { lastGroup = (entry.gid, owners.group(entry.gid)) }
    entry.userName = lastUser.name
    entry.groupName = lastGroup.name
    return entry
  }

  /// Of anything but a file or a directory, `name` in `parent`.
  func entry(_ path: Bytes, _ status: Status, named name: Bytes, in parent: Descriptor) throws(SystemError) -> Entry {
    var entry = entry(path, status)
    if entry.kind == .symlink { entry.linkTarget = try parent.readLink(name) }
    keep(try parent.attributes(of: name), in: &entry)
    return entry
  }

  /// Takes the attributes as far as they fit. What is left out is said, and tried again next time.
  private func keep(_ attributes: [Attribute], in entry: inout Entry) {
    entry.attributes = within(attributes, of: entry.path)
    if entry.attributes.count < attributes.count { entry.isTorn = true }
  }

  /// As many of an entry's attributes as fit.
  func within(_ attributes: [Attribute], of path: Bytes) -> [Attribute] {
    if attributes.isEmpty { return attributes }
    var room = Entry.attributesLimit
    let kept = attributes.prefix { attribute in
      room -= attribute.name.count + attribute.value.count
      return room >= 0
    }
    if kept.count < attributes.count {
      reporter.problem(
        "has \(attributes.count) extended attributes of more than \(Show.size(Entry.attributesLimit)) in all: the last \(attributes.count - kept.count) are not saved",
        path: path)
    }
    return Array(kept)
  }

  /// Of an open file. Throws where something else took its place since it was listed.
  func entry(_ path: Bytes, of file: Descriptor) throws(SystemError) -> (Status, Entry) {
    let opened = clock()
    let status = try file.status()
    guard status.kind == .file else { throw SystemError.replaced(path) }
    guard (0...Entry.sizeLimit).contains(status.size) else { throw SystemError.tooLarge(path) }
    var entry = entry(path, status)
    keep(try file.attributes(), in: &entry)
    entry.holes = try file.holes(status)
    // No more than a reader takes.
    guard entry.holes.map({ Int64($0.count) }).saturatedSum <= Entry.holeLimit else { throw SystemError.tooLarge(path) }
    entry.isRacy =
      max(status.modified, status.changed)
      >= Timestamp(seconds: opened.seconds - Self.racySeconds, nanoseconds: opened.nanoseconds)
    return (status, entry)
  }
}
