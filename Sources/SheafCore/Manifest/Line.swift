/// One line of a manifest, parsed where it lies: numbers at once, since every comparison needs them, the rest when
/// asked for. Pointers hold until the reader is asked for the next line.
import Glibc
import Posix
import Tar

struct Line {
  enum What { case entry, deleted, unseen }

  var what = What.entry
  /// The whole line, without the newline.
  var text = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// Decoded, without `./`.
  var path = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// Length of the parent directory's part of `path`; 0 where there is none.
  var parentLength = 0

  var kind = FileKind.file
  var mode: UInt16 = 0
  var uid: UInt32 = 0
  var gid: UInt32 = 0
  var size: Int64 = 0
  var modified = Timestamp(seconds: 0)
  var changed = Timestamp(seconds: 0)
  var inode: UInt64 = 0
  var links: UInt32 = 1
  /// Length of the canonical part.
  var canonicalLength = 0
  var mustReread = false
  /// It is the last good copy of what could not be looked at.
  var isCarried = false
  /// What older sets hold below this directory is of another one.
  var isFresh = false
  /// A directory that could not be listed, or not to its end.
  var isUnlisted = false
  /// A directory's line says which file system begins there.
  var hasFileSystem = false
  /// And no archive of its set's has it.
  var isElsewhere = false
  /// Mode, owner, time or attributes are not those of the tar entry whose contents it has.
  var isMetadataOnly = false
  var hasHardLink = false
  var hasHoles = false
  var major: UInt32 = 0
  var minor: UInt32 = 0
  /// Offsets in `text`; 0 where there is none.
  private var linkAt = 0
  private var linkEnd = 0
  private var digestAt = 0
  private var tagsAt = 0

  /// A directory whose tar entry tells more than other programs read.
  var isMarked: Bool { isUnlisted || hasFileSystem }
  var canonical: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: text.baseAddress, count: canonicalLength) }
  var parent: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(rebasing: path[..<parentLength]) }
  var name: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(rebasing: path[(parentLength == 0 ? 0 : parentLength + 1)...])
  }

  /// Parses an entry's line. `scratch` holds the path where it has to be decoded. False: malformed.
  mutating func parse(entry text: UnsafeBufferPointer<UInt8>, scratch: Buffer) -> Bool {
    self.text = text
    what = .entry
    let base = text.baseAddress!
    let end = base + text.count
    guard text.count > 2, base[0] == UInt8(ascii: "."), base[1] == UInt8(ascii: "/"),
      let space = memchr(base, 32, text.count).map({ $0.assumingMemoryBound(to: UInt8.self) })
    else { return false }
    guard setPath(UnsafeBufferPointer(start: base + 2, count: UnsafePointer(space) - base - 2), scratch) else {
      return false
    }
    var p = Cursor(at: UnsafePointer(space), end: end)
    guard p.skip(" type="), parseKind(&p), p.skip(" uid="), let uid = p.number(), p.skip(" gid="), let gid = p.number(),
      p.skip(" mode="), let mode = p.octal(), uid <= UInt64(UInt32.max), gid <= UInt64(UInt32.max), mode <= 0o7777
    else { return false }
    self.uid = UInt32(uid)
    self.gid = UInt32(gid)
    self.mode = UInt16(mode)
    size = 0
    if kind == .file {
      guard p.skip(" size="), let size = p.number(), size <= UInt64(Entry.sizeLimit) else { return false }
      self.size = Int64(size)
    }
    guard p.skip(" time="), let time = p.time() else { return false }
    modified = time
    linkAt = 0
    digestAt = 0
    major = 0
    minor = 0
    if kind == .symlink {
      guard p.skip(" link=") else { return false }
      linkAt = p.at - base
      while p.at < end, p.at.pointee != 32 { p.at += 1 }
      linkEnd = p.at - base
    } else if kind == .characterDevice || kind == .blockDevice {
      guard p.skip(" device=native,"), let major = p.number(), p.skip(","), let minor = p.number(),
        major <= UInt64(UInt32.max), minor <= UInt64(UInt32.max)
      else { return false }
      self.major = UInt32(major)
      self.minor = UInt32(minor)
    } else if kind == .file {
      guard p.skip(" sha256="), end - p.at >= 64 else { return false }
      digestAt = p.at - base
      p.at += 64
    }
    guard p.skip(" tags=") else { return false }
    tagsAt = p.at - base
    return parseTags(&p)
  }

  private mutating func parseTags(_ p: inout Cursor) -> Bool {
    let base = text.baseAddress!
    hasHardLink = false
    hasHoles = false
    // Canonical tags, up to `@`.
    while p.at < p.end, p.at.pointee != UInt8(ascii: "@") {
      if p.at.pointee == UInt8(ascii: "l") { hasHardLink = true }
      if p.at.pointee == UInt8(ascii: "h") { hasHoles = true }
      guard let comma = memchr(p.at, 44, p.end - p.at) else { return false }
      p.at = UnsafePointer(comma.assumingMemoryBound(to: UInt8.self)) + 1
    }
    canonicalLength = p.at - base
    guard p.skip("@,c:"), let changed = p.time(), p.skip(",i:"), let inode = p.number() else { return false }
    self.changed = changed
    self.inode = inode
    links = 1
    mustReread = false
    isCarried = false
    isFresh = false
    isUnlisted = false
    hasFileSystem = false
    isElsewhere = false
    isMetadataOnly = false
    while p.at < p.end {
      guard p.skip(","), p.at < p.end else { return false }
      switch p.at.pointee {
      case UInt8(ascii: "n"):
        p.at += 2
        guard let n = p.number() else { return false }
        links = UInt32(truncatingIfNeeded: n)
      case UInt8(ascii: "t"), UInt8(ascii: "r"):
        mustReread = true
        p.at += 1
      case UInt8(ascii: "s"), UInt8(ascii: "a"):
        isCarried = true
        isElsewhere = p.at.pointee == UInt8(ascii: "s")
        p.at += 1
      case UInt8(ascii: "f"):
        isFresh = true
        p.at += 1
      case UInt8(ascii: "m"):
        isMetadataOnly = true
        p.at += 1
      case UInt8(ascii: "o"):
        isUnlisted = true
        p.at += 1
      case UInt8(ascii: "b"):
        hasFileSystem = true
        p.skipTag()
      case UInt8(ascii: "k"): p.at += 1
      default: return true  // extents: parsed when asked for
      }
    }
    return true
  }

  private mutating func parseKind(_ p: inout Cursor) -> Bool {
    guard p.at < p.end else { return false }
    switch p.at.pointee {
    case UInt8(ascii: "f"):
      if p.skip("file") {
        kind = .file
        return true
      }
      kind = .fifo
      return p.skip("fifo")
    case UInt8(ascii: "d"):
      kind = .directory
      return p.skip("dir")
    case UInt8(ascii: "l"):
      kind = .symlink
      return p.skip("link")
    case UInt8(ascii: "c"):
      kind = .characterDevice
      return p.skip("char")
    case UInt8(ascii: "b"):
      kind = .blockDevice
      return p.skip("block")
    default: return false
    }
  }

  /// Parses `# deleted ./path` and `# unseen ./path`.
  mutating func parse(_ what: What, path text: UnsafeBufferPointer<UInt8>, scratch: Buffer) -> Bool {
    self.what = what
    guard text.count > 2, text[0] == UInt8(ascii: "."), text[1] == UInt8(ascii: "/") else { return false }
    return setPath(UnsafeBufferPointer(rebasing: text[2...]), scratch)
  }

  private mutating func setPath(_ encoded: UnsafeBufferPointer<UInt8>, _ scratch: Buffer) -> Bool {
    guard let start = encoded.baseAddress, encoded.count > 0 else { return false }
    if memchr(start, 92, encoded.count) == nil {
      path = encoded
    } else {
      scratch.count = 0
      scratch.reserve(encoded.count)
      let out = scratch.start.assumingMemoryBound(to: UInt8.self)
      guard let count = Escape.decode(encoded, into: out) else { return false }
      path = UnsafeBufferPointer(start: out, count: count)
    }
    guard let slash = Self.checkComponents(path) else { return false }
    parentLength = slash
    return true
  }

  /// Where the last `/` stands (0: none). nil where a component is empty, `.` or `..`.
  private static func checkComponents(_ path: UnsafeBufferPointer<UInt8>) -> Int? {
    let slash = UInt8(ascii: "/")
    let dot = UInt8(ascii: ".")
    var component = 0
    var last = 0
    var at = 0
    while true {
      if at == path.count || path[at] == slash {
        let length = at - component
        if length == 0 { return nil }
        if path[component] == dot, length == 1 || (length == 2 && path[component + 1] == dot) { return nil }
        if at == path.count { return last }
        last = at
        component = at + 1
      }
      at += 1
    }
  }

  /// Of a directory: the file system that begins there, as its line says.
  var fileSystem: FileSystemMark? {
    guard hasFileSystem else { return nil }
    return tagFields(canonicalOnly: false) { key, value in
      key == UInt8(ascii: "b") ? FileSystemMark(tag: value) : nil
    }
  }

  /// The hard link's first name, where the line has one.
  var hardLink: Bytes? {
    guard hasHardLink else { return nil }
    return tagFields(canonicalOnly: true) { key, value in key == UInt8(ascii: "l") ? Escape.decoded(value) : nil }
  }

  /// Calls `body` with each tag until it gives something.
  private func tagFields<R>(canonicalOnly: Bool, _ body: (UInt8, UnsafeBufferPointer<UInt8>) -> R?) -> R? {
    var at = tagsAt
    let end = canonicalOnly ? canonicalLength : text.count
    while at < end {
      var stop = at
      while stop < end, text[stop] != 44 { stop += 1 }
      if stop > at {
        let value = UnsafeBufferPointer(rebasing: text[min(at + 2, stop)..<stop])
        if let result = body(text[at], value) { return result }
      }
      at = stop + 1
    }
    return nil
  }

  /// Everything, in memory of its own. nil: a tag that cannot be read.
  func entry() -> Entry? {
    var e = Entry(path: Bytes(path), kind: kind, mode: mode, uid: uid, gid: gid, modified: modified)
    e.size = size
    e.changed = changed
    e.inode = inode
    e.links = links
    e.major = major
    e.minor = minor
    if kind == .symlink {
      guard let target = Escape.decoded(UnsafeBufferPointer(rebasing: text[linkAt..<linkEnd])) else { return nil }
      e.linkTarget = target
    }
    if kind == .file {
      guard let digest = Digest(hex: UnsafeBufferPointer(rebasing: text[digestAt..<(digestAt + 64)])) else {
        return nil
      }
      e.digest = digest
    }
    let malformed = tagFields(canonicalOnly: false) { key, value -> Bool? in
      Self.take(key, value, into: &e) ? nil : true
    }
    if malformed == true || kind == .file && !Self.holdsTogether(e) { return nil }
    return e
  }

  /// Puts what a tag says into the entry; one that is not known says nothing. False: it cannot be read.
  private static func take(_ key: UInt8, _ value: UnsafeBufferPointer<UInt8>, into e: inout Entry) -> Bool {
    switch key {
    case UInt8(ascii: "u"):
      guard let name = Escape.decoded(value) else { return false }
      e.userName = name
    case UInt8(ascii: "g"):
      guard let name = Escape.decoded(value) else { return false }
      e.groupName = name
    case UInt8(ascii: "l"):
      guard let name = Escape.decoded(value), isSafe(name) else { return false }
      e.hardLink = name
    case UInt8(ascii: "x"):
      guard let colon = value.firstIndex(of: UInt8(ascii: ":")),
        let name = Escape.decoded(UnsafeBufferPointer(rebasing: value[..<colon])), !name.isEmpty,
        let data = Base64.decoded(UnsafeBufferPointer(rebasing: value[(colon + 1)...]))
      else { return false }
      e.attributes.append(Attribute(name: name, value: data))
      if e.attributes.count > Entry.attributeLimit { return false }
    case UInt8(ascii: "h"):
      let n = numbers(value)
      guard n.count == 2, n[1] > 0, n[0] >= (e.holes.last?.upperBound ?? 0), n[0] <= e.size, n[1] <= e.size - n[0]
      else { return false }
      e.holes.append(n[0]..<(n[0] + n[1]))
    case UInt8(ascii: "k"): e.isStoredSparse = true
    case UInt8(ascii: "t"): e.isTorn = true
    case UInt8(ascii: "r"): e.isRacy = true
    case UInt8(ascii: "s"): e.isCarried = true
    case UInt8(ascii: "f"): e.isFresh = true
    case UInt8(ascii: "m"): e.isMetadataOnly = true
    case UInt8(ascii: "a"): e.isAdopted = true
    case UInt8(ascii: "o"): e.isUnlisted = true
    case UInt8(ascii: "b"):
      guard let mark = FileSystemMark(tag: value) else { return false }
      e.fileSystem = mark
    case UInt8(ascii: "p"):
      guard value.count > 17, value[16] == UInt8(ascii: ":"), let set = SetID(text: Bytes(value[..<16])) else {
        return false
      }
      guard let extent = Extent(set: set, told: numbers(UnsafeBufferPointer(rebasing: value[17...]))) else {
        return false
      }
      e.extents.append(extent)
    default: break
    }
    return true
  }

  /// Whether a file's extents come to what it stores.
  private static func holdsTogether(_ e: Entry) -> Bool {
    var stored: Int64 = 0
    for extent in e.extents {
      let (sum, over) = stored.addingReportingOverflow(extent.length)
      if over { return false }
      stored = sum
    }
    return stored == e.storedSize && e.size - stored <= Entry.holeLimit && (e.size == 0 || !e.extents.isEmpty)
  }

  /// Where in `text` the extents begin, and the extent where there is one only. Cheaper than the whole entry.
  var place: (start: Int, extent: Extent)? {
    guard let base = text.baseAddress else { return nil }
    var at = canonicalLength
    while at + 3 <= text.count {
      guard let comma = memchr(base + at, 44, text.count - at) else { return nil }
      at = UnsafePointer(comma.assumingMemoryBound(to: UInt8.self)) - base
      if at + 20 < text.count, text[at + 1] == UInt8(ascii: "p"), text[at + 19] == UInt8(ascii: ":") { break }
      at += 1
    }
    guard at + 20 < text.count, let set = SetID(text: Bytes(text[(at + 3)..<(at + 19)])) else { return nil }
    return Extent(set: set, told: Self.numbers(UnsafeBufferPointer(rebasing: text[(at + 20)...]))).map { (at, $0) }
  }

  /// Whether no component is empty, `.` or `..`.
  static func isPlain(_ path: UnsafeBufferPointer<UInt8>) -> Bool { path.count > 0 && checkComponents(path) != nil }

  private static func isSafe(_ path: Bytes) -> Bool { path.withUnsafeBufferPointer { checkComponents($0) != nil } }

  /// Decimal numbers with colons between; empty if one of them is not a number.
  private static func numbers(_ text: UnsafeBufferPointer<UInt8>) -> [Int64] {
    guard let base = text.baseAddress else { return [] }
    var p = Cursor(at: base, end: base + text.count)
    var result: [Int64] = []
    while true {
      guard let n = p.number(), n <= UInt64(Int64.max) else { return [] }
      result.append(Int64(n))
      if p.at == p.end { return result }
      guard p.skip(":") else { return [] }
    }
  }
}

/// A place in a line.
private struct Cursor {
  var at: UnsafePointer<UInt8>
  let end: UnsafePointer<UInt8>

  @inline(__always)
  mutating func skip(_ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard end - at >= count else { return false }
    let wanted = text.utf8Start
    for index in 0..<count where at[index] != wanted[index] { return false }
    at += count
    return true
  }

  /// Up to the next comma.
  mutating func skipTag() { while at < end, at.pointee != 44 { at += 1 } }

  /// At most 19 digits, so that it cannot overflow.
  @inline(__always)
  mutating func number() -> UInt64? {
    let start = at
    var value: UInt64 = 0
    while at < end {
      let digit = at.pointee &- 48
      if digit > 9 { break }
      value = value &* 10 &+ UInt64(digit)
      at += 1
    }
    let digits = at - start
    if digits == 20 { return Self.twentyDigits(start) }
    return digits > 0 && digits < 20 ? value : nil
  }

  private static func twentyDigits(_ start: UnsafePointer<UInt8>) -> UInt64? {
    UInt64(String(decoding: UnsafeBufferPointer(start: start, count: 20), as: UTF8.self))
  }

  @inline(__always)
  mutating func octal() -> UInt64? {
    let start = at
    var value: UInt64 = 0
    while at < end {
      let digit = at.pointee &- 48
      if digit > 7 { break }
      value = value << 3 | UInt64(digit)
      at += 1
    }
    return at > start && at - start < 8 ? value : nil
  }

  @inline(__always)
  mutating func time() -> Timestamp? {
    let negative = at < end && at.pointee == UInt8(ascii: "-")
    if negative { at += 1 }
    guard let magnitude = number(), magnitude <= (negative ? Int64.min : .max).magnitude, end - at >= 10,
      at.pointee == UInt8(ascii: ".")
    else { return nil }
    let seconds = negative ? 0 &- Int64(truncatingIfNeeded: magnitude) : Int64(truncatingIfNeeded: magnitude)
    var nanoseconds: Int32 = 0
    for index in 1...9 {
      let digit = at[index] &- 48
      if digit > 9 { return nil }
      nanoseconds = nanoseconds &* 10 &+ Int32(digit)
    }
    at += 10
    return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
  }
}
