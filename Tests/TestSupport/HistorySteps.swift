/// A step of a history: some edits, and choosing what they work on.
import Glibc
import Posix

extension History {
  private enum Edit: CaseIterable {
    case create, deleteFile, deleteDirectory, append, truncate, rewrite, rewriteHidden, patch, replace, changeMode
    case changeOwner, touch, renameFile, renameDirectory, renameOver, cycle, chain, invert, swapKind, retarget
    case addLink, dropLink, relink, setAttribute, removeAttribute, changeACL, changeLarge

    /// How often, compared with the others.
    var weight: Int {
      switch self {
      case .create: 6
      case .deleteFile, .append, .rewrite, .renameFile, .renameDirectory: 3
      case .rewriteHidden, .cycle, .chain, .swapKind, .addLink, .dropLink, .changeLarge: 2
      default: 1
      }
    }
  }

  private static let deck: [Edit] = Edit.allCases.flatMap { Array(repeating: $0, count: $0.weight) }

  /// Edits the tree, one to eight times where not said how often, and says what was done, a line for each edit.
  public mutating func step(edits: Int? = nil) throws(SystemError) -> [String] {
    steps += 1
    let wanted = edits ?? random.number(in: 1...8)
    var lines: [String] = []
    // An edit may find nothing to work on; with nothing but an empty root left, `create` still does.
    for _ in 0..<wanted * 50 where lines.count < wanted {
      if let line = try perform(random.pick(Self.deck)) { lines.append(line) }
    }
    return lines
  }

  private mutating func perform(_ edit: Edit) throws(SystemError) -> String? {
    switch edit {
    case .create: try create()
    case .deleteFile: try deleteFile()
    case .deleteDirectory: try deleteDirectory()
    case .append: try append()
    case .truncate: try truncate()
    case .rewrite: try rewrite()
    case .rewriteHidden: try rewriteHidden()
    case .patch: try patch()
    case .replace: try replace()
    case .changeMode: try changeMode()
    case .changeOwner: try changeOwner()
    case .touch: try touch()
    case .renameFile: try renameFile()
    case .renameDirectory: try renameDirectory()
    case .renameOver: try renameOver()
    case .cycle: try cycle()
    case .chain: try chain()
    case .invert: try invert()
    case .swapKind: try swapKind()
    case .retarget: try retarget()
    case .addLink: try addLink()
    case .dropLink: try dropLink()
    case .relink: try relink()
    case .setAttribute: try setAttribute()
    case .removeAttribute: try removeAttribute()
    case .changeACL: try changeACL()
    case .changeLarge: try changeLarge()
    }
  }

  // MARK: Choosing

  mutating func pick(where wanted: (Item) -> Bool) throws(SystemError) -> Item? {
    let items = try scan().filter(wanted)
    return items.isEmpty ? nil : random.pick(items)
  }

  mutating func pickFile() throws(SystemError) -> Item? { try pick { $0.kind == .file } }

  /// A directory for something new, the root included: none so deep that paths grow without end.
  mutating func pickDirectory(outside avoided: Bytes? = nil, maximumDepth: Int = 8) throws(SystemError) -> Bytes {
    let paths = try scan().filter { item in
      item.kind == .directory && item.depth < maximumDepth && avoided.map { !item.path.isAtOrBelow($0) } ?? true
    }.map(\.path)
    return random.pick([[]] + paths)
  }

  /// A name that is not in use in this directory.
  mutating func freshName(in directory: Bytes) throws(SystemError) -> Bytes {
    let parent = try self.directory(directory)
    var number = 0
    while true {
      let name = number < 20 ? random.name() : Bytes("new-\(number)".utf8)
      if name.withCString({ parent.status(of: $0) }) == nil { return name }
      number += 1
    }
  }

  /// Two or three of a kind, none within another.
  mutating func pickUnrelated() throws(SystemError) -> [Item]? {
    let directories = random.once(in: 2)
    let items = try scan().filter { ($0.kind == .directory) == directories }
    var picked: [Item] = []
    for item in random.pick(items.count, of: items) where picked.count < 3 {
      let related = picked.contains { $0.path.isAtOrBelow(item.path) || item.path.isAtOrBelow($0.path) }
      if !related { picked.append(item) }
    }
    if picked.count == 3, random.once(in: 2) { picked.removeLast() }
    return picked.count < 2 ? nil : picked
  }

  func open(_ item: Item, _ flags: Descriptor.Flags) throws(SystemError) -> Descriptor {
    try root.openBeneath(item.path, flags)
  }

  func move(_ from: Bytes, _ to: Bytes) throws(SystemError) {
    let target = try directory(to.splitAtName.parent)
    try directory(from.splitAtName.parent).rename(from.splitAtName.name, to: to.splitAtName.name, in: target)
  }
}
