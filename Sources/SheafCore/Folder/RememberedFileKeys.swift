/// The keys of files that a run on this machine began, where the machine has not the key to read them: with these the
/// next run can go on with what an interrupted one left. Kept private, until the file is complete. To lose them costs
/// what the interrupted run had saved.
import Age
import Posix
import Storage

final class RememberedFileKeys: Sendable {
  private let directory: Bytes
  private let name: Bytes
  private let known: Monitor<[Bytes: Secret]>

  /// `directory`: where this machine remembers stores; made when it is needed.
  init(_ directory: Bytes, store uuid: String, series: Bytes) {
    self.directory = directory
    name = Bytes("\(uuid)-".utf8) + series + Bytes(".filekeys")
    known = Monitor(Self.read(directory, name))
  }

  /// `NAME KEY`, a line each, the key in hexadecimal digits.
  private static func read(_ directory: Bytes, _ name: Bytes) -> [Bytes: Secret] {
    guard let folder = try? Descriptor.open(directory, [.read, .directory]),
      let file = try? folder.open(name, [.read, .noFollow, .nonBlocking]), let status = try? file.status(),
      status.kind == .file, status.mode & 0o077 == 0,
      let text = try? Secret.all(of: file, atMost: 1 << 20)
    else { return [:] }
    var keys: [Bytes: Secret] = [:]
    var copy = text.copy
    for line in copy.split(separator: 10) {
      let words = line.split(separator: 32)
      guard words.count == 2, var key = bytes(hex: words[1]) else { continue }
      keys[Bytes(words[0])] = Secret(moving: &key)
    }
    _ = Secret(moving: &copy)
    return keys
  }

  private static func bytes(hex: ArraySlice<UInt8>) -> Bytes? {
    guard hex.count % 2 == 0 else { return nil }
    var result = Bytes()
    var rest = hex
    while !rest.isEmpty {
      guard let byte = UInt8(Bytes(rest.prefix(2)).shown, radix: 16) else { return nil }
      result.append(byte)
      rest = rest.dropFirst(2)
    }
    return result
  }

  func key(of name: Bytes) -> Secret? { known.look { $0[name] } }

  func remember(_ key: Secret, of name: Bytes) throws(AgeFailure) {
    known.look { $0[name] = key }
    do throws(SystemError) { try write() } catch { throw .unreadable(StoreError(error)) }
  }

  func forget(_ name: Bytes) {
    let wasKnown = known.look { $0.removeValue(forKey: name) != nil }
    if wasKnown { try? write() }
  }

  /// A file got another name. One that has its final name is complete.
  func follow(_ name: Bytes, to new: Bytes) {
    let isPartial = new.suffix(NewStoredFile.partialSuffix.count).elementsEqual(NewStoredFile.partialSuffix)
    let key = known.look { known in
      let key = known.removeValue(forKey: name)
      if isPartial { known[new] = key }
      return key
    }
    if key != nil { try? write() }
  }

  private func write() throws(SystemError) {
    try Descriptor.makeDirectories(directory)
    let folder = try Descriptor.open(directory, [.read, .directory])
    let keys = known.look { $0 }
    guard !keys.isEmpty else {
      try? folder.removeFile(name)
      return
    }
    var text = Bytes()
    for (name, key) in keys.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      text += name + [32] + Bytes(key.copy.hex.utf8) + [10]
    }
    let secret = Secret(moving: &text)
    let file = try NewFile(name, in: folder)
    try file.descriptor.setMode(0o600)
    try secret.write(to: file.descriptor)
    try file.seal()
    try folder.rename(name + NewFile.partialSuffix, to: name)
  }
}
