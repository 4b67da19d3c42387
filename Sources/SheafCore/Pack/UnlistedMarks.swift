/// Marks, in a manifest that is written but for its end, the directories that could not be listed: their lines stand
/// among the names of the directory above, which were written before anybody tried.
import Posix
import Storage
import Tar

struct UnlistedMarks {
  /// In order.
  private let paths: [Bytes]
  /// The point's line of a directory that has none in this set.
  private let known: (Bytes) throws(Failure) -> Entry?

  init(_ paths: [Bytes], known: @escaping (Bytes) throws(Failure) -> Entry?) {
    self.paths = paths.sorted { PathOrder.compare($0, $1) < 0 }
    self.known = known
  }

  /// Copies all lines behind the head from one manifest to another.
  func copy(_ written: any StoredFile, name: String, to manifest: ManifestWriter) throws(Failure) {
    let members = MemberReader(written)
    let inflater = Decompressor()
    let text = Buffer()
    let out = Buffer()
    var rest = paths[...]
    var isHead = true
    do {
      while let (_, bytes) = try members.next() {
        text.count = 0
        try inflater.inflate(bytes, into: text)
        defer { isHead = false }
        if isHead { continue }
        out.count = 0
        var lines = text.bytes.bindMemory(to: UInt8.self)[...]
        while let end = lines.firstIndex(of: 10) {
          try copy(UnsafeBufferPointer(rebasing: lines[lines.startIndex..<end]), &rest, to: out)
          lines = lines[(end + 1)...]
        }
        try manifest.append(out.bytes)
      }
      out.count = 0
      while let path = rest.popFirst() { try add(path, to: out) }
      try manifest.append(out.bytes)
    } catch let failure as Failure { throw failure } catch let error as SystemError { throw Failure(error) } catch {
      throw .damaged("\(name): what was just written cannot be read")
    }
  }

  private func copy(_ line: UnsafeBufferPointer<UInt8>, _ rest: inout ArraySlice<Bytes>, to out: Buffer) throws(Failure)
  {
    if !rest.isEmpty, let path = ManifestSyntax.path(of: line).flatMap(Escape.decoded) {
      while let next = rest.first, PathOrder.compare(next, path) < 0 {
        rest.removeFirst()
        try add(next, to: out)
      }
      if rest.first == path {
        rest.removeFirst()
        var parsed = Line()
        if parsed.parse(entry: line, scratch: Buffer()), let entry = parsed.entry() { return append(entry, to: out) }
      }
    }
    if let start = line.baseAddress { out.append(start, line.count) }
    out.append(UInt8(ascii: "\n"))
  }

  private func add(_ path: Bytes, to out: Buffer) throws(Failure) {
    if let entry = try known(path) { append(entry, to: out) }
  }

  private func append(_ entry: Entry, to out: Buffer) {
    var marked = entry
    marked.isUnlisted = true
    marked.appendLine(to: out)
  }
}
