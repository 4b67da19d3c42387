/// What a set says of itself: the comment lines at the head and the foot of its manifest.
import Posix
import Tar

/// Known before the first entry is written.
public struct SetHead: Sendable, Equatable {
  public var id: SetID
  public var kind: SetKind
  public var series: Bytes
  public var host: Bytes
  /// Of the machine that made it, see `Machine`; empty where that has none.
  public var machine: Bytes = []
  /// Whether that is known to be another one than this.
  var isOfOtherMachine: Bool {
    guard let here = Machine.identity, !machine.isEmpty else { return false }
    return machine != here
  }
  /// The point's time: whole seconds, strictly increasing within a series.
  public var time: Timestamp
  /// The clock when the run began.
  public var started: Timestamp
  /// The point this one builds on, and that point's digest.
  public var parent: (point: String, digest: Digest)?
  /// Absolute paths without the leading slash, sorted.
  public var sources: [Bytes]
  /// Paths of files that are made of what commands or standard input give, without the leading slash, sorted. A run
  /// that is not given them again cannot look at them.
  public var streams: [Bytes] = []
  /// The options that said what was left out, one per line, for a person to read.
  public var exclusions: [Bytes]
  /// `/` itself, where it is a source: no entry can name it.
  public var top: Entry?
  public var comment: Bytes = []
  /// Tokens of features a reader must understand, and of those it may ignore.
  public var requires: [String] = []
  public var optional: [String] = []

  public static func == (a: SetHead, b: SetHead) -> Bool { a.text() == b.text() }

  public init(
    id: SetID, kind: SetKind, series: Bytes, host: Bytes, time: Timestamp, started: Timestamp,
    parent: (point: String, digest: Digest)?, sources: [Bytes], exclusions: [Bytes], comment: Bytes
  ) {
    self.id = id
    self.kind = kind
    self.series = series
    self.host = host
    self.time = time
    self.started = started
    self.parent = parent
    self.sources = sources
    self.exclusions = exclusions
    self.comment = comment
  }

  /// The lines, without the `#mtree` before them.
  func text() -> Bytes {
    var lines = [
      "# sheaf: 1", "# requires: \(requires.joined(separator: " "))", "# optional: \(optional.joined(separator: " "))",
      "# id: \(id.text)", "# kind: \(kind.rawValue)", "# series: \(Escape.encodedPath(series))",
      "# host: \(Escape.encodedPath(host))",
    ]
    if !machine.isEmpty { lines.append("# machine: \(machine.shown)") }
    lines += [
      "# time: \(PointName.text(time))", "# started: \(Self.text(started))",
    ]
    if let parent { lines.append("# parent: \(parent.point) \(parent.digest.hex)") }
    for source in sources { lines.append("# source: ./\(Escape.encodedPath(source))") }
    for stream in streams { lines.append("# stream: ./\(Escape.encodedPath(stream))") }
    if let top { lines.append("# top: \(top.canonicalWords.shown)") }
    for exclusion in exclusions { lines.append("# left-out: \(Escape.encodedPath(exclusion))") }
    if !comment.isEmpty { lines.append("# comment: \(Escape.encodedPath(comment))") }
    return Bytes(lines.map { $0.hasSuffix(" ") ? String($0.dropLast()) : $0 }.joined(separator: "\n").utf8) + [10]
  }

  /// Throws where it is more than any reader takes, so that nothing is written that nobody could read.
  func checkSize() throws(Failure) {
    guard !Fields(text: text()).isSound else { return }
    throw Failure(
      .usage, "too many sources or exclusions: a set's head would be longer than \(Show.size(Int64(Fields.byteLimit)))",
      hint: "name the folders above them, or spread them over several series")
  }

  private static func text(_ time: Timestamp) -> String {
    let buffer = Buffer()
    buffer.append(time)
    return Bytes(buffer).shown
  }

  /// What this program understands; a set that requires more is refused by name.
  static let understood: Set<String> = []

  /// From the lines of a manifest's head.
  init(fields: Fields, manifest: String) throws(Failure) {
    func malformed(_ what: String) -> Failure { .damaged("\(manifest): \(what)") }
    guard fields.isSound else { throw malformed("its head cannot be read") }
    guard fields["sheaf"] == Bytes("1") else { throw malformed("not a manifest of format 1") }
    requires = fields["requires", default: []].split(separator: 32).map { Bytes($0).shown }
    optional = fields["optional", default: []].split(separator: 32).map { Bytes($0).shown }
    if let unknown = requires.first(where: { !Self.understood.contains($0) }) {
      throw Failure(
        .failed,
        "\(manifest) requires the feature '\(Show.path(Bytes(unknown.utf8)))', which this version does not know",
        hint: "use a newer sheaf")
    }
    guard let id = fields["id"].flatMap(SetID.init(text:)),
      let kind = fields["kind"].flatMap({ SetKind(rawValue: $0.shown) }),
      let time = fields["time"].flatMap({ PointName.time($0.shown) }),
      let series = fields.decoded("series"), let host = fields.decoded("host"),
      let started = fields["started"].flatMap(Self.timestamp)
    else { throw malformed("its head cannot be read") }
    self.id = id
    self.kind = kind
    self.time = time
    self.series = series
    self.host = host
    self.started = started
    machine = fields["machine", default: []]
    guard machine.count <= 64, machine.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
      throw malformed("its machine cannot be read")
    }
    if let text = fields["top"] {
      guard let entry = Entry(canonicalWords: text) else { throw malformed("its top cannot be read") }
      top = entry
    }
    comment = fields.decoded("comment") ?? []
    if let text = fields["parent"] {
      let words = text.split(separator: 32).map { Bytes($0) }
      guard words.count == 2, let digest = Digest(hex: words[1]), PointName.time(words[0].shown) != nil else {
        throw malformed("its parent cannot be read")
      }
      parent = (words[0].shown, digest)
    }
    guard (kind == .full) == (parent == nil) else { throw malformed("its kind and its parent disagree") }
    sources = []
    for text in fields.all("source") {
      guard text.starts(with: Bytes("./")), let path = Escape.decode(Bytes(text.dropFirst(2))) else {
        throw malformed("a source cannot be read")
      }
      sources.append(path)
    }
    for text in fields.all("stream") {
      guard text.starts(with: Bytes("./")), let path = Escape.decode(Bytes(text.dropFirst(2))),
        !path.isEmpty, path.withUnsafeBufferPointer({ Line.isPlain($0) })
      else { throw malformed("a stream cannot be read") }
      streams.append(path)
    }
    exclusions = []
    for text in fields.all("left-out") {
      guard let pattern = Escape.decode(text) else { throw malformed("an exclusion cannot be read") }
      exclusions.append(pattern)
    }
  }

  private static func timestamp(_ text: Bytes) -> Timestamp? {
    let parts = text.shown.split(separator: ".")
    guard parts.count == 2, let seconds = Int64(parts[0]), let nanoseconds = Int32(parts[1]),
      (0..<1_000_000_000).contains(nanoseconds)
    else { return nil }
    return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
  }
}

/// Known when all has been written.
public struct SetFoot: Sendable, Equatable {
  public struct Volume: Sendable, Equatable {
    /// Of the file, but for the `.age` behind it where it is encrypted.
    public var name: String
    /// Bytes of the gzip members in it.
    public var size: Int64
    /// Of the stored bytes.
    public var digest: Digest
    /// How many of these there are, where the file is encrypted; nil: they are the gzip members.
    public var sealedSize: Int64?

    /// As they lie in the store: its bytes, and its name.
    public var storedSize: Int64 { sealedSize ?? size }
    public var fileName: String { name + (sealedSize == nil ? "" : ".age") }

    /// `NAME SIZE DIGEST`, and behind that, where it is encrypted, how many bytes are in it.
    fileprivate var words: String {
      "\(fileName) \(storedSize) \(digest.hex)" + (sealedSize == nil ? "" : " \(size)")
    }

    public init(name: String, size: Int64, digest: Digest, sealedSize: Int64? = nil) {
      self.name = name
      self.size = size
      self.digest = digest
      self.sealedSize = sealedSize
    }

    fileprivate init?(words: [Bytes]) {
      guard words.count == 3 || words.count == 4, !words[0].contains(47), let stored = Int64(words[1].shown),
        stored >= 0,
        let digest = Digest(hex: words[2])
      else { return nil }
      self.init(name: words[0].shown, size: stored, digest: digest)
      guard words.count == 4 else { return }
      // Encryption adds few bytes.
      guard let size = Int64(words[3].shown), (0...stored).contains(size), words[0].hasSuffix(".age") else {
        return nil
      }
      name = String(name.dropLast(4))
      (self.size, sealedSize) = (size, stored)
    }
  }
  public struct Counts: Sendable, Equatable {
    /// Of the point: everything that is not a directory, directories, and the files' sizes added up.
    public var files: Int64 = 0
    public var directories: Int64 = 0
    public var bytes: Int64 = 0
    /// Of this run.
    public var new: Int64 = 0
    public var changed: Int64 = 0
    public var deleted: Int64 = 0
    public var unseen: Int64 = 0
    /// Files that changed while this run read them.
    public var torn: Int64 = 0
  }
  public var volumes: [Volume] = []
  /// Bytes of the archive's tar stream, and how many gzip members hold it.
  public var tarBytes: Int64 = 0
  public var members: Int64 = 0
  public var counts = Counts()
  public var point = Digest()
  /// Of a set that an interrupted run left: the last path, in order, that was looked at. Nothing is known of what comes
  /// after it.
  public var incompleteAfter: Bytes?

  public init() {}

  /// Bytes of the stored archive.
  public var storedBytes: Int64 { volumes.map(\.storedSize).saturatedSum }

  /// What lies around the tar stream, from the inside out.
  private var layers: String { volumes.contains { $0.sealedSize != nil } ? "gzip age" : "gzip" }

  func text() -> Bytes {
    var lines = ["# layers: \(layers)"]
    for volume in volumes { lines.append("# volume: \(volume.words)") }
    lines.append("# tar: \(tarBytes) \(members)")
    let c = counts
    lines.append("# counts: \(c.files) \(c.directories) \(c.bytes) \(c.new) \(c.changed) \(c.deleted) \(c.unseen)")
    if c.torn > 0 { lines.append("# torn: \(c.torn)") }
    if let incompleteAfter { lines.append("# incomplete: ./\(Escape.encodedPath(incompleteAfter))") }
    lines.append("# point: \(point.hex)")
    return Bytes(lines.joined(separator: "\n").utf8) + [10]
  }

  init(fields: Fields, manifest: String) throws(Failure) {
    func malformed() -> Failure { .damaged("\(manifest): its foot cannot be read") }
    guard fields.isSound else { throw malformed() }
    var stored: Int64 = 0
    for text in fields.all("volume") {
      let words = text.split(separator: 32).map { Bytes($0) }
      guard let volume = Volume(words: words) else { throw malformed() }
      let (sum, isTooLarge) = stored.addingReportingOverflow(volume.storedSize)
      guard !isTooLarge else { throw malformed() }
      stored = sum
      volumes.append(volume)
    }
    guard fields["layers"] == Bytes(layers.utf8) else { throw malformed() }
    func numbers(_ key: String, _ count: Int) throws(Failure) -> [Int64] {
      let all = fields[key, default: []].split(separator: 32).compactMap { Int64(Bytes($0).shown) }
      guard all.count == count, all.allSatisfy({ $0 >= 0 }) else { throw malformed() }
      return all
    }
    let tar = try numbers("tar", 2)
    (tarBytes, members) = (tar[0], tar[1])
    let c = try numbers("counts", 7)
    counts = Counts(files: c[0], directories: c[1], bytes: c[2], new: c[3], changed: c[4], deleted: c[5], unseen: c[6])
    if fields["torn"] != nil { counts.torn = try numbers("torn", 1)[0] }
    if let text = fields["incomplete"] {
      guard text.starts(with: Bytes("./")), let path = Escape.decode(Bytes(text.dropFirst(2))) else {
        throw malformed()
      }
      incompleteAfter = path
    }
    guard let digest = fields["point"].flatMap(Digest.init(hex:)) else { throw malformed() }
    point = digest
  }
}

/// `# key: value` lines.
struct Fields {
  private var values: [String: [Bytes]] = [:]
  private var count = 0
  private var bytes = 0
  /// More than anyone has, and still no load for the memory.
  private static let limit = 1 << 20
  /// Of all lines.
  static let byteLimit = 48 << 20

  /// False: more lines than there may be, or one that no writer writes.
  private(set) var isSound = true

  init() {}

  /// Takes a line without its newline; a line of another form is skipped.
  mutating func add(line: UnsafeBufferPointer<UInt8>) {
    guard line.count > 3, line[0] == UInt8(ascii: "#"), line[1] == 32,
      let colon = line.firstIndex(of: UInt8(ascii: ":"))
    else { return }
    count += 1
    bytes += line.count
    isSound = isSound && count <= Self.limit && bytes <= Self.byteLimit && ManifestSyntax.isPlain(line)
    guard isSound else { return }
    let key = String(decoding: line[2..<colon], as: UTF8.self)
    values[key, default: []].append(colon + 2 < line.count ? Bytes(line[(colon + 2)...]) : [])
  }

  /// Takes lines up to the first that begins with `stop`; one at a time, since a hostile text may be long.
  mutating func add(lines text: UnsafeBufferPointer<UInt8>, until stop: UInt8? = nil) {
    var rest = text
    while isSound, !rest.isEmpty {
      let end = rest.firstIndex(of: 10) ?? rest.count
      let line = UnsafeBufferPointer(rebasing: rest[..<end])
      if let first = line.first, first == stop { return }
      add(line: line)
      rest = UnsafeBufferPointer(rebasing: rest[min(end + 1, rest.count)...])
    }
  }

  init(text: Bytes) { text.withUnsafeBufferPointer { add(lines: $0) } }

  subscript(_ key: String) -> Bytes? { values[key]?.first }
  subscript(_ key: String, default fallback: Bytes) -> Bytes { values[key]?.first ?? fallback }
  func all(_ key: String) -> [Bytes] { values[key] ?? [] }
  func decoded(_ key: String) -> Bytes? { self[key].flatMap { Escape.decode($0) } }
}

extension Escape {
  static func decode(_ text: Bytes) -> Bytes? { text.withUnsafeBufferPointer { decoded($0) } }
}
