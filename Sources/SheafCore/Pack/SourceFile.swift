/// What a source's open file tells of itself beside its status.
import Posix

extension Descriptor {
  /// Whether a file whose size is 0 has contents.
  var holdsMoreThanItsSize: Bool {
    var byte: UInt8 = 0
    return
      (try? withUnsafeMutableBytes(
        of: &byte,
        { (there) throws(SystemError) in
          try read(into: there.baseAddress!, count: 1, at: 0)
        })) ?? 0 > 0
  }

  /// None where they cannot be read.
  func attributesOrNone() -> [Attribute] { (try? attributes()) ?? [] }

  /// Where the file has holes, as the file system tells it; the larger ones where there are more than a line can hold.
  func holes(_ status: Status) throws(SystemError) -> [Range<Int64>] {
    guard status.blocks < status.size / 512 + (status.size % 512 == 0 ? 0 : 1) else { return [] }
    var holes: [Range<Int64>] = []
    var smallest = 0
    // Some stay whatever their size: they tell a restore to look for more.
    var position: Int64 = 0
    while position < status.size {
      guard let hole = try next(data: false, from: position), hole < status.size else { break }
      let data = min(try next(data: true, from: hole) ?? status.size, status.size)
      if data - hole > smallest { holes.append(hole..<data) }
      position = max(data, position + 1)
      guard holes.count > Entry.holesLimit else { continue }
      smallest = max(2 * smallest, (64 << 10) - 1)
      holes = holes[..<Entry.manyHoles] + holes[Entry.manyHoles...].filter { $0.count > smallest }
    }
    return holes
  }
}
