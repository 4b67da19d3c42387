/// The lines of a manifest that say how long each gzip member is and what its checksum is: `# members: FIRST OFFSET
/// LENGTH:CRC …`, so many to a line.
import Tar

struct MemberTable {
  private var waiting: [(length: Int, checksum: UInt32)] = []
  private var first: (number: Int64, offset: Int64) = (0, 0)
  private var end: (number: Int64, offset: Int64) = (0, 0)

  private static let lineLength = 64

  /// Takes the next member; appends a line to `lines` when one is full.
  mutating func add(length: Int, checksum: UInt32, to lines: Buffer) {
    waiting.append((length, checksum))
    end = (end.number + 1, end.offset + Int64(length))
    if waiting.count == Self.lineLength { flush(to: lines) }
  }

  /// Appends what is left.
  mutating func flush(to lines: Buffer) {
    guard !waiting.isEmpty else { return }
    lines.append("# members: ")
    lines.append(decimal: first.number)
    lines.append(" ")
    lines.append(decimal: first.offset)
    for (length, checksum) in waiting {
      lines.append(" ")
      lines.append(decimal: UInt64(length))
      lines.append(":")
      withUnsafeBytes(of: checksum.bigEndian) { lines.append(hex: $0) }
    }
    lines.append("\n")
    first = end
    waiting.removeAll(keepingCapacity: true)
  }
}
