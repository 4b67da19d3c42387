/// Other programs that read what Sheaf writes: tar in many makes, 7-Zip, mtree; and rsync to compare trees.
import Glibc
import Posix

/// Some of them refuse names that the locale has no characters for, and the tests' own locale may be `C`.
private let utf8: [String: Raw?] = ["LC_ALL": "C.UTF-8"]

/// A program that lists and extracts archives.
public struct Reader: Sendable, CustomStringConvertible {
  public let name: String
  /// nil where a program that it needs is not installed.
  private let program: Bytes?
  private let listing: [Raw]
  private let extracting: @Sendable (_ archive: Bytes, _ directory: Bytes) -> [Raw]

  public var isInstalled: Bool { program != nil }
  public var description: String { name }

  public static let all = [gnuTar, bsdtar, busyboxTar, pythonTar, sevenZip]
  /// For `@Test(arguments:)`.
  public static var installed: [Reader] { all.filter(\.isInstalled) }

  /// Extracts with everything it knows and, `-g`, with what an incremental archive says of deleted and renamed files:
  /// extract a chain one by one into the same directory.
  public static let gnuTar = Reader(name: "GNU tar", program: Command.find("tar"), listing: ["-tzf"]) {
    [
      "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-p", "-g", "/dev/null", "-C", Raw($1), "-xzf",
      Raw($0),
    ]
  }

  public static let bsdtar = Reader(name: "bsdtar", program: Command.find("bsdtar"), listing: ["-tzf"]) {
    ["--xattrs", "--acls", "--numeric-owner", "-p", "-C", Raw($1), "-xzf", Raw($0)]
  }

  public static let busyboxTar = Reader(
    name: "busybox tar", program: Command.find("busybox"), listing: ["tar", "-tzf"]
  ) {
    ["tar", "-xzpf", Raw($0), "-C", Raw($1)]
  }

  /// Python's `tarfile`. Lists names ended by NUL (`Output.records`), byte for byte.
  public static let pythonTar = Reader(
    name: "python3 tarfile", program: python,
    listing: [
      "-c",
      """
      import sys, tarfile
      with tarfile.open(sys.argv[1], errors="surrogateescape", encoding="utf-8") as archive:
        for member in archive:
          sys.stdout.buffer.write(member.name.encode("utf-8", "surrogateescape") + b"\\0")
      """,
    ]
  ) {
    [
      "-c",
      """
      import sys, tarfile
      with tarfile.open(sys.argv[1], errors="surrogateescape", encoding="utf-8") as archive:
        options = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
        archive.extractall(sys.argv[2], numeric_owner=True, **options)
      """,
      Raw($0), Raw($1),
    ]
  }

  /// One run takes the gzip off, a second one reads the tar within.
  public static let sevenZip = Reader(
    name: "7z", program: Command.find("7z") == nil ? nil : Bytes("/bin/sh"),
    listing: ["-c", "7z x -so -tgzip \"$1\" | 7z l -ba -si -ttar", "sh"]
  ) {
    ["-c", "7z x -so -tgzip \"$1\" | 7z x -y -bd -si -ttar -o\"$2\"", "sh", Raw($0), Raw($1)]
  }

  /// Its listing, in its own way of showing names (see `pythonTar` for plain bytes).
  public func list(_ archive: Bytes) throws -> Output { try run(listing + [Raw(archive)]) }

  /// Extracts into a directory that is there.
  public func extract(_ archive: Bytes, into directory: Bytes, as user: Command.User? = nil) throws -> Output {
    try run(extracting(archive, directory), as: user)
  }

  private func run(_ arguments: [Raw], as user: Command.User? = nil) throws -> Output {
    guard let program else { throw Command.Failure(description: "\(name) is not installed") }
    return try Command(Raw(program), arguments, environment: utf8, as: user).run()
  }

  /// The system's own first: others may stand in a home directory that test users cannot reach.
  public static let python: Bytes? =
    access("/usr/bin/python3", X_OK) == 0 ? Bytes("/usr/bin/python3") : Command.find("python3")

  /// Runs a Python script, for whatever has no helper here.
  public static func python(_ script: String, _ arguments: [Raw] = []) throws -> Output {
    guard let python else { throw Command.Failure(description: "python3 is not installed") }
    return try Command(Raw(python), ["-c", Raw(script)] + arguments, environment: utf8).run()
  }

  /// `tar --compare`: what differs between an archive and a directory.
  public static func gnuTarCompare(_ archive: Bytes, _ directory: Bytes) throws -> Output {
    try Command("tar", ["--compare", "--numeric-owner", "-C", Raw(directory), "-zf", Raw(archive)], environment: utf8)
      .run()
  }
}

/// NetBSD's mtree, which checks a directory against a manifest.
public enum Mtree {
  private static let program = Command.find("mtree") ?? Command.find("mtree-netbsd")
  public static var isInstalled: Bool { program != nil }

  /// Succeeds silently where all is as the manifest says; status 2 and the differences on standard output where not.
  public static func check(_ directory: Bytes, against manifest: Bytes, _ more: [Raw] = []) throws -> Output {
    guard let program else { throw Command.Failure(description: "mtree is not installed") }
    return try Command(Raw(program), ["-p", Raw(directory), "-f", Raw(manifest)] + more, environment: utf8).run()
  }
}

/// A second opinion on whether two trees are equal.
public enum Rsync {
  public static var isInstalled: Bool { Command.find("rsync") != nil }

  /// What a dry run would change at `to` to make it like `from`, a line each; sockets are left out. Reads all
  /// contents, and compares times to the nanosecond.
  public static func differences(from: Bytes, to: Bytes, _ more: [Raw] = []) throws -> [String] {
    let options: [Raw] = [
      "-aHAXc", "--numeric-ids", "--devices", "--specials", "--delete", "--dry-run", "--itemize-changes",
      "--modify-window=-1",
    ]
    let output = try Command("rsync", options + more + ["\(from)/", "\(to)/"], environment: utf8).run().checked()
    // The second letter is the kind: `S` for sockets and FIFOs; new sockets are only told apart by looking.
    return output.lines.filter { line in
      guard line.dropFirst().first == "S", line.hasPrefix("cS+++++++++") else { return true }
      let name = line.split(separator: " ", maxSplits: 1).last.map { Bytes($0.utf8) } ?? []
      let status = try? Descriptor.open(from, [.read, .directory]).status(of: name)
      return status?.kind != .socket
    }
  }
}
