/// `sheaf cat`: one file's contents on standard output.
import ArgumentParser
import Posix
import SheafCore

struct CatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cat", abstract: "Print files of a point.",
    usage: "sheaf cat -s STORE [--at POINT] PATH ...",
    discussion: """
      With --archive FILE the files are looked for in a lone archive, which may be encrypted with age: --key, \
      --passphrase-file or --passphrase-command opens it.
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var point: PointOption
  @OptionGroup var volumes: VolumeOptions

  @Option(help: ArgumentHelp("Read from an archive file; no store is needed.", valueName: "FILE"))
  var archive: RawText?

  @Argument(help: ArgumentHelp("Files in the point.", valueName: "PATH"))
  var paths: [RawText]

  func run() throws {
    func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
      try Interruption.progress.checkCancelled()
      Console.shared.write(Bytes(bytes))
    }
    if let archive {
      guard let lone = try LoneArchive(archive.bytes, keys: store.keys.keys()) else {
        throw Failure(.failed, "\(Show.path(archive.bytes)) is not an archive that can be read")
      }
      return try each(\.storePath) { (path) throws(Failure) in try lone.read(path, write) }
    }
    let series = try store.openSeriesForReading()
    try volumes.add(to: series)
    let contents = try Contents(series, point.find(in: series))
    try each(contents.path) { (path) throws(Failure) in
      try checkRoom(for: contents.find(path).entry)
      try contents.read(path, write)
    }
  }

  /// Holes come out as zeros, and a few bytes that somebody forged tell of any number of them.
  private func checkRoom(for entry: Entry) throws(Failure) {
    guard entry.isStoredSparse, let status = try? Descriptor.standardOutput.status(), status.kind == .file,
      let free = Descriptor.standardOutput.fileSystem()?.free, entry.size > free
    else { return }
    throw Failure(
      .failed,
      "\(Show.path(entry.path)) takes \(Words.size(entry.size)) with its holes filled, and \(Words.size(free)) is free",
      hint: "'sheaf restore -s STORE' makes holes again")
  }

  /// A file that cannot be printed does not keep the others from being printed.
  private func each(_ named: (RawText) throws -> Bytes, _ body: (Bytes) throws(Failure) -> Void) throws {
    var worst: Failure?
    for path in paths {
      let path = try named(path)
      do throws(Failure) { try body(path) } catch {
        if error.kind == .interrupted { throw error }
        Console.shared.error(error.message, hint: error.hint)
        if worst?.kind != .damaged { worst = error }
      }
    }
    if let worst { throw Status(worst.kind) }
  }
}
