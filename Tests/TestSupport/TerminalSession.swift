/// A terminal with a program in it, by tmux: keys go in, and what is on the screen comes out as text.
import Glibc
import Posix

public final class TerminalSession {
  public static let isPossible = Command.find("tmux") != nil
  public static let needs = "tmux is not installed"

  private let socket: Bytes
  private let settings: Bytes
  /// Of a request to tmux and of anything that is waited for, in seconds.
  private static let patience = 30.0

  /// Runs the command in a new terminal. Behind what it leaves on the screen stands `ended with`, and its exit code.
  public init(_ command: Command, columns: Int, rows: Int, in scratch: Scratch) throws {
    // The path of a socket has 107 bytes at most.
    socket = Bytes("/tmp/sheaf-terminal-\(getpid())-\(UInt32.random(in: 0 ... .max))".utf8)
    let script: Raw = """
      trap : INT; stty -a >"$0-before"; "$@"; code=$?; stty -a >"$0-after"; echo; echo "ended with $code"; exec sleep 600
      """
    settings = scratch.path("stty-\(Raw(socket.splitAtName.name))")
    let own: [Raw] = ["sh", "-c", script, Raw(settings)]
    var tmux = Command("tmux", Self.options(socket), environment: command.environment, in: command.directory)
    tmux.environment["LC_ALL"] = "C.UTF-8"
    tmux.environment["TMUX"] = Raw?.none
    tmux.arguments += ["new-session", "-d", "-x", "\(columns)", "-y", "\(rows)"]
    tmux.arguments += own + [Raw(try command.resolvedProgram())] + command.arguments
    tmux.timeout = Self.patience
    try tmux.run().checked()
  }

  deinit {
    _ = try? tmux(["kill-server"])
    _ = socket.withCString { unlink($0) }
  }

  private static func options(_ socket: Bytes) -> [Raw] { ["-u", "-f", "/dev/null", "-S", Raw(socket)] }

  @discardableResult private func tmux(_ arguments: [Raw]) throws -> Output {
    try Command("tmux", Self.options(socket) + arguments, timeout: Self.patience).run().checked()
  }

  /// Types keys by their names in tmux(1): `Enter`, `C-c`, `Up`, `x`.
  public func press(_ keys: Raw...) throws { try tmux(["send-keys"] + keys) }

  /// Types a text as it is.
  public func type(_ text: Raw) throws { try tmux(["send-keys", "-l", text]) }

  public func resize(columns: Int, rows: Int) throws {
    try tmux(["resize-window", "-x", "\(columns)", "-y", "\(rows)"])
  }

  /// Its lines from the top, without the spaces at their ends.
  public func screen() throws -> [String] { try tmux(["capture-pane", "-p"]).lines }

  /// Whether the program left the terminal set up as it found it.
  public func isSetUpAsBefore() throws -> Bool {
    let (before, after) = ("\(settings)-before" as Raw, "\(settings)-after" as Raw)
    return try Command("cmp", [before, after]).run().succeeded
  }

  /// The program in it.
  public func program() throws -> Int32 {
    let shell = try tmux(["display-message", "-p", "#{pane_pid}"]).text.filter(\.isNumber)
    let list = Bytes("/proc/\(shell)/task/\(shell)/children".utf8)
    let children = try Descriptor.open(list, .read).readAll(atMost: 1 << 16).shown
    guard let child = children.split(separator: " ").first.flatMap({ Int32($0) }) else {
      throw Command.Failure(description: "nothing runs in the terminal")
    }
    return child
  }

  /// Waits until the screen holds a text, and gives the screen.
  @discardableResult public func wait(for text: String) throws -> [String] {
    try wait(until: text) { $0.contains { $0.contains(text) } }
  }

  @discardableResult public func wait(until what: String, _ isSo: ([String]) -> Bool) throws -> [String] {
    let deadline = Timestamp.monotonicNanoseconds() + Int64(Self.patience * 1e9)
    var screen = try screen()
    while !isSo(screen) {
      guard Timestamp.monotonicNanoseconds() < deadline else {
        throw Command.Failure(description: "no '\(what)' on the screen:\n\(screen.joined(separator: "\n"))")
      }
      usleep(20_000)
      screen = try self.screen()
    }
    return screen
  }

  /// Waits for the end of the program and gives its exit code.
  public func end() throws -> Int32? {
    let screen = try wait(for: "ended with ")
    let line = screen.last { $0.hasPrefix("ended with ") }
    return line.flatMap { Int32($0.dropFirst("ended with ".count)) }
  }
}
