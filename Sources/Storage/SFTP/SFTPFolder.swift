/// A folder of a store on another machine, over SFTP.
import Posix

public final class SFTPFolder: StoreFolder {
  private let server: SFTPServer
  /// On the server.
  private let place: Bytes
  public let path: Bytes
  public let traits: StoreTraits

  /// The folder itself may be missing: looked at once, when something in it is.
  private let isUnsure: Monitor<Bool>

  /// `command`: what speaks SFTP on its standard input and output. `place`: the folder on the server. `path`: as the user
  /// named it. `isThere`: it has to be, which is said when it is used; else it can be made. `spool`: where files without a
  /// name may be made, for servers that keep objects.
  public convenience init(
    _ command: [Bytes], place: Bytes, path: Bytes, isThere: Bool = true, _ manners: LinkManners = LinkManners(),
    spool: Bytes = Bytes("/var/tmp")
  ) throws(StoreError) {
    let server = try SFTPServer(command, name: path.shown, manners)
    self.init(server, place: place, path: path, spool: spool, isUnsure: isThere)
  }

  /// Throws where something is missing because the folder itself is.
  private func checkOnce() throws(StoreError) {
    guard isUnsure.look({ $0 }) else { return }
    try check(try kindBehindLinks())
    isUnsure.look { $0 = false }
  }

  private func check(_ kind: StoreItem.Kind?) throws(StoreError) {
    guard let kind else { throw missing("open", path) }
    guard kind == .folder else { throw StoreError(.unfit, "open", path, cause: "Not a directory") }
  }

  /// Makes the folder itself where it is missing; its parent must be there.
  public func make() throws(StoreError) {
    if let kind = try kindBehindLinks() { return try check(kind) }
    do throws(StoreError) {
      try server.perform("make directory", path) { (connection, _) throws(SFTPFailure) in
        _ = try connection.request(.makeFolder) {
          $0.add(self.place)
          $0.add(permissions: 0o700)
        }
      }
    } catch {
      // Of two that make it at once one fails, and finds it there.
      guard error.kind == .other, let kind = try kindBehindLinks() else { throw error }
      try check(kind)
    }
  }

  /// Of the folder itself, which may be named by a link; nil: it is not there.
  private func kindBehindLinks() throws(StoreError) -> StoreItem.Kind? {
    do throws(StoreError) {
      return try server.perform("open", path) { (connection, _) throws(SFTPFailure) in
        try SFTPFolder.attributes(connection.request(.stat) { $0.add(self.place) }).kind
      }
    } catch {
      if error.kind == .missing { return nil }
      throw error
    }
  }

  /// The nearest folder above this one that has something of this name, as far as the server lets look; nil: none.
  public func above(holding name: Bytes) -> Bytes? {
    var above = place.splitAtName.parent
    var shown = path.splitAtName.parent
    while !above.isEmpty {
      if (try? item(at: above.joined(name), shown)) != nil { return shown }
      (above, shown) = (above.splitAtName.parent, shown.splitAtName.parent)
    }
    return nil
  }

  private init(_ server: SFTPServer, place: Bytes, path: Bytes, spool: Bytes, isUnsure: Bool = false) {
    self.server = server
    self.isUnsure = Monitor(isUnsure)
    self.place = place
    self.path = path
    var traits = StoreTraits()
    // Without it nothing is known to be on the disk, and such servers do not keep other promises either: most stand before
    // an object store, as rclone's does. They rename over what is there, and what was sent cannot be gone on with.
    traits.syncs = server.extensions.contains(Self.fsync)
    traits.renames = traits.syncs
    traits.appends = traits.syncs
    traits.rewinds = traits.syncs
    traits.marksOnce = traits.syncs
    traits.spool = spool
    if !traits.syncs { traits.volumeSize = S3Folder.volumeSize }
    traits.arrivesWhole = traits.syncs
    traits.finishesDurably = traits.syncs
    traits.isFar = true
    traits.lockLease = 30 * 60
    self.traits = traits
  }

  static let fsync = "fsync@openssh.com"
  static let statvfs = "statvfs@openssh.com"

  public var failure: StoreError? { server.failure }
  public var directory: Status? { nil }

  private func place(_ name: Bytes) -> Bytes { place.joined(name) }

  // MARK: - Looking

  public func list() throws(StoreError) -> [StoreItem] {
    do throws(StoreError) {
      return try server.perform("list", path) { (connection, _) throws(SFTPFailure) in
        let opened = try connection.request(.openFolder) { $0.add(self.place) }
        return try SFTPFolder.items(connection, in: SFTPFolder.handle(opened))
      }
    } catch {
      if error.kind == .missing { try checkOnce() }
      throw error
    }
  }

  /// All that an opened folder holds; the folder is closed. Many parts of it are asked for at a time.
  private static func items(_ connection: SFTPConnection, in handle: Bytes) throws(SFTPFailure) -> [StoreItem] {
    var items: [StoreItem] = []
    var asked: [UInt32] = []
    defer {
      connection.forget(asked)
      connection.close(handle)
    }
    while true {
      while asked.count < SFTPConnection.listingWindow {
        asked.append(try connection.send(.readFolder) { $0.add(handle) })
      }
      do throws(SFTPFailure) { try append(connection.answer(asked.removeFirst()), to: &items) } catch {
        // Whatever was asked for behind it has the same answer.
        guard case .status(SFTPStatus.endOfFile, _) = error else { throw error }
        return items.sorted { $0.name.lexicographicallyPrecedes($1.name) }
      }
    }
  }

  private static func append(_ reply: SFTPReply, to items: inout [StoreItem]) throws(SFTPFailure) {
    var parser = SFTPParser(reply.body)
    guard reply.type == .name, let count = parser.uint32() else { throw unreadable }
    for _ in 0..<count {
      guard let name = parser.string(), parser.string() != nil, let attributes = parser.attributes() else {
        throw unreadable
      }
      if name == Bytes(".") || name == Bytes("..") { continue }
      guard !name.isEmpty, !name.contains(UInt8(ascii: "/")), !name.contains(0) else { throw unreadable }
      items.append(attributes.item(name))
    }
  }

  private static let unreadable = SFTPFailure.lost("the server sent a message that cannot be read")

  static func handle(_ reply: SFTPReply) throws(SFTPFailure) -> Bytes {
    var parser = SFTPParser(reply.body)
    guard reply.type == .handle, let handle = parser.string() else { throw unreadable }
    return handle
  }

  static func attributes(_ reply: SFTPReply) throws(SFTPFailure) -> SFTPAttributes {
    var parser = SFTPParser(reply.body)
    guard reply.type == .attributes, let attributes = parser.attributes() else { throw unreadable }
    return attributes
  }

  public func item(_ name: Bytes) throws(StoreError) -> StoreItem? {
    guard let item = try item(at: place(name), path.joined(name)) else {
      try checkOnce()
      return nil
    }
    return StoreItem(name: name, kind: item.kind, size: item.size, modified: item.modified)
  }

  /// Follows no link.
  private func item(at place: Bytes, _ path: Bytes) throws(StoreError) -> StoreItem? {
    do throws(StoreError) {
      return try server.perform("look at", path) { (connection, _) throws(SFTPFailure) in
        try SFTPFolder.attributes(connection.request(.lstat) { $0.add(place) }).item(place)
      }
    } catch {
      if error.kind == .missing { return nil }
      throw error
    }
  }

  private func missing(_ operation: String, _ path: Bytes) -> StoreError {
    StoreError(.missing, operation, path, cause: "No such file or directory")
  }

  // MARK: - Files

  public func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    let item = try item(name)
    guard let item else { throw missing("open", path.joined(name)) }
    return try open(listed: item)
  }

  public func open(listed item: StoreItem) throws(StoreError) -> any StoredFile {
    let path = path.joined(item.name)
    guard item.kind == .file else { throw StoreError(.unfit, "open", path, cause: "it is no file") }
    return try SFTPFile(server, place: place(item.name), path: path, size: item.size)
  }

  public func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput { try output(name, isNew: false) }
  public func begin(new name: Bytes) throws(StoreError) -> any StoreOutput { try output(name, isNew: true) }

  private func output(_ name: Bytes, isNew: Bool) throws(StoreError) -> any StoreOutput {
    func begun() throws(StoreError) -> SFTPOutput {
      do throws(StoreError) {
        return try SFTPOutput(
          server, place: place(name), path: path.joined(name), [.write, .create, .truncate], keeping: nil)
      } catch { throw try explained(error, name) }
    }
    if traits.rewinds { return try begun() }
    return HeldOutput(path.joined(name), limit: S3Output.partSize) { () throws(StoreError) in
      if isNew { try self.checkIsNew(name, "write") }
      return try begun()
    }
  }

  /// For servers that replace what is there.
  private func checkIsNew(_ name: Bytes, _ operation: String) throws(StoreError) {
    guard try item(name) != nil else { return }
    throw StoreError(.exists, operation, path.joined(name), cause: "File exists")
  }

  public func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    guard traits.appends else {
      guard try item(name) != nil else { throw missing("open", path.joined(name)) }
      throw StoreError(.unfit, "go on with", path.joined(name), cause: "this server takes a file only once")
    }
    return try SFTPOutput(server, place: place(name), path: path.joined(name), [.write], keeping: size)
  }

  /// What can be neither gone on with nor replaced in one step is written anew beside.
  public func shorten(_ name: Bytes, to size: Int64) throws(StoreError) {
    if traits.appends { return try resume(name, from: size).finish() }
    let file = try open(name)
    guard size < file.size else { return }
    let beside = name + Bytes(".short") + NewStoredFile.partialSuffix
    let output = try begin(beside)
    try output.append(contentsOf: file, first: size)
    try output.finish()
    try remove(name)
    try rename(beside, to: name)
  }

  public func mark(_ name: Bytes) throws(StoreError) {
    if !traits.marksOnce { try checkIsNew(name, "make") }
    do throws(StoreError) {
      try server.perform("open", path.joined(name)) { (connection, _) throws(SFTPFailure) in
        try finishMark(connection, askForMark(connection, name))
      }
    } catch { throw try explained(error, name, isNew: true) }
  }

  private func askForMark(_ connection: SFTPConnection, _ name: Bytes) throws(SFTPFailure) -> UInt32 {
    let flags: SFTPOpenFlags = [.write, .create, .exclusive]
    return try connection.send(.open) {
      $0.add(self.place(name))
      $0.add(flags.rawValue)
      $0.add(permissions: 0o600)
    }
  }

  private func finishMark(_ connection: SFTPConnection, _ id: UInt32) throws(SFTPFailure) {
    let handle = try SFTPFolder.handle(connection.answer(id))
    if traits.syncs { return connection.close(handle) }
    // Some make the file only now.
    _ = try connection.request(.close) { $0.add(handle) }
  }

  /// Whatever size an empty file is given, the server's kernel gives it its own time. An object has to be written.
  public func touch(_ name: Bytes) throws(StoreError) {
    guard traits.rewinds else {
      guard try item(name) != nil else { throw missing("touch", path.joined(name)) }
      return try begin(name).finish()
    }
    try server.perform("touch", path.joined(name)) { (connection, _) throws(SFTPFailure) in
      _ = try connection.request(.setstat) {
        $0.add(self.place(name))
        $0.add(size: 0)
      }
    }
  }

  /// The folder is opened together with the mark, and read when that is there.
  public func markLockedAndList(
    _ name: Bytes
  ) throws(StoreError) -> (state: StoreLockState, lock: any StoreLock, items: [StoreItem]) {
    if !traits.marksOnce { try checkIsNew(name, "make") }
    do throws(StoreError) {
      let items = try server.perform("open", path.joined(name)) { (connection, _) throws(SFTPFailure) in
        let mark = try askForMark(connection, name)
        let folder = try connection.send(.openFolder) { $0.add(self.place) }
        var failure: SFTPFailure?
        do throws(SFTPFailure) { try finishMark(connection, mark) } catch { failure = error }
        let handle: Bytes
        do throws(SFTPFailure) { handle = try SFTPFolder.handle(connection.answer(folder)) } catch {
          throw failure ?? error
        }
        guard let failure else { return try SFTPFolder.items(connection, in: handle) }
        connection.close(handle)
        throw failure
      }
      return (.unknown, MarkAlone(self, name), items)
    } catch { throw try explained(error, name, isNew: true) }
  }

  public func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    if !traits.renames { try checkIsNew(new, "rename to") }
    do throws(StoreError) {
      try server.perform("rename to", path.joined(new)) { (connection, isRepeated) throws(SFTPFailure) in
        do throws(SFTPFailure) {
          _ = try connection.request(.rename) {
            $0.add(self.place(name))
            $0.add(self.place(new))
          }
        } catch {
          // Carried out before the connection was lost: the old name is gone, the new one there.
          guard isRepeated, case .status(SFTPStatus.noSuchFile, _) = error else { throw error }
          _ = try connection.request(.lstat) { $0.add(self.place(new)) }
        }
      }
    } catch { throw try explained(error, new, isNew: true) }
  }

  public func remove(_ name: Bytes) throws(StoreError) {
    do throws(StoreError) {
      try server.perform("remove", path.joined(name)) { (connection, isRepeated) throws(SFTPFailure) in
        do throws(SFTPFailure) { _ = try connection.request(.remove) { $0.add(self.place(name)) } } catch {
          guard isRepeated, case .status(SFTPStatus.noSuchFile, _) = error else { throw error }
        }
      }
    } catch { throw try explained(error, name) }
  }

  /// Who may read a file was said when it was made; a program may be run as well.
  public func mendAccess(of name: Bytes?, isProgram: Bool) -> (before: UInt16, after: UInt16)? {
    if let name, isProgram { try? setMode(name, 0o700) }
    return nil
  }

  public func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) {
    try server.perform("set the mode of", path.joined(name)) { (connection, _) throws(SFTPFailure) in
      _ = try connection.request(.setstat) {
        $0.add(self.place(name))
        $0.add(permissions: UInt32(mode))
      }
    }
  }

  /// OpenSSH's server opens a directory like a file, and syncs it.
  public func sync() throws(StoreError) {
    guard traits.syncs else { return }
    try server.perform("make durable", path) { (connection, _) throws(SFTPFailure) in
      let handle: Bytes
      do throws(SFTPFailure) {
        let opened = try connection.request(.open) {
          $0.add(self.place)
          $0.add(SFTPOpenFlags.read.rawValue)
          $0.addNoAttributes()
        }
        handle = try SFTPFolder.handle(opened)
      } catch {
        // Not every server does; what it was asked to do is done.
        if case .status = error { return }
        throw error
      }
      defer { connection.close(handle) }
      do throws(SFTPFailure) {
        _ = try connection.request(.extended) {
          $0.add(Bytes(SFTPFolder.fsync.utf8))
          $0.add(handle)
        }
      } catch { if case .lost = error { throw error } }
    }
  }

  public func makeFolder(_ name: Bytes) throws(StoreError) {
    if !traits.marksOnce { try checkIsNew(name, "make directory") }
    do throws(StoreError) {
      try server.perform("make directory", path.joined(name)) { (connection, isRepeated) throws(SFTPFailure) in
        do throws(SFTPFailure) {
          _ = try connection.request(.makeFolder) {
            $0.add(self.place(name))
            $0.add(permissions: 0o700)
          }
        } catch { if case .lost = error { throw error } else if !isRepeated { throw error } }
      }
    } catch { throw try explained(error, name, isNew: true) }
  }

  public func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder {
    guard let there = try item(name) else { throw missing("open", path.joined(name)) }
    return try folder(listed: there)
  }

  public func folder(listed item: StoreItem) throws(StoreError) -> any StoreFolder {
    let path = path.joined(item.name)
    guard item.kind == .folder else { throw StoreError(.unfit, "open", path, cause: "Not a directory") }
    return SFTPFolder(server, place: place(item.name), path: path, spool: traits.spool)
  }

  public func space() -> (free: Int64, total: Int64)? {
    guard server.extensions.contains(Self.statvfs) else { return nil }
    let reply = try? server.perform("look at", path) { (connection, _) throws(SFTPFailure) in
      try connection.request(.extended) {
        $0.add(Bytes(SFTPFolder.statvfs.utf8))
        $0.add(self.place)
      }
    }
    return reply.flatMap { Self.space($0) }
  }

  /// As statvfs(3): f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, …
  static func space(_ reply: SFTPReply) -> (free: Int64, total: Int64)? {
    var parser = SFTPParser(reply.body)
    guard reply.type == .extendedReply, parser.uint64() != nil, let unit = parser.uint64(),
      let blocks = parser.uint64(), parser.uint64() != nil, let available = parser.uint64()
    else { return nil }
    func bytes(_ count: UInt64) -> Int64 {
      let (product, isTooLarge) = count.multipliedReportingOverflow(by: unit)
      return isTooLarge ? .max : Int64(clamping: product)
    }
    return (bytes(available), bytes(blocks))
  }

  /// A server says "failure" for nearly everything: what it was is looked up.
  private func explained(_ error: StoreError, _ name: Bytes, isNew: Bool = false) throws(StoreError) -> StoreError {
    guard error.kind == .other else { return error }
    if let there = try item(name) {
      if isNew { return StoreError(.exists, error.operation, error.path, cause: "File exists") }
      if there.kind != .file { return StoreError(.unfit, error.operation, error.path, cause: "it is no file") }
    }
    if let free = space()?.free, free < 1 << 16 {
      return StoreError(.full, error.operation, error.path, cause: "No space left on device")
    }
    return error
  }
}
