/// POSIX ACLs between the kernel's attribute (acl(5), `linux/posix_acl_xattr.h`: version 2, then tag, permissions and
/// id of each entry, little-endian) and the text that tar carries (`SCHILY.acl.*`), with numbers for names.
import Posix

struct ACLText {
  let isDefault: Bool
  let text: Bytes

  private static let access = Bytes("system.posix_acl_access")
  private static let `default` = Bytes("system.posix_acl_default")

  /// nil where the attribute is no ACL, or not one this can read.
  init?(_ attribute: Attribute) {
    guard attribute.name == Self.access || attribute.name == Self.default else { return nil }
    isDefault = attribute.name == Self.default
    let value = attribute.value
    func number(_ at: Int, _ bytes: Int) -> UInt32 {
      (0..<bytes).reduce(0) { $0 | UInt32(value[at + $1]) << UInt32(8 * $1) }
    }
    guard value.count >= 4, (value.count - 4) % 8 == 0, number(0, 4) == 2 else { return nil }
    var entries: [String] = []
    for at in stride(from: 4, to: value.count, by: 8) {
      let id = number(at + 4, 4)
      let who: String
      switch number(at, 2) {
      case 0x01: who = "user:"
      case 0x02: who = "user:\(id)"
      case 0x04: who = "group:"
      case 0x08: who = "group:\(id)"
      case 0x10: who = "mask:"
      case 0x20: who = "other:"
      default: return nil
      }
      let bits = number(at + 2, 2)
      entries.append("\(who):\(bits & 4 != 0 ? "r" : "-")\(bits & 2 != 0 ? "w" : "-")\(bits & 1 != 0 ? "x" : "-")")
    }
    text = Bytes(entries.joined(separator: ",").utf8)
  }

  /// The attribute that a text stands for; nil where it does not parse.
  static func attribute(text: Bytes, isDefault: Bool) -> Attribute? {
    var value: Bytes = [2, 0, 0, 0]
    func put(_ number: UInt32, _ bytes: Int) {
      for i in 0..<bytes { value.append(UInt8(truncatingIfNeeded: number >> UInt32(8 * i))) }
    }
    for entry in text.split(whereSeparator: { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\n") }) {
      let fields = entry.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
      guard fields.count == 3 else { return nil }
      let id = fields[1].isEmpty ? nil : UInt32(String(decoding: fields[1], as: UTF8.self))
      if !fields[1].isEmpty, id == nil { return nil }
      let tag: UInt32
      switch String(decoding: fields[0], as: UTF8.self) {
      case "user": tag = id == nil ? 0x01 : 0x02
      case "group": tag = id == nil ? 0x04 : 0x08
      case "mask": tag = 0x10
      case "other": tag = 0x20
      default: return nil
      }
      put(tag, 2)
      put(
        fields[2].reduce(0) {
          $0 | ($1 == UInt8(ascii: "r") ? 4 : $1 == UInt8(ascii: "w") ? 2 : $1 == UInt8(ascii: "x") ? 1 : 0)
        }, 2)
      put(id ?? .max, 4)
    }
    return Attribute(name: isDefault ? Self.default : Self.access, value: value)
  }
}
