/// The terminal that the person sits at, whatever standard input and output are.
import CLinux
import Glibc

public enum Terminal {
  /// nil where there is none.
  public static func open() -> Descriptor? { try? Descriptor.open(Bytes("/dev/tty"), .readWrite) }
}

extension Descriptor {
  /// Runs `body` while what is typed is not shown. The corresponding C function is `tcsetattr`.
  public func withoutEcho<R>(_ body: () throws(SystemError) -> R) throws(SystemError) -> R {
    var usual = termios()
    guard tcgetattr(raw, &usual) == 0 else { throw .last("look at", path) }
    var silent = usual
    silent.c_lflag &= ~UInt32(ECHO)
    silent.c_lflag |= UInt32(ECHONL)
    guard tcsetattr(raw, TCSAFLUSH, &silent) == 0 else { throw .last("set up", path) }
    defer { tcsetattr(raw, TCSAFLUSH, &usual) }
    return try body()
  }

  /// Waits until there is something to be read, or until `isCancelled`; false then.
  public func waitForInput(unless isCancelled: () -> Bool) throws(SystemError) -> Bool {
    while !isCancelled() {
      var one = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
      // A signal may come just before the call.
      let count = poll(&one, 1, 200)
      if count > 0 { return true }
      if count < 0, errno != EINTR { throw .last("read", path) }
    }
    return false
  }

  /// What is typed up to the next end of a line, without that; nil at the end of input, or when `isCancelled`.
  public func typedLine(unless isCancelled: () -> Bool) throws(SystemError) -> Bytes? {
    var line = Bytes()
    while try waitForInput(unless: isCancelled) {
      // A terminal gives no more than one line at a time.
      let more = try readSome(atMost: 4096)
      if more.isEmpty { return nil }
      line += more
      if line.last == 10 { return line.dropLast() }
    }
    return nil
  }
}
