/// Paths and names as the bytes the kernel takes and gives; never text.
import Glibc

/// A path, a name or any other run of bytes. A path holds no NUL; a name holds neither NUL nor `/`.
public typealias Bytes = [UInt8]

extension Array where Element == UInt8 {
  /// The bytes of a text, UTF-8.
  public init(_ text: StaticString) {
    self = Array(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// A copy of `count` bytes at `start`.
  @inlinable public init(copying start: UnsafePointer<UInt8>, count: Int) {
    self = Array(UnsafeBufferPointer(start: start, count: count))
  }

  /// A copy of a C string's bytes, without the NUL.
  public init(cString start: UnsafePointer<CChar>) {
    let length = strlen(start)
    self = start.withMemoryRebound(to: UInt8.self, capacity: length) { Array(copying: $0, count: length) }
  }

  /// Calls `body` with the bytes as a C string.
  @inlinable public func withCString<R, E: Error>(_ body: (UnsafePointer<CChar>) throws(E) -> R) throws(E) -> R {
    var terminated = self
    terminated.append(0)
    var result: Result<R, E>?
    terminated.withUnsafeBufferPointer { buffer in
      buffer.baseAddress!.withMemoryRebound(to: CChar.self, capacity: buffer.count) { text in
        do throws(E) { result = .success(try body(text)) } catch { result = .failure(error) }
      }
    }
    return try result!.get()
  }

  /// `self/name`; the name alone where `self` is empty.
  public func joined(_ name: Bytes) -> Bytes {
    if isEmpty { return name }
    var path = Bytes()
    path.reserveCapacity(count + 1 + name.count)
    path += self
    path.append(UInt8(ascii: "/"))
    path += name
    return path
  }

  /// What stands before the last `/` (empty where there is none), and what stands after it.
  public var splitAtName: (parent: Bytes, name: Bytes) {
    guard let slash = lastIndex(of: UInt8(ascii: "/")) else { return ([], self) }
    return (Bytes(self[..<slash]), Bytes(self[(slash + 1)...]))
  }

  /// Whether `self` is `directory` or lies below it; everything lies below the empty path.
  public func isAtOrBelow(_ directory: Bytes) -> Bool {
    if directory.isEmpty { return true }
    guard count >= directory.count, starts(with: directory) else { return false }
    return count == directory.count || self[directory.count] == UInt8(ascii: "/")
  }

  /// How many bytes both begin with.
  public func commonPrefix(with other: Bytes) -> Int {
    withUnsafeBufferPointer { a in
      other.withUnsafeBufferPointer { b in
        let limit = Swift.min(a.count, b.count)
        var count = 0
        while count < limit, a[count] == b[count] { count += 1 }
        return count
      }
    }
  }

  /// Whether `part` stands anywhere in it.
  public func holds(_ part: Bytes) -> Bool {
    guard !part.isEmpty, count >= part.count else { return part.isEmpty }
    return (0...(count - part.count)).contains { self[$0...].starts(with: part) }
  }

  public func hasSuffix(_ ending: StaticString) -> Bool {
    count >= ending.utf8CodeUnitCount && self[(count - ending.utf8CodeUnitCount)...].elementsEqual(Bytes(ending))
  }

  /// For showing only: invalid UTF-8 becomes U+FFFD.
  public var shown: String { String(decoding: self, as: UTF8.self) }

  /// Lower-case hexadecimal.
  public var hex: String {
    func digit(_ value: UInt8) -> UInt8 { value < 10 ? value &+ 48 : value &+ 87 }
    return String(unsafeUninitializedCapacity: count * 2) { text in
      for (index, byte) in enumerated() {
        text[index * 2] = digit(byte >> 4)
        text[index * 2 + 1] = digit(byte & 15)
      }
      return count * 2
    }
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// As `elementsEqual`, many bytes at a time: memcmp(3).
  @inlinable public func isSame(as other: Bytes) -> Bool {
    count == other.count
      && (count == 0 || other.withUnsafeBufferPointer { memcmp(baseAddress!, $0.baseAddress!, count) == 0 })
  }

  @inlinable public func isSame(as other: UnsafeBufferPointer<UInt8>) -> Bool {
    count == other.count && (count == 0 || memcmp(baseAddress!, other.baseAddress!, count) == 0)
  }
}
