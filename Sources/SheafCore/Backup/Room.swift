/// Whether a drive has room for a run.
import Posix
import Storage

final class Room {
  /// Bytes that may be written; nil where the file system does not tell.
  let free: Int64?
  private let kept: Int64
  /// Bytes that the run reads, which is the most it can write; nil if that was not estimated.
  var needed: Int64?

  /// `keeping`: bytes that are to stay free.
  init(_ folder: any StoreFolder, keeping kept: Int64) {
    free = folder.space().map { max(0, $0.free - kept) }
    self.kept = kept
  }

  /// Whether the sources' file systems hold more than there is room for: only then it is worth a look at each file.
  func mayBeShort(of sources: SourceTree, _ root: SourceRoot) -> Bool {
    guard let free else { return false }
    var devices: Set<UInt64> = []
    var used: Int64 = 0
    for source in sources.sources {
      guard let there = try? root.openBeneath(source, [.pathOnly]), let device = try? there.status().device,
        devices.insert(device).inserted, let space = there.space()
      else { continue }
      used.add(saturating: space.total - space.free)
    }
    return used > free
  }

  /// One line, where it may not fit.
  var warning: String? {
    guard let free, let needed, needed > free else { return nil }
    let reserve = kept > 0 ? " beside the \(Show.size(kept)) to keep free" : ""
    return
      "up to \(Show.size(needed)) is to be saved, and \(Show.size(free)) is free on the drive\(reserve): it may not fit"
  }

  /// As above, before an incremental run: nobody knows yet how much it will be. `before`: what the last set took.
  func warning(before: Int64) -> String? {
    guard let free, free < before else { return nil }
    let reserve = kept > 0 ? " beside the \(Show.size(kept)) to keep free" : ""
    return
      "\(Show.size(free)) is free on the drive\(reserve), and the last set took \(Show.size(before)): it may not fit"
  }

  /// As above, of a run that goes on and has met so much that is to be saved.
  func warning(met bytes: Int64) -> String {
    "more than \(Show.size(bytes)) is to be saved, and \(Show.size(free ?? 0)) is free on the drive: it may not fit"
  }

  /// How much is missing, in words that follow a message; by how the bytes read so far deflated.
  func shortage(written: Int64, read: Int64) -> String {
    guard let needed, read > 0, needed > read else { return "" }
    let rest = Double(needed - read) * min(1, Double(written) / Double(read))
    return "; about \(Show.size(Int64(saturating: rest))) more is needed"
  }
}
