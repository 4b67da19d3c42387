/// The life of a directory: a random tree of every kind of file, and random edits of it, all from one seed.
import Glibc
import Posix

/// The same seed gives the same tree and the same edits, for the same rights. What the kernel chooses (inode numbers,
/// the times of what is not given a time) differs.
public struct History {
  public let seed: UInt64
  /// Whether it may do what only root may: other owners, devices, `trusted` attributes, capabilities, files that their
  /// owner cannot read.
  public let privileged: Bool
  /// How many names a new tree has, about.
  public var size: Int
  public internal(set) var steps = 0

  var random: Random
  var root: Descriptor!

  public init(seed: UInt64, privileged: Bool = Scratch.allowsEverything, size: Int = 80) {
    self.seed = seed
    self.privileged = privileged
    self.size = size
    random = Random(seed: seed)
  }

  /// A history that says its seed, taken from `SHEAF_SEED` where that is set.
  public init(label: String, privileged: Bool = Scratch.allowsEverything, size: Int = 80) {
    self.init(seed: Random(label: label).seed, privileged: privileged, size: size)
  }

  /// Makes the first tree at `path`, a directory that is new or empty.
  public mutating func make(at path: Bytes) throws(SystemError) {
    // The rights to work in it as whoever this is, whatever the tree says later.
    try tree().make(at: path)
    root = try Descriptor.open(path, [.read, .directory])
    for _ in 0..<max(2, size / 15) { _ = try addLink() }
    // Making the links has set the times of some directories to now.
    for item in try scan() where item.status.kind == .directory && random.once(in: 2) {
      try root.openBeneath(item.path, [.read, .directory]).setModified(random.time())
    }
  }

  /// The first tree as data, without its hard links.
  public mutating func tree() -> TestTree {
    var left = size
    var children: [Raw: Node] = [:]
    while left > 0 {
      children[Raw(random.name())] = node(&left, depth: 1)
    }
    // One of each kind that chance may have left out.
    children["every-file"] = decorated(.file("text\n"))
    children["every-empty-file"] = decorated(.file())
    children["every-empty-directory"] = decorated(.directory())
    children["every-sparse"] = decorated(random.sparse())
    children["every-large"] = decorated(.file(size: 1_100_000, seed: seed))
    children["every-symlink"] = decorated(.symlink("every-file"))
    children["every-fifo"] = decorated(.fifo)
    children["every-acl"] = .file("acl\n").acl(random.accessList())
    if privileged {
      children["every-character-device"] = decorated(.characterDevice(1, 3))
      children["every-block-device"] = decorated(.blockDevice(259, 70_000))
      children["every-capability"] = .file("program").mode(0o755).attribute(.capability(10, 13))
    }
    return TestTree(.directory(children))
  }

  /// Any file but a hard link; directories with things in them down to some depth.
  private mutating func node(_ left: inout Int, depth: Int) -> Node {
    left -= 1
    guard random.once(in: 4), depth < 6 else { return file() }
    var children: [Raw: Node] = [:]
    for _ in 0..<random.pick([0, 1, 2, 5, 9]) where left > 0 {
      children[Raw(random.name())] = node(&left, depth: depth + 1)
    }
    return decorated(.directory(children))
  }

  /// Anything but a directory and a hard link.
  mutating func file() -> Node {
    switch random.below(20) {
    case 0, 1: return decorated(random.sparse())
    case 2, 3, 4: return decorated(.symlink(Raw(random.linkTarget())))
    case 5: return decorated(.fifo)
    case 6 where random.once(in: 3): return decorated(.socket)
    case 7 where privileged:
      let numbers: [(UInt32, UInt32)] = [(0, 0), (1, 3), (5, 1), (8, 0), (259, 1_048_575), (4095, 255)]
      let (major, minor) = random.pick(numbers)
      // `0, 0` as a character device is how overlayfs marks what was deleted, which some kernels then hide.
      if random.once(in: 2) || major == 0 { return decorated(.blockDevice(major, minor)) }
      return decorated(.characterDevice(major, minor))
    default:
      return decorated(Node(.file(FileSpec(random.contents(size: random.size())))))
    }
  }

  /// With mode, owner, time and attributes by chance.
  mutating func decorated(_ node: Node) -> Node {
    var node = node
    var isDirectory = false
    var isFile = false
    var isLink = false
    switch node.content {
    case .directory: isDirectory = true
    case .file: isFile = true
    case .symlink: isLink = true
    default: break
    }
    if random.once(in: 2) { node.mode = allowed(random.mode(), isDirectory: isDirectory) }
    if privileged, random.once(in: 3) { node.owner = random.owner() }
    if !random.once(in: 4) { node.modified = random.time() }
    if isFile || isDirectory, random.once(in: 6) {
      for _ in 0...random.below(2) { node.attributes.append(random.attribute(trusted: privileged)) }
    } else if isLink, privileged, random.once(in: 6) {
      node.attributes.append(Attribute("trusted.link", "of the link itself"))
    }
    if !isLink, random.once(in: 12) { node.attributes.append(.acl(random.accessList())) }
    if isDirectory, random.once(in: 10) { node.attributes.append(.defaultACL(random.accessList())) }
    if isDirectory, !privileged {
      // The owner's rights in a list are those of the mode: 6 would lock the owner out.
      node.attributes.removeAll { $0.name == Attribute.acl(AccessList()).name }
    }
    return node
  }

  /// A mode that leaves its owner able to read it and to work in it; root needs no mode for that.
  func allowed(_ mode: UInt16, isDirectory: Bool) -> UInt16 {
    privileged ? mode : mode | (isDirectory ? 0o700 : 0o600)
  }

  // MARK: What is there

  struct Item {
    var path: Bytes
    var status: Status

    var kind: FileKind { status.kind }
    var parent: Bytes { path.splitAtName.parent }
    var name: Bytes { path.splitAtName.name }
    var depth: Int { path.count { $0 == UInt8(ascii: "/") } + 1 }
    var shown: String { path.quoted }
  }

  /// Everything below the root, sorted by path, so that choices depend on nothing the kernel chooses.
  func scan() throws(SystemError) -> [Item] {
    // Seen once: a directory that is gone can be opened still, and then not be listed.
    guard try root.status().links > 0 else {
      throw SystemError("go on in (someone else removed it while the test ran)", root.path, ENOENT)
    }
    var items: [Item] = []
    var directories: [Bytes] = [[]]
    while let path = directories.popLast() {
      let directory = try root.openBeneath(path, [.read, .directory])
      for name in try directory.sortedNames() {
        let item = Item(path: path.joined(name), status: try directory.status(of: name))
        items.append(item)
        if item.kind == .directory { directories.append(item.path) }
      }
    }
    return items.sorted { $0.path.lexicographicallyPrecedes($1.path) }
  }

  func directory(_ path: Bytes) throws(SystemError) -> Descriptor { try root.openBeneath(path, [.read, .directory]) }
}
