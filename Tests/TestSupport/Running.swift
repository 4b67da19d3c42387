/// A started program: a thread that feeds it and reads what it writes, and ways to disturb it meanwhile.
import CLinux
import Glibc
import Posix

/// In a process group of its own, so that it and its children can be killed together.
public final class Running: Sendable {
  public let processID: Int32
  private let command: [Bytes]
  private let state = Monitor(State())

  private struct State {
    var stdout = Bytes()
    var stderr = Bytes()
    var timedOut = false
    /// As `waitpid` gives it; the process is gone, and its number may be another's, once this is set.
    var ended: Int32?
    /// All has been read as well.
    var done = false
  }

  init(_ command: Command) throws {
    self.command = try command.fullArguments()
    let input = command.input.flatMap { $0.isEmpty ? nil : $0 }
    let (stdinRead, stdinWrite) = input == nil ? (try Self.nothing(), -1) : try Self.pipe()
    let (stdoutRead, stdoutWrite) = try Self.pipe()
    let (stderrRead, stderrWrite) = try Self.pipe()
    defer { for fd in [stdinRead, stdoutWrite, stderrWrite] { close(fd) } }
    do {
      processID = try Self.spawn(
        self.command, try command.fullEnvironment(), in: command.directory, [stdinRead, stdoutWrite, stderrWrite])
    } catch {
      for fd in [stdinWrite, stdoutRead, stderrRead] where fd >= 0 { close(fd) }
      throw error
    }
    let deadline = Timestamp.monotonicNanoseconds() + Int64(command.timeout * 1e9)
    let id = processID
    // The thread holds the state only: whoever loses interest in a program need not wait for it.
    let state = state
    detached {
      Pump(processID: id, state: state, input: input ?? [], deadline: deadline)
        .run(stdinWrite, stdoutRead, stderrRead)
    }
  }

  /// Waits for its end and gives everything it wrote.
  public func wait() -> Output {
    state.wait { s in
      guard s.done, let ended = s.ended else { return nil }
      let signal = ended & 0x7f
      return Output(
        status: signal == 0 ? ended >> 8 & 0xff : 128 + signal, signal: signal, timedOut: s.timedOut,
        stdout: s.stdout, stderr: s.stderr, command: command)
    }
  }

  public var isRunning: Bool { state.look { $0.ended == nil } }

  /// Sends a signal to the first program that this one started, as strace does.
  public func signalChild(_ number: Int32) throws {
    let list = Bytes("/proc/\(processID)/task/\(processID)/children".utf8)
    let children = try Descriptor.open(list, .read).readAll(atMost: 1 << 16).shown
    if let child = children.split(separator: " ").first.flatMap({ Int32($0) }) { kill(child, number) }
  }

  /// Sends a signal, to its whole group where `group`; false where it has ended already.
  @discardableResult public func signal(_ number: Int32, group: Bool = false) -> Bool {
    // Under the lock, so that it is not reaped in between and the number given to another process.
    state.look { $0.ended == nil && kill(group ? -processID : processID, number) == 0 }
  }

  /// Waits until it has written `text` to standard output or standard error; false where it ends without.
  public func waitForOutput(_ text: Raw) -> Bool {
    state.wait { s in
      if Self.contains(s.stdout, text.bytes) || Self.contains(s.stderr, text.bytes) { return true }
      return s.done ? false : nil
    }
  }

  /// What it wrote to its standard output by now.
  public var outputSoFar: Bytes { state.look { $0.stdout } }

  private static func contains(_ all: Bytes, _ part: Bytes) -> Bool {
    guard all.count >= part.count, let first = part.first else { return part.isEmpty }
    return all.withUnsafeBytes { all in
      part.withUnsafeBytes { part in
        var position = all.baseAddress!
        let last = position + all.count - part.count
        while position <= last, let found = memchr(position, Int32(first), last - position + 1) {
          if memcmp(found, part.baseAddress!, part.count) == 0 { return true }
          position = UnsafeRawPointer(found) + 1
        }
        return false
      }
    }
  }

  // MARK: Starting

  private static func nothing() throws -> Int32 {
    let fd = open("/dev/null", O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { throw SystemError("open", Bytes("/dev/null"), errno) }
    return fd
  }

  /// Closed in every program that is started, also in those that another test starts at this moment.
  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    guard Hidden.pipe2(&ends, O_CLOEXEC) == 0 else { throw SystemError("make a pipe", [], errno) }
    return (ends[0], ends[1])
  }

  private static func spawn(
    _ arguments: [Bytes], _ environment: [Bytes], in directory: Bytes?, _ standard: [Int32]
  ) throws -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (target, fd) in standard.enumerated() { posix_spawn_file_actions_adddup2(&actions, fd, Int32(target)) }
    directory?.withCString { _ = Hidden.addchdir(&actions, $0) }

    // Nothing of how the test runner treats signals must reach the program.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var argv = arguments.map { $0.withCString { strdup($0) } } + [nil]
    var envp = environment.map { $0.withCString { strdup($0) } } + [nil]
    defer { for text in argv + envp { free(text) } }
    var id: pid_t = 0
    let code = arguments[0].withCString { posix_spawn(&id, $0, &actions, &attributes, &argv, &envp) }
    guard code == 0 else { throw SystemError("start", arguments[0], code) }
    return id
  }

  // MARK: While it runs

  private struct Pump {
    let processID: Int32
    let state: Monitor<State>
    var input: Bytes
    var written = 0
    var deadline: Int64

    /// Closes all three.
    func run(_ stdin: Int32, _ stdout: Int32, _ stderr: Int32) {
      var pump = self
      // Writing to a program that reads no more must give an error, not end the tests.
      var signals = sigset_t()
      sigemptyset(&signals)
      sigaddset(&signals, SIGPIPE)
      pthread_sigmask(SIG_BLOCK, &signals, nil)
      if stdin >= 0 { _ = fcntl(stdin, F_SETFL, O_NONBLOCK) }
      pump.transfer(stdin, stdout, stderr)
      pump.reap()
      state.change { $0.done = true }
    }

    private mutating func transfer(_ stdin: Int32, _ stdout: Int32, _ stderr: Int32) {
      var ends = [
        pollfd(fd: stdin, events: Int16(POLLOUT), revents: 0), pollfd(fd: stdout, events: Int16(POLLIN), revents: 0),
        pollfd(fd: stderr, events: Int16(POLLIN), revents: 0),
      ]
      defer { for end in ends where end.fd >= 0 { close(end.fd) } }
      var chunk = Bytes(repeating: 0, count: 65536)
      // Written once the program has ended: a child it left behind may hold the pipes open for ever.
      var quietAfterEnd = 0
      while ends[1].fd >= 0 || ends[2].fd >= 0 {
        killIfLate()
        let ready = poll(&ends, nfds_t(ends.count), 100)
        if ready == 0, hasEnded() {
          quietAfterEnd += 1
          if quietAfterEnd > 3 { return }
        }
        for index in ends.indices where ends[index].fd >= 0 && ends[index].revents != 0 {
          if index == 0 ? !feed(ends[0].fd) : !drain(ends[index].fd, index, &chunk) {
            close(ends[index].fd)
            ends[index].fd = -1
          }
        }
      }
    }

    /// False: nothing more to write.
    private mutating func feed(_ fd: Int32) -> Bool {
      let n = input.withUnsafeBytes { write(fd, $0.baseAddress! + written, input.count - written) }
      if n < 0 { return errno == EAGAIN || errno == EINTR }
      written += n
      return written < input.count
    }

    /// False: nothing more to read.
    private func drain(_ fd: Int32, _ index: Int, _ chunk: inout Bytes) -> Bool {
      let n = chunk.withUnsafeMutableBytes { read(fd, $0.baseAddress, $0.count) }
      if n < 0 { return errno == EINTR }
      if n == 0 { return false }
      let new = chunk[..<n]
      state.change { s in
        if index == 1 { s.stdout += new } else { s.stderr += new }
      }
      return true
    }

    private func hasEnded() -> Bool {
      var info = siginfo_t()
      return waitid(P_PID, id_t(processID), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_signo != 0
    }

    private func killIfLate() {
      guard Timestamp.monotonicNanoseconds() > deadline else { return }
      kill(-processID, SIGKILL)
      state.change { $0.timedOut = true }
    }

    /// It may have closed its output long before its end.
    private func reap() {
      var pause: UInt32 = 200
      while !hasEnded() {
        killIfLate()
        usleep(pause)
        pause = min(pause * 2, 20_000)
      }
      state.change { s in
        var status: Int32 = 0
        while waitpid(processID, &status, 0) < 0, errno == EINTR {}
        s.ended = status
      }
    }
  }
}

/// What the headers show to GNU sources only, which Swift's are not.
private enum Hidden {
  static let pipe2 = unsafeBitCast(
    dlsym(nil, "pipe2"), to: (@convention(c) (UnsafeMutablePointer<Int32>, Int32) -> Int32).self)
  static let addchdir = unsafeBitCast(
    dlsym(nil, "posix_spawn_file_actions_addchdir_np"),
    to: (@convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, UnsafePointer<CChar>) -> Int32).self)
}

/// Runs `body` in a thread that no one joins.
private func detached(_ body: @escaping @Sendable () -> Void) {
  final class Box {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  var thread = pthread_t()
  let box = Unmanaged.passRetained(Box(body))
  let code = pthread_create(
    &thread, nil,
    { argument in
      Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
      return nil
    }, box.toOpaque())
  precondition(code == 0, "cannot start a thread: \(String(cString: strerror(code)))")
  pthread_detach(thread)
}
