/// Fuzzes the walk over gzip members and their inflating with bytes as they would stand in a file.
import FuzzDriver
import Glibc
import Posix
import Storage
import Tar

private struct Memory: ByteSource, @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard offset >= 0, offset < Int64(bytes.count) else { return 0 }
    let length = min(count, bytes.count - Int(offset))
    memcpy(buffer, bytes.baseAddress! + Int(offset), length)
    return length
  }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzMembers(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let source = Memory(bytes: UnsafeRawBufferPointer(start: start, count: count))
  let reader = MemberReader(source)
  let inflater = Decompressor()
  let inflated = Buffer()
  do throws(MemberReader.Failure) {
    while let (member, bytes) = try reader.next() {
      precondition(bytes.count == member.length && reader.offset <= Int64(count))
      _ = GzipMember.subfield("Si", of: bytes)
      do throws(Decompressor.Failure) {
        try inflater.inflate(bytes, into: inflated)
        precondition(inflated.count <= GzipMember.inflatedLimit)
      } catch {}
    }
  } catch {}
  return 0
}

@_cdecl("FuzzMembers_main")
public func main(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
  fuzz(count, arguments) { fuzzMembers($0, $1) }
}
