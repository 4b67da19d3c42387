/// Running the `sheaf` program, and any other, with bytes as arguments: what Foundation's `Process` cannot.
import Glibc
import Posix

/// A program to run, with everything it is given.
public struct Command: Sendable {
  public struct User: Sendable {
    public var uid: UInt32
    public var gid: UInt32

    public init(uid: UInt32, gid: UInt32) {
      self.uid = uid
      self.gid = gid
    }

    /// Someone without any rights, on every Debian.
    public static let nobody = User(uid: 65534, gid: 65534)
  }

  /// What kept a program from being started.
  public struct Failure: Error, CustomStringConvertible {
    public let description: String
  }

  /// A path, or a name to be looked up in `PATH`.
  public var program: Raw
  /// Without the program's own name.
  public var arguments: [Raw]
  /// On top of the tests' own environment; nil takes a variable away.
  public var environment: [String: Raw?] = [:]
  /// What it reads from standard input; end of file at once where nil.
  public var input: Bytes?
  public var directory: Bytes?
  /// Only root can give up being root: see `Host.isRoot`. The program's file must be reachable for that user.
  public var user: User?
  /// In seconds; then it is killed with all its children, and `Output.timedOut` says so.
  public var timeout: Double

  public init(
    _ program: Raw, _ arguments: [Raw] = [], environment: [String: Raw?] = [:], input: Bytes? = nil,
    in directory: Bytes? = nil, as user: User? = nil, timeout: Double = 300
  ) {
    self.program = program
    self.arguments = arguments
    self.environment = environment
    self.input = input
    self.directory = directory
    self.user = user
    self.timeout = timeout
  }

  /// All commands of the program, as `sheaf --help` lists them, but for `help` itself.
  public static func sheafCommands() throws -> [String] {
    let help = try sheaf(["--help"]).run().checked()
    return help.lines.drop { $0 != "SUBCOMMANDS:" }.dropFirst().compactMap { line -> String? in
      guard line.hasPrefix("  "), !line.hasPrefix("   "), let word = line.split(separator: " ").first else {
        return nil
      }
      let name = String(word.filter { $0 != "," })
      return name != "help" && name.allSatisfy(\.isLowercase) ? name : nil
    }
  }

  /// Where the keys of all encrypted stores of these tests are.
  private static let configuration = try! Scratch()

  /// The key of the store with this marker.
  public static func key(of store: Bytes) throws -> Bytes {
    let marker = try Descriptor.open(store.joined(Bytes("sheaf.store")), .read).readAll()
    let line = marker.split(separator: 10).first { $0.starts(with: Bytes("uuid=")) }
    guard let uuid = line?.dropFirst(5) else { throw Failure(description: "the store has no identity") }
    return configuration.path("sheaf/keys/\(Raw(Bytes(uuid))).key")
  }

  /// The program under test; without a home, so that it remembers nothing of stores unless a test wants it to.
  public static func sheaf(
    _ arguments: [Raw], environment: [String: Raw?] = [:], input: Bytes? = nil, in directory: Bytes? = nil,
    as user: User? = nil, timeout: Double = 300
  ) throws -> Command {
    let homeless: [String: Raw?] = [
      "HOME": Raw?.none, "XDG_STATE_HOME": Raw?.none, "XDG_CONFIG_HOME": Raw(configuration.path),
    ]
    return Command(
      Raw(try sheafBinary()), arguments, environment: homeless.merging(environment) { $1 }, input: input, in: directory,
      as: user,
      timeout: timeout)
  }

  /// The same program with these in front of it, as in `prlimit --nofile=64 sheaf …`.
  public func wrapped(_ wrapper: [Raw]) throws -> Command {
    var copy = self
    copy.program = wrapper[0]
    copy.arguments = wrapper.dropFirst() + [Raw(try resolvedProgram())] + arguments
    return copy
  }

  /// Runs it to its end.
  public func run() throws -> Output { try start().wait() }

  /// Starts it, with what it writes being read from now on, and returns at once.
  public func start() throws -> Running { try Running(self) }

  // MARK: Finding programs

  /// The path of an installed program; nil where there is none.
  public static func find(_ name: Raw) -> Bytes? {
    let path = Host.environment("PATH") ?? Bytes("/usr/bin:/bin")
    let places = path.split(separator: UInt8(ascii: ":")).map { Bytes($0) } + [Bytes("/usr/sbin"), Bytes("/sbin")]
    return places.map { $0.joined(name.bytes) }.first(where: isProgram)
  }

  /// `SHEAF_BINARY`; else what stands next to the running tests, which SwiftPM puts into the same directory; else
  /// what was built last below this file's package, in the tests' own configuration first.
  public static func sheafBinary() throws -> Bytes {
    if let given = Host.environment("SHEAF_BINARY"), !given.isEmpty {
      let path = (try? Host.resolved(given)) ?? given
      guard isProgram(path) else { throw Failure(description: "SHEAF_BINARY is no program: \(path.quoted)") }
      return path
    }
    guard let found = builtBinary else {
      throw Failure(description: "sheaf is not built; set SHEAF_BINARY or build it")
    }
    return found
  }

  private static let builtBinary: Bytes? = {
    var candidates: [Bytes] = []
    if let tests = try? Host.resolved(Bytes("/proc/self/exe")) {
      candidates.append(tests.splitAtName.parent.joined(Bytes("sheaf")))
    }
    #if DEBUG
      let configurations = ["debug", "release"]
    #else
      let configurations = ["release", "debug"]
    #endif
    var above = Bytes(#filePath.utf8).splitAtName.parent
    while !above.isEmpty {
      candidates += configurations.map { above.joined(Bytes(".build/\($0)/sheaf".utf8)) }
      above = above.splitAtName.parent
    }
    return candidates.first(where: isProgram)
  }()

  private static func isProgram(_ path: Bytes) -> Bool {
    var s = stat()
    return path.withCString { stat($0, &s) == 0 && access($0, X_OK) == 0 } && s.st_mode & S_IFMT == S_IFREG
  }

  // MARK: For `Running`

  func resolvedProgram() throws -> Bytes {
    if program.bytes.contains(UInt8(ascii: "/")) { return program.bytes }
    guard let found = Self.find(program) else { throw Failure(description: "\(program) is not installed") }
    return found
  }

  /// What is really run, the program's path first.
  func fullArguments() throws -> [Bytes] {
    let own = [try resolvedProgram()] + arguments.map(\.bytes)
    guard let user else { return own }
    guard Host.isRoot else { throw Failure(description: "only root can run a program as another user") }
    let drop: [Raw] = ["--reuid=\(user.uid)", "--regid=\(user.gid)", "--clear-groups", "--"]
    return [try Command("setpriv").resolvedProgram()] + drop.map(\.bytes) + own
  }

  /// `NAME=value`, each. From `/proc`, as the C library's table may change while it is read.
  func fullEnvironment() throws -> [Bytes] {
    var all = try Descriptor.open(Bytes("/proc/self/environ"), .read).readAll().split(separator: 0).map { Bytes($0) }
    for (name, value) in environment.sorted(by: { $0.key < $1.key }) {
      let start = Bytes(name.utf8) + Bytes("=")
      all.removeAll { $0.starts(with: start) }
      if let value { all.append(start + value.bytes) }
    }
    return all
  }
}

/// What a program left behind.
public struct Output: Sendable, CustomStringConvertible {
  /// As a shell shows it: 128 and the signal's number where one ended the program.
  public var status: Int32
  /// 0: it ended by itself.
  public var signal: Int32
  public var timedOut: Bool
  public var stdout: Bytes
  public var stderr: Bytes
  /// What was run, for messages.
  public var command: [Bytes]

  public var succeeded: Bool { status == 0 && !timedOut }
  public var text: String { stdout.shown }
  public var errorText: String { stderr.shown }
  public var lines: [String] { Self.lines(stdout) }
  public var errorLines: [String] { Self.lines(stderr) }
  /// Standard output in pieces that each end with a NUL.
  public var records: [Bytes] {
    var pieces = stdout.split(separator: 0, omittingEmptySubsequences: false).map { Bytes($0) }
    if pieces.last == [] { pieces.removeLast() }
    return pieces
  }

  /// Gives itself where it succeeded.
  @discardableResult public func checked() throws -> Output {
    if !succeeded { throw Command.Failure(description: description) }
    return self
  }

  public var description: String {
    var parts = [command.map(\.quoted).joined(separator: " ")]
    parts.append(timedOut ? "timed out" : signal != 0 ? "ended by signal \(signal)" : "exit status \(status)")
    for (name, bytes) in [("stdout", stdout), ("stderr", stderr)] where !bytes.isEmpty {
      let cut = bytes.count > 4000 ? "…" + Bytes(bytes.suffix(4000)).shown : bytes.shown
      parts.append("\(name): \(cut)")
    }
    return parts.joined(separator: "\n")
  }

  private static func lines(_ bytes: Bytes) -> [String] {
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { Bytes($0).shown }
    if lines.last == "" { lines.removeLast() }
    return lines
  }
}
