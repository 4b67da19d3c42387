/// Small manifests as they were read. Most manifests of a long chain are small, and a command comes to each of them
/// several times; so none is opened, and decrypted, more than once. What a name stands for changes only where this run
/// changes it.
import Posix
import Storage
import Tar

struct HeldManifests {
  /// Bytes, of all.
  private static let limit: Int64 = 8 << 20
  private var files: [SetName: HeldFile] = [:]
  private var bytes: Int64 = 0

  private final class HeldFile: StoredFile {
    let path: Bytes
    let size: Int64
    private let contents: HeldBytes

    init(_ path: Bytes, _ contents: Bytes) {
      self.path = path
      size = Int64(contents.count)
      self.contents = HeldBytes(contents)
    }

    func dropCache() {}
    func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) -> Int {
      contents.read(into: buffer, count: count, at: offset)
    }
  }

  func file(of set: SetName) -> (any StoredFile)? { files[set] }

  /// The file as it is to be read from here on: itself, where it is large or cannot be read whole.
  mutating func keep(_ file: any StoredFile, of set: SetName) -> any StoredFile {
    guard file.size <= ManifestReader.smallSize, bytes + file.size <= Self.limit,
      let contents = try? file.read(count: Int(file.size), at: 0), contents.count == file.size
    else { return file }
    let held = HeldFile(file.path, contents)
    files[set] = held
    bytes += held.size
    return held
  }

  mutating func forget(_ set: SetName) { bytes -= files.removeValue(forKey: set)?.size ?? 0 }
}
