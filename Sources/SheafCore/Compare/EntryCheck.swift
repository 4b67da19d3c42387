/// Whether an entry is still what the point before has of it, as far as that can be told without reading it.
import Posix

/// Not for use from several threads.
struct EntryCheck {
  /// `look`: it may be the same or not, which only its contents and attributes tell.
  enum Verdict { case same, look, different }

  let options: ComparisonOptions
  var inodes: StableInodes

  init(_ options: ComparisonOptions, _ root: SourceRoot) {
    self.options = options
    inodes = StableInodes(root)
  }

  @inline(__always)
  mutating func verdict(_ line: Line, isMoved: Bool, _ s: Status, in directory: Bytes) -> Verdict {
    if line.kind != s.kind || !options.isSame(line.modified, s.modified) || line.mode != s.mode || line.uid != s.uid
      || line.gid != s.gid
      || (s.kind == .file && line.size != s.size) || line.hasHardLink && s.links == 1
    {
      return .different
    }
    if (s.kind == .characterDevice || s.kind == .blockDevice)
      && (line.major != s.specialMajor || line.minor != s.specialMinor)
    {
      return .different
    }
    if !options.isSame(line.changed, s.changed) || line.mustReread || isMoved
      || (options.readsContents && s.kind == .file)
    {
      return .look
    }
    if line.isUnlisted { return .look }
    return line.inode != s.inode && inodes.areStable(s.device, directory) ? .look : .same
  }

  /// Whether something that is made of a stream, and is not in the file system, is what the line says. Where the stream
  /// has been read, contents are compared.
  func isSame(_ index: Int, _ item: Listing.Item, _ listing: Listing, _ line: Line) -> Bool {
    guard line.kind == item.status.kind else { return false }
    guard let stream = listing.streams[index] else { return true }
    return line.entry()?.isSame(as: stream) ?? false
  }
}
