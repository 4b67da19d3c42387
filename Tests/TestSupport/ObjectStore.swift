/// Object stores on loopback, one of each kind for all tests of a process, and relays to it that misbehave.
import Glibc
import Posix
import Storage

public final class ObjectStore: Sendable {
  /// Whose server it is.
  public enum Kind: String, CaseIterable, Sendable {
    case ceph, swift

    public var isPossible: Bool {
      guard Host.isRoot, Command.find("s3cmd") != nil else { return false }
      return switch self {
      case .ceph: ["radosgw", "ceph-osd", "ceph-mon"].allSatisfy { Command.find(Raw(Bytes($0.utf8))) != nil }
      // A module of Debian's Python, no command.
      case .swift:
        (try? Command("/usr/bin/python3", ["-c", "import swift.proxy.server"]).run().status == 0) ?? false
      }
    }

    public var keyID: Raw { self == .ceph ? "sheafkey" : "sheaf:key" }

    fileprivate var script: StaticString { self == .ceph ? "ceph.sh" : "swift.sh" }
  }

  public static let needs = "needs Ceph's object store, s3cmd, and root"
  public static let needsSwift = "needs OpenStack Swift (python3-swift), s3cmd, and root"
  public static let isPossible = Kind.ceph.isPossible
  /// Those that can be started here.
  public static let kinds = Kind.allCases.filter { $0.isPossible }

  /// Started when it is first asked for; it ends with this process.
  public static let shared = Result { try ObjectStore(.ceph) }
  private static let swift = Result { try ObjectStore(.swift) }

  public static func started(_ kind: Kind) throws -> ObjectStore {
    try (kind == .ceph ? shared : swift).get()
  }

  public static let bucket: Raw = "sheaf-tests"
  public static let keyID = Kind.ceph.keyID
  public static let secret: Raw = "sheafsecret0"

  private let kind: Kind
  private let scratch: Scratch
  private let running: Running
  public let port: Int

  private static func fixture(_ name: StaticString) -> Bytes {
    Bytes(#filePath.utf8).splitAtName.parent.joined(Bytes("../../fixtures")).joined(Bytes(name))
  }

  private init(_ kind: Kind) throws {
    self.kind = kind
    scratch = try Scratch()
    var seed = Random(seed: UInt64(getpid()) &* 1000 &+ UInt64(Timestamp.monotonicNanoseconds() % 1000))
    var started: (Int, Running)?
    for _ in 0..<5 where started == nil {
      let port = 20_000 + Int(seed.next() % 3_000) * 4
      let folder = scratch.path("server\(port)")
      let running = try Command("bash", [Raw(Self.fixture(kind.script)), Raw(folder), "\(port)"], timeout: 3600).start()
      if running.waitForOutput("ready") { started = (port, running) }
    }
    guard let started else { throw Command.Failure(description: "no object store could be started") }
    (port, running) = started
    try s3cmd(["mb", "s3://\(Self.bucket)"]).run().checked()
  }

  /// Its certificate, which nobody vouches for but itself.
  public var certificate: Bytes { scratch.path("server\(port)/tls.crt") }

  /// As the program wants to be told of it. `port`: another one leads to a relay.
  public func environment(port: Int? = nil) -> [String: Raw?] {
    [
      "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:\(port ?? self.port)", "AWS_ACCESS_KEY_ID": kind.keyID,
      "AWS_SECRET_ACCESS_KEY": Self.secret, "AWS_REGION": "us-east-1",
    ]
  }

  /// Another program that knows object stores.
  public func s3cmd(_ arguments: [Raw]) -> Command {
    let server: Raw = "127.0.0.1:\(port)"
    return Command(
      "s3cmd",
      [
        "--config=/dev/null", "--no-ssl", "--host=\(server)", "--host-bucket=\(server)", "--access_key=\(kind.keyID)",
        "--secret_key=\(Self.secret)", "--region=us-east-1",
      ] + arguments)
  }

  /// The keys below `prefix`.
  public func keys(below prefix: Raw) throws -> [String] {
    let output = try s3cmd(["ls", "--recursive", "s3://\(Self.bucket)/\(prefix)"]).run().checked()
    return output.lines.compactMap { line in
      line.split(separator: " ").last.map {
        String($0.dropFirst("s3://\(Self.bucket.bytes.shown)/".count))
      }
    }
  }

  /// Makes empty objects, many at a time.
  public func fill(_ prefix: Raw, _ names: [Bytes]) throws {
    let folder = try S3Folder(
      settings, bucket: Self.bucket.bytes, key: prefix.bytes, path: prefix.bytes, spool: Bytes("/tmp"))
    let next = Monitor(names.makeIterator())
    let threads = (0..<8).map { _ in Thread { while let name = next.look({ $0.next() }) { try? folder.mark(name) } } }
    for thread in threads { thread.join() }
  }

  /// Copies all that lies below `prefix` into a new directory.
  public func download(_ prefix: Raw, to folder: Bytes) throws {
    try Command("mkdir", ["-p", Raw(folder)]).run().checked()
    try s3cmd(["sync", "s3://\(Self.bucket)/\(prefix)/", Raw(folder + [47])]).run().checked()
  }

  /// Passes on what it is sent, but for what the rules say (fixtures/s3-relay.py).
  public final class Relay {
    private let running: Running
    private let log: Bytes
    private let client: Bytes
    public let port: Int

    public init(to store: ObjectStore, _ rules: [String] = [], in scratch: Scratch) throws {
      log = scratch.path("requests-\(Timestamp.monotonicNanoseconds())")
      client = scratch.path("client-\(Timestamp.monotonicNanoseconds())")
      running = try Command(
        "python3",
        [Raw(ObjectStore.fixture("s3-relay.py")), "\(store.port)", Raw(log)] + rules.map { Raw(Bytes($0.utf8)) },
        environment: ["CLIENT": Raw(client)], timeout: 600
      ).start()
      guard running.waitForOutput("listening"), running.waitForOutput("\n"),
        let port = Int(running.outputSoFar.shown.split(separator: "\n")[0].split(separator: " ")[1])
      else { throw Command.Failure(description: "no relay could be started") }
      self.port = port
    }

    deinit { running.signal(SIGKILL) }

    /// The program as one that the relay can end.
    public func known(_ command: Command) throws -> Command {
      try command.wrapped(["sh", "-c", "echo $$ >\"$0\"; exec \"$@\"", Raw(client)])
    }

    /// Those that came so far, a line each.
    public var requests: [String] {
      let text = try? Descriptor.open(log, .read).readAll()
      return (text ?? []).shown.split(separator: "\n").map { String($0) }
    }
  }
}

extension ObjectStore {
  public var settings: S3Settings {
    var settings = S3Settings()
    settings.endpoint = "http://127.0.0.1:\(port)"
    let keyID = kind.keyID.bytes.shown
    settings.credentials = { S3Credentials(keyID: keyID, secret: Self.secret.bytes) }
    settings.manners.patience = 20
    return settings
  }
}
