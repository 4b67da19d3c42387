/// An entry as a manifest's line. Everything up to the tag `@` is canonical: the same for the same restored file,
/// whatever set it lies in; what follows is true of this source and this store only.
import Posix
import Tar

extension FileKind {
  /// mtree(5)'s `type`.
  var keyword: StaticString {
    switch self {
    case .file: "file"
    case .directory: "dir"
    case .symlink: "link"
    case .fifo: "fifo"
    case .characterDevice: "char"
    case .blockDevice: "block"
    case .socket: "socket"
    }
  }
}

extension Entry {
  /// Appends the canonical part, without the `@`.
  func appendCanonical(to out: Buffer) {
    out.append("./")
    Escape.append(path: path, to: out)
    out.append(" type=")
    out.append(kind.keyword)
    out.append(" uid=")
    out.append(decimal: UInt64(uid))
    out.append(" gid=")
    out.append(decimal: UInt64(gid))
    out.append(" mode=0")
    out.append(octal: UInt64(mode))
    if kind == .file {
      out.append(" size=")
      out.append(decimal: UInt64(size))
    }
    out.append(" time=")
    out.append(modified)
    if kind == .symlink {
      out.append(" link=")
      Escape.append(path: linkTarget, to: out)
    }
    if kind == .characterDevice || kind == .blockDevice {
      out.append(" device=native,")
      out.append(decimal: UInt64(major))
      out.append(",")
      out.append(decimal: UInt64(minor))
    }
    if let digest {
      out.append(" sha256=")
      digest.append(to: out)
    }
    out.append(" tags=")
    if !userName.isEmpty { appendTag("u:", userName, to: out) }
    if !groupName.isEmpty { appendTag("g:", groupName, to: out) }
    if let hardLink { appendTag("l:", hardLink, to: out) }
    for attribute in attributes {
      out.append("x:")
      Escape.append(tag: attribute.name, to: out)
      out.append(":")
      Base64.append(attribute.value, to: out)
      out.append(",")
    }
    for hole in holes {
      out.append("h:")
      out.append(decimal: hole.lowerBound)
      out.append(":")
      out.append(decimal: Int64(hole.count))
      out.append(",")
    }
  }

  private func appendTag(_ key: StaticString, _ value: Bytes, to out: Buffer) {
    out.append(key)
    Escape.append(tag: value, to: out)
    out.append(",")
  }

  /// Appends what follows the canonical part, but the extents.
  func appendLocal(to out: Buffer) {
    out.append("@,c:")
    out.append(changed)
    out.append(",i:")
    out.append(decimal: inode)
    if links > 1 {
      out.append(",n:")
      out.append(decimal: UInt64(links))
    }
    if isStoredSparse { out.append(",k") }
    if isTorn { out.append(",t") }
    if isRacy { out.append(",r") }
    if isCarried { out.append(",s") }
    if isFresh { out.append(",f") }
    if isMetadataOnly { out.append(",m") }
    if isAdopted { out.append(",a") }
    if isUnlisted { out.append(",o") }
    if let fileSystem { fileSystem.append(to: out) }
  }

  /// Appends an extent's beginning, up to where the member's offset and number belong.
  static func appendExtentHead(_ set: SetID, to out: Buffer) {
    out.append(",p:")
    set.append(to: out)
    out.append(":")
  }

  /// Appends the whole line and a newline.
  public func appendLine(to out: Buffer) {
    appendCanonical(to: out)
    appendLocal(to: out)
    for extent in extents {
      Self.appendExtentHead(extent.set, to: out)
      for number in [extent.offset, extent.member, extent.inner] {
        out.append(decimal: number)
        out.append(":")
      }
      out.append(decimal: extent.length)
    }
    out.append("\n")
  }

  /// The whole line and the length of its canonical part.
  var line: (text: Bytes, canonical: Int) {
    let out = Buffer(capacity: 512)
    appendCanonical(to: out)
    let canonical = out.count
    out.count = 0
    appendLine(to: out)
    return (Bytes(out), canonical)
  }
}

extension Entry {
  /// The canonical part but for the path, of a directory.
  var canonicalWords: Bytes {
    let out = Buffer()
    appendCanonical(to: out)
    return Bytes(Bytes(out).drop { $0 != 32 }.dropFirst())
  }

  /// The same read again. nil: it is no directory's.
  init?(canonicalWords words: Bytes) {
    // A path that a line may have.
    var line = Line()
    let entry = (Bytes("./top ") + words + Bytes("@,c:0.000000000,i:0")).withUnsafeBufferPointer { text in
      line.parse(entry: text, scratch: Buffer()) ? line.entry() : nil
    }
    guard var entry, entry.kind == .directory else { return nil }
    entry.path = []
    self = entry
  }
}
