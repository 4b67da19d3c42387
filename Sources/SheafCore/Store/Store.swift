/// A store: a directory with a marker that says which one it is. Everything in it is reached through one descriptor
/// that stays open, so that a drive that is swapped or unmounted in the middle of a run is noticed, not written beside.
import Posix
import StoreFiles

public final class Store: Sendable {
  let directory: Descriptor
  public let uuid: String
  public let label: Bytes
  public let created: String

  static let marker = Bytes("sheaf.store")
  static let readme = Bytes("README.txt")
  static let script = Bytes("restore.sh")

  /// As the user named it.
  public var path: Bytes { directory.path }

  private init(directory: Descriptor, uuid: String, label: Bytes, created: String) {
    self.directory = directory
    self.uuid = uuid
    self.label = label
    self.created = created
    // What is made in the store is for those whom its folder lets in.
    if let status = try? directory.status() { directory.drive?.access = Access(of: status) }
  }

  /// Whether there is a store's marker in a folder, whatever it says.
  public static func isMade(in folder: Bytes) -> Bool {
    (try? Descriptor.open(folder, [.pathOnly, .directory]).status(of: marker)) != nil
  }

  /// Whose file system it lies on, where that is the system's own or the one of the user's home folder; in words.
  public func sharesFileSystem(home: Bytes?) -> String? {
    if isOnFileSystem(of: Bytes("/")) { return "the running system" }
    guard let home, !home.isEmpty, isOnFileSystem(of: home) else { return nil }
    return "the home folder \(Show.path(home))"
  }

  func isOnFileSystem(of path: Bytes) -> Bool {
    guard let there = try? Descriptor.open(path, .pathOnly).status(), let here = try? directory.status() else {
      return false
    }
    return there.device == here.device
  }

  /// Opens the store at `path`. Throws a failure of kind `noStore` where there is none; writes nothing.
  public static func open(_ path: Bytes) throws(Failure) -> Store {
    let hint = "is the drive mounted? 'sheaf init -s \(Show.word(path))' makes a new store"
    let directory: Descriptor
    let text: Bytes
    do throws(SystemError) {
      directory = try Descriptor.open(path, [.read, .directory], on: Drive(endsAtInputOutputError: true))
      text = try Self.read(marker, in: directory, atMost: 65536)
    } catch {
      if error.isMissing { throw Failure(.noStore, "no store at \(Show.path(path))", hint: hint) }
      throw Failure(.noStore, "cannot open the store at \(Show.path(path)): \(error.cause)")
    }
    let fields = Self.fields(text)
    guard let format = fields["format"], let uuid = fields["uuid"], !uuid.isEmpty else {
      throw .damaged("\(Show.path(path.joined(marker))) cannot be read as a store's marker")
    }
    guard format == Bytes("1") else {
      throw Failure(
        .failed, "the store at \(Show.path(path)) has format \(Show.path(format)), this version knows format 1",
        hint: "use a newer sheaf")
    }
    if let unknown = fields["requires", default: []].split(separator: 32).first {
      throw Failure(
        .failed,
        "the store at \(Show.path(path)) requires the feature '\(Show.path(Bytes(unknown)))', which this version does not know",
        hint: "use a newer sheaf")
    }
    return Store(
      directory: directory, uuid: uuid.shown, label: fields["label", default: []],
      created: fields["created", default: []].shown)
  }

  /// A file's contents, where the name is a plain file's: not waiting for the other end of a pipe.
  private static func read(_ name: Bytes, in directory: Descriptor, atMost limit: Int) throws(SystemError) -> Bytes {
    let file = try directory.open(name, [.read, .noFollow, .nonBlocking])
    guard try file.status().kind == .file else { throw SystemError.unfit("open", directory.path.joined(name)) }
    return try file.readAll(atMost: limit)
  }

  private static func fields(_ text: Bytes) -> [String: Bytes] {
    var fields: [String: Bytes] = [:]
    for line in text.split(separator: 10) {
      guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
      fields[String(decoding: line[..<equals], as: UTF8.self)] = Bytes(line[(equals + 1)...])
    }
    return fields
  }

  /// Makes a store of the directory at `path`, which is created where it is missing (its parent must be there).
  public static func create(_ path: Bytes, label: Bytes, now: Timestamp) throws(Failure) -> Store {
    do throws(SystemError) { try Descriptor.workingDirectory.makeDirectory(path, mode: 0o700) } catch {
      guard error.isExisting else { throw Failure(error, hint: error.isMissing ? "is the drive mounted?" : nil) }
    }
    let directory = try system { () throws(SystemError) in
      try Descriptor.open(path, [.read, .directory], on: Drive(endsAtInputOutputError: true))
    }
    if (try? directory.status(of: marker)) != nil {
      throw Failure(
        .failed, "there is a store at \(Show.path(path)) already",
        hint: "back up to it with 'sheaf backup -s \(Show.word(path)) SOURCE'")
    }
    guard !label.contains(10) else { throw Failure(.usage, "a label is one line", hint: "leave the line breaks out") }
    let uuid = newUUID()
    let stamp = PointName.text(now)
    let text = Bytes("format=1\nrequires=\nuuid=\(uuid)\nlabel=".utf8) + label + Bytes("\ncreated=\(stamp)\n".utf8)
    let store = Store(directory: directory, uuid: uuid, label: label, created: stamp)
    store.closeTop()
    for helper in Self.helpers {
      guard let there = try? directory.status(of: helper.name) else { continue }
      // What an earlier attempt wrote may stay; nobody else's file is taken away.
      guard there.kind == .file, store.text(of: helper) == helper.text else {
        throw Failure(
          .failed, "there is a file \(Show.path(path.joined(helper.name))) already",
          hint: "make the store in a directory of its own, or move that file")
      }
    }
    try store.writeHelpers()
    try store.publish(marker, text)
    return store
  }

  /// Gives the store another identity: a copy that goes on by itself is a store of its own. The marker keeps its length,
  /// so that few bytes of one block change, at one go.
  public func identifyAnew() throws(Failure) -> Store {
    let lock = try SeriesLock(directory, "the store", store: path)
    defer { lock.release() }
    let text = try system { () throws(SystemError) in try Self.read(Self.marker, in: directory, atMost: 65536) }
    let (old, new) = (Bytes("\nuuid=\(uuid)\n".utf8), Bytes("\nuuid=\(Self.newUUID())\n".utf8))
    guard let place = text.indices.first(where: { text[$0...].starts(with: old) }), old.count == new.count else {
      throw .damaged("\(Show.path(path.joined(Self.marker))) does not have its identity where it is written")
    }
    try system { () throws(SystemError) in
      let file = try directory.open(Self.marker, [.readWrite, .noFollow, .nonBlocking])
      try file.seek(to: Int64(place))
      try file.write(new)
      try file.sync()
    }
    return try Self.open(path)
  }

  /// RFC 9562, version 4.
  private static func newUUID() -> String {
    var bytes = Host.random(16)
    bytes[6] = bytes[6] & 0x0f | 0x40
    bytes[8] = bytes[8] & 0x3f | 0x80
    let hex = bytes.hex
    var parts: [Substring] = []
    var rest = hex[...]
    for length in [8, 4, 4, 4, 12] {
      parts.append(rest.prefix(length))
      rest = rest.dropFirst(length)
    }
    return parts.joined(separator: "-")
  }

  private func publish(_ name: Bytes, _ text: Bytes, isProgram: Bool = false) throws(Failure) {
    try system { () throws(SystemError) in
      let file = try NewFile(name, in: directory)
      try file.descriptor.write(text)
      if isProgram, let mode = try? file.descriptor.status().mode {
        // Whoever may read it may run it; FAT knows no modes.
        try? file.descriptor.setMode(mode | (mode & 0o444) >> 2)
      }
      try file.seal()
      try file.publish()
    }
  }

  /// What lies on the store for those who have no Sheaf.
  private struct Helper {
    let name: Bytes
    let text: Bytes
    var isProgram = false

    var new: Bytes { name + Bytes(".new") }
    var old: Bytes { name + Bytes(".old") }
    /// Names on the way to another text; only what was interrupted leaves them.
    var passing: [Bytes] { [name, new].map { $0 + NewFile.partialSuffix } + [new, old] }
  }

  private static let helpers = [
    Helper(name: readme, text: StoreFiles.readme),
    Helper(name: script, text: StoreFiles.script, isProgram: true),
  ]

  /// nil where it cannot be read.
  private func text(of helper: Helper) -> Bytes? {
    try? Self.read(helper.name, in: directory, atMost: helper.text.count + 1)
  }

  /// Writes `README.txt` and `restore.sh` where they are missing or not what this version writes, and tidies up where
  /// that was interrupted. Only where no one else is at it.
  func refreshHelpers() throws(Failure) {
    let names = Set(try system { () throws(SystemError) in try directory.sortedNames() })
    let isTidy = Self.helpers.allSatisfy { text(of: $0) == $0.text && names.isDisjoint(with: $0.passing) }
    if isTidy, !names.contains(where: LockHolder.isLock) { return }
    let lock: SeriesLock
    do throws(Failure) { lock = try SeriesLock(directory, "the store", store: path) } catch {
      if error.kind == .locked { return }
      throw error
    }
    defer { lock.release() }
    try writeHelpers()
  }

  private func writeHelpers() throws(Failure) {
    for helper in Self.helpers {
      if text(of: helper) != helper.text {
        // By new, old, final: exFAT and FAT do not rename over an existing name in one step. At each moment one of the
        // three is whole.
        if (try? directory.status(of: helper.name)) != nil {
          for name in [helper.new, helper.old] { try? directory.removeFile(name) }
          try publish(helper.new, helper.text, isProgram: helper.isProgram)
          try system { () throws(SystemError) in
            try directory.renameToNew(helper.name, helper.old)
            try directory.renameToNew(helper.new, helper.name)
            try directory.sync(directory: true)
          }
        } else {
          try publish(helper.name, helper.text, isProgram: helper.isProgram)
        }
      }
      for name in helper.passing where (try? directory.status(of: name)) != nil {
        try system { () throws(SystemError) in try directory.removeFile(name) }
      }
    }
  }

  /// The names of the series in this store, sorted.
  public func seriesNames() throws(Failure) -> [Bytes] {
    let names = try system { () throws(SystemError) in try directory.sortedNames() }
    return names.filter { name in
      guard (try? directory.status(of: name))?.kind == .directory, let series = try? Series(name, in: self) else {
        return false
      }
      return (try? series.sets())?.isEmpty == false
    }
  }

  /// The names of the series that have archives, manifests or not.
  public func archiveSeriesNames() throws(Failure) -> [Bytes] {
    let names = try system { () throws(SystemError) in try directory.sortedNames() }
    return names.filter { name in
      guard (try? directory.status(of: name))?.kind == .directory, let series = try? Series(name, in: self) else {
        return false
      }
      return (try? series.archives())?.isEmpty == false
    }
  }

  /// The series a reading command means: the one asked for, else the only one there is, else the host's.
  public func series(_ wanted: Bytes?, host: Bytes) throws(Failure) -> Series {
    if let wanted {
      guard Series.isName(wanted) else {
        throw Failure(.usage, "'\(Show.path(wanted))' cannot be a series' name", hint: Series.nameHint)
      }
      if (try? directory.status(of: wanted))?.kind != .directory {
        let known = try seriesNames().map(Show.path).joined(separator: ", ")
        throw Failure(
          .failed, "no series '\(Show.path(wanted))' in this store", hint: known.isEmpty ? nil : "there is: \(known)")
      }
      return try Series(wanted, in: self)
    }
    let names = try seriesNames()
    if names.isEmpty {
      throw Failure(
        .failed, "there is no backup in this store yet",
        hint: "make one with 'sheaf backup -s \(Show.word(path)) SOURCE'")
    }
    if names.count == 1 { return try Series(names[0], in: self) }
    if names.contains(host) { return try Series(host, in: self) }
    throw Failure(
      .usage, "this store has several series",
      hint: "choose one with --series: \(names.map(Show.path).joined(separator: ", "))")
  }
}
