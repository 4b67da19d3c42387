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

  /// Whether something of this name may be written: false keeps what is there. Throws where that has another name.
  func mayPlace(_ entry: Entry, _ name: Bytes, in directory: TargetDirectory) throws(SystemError) -> Bool {
    guard let overwrite, let there = try? directory.descriptor.status(of: name) else { return true }
    try refuseLikeness(of: name, in: directory)
    switch overwrite {
    case .always: return true
    case .never: return false
    case .ifNewer: return entry.modified > there.modified && !Self.isSameTime(there, entry, in: directory)
    case .ifChanged: return !Self.isWhole(there, entry, in: directory)
    }
  }

  /// What the file system takes for `name`, and is called otherwise, is another file: it is not replaced.
  private func refuseLikeness(of name: Bytes, in directory: TargetDirectory) throws(SystemError) {
    guard try directory.lists(name) else {
      throw SystemError.existing("restore", directory.descriptor.path.joined(name))
    }
  }

  /// Some file systems leave dots and spaces at the end of a name away. What came of it goes again.
  private func refuseChange(
    of name: Bytes, in directory: TargetDirectory, _ remove: () throws(SystemError) -> Void
  ) throws(SystemError) {
    guard directory.isForeign, name.last == UInt8(ascii: ".") || name.last == 32, try !directory.lists(name) else {
      return
    }
    try remove()
    throw SystemError.unfit("open", directory.descriptor.path.joined(name))
  }

  /// Whether nothing can be written any more: where the medium is why, that is the end of the target's drive.
  @discardableResult
  func lookAfter(_ directory: TargetDirectory) -> Bool {
    guard let refusal = directory.refusal() else { return false }
    if refusal.isDriveFailure { directory.descriptor.drive?.end(refusal) }
    return true
  }

  /// Why what has this name in the point could not be placed, in words. Where nothing can be written any more, that is
  /// the end of the target's drive.
  func reason(_ error: SystemError, _ name: Bytes, in directory: TargetDirectory) -> String {
    if error.isExisting, (try? directory.lists(name)) == false {
      let other = directory.likeness(of: name).map { "'\(Show.path($0))'" } ?? "another"
      return "the target's file system takes its name for that of \(other), which is there"
    }
    if error.isTooLarge { return "\(error.asProblem) for the target's file system" }
    guard error.isDriveFailure || error.isMissing || error.isUnsupported || error.isForbidden || error.isNoName else {
      return error.asProblem
    }
    if lookAfter(directory) { return error.asProblem }
    // Others can be made here, so it is the name.
    let isNaming = ["open", "make directory", "rename"].contains(error.operation)
    return directory.isForeign && isNaming ? "the target's file system cannot hold this name" : error.asProblem
  }

  /// Makes a directory that its owner can write to; its own mode comes last. One that is there already serves: false.
  @discardableResult
  func makeDirectory(_ name: Bytes, in directory: TargetDirectory) throws(SystemError) -> Bool {
    let parent = directory.descriptor
    do throws(SystemError) { try parent.makeDirectory(name, mode: 0o700) } catch {
      guard error.isExisting, overwrite != nil else { throw error }
      try refuseLikeness(of: name, in: directory)
      if try parent.status(of: name).kind == .directory { return false }
      try parent.removeFile(name)
      try parent.makeDirectory(name, mode: 0o700)
    }
    try refuseChange(of: name, in: directory) { () throws(SystemError) in try parent.removeDirectory(name) }
    return true
  }

  /// Runs `make` with a name that is free, and puts the result in the place of what is there.
  func replacing(_ name: Bytes, in target: TargetDirectory, _ make: (Bytes) throws(SystemError) -> Void)
    throws(SystemError)
  {
    let directory = target.descriptor
    do throws(SystemError) {
      try make(name)
      return try refuseChange(of: name, in: target) { () throws(SystemError) in try directory.removeFile(name) }
    } catch {
      guard error.isExisting, overwrite != nil else { throw error }
    }
    try refuseLikeness(of: name, in: target)
    let temporary = Names.temporary()
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
  static func isWhole(_ there: Status, _ entry: Entry, in directory: TargetDirectory) -> Bool {
    there.kind == entry.kind && isSameTime(there, entry, in: directory)
      && (entry.kind != .file || there.size == entry.size)
  }

  private static func isSameTime(_ there: Status, _ entry: Entry, in directory: TargetDirectory) -> Bool {
    directory.isForeign ? entry.modified.isKept(as: there.modified) : entry.modified == there.modified
  }

  /// Everything but files, directories and hard links. False where the file system has no such kind.
  func place(_ entry: Entry, _ name: Bytes, in target: TargetDirectory) throws(SystemError) -> Bool {
    let directory = target.descriptor
    do throws(SystemError) { try replace(entry, name, in: target) } catch {
      guard target.isForeign, !error.isExisting, !error.isFull, !error.isDriveFailure || error.isInputOutput else {
        throw error
      }
      let trial = Names.temporary()
      do throws(SystemError) { try make(entry, trial, in: directory) } catch {
        if target.refusal() == nil { return false }
        throw error
      }
      try directory.removeFile(trial)
      throw error
    }
    return true
  }

  private func make(_ entry: Entry, _ name: Bytes, in directory: Descriptor) throws(SystemError) {
    if entry.kind == .symlink {
      try directory.makeSymlink(name, to: entry.linkTarget)
    } else {
      do throws(SystemError) {
        try directory.makeNode(name, kind: entry.kind, mode: 0o600, major: entry.major, minor: entry.minor)
      } catch {
        // exfat-fuse says that it failed, and leaves an empty file.
        if error.isInputOutput, let left = try? directory.status(of: name), left.kind == .file, left.size == 0 {
          try? directory.removeFile(name)
        }
        throw error
      }
    }
  }

  private func replace(_ entry: Entry, _ name: Bytes, in target: TargetDirectory) throws(SystemError) {
    let directory = target.descriptor
    try replacing(name, in: target) { name throws(SystemError) in
      try make(entry, name, in: directory)
      try attend(
        entry, in: target, { () throws(SystemError) in try directory.status(of: name) },
        owner: { (uid, gid) throws(SystemError) in try directory.setOwner(name, uid: uid, gid: gid) },
        mode: { (mode) throws(SystemError) in if entry.kind != .symlink { try directory.setMode(name, mode) } },
        attribute: { (attribute) throws(SystemError) in try directory.setAttribute(attribute, of: name) })
      try directory.setModified(name, entry.modified, andAccessed: target.isForeign)
    }
  }

  /// The metadata of an open file or directory, its time last.
  func finish(_ entry: Entry, _ file: Descriptor, in target: TargetDirectory) throws(SystemError) {
    if entry.kind == .directory, overwrite != nil {
      // One that was there already may have more than the point knows.
      let wanted = Set(entry.attributes.map(\.name))
      for one in (try? file.attributes()) ?? [] where !wanted.contains(one.name) && !one.isOfSecurity {
        try? file.removeAttribute(one.name)
      }
    } else if inheritsACLs || overwrite != nil {
      // As may the folder have that it is made in.
      for name in [Bytes("system.posix_acl_access"), Bytes("system.posix_acl_default")] {
        try? file.removeAttribute(name)
      }
    }
    try attend(
      entry, in: target, { () throws(SystemError) in try file.status() },
      owner: { (uid, gid) throws(SystemError) in try file.setOwner(uid: uid, gid: gid) },
      mode: { (mode) throws(SystemError) in try file.setMode(mode) },
      attribute: { (attribute) throws(SystemError) in try file.setAttribute(attribute) })
    try file.setModified(entry.modified, andAccessed: target.isForeign)
  }

  /// Owner first, since changing it takes setuid and capabilities away; the mode before the ACL, whose mask it is.
  private func attend(
    _ entry: Entry, in target: TargetDirectory, _ status: () throws(SystemError) -> Status,
    owner: (UInt32, UInt32) throws(SystemError) -> Void, mode: (UInt16) throws(SystemError) -> Void,
    attribute: (Attribute) throws(SystemError) -> Void
  ) throws(SystemError) {
    var bits = entry.mode
    var isOwnerTold = false
    var isModeTold = false
    if isRoot {
      do throws(SystemError) { try owner(entry.uid, entry.gid) } catch {
        guard error.isUnsupported else { throw error }
        shortfalls.add("owner")
        isOwnerTold = true
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
      guard error.isForbidden || error.isUnsupported else { throw error }
      shortfalls.add("mode")
      isModeTold = true
    }
    if target.isForeign {
      // It may have taken them and done nothing.
      let there = try status()
      if isRoot, !isOwnerTold, (there.uid, there.gid) != (entry.uid, entry.gid) { shortfalls.add("owner") }
      if entry.kind != .symlink, !isModeTold, there.mode != bits { shortfalls.add("mode") }
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
