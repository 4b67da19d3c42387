/// Restores some files by the store's own `restore.sh`, as somebody does who has no Sheaf, and compares them with what was
/// saved.
import Posix

struct ScriptTrial {
  private let series: Series
  private let set: SetName

  /// Throws a failure of kind `usage` where the script cannot be run as it is.
  init(_ series: Series, _ set: SetName) throws(Failure) {
    guard !StoreLocation.isRemote(series.store.path) else {
      throw Failure(
        .usage, "restore.sh is run on a store that lies in a folder here, not on \(Show.path(series.store.path))")
    }
    guard !series.store.isEncrypted else {
      throw Failure(.usage, "restore.sh is tried on stores that are not encrypted: it would need the key's file")
    }
    (self.series, self.set) = (series, set)
  }

  /// Files at a time: their paths are words of a command.
  static let most = 500

  /// Whether it can be asked for: directories come with what is in them, and a path of odd bytes is no word for a script.
  static func takes(_ entry: Entry) -> Bool {
    [.file, .symlink, .fifo].contains(entry.kind) && entry.path.allSatisfy { (33...126).contains($0) && $0 != 92 }
  }

  /// Restores them into a folder `out` that is made in `directory`, which `folder` is, too. Gives what is not as it was.
  func run(
    _ entries: [Entry], into directory: Bytes, _ folder: Descriptor
  ) throws(Failure) -> [(path: Bytes?, words: String)] {
    let output = Bytes("out")
    let script = series.store.path.joined(Bytes("restore.sh"))
    let words: [Bytes] =
      [Bytes("sh"), script, Bytes("--series"), series.name, Bytes("--at"), Bytes(set.text.utf8), Bytes("--no-check")]
      + [Bytes("--to"), directory.joined(output)] + entries.map { [47] + $0.path }
    var (lines, status): ([Bytes], Int32) = ([], -1)
    do throws(SystemError) {
      let child = try Child(words, kind: .unattended, environment: [Bytes("TMPDIR=") + directory])
      var splitter = LineSplitter(longest: 1000)
      let end = child.follow { source, more in
        if source == .errors { lines += splitter.add(more) }
      }
      if let rest = splitter.end() { lines.append(rest) }
      if case .code(let code) = end { status = code }
    } catch { throw Failure(error) }
    var found: [(path: Bytes?, words: String)] = []
    if status != 0 {
      let said = lines.last.map { ": \(Show.path($0))" } ?? ""
      found.append((nil, "restore.sh ended with \(status)\(said)"))
    }
    do throws(SystemError) {
      let target = try folder.openBeneath(output, [.read, .directory, .noFollow])
      // Who is not root gives nobody else's files away.
      let lacking = Host.isRoot ? [] : ["owner", "mode", "attribute"].map { (what: $0, count: 1) }
      var comparison = RestoredComparison(target, lacking: lacking)
      for entry in entries {
        let differences = try comparison.differences(entry, first: nil)
        if !differences.isEmpty { found.append((entry.path, "by restore.sh: \(differences.joined(separator: ", "))")) }
      }
    } catch {
      // It said why there is nothing.
      if status == 0 { throw Failure(error) }
    }
    return found
  }
}
