/// `sheaf ls`: what a point, or a lone archive, holds.
import ArgumentParser
import Posix
import SheafCore

struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls", abstract: "Show what a point holds.",
    usage: "sheaf ls -s STORE [--at POINT] [-lR] [PATH | ARCHIVE]",
    discussion: """
      PATH may also be an archive file (.tar, .tar.gz), which is then listed whole, store or not. One that is encrypted \
      with age (.tar.gz.age) is opened by --key, --passphrase-file or --passphrase-command.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption

  @Argument(help: ArgumentHelp("A folder or file in the point, or an archive.", valueName: "PATH"))
  var path: RawText?

  @Flag(name: [.short, .long], help: "Show modes, owners, sizes and times, as ls -l does.")
  var long = false

  @Flag(name: [.customShort("R"), .long], help: "Show everything below, too.")
  var recursive = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    // Read once: each access goes through the parser, which is slow.
    let (long, output) = (long, output)
    var shown: Int64 = 0
    var bytes: Int64 = 0
    func show(_ entry: Entry, isUnseen: Bool, whole: Bool, owner: LoneArchive.Owner? = nil) {
      shown += 1
      bytes.add(saturating: entry.hardLink == nil ? entry.size : 0)
      if output.json { return Self.printJSON(entry, isUnseen, owner) }
      if output.quiet { return }
      var name = whole ? entry.path : entry.path.splitAtName.name
      if entry.kind == .directory { name.append(47) }
      let console = Console.shared
      var line = console.path(name)
      if long, entry.kind == .symlink { line += Bytes(" -> ".utf8) + console.path(entry.linkTarget) }
      if long, let first = entry.hardLink { line += Bytes(" link to ".utf8) + console.path(first) }
      var words: [String] = []
      if isUnseen { words.append("(last good copy)") }
      if entry.isTorn { words.append("(changed while it was read)") }
      console.list(line, behind: long ? LongLine.text(entry, owner) : "", words.joined(separator: "  "))
    }
    if let path, let archive = try LoneArchive(path.bytes, keys: store.keys.keys()) {
      try archive.list { (entry, owner) throws(Failure) in
        try Interruption.progress.checkCancelled()
        show(entry, isUnseen: false, whole: true, owner: owner)
      }
    } else {
      let series = try store.openSeriesForReading()
      let contents = try Contents(series, point.find(in: series))
      let wanted = try path.map { try contents.path($0) } ?? []
      try contents.list(wanted, recursive: recursive) { (entry, isUnseen) throws(Failure) in
        try Interruption.progress.checkCancelled()
        show(entry, isUnseen: isUnseen, whole: recursive)
      }
    }
    if output.json {
      var json = JSON("summary")
      json.add("entries", shown)
      json.add("bytes", bytes)
      json.print()
    }
  }

  static func printJSON(_ e: Entry, _ isUnseen: Bool, _ owner: LoneArchive.Owner? = nil) {
    var json = JSON("entry")
    json.addEntry(e, owner)
    if isUnseen { json.add("unseen", true) }
    json.print()
  }
}

/// A line like one of `ls -l`.
enum LongLine {
  /// Columns of a terminal from which on there is room for owner and group beside a name.
  private static let wide = 72

  /// `owner`: in the place of the entry's.
  static func text(_ e: Entry, _ owner: LoneArchive.Owner? = nil) -> String {
    let (uid, gid) = owner ?? (Int64(e.uid), Int64(e.gid))
    let owner = e.userName.isEmpty ? String(uid) : Show.path(e.userName)
    let group = e.groupName.isEmpty ? String(gid) : Show.path(e.groupName)
    let size = e.kind == .characterDevice || e.kind == .blockDevice ? "\(e.major), \(e.minor)" : String(e.size)
    let time = Words.time(e.modified).dropLast(3)
    if Console.shared.columns < wide { return "\(mode(e)) \(Words.right(size, 10)) \(time) " }
    return "\(mode(e)) \(Words.left(owner, 8)) \(Words.left(group, 8)) \(Words.right(size, 12)) \(time) "
  }

  static func mode(_ e: Entry) -> String {
    let type =
      switch e.kind {
      case .file: "-"
      case .directory: "d"
      case .symlink: "l"
      case .fifo: "p"
      case .characterDevice: "c"
      case .blockDevice: "b"
      case .socket: "s"
      }
    func triple(_ bits: UInt16, _ special: Bool, _ letter: String) -> String {
      let x = bits & 1 != 0 ? (special ? letter : "x") : (special ? letter.uppercased() : "-")
      return "\(bits & 4 != 0 ? "r" : "-")\(bits & 2 != 0 ? "w" : "-")\(x)"
    }
    let m = e.mode
    return type + triple(m >> 6 & 7, m & 0o4000 != 0, "s") + triple(m >> 3 & 7, m & 0o2000 != 0, "s")
      + triple(m & 7, m & 0o1000 != 0, "t")
      + (e.attributes.isEmpty ? " " : "+")
  }

  static func word(_ kind: FileKind) -> String {
    switch kind {
    case .file: "file"
    case .directory: "directory"
    case .symlink: "symlink"
    case .fifo: "fifo"
    case .characterDevice: "character device"
    case .blockDevice: "block device"
    case .socket: "socket"
    }
  }
}

extension JSON {
  /// What is known of an entry.
  mutating func addEntry(_ e: Entry, _ owner: LoneArchive.Owner? = nil) {
    add("path", e.path)
    add("kind", LongLine.word(e.kind))
    add("mode", "0" + String(e.mode, radix: 8))
    add("uid", owner?.uid ?? Int64(e.uid))
    add("gid", owner?.gid ?? Int64(e.gid))
    add("user", e.userName)
    add("group", e.groupName)
    add("size", e.size)
    add("modified", e.modified)
    if e.kind == .symlink { add("link", e.linkTarget) }
    if let first = e.hardLink { add("hard_link", first) }
    if e.isTorn { add("torn", true) }
    if let digest = e.digest { add("sha256", digest.hex) }
  }
}
