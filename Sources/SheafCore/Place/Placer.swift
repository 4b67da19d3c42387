/// Puts entries into a directory, each relative to its parent's open descriptor, following nothing.
import Posix
import Tar

public enum Overwrite: String, Sendable, CaseIterable {
  case never
  case ifChanged = "if-changed"
  case ifNewer = "if-newer"
  case always
}

/// What a target cannot take, counted for one warning at the end.
final class Shortfalls: Sendable {
  private let counts = Monitor<[String: Int]>([:])

  func add(_ what: String) { counts.look { $0[what, default: 0] += 1 } }
  var all: [(what: String, count: Int)] { counts.look { $0.sorted { $0.key < $1.key } }.map { ($0.key, $0.value) } }
}

struct Placer: Sendable {
  /// nil: what exists already is an error.
  let overwrite: Overwrite?
  /// The store: it is never removed.
  let spared: Status?
  /// The target hands down access lists that the entries do not have.
  let inheritsACLs: Bool
  let shortfalls: Shortfalls
  private let isRoot = Host.isRoot
  private let user = Host.userID

  init(overwrite: Overwrite?, spared: Status?, inheritsACLs: Bool, shortfalls: Shortfalls) {
    self.overwrite = overwrite
    self.spared = spared
    self.inheritsACLs = inheritsACLs
    self.shortfalls = shortfalls
  }

  /// Whether something of this name may be written: false keeps what is there.
  func mayPlace(_ entry: Entry, _ name: Bytes, in directory: Descriptor) throws(SystemError) -> Bool {
    guard let overwrite, let there = try? directory.status(of: name) else { return true }
    switch overwrite {
    case .always: return true
    case .never: return false
    case .ifNewer: return entry.modified > there.modified
    case .ifChanged:
      return there.kind != entry.kind || there.modified != entry.modified
        || (entry.kind == .file && there.size != entry.size)
    }
  }

  /// Makes a directory that its owner can write to; its own mode comes last. One that is there already serves: false.
  @discardableResult
  func makeDirectory(_ name: Bytes, in parent: Descriptor) throws(SystemError) -> Bool {
    do throws(SystemError) {
      try parent.makeDirectory(name, mode: 0o700)
      return true
    } catch {
      guard error.isExisting, overwrite != nil else { throw error }
      if try parent.status(of: name).kind == .directory { return false }
      try parent.removeFile(name)
      try parent.makeDirectory(name, mode: 0o700)
      return true
    }
  }

  /// Runs `make` with a name that is free, and puts the result in the place of what is there.
  func replacing(_ name: Bytes, in directory: Descriptor, _ make: (Bytes) throws(SystemError) -> Void)
    throws(SystemError)
  {
    do throws(SystemError) { return try make(name) } catch {
      guard error.isExisting, overwrite != nil else { throw error }
    }
    let temporary = Bytes(".sheaf-\(Host.random(6).hex)".utf8)
    do throws(SystemError) {
      try make(temporary)
      // Only now that its successor is whole.
      if try directory.status(of: name).kind == .directory {
        try directory.removeTree(name, sparing: spared)
      }
      try directory.rename(temporary, to: name)
    } catch {
      try? directory.removeFile(temporary)
      throw error
    }
  }

  /// Whether a first name in the target is what a hard link to it is to be: it may be a file that was left alone, or
  /// one that is newer than the link's last good copy.
  static func isWhole(_ there: Status, _ entry: Entry) -> Bool {
    there.kind == entry.kind && there.modified == entry.modified && (entry.kind != .file || there.size == entry.size)
  }

  /// Everything but files, directories and hard links.
  func place(_ entry: Entry, _ name: Bytes, in directory: Descriptor) throws(SystemError) {
    try replacing(name, in: directory) { name throws(SystemError) in
      if entry.kind == .symlink {
        try directory.makeSymlink(name, to: entry.linkTarget)
      } else {
        try directory.makeNode(name, kind: entry.kind, mode: 0o600, major: entry.major, minor: entry.minor)
      }
      try attend(
        entry, owner: { (uid, gid) throws(SystemError) in try directory.setOwner(name, uid: uid, gid: gid) },
        mode: { (mode) throws(SystemError) in if entry.kind != .symlink { try directory.setMode(name, mode) } },
        attribute: { (attribute) throws(SystemError) in try directory.setAttribute(attribute, of: name) })
      try directory.setModified(name, entry.modified)
    }
  }

  /// The metadata of an open file or directory, its time last.
  func finish(_ entry: Entry, _ file: Descriptor) throws(SystemError) {
    if inheritsACLs {
      for name in [Bytes("system.posix_acl_access"), Bytes("system.posix_acl_default")] {
        try? file.removeAttribute(name)
      }
    }
    try attend(
      entry, owner: { (uid, gid) throws(SystemError) in try file.setOwner(uid: uid, gid: gid) },
      mode: { (mode) throws(SystemError) in try file.setMode(mode) },
      attribute: { (attribute) throws(SystemError) in try file.setAttribute(attribute) })
    try file.setModified(entry.modified)
  }

  /// Owner first, since changing it takes setuid and capabilities away; the mode before the ACL, whose mask it is.
  private func attend(
    _ entry: Entry, owner: (UInt32, UInt32) throws(SystemError) -> Void, mode: (UInt16) throws(SystemError) -> Void,
    attribute: (Attribute) throws(SystemError) -> Void
  ) throws(SystemError) {
    var bits = entry.mode
    if isRoot {
      do throws(SystemError) { try owner(entry.uid, entry.gid) } catch {
        guard error.isUnsupported else { throw error }
        shortfalls.add("owner")
      }
    } else if entry.uid != user {
      // Someone else's program would run as the one who restores it.
      bits &= 0o1777
      shortfalls.add("owner")
    } else {
      do throws(SystemError) { try owner(user, entry.gid) } catch {
        guard error.isUnsupported else { throw error }
        bits &= ~0o2000
        shortfalls.add("owner")
      }
    }
    do throws(SystemError) { try mode(bits) } catch {
      guard error.isForbidden else { throw error }
      shortfalls.add("mode")
    }
    for one in entry.attributes {
      do throws(SystemError) { try attribute(one) } catch {
        guard error.isUnsupported || error.isForbidden || error.isFull else {
          throw error
        }
        shortfalls.add("attribute")
      }
    }
  }
}
