/// The manifest's lines for what could not be looked at.
import Posix
import Tar

struct UnseenLines {
  let text: Bytes
  /// Length of the old line's canonical part; 0 where there is none.
  let canonical: Int
  private let counts: SetFoot.Counts

  init(path: Bytes, before: Before, isFull: Bool) {
    var counts = SetFoot.Counts()
    var canonical = 0
    counts.unseen = 1
    let out = Buffer()
    let scratch = Buffer()
    (before.line ?? []).withUnsafeBufferPointer { text in
      var line = Line()
      guard text.count > 0, line.parse(entry: text, scratch: scratch) else { return }
      canonical = line.canonicalLength
      if line.kind == .directory { counts.directories = 1 } else { counts.files = 1 }
      counts.bytes = line.hasHardLink ? 0 : line.size
      // A full set has no older one to shine through, and what was moved stands elsewhere there: the line itself is
      // carried.
      if isFull || before.isElsewhere, var entry = line.entry() {
        entry.isCarried = true
        entry.isFresh = before.isOther && entry.kind == .directory
        entry.isAdopted = false
        entry.appendLine(to: out)
      }
    }
    // What would shine through here is something else.
    let isOther = before.line == nil && before.isOther
    if out.count == 0 {
      ManifestSyntax.appendNote(isOther ? ManifestSyntax.deleted : ManifestSyntax.unseen, path, to: out)
    }
    text = Bytes(out)
    self.canonical = canonical
    self.counts = counts
  }

  func count(in counts: inout SetFoot.Counts) {
    counts.unseen += self.counts.unseen
    counts.directories += self.counts.directories
    counts.files += self.counts.files
    counts.bytes.add(saturating: self.counts.bytes)
  }
}
