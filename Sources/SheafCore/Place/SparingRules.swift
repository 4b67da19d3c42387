/// What deleting leaves alone although the point does not have it: what the point left out, and what the restore does.
import Posix

struct SparingRules: Sendable {
  /// Of the restore itself.
  let excluded: Exclusions
  /// Of the run that made the point.
  let leftOut: ExclusionRules
  /// No point has sockets, so it cannot tell that one was not there.
  let sparesSockets: Bool

  /// Whether the directory itself was left out, or one above it, and is there only to lead to a source of its own.
  func sparesAll(of directory: Bytes) -> Bool {
    guard !leftOut.lines.isEmpty else { return false }
    let sources = leftOut.sources.filter { directory.isAtOrBelow($0) }
    guard let source = sources.max(by: { $0.count < $1.count }) else { return false }
    var status = Status.unknown
    status.kind = .directory
    var parent = source
    for name in directory.dropFirst(source.isEmpty ? 0 : source.count + 1).split(separator: 47) {
      if name.withUnsafeBufferPointer({ leftOut.leavesOut($0, status, of: parent) }) { return true }
      parent = parent.isEmpty ? Bytes(name) : parent.joined(Bytes(name))
    }
    return false
  }

  /// Whether an entry of the directory at `parent` in the point is left alone.
  func spares(_ name: Bytes, _ status: Status, of parent: Bytes) -> Bool {
    if sparesSockets, status.kind == .socket { return true }
    return name.withUnsafeBufferPointer { name in
      leftOut.leavesOut(name, status, of: parent)
        || (!excluded.isEmpty
          && excluded.excludes(directory: parent, name: name, isDirectory: status.kind == .directory))
    }
  }

  /// Where a marker made the run leave a directory out but for a few names: those names. Only they may be deleted there.
  /// nil: there is no such marker.
  func savedAlone(of names: [Bytes], in directory: Descriptor) -> [Bytes]? {
    guard leftOut.hasMarkers else { return nil }
    let list = NameList(names)
    return list.bytes.withUnsafeBufferPointer { bytes in
      leftOut.keptAlone(
        of: list.starts.indices.map { index in
          let start = list.starts[index]
          return UnsafeBufferPointer(rebasing: bytes[start..<(start + names[index].count)])
        }, in: directory)
    }
  }
}
