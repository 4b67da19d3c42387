/// What was restored, read back and compared with what was saved.
import Posix
import Tar

struct RestoredComparison {
  static let nothing = "did not come back"

  private let target: Descriptor
  /// What the target could not take, which is not compared.
  private let lacking: Set<String>
  private let hasher = SHA256()
  private let buffer = Buffer(capacity: 1 << 20)
  private var directory: (path: Bytes, descriptor: Descriptor)?

  init(_ target: Descriptor, lacking: [(what: String, count: Int)]) {
    self.target = target
    self.lacking = Set(lacking.map(\.what))
  }

  /// In words what is not as it was saved; empty: nothing. `first`: where the first of its names was restored, too.
  mutating func differences(_ entry: Entry, first: Bytes?) throws(SystemError) -> [String] {
    let (parent, name) = entry.path.splitAtName
    if directory?.path != parent {
      directory = (parent, try target.openBeneath(parent, [.read, .directory, .noFollow]))
    }
    guard let folder = directory?.descriptor else { return [] }
    let there: Status
    do throws(SystemError) { there = try folder.status(of: name) } catch {
      guard error.isMissing else { throw error }
      return [Self.nothing]
    }
    guard there.kind == entry.kind else { return ["another kind"] }
    var found = compare(there, entry)
    switch entry.kind {
    case .file:
      if try digest(name, in: folder, size: there.size) != entry.digest { found.append("other contents") }
    case .symlink:
      if try folder.readLink(name) != entry.linkTarget { found.append("another target") }
    case .characterDevice, .blockDevice:
      if there.specialMajor != entry.major || there.specialMinor != entry.minor { found.append("another device") }
    default: break
    }
    found += try attributes(name, in: folder, entry)
    if let first, !lacking.contains("hard link"), entry.kind != .directory {
      let (above, firstName) = first.splitAtName
      let other = try target.openBeneath(above, [.pathOnly, .directory]).status(of: firstName)
      if other.inode != there.inode { found.append("no second name of \(Show.path(first))") }
    }
    return found
  }

  private func compare(_ there: Status, _ entry: Entry) -> [String] {
    var found: [String] = []
    let isOwned = there.uid == entry.uid && there.gid == entry.gid
    if !isOwned, !lacking.contains("owner") { found.append("owner \(there.uid):\(there.gid)") }
    // Who is not the owner does not give others his rights.
    let mode = isOwned ? entry.mode : entry.mode & ~0o6000
    if entry.kind != .symlink, there.mode != mode, !lacking.contains("mode") {
      found.append("mode \(String(there.mode, radix: 8))")
    }
    if there.modified != entry.modified { found.append("another time") }
    if entry.kind == .file, there.size != entry.size { found.append("\(there.size) bytes") }
    return found
  }

  private func attributes(_ name: Bytes, in folder: Descriptor, _ entry: Entry) throws(SystemError) -> [String] {
    let there = try folder.attributes(of: name)
    var found: [String] = []
    for attribute in entry.attributes where there.first(where: { $0.name == attribute.name }) != attribute {
      if !lacking.contains("attribute") { found.append("attribute \(Show.path(attribute.name))") }
    }
    // Others the system gives by rules of its own, but no access list.
    for attribute in there where attribute.isACL && !entry.attributes.contains(where: { $0.name == attribute.name }) {
      found.append("attribute \(Show.path(attribute.name))")
    }
    return found
  }

  private func digest(_ name: Bytes, in folder: Descriptor, size: Int64) throws(SystemError) -> Digest {
    let file = try folder.open(name, [.read, .noFollow, .nonBlocking])
    var offset: Int64 = 0
    while offset < size {
      let count = try file.read(into: buffer.start, count: Int(min(size - offset, 1 << 20)), at: offset)
      if count == 0 { break }
      hasher.update(UnsafeRawPointer(buffer.start), count)
      offset += Int64(count)
    }
    return hasher.finish()
  }
}
