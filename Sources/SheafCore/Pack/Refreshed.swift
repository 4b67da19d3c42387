/// Lines of what proved unchanged.
import Posix
import Tar

/// A line with the old place.
struct Refreshed {
  let text: Bytes
  let canonical: Int
  let entry: Entry
}

/// The line of an entry that proved unchanged: the old place, the new inode and change time. nil where it did change.
/// `orMetadata`: of one whose contents are the same, whatever else changed. `window`: seconds that its time may differ by.
func refreshed(
  _ old: Bytes, with new: Entry, _ scratch: Buffer, orMetadata: Bool = false, window: Int64
) -> Refreshed? {
  old.withUnsafeBufferPointer { text in
    var line = Line()
    guard line.parse(entry: text, scratch: scratch), let before = line.entry() else { return nil }
    var entry = new
    entry.hardLink = before.hardLink
    entry.extents = before.extents
    entry.isStoredSparse = before.isStoredSparse
    if window > 0, entry.modified.isWithin(window, of: before.modified) { entry.modified = before.modified }
    var (text, canonical) = entry.line
    if !text[..<canonical].elementsEqual(line.canonical) {
      guard orMetadata, entry.kind == before.kind, entry.size == before.size, entry.digest == before.digest,
        // Which bytes are stored follows from the holes.
        !entry.isStoredSparse || entry.holes == before.holes
      else { return nil }
      entry.isMetadataOnly = true
      (text, canonical) = entry.line
    }
    return Refreshed(text: text, canonical: canonical, entry: entry)
  }
}
