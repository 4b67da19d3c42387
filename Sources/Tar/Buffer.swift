/// A run of raw memory that grows and is used again: what the hot paths read into, build in and write from.
import Glibc
import Posix

public final class Buffer: @unchecked Sendable {
  public private(set) var start: UnsafeMutableRawPointer
  public private(set) var capacity: Int
  public var count = 0

  public init(capacity: Int = 4096) {
    self.capacity = max(capacity, 64)
    start = malloc(self.capacity)!
  }

  deinit { free(start) }

  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }
  public var end: UnsafeMutableRawPointer { start + count }

  /// Makes room for `more` bytes after `count`.
  @inline(__always)
  public func reserve(_ more: Int) {
    if count + more > capacity { grow(more) }
  }

  private func grow(_ more: Int) {
    capacity = max(count + more, capacity + capacity / 2)
    start = realloc(start, capacity)!
  }

  @inline(__always)
  public func append(_ source: UnsafeRawPointer, _ length: Int) {
    reserve(length)
    memcpy(start + count, source, length)
    count += length
  }

  @inline(__always)
  public func append(_ byte: UInt8) {
    reserve(1)
    start.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
    count += 1
  }

  public func append(_ text: StaticString) { append(text.utf8Start, text.utf8CodeUnitCount) }

  public func append(_ more: Bytes) {
    more.withUnsafeBytes { if let base = $0.baseAddress { append(base, $0.count) } }
  }

  public func append(_ other: Buffer) { append(other.start, other.count) }

  public func append(text: String) {
    var text = text
    text.withUTF8 { if let base = $0.baseAddress { append(base, $0.count) } }
  }

  public func appendZeros(_ length: Int) {
    reserve(length)
    memset(start + count, 0, length)
    count += length
  }

  /// In base ten.
  public func append(decimal value: UInt64) {
    reserve(20)
    var digits = 1
    var rest = value
    while rest >= 10 {
      rest /= 10
      digits += 1
    }
    rest = value
    let base = (start + count).assumingMemoryBound(to: UInt8.self)
    var index = digits - 1
    while true {
      base[index] = UInt8(truncatingIfNeeded: rest % 10) &+ 48
      rest /= 10
      if index == 0 { break }
      index -= 1
    }
    count += digits
  }

  public func append(decimal value: Int64) {
    if value < 0 { append(UInt8(ascii: "-")) }
    append(decimal: value.magnitude)
  }

  /// `seconds.nanoseconds`, always nine digits after the point; the seconds are floored, so -4.5 s is `-5.500000000`.
  public func append(_ time: Timestamp) {
    append(decimal: time.seconds)
    reserve(10)
    let base = (start + count).assumingMemoryBound(to: UInt8.self)
    base[0] = UInt8(ascii: ".")
    var rest = UInt32(bitPattern: time.nanoseconds)
    var index = 9
    while index > 0 {
      base[index] = UInt8(truncatingIfNeeded: rest % 10) &+ 48
      rest /= 10
      index -= 1
    }
    count += 10
  }

  public func append(octal value: UInt64) {
    var shift = 63
    while shift > 0, (value >> UInt64(shift)) == 0 { shift -= 3 }
    while shift >= 0 {
      append(UInt8(truncatingIfNeeded: (value >> UInt64(shift)) & 7) &+ 48)
      shift -= 3
    }
  }

  public func append(hex bytes: UnsafeRawBufferPointer) {
    reserve(bytes.count * 2)
    let base = (start + count).assumingMemoryBound(to: UInt8.self)
    for (index, byte) in bytes.enumerated() {
      base[index * 2] = hexDigit(byte >> 4)
      base[index * 2 + 1] = hexDigit(byte & 15)
    }
    count += bytes.count * 2
  }
}

@inline(__always) private func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value &+ 48 : value &+ 87 }

extension Array where Element == UInt8 {
  public init(_ buffer: Buffer) { self = Bytes(buffer.bytes) }
}
