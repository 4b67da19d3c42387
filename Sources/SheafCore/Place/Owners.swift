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

/// Which owners that were to become others had anything that was restored.
final class OwnerUse: Sendable {
  private let options: OwnerOptions
  private let used = Monitor<(users: Set<Int>, groups: Set<Int>)>(([], []))
  let isEmpty: Bool

  init(_ options: OwnerOptions) {
    self.options = options
    isEmpty = options.users.isEmpty && options.groups.isEmpty
  }

  func note(_ entry: Entry) {
    if isEmpty { return }
    func find(_ number: UInt32, _ name: Bytes, _ map: [(old: Bytes, new: UInt32)]) -> Int? {
      let digits = Bytes(String(number).utf8)
      return map.firstIndex { $0.old == digits || (!name.isEmpty && $0.old == name) }
    }
    used.look { used in
      if let user = find(entry.uid, entry.userName, options.users) { used.users.insert(user) }
      if let group = find(entry.gid, entry.groupName, options.groups) { used.groups.insert(group) }
    }
  }

  /// In words.
  var unused: [String] {
    let used = used.look { $0 }
    func words(_ option: String, _ map: [(old: Bytes, new: UInt32)], _ used: Set<Int>) -> [String] {
      map.indices.filter { !used.contains($0) }.map {
        "\(option): nothing that is restored belongs to '\(Show.path(map[$0].old))'"
      }
    }
    return words("--owner-map", options.users, used.users) + words("--group-map", options.groups, used.groups)
  }
}
