/// A file of a store that cannot write differently what it was sent: the last bytes wait here, so that a small file is sent
/// whole or not at all.
import Posix

final class HeldOutput: StoreOutput {
  let path: Bytes
  private let limit: Int
  private let begin: () throws(StoreError) -> any StoreOutput
  private var output: (any StoreOutput)?
  private var waiting = Bytes()
  /// Bytes that were sent before those that wait.
  private var sent: Int64 = 0

  /// `limit`: bytes that wait at most. `begin`: called once there is something to send.
  init(_ path: Bytes, limit: Int, _ begin: @escaping () throws(StoreError) -> any StoreOutput) {
    (self.path, self.limit, self.begin) = (path, limit, begin)
  }

  private func begun() throws(StoreError) -> any StoreOutput {
    if let output { return output }
    let new = try begin()
    output = new
    return new
  }

  private func send() throws(StoreError) {
    try begun().append(waiting)
    sent += Int64(waiting.count)
    waiting.removeAll(keepingCapacity: true)
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
    if waiting.count + bytes.count > limit { try send() }
    if bytes.count <= limit { return waiting.append(contentsOf: bytes) }
    try begun().append(bytes)
    sent += Int64(bytes.count)
  }

  func truncate(to size: Int64) throws(StoreError) {
    guard size >= sent, size <= sent + Int64(waiting.count) else {
      throw StoreError(.unfit, "set the size of", path, cause: "it was sent already")
    }
    waiting.removeLast(waiting.count - Int(size - sent))
  }

  func sync() throws(StoreError) {}

  func finish() throws(StoreError) {
    try send()
    try begun().finish()
  }

  func abandon() {
    waiting = []
    output?.abandon()
  }
}
