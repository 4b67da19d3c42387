/// The edits of a history that change names: renames of every shape, and hard links.
import Glibc
import Posix

extension History {
  mutating func renameFile() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind != .directory }) else { return nil }
    let parent = random.once(in: 2) ? item.parent : try pickDirectory()
    let path = parent.joined(try freshName(in: parent))
    try move(item.path, path)
    return "rename \(item.shown) to \(path.quoted)"
  }

  /// With all in it; often something in it is changed as well, and sometimes a new one takes the old name.
  mutating func renameDirectory() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind == .directory }) else { return nil }
    let below = try scan().filter { $0.path.isAtOrBelow(item.path) }
    let height = (below.map(\.depth).max() ?? item.depth) - item.depth
    let parent =
      random.once(in: 2) ? item.parent : try pickDirectory(outside: item.path, maximumDepth: max(0, 9 - height))
    let path = parent.joined(try freshName(in: parent))
    try move(item.path, path)
    var line = "rename directory \(item.shown) to \(path.quoted)"
    let files = below.filter { $0.kind == .file }
    if !files.isEmpty, random.once(in: 2) {
      let file = random.pick(files).path
      let moved = path + file.dropFirst(item.path.count)
      let descriptor = try root.openBeneath(moved, .write)
      let size = try descriptor.status().size
      try random.contents(size: 100).write(to: descriptor, at: size)
      line += ", append 100 bytes to \(moved.quoted)"
    }
    if random.once(in: 4) {
      let child = Raw(random.name())
      try Node.directory([child: file()]).make(item.name, in: try directory(item.parent))
      line += ", make a new \(item.shown)"
    }
    return line
  }

  /// A file takes the name of another, which is gone then.
  mutating func renameOver() throws(SystemError) -> String? {
    let files = random.pick(2, of: try scan().filter { $0.kind != .directory })
    // Between two names of one file, a rename does nothing.
    guard files.count == 2, files[0].status.inode != files[1].status.inode else { return nil }
    try move(files[0].path, files[1].path)
    return "rename \(files[0].shown) over \(files[1].shown)"
  }

  /// Each takes the name of the next, the last that of the first.
  mutating func cycle() throws(SystemError) -> String? {
    guard let items = try pickUnrelated(), let last = items.last else { return nil }
    let aside = last.parent.joined(Self.temporary)
    try move(last.path, aside)
    for index in items.indices.dropLast().reversed() { try move(items[index].path, items[index + 1].path) }
    try move(aside, items[0].path)
    return "rename in a circle " + (items.map(\.shown) + [items[0].shown]).joined(separator: " to ")
  }

  /// Each takes the name of the next, the last a new one.
  mutating func chain() throws(SystemError) -> String? {
    guard let items = try pickUnrelated(), let last = items.last else { return nil }
    let end = last.parent.joined(try freshName(in: last.parent))
    try move(last.path, end)
    for index in items.indices.dropLast().reversed() { try move(items[index].path, items[index + 1].path) }
    return "rename in a chain " + (items.map(\.shown) + [end.quoted]).joined(separator: " to ")
  }

  /// A directory and one within it change places: `a/b` becomes `a`, with the old `a` in it as `b`.
  mutating func invert() throws(SystemError) -> String? {
    guard let inner = try pick(where: { $0.kind == .directory && !$0.parent.isEmpty }) else { return nil }
    let outer = inner.parent
    let aside = outer.splitAtName.parent.joined(Self.temporary)
    let old = aside.joined(inner.name)
    // Its own name may be in use within it.
    let (parent, name) = old.splitAtName
    try move(inner.path, aside)
    guard name.withCString({ try? directory(parent).status(of: $0) }) == nil else {
      try move(aside, inner.path)
      return nil
    }
    try move(outer, old)
    try move(aside, outer)
    return "turn \(inner.shown) inside out"
  }

  // MARK: Hard links

  mutating func addLink() throws(SystemError) -> String? {
    // Of symbolic links and FIFOs, too, as they may have several names like any file.
    let kinds: [FileKind] = random.once(in: 5) ? [.symlink, .fifo, .characterDevice] : [.file]
    guard let item = try pick(where: { kinds.contains($0.kind) }) else { return nil }
    let parent = try pickDirectory()
    let name = try freshName(in: parent)
    try directory(item.parent).makeHardLink(of: item.name, as: name, in: try directory(parent))
    return "give \(item.shown) the second name \(parent.joined(name).quoted)"
  }

  mutating func dropLink() throws(SystemError) -> String? {
    guard let item = try pick(where: { $0.kind != .directory && $0.status.links > 1 }) else { return nil }
    try directory(item.parent).removeFile(item.name)
    return "delete \(item.shown), one of \(item.status.links) names"
  }

  /// A name that was a file of its own becomes one more name of another.
  mutating func relink() throws(SystemError) -> String? {
    let files = random.pick(2, of: try scan().filter { $0.kind == .file })
    guard files.count == 2, files[0].status.inode != files[1].status.inode else { return nil }
    let parent = try directory(files[1].parent)
    try directory(files[0].parent).makeHardLink(of: files[0].name, as: Self.temporary, in: parent)
    try parent.rename(Self.temporary, to: files[1].name)
    return "make \(files[1].shown) another name of \(files[0].shown)"
  }
}
