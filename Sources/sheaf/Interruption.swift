/// SIGINT, SIGTERM and SIGHUP end a run in good order: it stops at the next entry and tidies up.
import Glibc
import SheafCore

enum Interruption {
  /// What the running command looks at.
  static let progress = Progress()

  static func install() {
    signal(SIGPIPE, SIG_IGN)
    // A limit on files' sizes is met by an error, and by another volume.
    signal(SIGXFSZ, SIG_IGN)
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { number in
        // A second signal means it.
        if Interruption.progress.isCancelled.exchange(true, ordering: .relaxed) { _exit(128 + number) }
      }
    }
  }
}

enum Foundationless {
  static func exit(_ code: Int32) -> Never { Glibc.exit(code) }
}
