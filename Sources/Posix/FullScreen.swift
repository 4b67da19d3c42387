/// The terminal of standard input and output as one screen that a program draws on, and its keys as they are pressed. The
/// sequences are those of ECMA-48 and xterm, which every terminal of today knows; the corresponding C functions are
/// `tcgetattr` and `tcsetattr`. Written here and not by ncurses: a dozen sequences are needed, and a static program on a
/// rescue disk finds no library there and no terminfo.
import CLinux
import Glibc
import Synchronization

public enum FullScreen {
  /// Columns and rows.
  public struct Size: Equatable, Sendable {
    public var columns: Int
    public var rows: Int
  }

  nonisolated(unsafe) private static var usual = termios()
  private static let isOn = Atomic<Bool>(false)
  private static let isContinued = Atomic<Bool>(false)
  /// The other screen, no breaking of lines, no cursor; and back.
  private static let entering: StaticString = "\u{1B}[?1049h\u{1B}[?7l\u{1B}[?25l\u{1B}[2J"
  private static let leaving: StaticString = "\u{1B}[0m\u{1B}[?25h\u{1B}[?7h\u{1B}[?1049l"

  /// Made before any signal comes: in a signal's handler nothing may be allocated.
  public static func prepare() { _ = (isOn.load(ordering: .relaxed), isContinued.load(ordering: .relaxed), leaving) }

  public static var isShown: Bool { isOn.load(ordering: .relaxed) }

  /// nil where the terminal does not tell.
  public static var size: Size? {
    let size = sheaf_terminal_size(1)
    return size.ws_col > 0 && size.ws_row > 0 ? Size(columns: Int(size.ws_col), rows: Int(size.ws_row)) : nil
  }

  /// Keys come one by one and unseen. ^C stays a signal, so that what takes long can be stopped; ^Z and ^\ are keys, as
  /// the screen has to be left first.
  public static func enter() throws(SystemError) {
    if !isShown {
      guard tcgetattr(0, &usual) == 0 else { throw .last("look at", Bytes("the terminal")) }
    }
    var raw = usual
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO | IEXTEN)
    raw.c_iflag &= ~tcflag_t(IXON | ICRNL | INLCR | ISTRIP)
    withUnsafeMutableBytes(of: &raw.c_cc) { keys in
      // _POSIX_VDISABLE of Linux is 0.
      for key in [VSUSP, VQUIT] { keys[Int(key)] = 0 }
      keys[Int(VMIN)] = 1
      keys[Int(VTIME)] = 0
    }
    guard tcsetattr(0, TCSADRAIN, &raw) == 0 else { throw .last("set up", Bytes("the terminal")) }
    isOn.store(true, ordering: .relaxed)
    signal(SIGCONT) { _ in FullScreen.isContinued.store(true, ordering: .relaxed) }
    write(entering)
  }

  /// Leaves the terminal as it was. May be called in a signal's handler.
  public static func leave() {
    guard isOn.exchange(false, ordering: .relaxed) else { return }
    write(leaving)
    tcsetattr(0, TCSAFLUSH, &usual)
  }

  /// Stops this program as ^Z does, until it is continued.
  public static func suspend() throws(SystemError) {
    leave()
    // Only to this thread: it is not to go on before it was stopped.
    raise(SIGTSTP)
    try enter()
  }

  /// Whether the program was stopped from elsewhere and goes on: the terminal may have been set up anew meanwhile.
  public static func takeContinued() -> Bool { isContinued.exchange(false, ordering: .relaxed) }

  private static func write(_ text: StaticString) { _ = Glibc.write(1, text.utf8Start, text.utf8CodeUnitCount) }
}
