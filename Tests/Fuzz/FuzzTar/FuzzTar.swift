/// Fuzzes the reader of tar headers with bytes as they would stand in an inflated gzip member.
import FuzzDriver
import Tar

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTar(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  // A copy of its own, so that the sanitizer sees every step beyond the end.
  let buffer = Buffer(capacity: max(count, 64))
  buffer.append(start, count)
  repairSums(buffer)
  var reader = TarReader(buffer.bytes)
  var entries = 0
  do throws(TarReader.Failure) {
    while let entry = try reader.next() {
      entries += 1
      precondition(entry.data <= count && entry.header.size >= 0)
    }
  } catch {}
  precondition(entries <= count / 512)
  return 0
}

/// Writes right checksums into all that looks like a header: the fuzzer would hardly ever guess one.
private func repairSums(_ buffer: Buffer) {
  let bytes = buffer.start.assumingMemoryBound(to: UInt8.self)
  var at = 0
  while at + 512 <= buffer.count {
    if bytes[at + 257] == UInt8(ascii: "u"), bytes[at + 258] == UInt8(ascii: "s") {
      var sum: UInt32 = 0
      for index in 0..<512 { sum += (148..<156).contains(index) ? 32 : UInt32(bytes[at + index]) }
      for index in 0..<6 { bytes[at + 148 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(15 - 3 * index) & 7) + 48 }
      bytes[at + 154] = 0
      bytes[at + 155] = 32
    }
    at += 512
  }
}

@_cdecl("FuzzTar_main")
public func main(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
  fuzz(count, arguments) { fuzzTar($0, $1) }
}
