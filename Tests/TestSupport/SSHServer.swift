/// An OpenSSH server on loopback with keys and a configuration of its own, as long as this value lives.
import Glibc
import Posix

public final class SSHServer {
  public let scratch: Scratch
  private let port: Int
  private let running: Running

  public static let needs = "needs an OpenSSH server, and root"
  /// Where a server that separates its privileges looks for a folder that only root can make.
  public static let isPossible = Host.isRoot && Command.find("sshd") != nil && Command.find("ssh") != nil

  /// `subsystem`: what answers for sftp.
  public init(subsystem: String = "internal-sftp") throws {
    scratch = try Scratch()
    try Command("mkdir", ["-p", "/run/sshd"]).run().checked()
    for name in ["host", "id", "other"] {
      let file = scratch.path(Raw(Bytes(name.utf8)))
      try Command("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", Raw(file)]).run().checked()
    }
    var seed = Random(seed: UInt64(getpid()) &* 1000 &+ UInt64(Timestamp.monotonicNanoseconds() % 1000))
    var started: (Int, Running)?
    for _ in 0..<20 where started == nil {
      let port = 20_000 + Int(seed.next() % 12_000)
      let text = """
        Port \(port)
        ListenAddress 127.0.0.1
        HostKey \(scratch.path("host").shown)
        PidFile none
        AuthorizedKeysFile \(scratch.path("id.pub").shown)
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        PermitRootLogin yes
        Subsystem sftp \(subsystem)
        """
      try scratch.write("sshd_config", Raw(text + "\n"))
      let running = try Command("sshd", ["-D", "-e", "-f", Raw(scratch.path("sshd_config"))], timeout: 600).start()
      // Another may have the port.
      if running.waitForOutput("Server listening") { started = (port, running) }
    }
    guard let started else { throw Command.Failure(description: "no ssh server could be started") }
    (port, running) = started
    try writeConfiguration()
  }

  deinit { running.signal(SIGTERM) }

  /// How ssh reaches it as the host `store`. `key`: the user's. `known`: the key that the host is known by; nil: it is not.
  public func writeConfiguration(key: String = "id", known: String? = "host") throws {
    let hostKey = try known.map { try scratch.read(Raw(Bytes("\($0).pub".utf8))).shown } ?? ""
    try scratch.write("known_hosts", Raw(hostKey.isEmpty ? "" : "[127.0.0.1]:\(port) \(hostKey)"))
    let text = """
      Host store
        HostName 127.0.0.1
        Port \(port)
        User root
        IdentityFile \(scratch.path(Raw(Bytes(key.utf8))).shown)
        IdentitiesOnly yes
        IdentityAgent none
        UserKnownHostsFile \(scratch.path("known_hosts").shown)
        GlobalKnownHostsFile /dev/null
      """
    try scratch.write("ssh_config", Raw(text + "\n"))
  }

  /// For the environment variable `SHEAF_SSH`.
  public var command: Raw { Raw("ssh -F \(scratch.path("ssh_config").shown)") }
}
