/// What can be wrong with an age file or with a key.
import Posix
import Storage

public enum AgeFailure: Error, Equatable {
  case unreadable(StoreError)
  /// The header is not one of an age file of version 1; why.
  case header(String)
  /// No stanza opens with the keys given: they are others, or the stanza is damaged.
  case noMatch
  /// The header was changed: its checksum (an HMAC) is not what the file key makes of it.
  case headerChecksum
  case payload(PayloadDamage)
  /// A key that cannot be read; why. Never says what stands there.
  case key(String)
}

/// What is wrong with what comes after the header.
public enum PayloadDamage: Error, Equatable {
  /// It ends with a whole chunk that is not the last.
  case cutShort
  /// The last chunk does not open: the file is cut within it, or it was changed.
  case badEnd
  /// A chunk that does not open: changed, put there from elsewhere, or for one that is missing.
  case changed(chunk: Int64)
  /// Something follows the last chunk.
  case trailing

  /// As the end of a sentence about the file.
  public var words: String {
    switch self {
    case .cutShort: "is cut short: its last chunk is missing"
    case .badEnd: "is damaged or cut short: its last chunk does not open"
    case .changed(let chunk):
      "is damaged: its chunk \(chunk), at byte \(chunk * Int64(Chunk.inner)) of its contents, does not open"
    case .trailing: "is damaged: something follows its last chunk"
    }
  }
}
