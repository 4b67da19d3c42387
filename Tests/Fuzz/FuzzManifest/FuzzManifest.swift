/// Fuzzes the reader of manifests: with the text of one, wrapped into a sound gzip member, and with the bytes of a
/// file as they are.
import FuzzDriver
import Glibc
import Posix
import Tar

@testable import SheafCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzManifest(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 1 else { return 0 }
  let bytes = UnsafeRawBufferPointer(start: start + 1, count: count - 1)
  let file = Buffer()
  if start[0] & 1 == 0 {
    Compressor(level: 0).append(bytes, firstHeader: nil, to: file)
  } else {
    file.append(bytes.baseAddress!, bytes.count)
  }
  guard let descriptor = try? Descriptor.open(Bytes("/dev/shm"), [.read, .directory]).openNameless() else { return 0 }
  try? descriptor.write(file.bytes)
  let index = try? ManifestIndex(descriptor, name: "fuzz")
  do {
    let reader = try ManifestReader(descriptor, name: "fuzz", checked: true)
    if let index { reader.compare(index) { _ in } }
    while try reader.next() {
      guard reader.line.what == .entry else { continue }
      _ = reader.line.hardLink
      if let entry = reader.line.entry() {
        // What was read is written the same, and read the same again.
        let (text, canonical) = entry.line
        precondition(text.count > canonical && entry.storedSize >= 0)
        text.dropLast().withUnsafeBufferPointer { text in
          var line = Line()
          let scratch = Buffer()
          precondition(line.parse(entry: text, scratch: scratch), "a line that was written cannot be read")
          precondition(line.entry() == entry, "a line that was written is read differently")
        }
      }
    }
  } catch {}
  if let index { _ = index.offset(for: Bytes("a/b")) }
  return 0
}

@_cdecl("FuzzManifest_main")
public func main(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
  fuzz(count, arguments) { fuzzManifest($0, $1) }
}
