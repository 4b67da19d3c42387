/// The order of everything: directory by directory. Directories follow each other by component, bytewise, each before
/// what is in it; within one, names follow each other bytewise.
///
/// So all names of one directory stand together, as a directory listing gives them: a comparison knows all that a
/// directory lost before it writes anything of it, and `ls` of one folder reads one stretch of the manifest.
import Glibc
import Posix

enum PathOrder {
  /// Negative, zero or positive, as `memcmp`. `aParent` and `bParent` are the lengths of the parents' parts.
  @inline(__always)
  static func compare(
    _ a: UnsafeBufferPointer<UInt8>, _ aParent: Int, _ b: UnsafeBufferPointer<UInt8>, _ bParent: Int
  ) -> Int {
    let parents = compareDirectories(
      UnsafeBufferPointer(start: a.baseAddress, count: aParent),
      UnsafeBufferPointer(start: b.baseAddress, count: bParent))
    if parents != 0 { return parents }
    let skip = aParent == 0 ? 0 : aParent + 1
    return compareNames(
      UnsafeBufferPointer(start: a.baseAddress! + skip, count: a.count - skip),
      UnsafeBufferPointer(start: b.baseAddress! + skip, count: b.count - skip))
  }

  /// Whole paths of directories, by component: `/` sorts before every other byte.
  @inline(__always)
  static func compareDirectories(_ a: UnsafeBufferPointer<UInt8>, _ b: UnsafeBufferPointer<UInt8>) -> Int {
    let common = min(a.count, b.count)
    var i = 0
    if common >= 8, let x = UnsafeRawPointer(a.baseAddress), let y = UnsafeRawPointer(b.baseAddress) {
      while i + 8 <= common,
        x.loadUnaligned(fromByteOffset: i, as: UInt64.self) == y.loadUnaligned(fromByteOffset: i, as: UInt64.self)
      {
        i += 8
      }
    }
    while i < common {
      let x = a[i]
      let y = b[i]
      if x != y {
        if x == 47 { return -1 }
        if y == 47 { return 1 }
        return x < y ? -1 : 1
      }
      i += 1
    }
    return a.count - b.count
  }

  @inline(__always)
  static func compareNames(_ a: UnsafeBufferPointer<UInt8>, _ b: UnsafeBufferPointer<UInt8>) -> Int {
    let common = min(a.count, b.count)
    if common > 0 {
      let order = memcmp(a.baseAddress!, b.baseAddress!, common)
      if order != 0 { return Int(order) }
    }
    return a.count - b.count
  }

  static func compareDirectories(_ a: Bytes, _ b: Bytes) -> Int {
    a.withUnsafeBufferPointer { a in b.withUnsafeBufferPointer { b in compareDirectories(a, b) } }
  }

  /// Of two whole paths.
  static func compare(_ a: Bytes, _ b: Bytes) -> Int {
    let (ap, an) = a.splitAtName
    let (bp, bn) = b.splitAtName
    let parents = compareDirectories(ap, bp)
    if parents != 0 { return parents }
    return an.withUnsafeBufferPointer { a in bn.withUnsafeBufferPointer { b in compareNames(a, b) } }
  }
}
