/// Sets owner, attributes, mode and time of what is restored, in the order in which none takes another away.
import Posix
import Tar

/// What a target cannot take, counted for one warning at the end.
final class Shortfalls: Sendable {
  private let counts = Monitor<[String: Int]>([:])

  func add(_ what: String) { counts.look { $0[what, default: 0] += 1 } }
  var all: [(what: String, count: Int)] { counts.look { $0.sorted { $0.key < $1.key } }.map { ($0.key, $0.value) } }
}

struct MetadataPlacer: Sendable {
  let owners: Owners
  /// Something may be there already, with attributes of its own.
  let replaces: Bool
  /// The target hands down access lists that the entries do not have.
  let inheritsACLs: Bool
  let shortfalls: Shortfalls
  private let isRoot = Host.isRoot
  private let user = Host.userID

  init(owners: Owners, replaces: Bool, inheritsACLs: Bool, shortfalls: Shortfalls) {
    self.owners = owners
    self.replaces = replaces
    self.inheritsACLs = inheritsACLs
    self.shortfalls = shortfalls
  }

  private static let accessLists = [Bytes("system.posix_acl_access"), Bytes("system.posix_acl_default")]

  /// Of an open file or directory.
  func finish(_ entry: Entry, _ file: Descriptor, in target: TargetDirectory) throws(SystemError) {
    if entry.kind == .directory, replaces {
      // One that was there already may have more than the point knows.
      let wanted = Set(entry.attributes.map(\.name))
      for one in (try? file.attributes()) ?? [] where !wanted.contains(one.name) {
        do throws(SystemError) { try file.removeAttribute(one.name) } catch {
          // What the system gives by rules of its own it may keep.
          if !error.hasNoAttribute, !one.isOfSecurity { shortfalls.add("attribute") }
        }
      }
    } else if inheritsACLs || replaces {
      // It may have inherited them from a folder that was there already.
      for name in Self.accessLists { try? file.removeAttribute(name) }
    }
    try apply(
      entry, in: target, { () throws(SystemError) in try file.status() },
      owner: { (uid, gid) throws(SystemError) in try file.setOwner(uid: uid, gid: gid) },
      mode: { (mode) throws(SystemError) in try file.setMode(mode) },
      attribute: { (attribute) throws(SystemError) in try file.setAttribute(attribute) })
    try file.setModified(entry.modified, andAccessed: target.isForeign)
  }

  /// Of a name: what should not be opened.
  func finish(_ entry: Entry, _ name: Bytes, in target: TargetDirectory) throws(SystemError) {
    let directory = target.descriptor
    if entry.kind != .symlink, inheritsACLs || replaces {
      do throws(SystemError) { try directory.removeAttribute(Self.accessLists[0], of: name) } catch {
        if !error.hasNoAttribute { shortfalls.add("attribute") }
      }
    }
    try apply(
      entry, in: target, { () throws(SystemError) in try directory.status(of: name) },
      owner: { (uid, gid) throws(SystemError) in try directory.setOwner(name, uid: uid, gid: gid) },
      mode: { (mode) throws(SystemError) in if entry.kind != .symlink { try directory.setMode(name, mode) } },
      attribute: { (attribute) throws(SystemError) in try directory.setAttribute(attribute, of: name) })
    try directory.setModified(name, entry.modified, andAccessed: target.isForeign)
  }

  /// Owner first, since changing it takes setuid and capabilities away; attributes while the owner may still write; the
  /// mode before the ACL, whose mask it is.
  private func apply(
    _ entry: Entry, in target: TargetDirectory, _ status: () throws(SystemError) -> Status,
    owner: (UInt32, UInt32) throws(SystemError) -> Void, mode: (UInt16) throws(SystemError) -> Void,
    attribute: (Attribute) throws(SystemError) -> Void
  ) throws(SystemError) {
    let isOwned = try setOwner(entry, in: target, status, owner)
    if !isOwned { shortfalls.add("owner") }
    for one in entry.attributes where !one.isACL {
      // Someone else's program would run with rights that it was not given.
      if !isOwned, one.name == Bytes("security.capability") {
        shortfalls.add("attribute")
      } else {
        try set(one, attribute)
      }
    }
    let bits = isOwned ? entry.mode : entry.mode & ~0o6000
    var isModeTold = false
    do throws(SystemError) { try mode(bits) } catch {
      guard error.isForbidden || error.isUnsupported else { throw error }
      shortfalls.add("mode")
      isModeTold = true
    }
    // It may have taken it and done nothing.
    if target.isForeign, entry.kind != .symlink, !isModeTold, try status().mode != bits { shortfalls.add("mode") }
    for one in entry.attributes where one.isACL { try set(one, attribute) }
  }

  private func set(
    _ one: Attribute, _ attribute: (Attribute) throws(SystemError) -> Void
  ) throws(SystemError) {
    do throws(SystemError) { try attribute(one) } catch {
      guard error.isUnsupported || error.isForbidden || error.isFull else { throw error }
      shortfalls.add("attribute")
    }
  }

  /// Whether owner and group are what they are to be now.
  private func setOwner(
    _ entry: Entry, in target: TargetDirectory, _ status: () throws(SystemError) -> Status,
    _ owner: (UInt32, UInt32) throws(SystemError) -> Void
  ) throws(SystemError) -> Bool {
    let (uid, gid) = (owners.user(of: entry), owners.group(of: entry))
    // chown(2) takes the largest number for "as it is".
    guard isRoot || uid == user, uid != .max, gid != .max else { return false }
    do throws(SystemError) { try owner(uid, gid) } catch {
      guard error.isUnsupported || error.isForbidden else { throw error }
      return false
    }
    guard target.isForeign else { return true }
    // It may have taken them and done nothing.
    let there = try status()
    return there.uid == uid && there.gid == gid
  }
}
