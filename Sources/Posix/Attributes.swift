/// Extended attributes: of an open file by its descriptor, of a name in a directory by `/proc/self/fd`, the one way
/// to reach a symbolic link's own attributes without following it.
import CLinux
import Glibc

public struct Attribute: Equatable, Sendable {
  public var name: Bytes
  public var value: Bytes

  public init(name: Bytes, value: Bytes) {
    self.name = name
    self.value = value
  }
}

extension Descriptor {
  /// All attributes, sorted by name; none where the file system has no such thing.
  public func attributes() throws(SystemError) -> [Attribute] {
    try Self.attributes(path, list: { flistxattr(raw, $0, $1) }, get: { fgetxattr(raw, $0, $1, $2) })
  }

  /// Of a name in this directory, which is not followed.
  public func attributes(of name: Bytes) throws(SystemError) -> [Attribute] {
    let through = throughProc(name)
    return try Self.attributes(
      path.joined(name), list: { list, size in through.withCString { llistxattr($0, list, size) } },
      get: { key, value, size in through.withCString { lgetxattr($0, key, value, size) } })
  }

  public func setAttribute(_ attribute: Attribute) throws(SystemError) {
    let result = attribute.name.withCString { fsetxattr(raw, $0, attribute.value, attribute.value.count, 0) }
    if result != 0 { throw .last("set an attribute of", path) }
  }

  public func setAttribute(_ attribute: Attribute, of name: Bytes) throws(SystemError) {
    let through = throughProc(name)
    let result = attribute.name.withCString { key in
      through.withCString { lsetxattr($0, key, attribute.value, attribute.value.count, 0) }
    }
    if result != 0 { throw .last("set an attribute of", path.joined(name)) }
  }

  public func removeAttribute(_ attribute: Bytes) throws(SystemError) {
    if attribute.withCString({ fremovexattr(raw, $0) }) != 0 {
      throw .last("remove an attribute of", path)
    }
  }

  /// Of a name in this directory, which is not followed.
  public func removeAttribute(_ attribute: Bytes, of name: Bytes) throws(SystemError) {
    let through = throughProc(name)
    if attribute.withCString({ key in through.withCString { lremovexattr($0, key) } }) != 0 {
      throw .last("remove an attribute of", path.joined(name))
    }
  }

  private func throughProc(_ name: Bytes) -> Bytes { Bytes("/proc/self/fd/\(raw)/".utf8) + name }

  private static func attributes(
    _ path: Bytes, list: (UnsafeMutablePointer<CChar>?, Int) -> Int,
    get: (UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
  ) throws(SystemError) -> [Attribute] {
    // Most files have none: one call with a buffer on the stack finds that out.
    let isNone = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { list($0.baseAddress, 256) == 0 }
    if isNone { return [] }
    var names = Bytes()
    var capacity = 1024
    while true {
      var length = 0
      names = Bytes(unsafeUninitializedCapacity: capacity) { buffer, filled in
        length = buffer.withMemoryRebound(to: CChar.self) { list($0.baseAddress, capacity) }
        filled = max(length, 0)
      }
      if length == 0 { return [] }
      if length > 0 { break }
      switch errno {
      case ENOTSUP, ENOSYS: return []
      case ERANGE where capacity < 1 << 20: capacity *= 8
      default: throw .last("list the attributes of", path)
      }
    }
    var result: [Attribute] = []
    for name in names.split(separator: 0) {
      let name = Bytes(name)
      if let value = try value(path, name, get) { result.append(Attribute(name: name, value: value)) }
    }
    return result.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  /// nil where the attribute went away since it was listed.
  private static func value(
    _ path: Bytes, _ name: Bytes, _ get: (UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
  ) throws(SystemError) -> Bytes? {
    var capacity = 1024
    while true {
      var length = 0
      let value = Bytes(unsafeUninitializedCapacity: capacity) { buffer, filled in
        length = name.withCString { get($0, buffer.baseAddress, capacity) }
        filled = max(length, 0)
      }
      if length >= 0 { return value }
      switch errno {
      case ENODATA: return nil
      case ERANGE where capacity < 1 << 20: capacity *= 8
      default: throw .last("read an attribute of", path)
      }
    }
  }
}
