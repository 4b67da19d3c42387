/// Counts what a run would store.
import Posix
import Tar

/// Takes what a comparison finds, and stores nothing.
final class DryRunSink: PackSink {
  private let reporter: any Reporter
  var counts = SetFoot.Counts()
  /// Bytes of the files that would be read.
  var bytes: Int64 = 0
  /// And of those but for what most likely proves the same.
  var stored: Int64 = 0
  var unchanged: Int64 = 0

  init(_ reporter: any Reporter) { self.reporter = reporter }

  func diverge(from: SHA256) {}
  func keep(_ canonical: UnsafeRawBufferPointer) {}
  func endDirectory(before: [PackItem], own: PackItem?) {}

  func add(_ item: PackItem, estimate: Int) {
    guard case .entry(let entry) = item else { return }
    let status = entry.item.status
    if status.kind == .directory { counts.directories += 1 } else { counts.files += 1 }
    if status.kind == .file, !entry.isLink {
      // Holes are read in no time, and deflate to nothing.
      let read = status.blocks < status.size / 512 ? status.blocks * 512 : status.size
      bytes.add(saturating: read)
      if !entry.onlyIfDifferent { stored.add(saturating: read) }
      counts.bytes.add(saturating: status.size)
    }
    if entry.item.isAbove { return }
    if entry.isUnchanged || entry.onlyIfDifferent {
      // Most of what has to be read proves the same.
      unchanged += 1
      return
    }
    if entry.old == nil { counts.new += 1 } else { counts.changed += 1 }
    if reporter.wantsItems { reporter.item(entry.old == nil ? .new : .changed, entry.path, status.kind) }
  }
}
