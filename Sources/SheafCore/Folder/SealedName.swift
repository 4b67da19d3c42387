/// What files of an encrypted store are called: as in a plain one, with `.age` behind it; before `.partial`, so that what
/// is not complete is known by its end, as everywhere.
import Posix
import Storage

enum SealedName {
  static let suffix = Bytes(".age")

  /// Whether a file of this name holds something, so that it is encrypted. Marks and locks are empty.
  static func isEncrypted(_ name: Bytes) -> Bool {
    !LockHolder.isLock(name) && !name.hasSuffix(".protected") && !name.hasSuffix(".dropped")
  }

  /// Whether its contents are a part of an archive, which only the key for contents opens.
  static func isArchive(_ name: Bytes) -> Bool {
    guard let (_, rest) = SetName.parse(name) else { return false }
    return rest.starts(with: Bytes(".tar.gz"))
  }

  /// The name in the store.
  static func sealed(_ name: Bytes) -> Bytes {
    let partial = NewStoredFile.partialSuffix
    guard name.suffix(partial.count).elementsEqual(partial) else { return name + suffix }
    return name.dropLast(partial.count) + suffix + partial
  }

  /// The other way; nil where it is no name of an encrypted file.
  static func plain(_ name: Bytes) -> Bytes? {
    let partial = NewStoredFile.partialSuffix
    let isPartial = name.suffix(partial.count).elementsEqual(partial)
    let stem = isPartial ? Bytes(name.dropLast(partial.count)) : name
    guard stem.count > suffix.count, stem.suffix(suffix.count).elementsEqual(suffix) else { return nil }
    return Bytes(stem.dropLast(suffix.count)) + (isPartial ? partial : [])
  }

  /// How many bytes can be sealed in a file of so many; a few less.
  static func contents(ofFile size: Int64) -> Int64 { max(1 << 16, size - size / 4096 - 4096) }
}
