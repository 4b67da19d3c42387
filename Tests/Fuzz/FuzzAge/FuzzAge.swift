/// Fuzzes what reads age files and key files. The first byte says which: a header, a key file, or what follows a sound
/// header, opened with the key that it was written for.
import Age
import FuzzDriver
import Glibc
import Posix
import Storage
import Tar

private struct Memory: ByteSource {
  let bytes: Bytes

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard offset >= 0, offset < Int64(bytes.count) else { return 0 }
    let length = min(count, bytes.count - Int(offset))
    bytes.withUnsafeBytes { _ = memcpy(buffer, $0.baseAddress! + Int(offset), length) }
    return length
  }
}

private let key = X25519Identity()

/// A file with two chunks.
private let file: Bytes = {
  let out = Buffer()
  let writer = try! AgeWriter(for: [key.recipient], to: out)
  Bytes(repeating: 7, count: 70_000).withUnsafeBytes { writer.write($0, to: out) }
  writer.finish(to: out)
  return Bytes(out)
}()

/// What both readers give out is the same; gives it.
private func read(_ bytes: Bytes) -> Bytes? {
  let source = Memory(bytes: bytes)
  guard let header = try? Header(of: source) else { return nil }
  precondition(header.length <= bytes.count && !header.stanzas.isEmpty)
  guard !header.needsPassphrase else { return nil }
  var given = Bytes()
  var isWhole = false
  do throws(AgeFailure) {
    let reader = try AgeStreamReader(source, header, [key])
    while let piece = try reader.next() { given += piece }
    isWhole = true
  } catch {}
  guard let reader = try? AgeReader(source, size: Int64(bytes.count), path: [], header, [key]) else { return given }
  var same = Bytes()
  var buffer = Bytes(repeating: 0, count: 9000)
  do throws(StoreError) {
    while true {
      let count = try reader.read(into: &buffer, count: buffer.count, at: Int64(same.count))
      if count == 0 { break }
      same += buffer[..<count]
    }
    precondition(isWhole)
  } catch { precondition(!isWhole) }
  precondition(given == same, "the two readers give different bytes")
  return given
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAge(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 1 else { return 0 }
  let bytes = Bytes(UnsafeBufferPointer(start: start + 1, count: count - 1))
  switch start[0] % 3 {
  case 0: _ = read(bytes)
  case 1: bytes.withUnsafeBytes { _ = try? KeyFile.identities(Secret(copying: $0)) }
  default:
    // Four bytes each: where to change the file, and how; or, where they end in a zero, where to cut it.
    var changed = file
    var rest = bytes[...]
    while rest.count >= 4 {
      let at = Int(rest[rest.startIndex]) << 16 | Int(rest[rest.startIndex + 1]) << 8 | Int(rest[rest.startIndex + 2])
      let how = rest[rest.startIndex + 3]
      rest = rest.dropFirst(4)
      if how == 0 { changed = Bytes(changed.prefix(at)) } else if at < changed.count { changed[at] ^= how }
    }
    changed += rest
    let given = read(changed)
    if changed != file { precondition(given.map { $0.allSatisfy { $0 == 7 } && $0.count <= 70_000 } ?? true) }
  }
  return 0
}

@_cdecl("FuzzAge_main")
public func main(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
  fuzz(count, arguments) { fuzzAge($0, $1) }
}
