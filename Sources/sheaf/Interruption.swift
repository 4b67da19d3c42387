/// SIGINT, SIGTERM and SIGHUP end a run in good order: it stops at the next entry and tidies up.
import Glibc
import Posix
import SheafCore
import Synchronization

enum Interruption {
  /// What the running command looks at.
  static let progress = Progress()

  /// Whether somebody sits at a terminal and waits.
  private static let terminal = Atomic<Bool>(isatty(STDERR_FILENO) == 1)

  /// In a signal's handler nothing may be allocated.
  private static let says: StaticString = "\r\u{1B}[Ksheaf: interrupted, finishing; once more ends it at once\n"
  private static let wipes: StaticString = "\r\u{1B}[K"

  /// The signal that came last.
  private static let last = Atomic<Int32>(0)

  /// Where a question was answered with ^C, or with the end of input: the answer is no, and the program goes on. False
  /// where it is to end.
  static func isAnAnswer() -> Bool {
    guard progress.goesOn || last.load(ordering: .relaxed) == SIGINT else { return false }
    progress.isCancelled.store(false, ordering: .relaxed)
    return true
  }

  /// In a process whose standard error is another than when it began.
  static func reopen() { terminal.store(isatty(STDERR_FILENO) == 1, ordering: .relaxed) }

  static func install() {
    // Made now, for the same reason as below.
    _ = (says, wipes)
    reopen()
    // Without these signals the calls that write return an error, which is reported.
    for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    // Made and used once now: a handler must not allocate memory, since a signal may arrive in the middle of an allocation.
    _ = progress.isCancelled.exchange(false, ordering: .relaxed)
    last.store(0, ordering: .relaxed)
    FullScreen.prepare()
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { number in
        Interruption.last.store(number, ordering: .relaxed)
        // A second signal means it.
        let isSecond = Interruption.progress.isCancelled.exchange(true, ordering: .relaxed)
        if Interruption.terminal.load(ordering: .relaxed), !FullScreen.isShown {
          let text = isSecond ? Interruption.wipes : Interruption.says
          _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
        }
        if isSecond {
          FullScreen.leave()
          _exit(128 + number)
        }
      }
    }
  }
}

enum Foundationless {
  static func exit(_ code: Int32) -> Never { Glibc.exit(code) }
}
