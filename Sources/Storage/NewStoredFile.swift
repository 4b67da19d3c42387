/// A file of a store that appears whole or not at all: written under a partial name, made durable, then given its own.
/// The first bytes wait in memory: a file that is given up while they do never touches the store.
///
/// Where the store does not rename, what is whole only when it is published waits on this machine, in a file without a
/// name. What is too large for that, the volumes of archives, is sent under its own name and counts for nothing until a
/// manifest names it.
import Posix

public final class NewStoredFile: StoreOutput {
  /// `renamed`: under a partial name, then renamed. `held`: on this machine, then sent. `sent`: straight to its own name.
  private enum Way {
    case renamed
    case held
    case sent
  }

  private let folder: any StoreFolder
  private let way: Way
  private let name: Bytes
  /// Its name until it is published.
  public private(set) var partial: Bytes
  /// Its end is written; nothing can be appended.
  public private(set) var isFinished = false
  private var output: (any StoreOutput)?
  private var waiting = Bytes()
  /// What is held on this machine.
  private var spool: Descriptor?
  /// A copy of what was held lies in the store under the partial name.
  private var hasCopy = false

  public static let partialSuffix = Bytes(".partial")
  /// Bytes that wait: of what is sent as many as go in one request.
  private var waitingLimit: Int { way == .sent ? S3Output.partSize : 1 << 16 }

  /// Begins a file; what an earlier run left under the partial name is replaced. `suffix`: what the partial name has
  /// behind the final one. `isVolume`: it may be too large to be held on this machine.
  public init(
    _ name: Bytes, in folder: any StoreFolder, suffix: Bytes = partialSuffix, isVolume: Bool = false
  ) {
    self.name = name
    self.folder = folder
    way = folder.traits.renames ? .renamed : isVolume ? .sent : .held
    partial = way == .sent ? name : name + suffix
  }

  /// Goes on with a file that an earlier run left under the name `partial`, of which the first `size` bytes are kept. Where
  /// the store cannot go on with files it ends there.
  public init(continuing partial: Bytes, from size: Int64, in folder: any StoreFolder) throws(StoreError) {
    self.folder = folder
    self.partial = partial
    way = folder.traits.renames ? .renamed : .sent
    name = Self.final(partial)
    // Where nothing can be appended, another file has to go on.
    if folder.traits.appends {
      output = try folder.resume(partial, from: size)
    } else {
      try folder.shorten(partial, to: size)
      isFinished = true
    }
  }

  private static func final(_ partial: Bytes) -> Bytes {
    partial.suffix(partialSuffix.count).elementsEqual(partialSuffix)
      ? Bytes(partial.dropLast(partialSuffix.count)) : partial
  }

  public var path: Bytes { folder.path.joined(partial) }

  /// Gives a file another name while nothing of it was sent. False: that is past.
  public func takeName(_ name: Bytes) -> Bool {
    guard way == .sent, output == nil, !isFinished else { return partial == name }
    partial = name
    return true
  }

  private func begun() throws(StoreError) -> any StoreOutput {
    if let output { return output }
    let new: any StoreOutput
    if way == .held {
      let file = try storing { () throws(SystemError) in
        try Descriptor.open(folder.traits.spool, [.read, .directory]).openNameless()
      }
      spool = file
      new = LocalOutput(file)
    } else {
      new = try folder.begin(partial)
    }
    output = new
    if !waiting.isEmpty { try new.append(waiting) }
    waiting = []
    return new
  }

  public func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    if output == nil, waiting.count + bytes.count <= waitingLimit {
      waiting.append(contentsOf: bytes)
    } else {
      try begun().append(bytes)
    }
  }

  /// Writes what waits, but for what is sent: that waits until it fills a request.
  public func flush() throws(StoreError) { if way != .sent { _ = try begun() } }

  public func truncate(to size: Int64) throws(StoreError) {
    if way == .sent, output == nil, size >= 0, size <= Int64(waiting.count) {
      waiting.removeLast(waiting.count - Int(size))
    } else {
      try begun().truncate(to: size)
    }
  }

  /// Ends the file behind its first `size` bytes.
  public func shorten(to size: Int64) throws(StoreError) {
    switch way {
    case .held: try begun().truncate(to: size)
    case .sent:
      try finish()
      try folder.shorten(partial, to: size)
    case .renamed:
      abandon()
      try folder.shorten(partial, to: size)
    }
    isFinished = true
  }

  public var untilDurable: Int? { way == .held ? nil : output?.untilDurable }

  /// Of what is held a copy is left in the store.
  public func sync() throws(StoreError) {
    guard way != .sent else { return }
    let output = try begun()
    guard way == .held else { return try output.sync() }
    try send(folder.begin(partial))
    hasCopy = true
  }

  private func send(_ target: any StoreOutput) throws(StoreError) {
    do throws(StoreError) {
      let file = try reopened()
      try target.append(contentsOf: file, first: file.size)
      try target.finish()
    } catch {
      target.abandon()
      throw error
    }
  }

  /// What has been written, to be read.
  public func reopened() throws(StoreError) -> any StoredFile {
    if output == nil, way == .held || !isFinished { _ = try begun() }
    if let spool { return LocalFile(spool, path: path) }
    return try folder.open(partial)
  }

  /// Makes the contents durable and ends the writing; the file keeps its partial name.
  public func finish() throws(StoreError) {
    guard !isFinished else { return }
    let output = try begun()
    isFinished = true
    if way != .held { try output.finish() }
  }

  /// Gives the finished file its name, or another one, which must be new, and makes that durable.
  public func publish(as other: Bytes? = nil) throws(StoreError) {
    let final = other ?? name
    guard way != .held else {
      try send(folder.begin(new: final))
      if hasCopy { try folder.remove(partial) }
      return
    }
    guard partial != final else { return }
    try folder.rename(partial, to: final)
    try folder.sync()
  }

  /// Leaves what was written under its partial name.
  public func abandon() { if !isFinished, way != .held { output?.abandon() } }

  /// Removes what was written.
  public func discard() {
    guard output != nil || isFinished, way != .held || hasCopy else { return }
    abandon()
    try? folder.remove(partial)
  }
}
