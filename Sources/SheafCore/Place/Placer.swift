/// Puts entries into a directory, each relative to its parent's open descriptor, following nothing, and each under its
/// name only when it is whole.
import Posix
import Tar

public enum Overwrite: String, Sendable, CaseIterable {
  case never
  case ifChanged = "if-changed"
  case ifNewer = "if-newer"
  case always
}

struct Placer: Sendable {
  /// nil: what exists already is an error.
  let overwrite: Overwrite?
  /// Empties what stands in a file's place and is a directory.
  let removal: Removal
  let metadata: MetadataPlacer
  /// Whether the target's file systems make files without a name; true until one does not.
  private let makesUnlinked = Monitor(true)

  /// `inheritsACLs`: the target hands down access lists that the entries do not have.
  init(
    overwrite: Overwrite?, removal: Removal, owners: OwnerOptions = OwnerOptions(), inheritsACLs: Bool = false,
    shortfalls: Shortfalls = Shortfalls()
  ) {
    self.overwrite = overwrite
    self.removal = removal
    metadata = MetadataPlacer(
      owners: Owners(owners), replaces: overwrite != nil, inheritsACLs: inheritsACLs, shortfalls: shortfalls)
  }

  /// Whether something of this name may be written: false keeps what is there. Throws where that has another name.
  func mayPlace(_ entry: Entry, _ name: Bytes, in directory: TargetDirectory) throws(SystemError) -> Bool {
    guard let overwrite, let there = try? directory.descriptor.status(of: name) else { return true }
    try refuseLikeness(of: name, in: directory)
    switch overwrite {
    case .always: return true
    case .never: return false
    case .ifNewer: return entry.modified > there.modified && !Self.isSameTime(there, entry, in: directory)
    case .ifChanged: return !Self.isWhole(there, entry, name, in: directory)
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

  /// Tries to write to the directory. True: nothing can be written; where the drive is why, nothing more is tried.
  @discardableResult
  func refusesWrites(_ directory: TargetDirectory) -> Bool {
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
    if refusesWrites(directory) { return error.asProblem }
    // Others can be made here, so it is the name.
    let isNaming = ["open", "make", "make directory", "rename", "rename to"].contains(error.operation)
    return directory.isForeign && isNaming ? "the target's file system cannot hold this name" : error.asProblem
  }

  /// Makes a directory that its owner can write to; its own mode comes last. One that is there already serves: false.
  /// `mayBeThere`: it may, whatever is to be overwritten.
  func makeDirectory(_ name: Bytes, in directory: TargetDirectory, mayBeThere: Bool = false) throws(SystemError) -> Bool
  {
    let parent = directory.descriptor
    do throws(SystemError) { try parent.makeDirectory(name, mode: 0o700) } catch {
      guard error.isExisting, overwrite != nil || mayBeThere else { throw error }
      try refuseLikeness(of: name, in: directory)
      if try parent.status(of: name).kind == .directory { return false }
      guard overwrite != nil else { throw error }
      try parent.removeFile(name)
      try parent.makeDirectory(name, mode: 0o700)
    }
    try refuseChange(of: name, in: directory) { () throws(SystemError) in try parent.removeDirectory(name) }
    return true
  }

  // MARK: - Files

  /// Makes a file that `fill` writes, metadata included.
  func placeFile(
    _ name: Bytes, in target: TargetDirectory, _ fill: (Descriptor) throws(SystemError) -> Void
  ) throws(SystemError) {
    let directory = target.descriptor
    if makesUnlinked.look({ $0 }) {
      if let file = try? directory.openUnlinked() {
        try fill(file)
        var isLinking = true
        do throws(SystemError) {
          try settle(name, in: target) { name throws(SystemError) in
            isLinking = true
            try directory.link(file, as: name)
            isLinking = false
          }
          return try file.close()
        } catch {
          // Where linking is not allowed, a file under a temporary name may go.
          guard isLinking, !error.isExisting, !error.isFull else { throw error }
        }
      }
      makesUnlinked.look { $0 = false }
    }
    try replacing(name, in: target) { name throws(SystemError) in
      let file = try directory.open(name, [.write, .create, .exclusive, .noFollow], mode: 0o600)
      try fill(file)
      try file.close()
    }
  }

  /// Runs `make` with a name that is free, and puts the result in the place of what is there.
  private func replacing(_ name: Bytes, in target: TargetDirectory, _ make: (Bytes) throws(SystemError) -> Void)
    throws(SystemError)
  {
    let directory = target.descriptor
    let temporary = Names.temporary()
    do throws(SystemError) {
      try make(temporary)
      do throws(SystemError) { try directory.renameToNew(temporary, name) } catch {
        guard error.isExisting else { throw error }
        try makeWay(for: name, in: target, error)
        try directory.rename(temporary, to: name)
      }
    } catch {
      try? directory.removeFile(temporary)
      throw error
    }
    try refuseChange(of: name, in: target) { () throws(SystemError) in try directory.removeFile(name) }
  }

  /// Gives what is whole already its name by `link`, in the place of what is there.
  private func settle(
    _ name: Bytes, in target: TargetDirectory, _ link: (Bytes) throws(SystemError) -> Void
  ) throws(SystemError) {
    let directory = target.descriptor
    do throws(SystemError) { try link(name) } catch {
      guard error.isExisting else { throw error }
      if overwrite == nil { throw error }
      let temporary = Names.temporary()
      try link(temporary)
      do throws(SystemError) {
        try makeWay(for: name, in: target, error)
        try directory.rename(temporary, to: name)
        // Where both were names of one file, renaming did nothing.
        if (try? directory.status(of: temporary)) != nil { try directory.removeFile(temporary) }
      } catch {
        try? directory.removeFile(temporary)
        throw error
      }
    }
    try refuseChange(of: name, in: target) { () throws(SystemError) in try directory.removeFile(name) }
  }

  /// Only now that its successor is whole does a directory go that stands in the way.
  private func makeWay(for name: Bytes, in target: TargetDirectory, _ error: SystemError) throws(SystemError) {
    guard overwrite != nil else { throw error }
    try refuseLikeness(of: name, in: target)
    if try target.descriptor.status(of: name).kind == .directory { try removal.replace(name, in: target.descriptor) }
  }

  /// Makes a second name of a file.
  func placeHardLink(
    of first: Bytes, in from: Descriptor, as name: Bytes, in target: TargetDirectory
  ) throws(SystemError) {
    try settle(name, in: target) { name throws(SystemError) in
      try from.makeHardLink(of: first, as: name, in: target.descriptor)
    }
  }

  // MARK: - What is the same

  /// Whether what is there is what was saved, as far as its status tells, and the target of a symbolic link.
  static func isWhole(_ there: Status, _ entry: Entry, _ name: Bytes, in directory: TargetDirectory) -> Bool {
    guard there.kind == entry.kind, isSameTime(there, entry, in: directory) else { return false }
    switch entry.kind {
    case .file: return there.size == entry.size
    case .symlink: return (try? directory.descriptor.readLink(name)) == entry.linkTarget
    case .characterDevice, .blockDevice:
      return there.specialMajor == entry.major && there.specialMinor == entry.minor
    default: return true
    }
  }

  private static func isSameTime(_ there: Status, _ entry: Entry, in directory: TargetDirectory) -> Bool {
    directory.isForeign ? entry.modified.isKept(as: there.modified) : entry.modified == there.modified
  }

  // MARK: - Everything else

  /// Everything but files, directories and hard links. False where the file system has no such kind.
  func place(_ entry: Entry, _ name: Bytes, in target: TargetDirectory) throws(SystemError) -> Bool {
    let directory = target.descriptor
    do throws(SystemError) {
      try replacing(name, in: target) { name throws(SystemError) in
        try make(entry, name, in: directory)
        try metadata.finish(entry, name, in: target)
      }
    } catch {
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
}
