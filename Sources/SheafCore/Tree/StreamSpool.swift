/// Where streams lie until their ends are known.
///
/// A tar header comes before the contents and tells their size, so a stream cannot go straight into an archive: its
/// header would have to be filled in afterwards, which no store on another machine, no encrypted one and no running
/// digest allows, and a command that fails halfway would leave half a file. So all pieces but the first and the last
/// are deflated at once into the gzip members that the archive will have, and these are spooled, into a file without a
/// name. Once the end has come the first piece gets its header, and the members are copied behind it. What that costs
/// is one copy of the compressed bytes, and what is the same as last time is not copied at all.
import Posix
import Tar

final class StreamSpool: Sendable {
  let directory: Bytes
  private let file = Monitor<(file: Descriptor?, end: Int64)>((nil, 0))

  /// `directory`: where the file is made, when there is something to put into it.
  init(in directory: Bytes) { self.directory = directory }

  /// The file, standing where the next stream begins.
  func begin() throws(SystemError) -> (file: Descriptor, start: Int64) {
    var failure: SystemError?
    let found = file.look { state -> (Descriptor, Int64)? in
      do throws(SystemError) {
        if state.file == nil {
          state.file = try Descriptor.open(directory, [.read, .directory]).openNameless()
        }
        try state.file?.seek(to: state.end)
      } catch { failure = error }
      return failure == nil ? state.file.map { ($0, state.end) } : nil
    }
    guard let found else { throw failure ?? SystemError("open", directory, 0) }
    return found
  }

  /// What was written since `begin` stays.
  func keep(_ bytes: Int64) { file.look { $0.end += bytes } }

  /// What was written since `begin` is of no use.
  func drop() { file.look { try? $0.file?.truncate(to: $0.end) } }

  func append(_ range: Range<Int64>, to out: Buffer) throws(SystemError) {
    guard let file = file.look({ $0.file }) else { return }
    out.reserve(range.count)
    let read = try file.read(into: out.end, count: range.count, at: range.lowerBound)
    guard read == range.count else { throw .damaged(directory, "lost what was spooled there") }
    out.count += read
  }
}
