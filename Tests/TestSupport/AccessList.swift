/// The kernel's binary forms of what tests set as extended attributes: access control lists and capabilities.
import Posix

/// A POSIX access control list, as in `setfacl -m u:1000:rwx,g:50:r`.
public struct AccessList: Sendable {
  public var owner: UInt16
  public var users: [UInt32: UInt16]
  public var group: UInt16
  public var groups: [UInt32: UInt16]
  /// Becomes the group bits of the file's mode.
  public var mask: UInt16
  public var other: UInt16

  /// Permissions are 0 to 7.
  public init(
    owner: UInt16 = 6, users: [UInt32: UInt16] = [:], group: UInt16 = 4, groups: [UInt32: UInt16] = [:],
    mask: UInt16 = 7, other: UInt16 = 4
  ) {
    self.owner = owner
    self.users = users
    self.group = group
    self.groups = groups
    self.mask = mask
    self.other = other
  }

  /// The value of `system.posix_acl_access` and `system.posix_acl_default`.
  public var value: Bytes {
    var bytes: Bytes = [2, 0, 0, 0]
    func add(_ tag: UInt16, _ permissions: UInt16, _ id: UInt32 = .max) {
      for part in [tag, permissions] { bytes += [UInt8(part & 0xff), UInt8(part >> 8)] }
      for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(id >> shift & 0xff)) }
    }
    // The kernel wants them by tag, then by number.
    add(0x01, owner)
    for (id, permissions) in users.sorted(by: { $0.key < $1.key }) { add(0x02, permissions, id) }
    add(0x04, group)
    for (id, permissions) in groups.sorted(by: { $0.key < $1.key }) { add(0x08, permissions, id) }
    add(0x10, mask)
    add(0x20, other)
    return bytes
  }
}

extension Attribute {
  public init(_ name: Raw, _ value: Raw) { self.init(name: name.bytes, value: value.bytes) }

  public static func acl(_ list: AccessList) -> Attribute { Attribute("system.posix_acl_access", Raw(list.value)) }
  public static func defaultACL(_ list: AccessList) -> Attribute {
    Attribute("system.posix_acl_default", Raw(list.value))
  }

  /// `security.capability` with these permitted and effective, as `setcap` makes it: 13 is `cap_net_raw`.
  public static func capability(_ numbers: UInt32...) -> Attribute {
    var bytes: Bytes = [1, 0, 0, 2]
    for word in 0..<UInt32(2) {
      let permitted = numbers.filter { $0 / 32 == word }.reduce(UInt32(0)) { $0 | 1 << ($1 % 32) }
      for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(permitted >> shift & 0xff)) }
      bytes += [0, 0, 0, 0]
    }
    return Attribute("security.capability", Raw(bytes))
  }
}
