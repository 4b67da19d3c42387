/// Who owns what is restored: by name where this machine knows the name, else by number.
import Posix

public struct OwnerOptions: Sendable {
  /// Names are not looked at.
  public var isNumeric = false
  /// Whose files become whose: a saved name or number, and a number here. The first that fits counts.
  public var users: [(old: Bytes, new: UInt32)] = []
  public var groups: [(old: Bytes, new: UInt32)] = []

  public init() {}
}

struct Owners: Sendable {
  let options: OwnerOptions
  private let names = OwnerNames()

  init(_ options: OwnerOptions) { self.options = options }

  func user(of entry: Entry) -> UInt32 {
    find(entry.uid, entry.userName, options.users) { names.userID($0) }
  }

  func group(of entry: Entry) -> UInt32 {
    find(entry.gid, entry.groupName, options.groups) { names.groupID($0) }
  }

  private func find(
    _ number: UInt32, _ name: Bytes, _ map: [(old: Bytes, new: UInt32)], _ look: (Bytes) -> UInt32?
  ) -> UInt32 {
    if !map.isEmpty {
      let digits = Bytes(String(number).utf8)
      if let mapped = map.first(where: { $0.old == digits || (!name.isEmpty && $0.old == name) }) { return mapped.new }
    }
    if options.isNumeric || name.isEmpty { return number }
    return look(name) ?? number
  }
}
