/// The rules of the terminal. Results go to standard output, everything else to standard error. Messages are one
/// lower-case line: `sheaf: error: …`, then `hint: …` where there is one. Colours only on a terminal, never with
/// NO_COLOR. No name is printed raw on a terminal: control characters could send escape sequences.
import Glibc
import Posix
import SheafCore
import Synchronization

final class Console: Sendable {
  static let shared = Console()

  /// Set by commands that write or check something: they go on even if nobody reads their output.
  let finishesWork = Atomic<Bool>(false)

  private struct State {
    var out = Bytes()
    /// A progress line stands on the terminal and must be wiped before anything else is printed.
    var lineShown = false
    var outFailed = false
  }
  private let state = Monitor(State())
  private let outTerminal = Atomic<Bool>(Descriptor.standardOutput.isTerminal)
  private let errorTerminal = Atomic<Bool>(Descriptor.standardError.isTerminal)
  var outIsTerminal: Bool { outTerminal.load(ordering: .relaxed) }
  var errorIsTerminal: Bool { errorTerminal.load(ordering: .relaxed) }
  private static let isDumb = Host.environment("TERM") == Bytes("dumb")
  private let noColor = Host.environment("NO_COLOR").map { !$0.isEmpty } ?? false || isDumb

  /// Whether a line can be written again and again in one place.
  var hasLiveLine: Bool { errorIsTerminal && !Self.isDumb }
  /// Of the terminal that results go to; what goes into a pipe or a file has all the room there is.
  var columns: Int { outIsTerminal ? Self.columns(of: .standardOutput) : .max }
  var errorColumns: Int { errorIsTerminal ? Self.columns(of: .standardError) : .max }

  /// A terminal that does not tell has as many as the environment says.
  private static func columns(of terminal: Descriptor) -> Int {
    let told = terminal.terminalColumns ?? Host.environment("COLUMNS").flatMap { Int($0.shown) }
    return max(20, told ?? 80)
  }

  enum Style: String {
    case bold = "1"
    case dim = "2"
    case red = "31"
    case yellow = "33"
    case green = "32"
  }

  /// The text in a style where the stream is a terminal.
  func styled(_ text: String, _ style: Style, onError: Bool = false) -> String {
    (onError ? errorIsTerminal : outIsTerminal) && !noColor ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
  }

  /// A line on standard output, as it is.
  func line(_ line: String) { write(Bytes(line.utf8) + [10]) }

  /// A line of words on standard output.
  func print(_ line: String) { self.line(Lines.wrapped(GivenStore.filled(line), to: columns)) }

  /// A line of a listing: columns, a name, which is never broken, and what is said of it. What does not fit stands below.
  func list(_ name: Bytes, behind head: String = "", _ words: String = "", between gap: String = "  ") {
    var line = Bytes(head.utf8) + name
    var width = Show.columns(head) + Show.columns(name.shown)
    if outIsTerminal, !head.isEmpty, width > columns {
      line = Bytes((Lines.trimmed(head) + "\n    ").utf8) + name
      width = 4 + Show.columns(name.shown)
    }
    if !words.isEmpty {
      let isBelow = outIsTerminal && width + 2 + Show.columns(words) > columns
      line += Bytes((isBelow ? "\n" + Lines.wrapped("    " + words, to: columns) : gap + words).utf8)
    }
    write(line + [10])
  }

  /// A path as output: raw bytes into a pipe or file, escaped on a terminal.
  func path(_ bytes: Bytes) -> Bytes { outIsTerminal ? Bytes(Show.path(bytes).utf8) : bytes }

  func write(_ bytes: Bytes) {
    state.look { s in
      s.out += bytes
      if s.out.count > 32768 || outIsTerminal { flush(&s) }
    }
  }

  private func flush(_ s: inout State) {
    if s.outFailed {
      s.out = []
      return
    }
    if s.lineShown { Self.wipe(&s) }
    do throws(SystemError) { try Descriptor.standardOutput.write(s.out) } catch {
      // A closed pipe (as with `| head`) is not an error, but nobody reads any more.
      s.outFailed = true
      if error.code == EPIPE {
        // A command that only shows something is done; one that changes something goes on silently.
        if finishesWork.load(ordering: .relaxed) {
          s.out = []
          return
        }
        _exit(0)
      }
      try? Descriptor.standardError.write(Bytes("sheaf: error: cannot write to standard output: \(error.cause)\n".utf8))
      _exit(1)
    }
    s.out = []
  }

  /// What was written so far is seen now.
  func flush() { state.look { flush(&$0) } }

  /// In a process whose standard output and standard error are others than when it began.
  func reopen() {
    outTerminal.store(Descriptor.standardOutput.isTerminal, ordering: .relaxed)
    errorTerminal.store(Descriptor.standardError.isTerminal, ordering: .relaxed)
    state.look { $0 = State() }
  }

  func close() { state.look { flush(&$0) } }

  private func message(_ text: String) {
    let text = GivenStore.filled(text)
    state.look { s in
      flush(&s)
      if s.lineShown { Self.wipe(&s) }
      try? Descriptor.standardError.write(Bytes(Lines.wrapped(text, to: errorColumns).utf8) + [10])
    }
  }

  func error(_ text: String, hint: String? = nil) {
    message("sheaf: \(styled("error:", .red, onError: true)) \(text)")
    if let hint { message("hint: \(hint)") }
  }

  func warning(_ text: String) { message("sheaf: \(styled("warning:", .yellow, onError: true)) \(text)") }
  func note(_ text: String) { message("sheaf: \(text)") }
  /// On standard error, without the program's name.
  func say(_ text: String) { message(text) }

  /// On standard error, where the answer is typed behind it.
  func ask(_ text: String) {
    state.look { s in
      flush(&s)
      if s.lineShown { Self.wipe(&s) }
      try? Descriptor.standardError.write(Bytes(text.utf8))
    }
  }

  /// The live line; replaced by the next, wiped by anything else.
  func showLine(_ text: String) {
    state.look { s in
      try? Descriptor.standardError.write(Bytes("\r\u{1B}[K\(text)".utf8))
      s.lineShown = true
    }
  }

  func wipeLine() { state.look { if $0.lineShown { Self.wipe(&$0) } } }

  private static func wipe(_ s: inout State) {
    try? Descriptor.standardError.write(Bytes("\r\u{1B}[K".utf8))
    s.lineShown = false
  }
}
