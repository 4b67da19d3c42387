/// Another program, with pipes to its standard input, from its standard output and from its standard error.
import CLinux
import Glibc

public final class Child: Sendable {
  public let process: pid_t
  /// What is written here the program reads.
  public let input: Descriptor
  public let output: Descriptor
  public let errors: Descriptor
  private let state = Monitor<Int32?>(nil)

  public enum Kind: Sendable {
    /// An interrupt from the terminal (SIGINT) is kept from it, so that it lives until this program has come to an
    /// orderly end.
    case helper
    /// It has no terminal, so it cannot wait for an answer, and is not interrupted with this program; standard input is
    /// `/dev/null`.
    case unattended
    /// As `unattended`, but for its standard input, which is `input`.
    case listener

    var isAlone: Bool { self != .helper }
  }

  /// The number under which a program finds what it is passed, behind the three that each has.
  public static let passedNumber: Int32 = 3

  /// Starts `arguments[0]`, looked up in `PATH`. `environment`: `NAME=value`, on top of our own. `passing`: a descriptor
  /// that it gets as `passedNumber`.
  public init(
    _ arguments: [Bytes], kind: Kind = .helper, environment more: [Bytes] = [], passing: Descriptor? = nil
  ) throws(SystemError) {
    guard let program = arguments.first else { throw SystemError("start", [], EINVAL) }
    let (inputRead, inputWrite) = try Self.pipe()
    let (outputRead, outputWrite) = try Self.pipe()
    let (errorRead, errorWrite) = try Self.pipe()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (from, to) in [(inputRead.raw, 0), (outputWrite.raw, 1), (errorWrite.raw, 2)] {
      posix_spawn_file_actions_adddup2(&actions, from, Int32(to))
    }
    if kind == .unattended { posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) }
    if let passing { posix_spawn_file_actions_adddup2(&actions, passing.raw, Self.passedNumber) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var blocked = sigset_t()
    sigemptyset(&blocked)
    if kind == .helper { sigaddset(&blocked, SIGINT) }
    posix_spawnattr_setsigmask(&attributes, &blocked)
    // Writing to a program that has ended is an error here, not the end; there it is what programs are used to.
    Glibc.signal(SIGPIPE, SIG_IGN)
    var usual = sigset_t()
    sigemptyset(&usual)
    sigaddset(&usual, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &usual)
    let session = kind.isAlone ? Self.newSession : 0
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | session)

    var words = arguments.map { word in word.withCString { strdup($0) } }
    defer { for word in words { free(word) } }
    words.append(nil)
    var variables = Self.environment(with: more).map { line in line.withCString { strdup($0) } }
    defer { for line in variables { free(line) } }
    variables.append(nil)
    var process = pid_t()
    let code = program.withCString { posix_spawnp(&process, $0, &actions, &attributes, words, variables) }
    guard code == 0 else { throw SystemError("start", program, code) }
    self.process = process
    input = inputWrite
    output = outputRead
    errors = errorRead
  }

  /// Starts a copy of this process that runs `body`, ends with the exit code that this gives, and is unattended: so one
  /// task after the other has a process of its own without what it takes to start a program. This process must have one
  /// thread alone. The corresponding C function is `fork`.
  public init(running body: @escaping @Sendable () -> Int32) throws(SystemError) {
    let (outputRead, outputWrite) = try Self.pipe()
    let (errorRead, errorWrite) = try Self.pipe()
    let nothing = try Descriptor.open(Bytes("/dev/null"), .readWrite)
    let process = sheaf_fork()
    guard process >= 0 else { throw .last("start", Bytes("another process")) }
    if process == 0 {
      setsid()
      for (from, to) in [(nothing.raw, 0), (outputWrite.raw, 1), (errorWrite.raw, 2)] { dup2(from, Int32(to)) }
      // Who holds the ends that are read here would never be told that nobody reads any more.
      for end in [outputRead.raw, errorRead.raw] { close(end) }
      // The first thread of a copy keeps the number that its original had. The runtime's locks tell their holder by that
      // number, and where two threads want one, the kernel knows no such holder: both would wait for ever.
      let worker = Thread { _exit(body()) }
      worker.join()
      _exit(1)
    }
    self.process = process
    (input, output, errors) = (nothing, outputRead, errorRead)
  }

  /// Our own variables, but for those of the same names as the lines `NAME=value`, and these.
  private static func environment(with more: [Bytes]) -> [Bytes] {
    let names = more.map { $0.prefix { $0 != UInt8(ascii: "=") } + Bytes("=") }
    var all: [Bytes] = []
    var next: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = environ
    while let line = next?.pointee {
      let text = Bytes(cString: line)
      if !names.contains(where: { text.starts(with: $0) }) { all.append(text) }
      next = next?.successor()
    }
    return all + more
  }

  /// `F_SETPIPE_SZ`, which the headers show to GNU sources only: see fcntl(2).
  private static let setPipeSize: Int32 = 1031
  /// POSIX_SPAWN_SETSID, which the headers show to GNU sources only.
  private static let newSession: Int16 = 0x80

  private static func pipe() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
    var ends: [Int32] = [0, 0]
    guard sheaf_pipe(&ends) == 0 else { throw .last("make a pipe", []) }
    // Whatever is refused, the pipe is as large as others are.
    _ = fcntl(ends[1], setPipeSize, 1 << 20)
    return (Descriptor(raw: ends[0], path: Bytes("a pipe")), Descriptor(raw: ends[1], path: Bytes("a pipe")))
  }

  /// Waits for its end. Gives its exit code, or 128 and the number of the signal that ended it.
  @discardableResult public func wait() -> Int32 { state.look { Self.wait(process, 0, &$0) } ?? 0 }

  /// As `wait`, without waiting; nil: it has not ended yet.
  public func ended() -> Int32? { state.look { Self.wait(process, WNOHANG, &$0) } }

  /// Sends it a signal.
  public func signal(_ number: Int32) { if ended() == nil { Glibc.kill(process, number) } }

  /// Sends a signal to one that is unattended, and to all that it has started.
  public func signalGroup(_ number: Int32) { Glibc.kill(-process, number) }

  /// Gives it so long to end by itself, and ends it then.
  public func end(afterMilliseconds grace: Int = 2000) {
    for _ in 0..<(grace / 10) {
      if ended() != nil { return }
      usleep(10_000)
    }
    Glibc.kill(process, SIGKILL)
    wait()
  }

  private static func wait(_ process: pid_t, _ options: Int32, _ ended: inout Int32?) -> Int32? {
    if let ended { return ended }
    var status: Int32 = 0
    var found: pid_t
    repeat { found = waitpid(process, &status, options) } while found < 0 && errno == EINTR
    guard found == process else { return nil }
    let signal = status & 0x7f
    ended = signal == 0 ? (status >> 8) & 0xff : 128 + signal
    return ended
  }
}
