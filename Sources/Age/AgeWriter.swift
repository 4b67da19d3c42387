/// Writes an age file: what is given to it comes out sealed, a chunk at a time.
import Glibc
import Posix
import Tar

/// Not for use from several threads.
public final class AgeWriter {
  /// Opens this file alone.
  public let fileKey: Secret
  private let cipher: ChunkCipher
  private let held = UnsafeMutableRawPointer.allocate(byteCount: Chunk.inner, alignment: 64)
  private var count = 0
  private var number: Int64 = 0
  private var isFinished = false

  /// Appends the header. A new file key is made for each file; a passphrase must be the only recipient.
  public init(for recipients: [any Recipient], to out: Buffer) throws(AgeFailure) {
    fileKey = Secret.random(FileKey.length)
    var stanzas: [Stanza] = []
    for recipient in recipients { stanzas.append(try recipient.stanza(for: fileKey)) }
    guard !stanzas.isEmpty, stanzas.count == 1 || !recipients.contains(where: { $0 is Passphrase }) else {
      throw .key("a file is written for one passphrase or for keys")
    }
    out.append(Header(stanzas, fileKey).bytes)
    let nonce = Secret.random(Header.nonceLength).copy
    out.append(nonce)
    cipher = ChunkCipher(KeyDerivation.hkdf(fileKey, salt: nonce, info: "payload"), seals: true)
  }

  deinit {
    memset(held, 0, Chunk.inner)
    held.deallocate()
  }

  /// Appends the chunks that `bytes` make whole.
  public func write(_ bytes: UnsafeRawBufferPointer, to out: Buffer) {
    precondition(!isFinished)
    var rest = bytes
    while let start = rest.baseAddress, rest.count > 0 {
      // Only when there is more it is known not to be the last.
      if count == Chunk.inner { seal(held, isLast: false, to: out) }
      if count == 0, rest.count > Chunk.inner {
        count = Chunk.inner
        seal(start, isLast: false, to: out)
        rest = UnsafeRawBufferPointer(rebasing: rest[Chunk.inner...])
        continue
      }
      let taken = min(Chunk.inner - count, rest.count)
      memcpy(held + count, start, taken)
      count += taken
      rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
    }
  }

  /// Bytes of the contents that wait for their chunk to be whole.
  public var waiting: Int { count }

  /// Bytes that have to follow for what waits to be a whole chunk.
  public var untilWhole: Int { count == 0 ? 0 : Chunk.inner - count }

  /// Seals what waits if it is a whole chunk. It is not the last one then, so something has to follow.
  public func settle(to out: Buffer) { if count == Chunk.inner { seal(held, isLast: false, to: out) } }

  /// Gives up the last bytes of what waits. What is sealed stays: a chunk is never sealed twice.
  public func drop(_ bytes: Int) {
    precondition(bytes <= count && !isFinished)
    count -= bytes
  }

  /// Appends the last chunk. Nothing is written after it.
  public func finish(to out: Buffer) {
    precondition(!isFinished && (count > 0 || number == 0), "only the last chunk of nothing is empty")
    seal(held, isLast: true, to: out)
    isFinished = true
  }

  private func seal(_ start: UnsafeRawPointer, isLast: Bool, to out: Buffer) {
    out.reserve(count + Chunk.tag)
    cipher.seal(start, count, number: number, isLast: isLast, to: out.end)
    out.count += count + Chunk.tag
    number += 1
    count = 0
  }
}
