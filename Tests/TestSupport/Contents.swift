/// What stands in a test's files: given bytes, or any amount made from a seed, with holes where wanted.
import Glibc
import Posix

/// How generated contents behave under compression.
public enum Texture: Sendable {
  case incompressible
  /// Shrinks to roughly a tenth.
  case compressible
  /// Zeros that were written, not a hole.
  case zeros
}

/// The bytes of a file, segment by segment; what lies between the segments is a hole.
public struct FileSpec: Sendable {
  public enum Source: Sendable {
    case bytes(Bytes)
    case generated(count: Int64, seed: UInt64, Texture)

    var count: Int64 {
      switch self {
      case .bytes(let bytes): Int64(bytes.count)
      case .generated(let count, _, _): count
      }
    }
  }

  public var size: Int64
  public var segments: [(offset: Int64, source: Source)]

  public init(size: Int64, segments: [(offset: Int64, source: Source)]) {
    self.size = size
    self.segments = segments
  }

  /// One run of bytes and nothing else.
  public init(_ source: Source) {
    self.init(size: source.count, segments: source.count == 0 ? [] : [(offset: Int64(0), source: source)])
  }

  /// Writes all of it into an empty file that is open for writing.
  public func write(to file: Descriptor) throws(SystemError) {
    for (offset, source) in segments { try source.write(to: file, at: offset) }
    // A hole at the end, or no segment at all.
    let end = segments.map { $0.offset + $0.source.count }.max() ?? 0
    if end != size { try file.truncate(to: size) }
  }

  /// The whole contents, holes as zeros: what a reader of the file must see.
  public var bytes: Bytes {
    var all = Bytes(repeating: 0, count: Int(size))
    for (offset, source) in segments {
      let part: Bytes =
        switch source {
        case .bytes(let bytes): bytes
        case .generated(let count, let seed, let texture): Contents.bytes(count: Int(count), seed: seed, texture)
        }
      all.replaceSubrange(Int(offset)..<Int(offset) + part.count, with: part)
    }
    return all
  }
}

extension FileSpec.Source {
  func write(to file: Descriptor, at offset: Int64) throws(SystemError) {
    switch self {
    case .bytes(let bytes): try Self.write(bytes[...], to: file, at: offset)
    case .generated(let count, let seed, let texture):
      var contents = Contents(seed: seed, texture)
      var chunk = Bytes(repeating: 0, count: Int(min(count, 1 << 20)))
      var done: Int64 = 0
      while done < count {
        let length = Int(min(count - done, Int64(chunk.count)))
        chunk.withUnsafeMutableBytes { contents.fill($0) }
        try Self.write(chunk[..<length], to: file, at: offset + done)
        done += Int64(length)
      }
    }
  }

  private static func write(_ bytes: ArraySlice<UInt8>, to file: Descriptor, at offset: Int64) throws(SystemError) {
    var failure: SystemError?
    bytes.withUnsafeBytes { buffer in
      do throws(SystemError) { try file.write(buffer, at: offset) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}

/// Bytes without end from a seed. Loops over plain pointers: tests run unoptimised, and files of many megabytes are
/// made in them.
public struct Contents {
  private static let piece = 16
  private static let pieces = 256
  private var random: Random
  private let texture: Texture
  /// What compressible contents are put together from.
  private var stock = Bytes()

  public init(seed: UInt64, _ texture: Texture) {
    random = Random(seed: seed)
    self.texture = texture
    if texture == .compressible { stock = random.bytes(Self.piece * Self.pieces) }
  }

  /// Exactly what a file of this size, seed and texture holds.
  public static func bytes(count: Int, seed: UInt64, _ texture: Texture = .incompressible) -> Bytes {
    var contents = Contents(seed: seed, texture)
    var bytes = Bytes(repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { contents.fill($0) }
    return bytes
  }

  /// The next bytes. Consecutive calls continue each other where each buffer is a multiple of 16 long.
  public mutating func fill(_ buffer: UnsafeMutableRawBufferPointer) {
    guard let start = buffer.baseAddress else { return }
    var done = 0
    switch texture {
    case .zeros: memset(start, 0, buffer.count)
    case .incompressible:
      while done < buffer.count {
        var word = random.next()
        memcpy(start + done, &word, min(8, buffer.count - done))
        done += 8
      }
    case .compressible:
      var generator = random
      stock.withUnsafeBytes { stock in
        while done < buffer.count {
          let piece = stock.baseAddress! + Self.piece * Int(generator.next() & UInt64(Self.pieces - 1))
          memcpy(start + done, piece, min(Self.piece, buffer.count - done))
          done += Self.piece
        }
      }
      random = generator
    }
  }
}
