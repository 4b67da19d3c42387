/// Options that many commands share.
import ArgumentParser
import Posix
import SheafCore
import Storage

struct StoreOptions: ParsableArguments {
  @Option(
    name: [.customShort("s", allowingJoined: true), .long],
    help: ArgumentHelp(
      "The store: the directory that holds the backups, sftp://[user@]host[:port]/path or s3://bucket/prefix.",
      valueName: "STORE"))
  var store: RawText?

  @Option(
    help: ArgumentHelp("The series of backups in it.", valueName: "NAME"))
  var series: RawText?

  @OptionGroup var keys: KeyOptions
  @OptionGroup var remote: RemoteOptions

  /// From the option, or else from the environment.
  func place() throws -> StoreLocation {
    if let store { return try StoreLocation(store.bytes) }
    if let text = Host.environment("SHEAF_STORE"), !text.isEmpty { return try StoreLocation(text) }
    throw Failure(.usage, "no store given", hint: "use -s STORE or set SHEAF_STORE")
  }

  /// `fromCopies`: manifests of a store that is slow to read may come from copies on this machine. `reads`: a series is
  /// looked at. `offersNew`: where no store was, one may be made.
  func open(fromCopies: Bool = true, reads: Bool = false, offersNew: Bool = false) throws -> Store {
    let place = try place()
    let store = try place.opening(offersNew: offersNew) {
      try Store.open(
        place, by: remote.access, cache: fromCopies ? Memory.manifests : nil, keys: keys.keys(),
        expecting: reads ? expectedSeries : nil)
    }
    try keys.check(against: store)
    return store
  }

  /// For what needs no key.
  func openWithoutKey() throws -> Store {
    let place = try place()
    return try place.opening { try Store.open(place, by: remote.access) }
  }

  /// Where a passphrase, if one is given, is for something else than the key.
  func openWithKeyFile() throws -> Store {
    let keys = Keys(keyFile: keys.file, directory: Memory.keys) { _, _ in nil }
    let place = try place()
    return try place.opening { try Store.open(place, by: remote.access, keys: keys) }
  }

  private var expectedSeries: Bytes { series?.bytes ?? Backup.seriesName(Host.name()) }

  func openSeries(fromCopies: Bool = true) throws -> Series {
    try openStoreAndSeries(fromCopies: fromCopies).series
  }

  func openStoreAndSeries(fromCopies: Bool = true) throws -> (store: Store, series: Series) {
    let opened = try open(fromCopies: fromCopies, reads: true)
    let found = try opened.series(series?.bytes, host: Backup.seriesName(Host.name()))
    found.tellOfIgnoredFiles()
    return (opened, found)
  }

  /// From here on nothing is removed that a point needs.
  func openSeriesForReading() throws -> Series {
    let series = try openSeries()
    series.holdSets()
    return series
  }
}

/// How stores on other machines are reached.
struct RemoteOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What speaks SFTP on its standard input and output, instead of ssh; for a store at sftp://.",
      valueName: "COMMAND"))
  var sftpCommand: RawText?

  @Option(
    help: ArgumentHelp(
      "The server of a store at s3://, as https://HOST[:PORT]; without it AWS_ENDPOINT_URL_S3 or Amazon's.",
      valueName: "URL"))
  var s3Endpoint: RawText?

  @Option(
    help: ArgumentHelp(
      "How long a lost connection is tried again: 90s, 15m, 2h. (default: 15m)", valueName: "TIME"))
  var retryFor: Duration?

  @Option(help: ArgumentHelp("Write at most SIZE a second to the store: 500k, 2M.", valueName: "SIZE"))
  var limitUpload: Size?

  @Option(help: ArgumentHelp("Read at most SIZE a second from the store.", valueName: "SIZE"))
  var limitDownload: Size?

  func validate() throws {
    for (name, limit) in [("limit-upload", limitUpload), ("limit-download", limitDownload)] {
      guard let limit, limit.bytes < RateLimits.least else { continue }
      // What the parser does not know is shown as Swift has it.
      throw ValidationError("--\(name) \(Words.size(limit.bytes)) is too slow: at least 1k a second")
    }
  }

  /// Those that were given, as a command line has them.
  var words: [String] {
    [("sftp-command", sftpCommand), ("s3-endpoint", s3Endpoint)].compactMap { name, value in
      value.map { Arguments.option(name, $0.bytes) }
    } + (retryFor.map { ["--retry-for=\($0.seconds)"] } ?? [])
      + (limitUpload.map { ["--limit-upload=\($0.bytes)"] } ?? [])
      + (limitDownload.map { ["--limit-download=\($0.bytes)"] } ?? [])
  }

  var access: RemoteAccess {
    var access = RemoteAccess()
    let words = Host.environment("SHEAF_SSH")?.split(separator: 32).map { Bytes($0) } ?? []
    if !words.isEmpty { access.ssh = words }
    access.shellCommand = sftpCommand?.bytes
    // Where ssh has a program to ask with, it needs no terminal.
    access.isUnattended = Terminal.open() == nil && Host.environment("SSH_ASKPASS") == nil
    if let retryFor { access.manners.patience = retryFor.seconds }
    access.manners.limits = RateLimits(
      upload: limitUpload.map { RateLimit(bytesPerSecond: $0.bytes) },
      download: limitDownload.map { RateLimit(bytesPerSecond: $0.bytes) })
    access.s3 = S3Environment.settings(endpoint: s3Endpoint?.bytes.shown)
    access.spool = Host.spoolDirectory
    access.manners.notice = { Console.shared.warning($0) }
    access.manners.goesOn = { Interruption.progress.goesOn }
    return access
  }
}

struct VolumeOptions: ParsableArguments {
  @Option(
    name: .customLong("volume-dir"),
    help: ArgumentHelp(
      "Look for volumes in DIR, too; for sets spread over drives, several times.", valueName: "DIR"))
  var directories: [RawText] = []

  func add(to series: Series) throws { for path in directories { try series.add(volumeDirectory: path.bytes) } }
}

struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON Lines, the last one a summary.")
  var json = false

  @Flag(name: [.short, .long], help: "Print nothing but warnings and errors.")
  var quiet = false

  @Flag(name: [.short, .long], help: "Print every entry.")
  var verbose = false
}

struct WorkOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Work with N threads instead of one for each processor.", valueName: "N"))
  var jobs: Int?

  func apply() throws {
    guard let jobs else { return }
    guard BackupOptions.jobs.contains(jobs) else {
      throw Failure(.usage, "--jobs \(jobs) is out of range", hint: "from 1 to 1024")
    }
    limitProcessors(to: jobs)
  }
}

struct PointOption: ParsableArguments {
  @Option(
    help: ArgumentHelp("The point: latest, a set's name, a date, a time, or an age like 3d.", valueName: "POINT"))
  var at: RawText?

  func find(in series: Series) throws -> SetName {
    let found = try series.find(point: at?.bytes ?? Bytes("latest"), now: .now())
    if at == nil || at!.bytes == Bytes("latest"), let newer = try series.withoutManifest().last, found < newer {
      Console.shared.warning(
        "\(newer.text) is newer than \(found.text) and has no manifest: see 'sheaf rebuild -s STORE'")
    }
    if let when = series.damageNote(Memory.stores).touching(found) {
      Console.shared.warning("'sheaf verify' found damage that touches \(found.text), \(Words.ago(when))")
    }
    return found
  }
}

extension Contents {
  /// The path that is meant, in this point.
  func path(_ text: RawText) throws -> Bytes {
    try text.storePath(below: sources()) { (path) throws in try has(path) }
  }

  /// The same, or where there is no such path what matches it as a pattern.
  func paths(_ text: RawText) throws -> [Bytes] {
    let path = try path(text)
    guard text.bytes.contains(where: Bytes("*?[").contains), try !has(path) else { return [path] }
    let found = try matches(text.bytes)
    return found.isEmpty ? [path] : found
  }
}

extension DamageNote {
  /// When damage was found that touches the point; nil: none was.
  func touching(_ set: SetName) -> Timestamp? { touches(set) ? found : nil }
}

extension Series {
  /// Plain files in an encrypted series count for nothing.
  func tellOfIgnoredFiles() {
    let ignored = ignoredFiles
    guard let first = ignored.first else { return }
    let others = ignored.count > 1 ? " (and \(Words.count(ignored.count - 1, "other file")))" : ""
    Console.shared.warning("\(Show.path(first))\(others) is not encrypted in an encrypted store: passed over")
  }

  /// Whether the point has the path; not where that cannot be read.
  func has(_ path: Bytes, in point: SetName) -> Bool { (try? Contents(self, point).has(path)) ?? false }

  /// Warns if the series is not as this machine saw it last. Only a backup settles that.
  func warnOfAlarm() -> String? {
    let words = Memory.stores?.state(of: self).words
    if let words { Console.shared.warning(words) }
    return words
  }

  /// Warns of damage that verify found and that is not mended, and returns the note of it.
  func tellOfDamage() -> DamageNote {
    let note = damageNote(Memory.stores)
    if let found = note.found, let first = note.findings.first {
      let sets = note.findings.count == 1 ? first.set.text : Words.count(note.findings.count, "set")
      Console.shared.warning(
        "'sheaf verify' found damage in \(sets), \(Words.ago(found)): \(first.message)")
    }
    return note
  }

  /// Names archives without manifests, which could be points again.
  func tellOfLostManifests() throws {
    for lost in try withoutManifest() {
      Console.shared.warning(
        "\(lost.text) has no manifest, so it is no point: 'sheaf rebuild -s STORE' makes it one again")
    }
  }
}

extension Host {
  /// Where streams lie until their ends are known: they may be larger than a `/tmp` in memory has room for.
  static var spoolDirectory: Bytes {
    if let told = environment("TMPDIR"), !told.isEmpty { return told }
    let large = Bytes("/var/tmp")
    return (try? Descriptor.open(large, [.read, .directory])) == nil ? Bytes("/tmp") : large
  }

  /// Where files without a name may be made for sorting.
  static var spillDirectory: Bytes { environment("TMPDIR").flatMap { $0.isEmpty ? nil : $0 } ?? Bytes("/tmp") }
}

/// How hard a set is compressed. Throws a failure of kind `usage` where there is no such level.
func checkLevel(_ level: Int) throws(Failure) {
  guard BackupOptions.levels.contains(level) else {
    throw Failure(.usage, "level \(level) is out of range", hint: "levels go from 0 to 12")
  }
}

extension Size {
  /// Bytes of a volume. Throws a failure of kind `usage` where it is too small.
  func checkedAsVolume() throws(Failure) -> Int64 {
    guard bytes >= BackupOptions.leastVolume else {
      throw Failure(.usage, "volumes of \(Words.size(bytes)) are too small", hint: "at least 2M")
    }
    return bytes
  }
}
