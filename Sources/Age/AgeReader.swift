/// The contents of an age file as bytes that can be read from any offset. Only the chunks that are read are opened, and
/// nothing is given out that did not open.
import Glibc
import Posix
import Storage
import Tar

public final class AgeReader: ByteSource, @unchecked Sendable {
  private let source: any ByteSource
  /// For messages.
  private let path: Bytes
  private let key: Secret
  private let start: Int64
  /// Bytes that the chunks take.
  private let stored: Int64
  /// Of chunks.
  private let count: Int64
  /// Of the contents, in bytes: as the file's size tells. A file that was cut short is found out when its end is read.
  public let size: Int64
  /// One for each thread that reads at the same time.
  private let idle = Monitor<[Opener]>([])
  /// Where a chunk gave itself away as one that should not stand where it does.
  private let wrongEnd = Monitor<(offset: Int64, damage: PayloadDamage)?>(nil)

  /// `size`: of the file, in bytes.
  public init(
    _ source: any ByteSource, size: Int64, path: Bytes, _ header: Header, _ identities: [any Identity]
  ) throws(AgeFailure) {
    self.source = source
    self.path = path
    key = try header.payloadKey(of: source, identities)
    start = header.payloadOffset
    stored = max(0, size - start)
    count = (stored + Int64(Chunk.outer) - 1) / Int64(Chunk.outer)
    let last = stored - max(0, count - 1) * Int64(Chunk.outer)
    self.size = max(0, count - 1) * Int64(Chunk.inner) + max(0, last - Int64(Chunk.tag))
  }

  private final class Opener {
    let cipher: ChunkCipher
    let sealed = UnsafeMutableRawPointer.allocate(byteCount: AgeReader.batch * Chunk.outer, alignment: 64)
    let plain = UnsafeMutableRawPointer.allocate(byteCount: Chunk.inner, alignment: 64)
    /// The chunk whose contents are in `plain`.
    var held: Int64?

    init(_ key: Secret) { cipher = ChunkCipher(key, seals: false) }

    deinit {
      sealed.deallocate()
      plain.deallocate()
    }
  }

  /// Chunks that are read with one call.
  private static let batch = 4

  /// Fewer bytes than asked for are given at the end and before what is damaged; reading there throws a `StoreError`
  /// of kind `damaged`. Where nothing is given and nothing thrown, the end is the one that was written.
  public func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    guard offset >= 0, count > 0 else { return 0 }
    let opener = idle.look { $0.popLast() } ?? Opener(key)
    defer { idle.look { $0.append(opener) } }
    var done = 0
    do throws(StoreError) {
      while done < count {
        let read = try readSome(opener, into: buffer + done, count: count - done, at: offset + Int64(done), done > 0)
        if read == 0 { break }
        done += read
      }
    } catch {
      if done == 0 { throw error }
    }
    return done
  }

  private func readSome(
    _ opener: Opener, into buffer: UnsafeMutableRawPointer, count wanted: Int, at offset: Int64, _ isMore: Bool
  ) throws(StoreError) -> Int {
    if let (end, damage) = wrongEnd.look({ $0 }), offset >= end { throw failure(damage) }
    guard offset < size else {
      // What was read before this was the last chunk; else it is looked at now.
      if !isMore { try checkEnd(opener) }
      return 0
    }
    let first = offset / Int64(Chunk.inner)
    let skipped = Int(offset % Int64(Chunk.inner))
    if skipped == 0, opener.held != first {
      var chunks = 0
      var length = 0
      while chunks < Self.batch, first + Int64(chunks) < count, length + inner(first + Int64(chunks)) <= wanted {
        length += inner(first + Int64(chunks))
        chunks += 1
      }
      if chunks > 0 { return try open(opener, first..<(first + Int64(chunks)), to: buffer) }
    }
    if opener.held != first {
      opener.held = nil
      _ = try open(opener, first..<(first + 1), to: opener.plain)
      opener.held = first
    }
    let given = min(inner(first) - skipped, wanted)
    memcpy(buffer, opener.plain + skipped, given)
    return given
  }

  /// How many bytes of the file are a chunk's.
  private func outer(_ number: Int64) -> Int {
    number < count - 1 ? Chunk.outer : Int(stored - number * Int64(Chunk.outer))
  }

  private func inner(_ number: Int64) -> Int { max(0, outer(number) - Chunk.tag) }

  /// Opens chunks that follow each other; gives how many bytes they are, fewer before one that does not open.
  private func open(
    _ opener: Opener, _ chunks: Range<Int64>, to buffer: UnsafeMutableRawPointer
  ) throws(StoreError) -> Int {
    let from = chunks.lowerBound * Int64(Chunk.outer)
    let wanted = Int(min(stored - from, Int64(chunks.count * Chunk.outer)))
    let read = try source.read(into: opener.sealed, count: wanted, at: start + from)
    var done = 0
    var at = 0
    for number in chunks {
      let length = outer(number)
      var damage: PayloadDamage?
      do throws(PayloadDamage) {
        // It is shorter than it was.
        guard at + length <= read else { throw .badEnd }
        damage = try opener.cipher.openChunk(
          opener.sealed + at, length, number: number, isLast: number == count - 1, to: buffer + done)
      } catch {
        if done == 0 { throw failure(error) }
        return done
      }
      at += length
      done += inner(number)
      if let damage {
        wrongEnd.look { $0 = ((number + 1) * Int64(Chunk.inner), damage) }
        return done
      }
    }
    return done
  }

  private func checkEnd(_ opener: Opener) throws(StoreError) {
    guard count > 0 else { throw failure(.cutShort) }
    if opener.held == count - 1 { return }
    opener.held = nil
    _ = try open(opener, (count - 1)..<count, to: opener.plain)
    if let (_, damage) = wrongEnd.look({ $0 }) { throw failure(damage) }
    opener.held = count - 1
  }

  /// That the end is the one that was written.
  public func checkEnd() throws(StoreError) {
    var none: UInt8 = 0
    _ = try read(into: &none, count: 1, at: size)
  }

  /// What has to be done for the file to end, whole by itself, behind the first `end` bytes of its contents: how many of
  /// the file's bytes stay, and the chunk that is to be written behind them. nil: that chunk was sealed as the last one
  /// already, with other contents, and no chunk is ever sealed twice; the file has to be written anew.
  public func cut(to end: Int64) throws(StoreError) -> (kept: Int64, last: Bytes)? {
    let number = max(0, end - 1) / Int64(Chunk.inner)
    let contents = try read(count: Int(end - number * Int64(Chunk.inner)), at: number * Int64(Chunk.inner))
    guard Int64(contents.count) == end - number * Int64(Chunk.inner) else { throw failure(.cutShort) }
    if number == count - 1 {
      // Where the chunk was not the last one for whoever sealed it, reading it has found that out.
      let isLast = wrongEnd.look { $0 == nil } && stored - number * Int64(Chunk.outer) > 0
      if isLast { return end == size ? (start + stored, []) : nil }
    }
    var sealed = Bytes(repeating: 0, count: contents.count + Chunk.tag)
    ChunkCipher(key, seals: true).seal(contents, contents.count, number: number, isLast: true, to: &sealed)
    return (start + number * Int64(Chunk.outer), sealed)
  }

  /// Reads and opens everything.
  public func check() throws(StoreError) {
    let length = Self.batch * Chunk.inner
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 64)
    defer { buffer.deallocate() }
    var offset: Int64 = 0
    while true {
      let read = try read(into: buffer, count: length, at: offset)
      if read == 0 { return }
      offset += Int64(read)
    }
  }

  private func failure(_ damage: PayloadDamage) -> StoreError { .damaged(path, damage.words) }
}
