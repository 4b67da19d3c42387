/// Files that say they are empty and are not, as those of `/proc`: what they hold is not saved.
import Posix

final class UntoldContents: Sendable {
  private let state = Monitor<(first: Bytes, count: Int64)>(([], 0))

  func add(_ path: Bytes) {
    state.look {
      if $0.count == 0 || path.lexicographicallyPrecedes($0.first) { $0.first = path }
      $0.count += 1
    }
  }

  func tell(_ reporter: any Reporter) {
    let (first, count) = state.look { $0 }
    guard count > 0 else { return }
    let more = count > 1 ? " (and \(count - 1) more like it)" : ""
    reporter.problem("looks empty by its size, but has contents, which are not saved\(more)", path: first)
  }
}
