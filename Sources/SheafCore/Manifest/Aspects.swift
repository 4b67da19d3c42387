/// In what two states of one path differ.
import Posix
import Tar

public struct Aspects: OptionSet, Sendable {
  public private(set) var rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// One is a file, the other a directory, and the like; nothing else is told then.
  public static let type = Aspects(rawValue: 1)
  public static let content = Aspects(rawValue: 2)
  /// A symbolic link's target, or which file it is another name of.
  public static let link = Aspects(rawValue: 4)
  /// A device's numbers.
  public static let device = Aspects(rawValue: 8)
  public static let mode = Aspects(rawValue: 16)
  /// The owner's or the group's number or name.
  public static let owner = Aspects(rawValue: 32)
  /// When it was modified.
  public static let time = Aspects(rawValue: 64)
  public static let attributes = Aspects(rawValue: 128)
  public static let acl = Aspects(rawValue: 256)

  private static let names: [(Aspects, String)] = [
    (.type, "type"), (.content, "content"), (.link, "link"), (.device, "device"), (.mode, "mode"), (.owner, "owner"),
    (.time, "time"), (.attributes, "xattr"), (.acl, "acl"),
  ]

  /// The words for them, as the manual has them.
  public var words: [String] { Self.names.filter { contains($0.0) }.map(\.1) }

  /// Where holes lie is no difference. Contents are the same where both digests are, or where one is not known.
  public init(from old: Entry, to new: Entry) {
    self = []
    guard old.kind == new.kind else {
      self = .type
      return
    }
    let isOtherDigest = old.digest != nil && new.digest != nil && old.digest != new.digest
    insert(.content, old.size != new.size || isOtherDigest)
    insert(.link, old.linkTarget != new.linkTarget || old.hardLink != new.hardLink)
    insert(.device, old.major != new.major || old.minor != new.minor)
    // A symbolic link has no mode of its own.
    insert(.mode, old.kind != .symlink && old.mode != new.mode)
    insert(
      .owner,
      old.uid != new.uid || old.gid != new.gid || old.userName != new.userName || old.groupName != new.groupName)
    insert(.time, old.modified != new.modified)
    insert(.attributes, old.attributes.filter { !$0.isACL } != new.attributes.filter { !$0.isACL })
    insert(.acl, old.attributes.filter(\.isACL) != new.attributes.filter(\.isACL))
  }

  /// Without which of a file's names is the first, which is nothing of the file's own.
  func ofItsOwn(_ kind: FileKind) -> Aspects { kind == .file ? subtracting(.link) : self }

  private mutating func insert(_ aspect: Aspects, _ holds: Bool) { if holds { formUnion(aspect) } }
}

extension Entry {
  /// Whether the contents differ from the older state's although nobody wrote them, as far as size and time tell: one
  /// of the two may have rotted.
  func isSuspectedRot(since old: Entry) -> Bool {
    kind == .file && old.kind == .file && size == old.size && modified == old.modified && digest != nil
      && old.digest != nil && digest != old.digest
  }
}

extension Attribute {
  /// Given by the system, by rules of its own.
  var isOfSecurity: Bool { name.starts(with: Bytes("security.")) }
  /// A POSIX ACL, as the kernel keeps it.
  var isACL: Bool { name == Bytes("system.posix_acl_access") || name == Bytes("system.posix_acl_default") }
}
