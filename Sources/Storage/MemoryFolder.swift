/// A folder of a store in memory: for tests that want thousands of steps a second, and to show what the seam asks of a
/// kind of store.
import Posix

public final class MemoryFolder: StoreFolder {
  private enum Node {
    case file(MemoryFile)
    case folder(MemoryFolder)
  }

  public let path: Bytes
  public let traits: StoreTraits
  private let nodes = Monitor<[Bytes: Node]>([:])
  private let clock: @Sendable () -> Timestamp

  public init(
    _ path: Bytes = Bytes("memory"), traits: StoreTraits = StoreTraits(),
    clock: @escaping @Sendable () -> Timestamp = { .now() }
  ) {
    self.path = path
    self.traits = traits
    self.clock = clock
  }

  public var failure: StoreError? { nil }
  public var directory: Status? { nil }
  public func space() -> (free: Int64, total: Int64)? { nil }
  public func sync() throws(StoreError) {}

  private func error(_ kind: StoreError.Kind, _ operation: String, _ name: Bytes, _ cause: String) -> StoreError {
    StoreError(kind, operation, path.joined(name), cause: cause)
  }

  private func missing(_ operation: String, _ name: Bytes) -> StoreError {
    error(.missing, operation, name, "nothing has that name")
  }

  private func exists(_ operation: String, _ name: Bytes) -> StoreError {
    error(.exists, operation, name, "something has that name already")
  }

  public func touch(_ name: Bytes) throws(StoreError) { try file(name, "touch").modified = clock() }

  public func list() throws(StoreError) -> [StoreItem] {
    nodes.look { nodes in
      nodes.map { Self.item($0.key, $0.value) }.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }
  }

  public func item(_ name: Bytes) throws(StoreError) -> StoreItem? {
    nodes.look { nodes in nodes[name].map { Self.item(name, $0) } }
  }

  private static func item(_ name: Bytes, _ node: Node) -> StoreItem {
    switch node {
    case .file(let file): StoreItem(name: name, kind: .file, size: file.size, modified: file.modified)
    case .folder: StoreItem(name: name, kind: .folder, size: 0, modified: Timestamp(seconds: 0))
    }
  }

  private func file(_ name: Bytes, _ operation: String) throws(StoreError) -> MemoryFile {
    switch nodes.look({ $0[name] }) {
    case .file(let file): return file
    case .folder: throw error(.unfit, operation, name, "it is a folder")
    case nil: throw missing(operation, name)
    }
  }

  public func open(_ name: Bytes) throws(StoreError) -> any StoredFile {
    MemoryReading(try file(name, "open"), path: path.joined(name))
  }

  public func begin(_ name: Bytes) throws(StoreError) -> any StoreOutput {
    let file = MemoryFile(modified: clock())
    // Whoever reads the file that is replaced here keeps reading that one.
    let isFolder = nodes.look { nodes in
      if case .folder = nodes[name] { return true }
      nodes[name] = .file(file)
      return false
    }
    if isFolder { throw error(.unfit, "open", name, "it is a folder") }
    return MemoryOutput(file, path: path.joined(name))
  }

  public func resume(_ name: Bytes, from size: Int64) throws(StoreError) -> any StoreOutput {
    let output = MemoryOutput(try file(name, "open"), path: path.joined(name))
    try output.truncate(to: size)
    return output
  }

  public func mark(_ name: Bytes) throws(StoreError) {
    let file = MemoryFile(modified: clock())
    let isNew = nodes.look { nodes in
      guard nodes[name] == nil else { return false }
      nodes[name] = .file(file)
      return true
    }
    if !isNew { throw exists("open", name) }
  }

  public func rename(_ name: Bytes, to new: Bytes) throws(StoreError) {
    let outcome = nodes.look { nodes -> StoreError.Kind? in
      guard let node = nodes[name] else { return .missing }
      guard nodes[new] == nil else { return .exists }
      nodes[name] = nil
      nodes[new] = node
      return nil
    }
    if outcome == .missing { throw missing("rename", name) }
    if outcome == .exists { throw exists("rename to", new) }
  }

  public func remove(_ name: Bytes) throws(StoreError) {
    _ = try file(name, "remove")
    nodes.look { $0[name] = nil }
  }

  public func setMode(_ name: Bytes, _ mode: UInt16) throws(StoreError) { _ = try file(name, "set the mode of") }

  public func makeFolder(_ name: Bytes) throws(StoreError) {
    let folder = MemoryFolder(path.joined(name), traits: traits, clock: clock)
    let isNew = nodes.look { nodes in
      guard nodes[name] == nil else { return false }
      nodes[name] = .folder(folder)
      return true
    }
    if !isNew { throw exists("make directory", name) }
  }

  public func folder(_ name: Bytes) throws(StoreError) -> any StoreFolder {
    switch nodes.look({ $0[name] }) {
    case .folder(let folder): return folder
    case .file: throw error(.unfit, "open", name, "it is a file")
    case nil: throw missing("open", name)
    }
  }
}

private final class MemoryFile: Sendable {
  let bytes = Monitor<Bytes>([])
  private let time: Monitor<Timestamp>
  var modified: Timestamp {
    get { time.look { $0 } }
    set { time.look { $0 = newValue } }
  }
  var size: Int64 { Int64(bytes.look { $0.count }) }

  init(modified: Timestamp) { time = Monitor(modified) }
}

private final class MemoryReading: StoredFile {
  private let file: MemoryFile
  let path: Bytes
  let size: Int64

  init(_ file: MemoryFile, path: Bytes) {
    self.file = file
    self.path = path
    size = file.size
  }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard offset >= 0 else { throw StoreError(.unfit, "read", path, cause: "an impossible place") }
    return file.bytes.look { bytes in
      guard offset < Int64(bytes.count) else { return 0 }
      let count = min(count, bytes.count - Int(offset))
      bytes.withUnsafeBytes { buffer.copyMemory(from: $0.baseAddress! + Int(offset), byteCount: count) }
      return count
    }
  }

  func dropCache() {}
}

private final class MemoryOutput: StoreOutput {
  private let file: MemoryFile
  let path: Bytes

  init(_ file: MemoryFile, path: Bytes) {
    self.file = file
    self.path = path
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) { file.bytes.look { $0.append(contentsOf: bytes) } }

  func truncate(to size: Int64) throws(StoreError) {
    guard size >= 0, size <= file.size else {
      throw StoreError(.unfit, "set the size of", path, cause: "an impossible size")
    }
    file.bytes.look { $0.removeLast($0.count - Int(size)) }
  }

  func sync() throws(StoreError) {}
  func finish() throws(StoreError) {}
  func abandon() {}
}
