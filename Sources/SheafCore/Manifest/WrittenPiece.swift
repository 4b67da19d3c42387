/// What is remembered of a file on the store while it is written.

/// Bytes that were written in one go.
struct WrittenPiece: Sendable {
  var length: Int32
  /// CRC-32 of the stored bytes.
  var checksum: UInt32
}
