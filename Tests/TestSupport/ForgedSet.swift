/// A set written by hand: its archive, its manifest, and every number in them.
import Glibc
import Posix

/// One set, honest until something in it is changed.
public struct ForgedSet: Sendable {
  public var name: String
  public var id: UInt64
  /// The head's lines without the first, `# ` and the newline.
  public var head: [Raw]
  public var lines: [ForgedLine] = []
  /// Notes and anything else, each with the path it is sorted by.
  public var notes: [(path: Raw, text: Raw)] = []
  /// Lines that go last, unsorted.
  public var trailing: [Raw] = []
  /// The volume.
  public var archive: Bytes
  public var members = 1
  /// Of all members, inflated.
  public var tarBytes: Int
  /// In the place of the one true volume: the words after `# volume: `.
  public var volumes: [Raw]?
  public var counts: Raw?
  public var firstLine: Raw = "#mtree"
  public var format: Raw = "1"
  public var toldPoint: Raw?
  public var toldEnd: Raw?
  public var tar: Raw?
  /// In the place of the true ones: offsets and first paths; index and foot.
  public var index: [(offset: UInt64, first: Raw)]?
  public var indexBlock: Bytes?
  public var trailer: (index: UInt64, foot: UInt64)?
  /// Members in the place of the one with the lines.
  public var bodies: [ForgedMember]?
  public var headMember: ForgedMember?
  /// In the foot's member.
  public var afterEnd: Bytes = []
  /// Between the foot and the index.
  public var afterFoot: [ForgedMember] = []

  public init(_ name: String = "2026-01-01T000000Z-full", id: UInt64 = 1, on parent: ForgedSet? = nil) {
    self.name = name
    self.id = id
    head = [
      "requires:", "optional:", "id: \(ForgedStore.hex(id))", "kind: \(parent == nil ? "full" : "incremental")",
      "series: forged", "host: forged", "time: \(name.prefix(18))", "started: 1.000000000",
    ]
    if let parent { head.append("parent: \(parent.name.prefix(18)) \(parent.point)") }
    head.append("source: ./box")
    let text = head.reduce(Bytes("sheaf set\n# sheaf: 1\n")) { $0 + Raw("# \($1)\n").bytes }
    let first = ForgedTar.pax("g", [("comment", text)])
    archive = ForgedMember(first).bytes
    tarBytes = first.count
  }

  /// The digest of the point, right where the set is full.
  public var point: String {
    let order = lines.map { ForgedStore.order($0.path) }
    var text = Bytes()
    for index in lines.indices.sorted(by: { order[$0] < order[$1] }) { text += lines[index].canonical + [10] }
    return Checksums.sha256(text)
  }

  // MARK: What it holds

  /// Appends a member and gives its offset and number.
  @discardableResult public mutating func add(_ member: ForgedMember) -> (offset: Int, number: Int) {
    let place = (archive.count, members)
    archive += member.bytes
    tarBytes += Int(member.inflatedLength ?? UInt32(member.inflated.count))
    members += 1
    return place
  }

  /// A file whose tar entry has a member of its own.
  public mutating func file(_ path: Raw, _ contents: Raw = "data", _ change: (inout ForgedLine) -> Void = { _ in }) {
    var line = ForgedLine(path)
    let header = ForgedTar.header(path, size: contents.bytes.count)
    let place = add(ForgedMember(header + ForgedTar.padded(contents.bytes)))
    line.size = "\(contents.bytes.count)"
    line.digest = Raw(Checksums.sha256(contents.bytes))
    let count = contents.bytes.count
    if count > 0 { line.extents = [extent(place.offset, place.number, header.count, count)] }
    change(&line)
    lines.append(line)
  }

  public func extent(_ offset: Any, _ member: Any, _ inner: Any, _ length: Any) -> Raw {
    Raw("\(ForgedStore.hex(id)):\(offset):\(member):\(inner):\(length)")
  }

  public mutating func directory(_ path: Raw, _ change: (inout ForgedLine) -> Void = { _ in }) {
    entry(path, "dir", mode: "0755", type: "5", change: change)
  }

  public mutating func symlink(_ path: Raw, _ target: Raw, _ change: (inout ForgedLine) -> Void = { _ in }) {
    entry(path, "link", mode: "0777", type: "2", target: target) {
      $0.more = " link=\(ForgedStore.encoded(target.bytes))"
      change(&$0)
    }
  }

  /// Another name of `first`, which must be told of before.
  public mutating func hardLink(_ path: Raw, _ first: Raw, _ change: (inout ForgedLine) -> Void = { _ in }) {
    let files = lines.filter { $0.type == "file" }
    var line = files.first { $0.path == first.bytes } ?? files.first ?? ForgedLine(path)
    line.path = path.bytes
    line.tags = "l:\(ForgedStore.encoded(first.bytes)),"
    add(ForgedMember(ForgedTar.header(path, type: "1", target: first)))
    change(&line)
    lines.append(line)
  }

  public mutating func device(_ path: Raw, _ major: Int, _ minor: Int, _ change: (inout ForgedLine) -> Void = { _ in })
  {
    entry(path, "char", mode: "0644", type: "3") {
      $0.more = " device=native,\(major),\(minor)"
      change(&$0)
    }
  }

  public mutating func fifo(_ path: Raw, _ change: (inout ForgedLine) -> Void = { _ in }) {
    entry(path, "fifo", mode: "0644", type: "6", change: change)
  }

  private mutating func entry(
    _ path: Raw, _ word: Raw, mode: Raw, type: Raw, target: Raw = "", change: (inout ForgedLine) -> Void
  ) {
    var line = ForgedLine(path)
    line.type = word
    line.mode = mode
    let octal = UInt16(String(decoding: mode.bytes, as: UTF8.self), radix: 8)!
    add(ForgedMember(ForgedTar.header(word == "dir" ? "\(path)/" : path, type: type, mode: octal, target: target)))
    change(&line)
    lines.append(line)
  }

  // MARK: As files

  private var headText: Bytes {
    head.reduce(Raw("\(firstLine)\n# sheaf: \(format)\n").bytes) { $0 + Raw("# \($1)\n").bytes } + Bytes(". type=dir\n")
  }

  /// Where in the manifest the member with the lines begins.
  public var headLength: Int { plain(headText).bytes.count }

  public var manifest: Bytes {
    var all: [(path: Bytes, text: Bytes)] = lines.map { ($0.path, $0.text) }
    all += notes.map { ($0.path.bytes, $0.text.bytes) }
    let order = all.map { ForgedStore.order($0.path) }
    let sorted = all.indices.sorted { order[$0] < order[$1] }.map { all[$0] }
    var body = Bytes()
    for line in sorted.map(\.text) + trailing.map(\.bytes) { body += line + [10] }
    var out = (headMember ?? plain(headText)).bytes
    var places = [(offset: UInt64(0), first: Raw(""))]
    places.removeAll()
    var digested = headMember?.inflated ?? headText
    for member in bodies ?? (body.isEmpty ? [] : [plain(body)]) {
      if let first = sorted.first?.path, places.isEmpty { places.append((UInt64(out.count), Raw(first))) }
      out += member.bytes
      digested += member.inflated
    }
    let footOffset = UInt64(out.count)
    let volume: Raw = "\(name).tar.gz \(archive.count) \(Checksums.sha256(archive))"
    var foot = Bytes("# layers: gzip\n")
    for one in volumes ?? [volume] { foot += Raw("# volume: \(one)\n").bytes }
    foot += Raw("# tar: \(tar ?? "\(tarBytes) \(members)")\n").bytes
    foot +=
      Raw("# counts: \(counts ?? "\(lines.count) 0 0 \(lines.count) 0 0 0")\n# point: \(toldPoint ?? Raw(point))\n")
      .bytes
    digested += foot
    out += plain(foot + Raw("# end: \(toldEnd ?? Raw(Checksums.sha256(digested)))\n").bytes + afterEnd).bytes
    for member in afterFoot { out += member.bytes }
    let indexOffset = UInt64(out.count)
    var block = Bytes()
    for (offset, first) in index ?? places {
      block += ForgedStore.little(offset, 8) + ForgedStore.little(UInt64(first.bytes.count), 2) + first.bytes
    }
    block = indexBlock ?? block
    let ends = ForgedStore.little(trailer?.index ?? indexOffset, 8) + ForgedStore.little(trailer?.foot ?? footOffset, 8)
    for (id, value) in [("Si", block), ("St", ends)] as [(Raw, Bytes)] where !value.isEmpty {
      var member = plain([])
      member.deflated = [3, 0]
      member.subfield = (id, value)
      out += member.bytes
    }
    return out
  }

  private func plain(_ text: Bytes) -> ForgedMember {
    var member = ForgedMember(text)
    member.firstHeader = nil
    return member
  }

  /// The archive with its end.
  public var volume: Bytes { archive }

  /// Appends the two blocks of zeros that end an archive.
  public mutating func end() { add(ForgedMember(Bytes(repeating: 0, count: 1024))) }
}
