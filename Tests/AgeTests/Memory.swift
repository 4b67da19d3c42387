/// Age files in memory, and what the readers make of them.
import Age
import Glibc
import Posix
import Storage
import Tar
import TestSupport

struct Memory: ByteSource {
  let bytes: Bytes

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard offset >= 0, offset < Int64(bytes.count) else { return 0 }
    let length = min(count, bytes.count - Int(offset))
    bytes.withUnsafeBytes { _ = memcpy(buffer, $0.baseAddress! + Int(offset), length) }
    return length
  }
}

/// What a reader gave out, and how that ended.
struct Reading: Equatable {
  var bytes: Bytes = []
  var failure: AgeFailure?

  static func sequential(_ file: Bytes, _ identities: [any Identity]) -> Reading {
    var reading = Reading()
    do throws(AgeFailure) {
      let source = Memory(bytes: file)
      let reader = try AgeStreamReader(source, Header(of: source), identities)
      while let piece = try reader.next() { reading.bytes += piece }
    } catch { reading.failure = error }
    return reading
  }

  /// Through the reader of ranges, `step` bytes at a time. What is wrong comes as a `StoreError` of kind `damaged`.
  static func ranges(_ file: Bytes, _ identities: [any Identity], step: Int) -> Reading {
    var reading = Reading()
    do throws(AgeFailure) {
      let reader = try open(file, identities)
      var buffer = Bytes(repeating: 0, count: step)
      do throws(StoreError) {
        while true {
          let count = try reader.read(into: &buffer, count: step, at: Int64(reading.bytes.count))
          if count == 0 { break }
          reading.bytes += buffer[..<count]
        }
      } catch { reading.failure = .unreadable(error) }
    } catch { reading.failure = error }
    return reading
  }

  static func open(_ file: Bytes, _ identities: [any Identity]) throws(AgeFailure) -> AgeReader {
    let source = Memory(bytes: file)
    return try AgeReader(source, size: Int64(file.count), path: Bytes("memory"), Header(of: source), identities)
  }
}

func sealed(_ plain: Bytes, for recipients: [any Recipient], piece: Int = .max) throws -> Bytes {
  let out = Buffer()
  let writer = try AgeWriter(for: recipients, to: out)
  var rest = plain[...]
  while !rest.isEmpty {
    let part = Bytes(rest.prefix(piece))
    rest = rest.dropFirst(piece)
    part.withUnsafeBytes { writer.write($0, to: out) }
  }
  writer.finish(to: out)
  return Bytes(out)
}

func secret(_ text: String) -> Secret {
  var bytes = Bytes(text.utf8)
  return Secret(moving: &bytes)
}
