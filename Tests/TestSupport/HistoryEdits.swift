/// The edits of a history that change what files are and hold.
import Glibc
import Posix

extension History {
  mutating func create() throws(SystemError) -> String? {
    let parent = try pickDirectory()
    let name = try freshName(in: parent)
    let node: Node
    if random.once(in: 4) {
      var children: [Raw: Node] = [:]
      for _ in 0..<random.below(4) { children[Raw(random.name())] = file() }
      node = decorated(.directory(children))
    } else {
      node = file()
    }
    try node.make(name, in: try directory(parent))
    return "create \(parent.joined(name).quoted)"
  }

  /// What a command is to print from now on. Chance is drawn from elsewhere, so that the tree's own edits stay the same.
  public func changeOutput(_ file: Bytes, _ random: inout Random) throws(SystemError) {
    let size = max(1, random.size())
    let output = try Descriptor.open(file, [.write, .create, .truncate])
    try random.contents(size: size).write(to: output, at: 0)
    if random.once(in: 2) { try output.truncate(to: size) }
  }

  mutating func deleteFile() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind != .directory }) else { return nil }
    try directory(item.parent).removeFile(item.name)
    return "delete \(item.shown)"
  }

  /// Never the better part of the tree: something must be left for the next steps.
  mutating func deleteDirectory() throws(SystemError) -> String? {
    let items = try scan()
    let small = items.filter { item in
      item.kind == .directory && items.count { $0.path.isAtOrBelow(item.path) } <= max(1, items.count / 4)
    }
    if small.isEmpty { return nil }
    let item = random.pick(small)
    try directory(item.parent).removeTree(item.name)
    return "delete directory \(item.shown)"
  }

  mutating func append() throws(SystemError) -> String? {
    guard let item = try pickFile() else { return nil }
    let count = max(1, random.size())
    try random.contents(size: count).write(to: try open(item, .write), at: item.status.size)
    return "append \(count) bytes to \(item.shown)"
  }

  /// Also to more than it was: the rest is a hole.
  mutating func truncate() throws(SystemError) -> String? {
    guard let item = try pickFile() else { return nil }
    let grown = Int64(random.number(in: 1...1_000_000))
    let size = random.once(in: 3) ? item.status.size + grown : Int64(random.below(Int(item.status.size) + 1))
    try open(item, .write).truncate(to: size)
    return "set the size of \(item.shown) to \(size)"
  }

  mutating func rewrite() throws(SystemError) -> String? {
    guard let item = try pickFile() else { return nil }
    let size = random.size()
    try random.contents(size: size).write(to: try open(item, [.write, .truncate]), at: 0)
    return "rewrite \(item.shown) with \(size) bytes"
  }

  /// Size and modification time stay: only the contents and the change time tell.
  mutating func rewriteHidden() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind == .file && $0.status.size > 0 }) else { return nil }
    let file = try open(item, .write)
    try random.contents(size: min(item.status.size, 100_000)).write(to: file, at: 0)
    try file.setModified(item.status.modified)
    return "rewrite \(item.shown) with its size and mtime kept"
  }

  mutating func patch() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind == .file && $0.status.size > 0 }) else { return nil }
    let offset = Int64(random.below(Int(item.status.size)))
    let count = min(Int64(random.number(in: 1...64)), item.status.size - offset)
    let source = FileSpec.Source.generated(count: count, seed: random.next(), .incompressible)
    try source.write(to: try open(item, .write), at: offset)
    return "overwrite \(count) bytes at \(offset) in \(item.shown)"
  }

  /// As editors save: a new file takes the name. Half the time it has the old one's size and time.
  mutating func replace() throws(SystemError) -> String? {
    guard let item = try pickFile() else { return nil }
    let alike = random.once(in: 2)
    let size = alike ? min(item.status.size, 3_000_000) : random.size()
    var node = Node(.file(FileSpec(random.contents(size: size))))
    node.mode = item.status.mode
    if alike { node.modified = item.status.modified }
    let parent = try directory(item.parent)
    try node.make(Self.temporary, in: parent)
    try parent.rename(Self.temporary, to: item.name)
    return "replace \(item.shown) by a new file of \(size) bytes" + (alike ? " and the same mtime" : "")
  }

  /// Of the names that edits use in between; gone when they are done.
  static let temporary = Bytes(".history-in-between")

  mutating func changeMode() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind != .symlink }) else { return nil }
    let mode = allowed(random.mode(), isDirectory: item.kind == .directory)
    try directory(item.parent).setMode(item.name, mode)
    return "chmod 0\(String(mode, radix: 8)) \(item.shown)"
  }

  mutating func changeOwner() throws(SystemError) -> String? {
    guard privileged, let item = try pick(where: { _ in true }) else { return nil }
    let owner = random.owner()
    try directory(item.parent).setOwner(item.name, uid: owner.uid, gid: owner.gid)
    return "chown \(owner.uid):\(owner.gid) \(item.shown)"
  }

  mutating func touch() throws(SystemError) -> String? {
    guard let item = try pick(where: { _ in true }) else { return nil }
    let time = random.time()
    try directory(item.parent).setModified(item.name, time)
    return "touch \(item.shown) to \(time.shown)"
  }

  /// The name stays, what it names becomes another kind: file, directory, symbolic link, FIFO.
  mutating func swapKind() throws(SystemError) -> String? {
    let items = try scan()
    let small = items.filter { item in items.count { $0.path.isAtOrBelow(item.path) } <= max(1, items.count / 4) }
    if small.isEmpty { return nil }
    let item = random.pick(small)
    let kinds: [FileKind] = [.file, .directory, .symlink, .fifo].filter { $0 != item.kind }
    let kind = random.pick(kinds)
    let node: Node
    switch kind {
    case .file: node = Node(.file(FileSpec(random.contents(size: 700))))
    case .directory: node = .directory([Raw(random.name()): file()])
    case .symlink: node = .symlink(Raw(random.linkTarget()))
    default: node = .fifo
    }
    let parent = try directory(item.parent)
    try parent.removeTree(item.name)
    try decorated(node).make(item.name, in: parent)
    return "turn \(item.shown) from a \(item.kind) into a \(kind)"
  }

  mutating func retarget() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind == .symlink }) else { return nil }
    let target = random.linkTarget()
    let parent = try directory(item.parent)
    try parent.removeFile(item.name)
    try parent.makeSymlink(item.name, to: target)
    return "point \(item.shown) to \(target.quoted)"
  }

  /// All but the contents of a file above 1 MiB.
  mutating func changeLarge() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind == .file && $0.status.size > 1 << 20 }) else { return nil }
    let file = try open(item, .read)
    switch random.below(4) {
    case 0: try file.setMode(allowed(random.mode(), isDirectory: false))
    case 1: try file.setModified(random.time())
    case 2 where privileged:
      let owner = random.owner()
      try file.setOwner(uid: owner.uid, gid: owner.gid)
    default: try file.setAttribute(.acl(random.accessList()))
    }
    return "change something about \(item.shown), not its contents"
  }

  mutating func setAttribute() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind == .file || $0.kind == .directory }) else { return nil }
    var attribute = random.attribute(trusted: privileged)
    if privileged, item.kind == .file, random.once(in: 6) { attribute = .capability(UInt32(random.below(38))) }
    do { try open(item, .read).setAttribute(attribute) } catch {
      // Some file systems have room for a block of them only.
      if error.isFull { return nil }
      throw error
    }
    return "set attribute \(attribute.name.quoted) of \(item.shown) to \(attribute.value.count) bytes"
  }

  mutating func removeAttribute() throws(SystemError) -> String? {
    let items = try scan().filter { $0.kind == .file || $0.kind == .directory }
    var all: [(Item, Attribute)] = []
    for item in items {
      for attribute in try open(item, .read).attributes() where !attribute.name.starts(with: Bytes("security.s")) {
        all.append((item, attribute))
      }
    }
    if all.isEmpty { return nil }
    let (item, attribute) = random.pick(all)
    try open(item, .read).removeAttribute(attribute.name)
    return "remove attribute \(attribute.name.quoted) of \(item.shown)"
  }

  mutating func changeACL() throws(SystemError) -> String? {
    let directories = privileged
    let item = try pick { $0.kind == .file || ($0.kind == .directory && directories) }
    guard let item else { return nil }
    let forNew = item.kind == .directory && random.once(in: 2)
    let list = random.accessList()
    try open(item, .read).setAttribute(forNew ? .defaultACL(list) : .acl(list))
    return "set the \(forNew ? "default " : "")access list of \(item.shown)"
  }
}
