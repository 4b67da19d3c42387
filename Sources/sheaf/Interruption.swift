/// SIGINT, SIGTERM and SIGHUP end a run in good order: it stops at the next entry and tidies up.
import Glibc
import SheafCore

enum Interruption {
  /// What the running command looks at.
  static let progress = Progress()

  static func install() {
    // Then the calls that write give an error, which is told.
    for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    // Made now, and used once: a signal may come while memory is being asked for, and asking for it then is a crash.
    _ = progress.isCancelled.exchange(false, ordering: .relaxed)
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
