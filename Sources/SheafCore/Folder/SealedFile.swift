/// An encrypted file as it is read and written: its contents are what whoever uses it sees.
import Age
import Posix
import Storage
import Tar

/// How an encrypted file lies in the store.
struct SealedForm: Equatable, Sendable {
  /// Bytes.
  var size: Int64
  var digest: Digest
}

final class SealedFile: StoredFile {
  private let file: any StoredFile
  private let reader: AgeReader

  init(_ file: any StoredFile, _ reader: AgeReader) {
    self.file = file
    self.reader = reader
  }

  var path: Bytes { file.path }
  /// Of the contents. A file that was cut short is found out when its end is read.
  var size: Int64 { reader.size }
  func dropCache() { file.dropCache() }

  func read(into buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) throws(StoreError) -> Int {
    // `AgeReader` checks the last chunk when it is asked for more than there is. That costs a read, and digests and indexes
    // tell it already.
    let left = Int(clamping: reader.size - offset)
    guard left > 0 else { return 0 }
    return try reader.read(into: buffer, count: min(count, left), at: offset)
  }
}

final class SealedOutput: StoreOutput {
  private let file: any StoreOutput
  private let writer: AgeWriter
  private let finished: (SealedForm) -> Void
  private let out = Buffer(capacity: 1 << 18)
  private let hasher = SHA256()
  /// Of the file, and of its contents.
  private var stored: Int64 = 0
  private var size: Int64 = 0
  /// The first failed write: what it left in the file is not known, so nothing more is written.
  private var broken: StoreError?

  /// `finished` is told of the file when it is complete.
  init(
    _ file: any StoreOutput, for recipient: X25519Recipient, finished: @escaping (SealedForm) -> Void
  ) throws(AgeFailure) {
    self.file = file
    self.finished = finished
    writer = try AgeWriter(for: [recipient], to: out)
  }

  var path: Bytes { file.path }
  var fileKey: Secret { writer.fileKey }
  var untilDurable: Int? { writer.untilWhole }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    if let broken { throw broken }
    writer.write(bytes, to: out)
    size += Int64(bytes.count)
    if out.count > 1 << 16 { try flush() }
  }

  private func flush() throws(StoreError) {
    guard out.count > 0 else { return }
    do throws(StoreError) { try file.append(out.bytes) } catch {
      broken = error
      throw error
    }
    hasher.update(out.start, out.count)
    stored += Int64(out.count)
    out.count = 0
  }

  /// What is sealed already cannot be sealed differently.
  func truncate(to size: Int64) throws(StoreError) {
    let dropped = self.size - size
    guard broken == nil, dropped >= 0, dropped <= Int64(writer.waiting) else {
      throw StoreError(.unfit, "cut", path, cause: "it is encrypted")
    }
    writer.drop(Int(dropped))
    self.size = size
  }

  func sync() throws(StoreError) {
    if let broken { throw broken }
    writer.settle(to: out)
    try flush()
    try file.sync()
  }

  func finish() throws(StoreError) {
    if let broken { throw broken }
    guard writer.waiting > 0 || size == 0 else {
      throw StoreError(.other, "end", path, cause: "nothing came after what was made durable")
    }
    writer.finish(to: out)
    try flush()
    try file.finish()
    finished(SealedForm(size: stored, digest: hasher.finish()))
  }

  func abandon() {
    if broken == nil { try? flush() }
    file.abandon()
  }
}
